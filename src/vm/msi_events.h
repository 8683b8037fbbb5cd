// Interrupt messages by eventfd: the accelerator turns a signal into the message (irqfd).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "accel/accelerator.h"
#include "event/event_fd.h"

namespace doppel::vm {

/// A message that is sent often gets an event and a route of its own. Routes are dear (the kernel replaces its whole
/// table and waits for all that read the old one), and which messages there are is the guest's to choose: hence not for
/// the first few, and for so many messages at most; the one longest unused makes room. Whether a message may be sent,
/// with its masks and pending bits, is decided before it comes here. Its owner's lock guards it.
class MsiEvents {
 public:
  static constexpr std::size_t kMostMessages = 256;
  static constexpr unsigned kSentBefore = 64;

  /// Routes have the GSIs from FIRST_GSI on. SET_ROUTING gives the accelerator all routes, append_routes()'s among
  /// them.
  MsiEvents(accel::Vm& vm, std::uint32_t first_gsi, std::function<Result<>()> set_routing)
      : vm_(vm), first_gsi_(first_gsi), set_routing_(std::move(set_routing)) {}
  ~MsiEvents();
  MsiEvents(const MsiEvents&) = delete;
  MsiEvents& operator=(const MsiEvents&) = delete;

  /// Sends MESSAGE, if it has an event by now; if not, that is the caller's to do.
  bool signal(const accel::MsiMessage& message);
  void append_routes(std::vector<accel::IrqRoute>& routes) const;

 private:
  using Key = std::pair<std::uint64_t, std::uint32_t>;
  struct Entry {
    accel::MsiMessage message;
    unsigned sent = 0;
    std::uint64_t last_sent = 0;            // by count_
    std::optional<event::EventFd> event{};  // once it has one
  };

  Entry& entry_of(const accel::MsiMessage& message);
  Entry& make_room();
  Result<> connect(Entry& entry);
  void disconnect(Entry& entry);
  [[nodiscard]] std::uint32_t gsi(const Entry& entry) const {
    return first_gsi_ + static_cast<std::uint32_t>(&entry - entries_.data());
  }

  accel::Vm& vm_;
  const std::uint32_t first_gsi_;
  const std::function<Result<>()> set_routing_;
  std::vector<Entry> entries_;
  std::map<Key, std::size_t> places_;
  std::uint64_t count_ = 0;
  bool works_ = true;  // false: the accelerator refused, and is not asked again
};

}  // namespace doppel::vm
