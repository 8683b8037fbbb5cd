#include "hw/virtio/split_queue.h"

#include "base/bits.h"
#include "hw/virtio/virtio_registers.h"

namespace doppel::hw {

namespace descriptor = virtio::descriptor;

namespace {

// Offsets in both rings, and flags of theirs (sections 2.7.6 and 2.7.8).
constexpr std::size_t kFlags = 0;
constexpr std::size_t kIndex = 2;
constexpr std::size_t kRing = 4;
constexpr std::uint16_t kNoInterrupt = 1;
constexpr std::uint16_t kNoNotify = 1;

struct UsedElement {
  Le32 id;
  Le32 length;
};

}  // namespace

RingAddresses SplitQueue::legacy_addresses(std::uint64_t address, std::uint16_t size) {
  const std::uint64_t driver = address + descriptors_size(size);
  return {.descriptors = address, .driver = driver, .device = align_up(driver + driver_size(size), 4096U)};
}

Result<> SplitQueue::open(const memory::DmaSpace& memory) {
  using Access = memory::DmaSpace::Access;
  DOPPEL_ASSIGN(descriptors_,
                RingArea::map(memory, addresses_.descriptors, descriptors_size(size_), 16, Access::kRead));
  DOPPEL_ASSIGN(driver_, RingArea::map(memory, addresses_.driver, driver_size(size_), 2, Access::kRead));
  DOPPEL_ASSIGN(device_, RingArea::map(memory, addresses_.device, device_size(size_), 4, Access::kWrite));
  memory_ = memory;
  return {};
}

void SplitQueue::close() {
  descriptors_ = {};
  driver_ = {};
  device_ = {};
  memory_.reset();
}

Result<std::optional<Chain>> SplitQueue::pop() {
  const std::uint16_t end = driver_.load16(kIndex);
  const auto waiting = static_cast<std::uint16_t>(end - position_.next_available);
  if (waiting == 0) return std::nullopt;
  if (waiting > size_)
    return fail(ErrorKind::kOutOfRange, "the available index jumps from {} to {} in a queue of {}",
                position_.next_available, end, size_);
  if (position_.slots_taken == size_)
    return fail(ErrorKind::kOutOfRange, "more chains are available than the queue of {} has descriptors", size_);
  const std::uint16_t head = driver_.load16(kRing + std::size_t{2} * slot(position_.next_available));
  ChainBuilder builder;
  DOPPEL_TRY(follow(builder, head));
  ++position_.next_available;
  ++position_.slots_taken;
  return std::move(builder).take(head, 1);
}

Result<> SplitQueue::follow(ChainBuilder& builder, std::uint16_t head) const {
  for (std::uint16_t at = head;;) {
    if (at >= size_) return fail(ErrorKind::kOutOfRange, "descriptor {} of a queue of {} is asked for", at, size_);
    const auto entry = descriptors_.copy<SplitDescriptor>(std::size_t{at} * descriptor::kSize);
    const std::uint16_t flags = entry.flags;
    if ((flags & descriptor::kIndirect) != 0) return follow_indirect(builder, entry);
    DOPPEL_TRY(builder.add(entry.address, entry.length, (flags & descriptor::kWrite) != 0));
    if ((flags & descriptor::kNext) == 0) return {};
    at = entry.next;
  }
}

/// Section 2.7.5.3: such a descriptor ends its chain, and the table's may not lead to another table.
Result<> SplitQueue::follow_indirect(ChainBuilder& builder, const SplitDescriptor& table) const {
  if (!features_.indirect || (table.flags & descriptor::kNext) != 0)
    return fail(ErrorKind::kInvalidArgument, "an indirect table stands where none may be");
  DOPPEL_ASSIGN(const std::uint32_t count, ChainBuilder::indirect_count(table.length));
  for (std::uint32_t at = 0;;) {
    if (at >= count) return fail(ErrorKind::kOutOfRange, "descriptor {} of an indirect table of {}", at, count);
    DOPPEL_ASSIGN(const auto entry, memory_->read<SplitDescriptor>({table.address + at * descriptor::kSize}));
    const std::uint16_t flags = entry.flags;
    if ((flags & descriptor::kIndirect) != 0)
      return fail(ErrorKind::kInvalidArgument, "an indirect table leads to another");
    DOPPEL_TRY(builder.add(entry.address, entry.length, (flags & descriptor::kWrite) != 0));
    if ((flags & descriptor::kNext) == 0) return {};
    at = entry.next;
  }
}

void SplitQueue::push(const Chain& chain, std::uint32_t written) {
  const UsedElement element{.id = chain.id, .length = written};
  device_.put(kRing + sizeof(UsedElement) * slot(position_.next_used), element);
  ++position_.next_used;
  if (position_.slots_taken > 0) --position_.slots_taken;
  ++progress_.pushed;
}

bool SplitQueue::publish() {
  const Progress progress = std::exchange(progress_, {.first = false});
  if (progress.pushed == 0) {
    progress_.first = progress.first;
    return false;
  }
  device_.store16(kIndex, position_.next_used);
  std::atomic_thread_fence(std::memory_order_seq_cst);  // the driver writes what follows before it reads the index
  if (!features_.event_index) return (driver_.load16(kFlags) & kNoInterrupt) == 0;
  return progress.first || passed(driver_.load16(used_event_offset()), position_.next_used, progress.pushed);
}

/// With event indices an index that stays behind is hint enough.
void SplitQueue::suppress_kicks() {
  if (!features_.event_index) device_.store16(kFlags, kNoNotify);
}

bool SplitQueue::allow_kicks() {
  if (features_.event_index)
    device_.store16(available_event_offset(), position_.next_available);
  else
    device_.store16(kFlags, 0);
  std::atomic_thread_fence(std::memory_order_seq_cst);  // a kick, or an index that is seen here: not neither
  return driver_.load16(kIndex) != position_.next_available;
}

}  // namespace doppel::hw
