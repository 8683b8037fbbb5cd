// Finding translations and making them.
#include "accel/soft/translator/owned_translations.h"
#include "accel/soft/translator/translator.h"
#include "x86/page_table.h"

namespace doppel::accel::soft {

/// Null: there are none.
Translator::Owned* Translator::known_translations_of(const Block& block) {
  return static_cast<Owned*>(block.translations.get());
}

Translator::Owned& Translator::translations_of(const Block& block) {
  if (block.translations == nullptr) block.translations = std::make_unique<Owned>(*this);
  return static_cast<Owned&>(*block.translations);
}

Translation* Translator::find_or_make(const Block& block) {
  const std::uint64_t linear = cpu_.rip;
  if (block.translations == nullptr || !translations_of(block).registers) {
    const bool in_ram = block.first.slot != nullptr && (!block.crosses() || block.second().slot != nullptr);
    if (++block.runs <= options_.threshold || !in_ram) return nullptr;
  }
  Owned& owned = translations_of(block);
  if (owned.registers && !provide(*owned.registers)) return nullptr;
  TranslationKey key{.linear = linear, .kind = *kind_, .mmu_index = cpu_.mmu_index, .registers = state_->registers};
  const bool waits = owned.waits_at(linear);
  if (Translation* const found = waits ? nullptr : find(owned, key); found != nullptr) return found;
  constexpr unsigned kShared = 2;  // most processes end soon
  const auto is_same_place = [&](const Translation& translation) { return translation.key.linear == linear; };
  if (owned.registers && (waits || owned.find(is_same_place) == nullptr) &&
      !owned.is_hot_at(linear, kShared * options_.threshold))
    return nullptr;
  constexpr std::size_t kMostPerBlock = 16;
  if (owned.size() >= kMostPerBlock) owned.clear();
  plan(block, owned.broken >= Owned::kOftenBroken, owned.shares_lookups);
  if (!owned.registers) owned.registers.emplace();
  owned.registers->add(plan_.registers);
  if (!provide(*owned.registers)) return nullptr;
  key.registers = state_->registers;
  if (jump_cache_of(key) == nullptr) return nullptr;
  if (Translation* const found = find(owned, key); found != nullptr) return found;
  plan_sites(owned);
  return make(key, plan_);
}

/// The translation of KEY, unless it was cut off for good: because its page changed and only its first part's bytes are
/// known to be what they were, or because it would be made in another way now.
Translation* Translator::find(Owned& owned, const TranslationKey& key) {
  Translation* const translation = owned.find([&](const Translation& other) { return other.key == key; });
  if (translation == nullptr) return nullptr;
  const bool is_latest = translation->revision == owned.revision;
  if (is_latest && (translation->reachable || translation->part_count == 1)) return translation;
  if (is_latest && owned.broken < Owned::kOftenBroken) ++owned.broken;
  owned.take(*translation);
  discard(*translation);
  return nullptr;
}

/// Makes PLAN_ of BLOCK, which RIP is at, and unless it shall stay ALONE of what comes behind it.
void Translator::plan(const Block& block, bool alone, bool shared) {
  const auto find = [&](std::uint64_t linear) -> const Block* {
    const bool apart = alone || options_.one_instruction || !may_chain_to(linear);
    return apart ? nullptr : cache_.known_beside(block, linear);
  };
  plan_blocks(cache_, block, *kind_, cpu_.rip, find, shared, plan_);
}

Translation* Translator::make(const TranslationKey& key, const BlockPlan& plan) {
  make_room();
  const Block& block = *plan.parts.front();
  draft_.begin(key, regions_.next_id());
  draft_.page_number = page_number(key.linear, block.first.gpa);
  if (block.crosses()) draft_.second_page_number = page_number(key.linear + x86::kPageSize, block.second().gpa);
  Emitter::Cursors& cursors = regions_.cursors();
  const Emitter::Cursors before = cursors;
  emitter_->emit(plan, jump_cache_of(key), cpu_.tlb.sites(), cursors, draft_);
  Translation& translation = regions_.add(draft_);
  Owned& owned = translations_of(block);
  owned.add(translation);
  translation.revision = owned.revision;
  for (std::size_t part = 1; part < plan.parts.size(); ++part)
    translations_of(*plan.parts[part]).add_user(translation, part);
  prepare_sites(translation);
  if (before.hot / CodeMemory::kHugePage != cursors.hot / CodeMemory::kHugePage)
    memory_.use_huge_page(before.hot / CodeMemory::kHugePage * CodeMemory::kHugePage);
  ++statistics_.translations;
  statistics_.instructions += plan.instructions.size();
  for (const Block* part : plan.parts) statistics_.guest_bytes += part->bytes;
  statistics_.code_bytes += cursors.hot - before.hot;
  statistics_.cold_bytes += cursors.cold - before.cold;
  tell_observers(plan, translation, before.cold);
  if (verifier_ != nullptr) verifier_->learn(translation, plan);
  return &translation;
}

void Translator::observe(TranslationObserver& observer) {
  observers_.push_back(&observer);
  observer.gate_generated(code(0, gate_size_));
}

/// TRANSLATION's ways out begin at COLD.
void Translator::tell_observers(const BlockPlan& plan, const Translation& translation, std::size_t cold) {
  for (TranslationObserver* observer : observers_)
    observer->translated({.plan = plan,
                          .translation = translation,
                          .hot = code(translation.guarded_entry, translation.end()),
                          .cold = code(cold, regions_.cursors().cold)});
}

HostCode Translator::code(std::size_t begin, std::size_t end) const {
  const std::span all(reinterpret_cast<const std::uint8_t*>(memory_.executable()), memory_.capacity());
  return {.address = address_of(static_cast<std::uint32_t>(begin)), .bytes = all.subspan(begin, end - begin)};
}

std::uint32_t Translator::page_number(std::uint64_t linear, std::uint64_t gpa) {
  const auto next = static_cast<std::uint32_t>(numbered_pages_.size());
  const auto [place, is_new] = page_numbers_.try_emplace({.linear = linear >> 12U, .gpa = gpa >> 12U}, next);
  if (is_new) numbered_pages_.push_back(gpa >> 12U);
  return place->second;
}

/// Makes room for one more translation.
void Translator::make_room() {
  constexpr std::size_t kMostPages = std::size_t{1} << 20U;  // that have numbers
  if (page_numbers_.size() >= kMostPages) flush();
  if (regions_.has_room()) return;
  ++statistics_.evictions;
  const std::vector<Translation*> there = regions_.advance();
  statistics_.evicted += there.size();
  evict(there);
}

/// None of TRANSLATIONS is at work.
void Translator::evict(const std::vector<Translation*>& translations) {
  for (Translation* translation : translations) {
    take_from_block(*translation);
    discard(*translation);
  }
  for (auto& caches : jump_caches_)
    for (LowPointer<JumpCache>& cache : caches)
      if (cache != nullptr) cache->clear_returns();
  serialize_code();
}

/// TRANSLATION's block, which may be about to go itself, has it no more.
void Translator::take_from_block(Translation& translation) {
  if (Owned* const owned = known_translations_of(translation.block()); owned != nullptr) owned->take(translation);
}

void Translator::flush() {
  evict(regions_.all());
  page_numbers_.clear();
  numbered_pages_.resize(1);
  cpu_.tlb.code().flush_all();
}

void Translator::clear_jump_caches(MmuIndex index) {
  for (LowPointer<JumpCache>& cache : jump_caches_[static_cast<unsigned>(index)])
    if (cache != nullptr) cache->clear();
}

}  // namespace doppel::accel::soft
