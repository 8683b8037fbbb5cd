#include "x86/cpu_format.h"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <iterator>

#include "base/bits.h"
#include "base/endian.h"
#include "x86/descriptor.h"
#include "x86/registers.h"

namespace doppel::x86 {
namespace {

using Out = std::back_insert_iterator<std::string>;

constexpr std::array<std::string_view, kGprCount> kGprNames = {"AX", "CX", "DX", "BX", "SP", "BP", "SI", "DI",
                                                               "8 ", "9 ", "10", "11", "12", "13", "14", "15"};
/// QEMU's order: the encoding's, with RBX where it belongs alphabetically.
constexpr std::array<std::uint8_t, kGprCount> kGprOrder = {kRax, kRbx, kRcx, kRdx, kRsi, kRdi, kRbp, kRsp,
                                                           kR8,  kR9,  kR10, kR11, kR12, kR13, kR14, kR15};

constexpr std::array<std::string_view, 16> kSystemTypes32 = {
    "Reserved", "TSS16-avl", "LDT",      "TSS16-busy", "CallGate16", "TaskGate", "IntGate16", "TrapGate16",
    "Reserved", "TSS32-avl", "Reserved", "TSS32-busy", "CallGate32", "Reserved", "IntGate32", "TrapGate32"};
constexpr std::array<std::string_view, 16> kSystemTypes64 = {
    "<hiword>", "Reserved",  "LDT",      "Reserved",   "Reserved",   "Reserved", "Reserved",  "Reserved",
    "Reserved", "TSS64-avl", "Reserved", "TSS64-busy", "CallGate64", "Reserved", "IntGate64", "TrapGate64"};

bool in_long_mode(const CpuState& state) {
  return (state.efer & efer::kLma) != 0;
}
bool in_64bit_code(const CpuState& state) {
  return in_long_mode(state) && state.segment.at(kCs).long_mode;
}

unsigned current_privilege(const CpuState& state) {
  if ((state.cr0 & cr0::kPe) == 0) return 0;
  if ((state.rflags & rflags::kVm) != 0) return 3;
  return state.segment.at(kSs).dpl;
}

void format_general(Out out, const CpuState& state, bool wide) {
  const std::size_t count = wide ? kGprCount : 8;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint8_t index = kGprOrder.at(i);
    const std::string_view name = kGprNames.at(index);
    const char end = i % 4 == 3 ? '\n' : ' ';
    if (wide)
      fmt::format_to(out, "R{}={:016x}{}", name, state.gpr.at(index), end);
    else
      fmt::format_to(out, "E{}={:08x}{}", name, static_cast<std::uint32_t>(state.gpr.at(index)), end);
  }
}

std::string flag_letters(std::uint64_t flags) {
  struct Letter {
    std::uint64_t flag;
    char letter;
  };
  constexpr std::array<Letter, 7> kLetters = {{{rflags::kDf, 'D'},
                                               {rflags::kOf, 'O'},
                                               {rflags::kSf, 'S'},
                                               {rflags::kZf, 'Z'},
                                               {rflags::kAf, 'A'},
                                               {rflags::kPf, 'P'},
                                               {rflags::kCf, 'C'}}};
  std::string text;
  for (const auto& [flag, letter] : kLetters) text += (flags & flag) != 0 ? letter : '-';
  return text;
}

void format_position(Out out, const CpuState& state, bool wide) {
  if (wide)
    fmt::format_to(out, "RIP={:016x} RFL={:08x}", state.rip, state.rflags);
  else
    fmt::format_to(out, "EIP={:08x} EFL={:08x}", static_cast<std::uint32_t>(state.rip), state.rflags);
  const unsigned inhibited = (state.events.sti_shadow ? 1U : 0U) | (state.events.mov_ss_shadow ? 2U : 0U);
  fmt::format_to(out, " [{}] CPL={} II={} A20=1 SMM={} HLT={}\n", flag_letters(state.rflags), current_privilege(state),
                 inhibited, static_cast<int>(state.events.smm), static_cast<int>(state.mp_state == MpState::kHalted));
}

void format_segments(Out out, const CpuState& state, bool wide) {
  constexpr std::array<std::string_view, kSegmentCount> kNames = {"ES", "CS", "SS", "DS", "FS", "GS"};
  const bool protected_mode = (state.cr0 & cr0::kPe) != 0;
  const bool long_mode = in_long_mode(state);
  for (std::size_t i = 0; i < kSegmentCount; ++i)
    fmt::format_to(out, "{}\n", format_segment(kNames.at(i), state.segment.at(i), wide, protected_mode, long_mode));
  fmt::format_to(out, "{}\n", format_segment("LDT", state.ldt, wide, protected_mode, long_mode));
  fmt::format_to(out, "{}\n", format_segment("TR", state.tr, wide, protected_mode, long_mode));
}

void format_system(Out out, const CpuState& state) {
  const int width = in_long_mode(state) ? 16 : 8;
  fmt::format_to(out, "GDT=     {:0{}x} {:08x}\n", state.gdt.base, width, state.gdt.limit);
  fmt::format_to(out, "IDT=     {:0{}x} {:08x}\n", state.idt.base, width, state.idt.limit);
  fmt::format_to(out, "CR0={:08x} CR2={:0{}x} CR3={:0{}x} CR4={:08x}\n", state.cr0, state.cr2, width, state.cr3, width,
                 state.cr4);
  fmt::format_to(out, "DR0={:016x} DR1={:016x} DR2={:016x} DR3={:016x} \n", state.dr[0], state.dr[1], state.dr[2],
                 state.dr[3]);
  fmt::format_to(out, "DR6={:016x} DR7={:016x}\nEFER={:016x}\n", state.dr6, state.dr7, state.efer);
}

/// The legacy region of the XSAVE area (SDM 1 table 13-1 and figure 10-5).
void format_fpu(Out out, const CpuState& state, std::size_t xmm_count) {
  constexpr std::size_t kLegacyRegion = 512;
  if (state.xsave.size() < kLegacyRegion) return;
  const std::byte* area = state.xsave.data();
  const auto status = load_le<std::uint16_t>(area + 2);
  // FXSAVE holds one bit per register: set means in use.
  const auto tags = load_le<std::uint8_t>(area + 4);
  fmt::format_to(out, "FCW={:04x} FSW={:04x} [ST={}] FTW={:02x} MXCSR={:08x}\n", load_le<std::uint16_t>(area), status,
                 bits(status, 13, 11), tags, load_le<std::uint32_t>(area + 24));
  for (std::size_t i = 0; i < 8; ++i) {
    const std::byte* x87 = area + 32 + 16 * i;
    fmt::format_to(out, "FPR{}={:016x} {:04x}{}", i, load_le<std::uint64_t>(x87), load_le<std::uint16_t>(x87 + 8),
                   i % 2 == 1 ? '\n' : ' ');
  }
  for (std::size_t i = 0; i < xmm_count; ++i) {
    const std::byte* xmm = area + 160 + 16 * i;
    fmt::format_to(out, "XMM{:02}={:016x} {:016x}{}", i, load_le<std::uint64_t>(xmm + 8), load_le<std::uint64_t>(xmm),
                   i % 2 == 1 ? '\n' : ' ');
  }
}

std::string describe_type(const Segment& segment, bool long_mode) {
  const auto has = [&](std::uint8_t bit_of_type) { return (segment.type & bit_of_type) != 0; };
  if (!segment.code_or_data) return std::string((long_mode ? kSystemTypes64 : kSystemTypes32).at(segment.type & 0xfU));
  const char accessed = has(segment_type::kAccessed) ? 'A' : '-';
  if (has(segment_type::kCode)) {
    const std::string_view width = segment.long_mode ? "CS64" : segment.default_big ? "CS32" : "CS16";
    return fmt::format("{} [{}{}{}]", width, has(segment_type::kConforming) ? 'C' : '-',
                       has(segment_type::kReadable) ? 'R' : '-', accessed);
  }
  return fmt::format("{} [{}{}{}]", segment.default_big || long_mode ? "DS  " : "DS16",
                     has(segment_type::kExpandDown) ? 'E' : '-', has(segment_type::kWritable) ? 'W' : '-', accessed);
}

}  // namespace

std::string format_segment(std::string_view name, const Segment& segment, bool wide, bool protected_mode,
                           bool long_mode) {
  const std::uint32_t attributes = segment.unusable ? 0 : segment_attributes(segment);
  std::string line = fmt::format("{:<3}={:04x} {:0{}x} {:08x} {:08x}", name, segment.selector,
                                 wide ? segment.base : static_cast<std::uint32_t>(segment.base), wide ? 16 : 8,
                                 segment.limit, attributes);
  if (protected_mode && segment.present && !segment.unusable)
    line += fmt::format(" DPL={} {}", segment.dpl, describe_type(segment, long_mode));
  return line;
}

std::string format_registers(const CpuState& state) {
  const bool wide = in_64bit_code(state);
  std::string text;
  const Out out(text);
  format_general(out, state, wide);
  format_position(out, state, wide);
  format_segments(out, state, wide);
  format_system(out, state);
  format_fpu(out, state, wide ? 16 : 8);
  return text;
}

}  // namespace doppel::x86
