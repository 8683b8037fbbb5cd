// How file requests reach the host's kernel: io_uring where it is offered, else worker threads.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/error.h"
#include "block/task.h"

namespace doppel::block {

enum class IoOperation : std::uint8_t { kRead, kWrite, kSyncData, kAllocate, kSplice };

/// One system call's worth; everything it names stays valid until DONE completes.
struct IoRequest {
  IoOperation operation;
  int fd;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;     // of kAllocate and kSplice
  int allocate_mode = 0;        // of kAllocate: fallocate(2)'s
  int pipe = -1;                // of kSplice: where to
  bool reserve = false;         // of kWrite by threads: have the file system find all blocks at once, before, if it can
  std::vector<iovec> pieces{};  // of kRead and kWrite; at most IOV_MAX are taken
  Completion<int> done{};       // what the system call returned, or -errno
};

inline std::size_t total_size(std::span<const iovec> pieces) {
  std::size_t size = 0;
  for (const iovec& piece : pieces) size += piece.iov_len;
  return size;
}

/// Called on the loop's thread, where requests complete too, never inside of submit().
class IoEngine {
 public:
  virtual ~IoEngine() = default;
  virtual void submit(IoRequest& request) = 0;
};

/// Fails where the kernel, or a sandbox, does not offer io_uring.
Result<std::unique_ptr<IoEngine>> create_uring_engine(event::Loop& loop);
std::unique_ptr<IoEngine> create_thread_engine(event::WorkerPool& workers);

}  // namespace doppel::block
