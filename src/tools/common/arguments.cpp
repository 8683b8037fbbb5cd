#include "tools/common/arguments.h"

#include <cctype>

#include "base/text.h"

namespace doppel::tools {
namespace {

std::string key_of(const OptionRow& row) {
  return row.short_name != 0 ? std::string(1, row.short_name) : std::string(row.long_name);
}

const OptionRow* find_short(std::span<const OptionRow> rows, char name) {
  for (const OptionRow& row : rows)
    if (row.short_name == name) return &row;
  return nullptr;
}

Result<const OptionRow*> find_long(std::span<const OptionRow> rows, std::string_view name) {
  NearestName nearest(name);
  for (const OptionRow& row : rows) {
    if (row.long_name == name) return &row;
    if (!row.long_name.empty()) nearest.offer(row.long_name);
  }
  return fail(ErrorKind::kInvalidArgument, "there is no option '--{}'{}", name, nearest.suggestion());
}

}  // namespace

Result<Arguments> Arguments::parse(std::span<const OptionRow> rows, std::span<const std::string> arguments) {
  Arguments parsed;
  const auto next_value = [&](std::size_t& i, std::string_view option) -> Result<std::string> {
    if (i + 1 >= arguments.size()) return fail(ErrorKind::kInvalidArgument, "option '{}' needs a value", option);
    return arguments[++i];
  };
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--") {
      parsed.rest_.insert(parsed.rest_.end(), arguments.begin() + static_cast<std::ptrdiff_t>(i) + 1, arguments.end());
      break;
    }
    if (argument.starts_with("--")) {
      const std::size_t equals = argument.find('=');
      DOPPEL_ASSIGN(const OptionRow* row, find_long(rows, std::string_view(argument).substr(2, equals - 2)));
      std::string value;
      if (row->takes_value && equals != std::string::npos) {
        value = argument.substr(equals + 1);
      } else if (row->takes_value) {
        DOPPEL_ASSIGN(value, next_value(i, argument));
      }
      parsed.add(key_of(*row), value);
    } else if (argument.size() > 1 && argument[0] == '-' && !std::isdigit(static_cast<unsigned char>(argument[1]))) {
      for (std::size_t at = 1; at < argument.size(); ++at) {
        const OptionRow* row = find_short(rows, argument[at]);
        if (row == nullptr) return fail(ErrorKind::kInvalidArgument, "there is no option '-{}'", argument[at]);
        std::string value;
        if (row->takes_value) {
          value = argument.substr(at + 1);
          at = argument.size();
          if (value.empty()) {
            DOPPEL_ASSIGN(value, next_value(i, argument));
          }
        }
        parsed.add(key_of(*row), value);
      }
    } else {
      parsed.rest_.push_back(argument);
    }
  }
  return parsed;
}

void Arguments::add(const std::string& name, const std::string& value) {
  options_[name].push_back(value);
  in_order_.emplace_back(name, value);
}

std::optional<std::string> Arguments::value(std::string_view name) const {
  const auto found = options_.find(name);
  if (found == options_.end()) return std::nullopt;
  return found->second.back();
}

std::string Arguments::value_or(std::string_view name, std::string_view otherwise) const {
  return value(name).value_or(std::string(otherwise));
}

std::vector<std::string> Arguments::values(std::string_view name) const {
  const auto found = options_.find(name);
  return found == options_.end() ? std::vector<std::string>{} : found->second;
}

}  // namespace doppel::tools
