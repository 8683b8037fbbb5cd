#include "base/log_filter.h"

#include <algorithm>
#include <array>

#include "base/text.h"

namespace doppel {

Result<LogFilter> LogFilter::parse(std::string_view text) {
  LogFilter filter;
  if (text.empty()) return std::unexpected(parse_range(text).error());
  for (const std::string_view piece : split(text, ',')) {
    DOPPEL_ASSIGN(const Range range, parse_range(piece));
    filter.ranges_.push_back(range);
  }
  return filter;
}

Result<LogFilter::Range> LogFilter::parse_range(std::string_view text) {
  constexpr auto kOperators = std::to_array<std::string_view>({"..", "+", "-"});
  for (const std::string_view op : kOperators) {
    const auto at = text.find(op);
    if (at == std::string_view::npos) continue;
    const auto left = parse_number(text.substr(0, at));
    const auto right = parse_number(text.substr(at + op.size()));
    if (!left || !right) break;
    Range range{.first = *left, .last = *right};
    if (op == "+") range.last = *left + (*right - 1);
    if (op == "-") range = {.first = *left - (*right - 1), .last = *left};
    const bool is_empty = op != ".." && *right == 0;
    if (!is_empty && range.first <= range.last) return range;
    return fail(ErrorKind::kInvalidArgument, "the range '{}' is empty or leaves the 64-bit addresses", text);
  }
  return fail(ErrorKind::kInvalidArgument,
              "'{}' is not a range of addresses: expected FIRST..LAST, FIRST+SIZE or LAST-SIZE, such as 0x8000..0x8fff",
              text);
}

bool LogFilter::passes(std::uint64_t address) const {
  return ranges_.empty() || std::ranges::any_of(ranges_, [&](const Range& range) {
           return address >= range.first && address <= range.last;
         });
}

}  // namespace doppel
