#include "base/text.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <numeric>

#include "base/bits.h"

namespace doppel {

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> pieces;
  while (!text.empty()) {
    const auto at = text.find(separator);
    pieces.push_back(text.substr(0, at));
    if (at == std::string_view::npos) break;
    text.remove_prefix(at + 1);
    if (text.empty()) pieces.emplace_back();
  }
  return pieces;
}

Result<std::uint64_t> parse_number(std::string_view text) {
  std::string_view digits = text;
  int base = 10;
  if (digits.starts_with("0x") || digits.starts_with("0X")) {
    base = 16;
    digits.remove_prefix(2);
  } else if (digits.size() > 1 && digits.front() == '0') {
    base = 8;
    digits.remove_prefix(1);
  }
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (error == std::errc::result_out_of_range)
    return fail(ErrorKind::kOutOfRange, "'{}' is too large; the largest number is 18446744073709551615", text);
  if (error != std::errc{} || end != digits.data() + digits.size())
    return fail(ErrorKind::kInvalidArgument, "'{}' is not a number", text);
  return value;
}

namespace {

/// The multiplier of a size suffix, or 0 if it is none.
std::uint64_t unit_of(char suffix) {
  constexpr std::string_view kUnits = "BKMGTPE";
  const auto at = kUnits.find(static_cast<char>(std::toupper(static_cast<unsigned char>(suffix))));
  return at == std::string_view::npos ? 0 : std::uint64_t{1} << (10 * at);
}

}  // namespace

Result<std::uint64_t> parse_size(std::string_view text, std::uint64_t default_unit) {
  const auto bad = [&] {
    return fail(ErrorKind::kInvalidArgument, "'{}' is not a size; write a number with K, M, G or T, such as 512M",
                text);
  };
  if (text.empty()) return bad();
  std::string_view digits = text;
  std::uint64_t unit = default_unit;
  const bool hexadecimal = digits.starts_with("0x") || digits.starts_with("0X");
  if (!hexadecimal) {
    if (const std::uint64_t named = unit_of(digits.back()); named != 0) {
      unit = named;
      digits.remove_suffix(1);
    }
  }
  if (digits.find('.') != std::string_view::npos) {
    double value = 0;
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), value, std::chars_format::fixed);
    if (error != std::errc{} || end != digits.data() + digits.size() || value < 0) return bad();
    const double bytes = value * static_cast<double>(unit);
    if (bytes >= 18446744073709551616.0) return fail(ErrorKind::kOutOfRange, "'{}' is larger than 16 EiB", text);
    return static_cast<std::uint64_t>(bytes);
  }
  if (!hexadecimal && digits.size() > 1 && digits.front() == '0')  // sizes are decimal: 010M is 10 MiB
    digits.remove_prefix(std::min(digits.find_first_not_of('0'), digits.size() - 1));
  const auto value = parse_number(digits);
  if (!value) return value.error().kind() == ErrorKind::kOutOfRange ? value : Result<std::uint64_t>(bad());
  std::uint64_t bytes = 0;
  if (__builtin_mul_overflow(*value, unit, &bytes))
    return fail(ErrorKind::kOutOfRange, "'{}' is larger than 16 EiB", text);
  return bytes;
}

Result<bool> parse_bool(std::string_view text) {
  for (const std::string_view yes : {"on", "yes", "true", "y"})
    if (text == yes) return true;
  for (const std::string_view no : {"off", "no", "false", "n"})
    if (text == no) return false;
  return fail(ErrorKind::kInvalidArgument, "'{}' is neither 'on' nor 'off'", text);
}

std::string format_size(std::uint64_t bytes) {
  constexpr std::array kUnits = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  std::size_t unit = 0;
  auto value = static_cast<double>(bytes);
  for (; value >= 1024 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  return fmt::format("{:.4g} {}", value, kUnits[unit]);
}

namespace {

/// Levenshtein distance, ignoring case.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const bool same =
          std::tolower(static_cast<unsigned char>(a[i])) == std::tolower(static_cast<unsigned char>(b[j]));
      const std::size_t replaced = diagonal + (same ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, diagonal + 1, row[j] + 1});
    }
  }
  return row.back();
}

}  // namespace

void NearestName::offer(std::string_view candidate) {
  const std::size_t distance = edit_distance(wanted_, candidate);
  const std::size_t tolerable = wanted_.size() < 3 ? 1 : std::max<std::size_t>(2, wanted_.size() / 3);
  if (distance > tolerable || distance >= distance_) return;
  distance_ = distance;
  name_ = candidate;
}

std::string NearestName::suggestion() const {
  return name_.empty() ? "" : fmt::format(" (did you mean '{}'?)", name_);
}

}  // namespace doppel
