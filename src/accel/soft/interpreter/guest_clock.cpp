#include "accel/soft/interpreter/guest_clock.h"

#include <atomic>
#include <chrono>
#include <thread>

#include "accel/soft/interpreter/cpu.h"

namespace doppel::accel::soft {

namespace {

constexpr std::uint64_t kNanosecondsPerSecond = 1'000'000'000;
/// Long enough that the two clocks' reading times do not matter.
constexpr std::uint64_t kLeastCalibration = 20'000'000;

std::uint64_t host_ns() {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
          .count());
}

/// struct pvclock_vcpu_time_info.
struct ClockPage {
  std::uint32_t version;  // odd while the rest is being written
  std::uint32_t padding;
  std::uint64_t tsc_timestamp;
  std::uint64_t system_time;
  std::uint32_t multiplier;
  std::int8_t shift;
  std::uint8_t flags;
  std::uint8_t padding_behind[2];
};
static_assert(sizeof(ClockPage) == 32);
constexpr std::uint8_t kTscIsStable = 1;

/// struct pvclock_wall_clock.
struct WallClock {
  std::uint32_t version;
  std::uint32_t seconds;
  std::uint32_t nanoseconds;
};

/// Guest RAM for a T at ADDRESS; null if there is none that can be written.
template <class T>
T* place(const GuestRam& ram, std::uint64_t address) {
  RamSlot* slot = address % alignof(std::uint32_t) == 0 ? ram.find(address) : nullptr;
  if (slot == nullptr || slot->read_only() || !slot->contains(address + sizeof(T) - 1)) return nullptr;
  (void)slot->note_store(address);
  (void)slot->note_store(address + sizeof(T) - 1);
  return reinterpret_cast<T*>(slot->host(address));
}

/// CONTENTS' version is ignored: it counts on, odd while the rest changes.
template <class T>
void publish(T* shared, T contents) {
  const std::atomic_ref version(shared->version);
  const std::uint32_t begin = version.load(std::memory_order_relaxed) | 1U;
  version.store(begin, std::memory_order_release);
  std::atomic_thread_fence(std::memory_order_release);
  contents.version = begin;
  *shared = contents;
  version.store(begin + 1, std::memory_order_release);
}

}  // namespace

ClockScale ClockScale::of_frequency(std::uint64_t hz) {
  ClockScale scale;
  // The multiplier has 32 significant bits if the shifted counter runs at 1 to 2 GHz.
  for (; hz > 2 * kNanosecondsPerSecond; hz /= 2) --scale.shift;
  for (; hz <= kNanosecondsPerSecond; hz *= 2) ++scale.shift;
  scale.multiplier = static_cast<std::uint32_t>((static_cast<unsigned __int128>(kNanosecondsPerSecond) << 32U) / hz);
  return scale;
}

std::uint64_t ClockScale::at(std::uint64_t tsc) const {
  const std::uint64_t ticks = tsc - host_tsc;
  const std::uint64_t shifted = shift < 0 ? ticks >> -shift : ticks << shift;
  return ns + static_cast<std::uint64_t>(static_cast<unsigned __int128>(shifted) * multiplier >> 32U);
}

GuestClock::GuestClock() : tsc_at_creation_(host_tsc()), ns_at_creation_(host_ns()) {}

std::uint64_t GuestClock::since_creation() const {
  return host_ns() - ns_at_creation_;
}

std::uint64_t GuestClock::now() {
  const std::scoped_lock lock(mutex_);
  return scale_ ? scale_->at(host_tsc()) : since_creation() + offset_;
}

void GuestClock::set(std::uint64_t ns) {
  const std::scoped_lock lock(mutex_);
  offset_ = ns - since_creation();
  if (!scale_) return;
  scale_->ns = ns;
  scale_->host_tsc = host_tsc();
}

ClockScale GuestClock::scale() {
  const std::scoped_lock lock(mutex_);
  if (scale_) return *scale_;
  if (const std::uint64_t age = since_creation(); age < kLeastCalibration)
    std::this_thread::sleep_for(std::chrono::nanoseconds(kLeastCalibration - age));
  const std::uint64_t ns = since_creation();
  const std::uint64_t tsc = host_tsc();
  const std::uint64_t ticks = tsc - tsc_at_creation_;
  scale_ = ClockScale::of_frequency(
      static_cast<std::uint64_t>(static_cast<unsigned __int128>(ticks) * kNanosecondsPerSecond / ns));
  scale_->host_tsc = tsc;
  scale_->ns = ns + offset_;
  return *scale_;
}

std::uint64_t GuestClock::tsc_offset_for(std::uint64_t value) {
  constexpr std::uint64_t kNearly = std::uint64_t{1} << 30U;  // some hundred milliseconds
  const std::scoped_lock lock(mutex_);
  const std::uint64_t offset = value - host_tsc();
  if (last_tsc_offset_ && offset - *last_tsc_offset_ + kNearly < 2 * kNearly) return *last_tsc_offset_;
  last_tsc_offset_ = offset;
  return offset;
}

std::uint64_t guest_tsc(const Cpu& cpu) {
  return host_tsc() + cpu.msrs.tsc_offset;
}

void publish_clock(Cpu& cpu) {
  constexpr std::uint64_t kEnabled = 1;
  constexpr x86::FeatureBit kStableBit{x86::FeatureWord::kKvmEax, 1U << 24U};
  if ((cpu.msrs.kvm_system_time & kEnabled) == 0) return;
  auto* page = place<ClockPage>(cpu.machine.ram, cpu.msrs.kvm_system_time & ~kEnabled);
  if (page == nullptr) return;
  const ClockScale scale = cpu.machine.clock.scale();
  publish(page, {.version = 0,
                 .padding = 0,
                 .tsc_timestamp = scale.host_tsc + cpu.msrs.tsc_offset,
                 .system_time = scale.ns,
                 .multiplier = scale.multiplier,
                 .shift = scale.shift,
                 .flags = cpu.has(kStableBit) ? kTscIsStable : std::uint8_t{0},
                 .padding_behind = {}});
}

void publish_wall_clock(Cpu& cpu, std::uint64_t address) {
  auto* shared = place<WallClock>(cpu.machine.ram, address);
  if (shared == nullptr) return;
  const auto since_epoch =
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch());
  const std::uint64_t begin = static_cast<std::uint64_t>(since_epoch.count()) - cpu.machine.clock.now();
  publish(shared, {.version = 0,
                   .seconds = static_cast<std::uint32_t>(begin / kNanosecondsPerSecond),
                   .nanoseconds = static_cast<std::uint32_t>(begin % kNanosecondsPerSecond)});
}

}  // namespace doppel::accel::soft
