// The emitter's insides: one block's code, instruction by instruction. Its members are defined by subject: emitter.cpp
// (blocks and ways out), emit_instructions.cpp, emit_system.cpp, emit_bits.cpp, emit_strings.cpp, emit_gathers.cpp,
// emit_branches.cpp, emit_memory.cpp.
#pragma once

#include <xbyak/xbyak.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "accel/soft/translator/emitter.h"
#include "accel/soft/translator/reencode.h"

namespace doppel::accel::soft {

// Compilers use these least: functions may change them, and not many need so many.
inline constexpr unsigned kR10 = 10;
inline constexpr unsigned kR11 = 11;
/// Does the guest's register live in memory, so that its host register is a temporary?
constexpr bool is_spilled(unsigned reg) {
  return reg == kR10 || reg == kR11;
}
constexpr bool is_host_register(RegisterOffset reg) {
  return reg < kZeroRegister && !is_spilled(reg / 8U);
}

/// Is VALUE what an immediate of 32 bits becomes where 64 are asked for?
constexpr bool fits_signed_32(std::uint64_t value) {
  return static_cast<std::uint64_t>(static_cast<std::int64_t>(static_cast<std::int32_t>(value))) == value;
}

class Emitter::Generator : public Xbyak::CodeGenerator {
 public:
  Generator(std::byte* writable, std::size_t capacity, const Cpu& cpu, const GateState& state, const GateCode& gate,
            bool counts)
      : CodeGenerator(capacity, writable), cpu_(cpu), state_(state), gate_(gate), counts_(counts) {}

  void emit(const BlockPlan& plan, const JumpCache* jump_cache, TlbSites& sites, Cursors& cursors,
            TranslationDraft& draft);
  void patch(std::uint32_t site, std::uint32_t target) {
    const std::size_t at = getSize();
    setSize(site);
    dd(target - (site + 4));
    setSize(at);
  }

 private:
  using TlbResult = TlbSites::Result;
  enum Condition : std::uint8_t { kEqual = 0x84, kNotEqual = 0x85, kAbove = 0x87 };  // second bytes of near jumps
  static constexpr int kNoGroup = -1;

  /// What R10 and R11 still have from the instructions before, so that it need not be loaded again.
  struct Temporaries {
    bool guest_r10 = false;  // R10 is the guest's
    bool guest_r11 = false;
    int group = kNoGroup;  // whose addend is in R11
    [[nodiscard]] bool nothing() const { return !guest_r10 && !guest_r11 && group == kNoGroup; }
  };

  /// A jump in the hot part to a stub that is yet to be emitted.
  struct Fixup {
    std::uint32_t site = 0;
    ExitKind kind = ExitKind::kInterpret;
    std::uint32_t id = 0;
    FlagsHome flags = FlagsHome::kRegister;
    bool reload_rcx = false;
  };

  /// The same to where a site is filled.
  struct SiteFixup {
    std::uint32_t site = 0;
    std::uint32_t number = 0;  // of the TLB's site
    TlbAccess access = TlbAccess::kRead;
  };

  /// A conditional branch to another page: in the cold part the flags are saved on the way.
  struct FarBranch {
    std::uint32_t site = 0;
    std::size_t link = 0;
  };

  // One block.
  void enter();
  void guard();
  void guard_page(std::uint64_t linear, std::uint32_t number);
  void instruction(std::size_t number);
  void note_instruction(std::uint32_t begin);
  void body();
  void stubs();
  void late_entry();

  // Where the arithmetic flags are.
  void keep_flags_in(FlagsHome home);
  void save_flags();
  void restore_flags();

  // Instructions.
  void interpret();
  void verbatim();
  void memory();
  void on_host(const HostOperand& operand);
  void note_x87();
  void push_operand();
  void push_memory();
  void push_flags();
  void pop_register();
  void leave();
  void read_tsc();
  void jump();
  void jump_if();
  void jump_counter();
  void call();
  void return_();
  void jump_indirect();
  void call_indirect();

  // Of the processor's own state.
  void disable_interrupts();
  void enable_interrupts();
  void set_direction(bool down);
  void keep_rflags(const std::uint64_t& mask, const Xbyak::Reg64& reg);
  void read_selector();
  void swap_gs();

  // Bit strings.
  void bit_string();
  void find_bit_element();

  // String instructions, which consist of these.
  void string();
  void cut_string_registers();
  void leave_if_no_elements(Xbyak::Label& done);
  void find_elements(const Xbyak::Reg64& address, TlbAccess access);
  void subtract(const Xbyak::Reg64& reg, const Xbyak::Reg64& value);
  void go_on_with_elements(const Xbyak::Label& again, Xbyak::Label& done);

  // Gathers and scatters, likewise.
  void gather();
  void load_active_elements();
  void find_element();
  void scatter_found();
  void put_gathered();
  void restore_borrowed();

