#include "accel/soft/translator/emitter.h"

#include <bit>

#include "accel/soft/translator/generator.h"
#include "base/bits.h"

namespace doppel::accel::soft {

namespace {

constexpr auto kPageSize = static_cast<std::uint32_t>(x86::kPageSize);

}  // namespace

void Emitter::Generator::emit(const BlockPlan& plan, const JumpCache* jump_cache, TlbSites& sites, Cursors& cursors,
                              TranslationDraft& draft) {
  plan_ = &plan;
  jump_cache_ = jump_cache;
  sites_ = &sites;
  draft_ = &draft;
  fixups_.clear();
  site_fixups_.clear();
  far_branches_.clear();
  return_misses_.clear();
  setSize(cursors.hot);
  enter();
  falls_through_ = true;
  part_ = part_begin_ = 0;
  held_ = {};
  for (std::size_t i = 0; i < plan.instructions.size(); ++i) instruction(i);
  draft.end_of_last = position();
  if (falls_through_) link_to(plan.instructions.back().next_rip());
  draft.falls_through = falls_through_;
  draft.end = position();
  cursors.hot = getSize();
  setSize(cursors.cold);
  late_entry();
  stubs();
  cursors.cold = getSize();
}

/// The guard, and the flags to where the first instruction wants them.
void Emitter::Generator::enter() {
  const PlannedInstruction& first = plan_->instructions.front();
  dd(draft_->id);
  draft_->guarded_entry = position();
  guard();
  draft_->saved_flags_entry = position();
  if (first.flags_before != 0 && first.flags_home == FlagsHome::kRegister) restore_flags();
  draft_->entry = draft_->entry_with_flags = position();
  flags_ = first.flags_home;
}

/// For links that bring the flags to a block that wants them saved, or to a guard.
void Emitter::Generator::late_entry() {
  const PlannedInstruction& first = plan_->instructions.front();
  const bool wants_saved = first.flags_before != 0 && first.flags_home == FlagsHome::kMemory;
  if (!wants_saved && !draft_->crosses()) return;
  draft_->entry_with_flags = position();
  save_flags();
  db(0xe9);
  dd((draft_->crosses() ? draft_->guarded_entry : draft_->entry) - (position() + 4));
}

/// Do the linear pages still lead where they did when the code was made? The flags are saved.
void Emitter::Generator::guard() {
  const std::uint64_t linear = draft_->key.linear;
  guard_page(linear, draft_->page_number);
  if (draft_->crosses()) guard_page(linear + kPageSize, draft_->second_page_number);
}

void Emitter::Generator::guard_page(std::uint64_t linear, std::uint32_t number) {
  cmp(dword[at(cpu_.tlb.code().number(draft_->key.mmu_index, linear))], number);
  db(0x0f);
  db(kNotEqual);
  jump_to_stub(ExitKind::kGuard, draft_->id, FlagsHome::kMemory);
}

void Emitter::Generator::instruction(std::size_t number) {
  number_ = number;
  planned_ = &plan_->instructions[number];
  leaves_ = false;
  const std::uint32_t begin = position();
  const bool loaded = number != 0 && plan_->instructions[number - 1].action == Action::kInterpret;  // by the gate
  if (planned_->flags_before != 0 && !loaded) keep_flags_in(planned_->flags_home);
  if (position() != begin) held_.guest_r10 = false;
  flags_ = planned_->flags_home;
  const Temporaries held = held_;
  body();
  held_ = held_behind(held);
  note_instruction(begin);
  if (number + 1 - part_begin_ < plan_->parts[part_]->size) return;
  ++part_;
  part_begin_ = number + 1;
}

/// The one at work has its code from BEGIN on.
void Emitter::Generator::note_instruction(std::uint32_t begin) {
  const auto number = static_cast<std::uint8_t>(number_);
  if (number_ == part_begin_) draft_->parts.push_back({.block = plan_->parts[part_], .first_instruction = number});
  Translation::Instruction& noted = draft_->instructions.emplace_back();
  noted.begin = static_cast<std::uint16_t>(begin - draft_->guarded_entry);
  noted.offset = static_cast<std::int16_t>(planned_->rip - draft_->key.linear);
  noted.action = planned_->action;
  noted.is_mov = planned_->zydis.mnemonic == ZYDIS_MNEMONIC_MOV;
  noted.site = exit_site(*planned_, plan_->kind);
  noted.writes_memory = planned_->writes_memory;
  noted.flags_home = planned_->flags_home;
  noted.may_resume_behind = held_.nothing() && !planned_->member.leads;
  noted.leads = planned_->member.leads;
  if (leaves_ && noted.site == ExitSite::kInterpret)
    draft_->mnemonics.push_back(
        {.mnemonic = static_cast<std::uint16_t>(planned_->zydis.mnemonic), .instruction = number});
  if (planned_->member.leads) draft_->leaders.push_back({.instruction = number, .member = planned_->member});
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
      if (is_spilled(reg)) store_spilled(reg);
      return;
    }
    case Action::kNothing: return;
    case Action::kPush: return push_operand();
    case Action::kPushMemory: return push_memory();
    case Action::kPushFlags: return push_flags();
    case Action::kPop: return pop_register();
    case Action::kLeave: return leave();
    case Action::kString: return string();
    case Action::kGather: return gather();
    case Action::kBitString: return bit_string();
    case Action::kReadTsc: return read_tsc();
    case Action::kJump: return jump();
    case Action::kJumpIf: return jump_if();
    case Action::kJumpCounter: return jump_counter();
    case Action::kCall: return call();
    case Action::kReturn: return return_();
    case Action::kJumpIndirect: return jump_indirect();
    case Action::kCallIndirect: return call_indirect();
    case Action::kDisableInterrupts: return disable_interrupts();
    case Action::kEnableInterrupts: return enable_interrupts();
    case Action::kClearDirection: return set_direction(false);
    case Action::kSetDirection: return set_direction(true);
    case Action::kReadSelector: return read_selector();
    case Action::kSwapGs: return swap_gs();
  }
}

