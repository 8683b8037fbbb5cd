#include "chardev/ringbuf_chardev.h"

#include <algorithm>

namespace doppel::chardev {

RingbufChardev::RingbufChardev(const ChardevConfig& config, const RingbufBackend& backend, event::Loop& loop,
                               Logger log)
    : ChardevBase(config.id, loop, std::move(log)), ring_(backend.size) {
  set_open(true);
}

std::size_t RingbufChardev::transmit(std::span<const std::byte> bytes) {
  for (const std::byte byte : bytes) ring_[produced_++ & (ring_.size() - 1)] = byte;
  if (produced_ - consumed_ > ring_.size()) consumed_ = produced_ - ring_.size();
  return bytes.size();
}

std::string RingbufChardev::read(std::size_t limit) {
  const std::size_t count = std::min(limit, size());
  std::string text;
  text.reserve(count);
  for (std::size_t i = 0; i < count; ++i) text += static_cast<char>(ring_[consumed_++ & (ring_.size() - 1)]);
  return text;
}

std::size_t RingbufChardev::inject(std::string_view text) {
  std::size_t taken = 0;
  while (taken < text.size()) {
    const auto part = text.substr(taken, room());
    if (part.empty()) break;
    deliver(std::as_bytes(std::span(part)));
    taken += part.size();
  }
  return taken;
}

std::size_t RingbufChardev::size() {
  flush();
  return produced_ - consumed_;
}

}  // namespace doppel::chardev
