#include "vm/apic_port.h"

#include <algorithm>
#include <utility>

namespace doppel::vm {

void ApicPort::post(std::uint32_t signal) {
  std::uint32_t before = signals_.load();
  while (true) {
    std::uint32_t after = before | signal;
    if ((signal & kStartupBit) != 0) {
      if ((before & kStartupBit) != 0) return;  // the first of several start-ups counts
      after = (before & ~0xffU) | signal;
    }
    if ((signal & kInitBit) != 0) after = kInitBit;  // what came before the INIT is void
    if (signals_.compare_exchange_weak(before, after)) break;
  }
  wake();
}

std::optional<CpuSignalEvent> ApicPort::take_signal() {
  constexpr std::pair<std::uint32_t, CpuSignal> kOrder[] = {{kInitBit, CpuSignal::kInit},
                                                            {kStartupBit, CpuSignal::kStartup},
                                                            {kNmiBit, CpuSignal::kNmi},
                                                            {kSmiBit, CpuSignal::kSmi}};
  std::uint32_t before = signals_.load();
  while (before != 0) {
    const auto* const first =
        std::ranges::find_if(kOrder, [before](const auto& entry) { return (before & entry.first) != 0; });
    const auto [mask, signal] = *first;
    // In one step: an INIT may void this signal meanwhile, and a later start-up must not vanish with this one.
    if (!signals_.compare_exchange_weak(before, before & ~(mask == kStartupBit ? mask | 0xffU : mask))) continue;
    if (signal == CpuSignal::kInit) apic_->init();
    return CpuSignalEvent{.signal = signal, .vector = static_cast<std::uint8_t>(before)};
  }
  return std::nullopt;
}

memory::IoHandler* ApicPort::page_at(memory::GuestPhysAddr address) {
  const auto page = apic_->mmio_address();
  return page && address.value - *page < hw::LocalApic::kSize ? apic_ : nullptr;
}

bool ApicPort::read_msr(std::uint32_t index, std::uint64_t& value) {
  if (!hw::LocalApic::owns_msr(index)) return false;
  const auto read = apic_->read_msr(index);
  if (read) value = *read;
  return read.has_value();
}

bool ApicPort::write_msr(std::uint32_t index, std::uint64_t value) {
  return hw::LocalApic::owns_msr(index) && apic_->write_msr(index, value);
}

}  // namespace doppel::vm
