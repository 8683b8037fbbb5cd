// Small helpers over file descriptors, shared by the backends.
#pragma once

#include <cstddef>
#include <span>

#include "base/error.h"
#include "base/unique_fd.h"

namespace doppel::chardev {

/// Sets or clears O_NONBLOCK.
Result<> set_nonblocking(int fd, bool on);
/// A second descriptor for the same open file, close-on-exec.
Result<UniqueFd> duplicate(int fd);
/// The other end is gone.
bool hung_up(int fd);
/// Writes all of BYTES, waiting where it must; for files. False on an error.
bool write_all(int fd, std::span<const std::byte> bytes);
/// Writes what goes out within TIMEOUT_MS in all; for the last words before closing.
void write_until(int fd, std::span<const std::byte> bytes, int timeout_ms);

}  // namespace doppel::chardev
