// The text of -cpu help, in QEMU's form since programs read it.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>

#include "x86/cpu_model.h"

namespace doppel::x86 {
namespace {

constexpr std::size_t kLineWidth = 75;

using Lines = std::map<std::string, std::string, std::less<>>;

std::string version_help(const CpuModelRow& row) {
  std::string help = cpu_model_facts(row).model_id;
  if (!row.note.empty()) help += fmt::format(" [{}]", row.note);
  return help;
}

void add_table(Lines& lines, std::span<const CpuModelRow> rows) {
  for (const CpuModelRow& row : rows) {
    if (row.version == 1) lines.emplace(row.name, "(alias configured by machine type)");
    if (!row.alias.empty()) lines.emplace(row.alias, fmt::format("(alias of {})", versioned_name(row)));
    lines.emplace(versioned_name(row), version_help(row));
  }
}

void append_flags(std::string& text, std::vector<std::string_view> names) {
  std::ranges::sort(names);
  std::size_t used = 0;
  for (const std::string_view name : names) {
    if (used != 0 && used + 1 + name.size() > kLineWidth) {
      text += '\n';
      used = 0;
    }
    text += used == 0 ? "  " : " ";
    used += (used == 0 ? 2 : 1) + name.size();
    text += name;
  }
  text += '\n';
}

}  // namespace

std::string cpu_help() {
  Lines lines;
  for (const auto table : {generic_models(), intel_models(), amd_models()}) add_table(lines, table);
  std::string text = "Available CPUs:\n";
  const auto append = [&](std::string_view name, std::string_view help) {
    fmt::format_to(std::back_inserter(text), "x86 {:<20}  {}\n", name, help);
  };
  for (const auto& [name, help] : lines) append(name, help);
  for (const SpecialModel& special : special_models()) append(special.name, special.help);

  text += "\nRecognized CPUID flags:\n";
  std::vector<std::string_view> names(vmx_control_names().begin(), vmx_control_names().end());
  for (const Feature& feature : features()) names.push_back(feature.name);
  append_flags(text, std::move(names));
  return text;
}

}  // namespace doppel::x86
