// Time as guests see it: the time stamp counter, which is the host's with an offset, and KVM's paravirtual clock, which
// is read from the counter by a scale that the guest finds in its memory (the kernel's
// Documentation/virt/kvm/x86/msr.rst, MSR_KVM_SYSTEM_TIME_NEW).
#pragma once

#include <x86intrin.h>

#include <cstdint>
#include <mutex>
#include <optional>

namespace doppel::accel::soft {

class Cpu;

inline std::uint64_t host_tsc() {
  return __rdtsc();
}

/// Nanoseconds = ((TSC since HOST_TSC) shifted by SHIFT) * MULTIPLIER / 2^32 + NS.
struct ClockScale {
  std::uint64_t host_tsc = 0;
  std::uint64_t ns = 0;
  std::uint32_t multiplier = 0;
  std::int8_t shift = 0;  // negative: to the right

  /// For a counter of HZ; HOST_TSC and NS are left at 0.
  static ClockScale of_frequency(std::uint64_t hz);
  [[nodiscard]] std::uint64_t at(std::uint64_t tsc) const;
};

/// What the vCPUs of one VM share of time. Any thread.
class GuestClock {
 public:
  GuestClock();

  /// The paravirtual clock's nanoseconds; it begins at 0.
  std::uint64_t now();
  void set(std::uint64_t ns);
  /// How the guest may compute now() by itself. The first call fixes the counter's frequency, for which it may wait
  /// some milliseconds.
  ClockScale scale();

  /// The offset for a vCPU whose counter is to read VALUE now. Offsets that nearly agree are made to agree, so that
  /// vCPUs reset one after another count alike.
  std::uint64_t tsc_offset_for(std::uint64_t value);

 private:
  [[nodiscard]] std::uint64_t since_creation() const;

  const std::uint64_t tsc_at_creation_;
  const std::uint64_t ns_at_creation_;

  std::mutex mutex_;          // guards what follows
  std::uint64_t offset_ = 0;  // now() minus since_creation(), as long as there is no scale
  std::optional<ClockScale> scale_;
  std::optional<std::uint64_t> last_tsc_offset_;
};

std::uint64_t guest_tsc(const Cpu& cpu);

/// Writes CPU's page of the paravirtual clock, if it asked for one: after a change of its address, of its counter or of
/// the clock.
void publish_clock(Cpu& cpu);
/// Writes the wall-clock time at which the paravirtual clock read 0 to guest-physical ADDRESS.
void publish_wall_clock(Cpu& cpu, std::uint64_t address);

}  // namespace doppel::accel::soft
