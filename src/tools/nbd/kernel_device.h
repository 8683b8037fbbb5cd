// A /dev/nbdN of the kernel's NBD client (Linux's include/uapi/linux/nbd.h).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/unique_fd.h"

namespace doppel::nbd {

/// What is needed of the kernel; tests have another one.
class KernelDevice {
 public:
  virtual ~KernelDevice() = default;
  /// Gives the device SOCKET, on which an export of SIZE bytes with these TRANSMISSION_FLAGS was chosen.
  virtual Result<> attach(int socket, std::uint64_t size, std::uint16_t transmission_flags) = 0;
  /// Works as the client until the device is detached or the socket breaks. On a thread of its own.
  virtual Result<> serve() = 0;
  /// Has the kernel look for partitions. While another thread is in serve().
  virtual void scan_partitions() = 0;
  /// Ends serve(). Any thread.
  virtual void detach() = 0;
};

/// Opens PATH, such as /dev/nbd0.
Result<std::unique_ptr<KernelDevice>> open_kernel_device(const std::string& path);

}  // namespace doppel::nbd
