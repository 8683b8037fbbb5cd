#include "memory/address_space.h"

#include <algorithm>
#include <cstring>

#include "base/bits.h"
#include "base/endian.h"
#include "memory/bus_access.h"
#include "memory/flatten.h"

namespace doppel::memory {

namespace {

/// Does RANGE hold all SIZE bytes from ADDRESS, which it contains?
bool holds(const FlatRange& range, GuestPhysAddr address, std::uint64_t size) {
  return size <= range.size - (address - range.start);
}

struct Difference {
  std::vector<const FlatRange*> removed;
  std::vector<const FlatRange*> added;
};

/// Both lists are by address.
Difference difference(const std::vector<FlatRange>& before, const std::vector<FlatRange>& after) {
  Difference result;
  auto old_range = before.begin();
  auto new_range = after.begin();
  while (old_range != before.end() || new_range != after.end()) {
    if (new_range == after.end() || (old_range != before.end() && old_range->start < new_range->start)) {
      result.removed.push_back(&*old_range++);
    } else if (old_range == before.end() || new_range->start < old_range->start) {
      result.added.push_back(&*new_range++);
    } else {
      if (!(*old_range == *new_range)) {
        result.removed.push_back(&*old_range);
        result.added.push_back(&*new_range);
      }
      ++old_range;
      ++new_range;
    }
  }
  return result;
}

/// The largest access that a bus makes of what is left: a power of two, aligned, at most 8.
unsigned piece_size(GuestPhysAddr address, std::uint64_t left) {
  unsigned size = 8;
  while (size > left || !is_aligned(address.value, size)) size /= 2;
  return size;
}

}  // namespace

AddressSpace::AddressSpace(Topology& topology, RegionPtr root, std::string name, Logger log)
    : topology_(topology), root_(std::move(root)), name_(std::move(name)), log_(std::move(log)) {
  const Transaction transaction(topology_);
  topology_.spaces_.push_back(this);
  rebuild();
}

AddressSpace::~AddressSpace() {
  const Transaction transaction(topology_);
  std::erase(topology_.spaces_, this);
}

std::shared_ptr<const FlatView> AddressSpace::view() const {
  const std::scoped_lock lock(view_mutex_);
  return view_;
}

std::uint64_t AddressSpace::read(GuestPhysAddr address, unsigned size) {
  const auto flat = view();
  const FlatRange* range = flat->find(address);
  if (range != nullptr && holds(*range, address, size)) return read_range(*range, address, size);
  if (range == nullptr && flat->bytes_to_next(address) >= size) return read_hole(address, size);
  return read_bytewise(*flat, address, size);
}

void AddressSpace::write(GuestPhysAddr address, unsigned size, std::uint64_t value) {
  std::shared_ptr<const FlatView> flat;
  {
    const std::scoped_lock lock(view_mutex_);
    if (!io_events_.empty() && ring_locked(address, size, value)) return;
    flat = view_;
  }
  const FlatRange* range = flat->find(address);
  if (range != nullptr && holds(*range, address, size)) return write_range(*range, address, size, value);
  if (range == nullptr && flat->bytes_to_next(address) >= size) return note_hole("write", address, size);
  write_bytewise(*flat, address, size, value);
}

std::uint64_t AddressSpace::read_bytewise(const FlatView& view, GuestPhysAddr address, unsigned size) const {
  std::uint64_t value = 0;
  for (unsigned i = 0; i < size; ++i) {
    const FlatRange* range = view.find(address + i);
    const std::uint64_t byte = range != nullptr ? read_range(*range, address + i, 1) : read_hole(address + i, 1);
    value |= byte << (8 * i);
  }
  return value;
}

void AddressSpace::write_bytewise(const FlatView& view, GuestPhysAddr address, unsigned size,
                                  std::uint64_t value) const {
  for (unsigned i = 0; i < size; ++i) {
    if (const FlatRange* range = view.find(address + i); range != nullptr)
      write_range(*range, address + i, 1, (value >> (8 * i)) & 0xff);
    else
      note_hole("write", address + i, 1);
  }
}

void AddressSpace::note_hole(std::string_view access, GuestPhysAddr address, std::uint64_t size) const {
  log_.guest_error("{}: a {} of {} bytes at {}, where nothing is", name_, access, size, address);
}

std::uint64_t AddressSpace::read_hole(GuestPhysAddr address, unsigned size) const {
  note_hole("read", address, size);
  return low_mask(8 * size);
}

void AddressSpace::read(GuestPhysAddr address, std::span<std::byte> out) {
  const auto flat = view();
  while (!out.empty()) {
    const FlatRange* range = flat->find(address);
    std::uint64_t step = 0;
    if (range == nullptr) {
      step = std::min<std::uint64_t>(out.size(), std::max<std::uint64_t>(flat->bytes_to_next(address), 1));
      note_hole("read", address, step);
      std::memset(out.data(), 0xff, step);
    } else if (range->readable_ram) {
      step = std::min<std::uint64_t>(out.size(), range->end() - address);
      std::memcpy(out.data(), range->host() + (address - range->start), step);
    } else {
      step = piece_size(address, std::min<std::uint64_t>(out.size(), range->end() - address));
      store_le_sized(out.data(), step, read_range(*range, address, static_cast<unsigned>(step)));
    }
    out = out.subspan(step);
    address += step;
  }
}

void AddressSpace::write(GuestPhysAddr address, std::span<const std::byte> data) {
  const auto flat = view();
  while (!data.empty()) {
    const FlatRange* range = flat->find(address);
    std::uint64_t step = 0;
    if (range == nullptr) {
      step = std::min<std::uint64_t>(data.size(), std::max<std::uint64_t>(flat->bytes_to_next(address), 1));
      note_hole("write", address, step);
    } else if (range->writable_ram) {
      step = std::min<std::uint64_t>(data.size(), range->end() - address);
      const std::uint64_t offset = address - range->start;
      std::memcpy(range->host() + offset, data.data(), step);
      range->region->ram()->dirty().mark(range->ram_offset() + offset, step);
    } else {
      step = piece_size(address, std::min<std::uint64_t>(data.size(), range->end() - address));
      write(address, static_cast<unsigned>(step), load_le_sized(data.data(), step));
    }
    data = data.subspan(step);
    address += step;
  }
}

void AddressSpace::rebuild() {
  auto fresh = std::make_shared<const FlatView>(Flattener::flatten(root_));
  // Kept to the end: regions that only the old view holds die without view_mutex_.
  const auto before = view();
  const Difference changes = difference(before->ranges(), fresh->ranges());
  if (changes.removed.empty() && changes.added.empty()) return;
  {
    const std::scoped_lock lock(view_mutex_);
    view_ = fresh;
  }
  const auto listeners = listeners_;  // a listener may add or remove listeners
  for (AddressSpaceListener* listener : listeners) {
    listener->begin();
    for (const FlatRange* range : changes.removed) listener->range_removed(*range);
    for (const FlatRange* range : changes.added) listener->range_added(*range);
    listener->commit();
  }
}

void AddressSpace::add_listener(AddressSpaceListener& listener) {
  const Transaction transaction(topology_);
  listeners_.push_back(&listener);
  listener.begin();
  const auto flat = view();
  for (const FlatRange& range : flat->ranges()) listener.range_added(range);
  for (const IoEvent& event : io_events_) listener.io_event_added(event);
  listener.commit();
}

void AddressSpace::remove_listener(AddressSpaceListener& listener) {
  const Transaction transaction(topology_);
  std::erase(listeners_, &listener);
}

void AddressSpace::add_io_event(const IoEvent& event) {
  const Transaction transaction(topology_);
  {
    const std::scoped_lock lock(view_mutex_);
    io_events_.insert(std::ranges::upper_bound(io_events_, event.address, {}, &IoEvent::address), event);
  }
  for (AddressSpaceListener* listener : listeners_) {
    listener->begin();
    listener->io_event_added(event);
    listener->commit();
  }
}

void AddressSpace::remove_io_event(const IoEvent& event) {
  const Transaction transaction(topology_);
  {
    const std::scoped_lock lock(view_mutex_);
    const auto found = std::ranges::find(io_events_, event);
    if (found == io_events_.end()) return;
    io_events_.erase(found);
  }
  for (AddressSpaceListener* listener : listeners_) {
    listener->begin();
    listener->io_event_removed(event);
    listener->commit();
  }
}

bool AddressSpace::ring_locked(GuestPhysAddr address, unsigned size, std::uint64_t value) const {
  const auto matches = std::ranges::equal_range(io_events_, address, {}, &IoEvent::address);
  for (const IoEvent& event : matches) {
    if (event.size != 0 && event.size != size) continue;
    if (event.value.has_value() && *event.value != (value & low_mask(8 * size))) continue;
    event.event->signal();
    return true;
  }
  return false;
}

}  // namespace doppel::memory
