// Instructions on segment registers (SDM 1 5.1.10, 3A 3.4.4).
#include <array>
#include <utility>

#include "accel/soft/interpreter/operation.h"
#include "accel/soft/interpreter/segment_selectors.h"
#include "accel/soft/interpreter/segments.h"
#include "accel/soft/interpreter/stack.h"
#include "x86/page_table.h"

namespace doppel::accel::soft {

void write_selector(Cpu& cpu, const Instruction& i, std::uint16_t selector) {
  if (i.has_memory) return cpu.store<std::uint16_t>(i.segment, cpu.effective_address(i), selector);
  switch (i.operand_size) {
    case 2: return cpu.set<std::uint16_t>(i.rm, selector);
    case 4: return cpu.set<std::uint32_t>(i.rm, selector);
    default: return cpu.set<std::uint64_t>(i.rm, selector);
  }
}

namespace {

using x86::SegmentName;

bool is_segment_register(const Decoded& decoded, unsigned n) {
  return decoded.is_register(n) && ZydisRegisterGetClass(decoded.operand(n).reg.value) == ZYDIS_REGCLASS_SEGMENT;
}
/// Zydis counts in the encoding's order.
SegmentName segment_name(const Decoded& decoded, unsigned n) {
  return static_cast<SegmentName>(ZydisRegisterGetId(decoded.operand(n).reg.value));
}

void hold_interrupts_after_ss(Cpu& cpu) {
  cpu.events.mov_ss_shadow = true;
  cpu.leave_block = true;
}

// EXTRA is the segment register.
SegmentName segment_of(const Instruction& i) {
  return static_cast<SegmentName>(i.extra);
}

void mov_from_segment(Cpu& cpu, const Instruction& i) {
  write_selector(cpu, i, cpu.segment.at(i.extra).selector);
}
void mov_to_segment(Cpu& cpu, const Instruction& i) {
  load_segment(cpu, segment_of(i), read_selector(cpu, i));
}
void mov_to_ss(Cpu& cpu, const Instruction& i) {
  load_segment(cpu, x86::kSs, read_selector(cpu, i));
  hold_interrupts_after_ss(cpu);
}

Handler select_mov(const Decoded& decoded, Instruction& instruction) {
  const bool is_load = is_segment_register(decoded, 0);
  if (!is_load && !is_segment_register(decoded, 1)) return nullptr;
  const SegmentName name = segment_name(decoded, is_load ? 0 : 1);
  instruction.extra = name;
  if (!is_load) return mov_from_segment;
  return name == x86::kSs ? mov_to_ss : mov_to_segment;
}

template <class T>
void push_segment(Cpu& cpu, const Instruction& i) {
  const std::uint16_t selector = cpu.segment.at(i.extra).selector;
  if (sizeof(T) != 4 || is_amd(cpu)) return push<T>(cpu, selector);
  // Intel's make room for 32 bits and write 16 (SDM 2B PUSH).
  const std::uint64_t offset = (cpu.gpr[x86::kRsp] - sizeof(T)) & stack_mask(cpu);
  cpu.store<std::uint16_t>(x86::kSs, offset, selector);
  set_stack_pointer(cpu, offset);
}

template <class T>
void pop_segment(Cpu& cpu, const Instruction& i) {
  const auto selector = static_cast<std::uint16_t>(peek<T>(cpu));
  // By the old stack's size, but not before SS has loaded.
  const std::uint64_t before = cpu.gpr[x86::kRsp];
  drop(cpu, sizeof(T));
  const std::uint64_t after = std::exchange(cpu.gpr[x86::kRsp], before);
  load_segment(cpu, segment_of(i), selector);
  cpu.gpr[x86::kRsp] = after;
  if (i.extra == x86::kSs) hold_interrupts_after_ss(cpu);
}

Handler select_push(const Decoded& decoded, Instruction& instruction) {
  if (!is_segment_register(decoded, 0)) return nullptr;
  instruction.extra = segment_name(decoded, 0);
  instruction.operand_size = static_cast<std::uint8_t>(decoded.zydis.operand_width / 8U);
  constexpr BySize kTable{nullptr, push_segment<std::uint16_t>, push_segment<std::uint32_t>,
                          push_segment<std::uint64_t>};
  return kTable.of(instruction.operand_size);
}
Handler select_pop(const Decoded& decoded, Instruction& instruction) {
  if (!is_segment_register(decoded, 0)) return nullptr;
  instruction.extra = segment_name(decoded, 0);
  instruction.operand_size = static_cast<std::uint8_t>(decoded.zydis.operand_width / 8U);
  constexpr BySize kTable{nullptr, pop_segment<std::uint16_t>, pop_segment<std::uint32_t>, pop_segment<std::uint64_t>};
  return kTable.of(instruction.operand_size);
}

/// LDS, LES, LFS, LGS, LSS. No shadow behind LSS.
template <SegmentName name, class T>
void load_far_pointer(Cpu& cpu, const Instruction& i) {
  if constexpr (sizeof(T) == 8)
    if (is_amd(cpu)) return load_far_pointer<name, std::uint32_t>(cpu, i);  // theirs know no REX.W here
  const std::uint64_t address = cpu.effective_address(i);
  const T offset = cpu.load<T>(i.segment, address);
  load_segment(cpu, name, cpu.load<std::uint16_t>(i.segment, address + sizeof(T)));
  cpu.set<T>(i.reg, offset);
}
template <SegmentName name>
Handler select_load_far_pointer(const Decoded&, Instruction& instruction) {
  constexpr BySize kTable{nullptr, load_far_pointer<name, std::uint16_t>, load_far_pointer<name, std::uint32_t>,
                          load_far_pointer<name, std::uint64_t>};
  return kTable.of(instruction.operand_size);
}

void swapgs(Cpu& cpu, const Instruction&) {
  if (cpu.cpl != 0) raise_gp();
  std::swap(cpu.segment[x86::kGs].base, cpu.msrs.kernel_gs_base);
  cpu.update_view(x86::kGs);
}
Handler select_swapgs(const Decoded&, Instruction&) {
  return swapgs;
}

template <SegmentName name, class T>
void read_base(Cpu& cpu, const Instruction& i) {
  if ((cpu.cr4 & x86::cr4::kFsgsbase) == 0) raise_ud();
  cpu.set<T>(i.rm, static_cast<T>(cpu.segment[name].base));
}
template <SegmentName name, class T>
void write_base(Cpu& cpu, const Instruction& i) {
  if ((cpu.cr4 & x86::cr4::kFsgsbase) == 0) raise_ud();
  const std::uint64_t base = cpu.get<T>(i.rm);
  if (!x86::is_canonical(base, cpu.linear_bits())) raise_gp();
  cpu.segment[name].base = base;
  cpu.update_view(name);
}
template <SegmentName name>
Handler select_read_base(const Decoded&, Instruction& instruction) {
  return instruction.operand_size == 8 ? read_base<name, std::uint64_t> : read_base<name, std::uint32_t>;
}
template <SegmentName name>
Handler select_write_base(const Decoded&, Instruction& instruction) {
  return instruction.operand_size == 8 ? write_base<name, std::uint64_t> : write_base<name, std::uint32_t>;
}

constexpr std::array kRows = {
    OperationRow{ZYDIS_MNEMONIC_MOV, select_mov},
    OperationRow{ZYDIS_MNEMONIC_PUSH, select_push},
    OperationRow{ZYDIS_MNEMONIC_POP, select_pop},
    OperationRow{ZYDIS_MNEMONIC_LDS, select_load_far_pointer<x86::kDs>},
    OperationRow{ZYDIS_MNEMONIC_LES, select_load_far_pointer<x86::kEs>},
    OperationRow{ZYDIS_MNEMONIC_LFS, select_load_far_pointer<x86::kFs>},
    OperationRow{ZYDIS_MNEMONIC_LGS, select_load_far_pointer<x86::kGs>},
    OperationRow{ZYDIS_MNEMONIC_LSS, select_load_far_pointer<x86::kSs>},
    OperationRow{ZYDIS_MNEMONIC_SWAPGS, select_swapgs},
    OperationRow{ZYDIS_MNEMONIC_RDFSBASE, select_read_base<x86::kFs>},
    OperationRow{ZYDIS_MNEMONIC_RDGSBASE, select_read_base<x86::kGs>},
    OperationRow{ZYDIS_MNEMONIC_WRFSBASE, select_write_base<x86::kFs>},
    OperationRow{ZYDIS_MNEMONIC_WRGSBASE, select_write_base<x86::kGs>},
    OperationRow{ZYDIS_MNEMONIC_SGDT, select_sgdt},
    OperationRow{ZYDIS_MNEMONIC_SIDT, select_sidt},
    OperationRow{ZYDIS_MNEMONIC_LGDT, select_lgdt},
    OperationRow{ZYDIS_MNEMONIC_LIDT, select_lidt},
    OperationRow{ZYDIS_MNEMONIC_SLDT, select_sldt},
    OperationRow{ZYDIS_MNEMONIC_STR, select_str},
    OperationRow{ZYDIS_MNEMONIC_LLDT, select_lldt},
    OperationRow{ZYDIS_MNEMONIC_LTR, select_ltr},
    OperationRow{ZYDIS_MNEMONIC_LAR, select_lar},
    OperationRow{ZYDIS_MNEMONIC_LSL, select_lsl},
    OperationRow{ZYDIS_MNEMONIC_VERR, select_verr},
    OperationRow{ZYDIS_MNEMONIC_VERW, select_verw},
    OperationRow{ZYDIS_MNEMONIC_ARPL, select_arpl},
};

}  // namespace

std::span<const OperationRow> segment_operations() {
  return kRows;
}

}  // namespace doppel::accel::soft
