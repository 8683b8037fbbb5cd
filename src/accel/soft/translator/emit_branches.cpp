// Branches: links to known targets, the jump cache for the others.
#include <cstddef>

#include "accel/soft/translator/generator.h"

namespace doppel::accel::soft {

namespace {

bool fits_signed_32(std::uint64_t value) {
  return static_cast<std::uint64_t>(static_cast<std::int64_t>(static_cast<std::int32_t>(value))) == value;
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
  mov(r14, qword[at(cpu_.attention)]);
  movzx(r14d, byte[r14]);
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
  const std::uint64_t target = branch_target();
  poll_if_backward(target);
  const bool far = is_far(target);
  db(0x0f);
  db(0x80 | (planned_->zydis.opcode & 0xf));
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
  add_to_stack_pointer(word() + static_cast<std::int64_t>(planned_->instruction->imm));
  jump_to_found();
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
  mov(qword[at(state_.target)], r14);
  load_address(r14, Xbyak::RegExp(rsp) - word());
  look_up(TlbAccess::kWrite, word(), TlbResult::kHost);
  lea(r14, ptr[r14 + r15]);
  mov(qword[at(state_.slot)], r14);
  mov(r14, qword[at(state_.target)]);
  probe_jump_cache();
  mov(r15, qword[found_entry(offsetof(JumpCacheEntry, code))]);
  mov(qword[at(state_.target)], r15);
  mov(r14, qword[at(state_.slot)]);
  store_word(Xbyak::RegExp(r14), planned_->next_rip(), r15);
  add_to_stack_pointer(-word());
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

/// R14 becomes the word that the instruction names: where an indirect branch goes.
void Emitter::Generator::load_target() {
  const Instruction& i = *planned_->instruction;
  if (i.has_memory) {
    effective_address(i.disp);
    add_segment_base();
    look_up(TlbAccess::kRead, word(), TlbResult::kHost);
    load_word(r14, Xbyak::RegExp(r14) + Xbyak::RegExp(r15));
  } else {
    const unsigned reg = i.rm / 8;
    if (reg >= kR14)
      mov(r14, qword[at(cpu_.gpr[reg])]);
    else
      load_address(r14, Xbyak::RegExp(Xbyak::Reg64(static_cast<int>(reg))));
  }
}

/// Four times R15 becomes where in the jump cache the entry of the linear address R14 is, as JumpCache::index() finds
/// it, or the branch is interpreted. The flags are saved.
void Emitter::Generator::probe_jump_cache() {
  // The set's number times 8: R14's bits from 12 on, and those from 0 on.
  static_assert(JumpCache::kSets == std::size_t{1} << 15U && JumpCache::kHashShift == 12);
  static_assert(sizeof(JumpCache::Set) == std::size_t{8} * 4 && sizeof(JumpCacheEntry) == 16);
  constexpr std::uint32_t kMask = (JumpCache::kSets - 1) * 8;
  Xbyak::Label hit;
  count(state_.counts.lookups[static_cast<std::size_t>(ExitSite::kBranch)]);
  rorx(r15d, r14d, JumpCache::kHashShift - 3);
  lea(r15d, ptr[r15 + r14 * 8]);
  and_(r15d, kMask);
  cmp(r14, qword[found_entry(offsetof(JumpCacheEntry, linear))]);
  je(hit);
  add(r15d, sizeof(JumpCacheEntry) / 4);
  cmp(r14, qword[found_entry(offsetof(JumpCacheEntry, linear))]);
  interpret_if(kNotEqual);
  L(hit);
}

void Emitter::Generator::jump_to_found() {
  Xbyak::CodeGenerator::jmp(qword[found_entry(offsetof(JumpCacheEntry, code))]);
  falls_through_ = false;
}

/// What is at OFFSET in the entry that was found.
Xbyak::RegExp Emitter::Generator::found_entry(std::size_t offset) const {
  return Xbyak::RegExp(r15, 4) + (reinterpret_cast<std::size_t>(jump_cache_) + offset);
}

}  // namespace doppel::accel::soft
