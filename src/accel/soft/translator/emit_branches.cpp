// Branches: links to known targets, the jump cache for the others.
#include <array>
#include <cstddef>

#include "accel/soft/translator/generator.h"

namespace doppel::accel::soft {

namespace {

/// What is in LIST for the slot in R11.
template <class T>
Xbyak::RegExp return_slot(const T& list) {
  return Xbyak::RegExp(Xbyak::util::r11, 8) + reinterpret_cast<std::size_t>(list.data());
}

}  // namespace

/// Each loop has a branch backwards, a return or an indirect branch in it. A poll comes before its instruction has
/// done anything.
void Emitter::Generator::poll_if_backward(std::uint64_t target) {
  if (target <= planned_->rip) poll();
}

/// By a comparison where the flags are free for that: the host's exceptions are dear.
void Emitter::Generator::poll() {
  if (needs_flags()) return poll_without_flags();
  cmp(qword[at(cpu_.attention)], 0);
  interpret_if(kEqual);
}

void Emitter::Generator::poll_without_flags() {
  mov(r10, qword[at(cpu_.attention)]);
  movzx(r10d, byte[r10]);
}

/// Links between pages are made with the flags saved, as guards want it. What crosses pages is in none.
bool Emitter::Generator::is_far(std::uint64_t target) const {
  return draft_->crosses() || target >> 12U != draft_->key.linear >> 12U;
}

void Emitter::Generator::link_to(std::uint64_t target) {
  if (is_far(target)) keep_flags_in(FlagsHome::kMemory);
  db(0xe9);
  link_here(target, flags_);
}

/// Behind the opcode of a near jump to TARGET, which comes there with the flags in FLAGS.
void Emitter::Generator::link_here(std::uint64_t target, FlagsHome flags) {
  const auto n = static_cast<std::uint32_t>(draft_->links.size());
  draft_->links.push_back(
      {.target = target, .site = position(), .number = static_cast<std::uint8_t>(number_), .flags = flags});
  jump_to_stub(ExitKind::kLink, Translation::piece(draft_->id, n), flags);
}

void Emitter::Generator::jump() {
  const std::uint64_t target = branch_target();
  poll_if_backward(target);
  if (planned_->goes_on) return;
  link_to(target);
  falls_through_ = false;
}

void Emitter::Generator::jump_if() {
  poll_if_backward(branch_target());
  const bool inverted = planned_->follows_target;
  const std::uint64_t target = inverted ? planned_->next_rip() : branch_target();
  const bool far = is_far(target);
  db(0x0f);
  db(0x80 | ((planned_->zydis.opcode & 0xf) ^ (inverted ? 1 : 0)));
  if (far) far_branches_.push_back({.site = position(), .link = draft_->links.size()});
  link_here(target, far ? FlagsHome::kMemory : FlagsHome::kRegister);
  if (planned_->goes_on) return;
  link_to(planned_->next_rip());
  falls_through_ = false;
}

/// Those have short displacements alone.
void Emitter::Generator::jump_counter() {
  constexpr unsigned kNearJump = 5;  // bytes
  const std::uint64_t target = branch_target();
  poll_if_backward(target);
  if (is_far(target) || is_far(planned_->next_rip())) keep_flags_in(FlagsHome::kMemory);
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
  const bool fits = !is_long() || fits_signed_32(planned_->next_rip());
  const Xbyak::Reg64 scratch = fits ? r10 : take_temporary(place);
  store_word(place, planned_->next_rip(), scratch);
  add_to_stack_pointer(-word());
  note_return(!fits && scratch == r10);
  if (planned_->goes_on) return;
  link_to(target);
  falls_through_ = false;
}

void Emitter::Generator::return_() {
  poll();
  load_word(r10, find_stack());
  count(state_.counts.returns);
  find_return_slot();
  cmp(r10, qword[return_slot(jump_cache_->returns().linear)]);
  db(0x0f);
  db(kNotEqual);
  return_misses_.push_back({.site = position(), .number = number_});
  dd(0);
  leaves_ = true;
  add_to_stack_pointer(word() + static_cast<std::int64_t>(planned_->instruction->imm));
  Xbyak::CodeGenerator::jmp(qword[return_slot(jump_cache_->returns().code)]);
  falls_through_ = false;
}

/// The return that is instruction NUMBER, where the jump cache must tell the way.
void Emitter::Generator::return_by_jump_cache(std::size_t number) {
  number_ = number;
  planned_ = &plan_->instructions[number];
  flags_ = FlagsHome::kMemory;
  count(state_.counts.return_misses);
  probe_jump_cache();
  add_to_stack_pointer(word() + static_cast<std::int64_t>(planned_->instruction->imm));
  jump_to_found();
}

/// R11 becomes the number of the slot that RSP has in the return cache. Without flags.
void Emitter::Generator::find_return_slot() {
  static_assert(ReturnCache::kSlots == 256);
  rorx(r11d, esp, ReturnCache::kShift);
  movzx(r11d, r11b);
}

/// The call has pushed its return address, which may still be in R10. Without flags.
void Emitter::Generator::note_return(bool is_in_r10) {
  const std::uint64_t next = planned_->next_rip() & plan_->kind.address_mask();
  const ReturnCache& returns = jump_cache_->returns();
  find_return_slot();
  if (is_long() && fits_signed_32(next)) {
    mov(qword[return_slot(returns.linear)], next);
  } else {
    if (!is_in_r10) mov(r10, next);
    mov(qword[return_slot(returns.linear)], r10);
  }
  raw(std::to_array<std::uint8_t>({0x4c, 0x8d, 0x15}));  // lea r10, [rip + ...
  link_here(next, FlagsHome::kMemory);
  draft_->links.back().is_return = true;
  mov(qword[return_slot(returns.code)], r10);
}

void Emitter::Generator::jump_indirect() {
  poll();
  load_target();
  probe_jump_cache();
  jump_to_found();
}

/// Nothing is stored before it is known where the branch goes: else the whole instruction is interpreted.
void Emitter::Generator::call_indirect() {
  poll();
  load_target();
  mov(qword[at(state_.target)], r10);
  load_address(r10, Xbyak::RegExp(rsp) - word());
  look_up(TlbAccess::kWrite, word(), TlbResult::kHost);
  lea(r10, ptr[r10 + r11]);
  mov(qword[at(state_.slot)], r10);
  mov(r10, qword[at(state_.target)]);
  probe_jump_cache();
  mov(r11, qword[found_entry(offsetof(JumpCacheEntry, code))]);
  mov(qword[at(state_.target)], r11);
  mov(r10, qword[at(state_.slot)]);
  store_word(Xbyak::RegExp(r10), planned_->next_rip(), r11);
  add_to_stack_pointer(-word());
  note_return(false);
  Xbyak::CodeGenerator::jmp(qword[at(state_.target)]);
  falls_through_ = false;
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

/// R10 becomes the word that the instruction names: where an indirect branch goes.
void Emitter::Generator::load_target() {
  const Instruction& i = *planned_->instruction;
  if (!i.has_memory) {
    const unsigned reg = i.rm / 8;
    if (is_spilled(reg))
      mov(r10, qword[at(cpu_.gpr[reg])]);
    else if (is_long())
      mov(r10, Xbyak::Reg64(static_cast<int>(reg)));
    else
      mov(r10d, Xbyak::Reg32(static_cast<int>(reg)));
  } else if (const auto linear = constant_address(word())) {
    const HostOperand place = look_up_constant(*linear, TlbAccess::kRead, kR11);
    load_word(r10, Xbyak::RegExp(r11) + static_cast<std::size_t>(place.disp));
  } else {
    effective_address(i.disp);
    add_segment_base();
    look_up(TlbAccess::kRead, word(), TlbResult::kHost);
    load_word(r10, Xbyak::RegExp(r10) + Xbyak::RegExp(r11));
  }
}

/// Four times R11 becomes where in the jump cache the entry of the linear address R10 is, as JumpCache::index() finds
/// it, or the branch is interpreted. The flags are saved.
void Emitter::Generator::probe_jump_cache() {
  // The set's number times 8: R10's bits from 12 on, and those from 0 on.
  static_assert(JumpCache::kSets == std::size_t{1} << 15U && JumpCache::kHashShift == 12);
  static_assert(sizeof(JumpCache::Set) == std::size_t{8} * 4 && sizeof(JumpCacheEntry) == 16);
  constexpr std::uint32_t kMask = (JumpCache::kSets - 1) * 8;
  Xbyak::Label hit;
  count(state_.counts.lookups[static_cast<std::size_t>(ExitSite::kBranch)]);
  rorx(r11d, r10d, JumpCache::kHashShift - 3);
  lea(r11d, ptr[r11 + r10 * 8]);
  and_(r11d, kMask);
  cmp(r10, qword[found_entry(offsetof(JumpCacheEntry, linear))]);
  je(hit);
  add(r11d, sizeof(JumpCacheEntry) / 4);
  cmp(r10, qword[found_entry(offsetof(JumpCacheEntry, linear))]);
  interpret_if(kNotEqual);
  L(hit);
}

void Emitter::Generator::jump_to_found() {
  Xbyak::CodeGenerator::jmp(qword[found_entry(offsetof(JumpCacheEntry, code))]);
  falls_through_ = false;
}

/// What is at OFFSET in the entry that was found.
Xbyak::RegExp Emitter::Generator::found_entry(std::size_t offset) const {
  return Xbyak::RegExp(r11, 4) + (reinterpret_cast<std::size_t>(jump_cache_) + offset);
}

}  // namespace doppel::accel::soft
