#include "tools/img/format.h"

#include <fmt/core.h>

#include <ctime>

namespace doppel::img {

std::string short_size(std::uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  // From 1000 on, so that three digits are enough.
  for (; value >= 1000 && unit + 1 < std::size(kUnits); ++unit) value /= 1024;
  return fmt::format("{:.3g} {}", value, kUnits[unit]);
}

std::string snapshot_list(const std::vector<block::SnapshotInfo>& snapshots) {
  std::string text =
      fmt::format("{:<10}{:<17}{:>8}{:>20}{:>13}{:>11}\n", "ID", "TAG", "VM SIZE", "DATE", "VM CLOCK", "ICOUNT");
  for (const block::SnapshotInfo& snapshot : snapshots) {
    const auto date = static_cast<std::time_t>(snapshot.date_s);
    std::tm local{};
    char written[32] = "";
    if (::localtime_r(&date, &local) != nullptr)
      (void)std::strftime(written, sizeof written, "%Y-%m-%d %H:%M:%S", &local);
    const std::uint64_t ms = snapshot.vm_clock_ns / 1'000'000;
    const std::string clock =
        fmt::format("{:02}:{:02}:{:02}.{:03}", ms / 3'600'000, ms / 60'000 % 60, ms / 1000 % 60, ms % 1000);
    const std::string icount = snapshot.icount ? std::to_string(*snapshot.icount) : "";
    text += fmt::format("{:<9} {:<16} {:>8}{:>20}{:>13}{:>11}\n", snapshot.id, snapshot.name,
                        short_size(snapshot.vm_state_size), written, clock, icount);
  }
  return text;
}

}  // namespace doppel::img
