// Texts as qemu-io prints them.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace doppel::io {

/// "5.500 KiB", "64 KiB", "512 bytes".
std::string size_text(double bytes);

struct Report {
  std::string_view verb;  // "read", "wrote"
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  std::chrono::nanoseconds time{};
};

/// Two lines for people, or one for programs.
std::string report_text(const Report& report, bool for_programs);

/// Lines of sixteen bytes, the first of them at OFFSET.
std::string dump_text(std::span<const std::byte> bytes, std::uint64_t offset);

}  // namespace doppel::io
