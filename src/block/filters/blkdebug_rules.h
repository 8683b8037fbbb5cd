// When the filter `blkdebug` lets a request fail: rules, and the state that they move.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "block/option_texts.h"

namespace doppel::block {

/// What a request is, as a rule's iotype names it.
enum class IoType : std::uint8_t { kRead, kWrite, kWriteZeroes, kDiscard, kFlush, kBlockStatus };

struct InjectError {
  std::string event;                      // "none": at all times
  unsigned state = 0;                     // 0: in any
  std::optional<IoType> io_type{};        // unset: any but block-status
  int error = 0;                          // an errno; what requests fail with
  std::optional<std::uint64_t> offset{};  // only requests that touch this byte
  bool once = false;
};

struct SetState {
  std::string event;
  unsigned state = 0;  // 0: in any
  unsigned new_state = 0;
};

struct BlkdebugRules {
  std::vector<InjectError> errors;
  std::vector<SetState> states;

  /// One rule of KIND "inject-error" or "set-state"; '_' may stand for '-' in names, as in configuration files.
  Result<> add(std::string_view kind, const OptionTexts& options);
  /// [inject-error] and [set-state] sections of name = "value" lines.
  Result<> add_file(const std::string& path);
};

/// Runs through the rules as events come.
class BlkdebugMachine {
 public:
  explicit BlkdebugMachine(BlkdebugRules rules);

  void event(std::string_view name);
  /// The errno that a request is to fail with; 0: none. One that is to fail once does so now.
  int fault(IoType type, std::uint64_t offset, std::uint64_t length);

 private:
  BlkdebugRules rules_;
  std::vector<InjectError> active_;
  unsigned state_ = 1;
};

}  // namespace doppel::block
