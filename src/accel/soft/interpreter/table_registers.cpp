// The descriptor table registers and the task register (SDM 3A 2.4).
#include "accel/soft/interpreter/segment_selectors.h"
#include "accel/soft/interpreter/segments.h"
#include "x86/page_table.h"

namespace doppel::accel::soft {

namespace {

constexpr std::uint64_t kBase24 = 0xff'ffff;

/// SGDT, SIDT, SLDT, STR (and SMSW) are the kernel's if it so wishes.
void check_umip(const Cpu& cpu) {
  if (cpu.cpl != 0 && (cpu.cr4 & x86::cr4::kUmip) != 0) raise_gp();
}
void check_protected_mode(const Cpu& cpu) {
  if (!cpu.protected_mode || cpu.vm86) raise_ud();
}

/// All 32 bits of the base whatever the operand size, as processors do.
template <x86::DescriptorTable Cpu::* table>
void store_table(Cpu& cpu, const Instruction& i) {
  check_umip(cpu);
  const bool wide = cpu.code_mode == CodeMode::kLong64;
  const std::uint64_t size = wide ? 10 : 6;
  const std::uint64_t address = cpu.linear<AccessKind::kWrite>(i.segment, cpu.effective_address(i), size);
  cpu.probe(address, 2, AccessKind::kWrite);
  cpu.probe(address + 2, size - 2, AccessKind::kWrite);
  cpu.store_linear<std::uint16_t>(address, (cpu.*table).limit);
  if (wide)
    cpu.store_linear<std::uint64_t>(address + 2, (cpu.*table).base);
  else
    cpu.store_linear<std::uint32_t>(address + 2, static_cast<std::uint32_t>((cpu.*table).base));
}

template <x86::DescriptorTable Cpu::* table>
void load_table(Cpu& cpu, const Instruction& i) {
  if (cpu.cpl != 0) raise_gp();
  const std::uint64_t address = cpu.effective_address(i);
  const auto limit = cpu.load<std::uint16_t>(i.segment, address);
  std::uint64_t base = 0;
  if (cpu.code_mode == CodeMode::kLong64) {
    base = cpu.load<std::uint64_t>(i.segment, address + 2);
    if (!x86::is_canonical(base, cpu.linear_bits())) raise_gp();
  } else {
    base = cpu.load<std::uint32_t>(i.segment, address + 2);
    if (i.operand_size == 2) base &= kBase24;
  }
  cpu.*table = {.base = base, .limit = limit};
}

/// OPERAND_SIZE becomes the attribute of that name: the operand itself has 6 or 10 bytes.
template <Handler handler>
Handler select_with_attribute(const Decoded& decoded, Instruction& instruction) {
  instruction.operand_size = static_cast<std::uint8_t>(decoded.zydis.operand_width / 8U);
  return handler;
}

template <x86::Segment Cpu::* segment>
void store_selector(Cpu& cpu, const Instruction& i) {
  check_protected_mode(cpu);
  check_umip(cpu);
  write_selector(cpu, i, (cpu.*segment).selector);
}

void lldt(Cpu& cpu, const Instruction& i) {
  check_protected_mode(cpu);
  if (cpu.cpl != 0) raise_gp();
  load_ldt(cpu, read_selector(cpu, i));
}

void ltr(Cpu& cpu, const Instruction& i) {
  constexpr std::uint16_t kTableIndicator = 4;
  check_protected_mode(cpu);
  if (cpu.cpl != 0) raise_gp();
  const std::uint16_t selector = read_selector(cpu, i);
  if (is_null_selector(selector)) raise_gp();
  const std::uint32_t error = selector_error(selector);
  if ((selector & kTableIndicator) != 0) raise_gp(error);
  Descriptor descriptor = fetch_descriptor(cpu, selector);
  if (!descriptor.is_available_tss(cpu.long_mode) || descriptor.has_reserved_bits()) raise_gp(error);
  if (!descriptor.segment.present) raise(x86::kSegmentNotPresent, error);
  if (!x86::is_canonical(descriptor.segment.base, cpu.linear_bits())) raise_gp(error);
  set_busy(cpu, descriptor.address, true);
  cpu.tr = descriptor.segment;
  cpu.tr.type |= kTssBusyBit;
}

}  // namespace

Handler select_sgdt(const Decoded&, Instruction&) {
  return store_table<&Cpu::gdt>;
}
Handler select_sidt(const Decoded&, Instruction&) {
  return store_table<&Cpu::idt>;
}
Handler select_lgdt(const Decoded& decoded, Instruction& instruction) {
  return select_with_attribute<load_table<&Cpu::gdt>>(decoded, instruction);
}
Handler select_lidt(const Decoded& decoded, Instruction& instruction) {
  return select_with_attribute<load_table<&Cpu::idt>>(decoded, instruction);
}
Handler select_sldt(const Decoded&, Instruction&) {
  return store_selector<&Cpu::ldt>;
}
Handler select_str(const Decoded&, Instruction&) {
  return store_selector<&Cpu::tr>;
}
Handler select_lldt(const Decoded&, Instruction&) {
  return lldt;
}
Handler select_ltr(const Decoded&, Instruction&) {
  return ltr;
}

}  // namespace doppel::accel::soft
