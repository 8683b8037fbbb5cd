// Checking an image: counting who uses each cluster, and holding the image's own refcounts against that.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace doppel::block::qcow2 {

enum class Repair : std::uint8_t { kNone, kLeaks, kAll };

/// As `doppel-img check` tells it, by QEMU's names.
struct CheckResult {
  std::uint64_t corruptions = 0;
  std::uint64_t leaks = 0;
  std::uint64_t corruptions_fixed = 0;
  std::uint64_t leaks_fixed = 0;
  std::uint64_t image_end_offset = 0;
  std::uint64_t total_clusters = 0;
  std::uint64_t allocated_clusters = 0;
  std::uint64_t fragmented_clusters = 0;
  std::uint64_t compressed_clusters = 0;
  std::vector<std::string> findings{};  // a line each; at most kMaxFindings
  static constexpr std::size_t kMaxFindings = 1000;
};

}  // namespace doppel::block::qcow2
