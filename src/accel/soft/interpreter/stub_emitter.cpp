#include "accel/soft/interpreter/stub_emitter.h"

#include <cstddef>
#include <initializer_list>

#include "x86/cpu_state.h"

namespace doppel::accel::soft {

namespace {

constexpr std::uint8_t kNobody = x86::kRsp;  // never assigned to anything

constexpr std::uint32_t kCalleeSaved = 1U << x86::kRbx | 1U << x86::kRbp | 1U << x86::kR12 | 1U << x86::kR13 |
                                       1U << x86::kR14 | 1U << x86::kR15;  // System V ABI 3.2.1

/// Gives out host registers.
class RegisterPool {
 public:
  explicit RegisterPool(std::uint32_t taken) : taken_(taken) {}
  std::uint8_t take(std::initializer_list<x86::Gpr> candidates) {
    for (const x86::Gpr candidate : candidates)
      if ((taken_ >> candidate & 1U) == 0) {
        taken_ |= 1U << candidate;
        return candidate;
      }
    return kNobody;
  }

 private:
  std::uint32_t taken_;
};

class Emitter {
 public:
  Emitter(const StubPlan& plan, const StubRegisters& registers) : plan_(plan), registers_(registers) {}
  StubCode run(const MachineCode& instruction);

 private:
  static constexpr std::uint32_t kHostMxcsr = 0x1f80;
  static constexpr unsigned kRedZone = 8;

  void add(std::initializer_list<unsigned> bytes) {
    for (const unsigned byte : bytes) code_.bytes.push_back(static_cast<std::uint8_t>(byte));
  }
  void add32(std::uint32_t value) { add({value & 0xff, value >> 8U & 0xff, value >> 16U & 0xff, value >> 24U}); }

  /// ModRM for [BASE + DISP], 32 bits of it; or 8 bits, DISP scaled by the caller.
  void memory32(unsigned reg, unsigned base, std::uint32_t disp) {
    add({0x80U | (reg & 7U) << 3U | (base & 7U)});
    if ((base & 7U) == x86::kRsp) add({0x24});
    add32(disp);
  }
  void memory8(unsigned reg, unsigned base, std::size_t disp) {
    add({0x40U | (reg & 7U) << 3U | (base & 7U)});
    if ((base & 7U) == x86::kRsp) add({0x24});
    add({static_cast<unsigned>(disp & 0xff)});
  }
  void move(unsigned to, unsigned from) {
    if (to != from) add({0x48U | (from >> 3U) << 2U | to >> 3U, 0x89, 0xc0U | (from & 7U) << 3U | (to & 7U)});
  }
  void push(unsigned reg) { add({0x40U | reg >> 3U, 0x50U | (reg & 7U)}); }
  void pop(unsigned reg) { add({0x40U | reg >> 3U, 0x58U | (reg & 7U)}); }

  [[nodiscard]] unsigned host_of(unsigned guest) const { return guest == x86::kRsp ? registers_.stack_pointer : guest; }
  [[nodiscard]] std::uint32_t changed_callee_saved() const;

  void control_word(unsigned operation);
  void transfer_gpr(unsigned guest, bool store);
  void transfer_vector(unsigned number, bool store);
  void transfer_mask(unsigned number, bool store);
  void transfer_all(std::uint32_t gprs, std::uint32_t vectors, std::uint32_t masks, bool store);
  void enter();
  void leave();

