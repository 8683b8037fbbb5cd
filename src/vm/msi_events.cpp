#include "vm/msi_events.h"

#include <algorithm>

namespace doppel::vm {

MsiEvents::~MsiEvents() {
  for (Entry& entry : entries_) disconnect(entry);
}

bool MsiEvents::signal(const accel::MsiMessage& message) {
  Entry& entry = entry_of(message);
  entry.last_sent = ++count_;
  if (!entry.event) {
    if (!works_ || ++entry.sent <= kSentBefore) return false;
    works_ = connect(entry).has_value();
    if (!works_) return false;
  }
  entry.event->signal();
  return true;
}

void MsiEvents::append_routes(std::vector<accel::IrqRoute>& routes) const {
  for (const Entry& entry : entries_)
    if (entry.event)
      routes.push_back({.gsi = gsi(entry), .target = accel::IrqRoute::Target::kMsi, .pin = 0, .msi = entry.message});
}

MsiEvents::Entry& MsiEvents::entry_of(const accel::MsiMessage& message) {
  const Key key{message.address, message.data};
  if (const auto found = places_.find(key); found != places_.end()) return entries_[found->second];
  Entry& entry = make_room();
  entry.message = message;
  places_[key] = static_cast<std::size_t>(&entry - entries_.data());
  return entry;
}

MsiEvents::Entry& MsiEvents::make_room() {
  if (entries_.empty()) entries_.reserve(kMostMessages);
  if (entries_.size() < kMostMessages) return entries_.emplace_back();
  Entry& oldest = *std::ranges::min_element(entries_, {}, &Entry::last_sent);
  disconnect(oldest);
  places_.erase({oldest.message.address, oldest.message.data});
  oldest.sent = 0;
  return oldest;
}

Result<> MsiEvents::connect(Entry& entry) {
  DOPPEL_ASSIGN(entry.event, event::EventFd::create());
  auto connected = set_routing_();
  if (connected) connected = vm_.attach_irqfd(gsi(entry), *entry.event, nullptr);
  if (!connected) entry.event.reset();
  return connected;
}

/// Its route stays until another takes the GSI: nobody signals it.
void MsiEvents::disconnect(Entry& entry) {
  if (!entry.event) return;
  (void)vm_.detach_irqfd(gsi(entry), *entry.event);
  entry.event.reset();
}

}  // namespace doppel::vm
