#include "hw/intc/local_apic_state.h"

#include <algorithm>

#include "base/bits.h"
#include "base/endian.h"
#include "hw/intc/local_apic_registers.h"

namespace doppel::hw {

using namespace lapic;

namespace {

std::byte* at(LocalApicPage page, Register reg, unsigned n = 0) {
  return page.data() + 16 * (static_cast<std::size_t>(reg) + n);
}

std::uint32_t get(ConstLocalApicPage page, Register reg, unsigned n = 0) {
  return load_le<std::uint32_t>(page.data() + 16 * (static_cast<std::size_t>(reg) + n));
}

void put_vectors(LocalApicPage page, Register first, const VectorSet::Words& words) {
  for (unsigned n = 0; n < 8; ++n)
    store_le(at(page, first, n), static_cast<std::uint32_t>(words[n / 2] >> (32 * (n & 1U))));
}

VectorSet::Words get_vectors(ConstLocalApicPage page, Register first) {
  VectorSet::Words words{};
  for (unsigned n = 0; n < 8; ++n) words[n / 2] |= std::uint64_t{get(page, first, n)} << (32 * (n & 1U));
  return words;
}

constexpr Register lvt_register(unsigned index) {
  return index == static_cast<unsigned>(LocalVector::kCmci)
             ? Register::kLvtCmci
             : static_cast<Register>(static_cast<unsigned>(Register::kLvtTimer) + index);
}

}  // namespace

void to_page(const LocalApicState& state, std::uint32_t version, std::uint32_t count, LocalApicPage page) {
  const bool x2apic = test_bit(state.apic_base, kBaseX2apicBit);
  std::ranges::fill(page, std::byte{0});
  store_le(at(page, Register::kId), x2apic ? state.id : state.id << 24U);
  store_le(at(page, Register::kVersion), version);
  store_le<std::uint32_t>(at(page, Register::kTpr), state.tpr);
  store_le(at(page, Register::kLdr), x2apic ? x2apic_ldr(state.id) : static_cast<std::uint32_t>(state.ldr) << 24U);
  store_le(at(page, Register::kDfr), static_cast<std::uint32_t>(state.dfr) << 28U | 0x0fffffffU);
  store_le(at(page, Register::kSvr), state.svr);
  put_vectors(page, Register::kIsr, state.isr);
  put_vectors(page, Register::kTmr, state.tmr);
  put_vectors(page, Register::kIrr, state.irr);
  store_le(at(page, Register::kEsr), state.esr);
  store_le(at(page, Register::kIcr), static_cast<std::uint32_t>(state.icr));
  store_le(at(page, Register::kIcrHigh), static_cast<std::uint32_t>(state.icr >> 32U));
  for (unsigned i = 0; i < kLocalVectorCount; ++i) store_le(at(page, lvt_register(i)), state.lvt[i]);
  store_le(at(page, Register::kInitialCount), state.timer.initial_count);
  store_le(at(page, Register::kCurrentCount), count);
  store_le(at(page, Register::kDivide), state.timer.divide);
}

void from_page(ConstLocalApicPage page, LocalApicState& state) {
  if (!test_bit(state.apic_base, kBaseX2apicBit)) {
    state.id = get(page, Register::kId) >> 24U;
    state.ldr = static_cast<std::uint8_t>(get(page, Register::kLdr) >> 24U);
  }
  state.tpr = static_cast<std::uint8_t>(get(page, Register::kTpr));
  state.dfr = static_cast<std::uint8_t>(get(page, Register::kDfr) >> 28U);
  state.svr = get(page, Register::kSvr);
  state.isr = get_vectors(page, Register::kIsr);
  state.tmr = get_vectors(page, Register::kTmr);
  state.irr = get_vectors(page, Register::kIrr);
  state.esr = get(page, Register::kEsr);
  state.icr = std::uint64_t{get(page, Register::kIcrHigh)} << 32U | get(page, Register::kIcr);
  for (unsigned i = 0; i < kLocalVectorCount; ++i) state.lvt[i] = get(page, lvt_register(i));
  state.timer.initial_count = get(page, Register::kInitialCount);
  state.timer.divide = get(page, Register::kDivide);
  const std::uint32_t count = get(page, Register::kCurrentCount);
  state.timer.running = count != 0;
  state.timer.remaining_ns = count * LocalApicTimer::divided_ns(state.timer.divide);
}

}  // namespace doppel::hw
