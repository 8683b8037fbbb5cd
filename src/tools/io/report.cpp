#include "tools/io/report.h"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>

namespace doppel::io {

std::string size_text(double bytes) {
  constexpr const char* kUnits[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  std::size_t unit = 0;
  for (; bytes >= 1024 && unit + 1 < std::size(kUnits); ++unit) bytes /= 1024;
  std::string number = fmt::format("{:.3f}", bytes);
  if (number.ends_with(".000")) number.resize(number.size() - 4);
  return fmt::format("{} {}", number, kUnits[unit]);
}

std::string report_text(const Report& report, bool for_programs) {
  const double seconds = std::max(std::chrono::duration<double>(report.time).count(), 1e-9);
  const double rate = static_cast<double>(report.bytes) / seconds;
  const auto hundredths = static_cast<std::uint64_t>(seconds * 100);
  const std::uint64_t whole = hundredths / 100;
  const std::uint64_t hours = whole / 3600;
  const std::uint64_t minutes = whole / 60 % 60;
  if (for_programs)
    return fmt::format("{},1,{}:{:02}:{:02}.{:02},{:.3f},{:.3f}\n", report.bytes, hours, minutes, whole % 60,
                       hundredths % 100, rate, 1 / seconds);
  std::string time = fmt::format("{:02}.{:02}", whole % 60, hundredths % 100);
  if (hours > 0)
    time = fmt::format("{}:{:02}:{}", hours, minutes, time);
  else if (minutes > 0)
    time = fmt::format("{:02}:{}", minutes, time);
  else
    time += " sec";
  return fmt::format("{} {}/{} bytes at offset {}\n{}, 1 ops; {} ({}/sec and {:.4f} ops/sec)\n", report.verb,
                     report.bytes, report.bytes, report.offset, size_text(static_cast<double>(report.bytes)), time,
                     size_text(rate), 1 / seconds);
}

std::string dump_text(std::span<const std::byte> bytes, std::uint64_t offset) {
  std::string text;
  while (!bytes.empty()) {
    const auto line = bytes.first(std::min<std::size_t>(bytes.size(), 16));
    text += fmt::format("{:08x}:  ", offset);
    for (const std::byte byte : line) text += fmt::format("{:02x} ", static_cast<unsigned>(byte));
    text += ' ';
    for (const std::byte byte : line) {
      const auto character = static_cast<unsigned char>(byte);
      text += std::isalnum(character) != 0 ? static_cast<char>(character) : '.';
    }
    text += '\n';
    offset += line.size();
    bytes = bytes.subspan(line.size());
  }
  return text;
}

}  // namespace doppel::io
