#include "accel/soft/translator/emitter.h"

#include <xbyak/xbyak.h>

#include <bit>
#include <vector>

#include "accel/soft/translator/reencode.h"
#include "base/bits.h"

namespace doppel::accel::soft {

namespace {

constexpr unsigned kR14 = 14;
constexpr unsigned kR15 = 15;
constexpr unsigned kJumpHashShift = 12;
constexpr auto kPageSize = static_cast<std::uint32_t>(x86::kPageSize);

bool fits_signed_32(std::uint64_t value) {
  return static_cast<std::uint64_t>(static_cast<std::int64_t>(static_cast<std::int32_t>(value))) == value;
}

}  // namespace

std::size_t jump_cache_index(std::uint64_t linear) {
  return (linear + std::rotr(linear, kJumpHashShift)) % kJumpCacheSets;
}

class Emitter::Generator : public Xbyak::CodeGenerator {
 public:
  Generator(std::byte* writable, std::size_t capacity, const Cpu& cpu, const GateState& state, const GateCode& gate)
      : CodeGenerator(capacity, writable), cpu_(cpu), state_(state), gate_(gate) {}

  void emit(const BlockPlan& plan, const JumpCacheSet* jump_cache, Cursors& cursors, Translation& translation);
  void patch(std::uint32_t site, std::uint32_t target) {
    const std::size_t at = getSize();
    setSize(site);
    dd(target - (site + 4));
    setSize(at);
  }

 private:
  enum class Access : std::uint8_t { kRead, kWrite };

  /// A jump in the hot part to a stub that is yet to be emitted.
  struct Fixup {
    std::uint32_t site = 0;
    ExitKind kind = ExitKind::kInterpret;
    std::uint32_t id = 0;
    bool reload_rcx = false;
  };

  // One block.
  void guard();
  void guard_page(std::uint64_t linear, std::uint32_t number);
  void instruction(std::size_t number);
  void body();
  void stubs();

  // Instructions.
  void interpret();
  void verbatim();
  void memory();
  void push_operand();
  void push_memory();
  void push_flags();
  void disable_interrupts();
  void enable_interrupts();
  void keep_rflags(const std::uint64_t& mask, const Xbyak::Reg64& reg);
  void pop_register();
  void leave();
  void jump();
  void jump_if();
  void jump_counter();
  void call();
  void return_();
  void jump_indirect();
  void call_indirect();

  // Their parts.
  void poll_if_backward(std::uint64_t target);
  void poll();
  void effective_address(std::int64_t disp);
  void add_segment_base();
  void look_up(Access access, unsigned size, const std::uintptr_t& result);
  void look_up_dead_flags(std::size_t tag, unsigned size, std::size_t result);
  void look_up_live_flags(std::size_t tag, unsigned size, std::size_t result);
  HostOperand find_operand();
  HostOperand find_member(bool needs_r14, bool needs_r15);
  void load_addend();
  void lead();
  Xbyak::RegExp find_stack();
  Xbyak::Reg64 take_temporary(Xbyak::RegExp& place);
  void load_target();
  void probe_jump_cache();
  void jump_through_cache();
  void store_word(const Xbyak::RegExp& place, std::uint64_t value, const Xbyak::Reg64& scratch);
  void store_word(const Xbyak::RegExp& place, const Xbyak::Reg64& value);
  void load_word(const Xbyak::Reg64& reg, const Xbyak::RegExp& place);
  void add_to_stack_pointer(std::int64_t bytes);
  void load_address(const Xbyak::Reg64& reg, const Xbyak::RegExp& sum);
  void link_to(std::uint64_t target);
  void jump_to_stub(ExitKind kind, std::uint32_t id, bool reload_rcx);
  void raw(std::span<const std::uint8_t> bytes) {
    for (const std::uint8_t value : bytes) db(value);
  }
  void load_spilled(unsigned number) { mov(Xbyak::Reg64(static_cast<int>(number)), qword[at(cpu_.gpr[number])]); }
  void store_spilled(unsigned number) { mov(qword[at(cpu_.gpr[number])], Xbyak::Reg64(static_cast<int>(number))); }

