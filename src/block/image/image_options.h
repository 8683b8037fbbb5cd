// The values of -o, each in the form that its option must have.
#pragma once

#include <string>
#include <string_view>

#include "base/text.h"
#include "block/image/create_image.h"

namespace doppel::block {

struct OptionRow {
  std::string_view name;
  std::string_view type;
  std::string_view help;
};

/// Values by name. Views TEXTS.
class OptionValues {
 public:
  explicit OptionValues(const OptionTexts& texts) : texts_(texts) {}

  [[nodiscard]] std::string text(std::string_view name, std::string_view otherwise = {}) const {
    const auto found = texts_.find(name);
    return found == texts_.end() ? std::string(otherwise) : found->second;
  }
  [[nodiscard]] Result<bool> flag(std::string_view name, std::string_view otherwise = "off") const {
    return checked(name, parse_bool(text(name, otherwise)));
  }
  [[nodiscard]] Result<std::uint64_t> size(std::string_view name, std::uint64_t otherwise) const {
    if (!texts_.contains(name)) return otherwise;
    return checked(name, parse_size(text(name)));
  }

 private:
  template <class T>
  static Result<T> checked(std::string_view name, Result<T> value) {
    if (!value) return std::unexpected(std::move(value).error().wrap(fmt::format("option '{}'", name)));
    return value;
  }
  const OptionTexts& texts_;
};

}  // namespace doppel::block
