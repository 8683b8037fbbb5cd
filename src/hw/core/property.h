// Device properties as tables: one row drives parsing, `-device X,help` and introspection.
//
//   struct DebugExitConfig { std::uint16_t iobase = 0x501; std::uint32_t iosize = 2; };
//   inline const PropertyTable<DebugExitConfig> kDebugExitProperties = {
//       {"iobase", &DebugExitConfig::iobase, "I/O port"},
//       {"iosize", &DebugExitConfig::iosize, "ports taken, in bytes"},
//   };
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/text.h"

namespace doppel::hw {

/// A size in bytes, to be written with a suffix.
struct SizeValue {
  std::uint64_t bytes = 0;
  bool operator==(const SizeValue&) const = default;
};

/// QEMU's OnOffAuto.
enum class OnOffAuto : std::uint8_t { kAuto, kOn, kOff };

/// A row as `help` and introspection want it.
struct PropertyInfo {
  std::string_view name;
  std::string_view type;  // QEMU's word: "bool", "uint16", "str", "size", "OnOffAuto"
  std::string_view help;
  std::string default_text;
};

template <class Config>
class PropertyTable {
 public:
  using Member = std::variant<bool Config::*, std::uint8_t Config::*, std::uint16_t Config::*, std::uint32_t Config::*,
                              std::uint64_t Config::*, std::int32_t Config::*, SizeValue Config::*, OnOffAuto Config::*,
                              std::string Config::*>;
  struct Row {
    std::string_view name;
    Member member;
    std::string_view help;
  };

  PropertyTable(std::initializer_list<Row> rows) : rows_(rows) {}
  explicit PropertyTable(std::vector<Row> rows) : rows_(std::move(rows)) {}

  /// Parses TEXT into CONFIG's member NAME. Errors name the property and what it expects.
  Result<> set(Config& config, std::string_view name, std::string_view text) const {
    for (const Row& row : rows_)
      if (row.name == name)
        return std::visit([&](auto member) { return parse(config.*member, name, text); }, row.member);
    NearestName nearest(name);
    for (const Row& row : rows_) nearest.offer(row.name);
    return fail(ErrorKind::kNotFound, "there is no property '{}'{}", name, nearest.suggestion());
  }

  [[nodiscard]] std::vector<PropertyInfo> describe() const {
    const Config defaults{};
    std::vector<PropertyInfo> infos;
    for (const Row& row : rows_)
      std::visit(
          [&](auto member) {
            infos.push_back({row.name, type_name(defaults.*member), row.help, show(defaults.*member)});
          },
          row.member);
    return infos;
  }

 private:
  template <class T>
  static Result<> parse(T& value, std::string_view name, std::string_view text);
  template <class T>
  static constexpr std::string_view type_name(const T& /*value*/);
  template <class T>
  static std::string show(const T& value);

  std::vector<Row> rows_;
};

template <class Config>
template <class T>
Result<> PropertyTable<Config>::parse(T& value, std::string_view name, std::string_view text) {
  const auto bad = [&](std::string_view expected) {
    return fail(ErrorKind::kInvalidArgument, "property '{}' expects {}, not '{}'", name, expected, text);
  };
  if constexpr (std::is_same_v<T, bool>) {
    const auto parsed = parse_bool(text);
    if (!parsed) return bad("'on' or 'off'");
    value = *parsed;
  } else if constexpr (std::is_same_v<T, std::string>) {
    value = text;
  } else if constexpr (std::is_same_v<T, SizeValue>) {
    const auto parsed = parse_size(text);
    if (!parsed) return bad("a size such as 64M");
    value.bytes = *parsed;
  } else if constexpr (std::is_same_v<T, OnOffAuto>) {
    if (text != "auto" && text != "on" && text != "off") return bad("'on', 'off' or 'auto'");
    value = text == "auto" ? OnOffAuto::kAuto : text == "on" ? OnOffAuto::kOn : OnOffAuto::kOff;
  } else {
    const bool negative = std::is_signed_v<T> && text.starts_with('-');
    const auto parsed = parse_number(negative ? text.substr(1) : text);
    const auto limit = static_cast<std::uint64_t>(std::numeric_limits<T>::max());
    if (!parsed || *parsed > limit) return bad(fmt::format("a number up to {}", limit));
    value = static_cast<T>(negative ? std::uint64_t{0} - *parsed : *parsed);
  }
  return {};
}

template <class Config>
template <class T>
constexpr std::string_view PropertyTable<Config>::type_name(const T&) {
  if constexpr (std::is_same_v<T, bool>)
    return "bool";
  else if constexpr (std::is_same_v<T, std::string>)
    return "str";
  else if constexpr (std::is_same_v<T, SizeValue>)
    return "size";
  else if constexpr (std::is_same_v<T, OnOffAuto>)
    return "OnOffAuto";
  else if constexpr (std::is_same_v<T, std::int32_t>)
    return "int32";
  else if constexpr (sizeof(T) == 1)
    return "uint8";
  else if constexpr (sizeof(T) == 2)
    return "uint16";
  else if constexpr (sizeof(T) == 4)
    return "uint32";
  else
    return "uint64";
}

template <class Config>
template <class T>
std::string PropertyTable<Config>::show(const T& value) {
  if constexpr (std::is_same_v<T, bool>)
    return value ? "true" : "false";
  else if constexpr (std::is_same_v<T, std::string>)
    return fmt::format("\"{}\"", value);
  else if constexpr (std::is_same_v<T, SizeValue>)
    return fmt::format("{}", value.bytes);
  else if constexpr (std::is_same_v<T, OnOffAuto>)
    return "\"auto\"";
  else
    return fmt::format("{}", value);
}

}  // namespace doppel::hw
