#include "comparison.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace doppel::oracle {

namespace {

using accel::soft::FpuState;

constexpr std::array kGprNames = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                  "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

/// Parts of FpuState::legacy that are compared; the rest is MXCSR_MASK, reserved, or kept elsewhere. Of the pointers
/// the upper 16 bits are not always kept.
struct LegacyField {
  const char* name;
  std::size_t offset;
  std::size_t size;
  bool is_pointer = false;
};
constexpr std::array kLegacyFields = {
    LegacyField{"fcw", 0, 2},       LegacyField{"fsw", 2, 2},       LegacyField{"ftw", 4, 1},
    LegacyField{"fop", 6, 2, true}, LegacyField{"fip", 8, 6, true}, LegacyField{"fdp", 16, 6, true},
    LegacyField{"mxcsr", 24, 4},    LegacyField{"st0", 32, 10},     LegacyField{"st1", 48, 10},
    LegacyField{"st2", 64, 10},     LegacyField{"st3", 80, 10},     LegacyField{"st4", 96, 10},
    LegacyField{"st5", 112, 10},    LegacyField{"st6", 128, 10},    LegacyField{"st7", 144, 10},
};

// The x87's pointers in the images of FXSAVE (and its MXCSR_MASK, which has AMD's bit 17), and of FNSTENV in 32-bit and
// in 16-bit format (SDM 1 figures 8-9 to 8-12): see has_x87_error().
constexpr std::uint32_t kFxsavePointers = 0xcff8;
constexpr std::uint32_t kEnvironmentPointers = 0x3fc0;
constexpr std::uint32_t kEnvironment16Pointers = 0x78;

constexpr std::uint64_t kPageOffset = layout::kPage - 1;
constexpr std::uint64_t kAllBits = ~std::uint64_t{0};

struct MnemonicTolerance {
  ZydisMnemonic mnemonic;
  Tolerance tolerance;
};
// Operands of several accesses, whose order is nobody's business, have no certain CR2.
constexpr std::array kTolerances = {
    MnemonicTolerance{ZYDIS_MNEMONIC_FXSAVE, {.image_holes = kFxsavePointers, .cr2 = kAllBits}},
    MnemonicTolerance{ZYDIS_MNEMONIC_FXSAVE64, {.image_holes = kFxsavePointers, .cr2 = kAllBits}},
    MnemonicTolerance{ZYDIS_MNEMONIC_FXRSTOR, {.cr2 = kAllBits}},
    MnemonicTolerance{ZYDIS_MNEMONIC_FXRSTOR64, {.cr2 = kAllBits}},
    MnemonicTolerance{ZYDIS_MNEMONIC_FNSTENV, {.image_holes = kEnvironmentPointers, .cr2 = kPageOffset}},
    MnemonicTolerance{ZYDIS_MNEMONIC_FNSAVE, {.image_holes = kEnvironmentPointers, .cr2 = kPageOffset}},
    MnemonicTolerance{ZYDIS_MNEMONIC_FLDENV, {.cr2 = kPageOffset}},
    MnemonicTolerance{ZYDIS_MNEMONIC_FRSTOR, {.cr2 = kPageOffset}},
    // May fault for bytes that are not selected (SDM 2B, MASKMOVDQU); AMD's MASKMOVQ has left x87 mode by then.
    MnemonicTolerance{ZYDIS_MNEMONIC_MASKMOVQ, {.cr2 = kAllBits, .may_fault = true}},
    MnemonicTolerance{ZYDIS_MNEMONIC_MASKMOVDQU, {.cr2 = kAllBits, .may_fault = true}},
    MnemonicTolerance{ZYDIS_MNEMONIC_VMASKMOVDQU, {.cr2 = kAllBits, .may_fault = true}},
    // Which operand is read first (some AMD processors begin with RDI's).
    MnemonicTolerance{ZYDIS_MNEMONIC_CMPSB, {.any_fault = true}},
    MnemonicTolerance{ZYDIS_MNEMONIC_CMPSW, {.any_fault = true}},
    MnemonicTolerance{ZYDIS_MNEMONIC_CMPSD, {.any_fault = true}},
    MnemonicTolerance{ZYDIS_MNEMONIC_CMPSQ, {.any_fault = true}},
};

/// Little-endian bytes as one number.
std::string hex(const std::byte* bytes, std::size_t size) {
  std::string text;
  for (std::size_t i = size; i > 0; --i) text += fmt::format("{:02x}", static_cast<unsigned>(bytes[i - 1]));
  return text;
}

std::string describe(const Ending& ending) {
  if (ending.vector == Ending::kNoFault) return "no fault";
  return fmt::format("vector {} error {:x} cr2 {:x}", ending.vector, ending.error_code, ending.cr2);
}

bool same_ending(const Ending& a, const Ending& b, const Tolerance& tolerance) {
  if (tolerance.any_fault && a.vector != Ending::kNoFault && b.vector != Ending::kNoFault) return true;
  return a.vector == b.vector && a.error_code == b.error_code && ((a.cr2 ^ b.cr2) & ~tolerance.cr2) == 0;
}

/// FSW.ES. Without it AMD's processors neither save nor restore the x87's pointers (APM 2 11.4.4).
bool has_x87_error(const FpuState& fpu) {
  return (fpu.legacy_field<std::uint16_t>(FpuState::kFsw) & 0x80U) != 0;
}

template <class Visit>
void for_each_legacy_difference(const FpuState& a, const FpuState& b, Visit visit) {
  for (const LegacyField& field : kLegacyFields) {
    if (field.is_pointer && !has_x87_error(a)) continue;
    if (std::memcmp(a.legacy.data() + field.offset, b.legacy.data() + field.offset, field.size) != 0) visit(field);
  }
}

bool same_fpu(const FpuState& a, const FpuState& b) {
  if (std::memcmp(&a.vector, &b.vector, sizeof a.vector) != 0 || a.mask != b.mask) return false;
  if (std::memcmp(a.legacy.data(), b.legacy.data(), 160) == 0) return true;
  bool same = true;
  for_each_legacy_difference(a, b, [&](const LegacyField&) { same = false; });
  return same;
}

}  // namespace

