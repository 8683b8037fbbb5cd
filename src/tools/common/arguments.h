// The options of a tool or of one of its commands, by a table.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace doppel::tools {

/// SHORT_NAME 0: there is only the long form; an empty LONG_NAME: only the short one.
struct OptionRow {
  char short_name;
  std::string_view long_name;
  bool takes_value;
};

/// Options and what is left of a command line, in the forms of getopt_long(3): -f qcow2, -fqcow2, -pq, --output=json,
/// --output json; -- ends the options. What begins like a negative number is no option.
class Arguments {
 public:
  static Result<Arguments> parse(std::span<const OptionRow> rows, std::span<const std::string> arguments);

  /// By the short name, or the long one where there is no short one.
  [[nodiscard]] bool has(std::string_view name) const { return options_.contains(name); }
  /// The last one given.
  [[nodiscard]] std::optional<std::string> value(std::string_view name) const;
  [[nodiscard]] std::string value_or(std::string_view name, std::string_view otherwise) const;
  /// All that were given, in order.
  [[nodiscard]] std::vector<std::string> values(std::string_view name) const;
  /// Names and values of all options, in the order they were given.
  [[nodiscard]] const std::vector<std::pair<std::string, std::string>>& in_order() const { return in_order_; }
  [[nodiscard]] const std::vector<std::string>& rest() const { return rest_; }

 private:
  void add(const std::string& name, const std::string& value);

  std::map<std::string, std::vector<std::string>, std::less<>> options_;
  std::vector<std::pair<std::string, std::string>> in_order_;
  std::vector<std::string> rest_;
};

}  // namespace doppel::tools
