#include "accel/soft/translator/gate.h"

#include <xbyak/xbyak.h>

#include <array>
#include <bit>

#include "accel/soft/interpreter/stub_emitter.h"

namespace doppel::accel::soft {

namespace {

/// All but the spilled ones.
constexpr auto kHostRegisters = std::to_array<unsigned>({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14, 15});

class GateGenerator : public Xbyak::CodeGenerator {
 public:
  GateGenerator(std::byte* place, const Cpu& cpu, const GateState& state)
      : CodeGenerator(kGateSize, place), cpu_(cpu), state_(state) {}

  void run(GateCode& code) {
    code.enter = getCurr();
    enter();
    for (const ExitKind kind : {ExitKind::kInterpret, ExitKind::kLink, ExitKind::kGuard, ExitKind::kFault}) {
      GateExit& exit = code.exits.at(static_cast<std::size_t>(kind));
      exit.flags_in_register = leave(kind, save_flags_);
      exit.flags_saved = leave(kind, leave_);
    }
    for (unsigned index = 0; index < kMmuIndexes; ++index)
      for (const TlbAccess access : {TlbAccess::kRead, TlbAccess::kWrite})
        for (const auto result : {TlbSites::Result::kHost, TlbSites::Result::kAddend}) {
          const auto mmu_index = static_cast<MmuIndex>(index);
          code.site_misses.at(GateCode::site_miss(mmu_index, access, result)) = getCurr();
          fill_site(*cpu_.tlb.entries(mmu_index), access, result, code.exit(ExitKind::kInterpret, FlagsHome::kMemory));
        }
    code.nowhere = getCurr();
    mov(r10d, 0);
    jmp(code.exit(ExitKind::kGuard, FlagsHome::kMemory));
    L(save_flags_);
    save_flags();
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
    exchange_registers(&GateGenerator::load_registers);
    movzx(eax, word[at(state_.flags)]);
    add(al, 0x7f);
    sahf();
    for (const unsigned n : kHostRegisters) mov(Xbyak::Reg64(static_cast<int>(n)), qword[at(cpu_.gpr[n])]);
    jmp(qword[at(state_.entry)]);
  }

  /// R10D is the id.
  const std::uint8_t* leave(ExitKind kind, const Xbyak::Label& by) {
    const std::uint8_t* const start = getCurr();
    mov(dword[at(state_.exit_kind)], static_cast<std::uint32_t>(kind));
    if (kind == ExitKind::kFault) {
      movzx(r10d, word[at(state_.flags)]);
      mov(word[at(state_.flags_before_fault)], r10w);
    }
    jmp(by, T_NEAR);
    return start;
  }

  void save_flags() {
    mov(r11, rax);
    seto(al);
    lahf();
    mov(word[at(state_.flags)], ax);
    mov(rax, r11);
  }

  void leave() {
    mov(dword[at(state_.exit_id)], r10d);
    for (const unsigned n : kHostRegisters) mov(qword[at(cpu_.gpr[n])], Xbyak::Reg64(static_cast<int>(n)));
    mov(rsp, qword[at(state_.host_rsp)]);
    exchange_registers(&GateGenerator::store_registers);
    for (const Xbyak::Reg64& saved : {r15, r14, r13, r12, rbp, rbx}) pop(saved);
    ret();
  }

  /// Nobody reads the flags any more, or they are saved.
  void fill_site(const TlbEntry& entries, TlbAccess access, TlbSites::Result result, const std::uint8_t* interpret) {
    static_assert(sizeof(TlbSiteMiss) == 2 * sizeof(TlbSite));
    const TlbSites& sites = cpu_.tlb.sites();
    const TlbSite& site = sites.first();
    const TlbSiteMiss& miss = sites.first_miss();
    const auto of_site = [&](const auto& member) { return Xbyak::RegExp(r11) + at(member); };
    const auto of_miss = [&](const auto& member) { return Xbyak::RegExp(r11, 2) + at(member); };
    const auto of_entry = [&](const auto& member) { return Xbyak::RegExp(rcx) + at(member); };
    Xbyak::Label fails;
    Xbyak::Label listed;
    add(qword[at(state_.counts.site_misses)], 1);
    add(r10, qword[of_site(site.tag)]);
    mov(qword[at(state_.rcx)], rcx);
    sub(dword[of_miss(miss.budget)], 1);
    jc(fails, T_NEAR);
    rorx(ecx, r10d, kTlbIndexShift);
    and_(ecx, kTlbIndexMask);
    sub(r10, qword[of_entry(tlb_tag(entries, access))]);
    cmp(r10, qword[of_miss(miss.limit)]);
    ja(fails, T_NEAR);
    mov(qword[at(state_.offset)], r10);
    mov(r10, qword[of_entry(tlb_tag(entries, access))]);
    mov(qword[of_site(site.tag)], r10);
    mov(r10, qword[of_entry(tlb_result(entries, result))]);
    mov(qword[of_site(site.result)], r10);
    cmp(byte[of_miss(miss.listed)], 0);
    jne(listed);
    mov(byte[of_miss(miss.listed)], 1);
    mov(r10d, dword[at(sites.filled_count())]);
    mov(ecx, r11d);
    shr(ecx, std::countr_zero(sizeof(TlbSite)));
    mov(dword[Xbyak::RegExp(r10, 4) + at(sites.filled())], ecx);
    add(dword[at(sites.filled_count())], 1);
    L(listed);
    mov(rcx, qword[at(state_.rcx)]);
    mov(r10, qword[at(state_.offset)]);
    jmp(qword[of_miss(miss.resume)]);
    L(fails);
    mov(rcx, qword[at(state_.rcx)]);
    mov(r10d, dword[of_miss(miss.exit_id)]);
    jmp(interpret);
  }

