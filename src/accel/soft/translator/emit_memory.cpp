// Memory operands and the software TLB's lookups.
#include "accel/soft/translator/generator.h"

namespace doppel::accel::soft {

namespace {

constexpr auto kPageSize = static_cast<std::uint32_t>(x86::kPageSize);

}  // namespace

/// R10 becomes the offset of the operand, had it the displacement DISP. R11 may be lost.
void Emitter::Generator::effective_address(std::int64_t disp) {
  const Instruction& i = *planned_->instruction;
  const bool has_index = i.index != kZeroRegister;
  if (is_constant(i)) {
    const std::uint64_t base = i.base == kRipRegister ? planned_->next_rip() : 0;
    mov(r10, (base + static_cast<std::uint64_t>(disp)) & kAddressMasks[i.address_size]);
    return;
  }
  Xbyak::RegExp sum(static_cast<std::size_t>(disp));
  if (i.base != kZeroRegister) {
    unsigned base = i.base / 8;
    if (is_spilled(base)) {
      mov(r10, qword[at(cpu_.gpr[base])]);
      base = kR10;
    }
    sum = Xbyak::RegExp(Xbyak::Reg64(static_cast<int>(base))) + static_cast<std::size_t>(disp);
  }
  if (has_index) {
    unsigned index = i.index / 8;
    if (is_spilled(index)) {
      mov(r11, qword[at(cpu_.gpr[index])]);
      index = kR11;
    }
    sum = sum + Xbyak::RegExp(Xbyak::Reg64(static_cast<int>(index)), 1 << i.scale);
  }
  const bool is_register = disp == 0 && !has_index && i.base != kZeroRegister && !is_spilled(i.base / 8U);
  if (is_register && i.address_size == 8)
    mov(r10, Xbyak::Reg64(i.base / 8));
  else if (i.address_size == 4)
    lea(r10d, ptr[sum]);
  else
    lea(r10, ptr[sum]);
}

/// R10 becomes a linear address. R11 is lost.
void Emitter::Generator::add_segment_base() {
  if (!has_segment_base()) return;
  mov(r11, qword[at(cpu_.view[planned_->instruction->segment].base)]);
  load_address(r10, Xbyak::RegExp(r10) + Xbyak::RegExp(r11));
}

/// The memory operand, with the spilled registers that are data free to be loaded.
HostOperand Emitter::Generator::find_operand() {
  const SpilledUse& used = planned_->used;
  if (is_member()) return find_member(used.r10, used.r11);
  const TlbAccess access = planned_->writes_memory ? TlbAccess::kWrite : TlbAccess::kRead;
  if (const auto linear = constant_address(planned_->memory_size))
    return look_up_constant(*linear, access, used.r11 ? kR10 : kR11);
  effective_address(planned_->instruction->disp);
  add_segment_base();
  look_up(access, planned_->memory_size, TlbResult::kHost);
  if (used.r10) {
    lea(r11, ptr[r10 + r11]);
    return {.base = kR11};
  }
  if (used.r11) {
    lea(r10, ptr[r10 + r11]);
    return {.base = kR10};
  }
  return {.base = kR10, .index = kR11};
}

/// The same of one that shares a lookup: its address as the guest has it, and the group's addend.
HostOperand Emitter::Generator::find_member(bool needs_r10, bool needs_r11) {
  const Instruction& i = *planned_->instruction;
  if (is_simple_member()) {
    load_addend();
    const auto base = static_cast<std::uint8_t>(i.base / 8);
    const auto disp = static_cast<std::int32_t>(i.disp);
    if (!needs_r11) return {.base = base, .index = kR11, .disp = disp};
    mov(r10, r11);
    return {.base = base, .index = kR10, .disp = disp};
  }
  if (planned_->member.leads) lead();
  effective_address(i.disp);
  if (!is_long()) add_segment_base();
  mov(r11, qword[at(*addends_.at(static_cast<std::size_t>(planned_->member.group)))]);
  if (needs_r10) {
    lea(r11, ptr[r10 + r11]);
    return {.base = kR11};
  }
  if (needs_r11) {
    lea(r10, ptr[r10 + r11]);
    return {.base = kR10};
  }
  return {.base = kR10, .index = kR11};
}

/// R11 becomes the addend of the group. R10 may be lost.
void Emitter::Generator::load_addend() {
  if (planned_->member.leads)
    lead();
  else if (held_.group != planned_->member.group)
    mov(r11, qword[at(*addends_.at(static_cast<std::size_t>(planned_->member.group)))]);
}

/// Is the operand a member whose address can stay as the guest has it? Sums of 32 bits are to be cut off.
bool Emitter::Generator::is_simple_member() const {
  const Instruction& i = *planned_->instruction;
  if (planned_->uses_high_byte && i.base / 8U == high_byte_register()) return false;
  return is_member() && is_long() && is_host_register(i.base) && i.index == kZeroRegister;
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
    case Action::kJumpIf: held.guest_r10 &= branch_target() > planned_->rip; return held;
    case Action::kMemory:
      if (!is_simple_member()) return {};
      return {.guest_r10 = !planned_->sets_x87_pointers && (used.r10 || (before.guest_r10 && !leads && !used.r11)),
              .guest_r11 = used.r11,
              .group = used.r11 ? kNoGroup : planned_->member.group};
    case Action::kPush:
    case Action::kPop: {
      if (!is_long() || !is_member()) return {};
      const bool keeps = before.guest_r10 && !leads && is_host_register(i.rm);
      return {.guest_r10 = keeps, .group = planned_->member.group};
    }
    case Action::kLeave:
      if (!is_long() || !is_member()) return {};
      return {.group = planned_->member.group};
    default: return {};
  }
}

