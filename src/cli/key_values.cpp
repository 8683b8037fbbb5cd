#include "cli/key_values.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/text.h"

namespace doppel::cli {

namespace {

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

void flatten(const nlohmann::json& value, const std::string& key, vm::KeyValues& pairs) {
  const auto inner = [&](const std::string& name) { return key.empty() ? name : key + "." + name; };
  if (value.is_object()) {
    for (const auto& [name, member] : value.items()) flatten(member, inner(name), pairs);
  } else if (value.is_array()) {
    for (std::size_t i = 0; i < value.size(); ++i) flatten(value[i], inner(std::to_string(i)), pairs);
  } else if (value.is_string()) {
    pairs.emplace_back(key, value.get<std::string>());
  } else if (value.is_boolean()) {
    pairs.emplace_back(key, value.get<bool>() ? "on" : "off");
  } else if (!value.is_null()) {
    pairs.emplace_back(key, value.dump());
  }
}

Result<vm::KeyValues> parse_json(std::string_view text) {
  const nlohmann::json value = nlohmann::json::parse(text, nullptr, false);
  if (!value.is_object()) return fail(ErrorKind::kInvalidArgument, "'{}' is not valid JSON", text);
  vm::KeyValues pairs;
  flatten(value, "", pairs);
  return pairs;
}

}  // namespace

Result<vm::KeyValues> parse_key_values(std::string_view text, std::string_view implied_key) {
  if (text.starts_with('{')) return parse_json(text);
  vm::KeyValues pairs;
  for (std::string& piece : split_at_commas(text)) {
    const auto equals = piece.find('=');
    if (equals != std::string::npos) {
      if (equals == 0) return fail(ErrorKind::kInvalidArgument, "'{}' has no name before its '='", piece);
      pairs.emplace_back(piece.substr(0, equals), piece.substr(equals + 1));
    } else if (pairs.empty() && !implied_key.empty()) {
      pairs.emplace_back(implied_key, std::move(piece));
    } else if (piece.empty()) {
      return fail(ErrorKind::kInvalidArgument,
                  "there is nothing between two commas of '{}'; write ',,' for a comma in a value", text);
    } else if (piece.starts_with("no") && piece.size() > 2 && piece != "node") {
      pairs.emplace_back(piece.substr(2), "off");
    } else {
      pairs.emplace_back(std::move(piece), "on");
    }
  }
  return pairs;
}

const std::string* KeyValueReader::take(std::string_view key) {
  const auto values = take_all(key);
  if (values.empty()) return nullptr;
  taken_ = values.back();
  return &taken_;
}

std::vector<std::string> KeyValueReader::take_all(std::string_view key) {
  asked_.emplace_back(key);
  std::vector<std::string> values;
  std::erase_if(pairs_, [&](auto& pair) {
    if (pair.first != key) return false;
    values.push_back(std::move(pair.second));
    return true;
  });
  return values;
}

Result<> KeyValueReader::number(std::string_view key, unsigned& value) {
  const std::string* text = take(key);
  if (text == nullptr) return {};
  const auto parsed = parse_number(*text);
  if (!parsed || *parsed > std::numeric_limits<unsigned>::max())
    return fail(ErrorKind::kInvalidArgument, "{}: {}= expects a number, not '{}'", option_, key, *text);
  value = static_cast<unsigned>(*parsed);
  return {};
}

Result<> KeyValueReader::boolean(std::string_view key, bool& value) {
  const std::string* text = take(key);
  if (text == nullptr) return {};
  const auto parsed = parse_bool(*text);
  if (!parsed) return fail(ErrorKind::kInvalidArgument, "{}: {}= expects 'on' or 'off', not '{}'", option_, key, *text);
  value = *parsed;
  return {};
}

Result<> KeyValueReader::size(std::string_view key, std::uint64_t& value, std::uint64_t default_unit) {
  const std::string* text = take(key);
  if (text == nullptr) return {};
  const auto parsed = parse_size(*text, default_unit);
  if (!parsed) return std::unexpected(Error(parsed.error()).wrap(fmt::format("{}: {}=", option_, key)));
  value = *parsed;
  return {};
}

void KeyValueReader::text(std::string_view key, std::string& value) {
  if (const std::string* text = take(key)) value = *text;
}

Result<> KeyValueReader::finish() const {
  if (pairs_.empty()) return {};
  const std::string& key = pairs_.front().first;
  NearestName nearest(key);
  for (const std::string& asked : asked_) nearest.offer(asked);
  return fail(ErrorKind::kNotFound, "{}: there is no key '{}'{}", option_, key, nearest.suggestion());
}

}  // namespace doppel::cli
