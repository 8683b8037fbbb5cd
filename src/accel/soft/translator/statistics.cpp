#include "accel/soft/translator/statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <numeric>
#include <string_view>
#include <vector>

namespace doppel::accel::soft {

namespace {

constexpr auto kLookupSites =
    std::to_array<ExitSite>({ExitSite::kStack, ExitSite::kPlain, ExitSite::kGroupLeader, ExitSite::kRipRelative,
                             ExitSite::kSegment, ExitSite::kString, ExitSite::kGather});

std::string_view name_of(ExitSite site) {
  switch (site) {
    case ExitSite::kInterpret: return "untranslated";
    case ExitSite::kBranch: return "branch";
    case ExitSite::kStack: return "stack";
    case ExitSite::kPlain: return "plain";
    case ExitSite::kGroupLeader: return "group leader";
    case ExitSite::kRipRelative: return "RIP-relative";
    case ExitSite::kSegment: return "FS or GS";
    case ExitSite::kString: return "string";
    case ExitSite::kGather: return "gather";
  }
  return "";
}

double ratio(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

std::uint64_t missed_lookups(const TranslatorStatistics& statistics) {
  return std::accumulate(kLookupSites.begin(), kLookupSites.end(), std::uint64_t{0},
                         [&](std::uint64_t sum, ExitSite site) { return sum + statistics.at(site); });
}

std::string by_site(const TranslatorStatistics& statistics) {
  std::string text;
  for (const ExitSite site : kLookupSites)
    fmt::format_to(std::back_inserter(text), "{}{} {}", text.empty() ? "" : ", ", name_of(site), statistics.at(site));
  return text;
}

/// Of lookups, and what of them left translated code.
std::string hit_rates(const TranslatorStatistics& statistics) {
  std::string text;
  const auto row = [&](std::string_view name, std::uint64_t lookups, std::uint64_t misses) {
    const std::uint64_t hits = lookups - std::min(misses, lookups);
    fmt::format_to(std::back_inserter(text), "  {:<20} {:>12}  {:.3f} % hit\n", name, lookups,
                   100 * ratio(hits, lookups));
  };
  const LookupCounts& counts = statistics.counts;
  for (const ExitSite site : kLookupSites)
    row(name_of(site), counts.lookups.at(static_cast<std::size_t>(site)), statistics.at(site));
  row("sites of hot code", counts.site_lookups, counts.site_misses);
  row("return cache", counts.returns, counts.return_misses);
  row("jump cache", counts.lookups.at(static_cast<std::size_t>(ExitSite::kBranch)), statistics.at(ExitSite::kBranch));
  return text;
}

std::string most_interpreted(const TranslatorStatistics& statistics) {
  constexpr std::size_t kMost = 20;
  std::vector<std::size_t> mnemonics;
  for (std::size_t i = 0; i < statistics.interpreted_mnemonic.size(); ++i)
    if (statistics.interpreted_mnemonic.at(i) != 0) mnemonics.push_back(i);
  std::ranges::sort(mnemonics, std::ranges::greater(),
                    [&](std::size_t mnemonic) { return statistics.interpreted_mnemonic.at(mnemonic); });
  mnemonics.resize(std::min(mnemonics.size(), kMost));
  std::string text;
  for (const std::size_t mnemonic : mnemonics) {
    const std::uint64_t count = statistics.interpreted_mnemonic.at(mnemonic);
    fmt::format_to(std::back_inserter(text), "  {:<20} {:>12} {:5.1f} %\n",
                   mnemonic == ZYDIS_MNEMONIC_INVALID ? "(undefined)"
                                                      : ZydisMnemonicGetString(static_cast<ZydisMnemonic>(mnemonic)),
                   count, 100 * ratio(count, statistics.at(ExitSite::kInterpret)));
  }
  return text;
}

}  // namespace

ExitSite exit_site(const PlannedInstruction& planned, const CodeKind& kind) {
  switch (planned.action) {
    case Action::kReturn:
    case Action::kJumpIndirect:
    case Action::kCallIndirect: return ExitSite::kBranch;
    default: break;
  }
  if (planned.action == Action::kString) return ExitSite::kString;
  if (planned.action == Action::kGather) return ExitSite::kGather;
  if (planned.member.leads) return ExitSite::kGroupLeader;
  if (stack_access(planned.action, kind)) return ExitSite::kStack;
  switch (planned.action) {
    case Action::kMemory:
    case Action::kPushMemory:
    case Action::kBitString: break;
    default: return ExitSite::kInterpret;
  }
  if (has_base(planned.instruction->segment)) return ExitSite::kSegment;
  return planned.instruction->base == kRipRegister ? ExitSite::kRipRelative : ExitSite::kPlain;
}

std::string describe(const TranslatorStatistics& s) {
  std::string text;
  const auto row = [&text](std::string_view name, std::uint64_t count, const std::string& remark = "") {
    fmt::format_to(std::back_inserter(text), "  {:<20} {:>12}{}\n", name, count, remark.empty() ? "" : "  " + remark);
  };
  text += "Translations:\n";
  row("blocks", s.translations, fmt::format("{:.1f} instructions each", ratio(s.instructions, s.translations)));
  row("guest bytes", s.guest_bytes, fmt::format("{:.1f} each", ratio(s.guest_bytes, s.translations)));
  row("host bytes", s.code_bytes,
      fmt::format("{:.1f} each, {:.2f} times the guest's", ratio(s.code_bytes, s.translations),
                  ratio(s.code_bytes, s.guest_bytes)));
  row("host bytes, cold", s.cold_bytes, "ways out, away from the rest");
  row("detached", s.detached, "their page changed");
  row("hot", s.heated,
      fmt::format("made anew with sites of their own for lookups, {} of which missed too often; all cooled {} times",
                  s.poor_sites, s.cooled));
  row("evicted", s.evicted, fmt::format("{} times a region's, the memory being full", s.evictions));
  text += "Entries by the run loop, and exits:\n";
  row("entries", s.entries);
  row("to interpret", s.at(ExitSite::kInterpret), "instructions that are not translated, by name below");
  row("missed lookups", missed_lookups(s), by_site(s));
  row("unknown targets", s.at(ExitSite::kBranch), "of returns and indirect branches");
  row("links", s.link_exits, "jumps taken for the first time");
  row("guards", s.guard_exits, "entered by an address that may lead elsewhere");
  row("polls", s.poll_exits, "interrupts and other requests");
  row("host exceptions", s.fault_exits);
  if (s.counts_lookups) text += "Lookups in the TLB by translated code, and elsewhere:\n" + hit_rates(s);
  if (s.at(ExitSite::kInterpret) != 0) text += "Interpreted most often:\n" + most_interpreted(s);
  return text;
}

}  // namespace doppel::accel::soft
