#include "tools/common/format.h"

#include <fmt/core.h>

#include <ctime>

namespace doppel::tools {

namespace {

void print_detail(const block::FormatDetail& detail, unsigned indent) {
  struct Print {
    unsigned indent;
    void operator()(bool value) const { fmt::print(" {}\n", value ? "true" : "false"); }
    void operator()(std::uint64_t value) const { fmt::print(" {}\n", value); }
    void operator()(const std::string& value) const { fmt::print(" {}\n", value); }
    void operator()(const block::FormatDetails& members) const {
      fmt::print("\n");
      print_details(members, indent + 4);
    }
    void operator()(const std::vector<block::FormatDetails>& list) const {
      fmt::print("\n");
      for (std::size_t i = 0; i < list.size(); ++i) {
        fmt::print("{:{}}[{}]:\n", "", indent + 4, i);
        print_details(list[i], indent + 8);
      }
    }
    void operator()(const std::vector<std::string>& list) const {
      fmt::print("\n");
      for (std::size_t i = 0; i < list.size(); ++i) fmt::print("{:{}}[{}]: {}\n", "", indent + 4, i, list[i]);
    }
  };
  fmt::print("{:{}}{}:", "", indent, detail.name);
  std::visit(Print{indent}, detail.value);
}

}  // namespace

void print_details(const block::FormatDetails& details, unsigned indent) {
  for (const block::FormatDetail& detail : details) print_detail(detail, indent);
}

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

}  // namespace doppel::tools
