// A local APIC's saved state, and its exchange with KVM's in-kernel one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "hw/intc/local_apic_timer.h"
#include "hw/intc/vector_set.h"

namespace doppel::hw {

/// The local vectors, in the order of their registers; kCmci's stands apart.
enum class LocalVector : std::uint8_t { kTimer, kThermal, kPerformance, kLint0, kLint1, kError, kCmci };
inline constexpr unsigned kLocalVectorCount = 7;

struct LocalApicState {
  static constexpr std::string_view kName = "local-apic";
  static constexpr std::uint32_t kVersion = 1;

  std::uint64_t apic_base = 0;
  std::uint32_t id = 0;
  std::uint8_t tpr = 0;
  std::uint8_t ldr = 0;  // in x2APIC mode it follows from the id
  std::uint8_t dfr = 0xf;
  std::uint32_t svr = 0xff;
  VectorSet::Words irr{};
  VectorSet::Words isr{};
  VectorSet::Words tmr{};
  std::uint32_t esr = 0;
  std::uint32_t errors = 0;  // not yet latched into the ESR
  std::uint64_t icr = 0;     // high half: destination as the register has it
  std::array<std::uint32_t, kLocalVectorCount> lvt{};
  LocalApicTimer::State timer;
  std::array<bool, 2> lint{};  // levels of the pins
  bool external_request = false;

  void describe(auto& fields) {
    fields("apic_base", apic_base);
    fields("id", id);
    fields("tpr", tpr);
    fields("ldr", ldr);
    fields("dfr", dfr);
    fields("svr", svr);
    fields("irr", irr);
    fields("isr", isr);
    fields("tmr", tmr);
    fields("esr", esr);
    fields("errors", errors);
    fields("icr", icr);
    fields("lvt", lvt);
    fields("timer", timer);
    fields("lint", lint);
    fields("external_request", external_request);
  }
};

/// The first KiB of the register page, as KVM_GET_LAPIC has it.
inline constexpr std::size_t kLocalApicPageSize = 1024;
using LocalApicPage = std::span<std::byte, kLocalApicPageSize>;
using ConstLocalApicPage = std::span<const std::byte, kLocalApicPageSize>;

/// VERSION and COUNT, the timer's current count, are the registers' values. The page does not hold the APIC base, the
/// TSC deadline, errors not latched and the pins' levels. In x2APIC mode the ID is in KVM_CAP_X2APIC_API's 32-bit form.
void to_page(const LocalApicState& state, std::uint32_t version, std::uint32_t count, LocalApicPage page);
/// STATE keeps what the page does not hold, among it its APIC base, which says how to read the rest.
void from_page(ConstLocalApicPage page, LocalApicState& state);

}  // namespace doppel::hw
