// The last output, kept in memory until somebody asks for it (QMP's ringbuf-read).
#pragma once

#include <memory>
#include <string>

#include "chardev/chardev_base.h"

namespace doppel::chardev {

/// When full, the oldest bytes make room. Loop's thread.
class RingbufChardev final : public ChardevBase {
 public:
  RingbufChardev(const ChardevConfig& config, const RingbufBackend& backend, event::Loop& loop, Logger log);
  [[nodiscard]] std::string filename() const override { return "ringbuf"; }

  /// Takes out up to LIMIT of the oldest bytes.
  [[nodiscard]] std::string read(std::size_t limit);
  /// Sends TEXT to the frontend as if it were typed; returns how much it took.
  std::size_t inject(std::string_view text);
  [[nodiscard]] std::size_t size();

 private:
  std::size_t transmit(std::span<const std::byte> bytes) override;

  std::vector<std::byte> ring_;  // its size is a power of two
  std::size_t produced_ = 0;     // bytes ever written and taken, modulo 2^64
  std::size_t consumed_ = 0;
};

}  // namespace doppel::chardev
