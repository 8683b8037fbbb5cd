#include "gdbstub/target_description.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <span>

namespace doppel::gdbstub {

namespace {

constexpr std::string_view kProlog = "<?xml version=\"1.0\"?>\n<!DOCTYPE {} SYSTEM \"{}\">\n";

struct FlagBit {
  std::string_view name;
  unsigned start;
  unsigned end;
};

/// A register shown by the names of its bits.
struct FlagsType {
  std::string_view id;
  Feature feature;
  unsigned size;  // bytes
  std::span<const FlagBit> bits;
};

// SDM 1 3.4.3.
constexpr FlagBit kEflagsBits[] = {
    {"CF", 0, 0},   {"", 1, 1},     {"PF", 2, 2},    {"AF", 4, 4},    {"ZF", 6, 6},   {"SF", 7, 7},
    {"TF", 8, 8},   {"IF", 9, 9},   {"DF", 10, 10},  {"OF", 11, 11},  {"NT", 14, 14}, {"RF", 16, 16},
    {"VM", 17, 17}, {"AC", 18, 18}, {"VIF", 19, 19}, {"VIP", 20, 20}, {"ID", 21, 21},
};
// SDM 3A 2.5.
constexpr FlagBit kCr0Bits[] = {
    {"PE", 0, 0},   {"MP", 1, 1},   {"EM", 2, 2},   {"TS", 3, 3},   {"ET", 4, 4},   {"NE", 5, 5},
    {"WP", 16, 16}, {"AM", 18, 18}, {"NW", 29, 29}, {"CD", 30, 30}, {"PG", 31, 31},
};
constexpr FlagBit kCr4Bits[] = {
    {"VME", 0, 0},          {"PVI", 1, 1},     {"TSD", 2, 2},       {"DE", 3, 3},     {"PSE", 4, 4},
    {"PAE", 5, 5},          {"MCE", 6, 6},     {"PGE", 7, 7},       {"PCE", 8, 8},    {"OSFXSR", 9, 9},
    {"OSXMMEXCPT", 10, 10}, {"UMIP", 11, 11},  {"LA57", 12, 12},    {"VMXE", 13, 13}, {"SMXE", 14, 14},
    {"FSGSBASE", 16, 16},   {"PCIDE", 17, 17}, {"OSXSAVE", 18, 18}, {"SMEP", 20, 20}, {"SMAP", 21, 21},
    {"PKE", 22, 22},        {"CET", 23, 23},   {"PKS", 24, 24},
};
constexpr FlagBit kEferBits[] = {
    {"SCE", 0, 0},    {"LME", 8, 8},     {"LMA", 10, 10},   {"NXE", 11, 11},
    {"SVME", 12, 12}, {"LMSLE", 13, 13}, {"FFXSR", 14, 14}, {"TCE", 15, 15},
};
// SDM 1 10.2.3.
constexpr FlagBit kMxcsrBits[] = {
    {"IE", 0, 0}, {"DE", 1, 1}, {"ZE", 2, 2}, {"OE", 3, 3},   {"UE", 4, 4},   {"PE", 5, 5},   {"DAZ", 6, 6},
    {"IM", 7, 7}, {"DM", 8, 8}, {"ZM", 9, 9}, {"OM", 10, 10}, {"UM", 11, 11}, {"PM", 12, 12}, {"FZ", 15, 15},
};

constexpr FlagsType kFlagsTypes[] = {
    {"i386_eflags", Feature::kCore, 4, kEflagsBits}, {"i386_mxcsr", Feature::kSse, 4, kMxcsrBits},
    {"i386_cr0", Feature::kSystem, 8, kCr0Bits},     {"i386_cr4", Feature::kSystem, 8, kCr4Bits},
    {"i386_efer", Feature::kSystem, 8, kEferBits},
};

/// The ways to look at an XMM register.
struct VectorView {
  std::string_view id;
  std::string_view field;
  std::string_view element;
  unsigned count;
};
constexpr VectorView kXmmViews[] = {
    {"v4f", "v4_float", "ieee_single", 4}, {"v2d", "v2_double", "ieee_double", 2}, {"v16i8", "v16_int8", "int8", 16},
    {"v8i16", "v8_int16", "int16", 8},     {"v4i32", "v4_int32", "int32", 4},      {"v2i64", "v2_int64", "int64", 2},
};

struct FeatureDocument {
  Feature feature;
  std::string_view file;
  std::string_view name;
};
constexpr FeatureDocument kFeatures[] = {
    {Feature::kCore, "x86-64-core.xml", "org.gnu.gdb.i386.core"},
    {Feature::kSse, "x86-64-sse.xml", "org.gnu.gdb.i386.sse"},
    {Feature::kAvx, "x86-64-avx.xml", "org.gnu.gdb.i386.avx"},
    {Feature::kSegments, "x86-64-segments.xml", "org.gnu.gdb.i386.segments"},
    {Feature::kSystem, "x86-64-system.xml", "org.doppel.i386.system"},
};

class Writer {
 public:
  template <class... Args>
  void line(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(text), format, std::forward<Args>(args)...);
    text += '\n';
  }
  std::string text;
};

void write_types(Writer& writer, Feature feature) {
  for (const FlagsType& type : kFlagsTypes) {
    if (type.feature != feature) continue;
    writer.line("  <flags id=\"{}\" size=\"{}\">", type.id, type.size);
    for (const auto& [name, start, end] : type.bits)
      writer.line("    <field name=\"{}\" start=\"{}\" end=\"{}\"/>", name, start, end);
    writer.line("  </flags>");
  }
  if (feature != Feature::kSse) return;
  for (const auto& [id, field, element, count] : kXmmViews)
    writer.line("  <vector id=\"{}\" type=\"{}\" count=\"{}\"/>", id, element, count);
  writer.line("  <union id=\"vec128\">");
  for (const auto& [id, field, element, count] : kXmmViews)
    writer.line("    <field name=\"{}\" type=\"{}\"/>", field, id);
  writer.line("    <field name=\"uint128\" type=\"uint128\"/>");
  writer.line("  </union>");
}

/// Numbers are given, as the table's order is not that of the documents.
std::string write_feature(const FeatureDocument& document, const RegisterTable& table) {
  Writer writer{fmt::format(kProlog, "feature", "gdb-target.dtd")};
  writer.line("<feature name=\"{}\">", document.name);
  write_types(writer, document.feature);
  const auto registers = table.registers();
  for (std::size_t number = 0; number < registers.size(); ++number) {
    const Register& reg = registers[number];
    if (reg.feature == document.feature)
      writer.line("  <reg name=\"{}\" bitsize=\"{}\" type=\"{}\" regnum=\"{}\"/>", reg.name, reg.size * 8, reg.type,
                  number);
  }
  writer.line("</feature>");
  return writer.text;
}

}  // namespace

TargetDescription::TargetDescription(const RegisterTable& table) {
  Writer target{fmt::format(kProlog, "target", "gdb-target.dtd")};
  target.line("<target>\n  <architecture>i386:x86-64</architecture>");
  for (const FeatureDocument& document : kFeatures) {
    if (std::ranges::find(table.registers(), document.feature, &Register::feature) == table.registers().end()) continue;
    target.line("  <xi:include href=\"{}\"/>", document.file);
    documents_.push_back({std::string(document.file), write_feature(document, table)});
  }
  target.line("</target>");
  documents_.push_back({"target.xml", std::move(target.text)});
}

const std::string* TargetDescription::find(std::string_view annex) const {
  const auto found = std::ranges::find(documents_, annex, &Document::name);
  return found != documents_.end() ? &found->text : nullptr;
}

}  // namespace doppel::gdbstub