Tolerance tolerance_of(const Sample& sample) {
  const ZydisDecodedInstruction& zydis = sample.zydis;
  const auto row = std::ranges::find(kTolerances, zydis.mnemonic, &MnemonicTolerance::mnemonic);
  Tolerance tolerance = row == kTolerances.end() ? Tolerance{} : row->tolerance;
  // With an operand-size prefix the x87's environment is that of 16-bit mode.
  if (tolerance.image_holes == kEnvironmentPointers && zydis.operand_width == 16)
    tolerance.image_holes = kEnvironment16Pointers;
  if (zydis.avx.mask.reg != ZYDIS_REGISTER_NONE && zydis.avx.mask.reg != ZYDIS_REGISTER_K0) tolerance.cr2 = kPageOffset;
  return tolerance;
}

void fill_holes(const Tolerance& tolerance, std::uint64_t address, std::span<const std::byte, layout::kDataSize> native,
                std::span<std::byte, layout::kDataSize> guest) {
  const std::uint64_t start = address - layout::kData;
  for (std::uint64_t i = 0; i < 64; ++i)
    if ((tolerance.image_holes >> (i / 2) & 1U) != 0 && start + i < native.size()) guest[start + i] = native[start + i];
}

bool same(const Outcome& native, const Outcome& guest, const Tolerance& tolerance) {
  if (tolerance.may_fault && native.ending.vector != Ending::kNoFault)
    return guest.ending.vector == Ending::kNoFault || same_ending(native.ending, guest.ending, tolerance);
  return native.state.gpr == guest.state.gpr && native.state.rip == guest.state.rip &&
         ((native.state.rflags ^ guest.state.rflags) & ~tolerance.rflags) == 0 &&
         same_ending(native.ending, guest.ending, tolerance) && same_fpu(native.state.fpu, guest.state.fpu) &&
         std::memcmp(native.memory.data(), guest.memory.data(), native.memory.size()) == 0;
}

