// `-dfilter`: which guest code is logged, by its address.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace doppel {

class LogFilter {
 public:
  /// Lets everything pass.
  LogFilter() = default;
  /// QEMU's RANGE[,RANGE...], a range being FIRST..LAST, FIRST+SIZE or LAST-SIZE in C's numbers.
  static Result<LogFilter> parse(std::string_view text);

  [[nodiscard]] bool passes(std::uint64_t address) const;

 private:
  struct Range {
    std::uint64_t first = 0;
    std::uint64_t last = 0;
  };
  static Result<Range> parse_range(std::string_view text);

  std::vector<Range> ranges_;  // none: everything passes
};

}  // namespace doppel
