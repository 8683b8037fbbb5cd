#include "event/loop.h"

#define ASIO_STANDALONE
#define ASIO_NO_DEPRECATED
#include <fcntl.h>

#include <asio.hpp>
#include <atomic>
#include <chrono>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "event/loop_clock.h"

namespace doppel::event {

namespace {

using asio::posix::stream_descriptor;

/// One descriptor in asio's poller, shared by its watches. Closing stays with whoever opened it.
class SharedDescriptor {
 public:
  SharedDescriptor(asio::io_context& io, int fd) : descriptor_(io) {
    asio::error_code ignored;  // where the poller does not take FD, async_wait reports it
    descriptor_.assign(fd, ignored);
  }
  ~SharedDescriptor() { descriptor_.release(); }
  SharedDescriptor(const SharedDescriptor&) = delete;
  SharedDescriptor& operator=(const SharedDescriptor&) = delete;

  template <class Handler>
  void wait(FdReady kind, Handler handler) {
    // asio makes the file description non-blocking. It may be shared with other programs, such as a shell's terminal.
    const int flags = ::fcntl(descriptor_.native_handle(), F_GETFL);
    descriptor_.async_wait(kind == FdReady::kReadable ? stream_descriptor::wait_read : stream_descriptor::wait_write,
                           std::move(handler));
    if (flags >= 0 && (flags & O_NONBLOCK) == 0) ::fcntl(descriptor_.native_handle(), F_SETFL, flags);
  }

 private:
  stream_descriptor descriptor_;
};

/// The loop's side of a watch: lives on while its callback runs, even if that destroys the watch.
struct FdWatchState {
  std::shared_ptr<SharedDescriptor> descriptor;  // empty once the watch is gone
  FdReady kind;
  std::function<void()> ready;
};

/// Names the calling thread as the loop's for a while.
class LoopThreadScope {
 public:
  explicit LoopThreadScope(std::atomic<std::thread::id>& thread)
      : thread_(thread), before_(thread.exchange(std::this_thread::get_id())) {}
  ~LoopThreadScope() { thread_ = before_; }
  LoopThreadScope(const LoopThreadScope&) = delete;
  LoopThreadScope& operator=(const LoopThreadScope&) = delete;

 private:
  std::atomic<std::thread::id>& thread_;
  std::thread::id before_;
};

}  // namespace

struct Loop::Impl {
  using FdWatchPtr = std::shared_ptr<FdWatchState>;
  class FdWatchImpl;
  class SignalWatchImpl;

  /// One clock and the asio timer that waits for its earliest deadline.
  struct ClockDriver {
    ClockDriver(Impl& owner, LoopClock::Start start)
        : impl(owner), clock(start, [this] { impl.on_loop([this] { wait(); }); }), host_timer(owner.io) {}
    void wait();

    Impl& impl;
    LoopClock clock;
    asio::steady_timer host_timer;  // loop's thread only
  };

  asio::io_context io;
  asio::executor_work_guard<asio::io_context::executor_type> work{io.get_executor()};
  std::atomic<bool> quit{false};
  std::atomic<std::thread::id> thread{};

  std::mutex posted_mutex;  // guards the two below
  std::deque<std::function<void()>> posted;
  bool posted_scheduled = false;  // a run_posted() is on its way

  std::map<int, std::weak_ptr<SharedDescriptor>> descriptors;  // loop's thread only, as below
  bool polling = false;
  std::vector<FdWatchPtr> wait_after_poll;

  ClockDriver realtime{*this, LoopClock::Start::kRealtime};
  ClockDriver guest{*this, LoopClock::Start::kPausedAtZero};