void Emitter::Generator::stubs() {
  for (const ReturnMiss& miss : return_misses_) {
    patch(miss.site, position());
    return_by_jump_cache(miss.number);
  }
  for (const Fixup& fixup : fixups_) {
    const std::uint32_t stub = position();
    if (fixup.reload_rcx) mov(rcx, qword[at(state_.rcx)]);
    mov(r10d, fixup.id);
    Xbyak::CodeGenerator::jmp(gate_.exit(fixup.kind, fixup.flags));
    patch(fixup.site, stub);
    if (fixup.kind == ExitKind::kLink) draft_->links.at(fixup.id & low_mask(Translation::kLinkBits)).stub = stub;
  }
  for (const SiteFixup& fixup : site_fixups_) {
    patch(fixup.site, position());
    mov(r11d, fixup.number * static_cast<std::uint32_t>(sizeof(TlbSite)));
    const auto result = sites_->miss(fixup.number).result;
    Xbyak::CodeGenerator::jmp(gate_.site_misses.at(GateCode::site_miss(draft_->key.mmu_index, fixup.access, result)));
  }
  for (const FarBranch& branch : far_branches_) {
    patch(branch.site, position());
    save_flags();
    db(0xe9);
    Translation::Link& link = draft_->links.at(branch.link);
    link.site = position();
    dd(link.stub - (position() + 4));
  }
}

void Emitter::Generator::interpret_if(Condition condition) {
  db(0x0f);
  db(condition);
  jump_to_stub(ExitKind::kInterpret, interpret_id(), flags_);
}

/// Behind the opcode of a near jump, with the flags in FLAGS.
void Emitter::Generator::jump_to_stub(ExitKind kind, std::uint32_t id, FlagsHome flags, bool reload_rcx) {
  leaves_ |= kind == ExitKind::kInterpret;
  fixups_.push_back({.site = position(), .kind = kind, .id = id, .flags = flags, .reload_rcx = reload_rcx});
  dd(0);
}

// --- Flags ---

void Emitter::Generator::keep_flags_in(FlagsHome home) {
  if (flags_ == home) return;
  if (home == FlagsHome::kMemory)
    save_flags();
  else
    restore_flags();
  flags_ = home;
}

/// R10 is lost.
void Emitter::Generator::save_flags() {
  mov(r10, rax);
  lahf();
  seto(al);
  mov(CodeGenerator::word[at(state_.flags)], ax);
  mov(rax, r10);
}

/// R10 is lost.
void Emitter::Generator::restore_flags() {
  constexpr int kOverflowIfOne = 0x7f;
  mov(r10, rax);
  movzx(eax, CodeGenerator::word[at(state_.flags)]);
  add(al, kOverflowIfOne);
  sahf();
  mov(rax, r10);
}

// --- Emitter ---

Emitter::Emitter(std::byte* writable, std::size_t capacity, const Cpu& cpu, const GateState& state,
                 const GateCode& gate, bool counts)
    : generator_(std::make_unique<Generator>(writable, capacity, cpu, state, gate, counts)) {}
Emitter::~Emitter() = default;

void Emitter::emit(const BlockPlan& plan, const JumpCache* jump_cache, TlbSites& sites, Cursors& cursors,
                   TranslationDraft& draft) {
  generator_->emit(plan, jump_cache, sites, cursors, draft);
}

void Emitter::patch(std::uint32_t site, std::uint32_t target) {
  generator_->patch(site, target);
}

}  // namespace doppel::accel::soft
