// Coroutines of the block layer: Task<T>, what starts one, and what one can wait for.
//
// All of it is for one event loop's thread; nothing here locks. Coroutines throw nothing: results are Result<T>.
// Keep temporaries that own something out of co_await expressions (GCC 12 destroys some of them twice): name them
// first.
#pragma once

#include <coroutine>
#include <cstdlib>
#include <deque>
#include <exception>
#include <functional>
#include <optional>
#include <utility>

#include "base/error.h"
#include "event/loop.h"
#include "event/worker_pool.h"

/// DOPPEL_TRY and DOPPEL_ASSIGN for coroutines.
#define DOPPEL_CO_TRY(expression)                                                    \
  do {                                                                               \
    auto doppel_result = (expression);                                               \
    if (!doppel_result) co_return std::unexpected(std::move(doppel_result).error()); \
  } while (false)

#define DOPPEL_CO_ASSIGN(declaration, expression)                                          \
  auto DOPPEL_CONCAT(doppel_result_, __LINE__) = (expression);                             \
  if (!DOPPEL_CONCAT(doppel_result_, __LINE__))                                            \
    co_return std::unexpected(std::move(DOPPEL_CONCAT(doppel_result_, __LINE__)).error()); \
  declaration = std::move(*DOPPEL_CONCAT(doppel_result_, __LINE__))

namespace doppel::block {

/// A computation that begins when it is awaited and gives a T. Owns its frame; destroy it unstarted or finished.
template <class T>
class [[nodiscard]] Task {
 public:
  struct promise_type;
  using Handle = std::coroutine_handle<promise_type>;

  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  Task& operator=(Task&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Task() {
    if (handle_) handle_.destroy();
  }

  // As an awaiter: runs the task, then goes on in whoever awaits. Neither switch uses up stack.
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> awaiting) noexcept {
    handle_.promise().awaiting = awaiting;
    return handle_;
  }
  T await_resume() { return std::move(*handle_.promise().value); }

 private:
  explicit Task(Handle handle) : handle_(handle) {}
  Handle handle_;
};

template <class T>
struct Task<T>::promise_type {
  struct BackToAwaiting {
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(Handle finished) noexcept { return finished.promise().awaiting; }
    void await_resume() noexcept {}
  };

  Task get_return_object() { return Task(Handle::from_promise(*this)); }
  std::suspend_always initial_suspend() noexcept { return {}; }
  BackToAwaiting final_suspend() noexcept { return {}; }
  template <class U>
  void return_value(U&& result) {
    value.emplace(std::forward<U>(result));
  }
  [[noreturn]] void unhandled_exception() { std::terminate(); }

  std::optional<T> value;
  std::coroutine_handle<> awaiting;
};

/// What spawn() runs in: begins at once and frees itself at its end.
struct Detached {
  struct promise_type {
    Detached get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    [[noreturn]] void unhandled_exception() { std::terminate(); }
  };
};

/// Begins TASK now, on the caller's stack, and calls DONE with its result: before this returns, if it never waits.
template <class T, class Done>
Detached spawn(Task<T> task, Done done) {
  done(co_await task);
}

/// Runs LOOP until TASK is done: for tools, tests, start-up and shutdown; never from a callback of LOOP.
template <class T>
T run_to_end(event::Loop& loop, Task<T> task) {
  std::optional<T> result;
  spawn(std::move(task), [&](T value) {
    result.emplace(std::move(value));
    loop.quit();
  });
  do loop.run();
  while (!result);
  return std::move(*result);
}

/// Something that happens once and has a value: one coroutine awaits it, a callback on the loop's thread completes it.
/// Await it by a name: GCC 12 tries to copy what an expression refers to.
template <class T>
class Completion {
 public:
  Completion() = default;
  Completion(const Completion&) = delete;
  Completion& operator=(const Completion&) = delete;

  void complete(T value) {
    value_.emplace(std::move(value));
    if (const auto waiting = std::exchange(waiting_, {})) waiting.resume();
  }

