// x87 instructions that move control, status and environment rather than calculate (SDM 1 8.3.11; images: 8.1.10).
#include <algorithm>
#include <array>
#include <cstring>

#include "accel/soft/interpreter/alignment_check.h"
#include "accel/soft/interpreter/availability.h"
#include "accel/soft/interpreter/extended_state.h"
#include "accel/soft/interpreter/register_offset.h"
#include "base/endian.h"

namespace doppel::accel::soft {

namespace {

constexpr std::size_t kRegisters = 8;
constexpr std::size_t kRegisterSize = 10;   // bytes in memory images
constexpr std::size_t kRegisterPlace = 16;  // and in FpuState
constexpr unsigned kExceptionMasks = 0x3f;
constexpr std::uint16_t kOpcodeBits = 0x7ff;

/// The tag of one register (SDM 1 8.1.7).
enum Tag : std::uint8_t { kValid, kZero, kSpecial, kEmpty };

/// What FSTENV stores.
struct Environment {
  std::uint16_t fcw = 0;
  std::uint16_t fsw = 0;
  std::uint16_t ftw = 0;  // two bits for each register
  std::uint16_t fop = 0;
  std::uint32_t fip = 0;
  std::uint32_t fdp = 0;
  std::uint16_t fcs = 0;
  std::uint16_t fds = 0;
};

void require_waiting(const Cpu& cpu) {
  require(cpu, requirement::kX87);
  if (cpu.fpu.x87_exception_pending()) raise(x86::kFloatingPoint);
}

unsigned top(const FpuState& fpu) {
  return fpu.legacy_field<std::uint16_t>(FpuState::kFsw) >> 11U & 7U;
}

std::byte* stack_register(FpuState& fpu, std::size_t n) {
  return fpu.legacy.data() + FpuState::kSt0 + n * kRegisterPlace;
}

/// FpuState keeps registers from the top of the stack on; with another top they are seen in another order.
void turn_stack(FpuState& fpu, unsigned new_top) {
  const std::size_t steps = (new_top - top(fpu)) & 7U;
  std::rotate(stack_register(fpu, 0), stack_register(fpu, steps), stack_register(fpu, kRegisters));
}

Tag tag_of(const std::byte* place) {
  const auto significand = load_le<std::uint64_t>(place);
  const unsigned exponent = load_le<std::uint16_t>(place + 8) & 0x7fffU;
  if (exponent == 0) return significand == 0 ? kZero : kSpecial;
  return exponent == 0x7fff || significand >> 63U == 0 ? kSpecial : kValid;
}

std::uint16_t full_tags(FpuState& fpu) {
  const auto abridged = fpu.legacy_field<std::uint8_t>(FpuState::kFtw);
  unsigned tags = 0;
  for (unsigned n = 0; n < kRegisters; ++n) {
    const bool empty = (abridged >> n & 1U) == 0;
    const Tag tag = empty ? kEmpty : tag_of(stack_register(fpu, (n - top(fpu)) & 7U));
    tags |= unsigned{tag} << (2 * n);
  }
  return static_cast<std::uint16_t>(tags);
}

std::uint8_t abridged_tags(std::uint16_t full) {
  unsigned tags = 0;
  for (unsigned n = 0; n < kRegisters; ++n)
    if ((full >> (2 * n) & 3U) != kEmpty) tags |= 1U << n;
  return static_cast<std::uint8_t>(tags);
}

Environment environment_of(FpuState& fpu) {
  return {.fcw = fpu.legacy_field<std::uint16_t>(FpuState::kFcw),
          .fsw = fpu.legacy_field<std::uint16_t>(FpuState::kFsw),
          .ftw = full_tags(fpu),
          .fop = fpu.legacy_field<std::uint16_t>(FpuState::kFop),
          .fip = fpu.legacy_field<std::uint32_t>(FpuState::kFip),
          .fdp = fpu.legacy_field<std::uint32_t>(FpuState::kFdp),
          .fcs = fpu.fcs,
          .fds = fpu.fds};
}

void set_environment(FpuState& fpu, const Environment& environment) {
  turn_stack(fpu, environment.fsw >> 11U & 7U);
  fpu.set_x87_words(environment.fcw, environment.fsw);
  fpu.set_legacy_field(FpuState::kFtw, abridged_tags(environment.ftw));
  fpu.set_legacy_field(FpuState::kFop, environment.fop);
  fpu.set_legacy_field(FpuState::kFip, std::uint64_t{environment.fip});
  fpu.set_legacy_field(FpuState::kFdp, std::uint64_t{environment.fdp});
  fpu.fcs = environment.fcs;
  fpu.fds = environment.fds;
}

// The four images are fields of W bytes: FCW, FSW, FTW, then pointers with selectors and opcode (protected mode), or
// linear addresses that share fields with the opcode (real mode).

template <class W>
constexpr std::size_t kImageSize = 7 * sizeof(W);

bool has_selectors(const Cpu& cpu) {
  return cpu.protected_mode && !cpu.vm86;
}

template <class W>
W field(const std::byte* image, unsigned n) {
  return load_le<W>(image + n * sizeof(W));
}
template <class W>
void set_field(std::byte* image, unsigned n, std::uint32_t value) {
  store_le(image + n * sizeof(W), static_cast<W>(value));
}

template <class W>
void encode(const Environment& environment, bool selectors, std::byte* image) {
  constexpr bool kWide = sizeof(W) == 4;
  constexpr std::uint32_t kHigh = kWide ? 0xffff0000 : 0;  // upper halves of 16-bit fields
  set_field<W>(image, 0, kHigh | environment.fcw);
  set_field<W>(image, 1, kHigh | environment.fsw);
  set_field<W>(image, 2, kHigh | environment.ftw);
  if (selectors) {
    set_field<W>(image, 3, environment.fip);
    set_field<W>(image, 4, environment.fcs | (kWide ? std::uint32_t{environment.fop} << 16U : 0));
    set_field<W>(image, 5, environment.fdp);
    set_field<W>(image, 6, kHigh | environment.fds);
    return;
  }
  const std::uint32_t instruction = environment.fip + (std::uint32_t{environment.fcs} << 4U);
  const std::uint32_t operand = environment.fdp + (std::uint32_t{environment.fds} << 4U);
  set_field<W>(image, 3, instruction & 0xffff);
  set_field<W>(image, 4, instruction >> 16U << 12U | environment.fop);
  set_field<W>(image, 5, operand & 0xffff);
  set_field<W>(image, 6, operand >> 16U << 12U);
}

template <class W>
Environment decode(const std::byte* image, bool selectors) {
  constexpr bool kWide = sizeof(W) == 4;
  Environment environment{.fcw = static_cast<std::uint16_t>(field<W>(image, 0)),
                          .fsw = static_cast<std::uint16_t>(field<W>(image, 1)),
                          .ftw = static_cast<std::uint16_t>(field<W>(image, 2))};
  const std::uint32_t fourth = field<W>(image, 4);
  const std::uint32_t sixth = field<W>(image, 6);
  if (selectors) {
    environment.fip = field<W>(image, 3);
    environment.fcs = static_cast<std::uint16_t>(fourth);
    if (kWide) environment.fop = static_cast<std::uint16_t>(fourth >> 16U & kOpcodeBits);
    environment.fdp = field<W>(image, 5);
    environment.fds = static_cast<std::uint16_t>(sixth);
    return environment;
  }
  environment.fip = (field<W>(image, 3) & 0xffffU) | fourth >> 12U << 16U;
  environment.fop = static_cast<std::uint16_t>(fourth & kOpcodeBits);
  environment.fdp = (field<W>(image, 5) & 0xffffU) | sixth >> 12U << 16U;
  return environment;
}

void initialize(FpuState& fpu) {
  set_environment(fpu, {.fcw = 0x37f, .ftw = 0xffff});
}

template <class W, AccessKind kind>
std::uint64_t image_address(Cpu& cpu, const Instruction& i, std::size_t size) {
  const std::uint64_t address = cpu.linear<kind>(i.segment, cpu.effective_address(i), size);
  check_alignment(cpu, address, sizeof(W));  // SDM 3A table 6-7
  return address;
}

// --- Operations ---

template <class W>
void fnstenv(Cpu& cpu, const Instruction& i) {
  require(cpu, requirement::kX87);
  std::array<std::byte, kImageSize<W>> image{};
  const Environment environment = environment_of(cpu.fpu);
  encode<W>(environment, has_selectors(cpu), image.data());
  cpu.write_linear(image_address<W, AccessKind::kWrite>(cpu, i, image.size()), image);
  cpu.fpu.set_x87_words(static_cast<std::uint16_t>(environment.fcw | kExceptionMasks), environment.fsw);
}

template <class W>
void fldenv(Cpu& cpu, const Instruction& i) {
  require_waiting(cpu);
  std::array<std::byte, kImageSize<W>> image{};
  cpu.read_linear(image_address<W, AccessKind::kRead>(cpu, i, image.size()), image);
  set_environment(cpu.fpu, decode<W>(image.data(), has_selectors(cpu)));
}

template <class W>
void fnsave(Cpu& cpu, const Instruction& i) {
  require(cpu, requirement::kX87);
  std::array<std::byte, kImageSize<W> + kRegisters * kRegisterSize> image{};
  encode<W>(environment_of(cpu.fpu), has_selectors(cpu), image.data());
  for (std::size_t n = 0; n < kRegisters; ++n)
    std::memcpy(image.data() + kImageSize<W> + n * kRegisterSize, stack_register(cpu.fpu, n), kRegisterSize);
  cpu.write_linear(image_address<W, AccessKind::kWrite>(cpu, i, image.size()), image);
  initialize(cpu.fpu);
}

template <class W>
void frstor(Cpu& cpu, const Instruction& i) {
  require_waiting(cpu);
  std::array<std::byte, kImageSize<W> + kRegisters * kRegisterSize> image{};
  cpu.read_linear(image_address<W, AccessKind::kRead>(cpu, i, image.size()), image);
  set_environment(cpu.fpu, decode<W>(image.data(), has_selectors(cpu)));
  for (std::size_t n = 0; n < kRegisters; ++n)
    std::memcpy(stack_register(cpu.fpu, n), image.data() + kImageSize<W> + n * kRegisterSize, kRegisterSize);
}

void fldcw(Cpu& cpu, const Instruction& i) {
  require_waiting(cpu);
  const auto fcw = cpu.load<std::uint16_t>(i.segment, cpu.effective_address(i));
  cpu.fpu.set_x87_words(fcw, cpu.fpu.legacy_field<std::uint16_t>(FpuState::kFsw));
}

void fnstcw(Cpu& cpu, const Instruction& i) {
  require(cpu, requirement::kX87);
  cpu.store(i.segment, cpu.effective_address(i), cpu.fpu.legacy_field<std::uint16_t>(FpuState::kFcw));
}

void fnstsw_memory(Cpu& cpu, const Instruction& i) {
  require(cpu, requirement::kX87);
  cpu.store(i.segment, cpu.effective_address(i), cpu.fpu.legacy_field<std::uint16_t>(FpuState::kFsw));
}
void fnstsw_ax(Cpu& cpu, const Instruction&) {
  require(cpu, requirement::kX87);
  cpu.set<std::uint16_t>(kAccumulator, cpu.fpu.legacy_field<std::uint16_t>(FpuState::kFsw));
}

void fnclex(Cpu& cpu, const Instruction&) {
  constexpr unsigned kKept = 0x7f00;
  require(cpu, requirement::kX87);
  const auto fsw = cpu.fpu.legacy_field<std::uint16_t>(FpuState::kFsw);
  cpu.fpu.set_legacy_field(FpuState::kFsw, static_cast<std::uint16_t>(fsw & kKept));
}

void fninit(Cpu& cpu, const Instruction&) {
  require(cpu, requirement::kX87);
  initialize(cpu.fpu);
}

void fwait(Cpu& cpu, const Instruction&) {
  constexpr std::uint64_t kUnavailable = x86::cr0::kMp | x86::cr0::kTs;
  if ((cpu.cr0 & kUnavailable) == kUnavailable) raise(x86::kDeviceNotAvailable);
  if (cpu.fpu.x87_exception_pending()) raise(x86::kFloatingPoint);
}

template <Handler handler>
Handler always(const Decoded&, Instruction&) {
  return handler;
}
template <Handler narrow, Handler wide>
Handler by_operand_size(const Decoded& decoded, Instruction&) {
  return decoded.zydis.operand_width == 16 ? narrow : wide;
}
Handler select_fnstsw(const Decoded& decoded, Instruction&) {
  return decoded.is_memory(0) ? fnstsw_memory : fnstsw_ax;
}

using std::uint16_t;
using std::uint32_t;

constexpr std::array kRows = {
    OperationRow{ZYDIS_MNEMONIC_FLDENV, by_operand_size<fldenv<uint16_t>, fldenv<uint32_t>>},
    OperationRow{ZYDIS_MNEMONIC_FNSTENV, by_operand_size<fnstenv<uint16_t>, fnstenv<uint32_t>>},
    OperationRow{ZYDIS_MNEMONIC_FRSTOR, by_operand_size<frstor<uint16_t>, frstor<uint32_t>>},
    OperationRow{ZYDIS_MNEMONIC_FNSAVE, by_operand_size<fnsave<uint16_t>, fnsave<uint32_t>>},
    OperationRow{ZYDIS_MNEMONIC_FLDCW, always<fldcw>},
    OperationRow{ZYDIS_MNEMONIC_FNSTCW, always<fnstcw>},
    OperationRow{ZYDIS_MNEMONIC_FNSTSW, select_fnstsw},
    OperationRow{ZYDIS_MNEMONIC_FNCLEX, always<fnclex>},
    OperationRow{ZYDIS_MNEMONIC_FNINIT, always<fninit>},
    OperationRow{ZYDIS_MNEMONIC_FWAIT, always<fwait>},
};

}  // namespace

std::span<const OperationRow> x87_control_operations() {
  return kRows;
}

}  // namespace doppel::accel::soft
