// What a translator did, for -d accel.
#pragma once

#include <Zydis/Zydis.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "accel/soft/translator/plan.h"

namespace doppel::accel::soft {

/// What an instruction leaves translated code for, told by how it was translated. But for kInterpret and kBranch it is
/// a lookup in the TLB that missed, classed by the operand's address.
enum class ExitSite : std::uint8_t {
  kInterpret,  // it was not translated
  kBranch,     // a return or an indirect branch: its target, or where that is read from
  kStack,
  kPlain,
  kGroupLeader,
  kRipRelative,
  kSegment,  // FS, GS
  kString,
  kGather,  // and scatters
};
inline constexpr unsigned kExitSites = 9;

/// What translated code counts itself: lookups in the TLB, by ExitSite, those in the jump cache as kBranch; and of the
/// former those that ask a site of their own first, and how many of these go on to the TLB.
struct LookupCounts {
  std::array<std::uint64_t, kExitSites> lookups{};
  std::uint64_t site_lookups = 0;
  std::uint64_t site_misses = 0;
  std::uint64_t returns = 0;  // that ask the return cache, and
  std::uint64_t return_misses = 0;
};

[[nodiscard]] ExitSite exit_site(const PlannedInstruction& planned, const CodeKind& kind);

struct TranslatorStatistics {
  std::uint64_t translations = 0;
  std::uint64_t instructions = 0;  // translated
  std::uint64_t guest_bytes = 0;
  std::uint64_t code_bytes = 0;
  std::uint64_t cold_bytes = 0;                            // of ways out
  std::uint64_t entries = 0;                               // by the run loop
  std::uint64_t interpreted = 0;                           // exits for one instruction
  std::array<std::uint64_t, kExitSites> interpreted_at{};  // by ExitSite
  bool counts_lookups = false;
  LookupCounts counts;
  std::uint64_t link_exits = 0;
  std::uint64_t guard_exits = 0;
  std::uint64_t poll_exits = 0;
  std::uint64_t fault_exits = 0;  // host exceptions other than a poll's
  std::uint64_t evictions = 0;    // of a region, because the code memory was full
  std::uint64_t evicted = 0;      // translations that were in those
  std::uint64_t detached = 0;     // translations whose page changed
  std::uint64_t heated = 0;       // translations that were made anew with sites in the TLB
  std::uint64_t poor_sites = 0;   // that missed too often and were given up
  std::uint64_t cooled = 0;       // how often all that was hot gave its sites back, there being no more
  /// Exits for untranslated instructions, by ZydisMnemonic.
  std::array<std::uint64_t, ZYDIS_MNEMONIC_MAX_VALUE + 1> interpreted_mnemonic{};

  void count_interpreted(ExitSite site, std::uint16_t mnemonic) {
    ++interpreted;
    ++interpreted_at[static_cast<std::size_t>(site)];
    if (site == ExitSite::kInterpret) ++interpreted_mnemonic[mnemonic];
  }
  [[nodiscard]] std::uint64_t at(ExitSite site) const { return interpreted_at.at(static_cast<std::size_t>(site)); }
};

/// A table of several lines.
[[nodiscard]] std::string describe(const TranslatorStatistics& statistics);

}  // namespace doppel::accel::soft
