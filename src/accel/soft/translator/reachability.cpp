// What leads to translations without the run loop: links, jump caches and, cutting those off, the list of code pages.
#include <algorithm>
#include <utility>

#include "accel/soft/translator/owned_translations.h"
#include "accel/soft/translator/translator.h"
#include "x86/page_table.h"

namespace doppel::accel::soft {

/// Null: there is no room left below 2 GiB.
JumpCache* Translator::jump_cache_of(const TranslationKey& key) {
  LowPointer<JumpCache>& place = jump_caches_[static_cast<unsigned>(key.mmu_index)][key.registers.number()];
  if (place == nullptr) place = make_low<JumpCache>(nowhere_);
  return is_low(*place) ? place.get() : nullptr;
}

void Translator::enter_in_jump_cache(const Translation& translation) {
  jump_cache_of(translation.key)
      ->insert({.linear = translation.key.linear, .code = address_of(translation.guarded_entry)});
}

/// What branches reach at LINEAR from a translation of KEY; null: nothing.
Translation* Translator::find_reachable(const TranslationKey& key, std::uint64_t linear) {
  const std::uint64_t code = jump_cache_of(key)->find(linear);
  if (code == 0) return nullptr;
  std::uint32_t id = 0;
  std::memcpy(&id, memory_.writable() + (code - generated_.begin) - sizeof id, sizeof id);
  return &regions_.of(id);
}

/// Would its guard let it be entered?
bool Translator::is_mapped(const Translation& translation) const {
  const Itlb& code = cpu_.tlb.code();
  const TranslationKey& key = translation.key;
  return code.number(key.mmu_index, key.linear) == translation.page_number &&
         (!translation.crosses() ||
          code.number(key.mmu_index, key.linear + x86::kPageSize) == translation.second_page_number);
}

void Translator::link_to_known(Translation& from) {
  for (Translation::Link& link : from.links()) {
    if (link.to != 0 || !may_chain_to(link.target)) continue;
    if (Translation* const to = find_reachable(from.key, link.target); to != nullptr) this->link(from, link, *to);
  }
}

void Translator::make_reachable(Translation& translation) {
  const Block& block = translation.block();
  enlist(block.first, translation);
  if (block.crosses()) enlist(block.second(), translation);
  translation.reachable = true;
}

void Translator::enlist(const Block::Source& source, Translation& translation) {
  CodePage& page = pages_[source.gpa >> 12U];
  if (page.translations.empty()) page.source = source;
  page.translations.push_back(&translation);
}

/// Of the page that NUMBER stands for.
void Translator::delist(std::uint32_t number, const Translation& translation) {
  const auto page = pages_.find(numbered_pages_[number]);
  if (page == pages_.end()) return;
  std::erase(page->second.translations, &translation);
  if (page->second.translations.empty()) pages_.erase(page);
}

/// Nothing leads to TRANSLATION any more, and it leads nowhere, but for the run loop.
void Translator::detach(Translation& translation) {
  if (!translation.reachable) return;
  translation.reachable = false;
  delist(translation.page_number, translation);
  if (translation.crosses()) delist(translation.second_page_number, translation);
  while (translation.incoming != 0) unlink(link_of(translation.incoming));
  for (Translation::Link& link : translation.links()) unlink(link);
  jump_cache_of(translation.key)->erase(translation.key.linear);
  if (link_from_ == &translation) link_from_ = nullptr;
}

void Translator::unlink(Translation::Link& link) {
  if (link.to == 0) return;
  emitter_->patch(link.site, link.stub);
  Translation& to = regions_.of(std::exchange(link.to, 0));
  if (link.is_return) jump_cache_of(to.key)->clear_returns();  // whoever called already has noted it
  if (link.next != 0) link_of(link.next).previous = link.previous;
  (link.previous != 0 ? link_of(link.previous).next : to.incoming) = link.next;
}

void Translator::link(Translation& from, Translation::Link& link, Translation& to) {
  if (from.key.kind != to.key.kind || from.key.mmu_index != to.key.mmu_index ||
      from.key.registers != to.key.registers || link.to != 0)
    return;
  if (!from.reachable) return;  // it was detached while it ran, and goes without being unlinked
  const bool verified = verifier_ != nullptr && !(verifier_->is_through(from) && verifier_->is_through(to));
  const bool same_page = !verified && !link.is_return && !from.crosses() && !to.crosses() &&
                         from.key.linear >> 12U == to.key.linear >> 12U && from.page_number == to.page_number;
  if (link.flags == FlagsHome::kMemory) {
    emitter_->patch(link.site, same_page ? to.saved_flags_entry() : to.guarded_entry);
  } else {
    if (!same_page && !to.crosses()) return;  // its guard would lose the flags
    emitter_->patch(link.site, to.entry_with_flags);
  }
  link.to = to.id;
  link.previous = 0;
  link.next = to.incoming;
  const PieceId piece = Translation::piece(from.id, static_cast<std::size_t>(&link - from.links().data()));
  if (link.next != 0) link_of(link.next).previous = piece;
  to.incoming = piece;
}

void Translator::drop_changed_code() {
  const std::uint64_t last = cpu_.machine.code_changes.count();
  const auto drop = [&](std::uint64_t gpa) {
    const auto page = pages_.find(gpa >> 12U);
    if (page != pages_.end()) drop_if_changed(page->second);
  };
  if (!cpu_.machine.code_changes.visit(std::exchange(seen_code_changes_, last), last, drop)) drop_changed_pages();
}

void Translator::drop_changed_pages() {
  std::vector<std::uint64_t> changed;
  for (const auto& [gpa, page] : pages_)
    if (!page.source.is_current()) changed.push_back(gpa);
  for (const std::uint64_t gpa : changed) {
    const auto page = pages_.find(gpa);  // what crossed pages may have gone with another
    if (page != pages_.end()) drop_if_changed(page->second);
  }
}

/// Takes PAGE away if it changed.
void Translator::drop_if_changed(const CodePage& page) {
  if (page.source.is_current()) return;
  const std::vector<Translation*> stale = page.translations;
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
  for (std::size_t part = 1; part < translation.part_count; ++part)
    if (Owned* const owned = known_translations_of(*translation.parts()[part].block); owned != nullptr)
      owned->take_user(translation, part);
  give_sites_back(translation);
  if (verifier_ != nullptr) verifier_->forget(translation);
  translation.exists = false;
}

}  // namespace doppel::accel::soft
