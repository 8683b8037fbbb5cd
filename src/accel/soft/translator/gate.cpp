#include "accel/soft/translator/gate.h"

#include <xbyak/xbyak.h>

#include "accel/soft/interpreter/stub_emitter.h"

namespace doppel::accel::soft {

namespace {

constexpr unsigned kFirstSpilled = 14;

class GateGenerator : public Xbyak::CodeGenerator {
 public:
  GateGenerator(std::byte* place, const Cpu& cpu, const GateState& state)
      : CodeGenerator(kGateSize, place), cpu_(cpu), state_(state) {}

  void run(GateCode& code) {
    code.enter = getCurr();
    enter();
    code.exit_interpret = exit(ExitKind::kInterpret);
    code.exit_link = exit(ExitKind::kLink);
    code.exit_guard = exit(ExitKind::kGuard);
    code.exit_fault = exit(ExitKind::kFault);
    L(leave_);
    leave();
  }

 private:
  template <class T>
  Xbyak::RegExp at(const T& place) {
    return Xbyak::RegExp(reinterpret_cast<std::size_t>(&place));
  }

  void enter() {
    for (const Xbyak::Reg64& saved : {rbx, rbp, r12, r13, r14, r15}) push(saved);
    mov(qword[at(state_.host_rsp)], rsp);
    for_each_level(&GateGenerator::load_vectors);
    movzx(eax, word[at(state_.flags)]);
    add(al, 0x7f);
    sahf();
    for (unsigned n = 0; n < kFirstSpilled; ++n) mov(Xbyak::Reg64(static_cast<int>(n)), qword[at(cpu_.gpr[n])]);
    jmp(qword[at(state_.entry)]);
  }

  /// R14D is the id.
  const std::uint8_t* exit(ExitKind kind) {
    const std::uint8_t* const start = getCurr();
    mov(dword[at(state_.exit_kind)], static_cast<std::uint32_t>(kind));
    jmp(leave_, T_NEAR);
    return start;
  }

  void leave() {
    mov(dword[at(state_.exit_id)], r14d);
    for (unsigned n = 0; n < kFirstSpilled; ++n) mov(qword[at(cpu_.gpr[n])], Xbyak::Reg64(static_cast<int>(n)));
    seto(al);
    lahf();
    mov(word[at(state_.flags)], ax);
    mov(rsp, qword[at(state_.host_rsp)]);
    for_each_level(&GateGenerator::store_vectors);
    for (const Xbyak::Reg64& saved : {r15, r14, r13, r12, rbp, rbx}) pop(saved);
    ret();
  }

  /// Code by level, chosen at run time.
  void for_each_level(void (GateGenerator::*emit)(VectorLevel)) {
    Xbyak::Label done;
    for (const VectorLevel level : {VectorLevel::kNone, VectorLevel::kSse, VectorLevel::kAvx, VectorLevel::kAvx512}) {
      if (!has(level)) continue;
      Xbyak::Label other;
      cmp(byte[at(state_.level)], static_cast<std::uint8_t>(level));
      jne(other, T_NEAR);
      if (level != VectorLevel::kNone) (this->*emit)(level);
      jmp(done, T_NEAR);
      L(other);
    }
    L(done);
  }
  static bool has(VectorLevel level) {
    switch (level) {
      case VectorLevel::kNone:
      case VectorLevel::kSse: return true;
      case VectorLevel::kAvx: return host_vectors() >= HostVectors::kAvx;
      case VectorLevel::kAvx512: return host_vectors() >= HostVectors::kAvx512f;
    }
    return false;
  }

  void load_vectors(VectorLevel level) {
    // What the host left in upper halves would slow down each SSE instruction.
    if (host_vectors() >= HostVectors::kAvx) vzeroupper();
    stmxcsr(dword[at(state_.host_mxcsr)]);
    ldmxcsr(dword[at(cpu_.fpu.legacy[FpuState::kMxcsr])]);
    for (int n = 0; n < registers(level); ++n) {
      const auto place = at(cpu_.fpu.vector[static_cast<unsigned>(n)]);
      if (level == VectorLevel::kSse)
        movaps(Xbyak::Xmm(n), xword[place]);
      else if (host_vectors() >= HostVectors::kAvx512f)
        vmovups(Xbyak::Zmm(n), zword[place]);
      else
        vmovups(Xbyak::Ymm(n), yword[place]);
    }
    if (level == VectorLevel::kAvx512) move_masks(true);
  }
  void store_vectors(VectorLevel level) {
    stmxcsr(dword[at(cpu_.fpu.legacy[FpuState::kMxcsr])]);
    ldmxcsr(dword[at(state_.host_mxcsr)]);
    for (int n = 0; n < registers(level); ++n) {
      const auto place = at(cpu_.fpu.vector[static_cast<unsigned>(n)]);
      if (level == VectorLevel::kSse)
        movaps(xword[place], Xbyak::Xmm(n));
      else if (host_vectors() >= HostVectors::kAvx512f)
        vmovups(zword[place], Xbyak::Zmm(n));
      else
        vmovups(yword[place], Xbyak::Ymm(n));
    }
    if (level == VectorLevel::kAvx512) move_masks(false);
    if (level != VectorLevel::kSse) vzeroupper();
  }
  static int registers(VectorLevel level) { return level == VectorLevel::kAvx512 ? 32 : 16; }

  void move_masks(bool load) {
    const bool wide = host_vectors() >= HostVectors::kAvx512bw;
    for (int n = 0; n < 8; ++n) {
      const Xbyak::Opmask mask(n);
      const auto place = at(cpu_.fpu.mask[static_cast<unsigned>(n)]);
      if (load)
        wide ? kmovq(mask, qword[place]) : kmovw(mask, word[place]);
      else
        wide ? kmovq(qword[place], mask) : kmovw(word[place], mask);
    }
  }

  const Cpu& cpu_;
  const GateState& state_;
  Xbyak::Label leave_;
};

}  // namespace

std::size_t generate_gate(std::byte* writable, const Cpu& cpu, const GateState& state, GateCode& code) {
  GateGenerator generator(writable, cpu, state);
  generator.run(code);
  return generator.getSize();
}

}  // namespace doppel::accel::soft