  // The parts of several.
  void poll_if_backward(std::uint64_t target);
  void poll();
  void poll_without_flags();
  [[nodiscard]] bool is_far(std::uint64_t target) const;
  void effective_address(std::int64_t disp);
  void add_segment_base();
  void count_lookup();
  void count(const std::uint64_t& counter);
  const std::uint64_t* look_up(TlbAccess access, unsigned size, TlbResult result);
  [[nodiscard]] std::optional<std::uint64_t> constant_address(unsigned size) const;
  HostOperand look_up_constant(std::uint64_t linear, TlbAccess access, unsigned reg);
  const TlbSite& look_up_site(std::uint32_t number, TlbAccess access, std::uint32_t limit);
  void look_up_dead_flags(std::size_t tag, std::uint32_t limit, std::size_t result);
  void find_entry(std::size_t tag);
  void look_up_live_flags(std::size_t tag, unsigned size, std::size_t result);
  HostOperand find_operand();
  HostOperand find_member(bool needs_r10, bool needs_r11);
  void load_addend();
  [[nodiscard]] Temporaries held_behind(const Temporaries& before) const;
  [[nodiscard]] bool is_simple_member() const;
  /// That AH, CH, DH or BH is part of, which ModRM names as 4 to 7.
  [[nodiscard]] unsigned high_byte_register() const { return planned_->zydis.raw.modrm.reg % 4U; }
  void lead();
  Xbyak::RegExp find_stack();
  Xbyak::Reg64 take_temporary(Xbyak::RegExp& place);
  void load_target();
  void probe_jump_cache();
  void jump_to_found();
  void find_return_slot();
  void note_return(bool is_in_r10);
  void return_by_jump_cache(std::size_t number);
  [[nodiscard]] Xbyak::RegExp found_entry(std::size_t offset) const;
  void store_word(const Xbyak::RegExp& place, std::uint64_t value, const Xbyak::Reg64& scratch);
  void store_word(const Xbyak::RegExp& place, const Xbyak::Reg64& value);
  void load_word(const Xbyak::Reg64& reg, const Xbyak::RegExp& place);
  void add_to_stack_pointer(std::int64_t bytes);
  void load_address(const Xbyak::Reg64& reg, const Xbyak::RegExp& sum);
  void link_to(std::uint64_t target);
  void link_here(std::uint64_t target, FlagsHome flags);
  /// Interprets the instruction if the comparison before says so.
  void interpret_if(Condition condition);
  void jump_to_stub(ExitKind kind, std::uint32_t id, FlagsHome flags, bool reload_rcx = false);
  void raw(std::span<const std::uint8_t> bytes) {
    for (const std::uint8_t value : bytes) db(value);
  }
  void load_spilled(unsigned number) {
    bool& held = number == kR10 ? held_.guest_r10 : held_.guest_r11;
    if (std::exchange(held, true)) return;
    if (number == kR11) held_.group = kNoGroup;
    mov(Xbyak::Reg64(static_cast<int>(number)), qword[at(cpu_.gpr[number])]);
  }
  void store_spilled(unsigned number) { mov(qword[at(cpu_.gpr[number])], Xbyak::Reg64(static_cast<int>(number))); }

  template <class T>
  static Xbyak::RegExp at(const T& place) {
    return Xbyak::RegExp(reinterpret_cast<std::size_t>(&place));
  }
  [[nodiscard]] std::uint32_t position() const { return static_cast<std::uint32_t>(getSize()); }
  [[nodiscard]] std::uint32_t interpret_id() const {
    return draft_->id << Translation::kInstructionBits | static_cast<std::uint32_t>(number_);
  }
  [[nodiscard]] bool is_member() const { return planned_->member.group >= 0; }
  [[nodiscard]] const TlbEntry& entries() const { return *cpu_.tlb.entries(draft_->key.mmu_index); }
  [[nodiscard]] bool is_long() const { return plan_->kind.is_long; }
  [[nodiscard]] std::uint8_t word() const { return plan_->kind.word(); }
  [[nodiscard]] std::uint64_t branch_target() const {
    return (planned_->next_rip() + planned_->instruction->imm) & plan_->kind.address_mask();
  }
  [[nodiscard]] StackAccess stack() const { return stack_access(planned_->action, plan_->kind).value(); }
  [[nodiscard]] bool has_segment_base() const { return has_base(planned_->instruction->segment); }
  /// Must what is emitted leave the host's flags alone?
  [[nodiscard]] bool needs_flags() const { return planned_->flags_before != 0 && flags_ == FlagsHome::kRegister; }

  const Cpu& cpu_;
  const GateState& state_;
  const GateCode& gate_;
  const bool counts_;  // lookups

  // The block at work.
  const BlockPlan* plan_ = nullptr;
  const JumpCache* jump_cache_ = nullptr;
  TlbSites* sites_ = nullptr;
  TranslationDraft* draft_ = nullptr;
  const PlannedInstruction* planned_ = nullptr;
  std::size_t number_ = 0;  // of the instruction
  std::size_t part_ = 0;    // that it belongs to
  std::size_t part_begin_ = 0;
  bool falls_through_ = true;
  bool leaves_ = false;  // the instruction has an exit of its own
  FlagsHome flags_ = FlagsHome::kRegister;
  Temporaries held_;
  std::array<const std::uint64_t*, kMostGroups> addends_{};  // where each group's is
  std::vector<Fixup> fixups_;
  std::vector<SiteFixup> site_fixups_;
  std::vector<FarBranch> far_branches_;
  struct ReturnMiss {
    std::uint32_t site = 0;
    std::size_t number = 0;  // of the instruction
  };
  std::vector<ReturnMiss> return_misses_;
};

}  // namespace doppel::accel::soft