  template <class T>
  static Xbyak::RegExp at(const T& place) {
    return Xbyak::RegExp(reinterpret_cast<std::size_t>(&place));
  }
  [[nodiscard]] std::uint32_t position() const { return static_cast<std::uint32_t>(getSize()); }
  [[nodiscard]] std::uint32_t interpret_id() const {
    return translation_->id << Translation::kInstructionBits | static_cast<std::uint32_t>(number_);
  }
  [[nodiscard]] bool is_member() const { return planned_->member.group >= 0; }
  [[nodiscard]] const TlbEntry& entries() const { return *cpu_.tlb.entries(translation_->key.mmu_index); }
  [[nodiscard]] bool is_long() const { return plan_->kind.is_long; }
  [[nodiscard]] std::uint8_t word() const { return plan_->kind.word(); }
  [[nodiscard]] std::uint64_t branch_target() const {
    return (planned_->next_rip() + planned_->instruction->imm) & plan_->kind.address_mask();
  }
  [[nodiscard]] StackAccess stack() const { return stack_access(planned_->action, plan_->kind).value(); }
  [[nodiscard]] bool has_segment_base() const {
    const x86::SegmentName segment = planned_->instruction->segment;
    return segment == x86::kFs || segment == x86::kGs;
  }
  [[nodiscard]] bool flags_live() const { return planned_->flags_before != 0; }

  const Cpu& cpu_;
  const GateState& state_;
  const GateCode& gate_;

