// Disk requests of a device that decides on them under its lock.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "block/disk.h"
#include "hw/core/device.h"

namespace doppel::hw {

/// No disk is called with the device's lock held: a request begins when the Guard lets go of it, after the interrupt
/// lines. Its completion, on the loop's thread, is handled under a Guard again; it is dropped if the queue is gone by
/// then. Destroyed on the loop's thread.
class DiskQueue {
 public:
  /// Calls a disk, and hands it the Done.
  using Begin = std::function<void(block::Done)>;
  using Handler = std::function<void(const Result<>&)>;

  explicit DiskQueue(Device& device) : device_(device) {}
  DiskQueue(const DiskQueue&) = delete;
  DiskQueue& operator=(const DiskQueue&) = delete;

  /// Under the lock. BEGIN owns what the disk reads or writes.
  void add(Begin begin, Handler done) { waiting_.push_back({std::move(begin), std::move(done)}); }

  /// The DeviceGuard of a device with a DiskQueue.
  class Guard {
   public:
    explicit Guard(DiskQueue& queue) : queue_(queue) { guard_.emplace(queue.device_); }
    ~Guard() {
      const auto waiting = std::exchange(queue_.waiting_, {});
      guard_.reset();
      for (const Request& request : waiting) request.begin(queue_.under_lock(request.done));
    }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

   private:
    DiskQueue& queue_;
    std::optional<DeviceGuard> guard_;
  };

 private:
  struct Request {
    Begin begin;
    Handler done;
  };

  [[nodiscard]] block::Done under_lock(Handler done) {
    return [this, alive = std::weak_ptr(alive_), done = std::move(done)](const Result<>& result) {
      if (alive.expired()) return;
      const Guard guard(*this);
      done(result);
    };
  }

  Device& device_;
  std::vector<Request> waiting_;
  const std::shared_ptr<const bool> alive_ = std::make_shared<const bool>(true);
};

}  // namespace doppel::hw
