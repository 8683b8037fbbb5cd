// The grammar of option values: "first,key=value,flag,nokey" as QEMU reads it, or JSON.
#pragma once

#include <concepts>
#include <functional>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "vm/config.h"

namespace doppel::cli {

/// Splits TEXT at single commas; ",," is a comma of the value. The first piece without '=' is the value of IMPLIED_KEY;
/// any other piece without '=' is "on", or "off" if it begins with "no". An empty IMPLIED_KEY allows no such first
/// piece. A piece "?" is the old spelling of "help".
Result<vm::KeyValues> parse_key_values(std::string_view text, std::string_view implied_key);

/// The same for the options that also take a JSON object, which is what TEXT is if it begins with '{'. Nested members
/// become "outer.inner", array elements "outer.0".
Result<vm::KeyValues> parse_key_values_or_json(std::string_view text, std::string_view implied_key);

/// Ids begin with a letter and go on with letters, digits, '-', '.' and '_'.
Result<> check_id(std::string_view id);

/// Takes pairs out of a list by name, and in the end complains about those nobody took. Errors do not name the option:
/// parse_command_line() puts it in front.
class KeyValueReader {
 public:
  explicit KeyValueReader(vm::KeyValues pairs) : pairs_(std::move(pairs)) {}

  /// The last value of KEY.
  std::optional<std::string> take(std::string_view key);
  /// The last value of KEY, which stays.
  [[nodiscard]] std::optional<std::string> peek(std::string_view key) const;
  /// Every pair for whose key WANTED says yes.
  vm::KeyValues take_if(const std::function<bool(std::string_view)>& wanted);
  /// Every value of KEY, in order: "key=a,key=b", or JSON's "key":["a","b"].
  std::vector<std::string> take_all(std::string_view key);
  /// Was "help" among the pairs?
  bool take_help();

  // Each leaves VALUE alone if KEY is absent. Errors name the key and what was expected.
  void text(std::string_view key, std::string& value);
  Result<> boolean(std::string_view key, bool& value);
  /// A bare number counts DEFAULT_UNIT bytes.
  Result<> size(std::string_view key, std::uint64_t& value, std::uint64_t default_unit = 1);
  /// A whole number of at least LEAST.
  template <std::unsigned_integral T>
  Result<> number(std::string_view key, T& value, T least = 0);
  /// One of CHOICES, each a word and what it means.
  template <class T>
  Result<> choice(std::string_view key, T& value, std::initializer_list<std::pair<std::string_view, T>> choices);

  /// An error if pairs are left; it names the nearest key that was asked for, or all of them.
  [[nodiscard]] Result<> finish() const;
  /// What is left, for those who check it elsewhere.
  [[nodiscard]] vm::KeyValues rest() && { return std::move(pairs_); }

 private:
  vm::KeyValues pairs_;
  std::vector<std::string> asked_;
};

template <std::unsigned_integral T>
Result<> KeyValueReader::number(std::string_view key, T& value, T least) {
  constexpr T kMost = std::numeric_limits<T>::max();
  const auto text = take(key);
  if (!text) return {};
  const auto parsed = parse_number(*text);
  if (!parsed || *parsed > kMost || *parsed < least)
    return fail(ErrorKind::kInvalidArgument, "{}= expects a number{}, not '{}'", key,
                least != 0                                                  ? fmt::format(" of at least {}", least)
                : parsed || parsed.error().kind() == ErrorKind::kOutOfRange ? fmt::format(" up to {}", kMost)
                                                                            : "",
                *text);
  value = static_cast<T>(*parsed);
  return {};
}

template <class T>
Result<> KeyValueReader::choice(std::string_view key, T& value,
                                std::initializer_list<std::pair<std::string_view, T>> choices) {
  const auto text = take(key);
  if (!text) return {};
  std::string expected;
  for (const auto& [word, meaning] : choices) {
    if (word == *text) {
      value = meaning;
      return {};
    }
    expected += fmt::format("{}{}", expected.empty() ? "" : " or ", word);
  }
  return fail(ErrorKind::kInvalidArgument, "{}= expects {}, not '{}'", key, expected, *text);
}

}  // namespace doppel::cli
