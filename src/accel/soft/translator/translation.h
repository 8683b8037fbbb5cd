// A translated block and the places in it that others refer to. Positions are offsets in the code memory.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "accel/soft/interpreter/code_cache.h"
#include "accel/soft/mmu/mmu_index.h"
#include "accel/soft/translator/plan.h"
#include "accel/soft/translator/statistics.h"

namespace doppel::accel::soft {

struct Translation;

/// A jump to a known address. Goes to its stub, which leaves translated code, until it is linked.
struct Link {
  std::uint64_t target = 0;  // linear address
  std::uint32_t site = 0;    // of the jump's 32-bit displacement
  std::uint32_t stub = 0;
  std::uint8_t number = 0;  // of the instruction that jumps
  FlagsHome flags = FlagsHome::kRegister;
  Translation* to = nullptr;  // that it is linked with
};

/// What translated code does that depends on where and how it runs.
struct TranslationKey {
  std::uint64_t linear = 0;
  CodeKind kind;
  MmuIndex mmu_index = MmuIndex::kSupervisor;
  ExtendedRegisters registers;
  bool operator==(const TranslationKey&) const = default;
};

struct Translation {
  /// There are millions of them, so they are kept small.
  struct Instruction {
    std::uint32_t begin = 0;  // of its code, which ends where the next one's begins
    std::int16_t offset = 0;  // from the translation's own address, bytes
    std::uint8_t number = 0;  // in its part
    std::uint8_t part : 3 = 0;
    bool writes_memory : 1 = false;
    FlagsHome flags_home : 1 = FlagsHome::kRegister;  // where it may fault
    bool may_resume_behind : 1 = true;  // what follows needs nothing that translated code had in its temporaries
    bool leads : 1 = false;             // a group: there is a Leader of it
    Action action = Action::kInterpret;
    ExitSite site = ExitSite::kInterpret;
    std::uint16_t mnemonic = 0;  // ZydisMnemonic
  };
  static_assert(sizeof(Instruction) == 12 && kMostParts <= 8);

  /// Looks up what a group of accesses needs.
  struct Leader {
    std::uint8_t instruction = 0;
    GroupMember member;
  };

  /// A lookup with a site of its own.
  struct Site {
    std::uint32_t number = 0;  // in TlbSites
    std::uint8_t instruction = 0;
    std::uint32_t limit = 0;   // TlbSiteMiss::limit
    std::uint32_t resume = 0;  // where the lookup ends
  };

  TranslationKey key;
  std::uint32_t id = 0;
  std::uint64_t gpa = 0;                 // that LINEAR led to
  std::uint64_t second_gpa = 0;          // and the page behind it, if the only instruction reaches into that
  std::uint32_t page_number = 0;         // in the ITLB
  std::uint32_t second_page_number = 0;  // of the page that its only instruction reaches into; 0: none
  // Ways in, the first behind the translation's id: from another page, with the flags saved; within the page, with the
  // flags saved or in the host's register. The gate, which has both, takes the last. What crosses pages has its guard
  // behind the third as well.
  std::uint32_t guarded_entry = 0;
  std::uint32_t saved_flags_entry = 0;
  std::uint32_t entry_with_flags = 0;
  std::uint32_t entry = 0;
  std::uint32_t end_of_last = 0;  // instruction
  std::uint32_t end = 0;
  std::vector<Instruction> instructions;
  std::vector<Leader> leaders;
  std::vector<Link> links;
  std::vector<Site> sites;
  bool falls_through = true;  // behind the last instruction

  [[nodiscard]] const Block& block() const { return *parts.front(); }
  /// By CACHE, where the blocks are.
  [[nodiscard]] const soft::Instruction& instruction(CodeCache& cache, std::size_t n) const {
    return cache.instructions_of(*parts[instructions[n].part])[instructions[n].number];
  }
  [[nodiscard]] std::span<const std::uint8_t> guest_code(std::size_t n) const {
    const Instruction& first = instructions[n - instructions[n].number];  // of its part
    const auto begin = static_cast<std::size_t>(instructions[n].offset - first.offset);
    const bool is_last = n + 1 == instructions.size() || instructions[n + 1].part != first.part;
    const auto code = parts[first.part]->code().subspan(begin);
    return is_last ? code : code.first(static_cast<std::size_t>(instructions[n + 1].offset - instructions[n].offset));
  }
  /// Of instruction N, which leads a group.
  [[nodiscard]] const GroupMember& group_led_by(std::size_t n) const {
    return std::ranges::find(leaders, n, &Leader::instruction)->member;
  }
  [[nodiscard]] std::uint64_t rip(std::size_t n) const {
    return key.linear + static_cast<std::uint64_t>(std::int64_t{instructions[n].offset});
  }
  /// Where the flags are when the code of instruction N begins.
  [[nodiscard]] FlagsHome flags_home_before(std::size_t n) const { return instructions[n == 0 ? 0 : n - 1].flags_home; }
  /// Where the code of instruction N ends.
  [[nodiscard]] std::uint32_t end_of(std::size_t n) const {
    return n + 1 < instructions.size() ? instructions[n + 1].begin : end_of_last;
  }
  [[nodiscard]] bool crosses() const { return second_page_number != 0; }

  /// Translations that were linked with this one.
  std::vector<Translation*> incoming;
  std::vector<const Block*> parts;
  unsigned failed_lookups = 0;  // that accesses would have shared
  unsigned revision = 0;        // of its block's, that it was made by
  bool reachable = false;       // by links or the jump cache; noted with its page

  // Ids that code hands out at its exits.
  static constexpr unsigned kInstructionBits = 6;
  static constexpr unsigned kLinkBits = 3;
  static_assert(kMostInstructions <= 1U << kInstructionBits && kMostLinks <= 1U << kLinkBits);
};

}  // namespace doppel::accel::soft