  [[nodiscard]] bool await_ready() const { return value_.has_value(); }
  void await_suspend(std::coroutine_handle<> waiting) { waiting_ = waiting; }
  T await_resume() { return std::move(*value_); }

 private:
  std::optional<T> value_;
  std::coroutine_handle<> waiting_;
};

/// co_await LoopTurn(loop): lets the loop do what else is ready, and goes on behind it.
class LoopTurn {
 public:
  explicit LoopTurn(event::Loop& loop) : loop_(loop) {}
  [[nodiscard]] bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> waiting) {
    loop_.post([waiting] { waiting.resume(); });
  }
  void await_resume() {}

 private:
  event::Loop& loop_;
};

/// Runs WORK, which may block or compute for long, on a thread of POOL; gives what it returns.
template <class T>
Task<T> in_worker(event::WorkerPool& pool, std::function<T()> work) {
  std::optional<T> result;
  Completion<bool> finished;
  pool.submit([&] { result.emplace(work()); }, [&] { finished.complete(true); });
  co_await finished;
  co_return std::move(*result);
}

/// Keeps coroutines out of each other's way: one owner, or many that share. First come, first served, so that a stream
/// of sharers cannot keep an owner waiting.
class Mutex {
 public:
  enum class Mode : unsigned char { kExclusive, kShared };

  /// Unlocks when it goes.
  class [[nodiscard]] Guard {
   public:
    Guard() = default;
    Guard(Mutex& mutex, Mode mode) : mutex_(&mutex), mode_(mode) {}
    Guard(Guard&& other) noexcept : mutex_(std::exchange(other.mutex_, nullptr)), mode_(other.mode_) {}
    Guard& operator=(Guard&& other) noexcept {
      unlock();
      mutex_ = std::exchange(other.mutex_, nullptr);
      mode_ = other.mode_;
      return *this;
    }
    ~Guard() { unlock(); }
    void unlock() {
      if (Mutex* mutex = std::exchange(mutex_, nullptr)) mutex->unlock(mode_);
    }

   private:
    Mutex* mutex_ = nullptr;
    Mode mode_ = Mode::kExclusive;
  };

  class Awaiter {
   public:
    Awaiter(Mutex& mutex, Mode mode) : mutex_(mutex), mode_(mode) {}
    [[nodiscard]] bool await_ready() const { return mutex_.waiting_.empty() && mutex_.take(mode_); }
    void await_suspend(std::coroutine_handle<> waiting) { mutex_.waiting_.push_back({waiting, mode_}); }
    Guard await_resume() { return {mutex_, mode_}; }

   private:
    Mutex& mutex_;
    Mode mode_;
  };

  /// auto guard = co_await mutex.lock();
  [[nodiscard]] Awaiter lock() { return {*this, Mode::kExclusive}; }
  [[nodiscard]] Awaiter lock_shared() { return {*this, Mode::kShared}; }

 private:
  struct Waiting {
    std::coroutine_handle<> coroutine;
    Mode mode;
  };

  bool take(Mode mode) {
    if (exclusive_ || (mode == Mode::kExclusive && sharers_ > 0)) return false;
    if (mode == Mode::kExclusive)
      exclusive_ = true;
    else
      ++sharers_;
    return true;
  }

  void unlock(Mode mode) {
    if (mode == Mode::kExclusive)
      exclusive_ = false;
    else
      --sharers_;
    // Whoever is resumed may unlock in turn: the outermost unlock hands over for all of them, to keep the stack flat.
    if (std::exchange(handing_over_, true)) return;
    while (!waiting_.empty() && take(waiting_.front().mode)) {
      const auto next = waiting_.front().coroutine;
      waiting_.pop_front();
      next.resume();
    }
    handing_over_ = false;
  }

  std::deque<Waiting> waiting_;
  unsigned sharers_ = 0;
  bool exclusive_ = false;
  bool handing_over_ = false;
};

}  // namespace doppel::block