  // The block at work.
  const BlockPlan* plan_ = nullptr;
  const JumpCacheSet* jump_cache_ = nullptr;
  Translation* translation_ = nullptr;
  const PlannedInstruction* planned_ = nullptr;
  std::size_t number_ = 0;  // of the instruction
  std::size_t part_ = 0;    // that it belongs to
  std::size_t part_begin_ = 0;
  bool falls_through_ = true;
  std::vector<Fixup> fixups_;
};

void Emitter::Generator::emit(const BlockPlan& plan, const JumpCacheSet* jump_cache, Cursors& cursors,
                              Translation& translation) {
  plan_ = &plan;
  jump_cache_ = jump_cache;
  translation_ = &translation;
  fixups_.clear();
  setSize(cursors.hot);
  translation.guarded_entry = position();
  guard();
  translation.entry = position();
  falls_through_ = true;
  part_ = part_begin_ = 0;
  translation.instructions.reserve(plan.instructions.size());
  for (std::size_t i = 0; i < plan.instructions.size(); ++i) instruction(i);
  if (falls_through_) link_to(plan.instructions.back().next_rip());
  translation.falls_through = falls_through_;
  translation.end = position();
  translation.links.shrink_to_fit();
  cursors.hot = getSize();
  setSize(cursors.cold);
  stubs();
  cursors.cold = getSize();
}

/// Do the linear pages still lead where they did when the code was made?
void Emitter::Generator::guard() {
  const std::uint64_t linear = translation_->key.linear;
  guard_page(linear, translation_->page_number);
  if (translation_->crosses()) guard_page(linear + kPageSize, translation_->second_page_number);
}

void Emitter::Generator::guard_page(std::uint64_t linear, std::uint32_t number) {
  const auto place = at(cpu_.tlb.code().number(translation_->key.mmu_index, linear));
  if (plan_->instructions.front().flags_before == 0) {
    cmp(dword[place], number);
    db(0x0f);
    db(0x85);  // JNE
    jump_to_stub(ExitKind::kGuard, translation_->id, false);
    return;
  }
  Xbyak::Label ok;
  mov(qword[at(state_.rcx)], rcx);
  mov(ecx, dword[place]);
  lea(rcx, ptr[rcx - number]);
  jrcxz(ok);
  db(0xe9);
  jump_to_stub(ExitKind::kGuard, translation_->id, true);
  L(ok);
  mov(rcx, qword[at(state_.rcx)]);
}

void Emitter::Generator::instruction(std::size_t number) {
  number_ = number;
  planned_ = &plan_->instructions[number];
  const std::uint32_t begin = position();
  body();
  translation_->instructions.push_back({.begin = begin,
                                        .end = position(),
                                        .offset = static_cast<std::int16_t>(planned_->rip - translation_->key.linear),
                                        .part = static_cast<std::uint8_t>(part_),
                                        .number = static_cast<std::uint8_t>(number - part_begin_),
                                        .action = planned_->action,
                                        .writes_memory = planned_->writes_memory,
                                        .member = planned_->member});
  if (number + 1 - part_begin_ < plan_->parts[part_]->size) return;
  ++part_;
  part_begin_ = number + 1;
}

void Emitter::Generator::body() {
  switch (planned_->action) {
    case Action::kInterpret: return interpret();
    case Action::kVerbatim: return verbatim();
    case Action::kMemory: return memory();
    case Action::kAddress: {
      const bool relative = planned_->instruction->base == kRipRegister;
      const std::uint64_t address =
          (relative ? planned_->next_rip() : 0) + static_cast<std::uint64_t>(planned_->instruction->disp);
      const unsigned reg = planned_->instruction->reg / 8;
      const std::uint64_t masked = address & kAddressMasks[planned_->instruction->address_size];
      if (planned_->instruction->operand_size == 2) return interpret();
      if (planned_->instruction->operand_size == 4)
        mov(Xbyak::Reg32(static_cast<int>(reg)), static_cast<std::uint32_t>(masked));
      else
        mov(Xbyak::Reg64(static_cast<int>(reg)), masked);
      if (reg >= kR14) store_spilled(reg);
      return;
    }
    case Action::kNothing: return;
    case Action::kPush: return push_operand();
    case Action::kPushMemory: return push_memory();
    case Action::kPushFlags: return push_flags();
    case Action::kPop: return pop_register();
    case Action::kLeave: return leave();
    case Action::kJump: return jump();
    case Action::kJumpIf: return jump_if();
    case Action::kJumpCounter: return jump_counter();
    case Action::kCall: return call();
    case Action::kReturn: return return_();
    case Action::kJumpIndirect: return jump_indirect();
    case Action::kCallIndirect: return call_indirect();
    case Action::kDisableInterrupts: return disable_interrupts();
    case Action::kEnableInterrupts: return enable_interrupts();
  }
}

void Emitter::Generator::stubs() {
  for (const Fixup& fixup : fixups_) {
    const std::uint32_t stub = position();
    if (fixup.reload_rcx) mov(rcx, qword[at(state_.rcx)]);
    mov(r14d, fixup.id);
    switch (fixup.kind) {
      case ExitKind::kInterpret: Xbyak::CodeGenerator::jmp(gate_.exit_interpret); break;
      case ExitKind::kLink: Xbyak::CodeGenerator::jmp(gate_.exit_link); break;
      default: Xbyak::CodeGenerator::jmp(gate_.exit_guard); break;
    }
    patch(fixup.site, stub);
    if (fixup.kind == ExitKind::kLink) translation_->links.at(fixup.id & low_mask(Translation::kLinkBits)).stub = stub;
  }
}

/// Behind the opcode of a near jump.
void Emitter::Generator::jump_to_stub(ExitKind kind, std::uint32_t id, bool reload_rcx) {
  fixups_.push_back({.site = position(), .kind = kind, .id = id, .reload_rcx = reload_rcx});
  dd(0);
}

void Emitter::Generator::interpret() {
  mov(r14d, interpret_id());
  Xbyak::CodeGenerator::jmp(gate_.exit_interpret);
}

void Emitter::Generator::verbatim() {
  if (planned_->used.r14) load_spilled(kR14);
  if (planned_->used.r15) load_spilled(kR15);
  // LEA's address is no operand that counts as used.
  const Instruction& i = *planned_->instruction;
  if (i.has_memory)
    for (const unsigned reg : {i.base / 8U, i.index / 8U})
      if (reg == kR14 || reg == kR15) load_spilled(reg);
  raw(planned_->code());
  if (planned_->written.r14) store_spilled(kR14);
  if (planned_->written.r15) store_spilled(kR15);
}

void Emitter::Generator::memory() {
  const HostOperand operand = find_operand();
  if (planned_->used.r14) load_spilled(kR14);
  if (planned_->used.r15) load_spilled(kR15);
  raw(reencode(planned_->zydis, planned_->code(), operand).span());
  if (planned_->written.r14) store_spilled(kR14);
  if (planned_->written.r15) store_spilled(kR15);
}

void Emitter::Generator::push_operand() {
  Xbyak::RegExp place = find_stack();
  const Instruction& i = *planned_->instruction;
  const unsigned reg = i.rm / 8;
  if (i.rm == kZeroRegister) {
    store_word(place, i.imm, r14);
  } else if (reg >= kR14) {
    const Xbyak::Reg64 value = take_temporary(place);
    mov(value, qword[at(cpu_.gpr[reg])]);
    store_word(place, value);
  } else {
    store_word(place, Xbyak::Reg64(static_cast<int>(reg)));
  }
  add_to_stack_pointer(-word());
}

void Emitter::Generator::push_memory() {
  load_target();
  mov(qword[at(state_.target)], r14);
  load_address(r14, Xbyak::RegExp(rsp) - word());
  look_up(Access::kWrite, word(), entries().host);
  lea(r14, ptr[r14 + r15]);
  mov(r15, qword[at(state_.target)]);
  store_word(Xbyak::RegExp(r14), r15);
  add_to_stack_pointer(-word());
}

/// RFLAGS in memory with the arithmetic flags of the host's. Only PUSHF shows them all.
void Emitter::Generator::push_flags() {
  mov(r14, rsp);
  mov(esp, static_cast<std::uint32_t>(reinterpret_cast<std::size_t>(&state_.host_stack.back())));
  pushfq();
  pop(r15);
  mov(rsp, r14);
  mov(r14, qword[at(cpu_.rflags)]);
  keep_rflags(state_.other_flags, r14);
  keep_rflags(state_.arithmetic_flags, r15);
  lea(r14, ptr[r14 + r15]);
  mov(qword[at(state_.target)], r14);
  Xbyak::RegExp place = find_stack();
  const Xbyak::Reg64 value = take_temporary(place);
  mov(value, qword[at(state_.target)]);
  store_word(place, value);
  add_to_stack_pointer(-word());
}

/// REG becomes REG & MASK, without flags.
void Emitter::Generator::keep_rflags(const std::uint64_t& mask, const Xbyak::Reg64& reg) {
  pext(reg, reg, qword[at(mask)]);
  pdep(reg, reg, qword[at(mask)]);
}

void Emitter::Generator::disable_interrupts() {
  mov(r14, qword[at(cpu_.rflags)]);
  keep_rflags(state_.all_but_if, r14);
  mov(qword[at(cpu_.rflags)], r14);
}

/// Interrupts that wait are the run loop's affair. Without one, the shadow behind STI makes no difference.
void Emitter::Generator::enable_interrupts() {
  Xbyak::Label none;
  mov(qword[at(state_.rcx)], rcx);
  movzx(ecx, byte[at(cpu_.irq_window_wanted)]);
  jrcxz(none);
  db(0xe9);
  jump_to_stub(ExitKind::kInterpret, interpret_id(), true);
  L(none);
  mov(rcx, qword[at(state_.rcx)]);
  mov(r14, qword[at(cpu_.rflags)]);
  keep_rflags(state_.all_but_if, r14);
  lea(r14, ptr[r14 + static_cast<int>(x86::rflags::kIf)]);
  mov(qword[at(cpu_.rflags)], r14);
}

void Emitter::Generator::pop_register() {
  const Xbyak::RegExp place = find_stack();
  const unsigned reg = planned_->instruction->rm / 8;
  if (reg >= kR14) {
    mov(r14, qword[place]);
    mov(qword[at(cpu_.gpr[reg])], r14);
    add_to_stack_pointer(word());
    return;
  }
  load_word(Xbyak::Reg64(static_cast<int>(reg)), place);
  if (reg != x86::kRsp) add_to_stack_pointer(word());
}

void Emitter::Generator::leave() {
  load_word(r14, find_stack());
  load_address(rsp, Xbyak::RegExp(rbp) + word());
  mov(rbp, r14);
}

void Emitter::Generator::store_word(const Xbyak::RegExp& place, const Xbyak::Reg64& value) {
  if (is_long())
    mov(qword[place], value);
  else
    mov(dword[place], value.cvt32());
}

/// REG becomes the word at PLACE, on the host.
void Emitter::Generator::load_word(const Xbyak::Reg64& reg, const Xbyak::RegExp& place) {
  if (is_long())
    mov(reg, qword[place]);
  else
    mov(reg.cvt32(), dword[place]);
}

/// REG becomes a guest's address.
void Emitter::Generator::load_address(const Xbyak::Reg64& reg, const Xbyak::RegExp& sum) {
  if (is_long())
    lea(reg, ptr[sum]);
  else
    lea(reg.cvt32(), ptr[sum]);
}

/// Without flags.
void Emitter::Generator::add_to_stack_pointer(std::int64_t bytes) {
  load_address(rsp, Xbyak::RegExp(rsp) + static_cast<std::size_t>(bytes));
}

// --- Branches ---

/// Each loop has a branch backwards, a return or an indirect branch in it. A poll comes before its instruction has
/// done anything.
void Emitter::Generator::poll_if_backward(std::uint64_t target) {
  if (target <= planned_->rip) poll();
}

void Emitter::Generator::poll() {
  mov(r14, qword[at(cpu_.attention)]);
  movzx(r14d, byte[r14]);
}

void Emitter::Generator::link_to(std::uint64_t target) {
  db(0xe9);
  const auto n = static_cast<std::uint32_t>(translation_->links.size());
  translation_->links.push_back({.target = target, .site = position(), .number = static_cast<std::uint8_t>(number_)});
  jump_to_stub(ExitKind::kLink, translation_->id << Translation::kLinkBits | n, false);
}

void Emitter::Generator::jump() {
  const std::uint64_t target = branch_target();
  poll_if_backward(target);
  if (planned_->goes_on) return;
  link_to(target);
  falls_through_ = false;
}

void Emitter::Generator::jump_if() {
  const std::uint64_t target = branch_target();
  poll_if_backward(target);
  db(0x0f);
  db(0x80 | (planned_->zydis.opcode & 0xf));
  const auto n = static_cast<std::uint32_t>(translation_->links.size());
  translation_->links.push_back({.target = target, .site = position(), .number = static_cast<std::uint8_t>(number_)});
  jump_to_stub(ExitKind::kLink, translation_->id << Translation::kLinkBits | n, false);
  if (planned_->goes_on) return;
  link_to(planned_->next_rip());
  falls_through_ = false;
}

/// Those have short displacements alone.
void Emitter::Generator::jump_counter() {
  constexpr unsigned kNearJump = 5;  // bytes
  const std::uint64_t target = branch_target();
  poll_if_backward(target);
  if (planned_->instruction->address_size == 4) db(0x67);
  db(planned_->zydis.opcode);
  db(kNearJump);
  link_to(planned_->next_rip());
  link_to(target);
  falls_through_ = false;
}

void Emitter::Generator::call() {
  const std::uint64_t target = branch_target();
  poll_if_backward(target);
  Xbyak::RegExp place = find_stack();
  if (!is_long() || fits_signed_32(planned_->next_rip()))
    store_word(place, planned_->next_rip(), r14);
  else
    store_word(place, planned_->next_rip(), take_temporary(place));
  add_to_stack_pointer(-word());
  if (planned_->goes_on) return;
  link_to(target);
  falls_through_ = false;
}

void Emitter::Generator::return_() {
  poll();
  load_word(r14, find_stack());
  probe_jump_cache();
  mov(rcx, qword[at(state_.rcx)]);
  add_to_stack_pointer(word() + static_cast<std::int64_t>(planned_->instruction->imm));
  jump_through_cache();
}

void Emitter::Generator::jump_indirect() {
  poll();
  load_target();
  probe_jump_cache();
  mov(rcx, qword[at(state_.rcx)]);
  jump_through_cache();
}

/// Nothing is stored before it is known where the branch goes: else the whole instruction is interpreted.
void Emitter::Generator::call_indirect() {
  poll();
  load_target();
  mov(qword[at(state_.target)], r14);
  load_address(r14, Xbyak::RegExp(rsp) - word());
  look_up(Access::kWrite, word(), entries().host);
  lea(r14, ptr[r14 + r15]);
  mov(qword[at(state_.slot)], r14);
  mov(r14, qword[at(state_.target)]);
  probe_jump_cache();
  mov(rcx, qword[at(state_.slot)]);
  store_word(Xbyak::RegExp(rcx), planned_->next_rip(), r14);
  mov(rcx, qword[at(state_.rcx)]);
  add_to_stack_pointer(-word());
  jump_through_cache();
}

/// SCRATCH is used for what does not fit in an immediate.
void Emitter::Generator::store_word(const Xbyak::RegExp& place, std::uint64_t value, const Xbyak::Reg64& scratch) {
  if (!is_long()) {
    mov(dword[place], static_cast<std::uint32_t>(value));
    return;
  }
  if (fits_signed_32(value)) {
    mov(qword[place], value);
    return;
  }
  mov(scratch, value);
  mov(qword[place], scratch);
}

/// R14 becomes the word that the instruction names: where an indirect branch goes.
void Emitter::Generator::load_target() {
  const Instruction& i = *planned_->instruction;
  if (i.has_memory) {
    effective_address(i.disp);
    add_segment_base();
    look_up(Access::kRead, word(), entries().host);
    load_word(r14, Xbyak::RegExp(r14) + Xbyak::RegExp(r15));
  } else {
    const unsigned reg = i.rm / 8;
    if (reg >= kR14)
      mov(r14, qword[at(cpu_.gpr[reg])]);
    else
      load_address(r14, Xbyak::RegExp(Xbyak::Reg64(static_cast<int>(reg))));
  }
}

/// Goes on with 8 * R15 the entry's place if the linear address R14 is there, RCX then being saved; else interprets.
void Emitter::Generator::probe_jump_cache() {
  Xbyak::Label hit;
  rorx(r15, r14, kJumpHashShift);
  lea(r15, ptr[r15 + r14]);
  pext(r15, r15, qword[at(state_.jump_cache_mask)]);
  mov(qword[at(state_.rcx)], rcx);
  lea(r15, ptr[r15 * 4]);
  mov(rcx, qword[r15 * 8 + reinterpret_cast<std::size_t>(&jump_cache_->front().inverted_linear)]);
  lea(rcx, ptr[rcx + r14 + 1]);
  jrcxz(hit);
  lea(r15, ptr[r15 + 2]);
  mov(rcx, qword[r15 * 8 + reinterpret_cast<std::size_t>(&jump_cache_->front().inverted_linear)]);
  lea(rcx, ptr[rcx + r14 + 1]);
  jrcxz(hit);
  db(0xe9);
  jump_to_stub(ExitKind::kInterpret, interpret_id(), true);
  L(hit);
}

void Emitter::Generator::jump_through_cache() {
  Xbyak::CodeGenerator::jmp(qword[r15 * 8 + reinterpret_cast<std::size_t>(&jump_cache_->front().code)]);
  falls_through_ = false;
}

// --- Memory operands ---

/// R14 becomes the offset of the operand, had it the displacement DISP. R15 may be lost.
void Emitter::Generator::effective_address(std::int64_t disp) {
  const Instruction& i = *planned_->instruction;
  const bool has_index = i.index != kZeroRegister;
  if (i.base == kRipRegister || (i.base == kZeroRegister && !has_index)) {
    const std::uint64_t base = i.base == kRipRegister ? planned_->next_rip() : 0;
    mov(r14, (base + static_cast<std::uint64_t>(disp)) & kAddressMasks[i.address_size]);
    return;
  }
  Xbyak::RegExp sum(static_cast<std::size_t>(disp));
  if (i.base != kZeroRegister) {
    unsigned base = i.base / 8;
    if (base >= kR14) {
      mov(r14, qword[at(cpu_.gpr[base])]);
      base = kR14;
    }
    sum = Xbyak::RegExp(Xbyak::Reg64(static_cast<int>(base))) + static_cast<std::size_t>(disp);
  }
  if (has_index) {
    unsigned index = i.index / 8;
    if (index >= kR14) {
      mov(r15, qword[at(cpu_.gpr[index])]);
      index = kR15;
    }
    sum = sum + Xbyak::RegExp(Xbyak::Reg64(static_cast<int>(index)), 1 << i.scale);
  }
  if (i.address_size == 4)
    lea(r14d, ptr[sum]);
  else
    lea(r14, ptr[sum]);
}

/// R14 becomes a linear address. R15 is lost.
void Emitter::Generator::add_segment_base() {
  if (!has_segment_base()) return;
  mov(r15, qword[at(cpu_.view[planned_->instruction->segment].base)]);
  load_address(r14, Xbyak::RegExp(r14) + Xbyak::RegExp(r15));
}

/// The memory operand, with the spilled registers that are data free to be loaded.
HostOperand Emitter::Generator::find_operand() {
  const SpilledUse& used = planned_->used;
  if (is_member()) return find_member(used.r14, used.r15);
  effective_address(planned_->instruction->disp);
  add_segment_base();
  look_up(planned_->writes_memory ? Access::kWrite : Access::kRead, planned_->memory_size, entries().host);
  if (used.r14) {
    lea(r15, ptr[r14 + r15]);
    return {.base = kR15};
  }
  if (used.r15) {
    lea(r14, ptr[r14 + r15]);
    return {.base = kR14};
  }
  return {.base = kR14, .index = kR15};
}

/// The same of one that shares a lookup: its address as the guest has it, and the group's addend.
HostOperand Emitter::Generator::find_member(bool needs_r14, bool needs_r15) {
  const Instruction& i = *planned_->instruction;
  // Sums of 32 bits are to be cut off.
  const bool is_simple = is_long() && i.base < kR14 * 8 && i.index == kZeroRegister;
  if (is_simple) {
    load_addend();
    const auto base = static_cast<std::uint8_t>(i.base / 8);
    const auto disp = static_cast<std::int32_t>(i.disp);
    if (!needs_r15) return {.base = base, .index = kR15, .disp = disp};
    mov(r14, r15);
    return {.base = base, .index = kR14, .disp = disp};
  }
  if (planned_->member.leads) lead();
  effective_address(i.disp);
  if (!is_long()) add_segment_base();
  mov(r15, qword[at(state_.addend.at(static_cast<std::size_t>(planned_->member.group)))]);
  if (needs_r14) {
    lea(r15, ptr[r14 + r15]);
    return {.base = kR15};
  }
  if (needs_r15) {
    lea(r14, ptr[r14 + r15]);
    return {.base = kR14};
  }
  return {.base = kR14, .index = kR15};
}

/// R15 becomes the addend of the group. R14 may be lost.
void Emitter::Generator::load_addend() {
  if (planned_->member.leads)
    lead();
  else
    mov(r15, qword[at(state_.addend.at(static_cast<std::size_t>(planned_->member.group)))]);
}

/// Looks up all that the group accesses. R15 becomes its addend, which in 64-bit code includes the segment's base.
void Emitter::Generator::lead() {
  const GroupMember& member = planned_->member;
  bool adds_base = false;
  if (const auto stack = stack_access(planned_->action, plan_->kind)) {
    load_address(r14, Xbyak::RegExp(Xbyak::Reg64(stack->reg)) +
                          static_cast<std::size_t>(std::int64_t{stack->offset} + member.low));
  } else {
    effective_address(planned_->instruction->disp + member.low);
    add_segment_base();
    adds_base = is_long() && has_segment_base();
  }
  look_up(member.group_writes ? Access::kWrite : Access::kRead, member.span, entries().addend);
  if (adds_base) {
    mov(r14, qword[at(cpu_.view[planned_->instruction->segment].base)]);
    lea(r15, ptr[r14 + r15]);
  }
  mov(qword[at(state_.addend.at(static_cast<std::size_t>(member.group)))], r15);
}

/// Where the word is that the action accesses.
Xbyak::RegExp Emitter::Generator::find_stack() {
  const StackAccess stack = this->stack();
  const Xbyak::RegExp address =
      Xbyak::RegExp(Xbyak::Reg64(stack.reg)) + static_cast<std::size_t>(std::int64_t{stack.offset});
  if (is_member()) {
    load_addend();
    if (is_long()) return address + Xbyak::RegExp(r15);
    load_address(r14, address);
    return Xbyak::RegExp(r14) + Xbyak::RegExp(r15);
  }
  load_address(r14, address);
  look_up(stack.writes ? Access::kWrite : Access::kRead, word(), entries().host);
  return Xbyak::RegExp(r14) + Xbyak::RegExp(r15);
}

/// A register beside those that PLACE is made of, which may become another spelling of the same.
Xbyak::Reg64 Emitter::Generator::take_temporary(Xbyak::RegExp& place) {
  if (is_member() && is_long()) return r14;
  lea(r14, ptr[place]);
  place = Xbyak::RegExp(r14);
  return r15;
}

// An entry is TlbEntry's 32 bytes: the index times that is cut out of the address. Its tag is the page's address, so
// that the difference is the offset in the page on a hit, and one comparison sees to the page's end as well.
static_assert(sizeof(TlbEntry) == 32);
constexpr unsigned kIndexShift = 12 - 5;
constexpr std::uint32_t kIndexMask = (Tlb::kEntries - 1) * sizeof(TlbEntry);

/// Checks the SIZE bytes at the linear address R14, which becomes the offset in the page. R15 becomes the entry's
/// RESULT, which is named as the first entry's.
void Emitter::Generator::look_up(Access access, unsigned size, const std::uintptr_t& result) {
  const std::uint64_t& tag = access == Access::kRead ? entries().read_tag : entries().write_tag;
  const auto tag_address = reinterpret_cast<std::size_t>(&tag);
  const auto result_address = reinterpret_cast<std::size_t>(&result);
  if (flags_live())
    look_up_live_flags(tag_address, size, result_address);
  else
    look_up_dead_flags(tag_address, size, result_address);
}

void Emitter::Generator::look_up_dead_flags(std::size_t tag, unsigned size, std::size_t result) {
  rorx(r15d, r14d, kIndexShift);
  and_(r15d, kIndexMask);
  sub(r14, qword[r15 + tag]);
  cmp(r14, kPageSize - size);
  db(0x0f);
  db(0x87);  // JA
  jump_to_stub(ExitKind::kInterpret, interpret_id(), false);
  mov(r15, qword[r15 + result]);
}

void Emitter::Generator::look_up_live_flags(std::size_t tag, unsigned size, std::size_t result) {
  constexpr unsigned kTimes32 = 64 - 5;  // rotating right by that
  Xbyak::Label hit;
  pext(r15, r14, qword[at(state_.tlb_index_mask)]);
  rorx(r15, r15, kTimes32);
  mov(qword[at(state_.rcx)], rcx);
  mov(rcx, qword[r15 + tag]);
  not_(rcx);
  lea(r14, ptr[r14 + rcx + 1]);
  mov(r15, qword[r15 + result]);
  lea(rcx, ptr[r14 + (size - 1)]);
  pext(rcx, rcx, qword[at(state_.page_mask)]);
  jrcxz(hit);
  db(0xe9);
  jump_to_stub(ExitKind::kInterpret, interpret_id(), true);
  L(hit);
  mov(rcx, qword[at(state_.rcx)]);
}

// --- Emitter ---

Emitter::Emitter(std::byte* writable, std::size_t capacity, const Cpu& cpu, const GateState& state,
                 const GateCode& gate)
    : generator_(std::make_unique<Generator>(writable, capacity, cpu, state, gate)) {}
Emitter::~Emitter() = default;

void Emitter::emit(const BlockPlan& plan, const JumpCacheSet* jump_cache, Cursors& cursors, Translation& translation) {
  generator_->emit(plan, jump_cache, cursors, translation);
}

void Emitter::patch(std::uint32_t site, std::uint32_t target) {
  generator_->patch(site, target);
}

}  // namespace doppel::accel::soft
