// Where vCPU threads meet: a change that no guest code may overlap (a memory slot goes, a page begins to hold code, an
// atomic access spans two host pages) runs while all of them stand still.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <vector>

#include "accel/soft/runtime/attention.h"

namespace doppel::accel::soft {

/// Any thread may call exclusive(); the rest is a vCPU thread's. A vCPU "is inside" between enter() and leave() and
/// must then call safepoint() soon after its attention is requested (clear the request first).
class Rendezvous {
 public:
  /// ATTENTION is requested whenever the vCPU that owns it must come to a safepoint.
  void add(Attention& attention);
  void remove(Attention& attention);

  /// Waits while somebody has exclusive use.
  void enter();
  void leave();
  [[nodiscard]] bool stopping() const { return stopping_.load(std::memory_order_acquire); }
  void safepoint() {
    if (!stopping()) return;
    leave();
    enter();
  }

  /// Runs WORK, which may throw, with no vCPU inside. INSIDE: the caller is one, and counts as outside until WORK is
  /// done; what it learned before may be stale when WORK runs. WORK must not begin another.
  template <class Work>
  void exclusive(bool inside, Work work) {
    begin_exclusive(inside);
    const struct End {
      Rendezvous& rendezvous;
      bool inside;
      ~End() { rendezvous.end_exclusive(inside); }
    } end{*this, inside};
    work();
  }

 private:
  void begin_exclusive(bool inside);
  void end_exclusive(bool inside);

  std::mutex one_at_a_time_;  // held during WORK
  std::mutex mutex_;          // guards what follows
  std::condition_variable changed_;
  unsigned inside_ = 0;
  unsigned entering_ = 0;  // in enter()
  std::atomic<bool> stopping_{false};
  std::vector<Attention*> attention_;
};

/// Inside for as long as it lives. What other vCPUs may change while the world stands still, such as this vCPU's TLB,
/// is for its own thread to touch only then.
class Inside {
 public:
  explicit Inside(Rendezvous& rendezvous) : rendezvous_(rendezvous) { rendezvous_.enter(); }
  ~Inside() { rendezvous_.leave(); }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;

 private:
  Rendezvous& rendezvous_;
};

}  // namespace doppel::accel::soft
