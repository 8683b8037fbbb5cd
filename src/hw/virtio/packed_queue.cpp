#include "hw/virtio/packed_queue.h"

#include "hw/virtio/virtio_registers.h"

namespace doppel::hw {

namespace descriptor = virtio::descriptor;

namespace {

constexpr std::size_t kFlagsInDescriptor = 14;

// An event suppression structure (section 2.8.14): a descriptor's place with a wrap counter as bit 15, and flags.
constexpr std::size_t kEventPlace = 0;
constexpr std::size_t kEventFlags = 2;
constexpr std::uint64_t kEventSize = 4;
constexpr std::uint16_t kEnable = 0;
constexpr std::uint16_t kDisable = 1;
constexpr std::uint16_t kAtPlace = 2;
constexpr std::uint16_t kFlagsMask = 3;
constexpr std::uint16_t kWrapBit = 0x8000;

constexpr std::size_t offset_of(std::uint16_t slot) {
  return std::size_t{slot} * descriptor::kSize;
}

}  // namespace

Result<> PackedQueue::open(const memory::DmaSpace& memory) {
  using Access = memory::DmaSpace::Access;
  DOPPEL_ASSIGN(ring_, RingArea::map(memory, addresses_.descriptors, offset_of(size_), 16, Access::kWrite));
  DOPPEL_ASSIGN(driver_, RingArea::map(memory, addresses_.driver, kEventSize, 4, Access::kRead));
  DOPPEL_ASSIGN(device_, RingArea::map(memory, addresses_.device, kEventSize, 4, Access::kWrite));
  memory_ = memory;
  return {};
}

void PackedQueue::close() {
  ring_ = {};
  driver_ = {};
  device_ = {};
  memory_.reset();
}

void PackedQueue::advance(std::uint16_t& index, bool& wrap, std::uint16_t count, std::uint16_t size) {
  index = static_cast<std::uint16_t>(index + count);
  if (index < size) return;
  index = static_cast<std::uint16_t>(index - size);
  wrap = !wrap;
}

bool PackedQueue::is_available() const {
  const std::uint16_t flags = ring_.load16(offset_of(position_.next_available) + kFlagsInDescriptor);
  const bool available = (flags & descriptor::kAvailable) != 0;
  const bool used = (flags & descriptor::kUsed) != 0;
  return available == position_.available_wrap && used != position_.available_wrap;
}

Result<std::optional<Chain>> PackedQueue::pop() {
  if (!is_available()) return std::nullopt;
  ChainBuilder builder;
  std::uint16_t slots = 0;
  for (std::uint16_t at = position_.next_available;;) {
    if (++slots > size_ - position_.slots_taken)
      return fail(ErrorKind::kOutOfRange, "a chain has more descriptors than are free in the queue of {}", size_);
    const auto entry = ring_.copy<PackedDescriptor>(offset_of(at));
    const std::uint16_t flags = entry.flags;
    const bool more = (flags & descriptor::kNext) != 0;
    if ((flags & descriptor::kIndirect) == 0)
      DOPPEL_TRY(builder.add(entry.address, entry.length, (flags & descriptor::kWrite) != 0));
    else if (features_.indirect && slots == 1 && !more)
      DOPPEL_TRY(add_indirect(builder, entry));
    else
      return fail(ErrorKind::kInvalidArgument, "an indirect table stands where none may be");
    if (!more) {
      advance(position_.next_available, position_.available_wrap, slots, size_);
      position_.slots_taken = static_cast<std::uint16_t>(position_.slots_taken + slots);
      return std::move(builder).take(entry.id, slots);
    }
    at = static_cast<std::uint16_t>(at + 1 == size_ ? 0 : at + 1);
  }
}

/// Section 2.8.7: all of the table's descriptors are the chain, in their order; of their flags only WRITE means
/// something.
Result<> PackedQueue::add_indirect(ChainBuilder& builder, const PackedDescriptor& table) const {
  DOPPEL_ASSIGN(const std::uint32_t count, ChainBuilder::indirect_count(table.length));
  for (std::uint32_t at = 0; at < count; ++at) {
    DOPPEL_ASSIGN(const auto entry, memory_->read<PackedDescriptor>({table.address + at * descriptor::kSize}));
    DOPPEL_TRY(builder.add(entry.address, entry.length, (entry.flags & descriptor::kWrite) != 0));
  }
  return {};
}

void PackedQueue::push(const Chain& chain, std::uint32_t written) {
  const std::size_t at = offset_of(position_.next_used);
  const std::uint16_t wrap = position_.used_wrap ? descriptor::kAvailable | descriptor::kUsed : 0;
  const std::uint16_t write = written != 0 ? descriptor::kWrite : 0;
  ring_.put(at + 8, Le32(written));
  ring_.put(at + 12, Le16(chain.id));
  ring_.store16(at + kFlagsInDescriptor, static_cast<std::uint16_t>(wrap | write));
  advance(position_.next_used, position_.used_wrap, chain.slots, size_);
  position_.slots_taken =
      static_cast<std::uint16_t>(position_.slots_taken - std::min(position_.slots_taken, chain.slots));
  progress_.pushed = static_cast<std::uint16_t>(progress_.pushed + chain.slots);
}

bool PackedQueue::publish() {
  const Progress progress = std::exchange(progress_, {.first = false});
  if (progress.pushed == 0) {
    progress_.first = progress.first;
    return false;
  }
  std::atomic_thread_fence(std::memory_order_seq_cst);  // the driver writes what follows before it looks at the ring
  const std::uint16_t flags = driver_.load16(kEventFlags) & kFlagsMask;
  if (flags == kDisable) return false;
  if (flags != kAtPlace || !features_.event_index || progress.first) return true;
  const std::uint16_t place = driver_.load16(kEventPlace);
  auto event = static_cast<std::uint16_t>(place & ~kWrapBit);
  // A place of the round before lies below zero in this one.
  if (((place & kWrapBit) != 0) != position_.used_wrap) event = static_cast<std::uint16_t>(event - size_);
  return passed(event, position_.next_used, progress.pushed);
}

void PackedQueue::suppress_kicks() {
  device_.store16(kEventFlags, kDisable);
}

bool PackedQueue::allow_kicks() {
  if (features_.event_index) {
    const std::uint16_t wrap = position_.available_wrap ? kWrapBit : 0;
    device_.store16(kEventPlace, static_cast<std::uint16_t>(position_.next_available | wrap));
    device_.store16(kEventFlags, kAtPlace);
  } else {
    device_.store16(kEventFlags, kEnable);
  }
  std::atomic_thread_fence(std::memory_order_seq_cst);  // a kick, or a descriptor that is seen here: not neither
  return is_available();
}

}  // namespace doppel::hw
