#include "cli/key_values.h"

#include <fmt/ranges.h>
#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "vm/json_text.h"

namespace doppel::cli {

namespace {

using Json = nlohmann::ordered_json;

constexpr unsigned kDeepestJson = 16;

/// The pieces between single commas, ",," made ",".
std::vector<std::string> split_at_commas(std::string_view text) {
  std::vector<std::string> pieces(1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != ',') {
      pieces.back() += text[i];
    } else if (i + 1 < text.size() && text[i + 1] == ',') {
      pieces.back() += ',';
      ++i;
    } else {
      pieces.emplace_back();
    }
  }
  if (pieces.back().empty()) pieces.pop_back();  // a trailing comma is harmless
  return pieces;
}

/// A piece without '=', in the place of a flag.
std::pair<std::string, std::string> flag(std::string piece) {
  if (piece == "?") return {"help", "on"};
  // The one key that itself begins with "no".
  if (piece.starts_with("no") && piece.size() > 2 && piece != "nodelay") return {piece.substr(2), "off"};
  return {std::move(piece), "on"};
}

Result<> flatten(const Json& value, const std::string& key, unsigned depth, vm::KeyValues& pairs) {
  if (depth > kDeepestJson)
    return fail(ErrorKind::kInvalidArgument, "this JSON is nested more than {} deep", kDeepestJson);
  const auto inner = [&](const std::string& name) { return key.empty() ? name : key + "." + name; };
  if (value.is_object()) {
    for (const auto& [name, member] : value.items()) DOPPEL_TRY(flatten(member, inner(name), depth + 1, pairs));
  } else if (value.is_array()) {
    for (std::size_t i = 0; i < value.size(); ++i)
      DOPPEL_TRY(flatten(value[i], inner(std::to_string(i)), depth + 1, pairs));
  } else if (value.is_string()) {
    pairs.emplace_back(key, value.get<std::string>());
  } else if (value.is_boolean()) {
    pairs.emplace_back(key, value.get<bool>() ? "on" : "off");
  } else if (!value.is_null()) {
    pairs.emplace_back(key, value.dump());
  }
  return {};
}

/// The place of element KEY.N in an array KEY: any number will do, as they come in order.
bool is_element_of(std::string_view name, std::string_view key) {
  return name.size() > key.size() + 1 && name.starts_with(key) && name[key.size()] == '.' &&
         name.find_first_not_of("0123456789", key.size() + 1) == std::string_view::npos;
}

}  // namespace

Result<vm::KeyValues> parse_key_values(std::string_view text, std::string_view implied_key) {
  if (text.starts_with('{')) return fail(ErrorKind::kInvalidArgument, "this option takes key=value pairs, not JSON");
  vm::KeyValues pairs;
  for (std::string& piece : split_at_commas(text)) {
    const auto equals = piece.find('=');
    if (equals == 0) return fail(ErrorKind::kInvalidArgument, "'{}' has no name before its '='", piece);
    if (equals != std::string::npos)
      pairs.emplace_back(piece.substr(0, equals), piece.substr(equals + 1));
    else if (pairs.empty() && !implied_key.empty())
      pairs.emplace_back(implied_key, std::move(piece));
    else if (piece.empty())
      return fail(ErrorKind::kInvalidArgument,
                  "there is nothing between two commas of '{}'; write ',,' for a comma in a value", text);
    else
      pairs.push_back(flag(std::move(piece)));
  }
  return pairs;
}

Result<vm::KeyValues> parse_key_values_or_json(std::string_view text, std::string_view implied_key) {
  if (!text.starts_with('{')) return parse_key_values(text, implied_key);
  DOPPEL_ASSIGN(const Json value, vm::parse_json(text));
  vm::KeyValues pairs;
  DOPPEL_TRY(flatten(value, "", 0, pairs));
  return pairs;
}

Result<> check_id(std::string_view id) {
  const auto letter = [](char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; };
  const auto inner = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '.' || c == '_';
  };
  if (!id.empty() && letter(id.front()) && std::ranges::all_of(id, inner)) return {};
  return fail(ErrorKind::kInvalidArgument, "id= expects a letter and then letters, digits, '-', '.' or '_', not '{}'",
              id);
}

std::optional<std::string> KeyValueReader::take(std::string_view key) {
  auto values = take_all(key);
  if (values.empty()) return std::nullopt;
  return std::move(values.back());
}

std::optional<std::string> KeyValueReader::peek(std::string_view key) const {
  std::optional<std::string> value;
  for (const auto& [name, text] : pairs_)
    if (name == key) value = text;
  return value;
}

vm::KeyValues KeyValueReader::take_if(const std::function<bool(std::string_view)>& wanted) {
  vm::KeyValues taken;
  std::erase_if(pairs_, [&](auto& pair) {
    if (!wanted(pair.first)) return false;
    taken.push_back(std::move(pair));
    return true;
  });
  return taken;
}

std::vector<std::string> KeyValueReader::take_all(std::string_view key) {
  asked_.emplace_back(key);
  std::vector<std::string> values;
  std::erase_if(pairs_, [&](auto& pair) {
    if (pair.first != key && !is_element_of(pair.first, key)) return false;
    values.push_back(std::move(pair.second));
    return true;
  });
  return values;
}

bool KeyValueReader::take_help() {
  return std::erase_if(pairs_, [](const auto& pair) { return pair.first == "help"; }) != 0;
}

void KeyValueReader::text(std::string_view key, std::string& value) {
  if (auto text = take(key)) value = std::move(*text);
}

Result<> KeyValueReader::boolean(std::string_view key, bool& value) {
  const auto text = take(key);
  if (!text) return {};
  const auto parsed = parse_bool(*text);
  if (!parsed) return fail(ErrorKind::kInvalidArgument, "{}= expects 'on' or 'off', not '{}'", key, *text);
  value = *parsed;
  return {};
}

Result<> KeyValueReader::size(std::string_view key, std::uint64_t& value, std::uint64_t default_unit) {
  const auto text = take(key);
  if (!text) return {};
  DOPPEL_ASSIGN(value, parse_size(*text, default_unit));
  return {};
}

Result<> KeyValueReader::finish() const {
  if (pairs_.empty()) return {};
  const std::string& key = pairs_.front().first;
  NearestName nearest(key);
  for (const std::string& asked : asked_) nearest.offer(asked);
  if (!nearest.name().empty()) return fail(ErrorKind::kNotFound, "there is no key '{}'{}", key, nearest.suggestion());
  return fail(ErrorKind::kNotFound, "there is no key '{}'; the keys are {}", key, fmt::join(asked_, ", "));
}

}  // namespace doppel::cli
