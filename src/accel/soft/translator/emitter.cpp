#include "accel/soft/translator/emitter.h"

#include <bit>

#include "accel/soft/translator/generator.h"
#include "base/bits.h"

namespace doppel::accel::soft {

namespace {

constexpr auto kPageSize = static_cast<std::uint32_t>(x86::kPageSize);

}  // namespace

void Emitter::Generator::emit(const BlockPlan& plan, const JumpCache* jump_cache, TlbSites& sites, Cursors& cursors,
                              Translation& translation) {
  plan_ = &plan;
  jump_cache_ = jump_cache;
  sites_ = &sites;
  translation_ = &translation;
  fixups_.clear();
  site_fixups_.clear();
  far_branches_.clear();
  setSize(cursors.hot);
  enter();
  falls_through_ = true;
  part_ = part_begin_ = 0;
  held_ = {};
  translation.instructions.reserve(plan.instructions.size());
  for (std::size_t i = 0; i < plan.instructions.size(); ++i) instruction(i);
  translation.end_of_last = position();
  if (falls_through_) link_to(plan.instructions.back().next_rip());
  translation.falls_through = falls_through_;
  translation.end = position();
  translation.links.shrink_to_fit();
  translation.leaders.shrink_to_fit();
  cursors.hot = getSize();
  setSize(cursors.cold);
  late_entry();
  stubs();
  cursors.cold = getSize();
}

/// The guard, and the flags to where the first instruction wants them.
void Emitter::Generator::enter() {
  const PlannedInstruction& first = plan_->instructions.front();
  dd(translation_->id);
  translation_->guarded_entry = position();
  guard();
  translation_->saved_flags_entry = position();
  if (first.flags_before != 0 && first.flags_home == FlagsHome::kRegister) restore_flags();
  translation_->entry = translation_->entry_with_flags = position();
  flags_ = first.flags_home;
}

/// For links that bring the flags to a block that wants them saved, or to a guard.
void Emitter::Generator::late_entry() {
  const PlannedInstruction& first = plan_->instructions.front();
  const bool wants_saved = first.flags_before != 0 && first.flags_home == FlagsHome::kMemory;
  if (!wants_saved && !translation_->crosses()) return;
  translation_->entry_with_flags = position();
  save_flags();
  db(0xe9);
  dd((translation_->crosses() ? translation_->guarded_entry : translation_->entry) - (position() + 4));
}

/// Do the linear pages still lead where they did when the code was made? The flags are saved.
void Emitter::Generator::guard() {
  const std::uint64_t linear = translation_->key.linear;
  guard_page(linear, translation_->page_number);
  if (translation_->crosses()) guard_page(linear + kPageSize, translation_->second_page_number);
}

void Emitter::Generator::guard_page(std::uint64_t linear, std::uint32_t number) {
  cmp(dword[at(cpu_.tlb.code().number(translation_->key.mmu_index, linear))], number);
  db(0x0f);
  db(kNotEqual);
  jump_to_stub(ExitKind::kGuard, translation_->id, FlagsHome::kMemory);
}

void Emitter::Generator::instruction(std::size_t number) {
  number_ = number;
  planned_ = &plan_->instructions[number];
  const std::uint32_t begin = position();
  const bool loaded = number != 0 && plan_->instructions[number - 1].action == Action::kInterpret;  // by the gate
  if (planned_->flags_before != 0 && !loaded) keep_flags_in(planned_->flags_home);
  if (position() != begin) held_.guest_r14 = false;
  flags_ = planned_->flags_home;
  const Temporaries held = held_;
  body();
  held_ = held_behind(held);
  translation_->instructions.push_back(
      Translation::Instruction{.begin = begin,
                               .offset = static_cast<std::int16_t>(planned_->rip - translation_->key.linear),
                               .number = static_cast<std::uint8_t>(number - part_begin_),
                               .writes_memory = planned_->writes_memory,
                               .flags_home = planned_->flags_home,
                               .may_resume_behind = held_.nothing() && !planned_->member.leads,
                               .leads = planned_->member.leads,
                               .action = planned_->action,
                               .site = exit_site(*planned_, plan_->kind),
                               .mnemonic = static_cast<std::uint16_t>(planned_->zydis.mnemonic)});
  translation_->instructions.back().part = part_ & 7U;
  if (planned_->member.leads)
    translation_->leaders.push_back({.instruction = static_cast<std::uint8_t>(number), .member = planned_->member});
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
  for (const Fixup& fixup : fixups_) {
    const std::uint32_t stub = position();
    if (fixup.reload_rcx) mov(rcx, qword[at(state_.rcx)]);
    mov(r14d, fixup.id);
    Xbyak::CodeGenerator::jmp(gate_.exit(fixup.kind, fixup.flags));
    patch(fixup.site, stub);
    if (fixup.kind == ExitKind::kLink) translation_->links.at(fixup.id & low_mask(Translation::kLinkBits)).stub = stub;
  }
  for (const SiteFixup& fixup : site_fixups_) {
    patch(fixup.site, position());
    mov(r15d, fixup.number * static_cast<std::uint32_t>(sizeof(TlbSite)));
    const auto result = sites_->miss(fixup.number).result;
    Xbyak::CodeGenerator::jmp(
        gate_.site_misses.at(GateCode::site_miss(translation_->key.mmu_index, fixup.access, result)));
  }
  for (const FarBranch& branch : far_branches_) {
    patch(branch.site, position());
    save_flags();
    db(0xe9);
    Link& link = translation_->links.at(branch.link);
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

/// R14 is lost.
void Emitter::Generator::save_flags() {
  mov(r14, rax);
  lahf();
  seto(al);
  mov(CodeGenerator::word[at(state_.flags)], ax);
  mov(rax, r14);
}

/// R14 is lost.
void Emitter::Generator::restore_flags() {
  constexpr int kOverflowIfOne = 0x7f;
  mov(r14, rax);
  movzx(eax, CodeGenerator::word[at(state_.flags)]);
  add(al, kOverflowIfOne);
  sahf();
  mov(rax, r14);
}

// --- Emitter ---

Emitter::Emitter(std::byte* writable, std::size_t capacity, const Cpu& cpu, const GateState& state,
                 const GateCode& gate, bool counts)
    : generator_(std::make_unique<Generator>(writable, capacity, cpu, state, gate, counts)) {}
Emitter::~Emitter() = default;

void Emitter::emit(const BlockPlan& plan, const JumpCache* jump_cache, TlbSites& sites, Cursors& cursors,
                   Translation& translation) {
  generator_->emit(plan, jump_cache, sites, cursors, translation);
}

void Emitter::patch(std::uint32_t site, std::uint32_t target) {
  generator_->patch(site, target);
}

}  // namespace doppel::accel::soft