std::vector<std::string> differences(const ProcessorState& before, std::span<const std::byte> memory_before,
                                     const Outcome& native, const Outcome& guest, const Tolerance& tolerance) {
  std::vector<std::string> lines;
  const auto number = [&](std::string_view name, std::uint64_t was, std::uint64_t host, std::uint64_t ours) {
    if (host != ours)
      lines.push_back(fmt::format("{:8} before {:016x} native {:016x} guest {:016x}", name, was, host, ours));
  };
  const auto bytes = [&](std::string_view name, const std::byte* was, const std::byte* host, const std::byte* ours,
                         std::size_t size) {
    if (std::memcmp(host, ours, size) == 0) return;
    lines.push_back(fmt::format("{:8} before {}", name, hex(was, size)));
    lines.push_back(fmt::format("{:8} native {}", "", hex(host, size)));
    lines.push_back(fmt::format("{:8} guest  {}", "", hex(ours, size)));
  };
  if (!same_ending(native.ending, guest.ending, tolerance))
    lines.push_back(fmt::format("ending   native {}, guest {}", describe(native.ending), describe(guest.ending)));
  for (std::size_t i = 0; i < kGprNames.size(); ++i)
    number(kGprNames.at(i), before.gpr[i], native.state.gpr[i], guest.state.gpr[i]);
  number("rip", before.rip, native.state.rip, guest.state.rip);
  number("rflags", before.rflags, native.state.rflags & ~tolerance.rflags, guest.state.rflags & ~tolerance.rflags);
  const FpuState &was = before.fpu, &host = native.state.fpu, &ours = guest.state.fpu;
  for_each_legacy_difference(host, ours, [&](const LegacyField& field) {
    bytes(field.name, was.legacy.data() + field.offset, host.legacy.data() + field.offset,
          ours.legacy.data() + field.offset, field.size);
  });
  for (std::size_t i = 0; i < host.mask.size(); ++i)
    number(fmt::format("k{}", i), was.mask[i], host.mask[i], ours.mask[i]);
  for (std::size_t i = 0; i < host.vector.size(); ++i)
    bytes(fmt::format("zmm{}", i), was.vector[i].data(), host.vector[i].data(), ours.vector[i].data(), 64);
  for (std::size_t i = 0; i < native.memory.size(); i += 16)
    bytes(fmt::format("{:x}", layout::kData + i), memory_before.data() + i, native.memory.data() + i,
          guest.memory.data() + i, 16);
  return lines;
}

std::string describe_inputs(const Sample& sample, const ProcessorState& before) {
  std::string text = fmt::format("rflags {:x} mxcsr {:x} fcw {:x} fsw {:x} ftw {:x}", before.rflags, before.fpu.mxcsr(),
                                 before.fpu.legacy_field<std::uint16_t>(FpuState::kFcw),
                                 before.fpu.legacy_field<std::uint16_t>(FpuState::kFsw),
                                 before.fpu.legacy_field<std::uint8_t>(FpuState::kFtw));
  for (std::size_t i = 0; i < kGprNames.size(); ++i)
    text += fmt::format("{}{} {:x}", i % 8 == 0 ? "\n    " : " ", kGprNames.at(i), before.gpr[i]);
  for (const ZydisDecodedOperand& operand : sample.operands()) {
    if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
    const ZydisRegister reg = operand.reg.value;
    const auto id = static_cast<std::size_t>(std::max<int>(ZydisRegisterGetId(reg), 0));
    switch (ZydisRegisterGetClass(reg)) {
      case ZYDIS_REGCLASS_XMM:
      case ZYDIS_REGCLASS_YMM:
      case ZYDIS_REGCLASS_ZMM:
        text += fmt::format(
            "\n    {} {}", ZydisRegisterGetString(reg),
            hex(before.fpu.vector.at(id).data(), ZydisRegisterGetWidth(ZYDIS_MACHINE_MODE_LONG_64, reg) / 8U));
        break;
      case ZYDIS_REGCLASS_MASK: text += fmt::format("\n    k{} {:x}", id, before.fpu.mask.at(id)); break;
      case ZYDIS_REGCLASS_X87:
      case ZYDIS_REGCLASS_MMX:
        text += fmt::format("\n    {} {}", ZydisRegisterGetString(reg),
                            hex(before.fpu.legacy.data() + FpuState::kSt0 + 16 * id, 10));
        break;
      default: break;
    }
  }
  return text;
}

}  // namespace doppel::oracle
