// Locks that keep two processes from writing one image, as QEMU and its tools take them.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"

namespace doppel::block {

/// What a process does with a file, and what it lets others do meanwhile; QEMU's block permissions, by their bits.
struct FilePermissions {
  static constexpr std::uint32_t kConsistentRead = 1U << 0;
  static constexpr std::uint32_t kWrite = 1U << 1;
  static constexpr std::uint32_t kWriteUnchanged = 1U << 2;
  static constexpr std::uint32_t kResize = 1U << 3;

  std::uint32_t used = 0;
  std::uint32_t unshared = 0;
};

/// What an image's user holds: nobody else may write or resize it.
constexpr FilePermissions image_permissions(bool writable) {
  using P = FilePermissions;
  return {.used = P::kConsistentRead | (writable ? P::kWrite | P::kResize : 0U), .unshared = P::kWrite | P::kResize};
}

/// Takes the locks on the open file FD, which hold until its last duplicate is closed. The error is kBusy and names
/// PATH and, where /proc tells, the process that has it. File systems without locks are taken as unlocked.
Result<> lock_file(int fd, const std::string& path, FilePermissions permissions);

}  // namespace doppel::block
