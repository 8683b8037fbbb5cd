#include "hw/virtio/virtio_device.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <utility>

#include "base/endian.h"

namespace doppel::hw {

namespace feature = virtio::feature;

namespace {

/// Chains taken before the loop may look after others.
constexpr unsigned kMostAtOnce = 256;

}  // namespace

VirtioDevice::Guard::~Guard() {
  const auto actions = std::exchange(device_.actions_, {});
  guard_.reset();
  for (const auto& action : actions) action();
}

VirtioDevice::VirtioDevice(VirtioHost& host, const VirtioOptions& options) : host_(host), options_(options) {
  add_queues();
}

VirtioDevice::~VirtioDevice() = default;

void VirtioDevice::add_queues() {
  for (unsigned index = 0; index < options_.queues; ++index) {
    auto doorbell = event::EventFd::create();
    if (!doorbell) {
      // Too few descriptors on this host: the transport sees that queues are missing.
      log().error("queue {}: {}", index, doorbell.error().describe());
      return;
    }
    auto queue = std::make_unique<Queue>(std::move(*doorbell));
    queue->state.size = options_.queue_size;
    queue->watch = loop().watch_fd(queue->doorbell.fd(), event::FdReady::kReadable, [this, index] { kicked(index); });
    queues_.push_back(std::move(queue));
  }
}

// ---- Status and features

std::uint64_t VirtioDevice::ring_features() const {
  return (options_.indirect ? feature::kIndirect : 0) | (options_.event_index ? feature::kEventIndex : 0) |
         (options_.packed ? feature::kRingPacked : 0);
}

void VirtioDevice::set_driver_features(std::uint64_t features) {
  const bool in_use = std::ranges::any_of(queues_, [](const auto& queue) { return queue->ring != nullptr; });
  if ((status_ & virtio::kFeaturesOk) == 0 && !is_driver_ok() && !in_use) driver_features_ = features;
}

/// Section 2.2: what a driver may ask for.
Result<> VirtioDevice::check_features(std::uint64_t transport_features) const {
  if (const std::uint64_t unknown = driver_features_ & ~(offered_features() | transport_features); unknown != 0)
    return fail(ErrorKind::kUnsupported, "the driver wants features that were not offered: {:#x}", unknown);
  if (driver_has(feature::kRingPacked) && !driver_has(feature::kVersion1))
    return fail(ErrorKind::kInvalidArgument, "the driver wants packed queues by the legacy interface");
  return {};
}

void VirtioDevice::set_status(std::uint8_t status, std::uint64_t transport_features) {
  if (status == 0) return reset();
  const std::uint8_t before = status_;
  status_ = static_cast<std::uint8_t>((status & ~virtio::kNeedsReset) | (before & virtio::kNeedsReset));
  if ((status & ~before & virtio::kFeaturesOk) != 0) {
    if (const auto agreed = check_features(transport_features); !agreed) {
      log().guest_error("{}", agreed.error().describe());
      status_ = static_cast<std::uint8_t>(status_ & ~virtio::kFeaturesOk);
    }
  }
  if ((status & ~before & virtio::kDriverOk) == 0) return;
  driver_ready();
  kick_all();
}

void VirtioDevice::reset() {
  ++epoch_;
  stale_ += under_way_.size();
  for (const auto& queue : queues_) {
    stale_ -= queue->finished.size() + queue->again.size();  // for these nobody has to wait
    queue->finished.clear();
    queue->again.clear();
    queue->ring.reset();
    queue->starved = false;
    queue->state = {.size = options_.queue_size, .addresses = {}, .position = {}};
  }
  under_way_.clear();
  if (status_ != 0) status_at_reset_ = std::exchange(status_, 0);
  driver_features_ = 0;
  reset_own();
}

void VirtioDevice::driver_failed(const Error& error) {
  if (!works()) return;
  if (!std::exchange(failure_told_, true))
    log().warn("the guest's driver must reset the device: {}; further failures are not noted", error.describe());
  else
    log().guest_error("the driver must reset the device: {}", error.describe());
  status_ |= virtio::kNeedsReset;
  if (is_driver_ok() && driver_has(feature::kVersion1)) config_changed();
}

std::optional<memory::DmaMappings> VirtioDevice::lend_memory(std::span<const Segment> segments, std::uint64_t offset,
                                                             std::size_t length,
                                                             memory::DmaSpace::Access access) const {
  const auto guest = memory();
  if (!guest || !driver_has(feature::kVersion1)) return std::nullopt;
  auto mapped = map_segments(*guest, segments, offset, length, access);
  if (!mapped) return std::nullopt;
  return std::move(*mapped);
}

void VirtioDevice::config_changed() {
  ++config_generation_;
  host_.interrupt_config();
}

std::uint64_t VirtioDevice::read_config(std::uint64_t offset, unsigned size) const {
  const std::vector<std::byte> bytes = config();
  std::uint64_t value = 0;
  for (unsigned i = 0; i < size && offset + i < bytes.size(); ++i)
    value |= std::to_integer<std::uint64_t>(bytes[offset + i]) << (8 * i);
  return value;
}

// ---- Queues

VirtioQueueState* VirtioDevice::queue(unsigned index) {
  return index < queues_.size() ? &queues_[index]->state : nullptr;
}

Result<std::unique_ptr<Virtqueue>> VirtioDevice::make_ring(const VirtioQueueState& state) const {
  const bool packed = driver_has(feature::kRingPacked);
  if (state.size == 0 || state.size > options_.queue_size || (!packed && !std::has_single_bit(state.size)))
    return fail(ErrorKind::kInvalidArgument, "a queue of {} descriptors", state.size);
  return Virtqueue::create(
      state.size, state.addresses,
      {.packed = packed, .event_index = driver_has(feature::kEventIndex), .indirect = driver_has(feature::kIndirect)});
}

void VirtioDevice::enable_queue(unsigned index, bool enabled) {
  Queue& queue = *queues_[index];
  if (!enabled) {
    queue.ring.reset();
    queue.state.enabled = false;
    return;
  }
  if (queue.ring) return;
  auto ring = make_ring(queue.state);
  if (!ring) return driver_failed(ring.error());
  queue.ring = std::move(*ring);
  queue.state.enabled = true;
  kick(index);
}

void VirtioDevice::kick_all() {
  for (unsigned index = 0; index < queue_count(); ++index) kick(index);
}

void VirtioDevice::kicked(unsigned index) {
  (void)queues_[index]->doorbell.drain();
  const Guard guard(*this);
  look_at(index);
}

/// Drivers of the legacy interface use their queues before DRIVER_OK, too.
void VirtioDevice::look_at(unsigned index) {
  Queue& queue = *queues_[index];
  if (!queue.ring || !works() || stale_ != 0 || (!is_driver_ok() && driver_has(feature::kVersion1))) return;
  const auto memory = host_.device_memory();
  if (!memory) return log().guest_error("queue {} is kicked in vain: {}", index, memory.error().describe());
  auto taken = queue.ring->open(*memory);
  if (taken) taken = take_batch(index, *memory);
  if (queue.ring) queue.ring->close();
  if (!taken) driver_failed(std::move(taken).error().wrap(fmt::format("queue {}", index)));
}

Result<> VirtioDevice::take_batch(unsigned index, const memory::DmaSpace& /*memory*/) {
  Queue& queue = *queues_[index];
  queue.ring->suppress_kicks();
  queue.starved = false;
  for (unsigned taken = 0;;) {
    if (!has_room(index)) {
      queue.starved = true;  // what is completed makes room, and looks again
      return {};
    }
    if (taken == kMostAtOnce) {
      kick(index);
      return {};
    }
    if (!queue.again.empty()) {
      const VirtioRequestPtr request = std::move(queue.again.back());
      queue.again.pop_back();
      forget(request);
      DOPPEL_TRY(take(index, std::move(request->chain)));
      continue;
    }
    DOPPEL_ASSIGN(std::optional<Chain> chain, queue.ring->pop());
    if (chain) {
      ++taken;
      DOPPEL_TRY(take(index, std::move(*chain)));
    } else if (!queue.ring->allow_kicks()) {
      return {};
    } else {
      queue.ring->suppress_kicks();
    }
  }
}

// ---- Requests

void VirtioDevice::begin(const VirtioRequestPtr& request, unsigned queue, Chain chain) {
  request->queue = queue;
  request->chain = std::move(chain);
  request->epoch = epoch_;
  request->place = under_way_.size();
  under_way_.push_back(request);
}

void VirtioDevice::forget(const VirtioRequestPtr& request) {
  under_way_.back()->place = request->place;
  std::swap(under_way_[request->place], under_way_.back());
  under_way_.pop_back();
}

void VirtioDevice::abandon(const VirtioRequestPtr& request) {
  if (!is_stale(*request)) return forget(request);
  if (--stale_ == 0) kick_all();
}

void VirtioDevice::complete(const VirtioRequestPtr& request, std::uint64_t written) {
  const std::uint64_t shown = std::min<std::uint64_t>(written, std::numeric_limits<std::uint32_t>::max());
  queues_[request->queue]->finished.push_back({request, static_cast<std::uint32_t>(shown)});
  if (std::exchange(show_posted_, true)) return;
  loop().post([this, alive = std::weak_ptr(alive_)] {
    if (alive.expired()) return;
    const Guard guard(*this);
    show_posted_ = false;
    show_finished();
  });
}

/// Everything that has ended since the last turn of the loop.
void VirtioDevice::show_finished() {
  const auto memory = host_.device_memory();
  for (unsigned index = 0; index < queue_count(); ++index) {
    Queue& queue = *queues_[index];
    if (!queue.finished.empty() && queue.ring && works()) {
      auto shown = memory ? show_finished(index, *memory) : std::unexpected(memory.error());
      if (!shown) driver_failed(std::move(shown).error().wrap(fmt::format("queue {}", index)));
    }
    for (const Finished& finished : queue.finished) forget(finished.request);
    queue.finished.clear();
  }
  for (unsigned index = 0; index < queue_count(); ++index)
    if (queues_[index]->starved) look_at(index);
}

Result<> VirtioDevice::show_finished(unsigned index, const memory::DmaSpace& memory) {
  Queue& queue = *queues_[index];
  DOPPEL_TRY(queue.ring->open(memory));
  for (const Finished& finished : queue.finished) queue.ring->push(finished.request->chain, finished.written);
  if (queue.ring->publish()) host_.interrupt_queue(index);
  queue.ring->close();
  return {};
}

// ---- Saving

VirtioDeviceState VirtioDevice::save() const {
  VirtioDeviceState saved;
  saved.driver_features = driver_features_;
  saved.status = status_;
  saved.config_generation = config_generation_;
  for (const auto& queue : queues_) {
    saved.queues.push_back(queue->state);
    if (queue->ring) saved.queues.back().position = queue->ring->position();
  }
  for (const VirtioRequestPtr& request : under_way_)
    saved.under_way.push_back({static_cast<std::uint16_t>(request->queue), request->chain});
  saved.own = save_own();
  return saved;
}

Result<> VirtioDevice::check_saved(const VirtioDeviceState& saved) const {
  if (saved.queues.size() != queues_.size())
    return fail(ErrorKind::kCorrupt, "the saved device has {} queues, this one {}", saved.queues.size(),
                queues_.size());
  std::vector<std::size_t> slots(queues_.size());
  for (const VirtioChainState& entry : saved.under_way) {
    if (entry.queue >= queues_.size() || !saved.queues[entry.queue].enabled)
      return fail(ErrorKind::kCorrupt, "a saved request is of queue {}", entry.queue);
    if (entry.chain.readable.size() + entry.chain.writable.size() > ChainBuilder::kMostDescriptors ||
        entry.chain.slots == 0)
      return fail(ErrorKind::kCorrupt, "a saved request is too long");
    slots[entry.queue] += entry.chain.slots;
  }
  for (std::size_t i = 0; i < queues_.size(); ++i)
    // Fewer there are when the driver broke the rules: such chains are not given back.
    if (saved.queues[i].enabled && slots[i] > saved.queues[i].position.slots_taken)
      return fail(ErrorKind::kCorrupt, "queue {} has {} descriptors under way, and requests for {}", i,
                  saved.queues[i].position.slots_taken, slots[i]);
  return {};
}

Result<> VirtioDevice::load(const VirtioDeviceState& saved, std::uint64_t transport_features) {
  DOPPEL_TRY(check_saved(saved));
  reset();
  driver_features_ = saved.driver_features;
  // Before that a driver may have written anything.
  if ((saved.status & virtio::kFeaturesOk) != 0) DOPPEL_TRY(check_features(transport_features));
  DOPPEL_TRY(load_own(saved.own));
  for (std::size_t i = 0; i < queues_.size(); ++i) {
    Queue& queue = *queues_[i];
    queue.state = saved.queues[i];
    if (!queue.state.enabled) continue;
    DOPPEL_ASSIGN(queue.ring, make_ring(queue.state));
    DOPPEL_TRY(queue.ring->set_position(queue.state.position));
  }
  status_ = saved.status;
  config_generation_ = saved.config_generation;
  for (const VirtioChainState& entry : saved.under_way) {
    auto request = std::make_shared<VirtioRequest>();
    begin(request, entry.queue, entry.chain);
    queues_[entry.queue]->again.insert(queues_[entry.queue]->again.begin(), std::move(request));
  }
  // Not now, while other devices and perhaps memory are still loaded.
  kick_all();
  return {};
}

}  // namespace doppel::hw
