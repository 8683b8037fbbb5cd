// What every backend shares: the bounded output queue, the frontend and its flow control, the log file.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/unique_fd.h"
#include "chardev/chardev.h"
#include "chardev/config.h"
#include "event/loop.h"

namespace doppel::chardev {

/// write() only appends to a queue, on whatever thread; the loop's thread sends it. So a vCPU never waits for a system
/// call, and a burst of single bytes becomes one. All protected functions are for the loop's thread, as are
/// construction and destruction.
class ChardevBase : public Chardev {
 public:
  static constexpr std::size_t kQueueLimit = 64 * 1024;

  ~ChardevBase() override;

  [[nodiscard]] const std::string& id() const final { return id_; }
  [[nodiscard]] std::size_t write(std::span<const std::byte> bytes) final;
  void connect(Frontend frontend) final;
  void accept_input() final;

  /// Opens the log file that CONFIG asks for, if any.
  Result<> open_log(const ChardevConfig& config);
  /// Sends what is queued as far as it goes without blocking. Loop's thread.
  void flush();

 protected:
  ChardevBase(std::string id, event::Loop& loop, Logger log);

  /// Sends from the front of BYTES what goes without blocking and returns how much; after a short count the backend
  /// calls flush() once there is room. Bytes that can never be sent count as sent.
  virtual std::size_t transmit(std::span<const std::byte> bytes) = 0;
  /// room() has grown from nothing: begin to deliver again.
  virtual void resume_input() {}

  /// Somebody is (or no longer is) at the other end; tells the frontend. While closed, output is dropped.
  void set_open(bool open);
  [[nodiscard]] bool is_open() const { return open_; }

  /// How much deliver() may be given now. When it is 0, resume_input() follows once that changes.
  [[nodiscard]] std::size_t room();
  void deliver(std::span<const std::byte> bytes);
  void send_event(CharEvent event);
  /// What transmit() has not taken yet; empties the queue.
  [[nodiscard]] std::vector<std::byte> take_unsent();

  /// Runs WORK soon on the loop's thread, unless this object is gone by then. Any thread.
  template <class Work>
  void post(Work work) {
    loop_.post([alive = std::weak_ptr<bool>(alive_), work = std::move(work)]() mutable {
      if (!alive.expired()) work();
    });
  }

  [[nodiscard]] event::Loop& loop() const { return loop_; }
  [[nodiscard]] const Logger& log() const { return log_; }

 private:
  bool next_chunk();
  void write_log();
  void offer_room();

  const std::string id_;
  event::Loop& loop_;
  Logger log_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);

  std::mutex mutex_;                // guards the next group
  std::vector<std::byte> pending_;  // not yet seen by the loop's thread
  std::vector<std::byte> log_pending_;
  std::size_t queued_ = 0;  // bytes in pending_ and sending_
  bool accepting_ = false;  // open, as write() sees it
  bool flush_posted_ = false;
  bool short_write_ = false;
  bool logging_ = false;

  // Loop's thread only.
  std::shared_ptr<Frontend> frontend_;
  std::vector<std::byte> sending_;
  std::size_t sent_ = 0;  // of sending_
  bool open_ = false;
  UniqueFd log_fd_;

  std::atomic<bool> input_stalled_{false};
};

}  // namespace doppel::chardev
