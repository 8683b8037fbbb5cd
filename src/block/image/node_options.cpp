#include "block/image/node_options.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "block/image/create_image.h"

namespace doppel::block {
namespace {

using Json = nlohmann::ordered_json;

constexpr unsigned kDeepest = 64;
constexpr std::size_t kMostOptions = 10'000;

Result<> flatten(const Json& value, const std::string& name, unsigned depth, OptionTexts& texts) {
  if (depth > kDeepest || texts.size() > kMostOptions)
    return fail(ErrorKind::kInvalidArgument, "these options are nested more than {} deep, or more than {}", kDeepest,
                kMostOptions);
  const auto inner = [&](const std::string& member) { return name.empty() ? member : name + "." + member; };
  if (value.is_object()) {
    for (const auto& [member, content] : value.items()) DOPPEL_TRY(flatten(content, inner(member), depth + 1, texts));
  } else if (value.is_array()) {
    for (std::size_t i = 0; i < value.size(); ++i)
      DOPPEL_TRY(flatten(value[i], inner(std::to_string(i)), depth + 1, texts));
  } else if (value.is_string()) {
    texts[name] = value.get<std::string>();
  } else if (value.is_boolean()) {
    texts[name] = value.get<bool>() ? "on" : "off";
  } else {
    texts[name] = value.is_null() ? "" : value.dump();
  }
  return {};
}

Result<NodeOptions> parse_json(std::string_view text) {
  const Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded()) return fail(ErrorKind::kInvalidArgument, "this is not valid JSON: {}", text);
  if (!json.is_object()) return fail(ErrorKind::kInvalidArgument, "a JSON object is expected, not {}", text);
  OptionTexts texts;
  DOPPEL_TRY(flatten(json, "", 0, texts));
  return NodeOptions(std::move(texts));
}

bool is_member(std::string_view name, std::string_view of) {
  return name.size() > of.size() + 1 && name.starts_with(of) && name[of.size()] == '.';
}

bool takes_members(OptionType type) {
  return type == OptionType::kNode || type == OptionType::kNodeOrNull || type == OptionType::kMembers;
}

Result<> check_value(const NodeOptionRow& row, const std::string& value) {
  switch (row.type) {
    case OptionType::kBool:
      if (parse_bool(value)) return {};
      return fail(ErrorKind::kInvalidArgument, "{} expects 'on' or 'off', not '{}'", row.name, value);
    case OptionType::kSize:
      if (parse_size(value)) return {};
      return fail(ErrorKind::kInvalidArgument, "{} expects a number of bytes, such as 512 or 64k, not '{}'", row.name,
                  value);
    case OptionType::kNumber:
      if (parse_number(value)) return {};
      return fail(ErrorKind::kInvalidArgument, "{} expects a number, not '{}'", row.name, value);
    case OptionType::kChoice: {
      const auto words = split(row.choices, ' ');
      if (std::ranges::find(words, value) != words.end()) return {};
      NearestName nearest(value);
      for (const std::string_view word : words) nearest.offer(word);
      return fail(ErrorKind::kInvalidArgument, "{} is one of {}, not '{}'{}", row.name, row.choices, value,
                  nearest.suggestion());
    }
    case OptionType::kNode:
      if (!value.empty()) return {};
      return fail(ErrorKind::kInvalidArgument, "{} expects a node's name or its options", row.name);
    case OptionType::kText:
    case OptionType::kNodeOrNull:
    case OptionType::kMembers: return {};
  }
  return {};
}

/// The row that NAME belongs to; null if there is none.
const NodeOptionRow* find_row(std::string_view name, std::span<const NodeOptionRow> rows) {
  for (const NodeOptionRow& row : rows)
    if (name == row.name || (takes_members(row.type) && is_member(name, row.name))) return &row;
  return nullptr;
}

}  // namespace

Result<NodeOptions> NodeOptions::parse(std::string_view text) {
  if (text.starts_with('{')) return parse_json(text);
  DOPPEL_ASSIGN(OptionTexts texts, parse_options(text));
  return NodeOptions(std::move(texts));
}

Result<NodeOptions> NodeOptions::parse_json_name(std::string_view name) {
  return parse_json(name.substr(name.starts_with("json:") ? 5 : 0));
}

Result<> NodeOptions::check(std::string_view who, std::span<const NodeOptionRow> common,
                            std::span<const NodeOptionRow> rows) const {
  for (const auto& [name, value] : texts_) {
    const NodeOptionRow* row = find_row(name, rows);
    if (row == nullptr) row = find_row(name, common);
    if (row == nullptr) {
      NearestName nearest(name);
      for (const auto& list : {common, rows})
        for (const NodeOptionRow& known : list) nearest.offer(known.name);
      return fail(ErrorKind::kNotFound, "{} has no option '{}'{}", who, name, nearest.suggestion());
    }
    if (name == row->name) DOPPEL_TRY(check_value(*row, value));
    if (name == row->name && takes_members(row->type) && has_members(name))
      return fail(ErrorKind::kInvalidArgument, "{} is given twice, as '{}' and by its members", name, value);
  }
  for (const NodeOptionRow& row : rows)
    if (row.required && !has(row.name) && !has_members(row.name))
      return fail(ErrorKind::kInvalidArgument, "{} needs {}", who, row.name);
  return {};
}

bool NodeOptions::has_members(std::string_view name) const {
  const std::string prefix = std::string(name) + ".";
  const auto next = texts_.lower_bound(prefix);
  return next != texts_.end() && next->first.starts_with(prefix);
}

NodeOptions NodeOptions::members(std::string_view name) const {
  const std::string prefix = std::string(name) + ".";
  NodeOptions found;
  for (auto it = texts_.lower_bound(prefix); it != texts_.end() && it->first.starts_with(prefix); ++it)
    found.texts_[it->first.substr(prefix.size())] = it->second;
  return found;
}

std::optional<std::string> NodeOptions::text(std::string_view name) const {
  const auto found = texts_.find(name);
  if (found == texts_.end()) return std::nullopt;
  return found->second;
}

std::string NodeOptions::text_or(std::string_view name, std::string_view otherwise) const {
  return text(name).value_or(std::string(otherwise));
}

std::optional<bool> NodeOptions::flag(std::string_view name) const {
  const auto found = texts_.find(name);
  if (found == texts_.end()) return std::nullopt;
  const auto value = parse_bool(found->second);
  return value ? std::optional(*value) : std::nullopt;
}

std::optional<std::uint64_t> NodeOptions::size(std::string_view name) const {
  const auto found = texts_.find(name);
  if (found == texts_.end()) return std::nullopt;
  const auto value = parse_size(found->second);
  return value ? std::optional(*value) : std::nullopt;
}

}  // namespace doppel::block