  /// EMIT makes the code for one set of registers, of which GateState chooses at run time.
  void exchange_registers(void (GateGenerator::*emit)(const ExtendedRegisters&)) {
    Xbyak::Label done;
    for (const VectorLevel level : {VectorLevel::kNone, VectorLevel::kSse, VectorLevel::kAvx, VectorLevel::kAvx512})
      for (const bool x87 : {false, true}) {
        if (!has(level)) continue;
        const ExtendedRegisters registers{.vectors = level, .x87 = x87};
        Xbyak::Label other;
        cmp(word[at(state_.registers)], std::bit_cast<std::uint16_t>(registers));
        jne(other, T_NEAR);
        if (registers != ExtendedRegisters{}) (this->*emit)(registers);
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

  // What the host left in upper halves would slow down each SSE instruction.
  void load_registers(const ExtendedRegisters& registers) {
    const VectorLevel level = registers.vectors;
    if (level != VectorLevel::kNone && host_vectors() >= HostVectors::kAvx) vzeroupper();
    stmxcsr(dword[at(state_.host_mxcsr)]);
    // Its XMM part is scratch, its MXCSR the guest's.
    if (registers.x87)
      fxrstor64();
    else
      ldmxcsr(dword[at(cpu_.fpu.legacy[FpuState::kMxcsr])]);
    for (int n = 0; n < vector_count(level); ++n) {
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
  /// The host's own x87 state is that of a function's begin (System V ABI 3.2.1).
  void store_registers(const ExtendedRegisters& registers) {
    const VectorLevel level = registers.vectors;
    if (registers.x87) {
      fxsave64();
      fninit();
    } else {
      stmxcsr(dword[at(cpu_.fpu.legacy[FpuState::kMxcsr])]);
    }
    ldmxcsr(dword[at(state_.host_mxcsr)]);
    for (int n = 0; n < vector_count(level); ++n) {
      const auto place = at(cpu_.fpu.vector[static_cast<unsigned>(n)]);
      if (level == VectorLevel::kSse)
        movaps(xword[place], Xbyak::Xmm(n));
      else if (host_vectors() >= HostVectors::kAvx512f)
        vmovups(zword[place], Xbyak::Zmm(n));
      else
        vmovups(yword[place], Xbyak::Ymm(n));
    }
    if (level == VectorLevel::kAvx512) move_masks(false);
    if (level > VectorLevel::kSse) vzeroupper();
  }
  // Xbyak 6 knows those without REX.W alone.
  void fxsave64() { legacy_image(0); }
  void fxrstor64() { legacy_image(1); }
  /// REX.W 0F AE /REG of FpuState::legacy, by an absolute address.
  void legacy_image(unsigned reg) {
    const std::array<std::uint8_t, 5> code = {0x48, 0x0f, 0xae, static_cast<std::uint8_t>(reg << 3U | 4U), 0x25};
    db(code.data(), code.size());
    dd(static_cast<std::uint32_t>(reinterpret_cast<std::size_t>(&cpu_.fpu.legacy)));
  }
  static int vector_count(VectorLevel level) {
    switch (level) {
      case VectorLevel::kNone: return 0;
      case VectorLevel::kAvx512: return 32;
      default: return 16;
    }
  }

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
  Xbyak::Label save_flags_;
  Xbyak::Label leave_;
};

}  // namespace

std::size_t generate_gate(std::byte* writable, const Cpu& cpu, const GateState& state, GateCode& code) {
  GateGenerator generator(writable, cpu, state);
  generator.run(code);
  return generator.getSize();
}

}  // namespace doppel::accel::soft
