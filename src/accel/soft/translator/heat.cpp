// Which code is hot, and which of its accesses have sites of their own in the TLB (mmu/tlb_sites.h).
//
// The guest's timer samples for us: what is at work when its interrupts come, at a poll, is hot; what is met again has
// its neighbours made hot as well, and theirs. Hot code is made anew, with sites for its lookups. Those that miss so
// often that they cost more than they save are given up again.
#include <algorithm>
#include <chrono>

#include "accel/soft/translator/owned_translations.h"
#include "accel/soft/translator/translator.h"

namespace doppel::accel::soft {

namespace {

// A miss costs about ten times what a hit saves.
constexpr std::uint32_t kMissesToJudge = 64;
constexpr std::uint32_t kLeastHits = 10;  // for each miss
// Of samples: disks and networks interrupt a hundred times as often as timers do.
constexpr std::chrono::milliseconds kLeastApart(1);
// Sites are memory, too: with fewer, large programs lose more than they gain.
constexpr std::uint8_t kSamplesToHeat = 3;

}  // namespace

/// TRANSLATION was at work when an interrupt came. What is linked with hot code is hot, too: polls are at branches
/// alone.
void Translator::sample(Translation& translation) {
  constexpr std::size_t kMost = 32;  // that are looked at
  constexpr unsigned kMostHeated = 4;
  const auto now = std::chrono::steady_clock::now();
  if (now - last_sample_ < kLeastApart) return;
  last_sample_ = now;
  ++samples_;
  regions_.note_use(translation.entry());
  if (cpu_.tlb.sites().are_taken()) return cool();
  Owned& sampled = translations_of(translation.block());
  if (sampled.samples < kSamplesToHeat && ++sampled.samples < kSamplesToHeat) return;
  std::vector<Translation*> found{&translation};
  const auto note = [&](Translation& other) {
    if (found.size() < kMost && std::ranges::find(found, &other) == found.end()) found.push_back(&other);
  };
  unsigned heated = 0;
  for (std::size_t i = 0; i < found.size() && heated < kMostHeated; ++i) {
    if (heat(*found[i])) {
      ++heated;
      continue;
    }
    for (const Translation::Link& link : found[i]->links())
      if (link.to != 0) note(regions_.of(link.to));
    for (PieceId from = found[i]->incoming; from != 0 && found.size() < kMost; from = link_of(from).next)
      note(regions_.of(Translation::whole(from)));
  }
}

/// Has TRANSLATION made anew with sites. False: it has them already.
bool Translator::heat(Translation& translation) {
  Owned& owned = translations_of(translation.block());
  if (owned.is_hot) return false;
  owned.is_hot = true;
  ++owned.revision;
  ++statistics_.heated;
  detach(translation);
  return true;
}

/// Sites are needed for what is hot now: nothing is hot, for the moment.
void Translator::cool() {
  constexpr std::uint64_t kLeast = 256;  // samples: about a second
  if (samples_ - cooled_ < kLeast) return;
  cooled_ = samples_;
  ++statistics_.cooled;
  std::vector<Translation*> hot = regions_.all();
  std::erase_if(hot, [](const Translation* translation) { return translation->site_count == 0; });
  for (Translation* translation : hot) {
    Owned& owned = translations_of(translation->block());
    owned.is_hot = false;
    ++owned.revision;
  }
  evict(hot);
}

/// PLAN_, which is about to be made for OWNED, is told which of its instructions have sites.
void Translator::plan_sites(const Owned& owned) {
  if (!owned.is_hot && !options_.all_hot) return;
  const std::uint64_t begin = plan_.instructions.front().rip;
  for (PlannedInstruction& planned : plan_.instructions) planned.has_site = !owned.is_poor_site(planned.rip - begin);
}

/// Sites of TRANSLATION, which was just made, learn where its code goes on.
void Translator::prepare_sites(const Translation& translation) {
  for (const Translation::Site& site : translation.sites()) {
    TlbSiteMiss& miss = cpu_.tlb.sites().miss(site.number);
    miss.resume = address_of(site.resume);
    miss.limit = site.limit;
    miss.exit_id = translation.id << Translation::kInstructionBits | site.instruction;
    miss.budget = kMissesToJudge;
    miss.asked = 0;
  }
}

/// An access of TRANSLATION has left it. If that is because a site has missed often enough to be judged, all are.
void Translator::judge_sites(Translation& translation) {
  TlbSites& sites = cpu_.tlb.sites();
  const auto is_due = [&](const Translation::Site& site) { return sites.miss(site.number).budget > kMissesToJudge; };
  if (std::ranges::none_of(translation.sites(), is_due)) return;
  const std::uint32_t asked = std::exchange(sites.miss(translation.sites().front().number).asked, 0);
  Owned& owned = translations_of(translation.block());
  unsigned poor = 0;
  for (const Translation::Site& site : translation.sites()) {
    const bool due = is_due(site);
    std::uint32_t& budget = sites.miss(site.number).budget;
    const std::uint32_t misses = due ? kMissesToJudge : kMissesToJudge - budget;
    budget = kMissesToJudge;
    if (misses * kLeastHits <= asked) continue;
    if (owned.add_poor_site(translation.rip(site.instruction) - translation.key.linear)) ++poor;
  }
  if (poor == 0) return;
  statistics_.poor_sites += poor;
  ++owned.revision;
  detach(translation);
}

void Translator::give_sites_back(const Translation& translation) {
  for (const Translation::Site& site : translation.sites()) cpu_.tlb.sites().give_back(site.number);
}

}  // namespace doppel::accel::soft
