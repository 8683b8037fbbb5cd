// Memory operands and the software TLB's lookups.
#include "accel/soft/translator/generator.h"

namespace doppel::accel::soft {

namespace {

constexpr auto kPageSize = static_cast<std::uint32_t>(x86::kPageSize);

}  // namespace

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
  const bool is_register = disp == 0 && !has_index && i.base != kZeroRegister && i.base / 8U < kR14;
  if (is_register && i.address_size == 8)
    mov(r14, Xbyak::Reg64(i.base / 8));
  else if (i.address_size == 4)
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
  look_up(planned_->writes_memory ? TlbAccess::kWrite : TlbAccess::kRead, planned_->memory_size, TlbResult::kHost);
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
  if (is_simple_member()) {
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
  mov(r15, qword[at(*addends_.at(static_cast<std::size_t>(planned_->member.group)))]);
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
  else if (held_.group != planned_->member.group)
    mov(r15, qword[at(*addends_.at(static_cast<std::size_t>(planned_->member.group)))]);
}

/// Is the operand a member whose address can stay as the guest has it? Sums of 32 bits are to be cut off.
bool Emitter::Generator::is_simple_member() const {
  const Instruction& i = *planned_->instruction;
  return is_member() && is_long() && i.base < kR14 * 8 && i.index == kZeroRegister;
}

/// What the temporaries have behind the instruction, if they had BEFORE in front of it.
Emitter::Generator::Temporaries Emitter::Generator::held_behind(const Temporaries& before) const {
  const Instruction& i = *planned_->instruction;
  const SpilledUse& used = planned_->used;
  const bool leads = planned_->member.leads;
  Temporaries held = before;
  switch (planned_->action) {
    case Action::kVerbatim: return held_;  // and what was loaded
    case Action::kNothing: return held;
    case Action::kJump:
    case Action::kJumpIf: held.guest_r14 &= branch_target() > planned_->rip; return held;
    case Action::kMemory:
      if (!is_simple_member()) return {};
      return {.guest_r14 = !planned_->sets_x87_pointers && (used.r14 || (before.guest_r14 && !leads && !used.r15)),
              .guest_r15 = used.r15,
              .group = used.r15 ? kNoGroup : planned_->member.group};
    case Action::kPush:
    case Action::kPop: {
      if (!is_long() || !is_member()) return {};
      const bool keeps = before.guest_r14 && !leads && i.rm < kR14 * 8;
      return {.guest_r14 = keeps, .group = planned_->member.group};
    }
    case Action::kCall:
    case Action::kLeave:
      if (!is_long() || !is_member()) return {};
      return {.group = planned_->member.group};
    default: return {};
  }
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
  const std::uint64_t* const site =
      look_up(member.group_writes ? TlbAccess::kWrite : TlbAccess::kRead, member.span, TlbResult::kAddend);
  const std::uint64_t*& addend = addends_.at(static_cast<std::size_t>(member.group));
  addend = site;
  if (site != nullptr && !adds_base) return;
  if (adds_base) {
    mov(r14, qword[at(cpu_.view[planned_->instruction->segment].base)]);
    lea(r15, ptr[r14 + r15]);
  }
  addend = &state_.addend.at(static_cast<std::size_t>(member.group));
  mov(qword[at(*addend)], r15);
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
  look_up(stack.writes ? TlbAccess::kWrite : TlbAccess::kRead, word(), TlbResult::kHost);
  return Xbyak::RegExp(r14) + Xbyak::RegExp(r15);
}

/// A register beside those that PLACE is made of, which may become another spelling of the same.
Xbyak::Reg64 Emitter::Generator::take_temporary(Xbyak::RegExp& place) {
  if (is_member() && is_long()) return r14;
  lea(r14, ptr[place]);
  place = Xbyak::RegExp(r14);
  return r15;
}

/// Of the instruction, but for what a branch looks up beside the jump cache. R15 is lost.
void Emitter::Generator::count_lookup() {
  const ExitSite site = exit_site(*planned_, plan_->kind);
  if (site != ExitSite::kBranch) count(state_.counts.lookups.at(static_cast<std::size_t>(site)));
}

/// Without flags. R15 is lost.
void Emitter::Generator::count(const std::uint64_t& counter) {
  if (!counts_) return;
  mov(r15, qword[at(counter)]);
  lea(r15, ptr[r15 + 1]);
  mov(qword[at(counter)], r15);
}

/// Checks the SIZE bytes at the linear address R14, which becomes the offset in the page. R15 becomes the entry's
/// RESULT. Returns where that stays until the block has been left; null: nowhere.
const std::uint64_t* Emitter::Generator::look_up(TlbAccess access, unsigned size, TlbResult result) {
  const std::uint32_t limit = kPageSize - size;
  count_lookup();
  if (planned_->has_site && !needs_flags())
    if (const auto number = sites_->take(result)) return &look_up_site(*number, access, limit).result;
  const auto tag_address = reinterpret_cast<std::size_t>(&tlb_tag(entries(), access));
  const auto result_address = reinterpret_cast<std::size_t>(&tlb_result(entries(), result));
  if (needs_flags())
    look_up_live_flags(tag_address, size, result_address);
  else
    look_up_dead_flags(tag_address, limit, result_address);
  return nullptr;
}

const TlbSite& Emitter::Generator::look_up_site(std::uint32_t number, TlbAccess access, std::uint32_t limit) {
  const TlbSite& site = sites_->site(number);
  count(state_.counts.site_lookups);
  if (draft_->sites.empty()) add(dword[at(sites_->miss(number).asked)], 1);
  sub(r14, qword[at(site.tag)]);
  cmp(r14, limit);
  db(0x0f);
  db(kAbove);
  site_fixups_.push_back({.site = position(), .number = number, .access = access});
  dd(0);
  draft_->sites.push_back(
      {.number = number, .instruction = static_cast<std::uint8_t>(number_), .limit = limit, .resume = position()});
  mov(r15, qword[at(site.result)]);
  return site;
}

void Emitter::Generator::look_up_dead_flags(std::size_t tag, std::uint32_t limit, std::size_t result) {
  find_entry(tag);
  cmp(r14, limit);
  interpret_if(kAbove);
  mov(r15, qword[r15 + result]);
}

/// R15 becomes the place of R14's entry, R14 its distance from the tag, which is named as the first entry's.
void Emitter::Generator::find_entry(std::size_t tag) {
  rorx(r15d, r14d, kTlbIndexShift);
  and_(r15d, kTlbIndexMask);
  sub(r14, qword[r15 + tag]);
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
  jump_to_stub(ExitKind::kInterpret, interpret_id(), flags_, true);
  L(hit);
  mov(rcx, qword[at(state_.rcx)]);
}

}  // namespace doppel::accel::soft
