// File requests by system calls that block, each on a worker's thread.
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>

#include "block/io_engine.h"

namespace doppel::block {
namespace {

long carry_out(const IoRequest& request) {
  const auto offset = static_cast<off_t>(request.offset);
  const auto count = static_cast<int>(std::min<std::size_t>(request.pieces.size(), IOV_MAX));
  switch (request.operation) {
    case IoOperation::kRead: return ::preadv(request.fd, request.pieces.data(), count, offset);
    case IoOperation::kWrite:
      if (request.reserve)
        (void)::fallocate(request.fd, FALLOC_FL_KEEP_SIZE, offset, static_cast<off_t>(total_size(request.pieces)));
      return ::pwritev(request.fd, request.pieces.data(), count, offset);
    case IoOperation::kSyncData: return ::fdatasync(request.fd);
    case IoOperation::kAllocate:
      return ::fallocate(request.fd, request.allocate_mode, offset, static_cast<off_t>(request.length));
    case IoOperation::kSplice: {
      off_t at = offset;
      return ::splice(request.fd, &at, request.pipe, nullptr, request.length, SPLICE_F_NONBLOCK);
    }
  }
  return -1;
}

class ThreadEngine final : public IoEngine {
 public:
  explicit ThreadEngine(event::WorkerPool& workers) : workers_(workers) {}

  void submit(IoRequest& request) override {
    auto result = std::make_shared<int>(0);
    workers_.submit(
        [&request, result] {
          const long returned = carry_out(request);
          *result = returned < 0 ? -errno : static_cast<int>(returned);
        },
        [&request, result] { request.done.complete(*result); });
  }

 private:
  event::WorkerPool& workers_;
};

}  // namespace

std::unique_ptr<IoEngine> create_thread_engine(event::WorkerPool& workers) {
  return std::make_unique<ThreadEngine>(workers);
}

}  // namespace doppel::block