/// Looks up all that the group accesses. R11 becomes its addend, which in 64-bit code includes the segment's base.
void Emitter::Generator::lead() {
  const GroupMember& member = planned_->member;
  bool adds_base = false;
  if (const auto stack = stack_access(planned_->action, plan_->kind)) {
    load_address(r10, Xbyak::RegExp(Xbyak::Reg64(stack->reg)) +
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
    mov(r10, qword[at(cpu_.view[planned_->instruction->segment].base)]);
    lea(r11, ptr[r10 + r11]);
  }
  addend = &state_.addend.at(static_cast<std::size_t>(member.group));
  mov(qword[at(*addend)], r11);
}

/// Where the word is that the action accesses.
Xbyak::RegExp Emitter::Generator::find_stack() {
  const StackAccess stack = this->stack();
  const Xbyak::RegExp address =
      Xbyak::RegExp(Xbyak::Reg64(stack.reg)) + static_cast<std::size_t>(std::int64_t{stack.offset});
  if (is_member()) {
    load_addend();
    if (is_long()) return address + Xbyak::RegExp(r11);
    load_address(r10, address);
    return Xbyak::RegExp(r10) + Xbyak::RegExp(r11);
  }
  load_address(r10, address);
  look_up(stack.writes ? TlbAccess::kWrite : TlbAccess::kRead, word(), TlbResult::kHost);
  return Xbyak::RegExp(r10) + Xbyak::RegExp(r11);
}

/// A register beside those that PLACE is made of, which may become another spelling of the same.
Xbyak::Reg64 Emitter::Generator::take_temporary(Xbyak::RegExp& place) {
  if (is_member() && is_long()) return r10;
  lea(r10, ptr[place]);
  place = Xbyak::RegExp(r10);
  return r11;
}

/// Of the instruction, but for what a branch looks up beside the jump cache. R11 is lost.
void Emitter::Generator::count_lookup() {
  const ExitSite site = exit_site(*planned_, plan_->kind);
  if (site != ExitSite::kBranch) count(state_.counts.lookups.at(static_cast<std::size_t>(site)));
}

/// Without flags. R11 is lost.
void Emitter::Generator::count(const std::uint64_t& counter) {
  if (!counts_) return;
  mov(r11, qword[at(counter)]);
  lea(r11, ptr[r11 + 1]);
  mov(qword[at(counter)], r11);
}

/// Checks the SIZE bytes at the linear address R10, which becomes the offset in the page. R11 becomes the entry's
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

/// Of an operand of SIZE bytes that lies in one page, and where the lookup may change flags; else none.
std::optional<std::uint64_t> Emitter::Generator::constant_address(unsigned size) const {
  const Instruction& i = *planned_->instruction;
  if (needs_flags() || has_segment_base() || !is_constant(i)) return std::nullopt;
  const std::uint64_t base = i.base == kRipRegister ? planned_->next_rip() : 0;
  const std::uint64_t linear = (base + static_cast<std::uint64_t>(i.disp)) & kAddressMasks[i.address_size];
  if (linear % kPageSize + size > kPageSize || !x86::is_canonical(linear)) return std::nullopt;
  return linear;
}

/// The entry of an address that is known is known as well. REG becomes its host page; R10 may be lost.
HostOperand Emitter::Generator::look_up_constant(std::uint64_t linear, TlbAccess access, unsigned reg) {
  const TlbEntry& entry = cpu_.tlb.entry(draft_->key.mmu_index, linear);
  const std::uint64_t page = linear - linear % kPageSize;
  count_lookup();
  const Xbyak::Address tag = qword[at(tlb_tag(entry, access))];
  if (fits_signed_32(page)) {
    cmp(tag, static_cast<std::uint32_t>(page));
  } else {
    mov(r10, page);
    cmp(tag, r10);
  }
  interpret_if(kNotEqual);
  mov(Xbyak::Reg64(static_cast<int>(reg)), qword[at(entry.host)]);
  return {.base = static_cast<std::uint8_t>(reg), .disp = static_cast<std::int32_t>(linear % kPageSize)};
}

const TlbSite& Emitter::Generator::look_up_site(std::uint32_t number, TlbAccess access, std::uint32_t limit) {
  const TlbSite& site = sites_->site(number);
  count(state_.counts.site_lookups);
  if (draft_->sites.empty()) add(dword[at(sites_->miss(number).asked)], 1);
  sub(r10, qword[at(site.tag)]);
  cmp(r10, limit);
  db(0x0f);
  db(kAbove);
  site_fixups_.push_back({.site = position(), .number = number, .access = access});
  dd(0);
  draft_->sites.push_back(
      {.number = number, .instruction = static_cast<std::uint8_t>(number_), .limit = limit, .resume = position()});
  mov(r11, qword[at(site.result)]);
  return site;
}

void Emitter::Generator::look_up_dead_flags(std::size_t tag, std::uint32_t limit, std::size_t result) {
  find_entry(tag);
  cmp(r10, limit);
  interpret_if(kAbove);
  mov(r11, qword[r11 + result]);
}

/// R11 becomes the place of R10's entry, R10 its distance from the tag, which is named as the first entry's.
void Emitter::Generator::find_entry(std::size_t tag) {
  rorx(r11d, r10d, kTlbIndexShift);
  and_(r11d, kTlbIndexMask);
  sub(r10, qword[r11 + tag]);
}

void Emitter::Generator::look_up_live_flags(std::size_t tag, unsigned size, std::size_t result) {
  constexpr unsigned kTimes32 = 64 - 5;  // rotating right by that
  Xbyak::Label hit;
  pext(r11, r10, qword[at(state_.tlb_index_mask)]);
  rorx(r11, r11, kTimes32);
  mov(qword[at(state_.rcx)], rcx);
  mov(rcx, qword[r11 + tag]);
  not_(rcx);
  lea(r10, ptr[r10 + rcx + 1]);
  mov(r11, qword[r11 + result]);
  lea(rcx, ptr[r10 + (size - 1)]);
  pext(rcx, rcx, qword[at(state_.page_mask)]);
  jrcxz(hit);
  db(0xe9);
  jump_to_stub(ExitKind::kInterpret, interpret_id(), flags_, true);
  L(hit);
  mov(rcx, qword[at(state_.rcx)]);
}

}  // namespace doppel::accel::soft
