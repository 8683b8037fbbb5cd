// Questions about selectors that fault on nothing: LAR, LSL, VERR, VERW; and ARPL (SDM 3A 5.10).
#include <optional>

#include "accel/soft/interpreter/segment_selectors.h"
#include "accel/soft/interpreter/segments.h"
#include "base/bits.h"

namespace doppel::accel::soft {

namespace {

/// Types of system descriptors as a bit mask, by what the manual's tables for LAR and LSL have.
constexpr std::uint32_t kLsl16And32 = bit<std::uint32_t>(x86::kTss16Available) | bit<std::uint32_t>(x86::kTss16Busy);
constexpr std::uint32_t kLslAlways =
    bit<std::uint32_t>(x86::kLdt) | bit<std::uint32_t>(x86::kTssAvailable) | bit<std::uint32_t>(x86::kTssBusy);
constexpr std::uint32_t kLar16And32 =
    kLsl16And32 | bit<std::uint32_t>(x86::kCallGate16) | bit<std::uint32_t>(x86::kTaskGate);
constexpr std::uint32_t kLarAlways = kLslAlways | bit<std::uint32_t>(x86::kCallGate);

void check_protected_mode(const Cpu& cpu) {
  if (!cpu.protected_mode || cpu.vm86) raise_ud();
}

void answer(Cpu& cpu, bool yes) {
  cpu.rflags = yes ? cpu.rflags | x86::rflags::kZf : cpu.rflags & ~x86::rflags::kZf;
}

/// The descriptor of SELECTOR if the current program and the selector's RPL may see it.
std::optional<Descriptor> visible_descriptor(Cpu& cpu, std::uint16_t selector) {
  if (is_null_selector(selector)) return {};
  const std::optional<Descriptor> found = find_descriptor(cpu, selector);
  if (!found || found->is_conforming_code()) return found;
  if (cpu.cpl > found->segment.dpl || rpl_of(selector) > found->segment.dpl) return {};
  return found;
}
std::optional<Descriptor> visible_descriptor_of(Cpu& cpu, std::uint16_t selector, std::uint32_t types) {
  const std::optional<Descriptor> found = visible_descriptor(cpu, selector);
  if (!found || !found->is_system()) return found;
  return test_bit(types, found->segment.type) && !found->has_reserved_bits() ? found : std::nullopt;
}

/// The source of LAR and LSL: with two registers, the second.
std::uint16_t source_selector(Cpu& cpu, const Instruction& i) {
  check_protected_mode(cpu);
  return i.has_memory ? read_selector(cpu, i) : cpu.get<std::uint16_t>(i.reg);
}
template <class T>
void set_destination(Cpu& cpu, const Instruction& i, std::uint32_t value) {
  cpu.set<T>(i.has_memory ? i.reg : i.rm, static_cast<T>(value));
}

template <class T>
void lar(Cpu& cpu, const Instruction& i) {
  constexpr std::uint32_t kRights = 0x00ff'ff00;
  const auto found =
      visible_descriptor_of(cpu, source_selector(cpu, i), kLarAlways | (cpu.long_mode ? 0 : kLar16And32));
  answer(cpu, found.has_value());
  if (found) set_destination<T>(cpu, i, static_cast<std::uint32_t>(found->low >> 32) & kRights);
}

template <class T>
void lsl(Cpu& cpu, const Instruction& i) {
  const auto found =
      visible_descriptor_of(cpu, source_selector(cpu, i), kLslAlways | (cpu.long_mode ? 0 : kLsl16And32));
  answer(cpu, found.has_value());
  if (found) set_destination<T>(cpu, i, found->segment.limit);
}

void verr(Cpu& cpu, const Instruction& i) {
  check_protected_mode(cpu);
  const auto found = visible_descriptor(cpu, read_selector(cpu, i));
  answer(cpu, found && found->is_readable());
}
void verw(Cpu& cpu, const Instruction& i) {
  check_protected_mode(cpu);
  const auto found = visible_descriptor(cpu, read_selector(cpu, i));
  answer(cpu, found && found->is_writable_data());
}

void arpl(Cpu& cpu, const Instruction& i) {
  check_protected_mode(cpu);
  const std::uint16_t destination = read_selector(cpu, i);
  const std::uint8_t rpl = rpl_of(cpu.get<std::uint16_t>(i.reg));
  const bool adjust = rpl_of(destination) < rpl;
  if (adjust) {
    const auto adjusted = static_cast<std::uint16_t>((destination & 0xfffcU) | rpl);
    if (i.has_memory)
      cpu.store<std::uint16_t>(i.segment, cpu.effective_address(i), adjusted);
    else
      cpu.set<std::uint16_t>(i.rm, adjusted);
  }
  answer(cpu, adjust);
}

}  // namespace

Handler select_lar(const Decoded&, Instruction& instruction) {
  constexpr BySize kTable{nullptr, lar<std::uint16_t>, lar<std::uint32_t>, lar<std::uint64_t>};
  return kTable.of(instruction.operand_size);
}
Handler select_lsl(const Decoded&, Instruction& instruction) {
  constexpr BySize kTable{nullptr, lsl<std::uint16_t>, lsl<std::uint32_t>, lsl<std::uint64_t>};
  return kTable.of(instruction.operand_size);
}
Handler select_verr(const Decoded&, Instruction&) {
  return verr;
}
Handler select_verw(const Decoded&, Instruction&) {
  return verw;
}
Handler select_arpl(const Decoded&, Instruction&) {
  return arpl;
}

}  // namespace doppel::accel::soft
