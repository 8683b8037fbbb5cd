#include "hw/isa/debug_console.h"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

namespace doppel::hw {

DebugConsole::DebugConsole(DebugConsoleConfig config, chardev::Chardev* backend, Logger log)
    : config_(std::move(config)), backend_(backend), log_(std::move(log)) {
  if (backend_ == nullptr) return;
  backend_->connect({.can_receive = {},
                     .receive = {},
                     .can_write =
                         [this] {
                           const DeviceGuard guard(*this);
                           flush();
                         },
                     .event = {}});
}

DebugConsole::~DebugConsole() {
  if (backend_ != nullptr) backend_->connect({});
}

std::uint64_t DebugConsole::read(std::uint64_t /*offset*/, unsigned /*size*/) {
  return config_.readback;
}

void DebugConsole::write(std::uint64_t /*offset*/, unsigned /*size*/, std::uint64_t value) {
  const DeviceGuard guard(*this);
  if (backend_ == nullptr) return;
  if (pending_.size() >= kMaxPending) {
    if (!std::exchange(dropping_, true)) log_.warn("'{}' takes no more, output is lost", backend_->id());
    return;
  }
  pending_.push_back(static_cast<std::byte>(value));
  if (pending_.size() == 1) flush();
}

/// Hands over what the backend takes. With bytes left waiting, can_write calls again.
void DebugConsole::flush() {
  std::array<std::byte, 4096> chunk;
  while (!pending_.empty()) {
    const std::size_t size = std::min(chunk.size(), pending_.size());
    std::copy_n(pending_.begin(), size, chunk.begin());
    const std::size_t taken = std::min(size, backend_->write(std::span(chunk).first(size)));
    pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(taken));
    if (taken < size) return;
  }
  dropping_ = false;
}

}  // namespace doppel::hw
