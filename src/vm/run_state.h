// The states of a machine, by QEMU's names (QMP's RunState).
#pragma once

#include <cstdint>
#include <string_view>

namespace doppel::vm {

enum class RunState : std::uint8_t {
  kPrelaunch,  // built, never run (-S)
  kRunning,
  kPaused,     // by the user or a debugger's client
  kDebug,      // at a breakpoint
  kShutdown,   // powered off, kept by -no-shutdown
  kSuspended,  // ACPI S3
  kGuestPanicked,
  kInternalError,  // a vCPU cannot go on
  kIoError,        // the host failed at a disk request, which is tried again when the machine goes on
};

/// What one CPU does when the machine is set going by a debugger.
enum class CpuRun : std::uint8_t { kStay, kRun, kStep };

/// "running", "internal-error", as `info status` says.
std::string_view to_string(RunState state);

}  // namespace doppel::vm
