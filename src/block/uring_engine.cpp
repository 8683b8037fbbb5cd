// File requests by io_uring: submitted as they come, completions announced through an eventfd that the loop watches.
#include <fcntl.h>
#include <liburing.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <deque>
#include <thread>

#include "base/bits.h"
#include "block/io_engine.h"
#include "event/event_fd.h"

namespace doppel::block {
namespace {

constexpr unsigned kRingEntries = 128;

// What the page cache has is copied within io_uring_enter(2), on the loop's thread, at about 60 us for a MiB, up to
// this many bytes until the loop looks for completions. The rest is for the kernel's workers.
constexpr std::size_t kMostCopied = 8 * kMiB;

/// In bytes, of a request that is copied so. With PROCESSORS to spare, workers copy large reads side by side. With two,
/// vCPU and worker would fill both, and the loop would have to push one of them off for each request: copied by the
/// loop, reads are 1.3 times as fast.
std::size_t largest_copied(unsigned processors) {
  return processors > 2 ? 256 * kKiB : 2 * kMiB;
}

class UringEngine final : public IoEngine {
 public:
  static Result<std::unique_ptr<IoEngine>> create(event::Loop& loop) {
    DOPPEL_ASSIGN(event::EventFd completed, event::EventFd::create());
    std::unique_ptr<UringEngine> engine(new UringEngine(std::move(completed)));
    if (const int error = engine->open_ring(); error < 0)
      return std::unexpected(Error::from_errno(-error, "cannot set up io_uring"));
    engine->watch_ = loop.watch_fd(engine->completed_.fd(), event::FdReady::kReadable, [raw = engine.get()] {
      (void)raw->completed_.drain();
      raw->reap();
    });
    return engine;
  }

  ~UringEngine() override {
    watch_.reset();
    if (open_) ::io_uring_queue_exit(&ring_);
  }

  void submit(IoRequest& request) override {
    waiting_.push_back(&request);
    submit_waiting();
  }

 private:
  explicit UringEngine(event::EventFd completed) : completed_(std::move(completed)) {}

  int open_ring() {
    int error = ::io_uring_queue_init(kRingEntries, &ring_, IORING_SETUP_CLAMP);
    if (error < 0) return error;
    open_ = true;
    error = ::io_uring_register_eventfd(&ring_, completed_.fd());
    return error;
  }

  /// As many as the ring takes; the rest follows when others complete. No more under way than the completion queue has
  /// room for.
  void submit_waiting() {
    while (!waiting_.empty() && under_way_ < *ring_.cq.kring_entries) {
      IoRequest& request = *waiting_.front();
      io_uring_sqe* const entry = ::io_uring_get_sqe(&ring_);
      if (entry == nullptr) break;
      prepare(*entry, request);
      waiting_.pop_front();
    }
    // What the kernel does not take now (EAGAIN, EBUSY) stays in the ring for the next time something completes.
    ::io_uring_submit(&ring_);
  }

  /// Whether the loop's thread is to copy a read of SIZE bytes, which then counts.
  bool copy_inline(std::size_t size) {
    if (size > largest_copied_ || copied_ + size > kMostCopied) return false;
    copied_ += size;
    return true;
  }

  void prepare(io_uring_sqe& entry, IoRequest& request) {
    const auto count = static_cast<unsigned>(std::min<std::size_t>(request.pieces.size(), IOV_MAX));
    switch (request.operation) {
      case IoOperation::kRead:
        ::io_uring_prep_readv(&entry, request.fd, request.pieces.data(), count, request.offset);
        if (!copy_inline(total_size(request.pieces))) entry.flags |= IOSQE_ASYNC;
        break;
      case IoOperation::kWrite:
        ::io_uring_prep_writev(&entry, request.fd, request.pieces.data(), count, request.offset);
        break;
      case IoOperation::kSyncData: ::io_uring_prep_fsync(&entry, request.fd, IORING_FSYNC_DATASYNC); break;
      case IoOperation::kAllocate:
        ::io_uring_prep_fallocate(&entry, request.fd, request.allocate_mode, static_cast<off_t>(request.offset),
                                  static_cast<off_t>(request.length));
        break;
      case IoOperation::kSplice:
        ::io_uring_prep_splice(&entry, request.fd, static_cast<std::int64_t>(request.offset), request.pipe, -1,
                               static_cast<unsigned>(request.length), SPLICE_F_NONBLOCK);
        break;
    }
    ::io_uring_sqe_set_data(&entry, &request);
    ++under_way_;
  }

  /// What is complete by now and no more: a file in the page cache completes each request that follows at once, and the
  /// loop's other watches would never have their turn. The eventfd tells of those again.
  void reap() {
    copied_ = 0;
    io_uring_cqe* completion = nullptr;
    for (unsigned ready = ::io_uring_cq_ready(&ring_); ready > 0 && ::io_uring_peek_cqe(&ring_, &completion) == 0;
         --ready) {
      auto* request = static_cast<IoRequest*>(::io_uring_cqe_get_data(completion));
      const int result = completion->res;
      ::io_uring_cqe_seen(&ring_, completion);
      --under_way_;
      request->done.complete(result);
    }
    submit_waiting();
  }

  event::EventFd completed_;
  std::unique_ptr<event::FdWatch> watch_;
  io_uring ring_{};
  bool open_ = false;
  unsigned under_way_ = 0;
  const std::size_t largest_copied_ = largest_copied(std::thread::hardware_concurrency());
  std::size_t copied_ = 0;  // inline, in this turn of the loop
  std::deque<IoRequest*> waiting_;
};

}  // namespace

Result<std::unique_ptr<IoEngine>> create_uring_engine(event::Loop& loop) {
  return UringEngine::create(loop);
}

}  // namespace doppel::block
