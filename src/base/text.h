// Text in and out: numbers, sizes, splitting, and the nearest valid spelling of a mistyped name.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace doppel {

/// The pieces of TEXT between SEPARATORs; an empty TEXT has none.
std::vector<std::string_view> split(std::string_view text, char separator);

/// A whole unsigned number in C's notation: decimal, 0x hexadecimal, 0 octal. All of TEXT must be digits.
Result<std::uint64_t> parse_number(std::string_view text);

/// A size in bytes: a number, possibly with a fraction, and one of B K M G T P E (either case, powers of 1024).
/// A bare number counts DEFAULT_UNIT bytes.
Result<std::uint64_t> parse_size(std::string_view text, std::uint64_t default_unit = 1);

/// QEMU's booleans: on/off, yes/no, true/false, y/n.
Result<bool> parse_bool(std::string_view text);

/// "64 MiB", "1.5 GiB": the largest unit that leaves at least 1.
std::string format_size(std::uint64_t bytes);

/// Finds, among the names offered, the one that a mistyped name most likely meant.
class NearestName {
 public:
  explicit NearestName(std::string_view wanted) : wanted_(wanted) {}

  void offer(std::string_view candidate);
  /// Empty if nothing comes close.
  [[nodiscard]] const std::string& name() const { return name_; }
  /// " (did you mean 'NAME'?)" or nothing.
  [[nodiscard]] std::string suggestion() const;

 private:
  std::string_view wanted_;
  std::string name_;
  std::size_t distance_ = static_cast<std::size_t>(-1);
};

}  // namespace doppel
