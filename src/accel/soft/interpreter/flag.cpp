// Flag control (SDM 1 5.1.11). CLI and STI obey IOPL, or work on VIF where virtual interrupts are on (SDM 3B 20.3.3,
// 20.4).
#include <array>

#include "accel/soft/interpreter/cpu.h"
#include "accel/soft/interpreter/operation.h"
#include "accel/soft/interpreter/register_offset.h"

namespace doppel::accel::soft {

namespace {

namespace rflags = x86::rflags;

template <std::uint64_t kFlag>
void set_flag(Cpu& cpu, const Instruction&) {
  cpu.rflags |= kFlag;
}
template <std::uint64_t kFlag>
void clear_flag(Cpu& cpu, const Instruction&) {
  cpu.rflags &= ~kFlag;
}
void cmc(Cpu& cpu, const Instruction&) {
  cpu.rflags ^= rflags::kCf;
}

constexpr std::uint64_t kInAh = rflags::kArithmetic & ~rflags::kOf;

void lahf(Cpu& cpu, const Instruction&) {
  cpu.set(kAccumulatorHigh, static_cast<std::uint8_t>((cpu.rflags & kInAh) | rflags::kFixed));
}
void sahf(Cpu& cpu, const Instruction&) {
  cpu.rflags = (cpu.rflags & ~kInAh) | (cpu.get<std::uint8_t>(kAccumulatorHigh) & kInAh);
}
void salc(Cpu& cpu, const Instruction&) {
  cpu.set<std::uint8_t>(kAccumulator, cpu.flag(rflags::kCf) ? 0xff : 0);
}

/// The flag that CLI and STI change: IF or VIF; #GP if neither.
std::uint64_t interrupt_flag(const Cpu& cpu) {
  if (cpu.cpl <= cpu.iopl()) return rflags::kIf;
  const std::uint64_t virtual_interrupts = cpu.vm86 ? x86::cr4::kVme : x86::cr4::kPvi;
  if (cpu.cpl != 3 || (cpu.cr4 & virtual_interrupts) == 0) raise_gp();
  return rflags::kVif;
}
void cli(Cpu& cpu, const Instruction&) {
  cpu.rflags &= ~interrupt_flag(cpu);
}
void sti(Cpu& cpu, const Instruction&) {
  const std::uint64_t flag = interrupt_flag(cpu);
  if (flag == rflags::kVif && cpu.flag(rflags::kVip)) raise_gp();
  if (cpu.flag(flag)) return;
  cpu.rflags |= flag;
  if (flag != rflags::kIf) return;
  cpu.events.sti_shadow = true;
  cpu.leave_block = true;
}

template <Handler handler>
Handler always(const Decoded&, Instruction&) {
  return handler;
}

constexpr std::array kRows = {
    OperationRow{ZYDIS_MNEMONIC_CLC, always<clear_flag<rflags::kCf>>},
    OperationRow{ZYDIS_MNEMONIC_STC, always<set_flag<rflags::kCf>>},
    OperationRow{ZYDIS_MNEMONIC_CMC, always<cmc>},
    OperationRow{ZYDIS_MNEMONIC_CLD, always<clear_flag<rflags::kDf>>},
    OperationRow{ZYDIS_MNEMONIC_STD, always<set_flag<rflags::kDf>>},
    OperationRow{ZYDIS_MNEMONIC_CLI, always<cli>},
    OperationRow{ZYDIS_MNEMONIC_STI, always<sti>},
    OperationRow{ZYDIS_MNEMONIC_LAHF, always<lahf>},
    OperationRow{ZYDIS_MNEMONIC_SAHF, always<sahf>},
    OperationRow{ZYDIS_MNEMONIC_SALC, always<salc>},
};

}  // namespace

std::span<const OperationRow> flag_operations() {
  return kRows;
}

}  // namespace doppel::accel::soft
