// The options of a node and of all nodes under it. JSON, "a.b=c,d=e" lists and json: file names all become names with
// dots, which one table for each driver then checks.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "block/option_texts.h"

namespace doppel::block {

enum class OptionType : std::uint8_t {
  kText,
  kBool,
  kSize,  // bytes, with k, M, G...
  kNumber,
  kChoice,      // one of CHOICES
  kNode,        // a node's name, or its options as members
  kNodeOrNull,  // or null, which the empty text stands for too
  kMembers,     // members that somebody else checks
};

struct NodeOptionRow {
  std::string_view name;
  OptionType type;
  std::string_view choices{};  // of kChoice, with spaces between
  bool required = false;
};

/// Values by dotted name.
class NodeOptions {
 public:
  NodeOptions() = default;
  explicit NodeOptions(OptionTexts texts) : texts_(std::move(texts)) {}

  /// TEXT is a JSON object, or "name=value,..." with ",," for a comma. Of a name given twice the last counts.
  static Result<NodeOptions> parse(std::string_view text);
  /// "json:{...}".
  static Result<NodeOptions> parse_json_name(std::string_view name);

  /// Every name must be in COMMON or ROWS, every value of its type, and nothing that is required missing. WHO names
  /// the owner in the error.
  [[nodiscard]] Result<> check(std::string_view who, std::span<const NodeOptionRow> common,
                               std::span<const NodeOptionRow> rows) const;

  [[nodiscard]] const OptionTexts& texts() const { return texts_; }
  [[nodiscard]] bool empty() const { return texts_.empty(); }
  [[nodiscard]] bool has(std::string_view name) const { return texts_.contains(name); }
  /// Is there a member NAME.something?
  [[nodiscard]] bool has_members(std::string_view name) const;
  /// The members of NAME, by what follows the dot.
  [[nodiscard]] NodeOptions members(std::string_view name) const;
  void set(const std::string& name, std::string value) { texts_[name] = std::move(value); }
  void set_default(const std::string& name, const std::string& value) { texts_.emplace(name, value); }
  void erase(const std::string& name) { texts_.erase(name); }

  // Of checked options: unset, or of their type.
  [[nodiscard]] std::optional<std::string> text(std::string_view name) const;
  [[nodiscard]] std::string text_or(std::string_view name, std::string_view otherwise) const;
  [[nodiscard]] std::optional<bool> flag(std::string_view name) const;
  [[nodiscard]] std::optional<std::uint64_t> size(std::string_view name) const;

 private:
  OptionTexts texts_;
};

}  // namespace doppel::block
