// What happens when the host fails at a request of a disk: QEMU's werror= and rerror=.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/error.h"

namespace doppel::block {

enum class ErrorAction : std::uint8_t {
  kReport,      // the device hears of it, and tells the guest in its own way
  kIgnore,      // the device hears that all went well
  kStop,        // the request is held and the machine stops; when it goes on, the request is tried again
  kStopIfFull,  // as kStop where the host has no space left, else as kReport
};

struct ErrorPolicy {
  ErrorAction reads = ErrorAction::kReport;
  ErrorAction writes = ErrorAction::kStopIfFull;  // and all that is no read
};

/// "report", "ignore", "stop" or "enospc". KEY is for the error.
Result<ErrorAction> parse_error_action(std::string_view key, std::string_view text);

/// What ACTION means for ERROR. What the guest itself did wrong, such as writing to a read-only disk, is always
/// reported.
ErrorAction resolve(ErrorAction action, const Error& error);

}  // namespace doppel::block