  /// quit() holds for run() alone.
  [[nodiscard]] bool stopping() const { return quit && !polling; }
  [[nodiscard]] bool on_loop_thread() const { return thread == std::this_thread::get_id(); }
  template <class Work>
  void on_loop(Work function) {
    if (on_loop_thread())
      function();
    else
      asio::post(io, std::move(function));
  }
  void schedule_posted_locked();
  void run_posted();
  std::shared_ptr<SharedDescriptor> share(int fd);
  void wait_for(const FdWatchPtr& watch);
  void fd_ready(const FdWatchPtr& watch);
};

void Loop::Impl::ClockDriver::wait() {
  const std::int64_t wake_ns = clock.wake_host_ns();
  if (wake_ns == LoopClock::kNever) return;
  // The clock's own units and epoch: both are CLOCK_MONOTONIC in nanoseconds.
  const auto at = std::chrono::steady_clock::time_point(std::chrono::nanoseconds(std::max<std::int64_t>(wake_ns, 0)));
  host_timer.expires_at(at);
  host_timer.async_wait([this](const asio::error_code& error) {
    if (error) return;  // replaced by an earlier wait
    clock.run_due([this] { return impl.stopping(); });
  });
}

void Loop::Impl::schedule_posted_locked() {
  if (posted.empty() || posted_scheduled) return;
  posted_scheduled = true;
  asio::post(io, [this] { run_posted(); });
}

void Loop::Impl::run_posted() {
  std::unique_lock lock(posted_mutex);
  // Only what is here by now: work that posts more must not starve the rest of the loop.
  for (std::size_t most = posted.size(); most > 0 && !stopping(); --most) {
    auto function = std::move(posted.front());
    posted.pop_front();
    lock.unlock();
    function();
    function = nullptr;  // what it owns goes without the lock
    lock.lock();
  }
  posted_scheduled = false;
  schedule_posted_locked();
}

std::shared_ptr<SharedDescriptor> Loop::Impl::share(int fd) {
  std::erase_if(descriptors, [](const auto& entry) { return entry.second.expired(); });
  auto& slot = descriptors[fd];
  auto shared = slot.lock();
  if (shared == nullptr) slot = shared = std::make_shared<SharedDescriptor>(io, fd);
  return shared;
}

void Loop::Impl::wait_for(const FdWatchPtr& watch) {
  if (watch->descriptor == nullptr) return;
  watch->descriptor->wait(watch->kind, [this, weak = std::weak_ptr(watch)](const asio::error_code& error) {
    if (error == asio::error::operation_aborted) return;
    // Another error means that the poller cannot take the descriptor, as with a regular file: that is always ready.
    if (const auto alive = weak.lock()) fd_ready(alive);
  });
}

void Loop::Impl::fd_ready(const FdWatchPtr& watch) {
  if (watch->descriptor == nullptr) return;
  watch->ready();
  if (polling)
    wait_after_poll.push_back(watch);
  else
    wait_for(watch);
}

class Loop::Impl::FdWatchImpl final : public FdWatch {
 public:
  FdWatchImpl(Impl& impl, int fd, FdReady kind, std::function<void()> ready)
      : state_(std::make_shared<FdWatchState>(impl.share(fd), kind, std::move(ready))) {
    impl.wait_for(state_);
  }
  ~FdWatchImpl() override { state_->descriptor.reset(); }

 private:
  FdWatchPtr state_;
};

class Loop::Impl::SignalWatchImpl final : public SignalWatch {
 public:
  SignalWatchImpl(Impl& impl, int signal, std::function<void()> received)
      : state_(std::make_shared<State>(impl.io, std::move(received))) {
    asio::error_code ignored;  // SIGKILL and SIGSTOP cannot be watched
    state_->signals.add(signal, ignored);
    wait(state_);
  }
  ~SignalWatchImpl() override {
    asio::error_code ignored;
    state_->alive = false;
    state_->signals.clear(ignored);
    state_->signals.cancel(ignored);
  }

 private:
  struct State {
    State(asio::io_context& io, std::function<void()> callback) : signals(io), received(std::move(callback)) {}
    asio::signal_set signals;
    std::function<void()> received;
    bool alive = true;
  };
  static void wait(const std::shared_ptr<State>& state) {
    state->signals.async_wait([weak = std::weak_ptr(state)](const asio::error_code& error, int) {
      const auto alive = weak.lock();
      if (error || alive == nullptr || !alive->alive) return;
      alive->received();
      if (alive->alive) wait(alive);
    });
  }
  std::shared_ptr<State> state_;
};

Loop::Loop() : impl_(std::make_unique<Impl>()) {}

Loop::~Loop() {
  // Work that never ran may own watches and timers, which need the loop whole.
  const auto dropped = std::exchange(impl_->posted, {});
}

void Loop::run() {
  const LoopThreadScope scope(impl_->thread);
  while (!impl_->quit) impl_->io.run_one();
  impl_->quit = false;
}

void Loop::run_ready() {
  const LoopThreadScope scope(impl_->thread);
  impl_->polling = true;
  impl_->io.poll();
  impl_->polling = false;
  for (const auto& watch : std::exchange(impl_->wait_after_poll, {})) impl_->wait_for(watch);
}

void Loop::quit() {
  impl_->quit = true;
  asio::post(impl_->io, [] {});  // wakes a waiting run()
}

void Loop::post(std::function<void()> work) {
  const std::scoped_lock lock(impl_->posted_mutex);
  impl_->posted.push_back(std::move(work));
  impl_->schedule_posted_locked();
}

bool Loop::is_loop_thread() const {
  return impl_->on_loop_thread();
}

std::unique_ptr<FdWatch> Loop::watch_fd(int fd, FdReady kind, std::function<void()> ready) {
  return std::make_unique<Impl::FdWatchImpl>(*impl_, fd, kind, std::move(ready));
}

std::unique_ptr<SignalWatch> Loop::watch_signal(int signal, std::function<void()> received) {
  return std::make_unique<Impl::SignalWatchImpl>(*impl_, signal, std::move(received));
}

Clock& Loop::realtime_clock() {
  return impl_->realtime.clock;
}

PausableClock& Loop::virtual_clock() {
  return impl_->guest.clock;
}

}  // namespace doppel::event
