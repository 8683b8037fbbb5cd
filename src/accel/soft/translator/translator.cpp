#include "accel/soft/translator/translator.h"

#include <cpuid.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "accel/soft/interpreter/alu.h"
#include "accel/soft/interpreter/availability.h"
#include "accel/soft/interpreter/paging.h"
#include "accel/soft/interpreter/stub_emitter.h"
#include "base/bits.h"
#include "x86/page_table.h"

namespace doppel::accel::soft {

/// What code reaches by absolute addresses, besides the CPU.
struct Translator::Tables {
  GateState state;
  std::array<std::array<std::array<JumpCacheEntry, kJumpCacheEntries>, kVectorLevels>, kMmuIndexes> jump_cache;
};

/// A block's translations, for the block to own.
class Translator::Owned final : public BlockTranslations {
 public:
  explicit Owned(Translator& translator) : translator_(translator) {}
  ~Owned() override {
    for (Translation* translation : list) translator_.discard(*translation);
  }
  VectorLevel level = VectorLevel::kNone;  // that the block needs
  std::vector<Translation*> list;

 private:
  Translator& translator_;
};

namespace {

bool host_has_bmi2() {
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  constexpr unsigned kBmi2 = 8;
  return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (ebx & bit(kBmi2)) != 0;
}

/// By VectorLevel.
constexpr std::array kRequirements = {requirement::kNone, requirement::kSse, requirement::kAvx, requirement::kAvx512};
static_assert(kRequirements.size() == kVectorLevels);

bool is_available(const Cpu& cpu, VectorLevel level) {
  return is_available(cpu, kRequirements.at(static_cast<std::size_t>(level)));
}

}  // namespace

Result<std::unique_ptr<Translator>> Translator::create(Cpu& cpu, CodeCache& cache, const TranslationOptions& options) {
  if (!host_has_bmi2()) return fail(ErrorKind::kUnsupported, "the host's processor has no BMI2");
  if (!is_low(cpu)) return fail(ErrorKind::kUnsupported, "there is no room below 2 GiB");
  DOPPEL_ASSIGN(CodeMemory memory, CodeMemory::create(options.code_size));
  std::unique_ptr<Translator> translator(new Translator(cpu, cache, options, std::move(memory)));
  if (!is_low(*translator->tables_)) return fail(ErrorKind::kUnsupported, "there is no room below 2 GiB");
  return translator;
}

Translator::Translator(Cpu& cpu, CodeCache& cache, const TranslationOptions& options, CodeMemory memory)
    : cpu_(cpu), cache_(cache), options_(options), memory_(std::move(memory)), tables_(make_low<Tables>()) {
  install_host_fault_handlers();
  tables_->state.tlb_index_mask = std::uint64_t{Tlb::kEntries - 1} << 12U;
  tables_->state.jump_cache_mask = kJumpCacheEntries - 1;
  gate_size_ = align_up(generate_gate(memory_.writable(), cpu_, tables_->state, gate_), std::size_t{64});
  emitter_ = std::make_unique<Emitter>(memory_.writable(), memory_.capacity(), cpu_, tables_->state, gate_);
  generated_.begin = reinterpret_cast<std::uintptr_t>(memory_.executable());
  generated_.end = generated_.begin + memory_.capacity();
  generated_.resume =
      address_of(static_cast<std::uint32_t>(reinterpret_cast<const std::byte*>(gate_.exit_fault) - memory_.writable()));
  cursors_ = {.hot = gate_size_, .cold = memory_.capacity() / 4 * 3};
  if (options_.verify != 0)
    verifier_ = std::make_unique<Verifier>(cpu_, memory_, gate_, options_.verify, [this](std::uint32_t position) {
      pass(position);
      return where_left();
    });
}

Translator::~Translator() = default;

std::uint64_t Translator::address_of(std::uint32_t position) const {
  return reinterpret_cast<std::uint64_t>(memory_.executable()) + position;
}

JumpCacheEntry& Translator::jump_cache_entry(const TranslationKey& key) {
  return tables_->jump_cache[static_cast<unsigned>(key.mmu_index)][static_cast<unsigned>(key.level)]
                            [jump_cache_index(key.linear)];
}

// --- Running ---

void Translator::begin() {
  refuse_other_signals();
  link_from_ = nullptr;
  // The kernel uses vector registers now and then, a process most of the time or never.
  level_[static_cast<unsigned>(MmuIndex::kSupervisor)] = VectorLevel::kNone;
  level_[static_cast<unsigned>(MmuIndex::kSupervisorAc)] = VectorLevel::kNone;
  if (std::exchange(last_cr3_, cpu_.cr3) != cpu_.cr3)
    level_[static_cast<unsigned>(MmuIndex::kUser)] = VectorLevel::kNone;
  const VectorLevel level = level_[static_cast<unsigned>(cpu_.mmu_index)];
  tables_->state.level = is_available(cpu_, level) ? level : VectorLevel::kNone;
}

bool Translator::raise_level(VectorLevel level) {
  if (level <= tables_->state.level) return true;
  if (!is_available(cpu_, level)) return false;
  tables_->state.level = level_[static_cast<unsigned>(cpu_.mmu_index)] = level;
  return true;
}

bool Translator::run(const Block& block) {
  if (cpu_.code_mode != CodeMode::kLong64 || cpu_.alignment_mask != 0) return false;
  if (seen_code_changes_ != cpu_.machine.code_changes.load(std::memory_order_acquire)) drop_changed_pages();
  Translation* const translation = find_or_make(block);
  Translation* const from = std::exchange(link_from_, nullptr);
  if (translation == nullptr) return false;
  const std::uint64_t linear = translation->key.linear;
  if (!translation->reachable) make_reachable(*translation);
  note_page(linear, translation->page_number);
  if (translation->crosses()) note_page(linear + x86::kPageSize, translation->second_page_number);
  jump_cache_entry(translation->key) = {.inverted_linear = ~linear, .code = address_of(translation->guarded_entry)};
  if (from != nullptr && from->link[link_number_].target == linear) link(*from, from->link[link_number_], *translation);
  ++statistics_.entries;
  enter(translation->entry);
  return true;
}

/// NUMBER's page is the one that LINEAR leads to now.
void Translator::note_page(std::uint64_t linear, std::uint32_t number) {
  if (verifier_ != nullptr) return;
  const TlbInfo& info = cpu_.tlb.info(cpu_.mmu_index, linear);
  const bool known = info.linear == (linear & ~(x86::kPageSize - 1));
  cpu_.tlb.code().insert(cpu_.mmu_index, linear, number, known && info.global);
}

/// From POSITION until there is something that only the run loop can do.
void Translator::enter(std::uint32_t position) {
  const GateState& state = tables_->state;
  while (true) {
    if (verifier_ == nullptr)
      pass(position);
    else if (!pass_verified(position))
      return;
    switch (state.exit_kind) {
      case ExitKind::kLink: {
        ++statistics_.link_exits;
        link_from_ = translations_[state.exit_id >> Translation::kLinkBits].get();
        link_number_ = state.exit_id & low_mask(Translation::kLinkBits);
        cpu_.rip = link_from_->link[link_number_].target;
        return;
      }
      case ExitKind::kGuard:
        ++statistics_.guard_exits;
        cpu_.rip = translations_[state.exit_id]->key.linear;
        return;
      case ExitKind::kFault: return follow_fault();
      case ExitKind::kInterpret: break;
    }
    ++statistics_.interpreted;
    Translation& translation = *translations_[state.exit_id >> Translation::kInstructionBits];
    const std::size_t number = state.exit_id & low_mask(Translation::kInstructionBits);
    const Translation::Instruction place = translation.instructions[number];
    const Instruction instruction = translation.block->instructions[number];
    const bool goes_on = number + 1 < translation.instructions.size() || translation.falls_through;
    const std::uint64_t rip = translation.key.linear + place.offset;
    const std::uint32_t changes = cpu_.tlb.changes();
    if (place.member.leads && look_up_group(instruction, place, rip)) {
      if (cpu_.attention.requested()) return;
      position = place.begin;
      continue;
    }
    interpret(instruction, rip);
    // Handlers look nothing up in the code cache, so the translation is still there. But what it had looked up in the
    // TLB may not be.
    if (cpu_.leave_block || !goes_on || cpu_.rip != rip + instruction.length || cpu_.attention.requested() ||
        place.member.leads || cpu_.tlb.changes() != changes)
      return;
    position = place.end;
  }
}

/// Has the TLB know the page that a group's first access fails for. False: the access faults, it is not the kind of
/// memory that can be accessed inline, or the group crosses pages.
bool Translator::look_up_group(const Instruction& instruction, const Translation::Instruction& place,
                               std::uint64_t rip) {
  cpu_.instruction_start = cpu_.rip = rip;
  const std::optional<StackAccess> stack = stack_access(place.action);
  const bool writes = stack ? stack->writes : place.writes_memory;
  const std::uint64_t linear = stack ? cpu_.gpr[stack->reg] + static_cast<std::uint64_t>(std::int64_t{stack->offset})
                                     : cpu_.view[instruction.segment].base + cpu_.effective_address(instruction);
  if (!x86::is_canonical(linear, cpu_.linear_bits())) return false;
  const std::uint64_t cr2 = cpu_.cr2;
  try {
    (void)translate(cpu_, linear, writes ? AccessKind::kWrite : AccessKind::kRead);
  } catch (const Fault&) {
    // The instruction's own checks, such as alignment's, may come first.
    cpu_.cr2 = cr2;
    return false;
  }
  const std::uint64_t low = linear + static_cast<std::uint64_t>(std::int64_t{place.member.low});
  const TlbEntry& entry = cpu_.tlb.entry(cpu_.mmu_index, low);
  const std::uint64_t tag = place.member.group_writes ? entry.write_tag : entry.read_tag;
  return low - tag <= x86::kPageSize - place.member.span;
}

/// Into translated code and out of it.
void Translator::pass(std::uint32_t position) {
  GateState& state = tables_->state;
  state.entry = address_of(position);
  state.flags = alu::ax_of(cpu_);
  host_fault_slot.generated = &generated_;
  pass_gate();
  host_fault_slot.generated = nullptr;
  alu::set_flags(cpu_, state.flags);
}

/// The same in lockstep. False: there is a difference, and the guest stops.
bool Translator::pass_verified(std::uint32_t position) {
  Translation& translation = *by_code_.upper_bound(position)->second;
  const bool is_through = verifier_->is_through(translation);
  if (verifier_->pass(translation, position)) {
    if (is_through != verifier_->is_through(translation)) {
      // To be linked anew.
      detach(translation);
      make_reachable(translation);
    }
    return true;
  }
  cpu_.stop = StopReason::kDifference;
  cpu_.leave_block = true;
  return false;
}

/// Behind pass().
CodeExit Translator::where_left() const {
  const GateState& state = tables_->state;
  switch (state.exit_kind) {
    case ExitKind::kInterpret: {
      const Translation& in = *translations_[state.exit_id >> Translation::kInstructionBits];
      const std::size_t number = state.exit_id & low_mask(Translation::kInstructionBits);
      return {.in = &in, .number = number, .rip = in.key.linear + in.instructions[number].offset};
    }
    case ExitKind::kLink: {
      const Translation& in = *translations_[state.exit_id >> Translation::kLinkBits];
      const Link& link = in.link.at(state.exit_id & low_mask(Translation::kLinkBits));
      return {.in = &in, .number = in.instructions.size(), .rip = link.target};
    }
    case ExitKind::kGuard: {
      const Translation& to = *translations_[state.exit_id];
      return {.in = nullptr, .to = &to, .rip = to.key.linear};
    }
    case ExitKind::kFault: return where_faulted();
  }
  return {};
}

CodeExit Translator::where_faulted() const {
  const auto at = static_cast<std::uint32_t>(host_fault_slot.fault_at - generated_.begin);
  const Translation& in = *by_code_.upper_bound(at)->second;
  const auto next = std::ranges::upper_bound(in.instructions, at, {}, &Translation::Instruction::begin);
  const auto number = static_cast<std::size_t>(next - in.instructions.begin()) - 1;
  return {.in = &in, .number = number, .rip = in.key.linear + in.instructions[number].offset, .faulted = true};
}

// A sanitizer that checks functions' types would look for the gate's in front of it.
#if defined(__clang__)
[[clang::no_sanitize("function")]]
#endif
void Translator::pass_gate() const {
  reinterpret_cast<void (*)()>(generated_.begin)();
}

void Translator::interpret(const Instruction& instruction, std::uint64_t rip) {
  cpu_.instruction_start = rip;
  cpu_.rip = rip + instruction.length;
  instruction.handler(cpu_, instruction);
}

/// A poll found something, or an instruction raised an exception, which it will when interpreted.
void Translator::follow_fault() {
  ++statistics_.fault_exits;
  const CodeExit exit = where_faulted();
  cpu_.rip = exit.rip;
  if (cpu_.attention.requested()) return;
  interpret(Instruction(exit.in->block->instructions[exit.number]), exit.rip);
}

// --- Finding and making ---

Translation* Translator::find_or_make(const Block& block) {
  const std::uint64_t linear = cpu_.rip;
  auto* owned = static_cast<Owned*>(block.translations.get());
  std::optional<BlockPlan> plan;
  if (owned == nullptr) {
    const bool in_ram = block.first.slot != nullptr && (!block.crosses || block.second.slot != nullptr);
    if (++block.runs <= options_.threshold || !in_ram) return nullptr;
    plan = plan_block(cache_.decoder(), block, linear);
    auto fresh = std::make_unique<Owned>(*this);
    owned = fresh.get();
    owned->level = plan->level;
    block.translations = std::move(fresh);
  }
  if (!raise_level(owned->level)) return nullptr;
  const TranslationKey key{.linear = linear, .mmu_index = cpu_.mmu_index, .level = tables_->state.level};
  for (Translation* translation : owned->list)
    if (translation->key == key) return translation;
  constexpr std::size_t kMostPerBlock = 16;
  if (owned->list.size() >= kMostPerBlock) {
    for (Translation* translation : owned->list) discard(*translation);
    owned->list.clear();
  }
  if (!plan) plan = plan_block(cache_.decoder(), block, linear);
  Translation* const made = make(block, key, *plan);
  owned->list.push_back(made);  // only now: making it may have flushed everything, this list included
  return made;
}

Translation* Translator::make(const Block& block, const TranslationKey& key, const BlockPlan& plan) {
  const std::size_t cold_begin = memory_.capacity() / 4 * 3;
  if (cursors_.hot + Emitter::kMostHot > cold_begin || cursors_.cold + Emitter::kMostCold > memory_.capacity()) flush();
  std::uint32_t id = static_cast<std::uint32_t>(translations_.size());
  if (free_ids_.empty()) {
    translations_.emplace_back();
  } else {
    id = free_ids_.back();
    free_ids_.pop_back();
  }
  translations_[id] = std::make_unique<Translation>();
  Translation& translation = *translations_[id];
  translation.key = key;
  translation.id = id;
  translation.block = &block;
  translation.page_number = page_number(key.linear, block.first.gpa);
  if (block.crosses) translation.second_page_number = page_number(key.linear + x86::kPageSize, block.second.gpa);
  const std::size_t hot = cursors_.hot;
  emitter_->emit(plan, &tables_->jump_cache[static_cast<unsigned>(key.mmu_index)][static_cast<unsigned>(key.level)][0],
                 cursors_, translation);
  by_code_.emplace(translation.end, &translation);
  ++statistics_.translations;
  statistics_.instructions += plan.instructions.size();
  statistics_.code_bytes += cursors_.hot - hot;
  if (verifier_ != nullptr) verifier_->learn(translation, plan);
  return &translation;
}

std::uint32_t Translator::page_number(std::uint64_t linear, std::uint64_t gpa) {
  const auto next = static_cast<std::uint32_t>(page_numbers_.size() + 1);
  return page_numbers_.try_emplace({.linear = linear >> 12U, .gpa = gpa >> 12U}, next).first->second;
}

/// Starts anew. Blocks keep their empty lists.
void Translator::flush() {
  ++statistics_.flushes;
  for (const auto& translation : translations_) {
    if (translation == nullptr) continue;
    if (auto* owned = static_cast<Owned*>(translation->block->translations.get()); owned != nullptr)
      owned->list.clear();
  }
  link_from_ = nullptr;
  translations_.clear();
  free_ids_.clear();
  by_code_.clear();
  pages_.clear();
  page_numbers_.clear();
  cpu_.tlb.code().flush_all();
  for (auto& by_level : tables_->jump_cache)
    for (auto& cache : by_level) cache.fill({});
  cursors_ = {.hot = gate_size_, .cold = memory_.capacity() / 4 * 3};
}

// --- Reachability ---

void Translator::make_reachable(Translation& translation) {
  const Block& block = *translation.block;
  enlist(block.first, translation);
  if (block.crosses) enlist(block.second, translation);
  translation.reachable = true;
}

void Translator::enlist(const Block::Source& source, Translation& translation) {
  CodePage& page = pages_[source.gpa >> 12U];
  if (page.translations.empty()) page.source = source;
  page.translations.push_back(&translation);
}

void Translator::delist(std::uint64_t gpa, const Translation& translation) {
  const auto page = pages_.find(gpa >> 12U);
  if (page == pages_.end()) return;
  std::erase(page->second.translations, &translation);
  if (page->second.translations.empty()) pages_.erase(page);
}

/// Nothing leads to TRANSLATION any more, and it leads nowhere, but for the run loop.
void Translator::detach(Translation& translation) {
  if (!translation.reachable) return;
  translation.reachable = false;
  delist(translation.block->first.gpa, translation);
  if (translation.crosses()) delist(translation.block->second.gpa, translation);
  for (Translation* from : std::exchange(translation.incoming, {}))
    for (unsigned n = 0; n < from->links; ++n)
      if (from->link[n].to == &translation) {
        from->link[n].to = nullptr;
        emitter_->patch(from->link[n].site, from->link[n].stub);
      }
  for (unsigned n = 0; n < translation.links; ++n) unlink(translation.link[n]);
  JumpCacheEntry& entry = jump_cache_entry(translation.key);
  if (entry.inverted_linear == ~translation.key.linear) entry = {};
  if (link_from_ == &translation) link_from_ = nullptr;
}

void Translator::unlink(Link& link) {
  if (link.to == nullptr) return;
  emitter_->patch(link.site, link.stub);
  Translation* const to = std::exchange(link.to, nullptr);
  const auto is_source = [&](const Translation* from) {
    return std::ranges::any_of(from->link, [&](const Link& other) { return &other == &link; });
  };
  const auto found = std::ranges::find_if(to->incoming, is_source);
  if (found == to->incoming.end()) return;
  *found = to->incoming.back();
  to->incoming.pop_back();
}

void Translator::link(Translation& from, Link& link, Translation& to) {
  if (from.key.mmu_index != to.key.mmu_index || from.key.level != to.key.level || link.to != nullptr) return;
  const bool verified = verifier_ != nullptr && !(verifier_->is_through(from) && verifier_->is_through(to));
  const bool same_page = !verified && !from.crosses() && !to.crosses() &&
                         from.key.linear >> 12U == to.key.linear >> 12U && from.page_number == to.page_number;
  emitter_->patch(link.site, same_page ? to.entry : to.guarded_entry);
  link.to = &to;
  to.incoming.push_back(&from);
}

void Translator::drop_changed_pages() {
  seen_code_changes_ = cpu_.machine.code_changes.load(std::memory_order_acquire);
  std::vector<Translation*> stale;
  for (const auto& [gpa, page] : pages_)
    if (!page.source.is_current()) stale.insert(stale.end(), page.translations.begin(), page.translations.end());
  statistics_.detached += stale.size();
  for (Translation* translation : stale) detach(*translation);
}

void Translator::look_for_host_writes() {
  const std::uint64_t writes = cpu_.machine.ram.host_writes();
  if (std::exchange(seen_host_writes_, writes) != writes) drop_changed_pages();
}

/// The block that owns TRANSLATION goes, or wants it no more.
void Translator::discard(Translation& translation) {
  detach(translation);
  if (link_from_ == &translation) link_from_ = nullptr;
  by_code_.erase(translation.end);
  std::unique_ptr<Translation>& place = translations_[translation.id];
  free_ids_.push_back(translation.id);
  place.reset();
}

}  // namespace doppel::accel::soft
