// A backend over one or two file descriptors; the base of most.
#pragma once

#include <memory>

#include "chardev/chardev_base.h"

namespace doppel::chardev {

/// Loop's thread only, like its base.
class FdChardev : public ChardevBase {
 public:
  /// Gives the last words a moment to get out.
  ~FdChardev() override;

 protected:
  using ChardevBase::ChardevBase;

  /// Takes two different descriptors, non-blocking, either of which may be invalid, and begins to use them.
  void attach(UniqueFd in, UniqueFd out);
  /// Stops using the descriptors and closes them.
  void detach();
  [[nodiscard]] int in_fd() const { return in_.get(); }
  [[nodiscard]] int out_fd() const { return out_.get(); }

  /// What was read; delivers it.
  virtual void on_input(std::span<const std::byte> bytes) { deliver(bytes); }
  /// The input ended or failed; ends reading.
  virtual void on_end_of_input() { stop_reading(); }
  /// After transmit() came up short.
  virtual void on_writable() { flush(); }
  /// The output failed; drops it from now on.
  virtual void on_output_failed() { out_.reset(); }

  void stop_reading();
  std::size_t transmit(std::span<const std::byte> bytes) override;
  void resume_input() override;

 private:
  void read_some();
  void watch_output();

  UniqueFd in_;
  UniqueFd out_;
  std::unique_ptr<event::FdWatch> in_watch_;
  std::unique_ptr<event::FdWatch> out_watch_;
};

}  // namespace doppel::chardev
