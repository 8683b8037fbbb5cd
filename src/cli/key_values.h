// The grammar of option values: "first,key=value,flag,nokey" as QEMU reads it, or JSON.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "vm/config.h"

namespace doppel::cli {

/// Splits TEXT at single commas; ",," is a comma of the value. The first piece without '=' is the value of IMPLIED_KEY;
/// any other piece without '=' is "on", or "off" if it begins with "no". An empty IMPLIED_KEY allows no such first
/// piece. Text that begins with '{' is a JSON object instead: nested members become "outer.inner", array elements
/// "outer.0".
Result<vm::KeyValues> parse_key_values(std::string_view text, std::string_view implied_key);

/// Takes pairs out of a list by name, and in the end complains about those nobody took.
class KeyValueReader {
 public:
  /// OPTION is how messages call the option, such as "-smp".
  KeyValueReader(std::string option, vm::KeyValues pairs) : option_(std::move(option)), pairs_(std::move(pairs)) {}

  /// The last value of KEY, or nullptr. The pointer is good until the next take().
  const std::string* take(std::string_view key);
  /// Every value of KEY, in order.
  std::vector<std::string> take_all(std::string_view key);

  // Each leaves VALUE alone if KEY is absent. Errors name option, key and what was expected.
  Result<> number(std::string_view key, unsigned& value);
  Result<> boolean(std::string_view key, bool& value);
  /// A bare number counts DEFAULT_UNIT bytes.
  Result<> size(std::string_view key, std::uint64_t& value, std::uint64_t default_unit = 1);
  void text(std::string_view key, std::string& value);

  /// An error if pairs are left; the message names the first and the nearest key that was asked for.
  [[nodiscard]] Result<> finish() const;
  /// What is left, for those who check it elsewhere.
  [[nodiscard]] vm::KeyValues rest() && { return std::move(pairs_); }
  [[nodiscard]] const std::string& option() const { return option_; }

 private:
  std::string option_;
  vm::KeyValues pairs_;
  std::vector<std::string> asked_;
  std::string taken_;
};

}  // namespace doppel::cli