  const StubPlan& plan_;
  const StubRegisters& registers_;
  StubCode code_;
};

std::uint32_t Emitter::changed_callee_saved() const {
  std::uint32_t changed = plan_.gpr.used & ~(1U << x86::kRsp);
  for (const std::uint8_t reg : {registers_.fpu, registers_.memory, registers_.gpr_file, registers_.stack_pointer})
    if (reg != kNobody) changed |= 1U << reg;
  return changed & kCalleeSaved;
}

/// 0F AE /OPERATION on the MXCSR field: 2 LDMXCSR, 3 STMXCSR.
void Emitter::control_word(unsigned operation) {
  if (registers_.fpu >= 8) add({0x41});
  add({0x0f, 0xae});
  memory32(operation, registers_.fpu, FpuState::kMxcsr);
}

void Emitter::transfer_gpr(unsigned guest, bool store) {
  const unsigned host = host_of(guest);
  add({0x48U | (host >> 3U) << 2U | registers_.gpr_file >> 3U, store ? 0x89U : 0x8bU});
  memory8(host, registers_.gpr_file, std::size_t{8} * guest);
}

/// As wide as the instruction may see or change it; what XMM instructions keep is not touched.
void Emitter::transfer_vector(unsigned number, bool store) {
  const unsigned base_high = registers_.fpu >> 3U;
  const unsigned opcode = store ? 0x11 : 0x10;  // [V]MOVUPS
  const auto offset = static_cast<std::uint32_t>(offsetof(FpuState, vector) + std::size_t{64} * number);
  if (plan_.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY) {
    add({0x40U | (number >> 3U) << 2U | base_high, 0x0f, opcode});
    memory32(number, registers_.fpu, offset);
  } else if (host_vectors() < HostVectors::kAvx512f || (plan_.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX && !store)) {
    add({0xc4, (~number >> 3U & 1U) << 7U | 0x40U | (~base_high & 1U) << 5U | 1U, 0x7c, opcode});
    memory32(number, registers_.fpu, offset);
  } else {
    add({0x62, (~number >> 3U & 1U) << 7U | 0x40U | (~base_high & 1U) << 5U | (~number >> 4U & 1U) << 4U | 1U, 0x7c,
         0x48, opcode});
    memory8(number, registers_.fpu, offset / 64);
  }
}

void Emitter::transfer_mask(unsigned number, bool store) {
  const unsigned width = host_vectors() == HostVectors::kAvx512bw ? 0xf8 : 0x78;  // KMOVQ, KMOVW
  add({0xc4, 0xc1U | (~(registers_.fpu >> 3U) & 1U) << 5U, width, store ? 0x91U : 0x90U});
  memory32(number, registers_.fpu, static_cast<std::uint32_t>(offsetof(FpuState, mask) + std::size_t{8} * number));
}

void Emitter::transfer_all(std::uint32_t gprs, std::uint32_t vectors, std::uint32_t masks, bool store) {
  for (unsigned n = 0; n < 8; ++n)
    if ((masks >> n & 1U) != 0) transfer_mask(n, store);
  for (unsigned n = 0; n < 32; ++n)
    if ((vectors >> n & 1U) != 0) transfer_vector(n, store);
  for (unsigned n = 0; n < x86::kGprCount; ++n)
    if ((gprs >> n & 1U) != 0) transfer_gpr(n, store);
}

void Emitter::enter() {
  const std::uint32_t saved = changed_callee_saved();
  for (unsigned n = 0; n < x86::kGprCount; ++n)
    if ((saved >> n & 1U) != 0) push(n);
  if (registers_.fpu != kNobody) move(registers_.fpu, x86::kRdi);
  if (registers_.gpr_file != kNobody) move(registers_.gpr_file, x86::kRdx);
  if (plan_.x87) {
    add({0x48U | registers_.fpu >> 3U, 0x0f, 0xae});  // FXRSTOR64
    memory32(1, registers_.fpu, 0);
  } else if (plan_.mxcsr) {
    control_word(2);
  }
  if (plan_.flags) add({0x89, 0xc8, 0x04, 0x7f, 0x9e});  // mov eax, ecx; add al, 127: OF; sahf
  if (registers_.memory != kNobody) move(registers_.memory, x86::kRsi);
  transfer_all(plan_.gpr.used, plan_.vector.used, plan_.mask.used, false);
}

void Emitter::leave() {
  if (plan_.x87) {
    add({0x48U | registers_.fpu >> 3U, 0x0f, 0xae});  // FXSAVE64
    memory32(0, registers_.fpu, 0);
    add({0xdb, 0xe3});  // FNINIT
  } else if (plan_.mxcsr) {
    control_word(3);
  }
  if (plan_.x87 || plan_.mxcsr) {
    add({0xc7, 0x44, 0x24, 0x100U - kRedZone});  // mov dword [rsp-8], kHostMxcsr; ldmxcsr [rsp-8]
    add32(kHostMxcsr);
    add({0x0f, 0xae, 0x54, 0x24, 0x100U - kRedZone});
  }
  if (plan_.vector.used != 0 && plan_.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY) add({0xc5, 0xf8, 0x77});
  const std::uint32_t saved = changed_callee_saved();
  for (unsigned n = x86::kGprCount; n-- > 0;)
    if ((saved >> n & 1U) != 0) pop(n);
  add({0xc3});
}

StubCode Emitter::run(const MachineCode& instruction) {
  enter();
  code_.instruction = code_.bytes.size();
  code_.bytes.insert(code_.bytes.end(), instruction.span().begin(), instruction.span().end());
  transfer_all(plan_.gpr.written, plan_.vector.written, plan_.mask.written, true);
  if (plan_.flags) add({0x9f, 0x0f, 0x90, 0xc0});  // lahf; seto al
  code_.resume = code_.bytes.size();
  leave();
  return std::move(code_);
}

}  // namespace

HostVectors host_vectors() {
  static const HostVectors kVectors = [] {
    if (__builtin_cpu_supports("avx512bw")) return HostVectors::kAvx512bw;
    if (__builtin_cpu_supports("avx512f")) return HostVectors::kAvx512f;
    return __builtin_cpu_supports("avx") ? HostVectors::kAvx : HostVectors::kSse;
  }();
  return kVectors;
}

StubRegisters assign_registers(const StubPlan& plan) {
  using namespace x86;
  const bool needs_fpu = plan.x87 || plan.mxcsr || plan.vector.used != 0 || plan.mask.used != 0;
  std::uint32_t taken = plan.gpr.used | 1U << kRsp;
  if (plan.memory_in_rdi) taken |= 1U << kRdi;
  // The first choice is where the argument arrives; the others are no argument's place, so that the order of the moves
  // does not matter. Flags pass through RAX.
  RegisterPool pool(taken);
  StubRegisters registers{.fpu = kNobody, .memory = kNobody, .gpr_file = kNobody, .stack_pointer = kNobody};
  if (needs_fpu) registers.fpu = pool.take({kRdi, kR8, kR9, kR10, kR11, kR12, kR13});
  if (plan.gpr.used != 0) registers.gpr_file = pool.take({kRdx, kR8, kR9, kR10, kR11, kR12, kR13});
  if (plan.memory_in_rdi)
    registers.memory = kRdi;
  else if (plan.memory)
    registers.memory = pool.take({kRsi, kRbx, kRcx, kRax, kRdi, kRdx});
  if ((plan.gpr.used & 1U << kRsp) != 0) registers.stack_pointer = pool.take({kRbp, kRbx, kRcx, kRax});
  return registers;
}

StubCode emit_stub(const StubPlan& plan, const StubRegisters& registers, const MachineCode& instruction) {
  return Emitter(plan, registers).run(instruction);
}

}  // namespace doppel::accel::soft
