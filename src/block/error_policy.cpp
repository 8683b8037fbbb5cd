#include "block/error_policy.h"

#include <array>
#include <utility>

namespace doppel::block {

Result<ErrorAction> parse_error_action(std::string_view key, std::string_view text) {
  constexpr auto kActions = std::to_array<std::pair<std::string_view, ErrorAction>>({
      {"report", ErrorAction::kReport},
      {"ignore", ErrorAction::kIgnore},
      {"stop", ErrorAction::kStop},
      {"enospc", ErrorAction::kStopIfFull},
  });
  for (const auto& [name, action] : kActions)
    if (name == text) return action;
  return fail(ErrorKind::kInvalidArgument, "{}= expects report, ignore, stop or enospc, not '{}'", key, text);
}

ErrorAction resolve(ErrorAction action, const Error& error) {
  switch (error.kind()) {
    case ErrorKind::kInvalidArgument:
    case ErrorKind::kOutOfRange:
    case ErrorKind::kPermissionDenied:
    case ErrorKind::kUnsupported: return ErrorAction::kReport;
    default: break;
  }
  if (action != ErrorAction::kStopIfFull) return action;
  return error.kind() == ErrorKind::kNoSpace ? ErrorAction::kStop : ErrorAction::kReport;
}

}  // namespace doppel::block
