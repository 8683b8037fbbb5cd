// A translated block and the places in it that others refer to. Positions are offsets in the code memory.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "accel/soft/interpreter/code_cache.h"
#include "accel/soft/mmu/mmu_index.h"
#include "accel/soft/translator/plan.h"
#include "accel/soft/translator/statistics.h"

namespace doppel::accel::soft {

/// What translated code does that depends on where and how it runs.
struct TranslationKey {
  std::uint64_t linear = 0;
  CodeKind kind;
  MmuIndex mmu_index = MmuIndex::kSupervisor;
  ExtendedRegisters registers;
  bool operator==(const TranslationKey&) const = default;
};

/// Names a translation; 0: none.
using TranslationId = std::uint32_t;
/// Names a link or a part: a translation's id and the number in it; 0: none.
using PieceId = std::uint32_t;

/// What is kept of a translation. There are hundreds of thousands of them, so each is one piece of memory, as small as
/// it can be: this and, behind it, its lists. It is made of a TranslationDraft, by TranslationRecords.
struct Translation {
  struct Instruction {
    std::uint16_t begin = 0;  // of its code, from the guarded entry on; it ends where the next one's begins
    std::int16_t offset = 0;  // from the translation's own address, bytes
    Action action : 5 = Action::kInterpret;
    bool is_mov : 1 = false;
    ExitSite site : 4 = ExitSite::kInterpret;
    bool writes_memory : 1 = false;
    FlagsHome flags_home : 1 = FlagsHome::kRegister;  // where it may fault
    bool may_resume_behind : 1 = true;  // what follows needs nothing that translated code had in its temporaries
    bool leads : 1 = false;             // a group: there is a Leader of it
  };
  static_assert(sizeof(Instruction) == 6 && kExitSites <= 16 && kActions <= 32);

  /// Of an instruction that leaves for another reason than a lookup.
  struct Mnemonic {
    std::uint16_t mnemonic = 0;  // ZydisMnemonic
    std::uint8_t instruction = 0;
  };

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

  /// A jump to a known address, or where a call has its return go. Goes to its stub, which leaves translated code,
  /// until it is linked.
  struct Link {
    std::uint64_t target = 0;  // linear address
    std::uint32_t site = 0;    // of the jump's 32-bit displacement
    std::uint32_t stub = 0;
    TranslationId to = 0;  // that it is linked with, and so are these two:
    PieceId next = 0;
    PieceId previous = 0;
    std::uint8_t number = 0;  // of the instruction that jumps
    FlagsHome flags = FlagsHome::kRegister;
    bool is_return = false;
  };

  /// A block that it was made of.
  struct Part {
    const Block* block = nullptr;
    PieceId next_user = 0;               // another translation's part of the same block, the first parts aside
    std::uint8_t first_instruction = 0;  // its number
  };

  TranslationKey key;
  TranslationId id = 0;
  std::uint32_t page_number = 0;         // in the ITLB
  std::uint32_t second_page_number = 0;  // of the page that its only instruction reaches into; 0: none
  // Ways in, the first behind the translation's id: from another page, with the flags saved; within the page, with the
  // flags saved or in the host's register. The gate, which has both, takes the last. What crosses pages has its guard
  // behind the third as well.
  std::uint32_t guarded_entry = 0;
  std::uint32_t entry_with_flags = 0;
  // The others and the ends from the guarded entry on.
  std::uint16_t saved_flags_offset = 0;
  std::uint16_t entry_offset = 0;
  std::uint16_t end_of_last_offset = 0;  // instruction
  std::uint16_t size = 0;
  TranslationId next = 0;           // of the same block
  PieceId incoming = 0;             // the first of the links with this one
  std::uint16_t revision = 0;       // of its block's, that it was made by
  std::uint8_t failed_lookups = 0;  // that accesses would have shared
  bool exists : 1 = false;          // it was not discarded
  bool reachable : 1 = false;       // by links or the jump cache; noted with its page
  bool falls_through : 1 = true;    // behind the last instruction
  std::uint8_t part_count = 0;
  std::uint8_t link_count = 0;
  std::uint8_t site_count = 0;
  std::uint8_t leader_count = 0;
  std::uint8_t mnemonic_count = 0;
  std::uint8_t instruction_count = 0;

  [[nodiscard]] std::span<Part> parts() { return list<Part>(parts_at(), part_count); }
  [[nodiscard]] std::span<Link> links() { return list<Link>(links_at(), link_count); }
  [[nodiscard]] std::span<const Part> parts() const { return list<const Part>(parts_at(), part_count); }
  [[nodiscard]] std::span<const Link> links() const { return list<const Link>(links_at(), link_count); }
  [[nodiscard]] std::span<const Site> sites() const { return list<const Site>(sites_at(), site_count); }
  [[nodiscard]] std::span<const Leader> leaders() const { return list<const Leader>(leaders_at(), leader_count); }
  [[nodiscard]] std::span<const Mnemonic> mnemonics() const {
    return list<const Mnemonic>(mnemonics_at(), mnemonic_count);
  }
  [[nodiscard]] std::span<const Instruction> instructions() const {
    return list<const Instruction>(instructions_at(), instruction_count);
  }

  [[nodiscard]] const Block& block() const { return *parts().front().block; }
  [[nodiscard]] std::uint32_t entry() const { return guarded_entry + entry_offset; }
  [[nodiscard]] std::uint32_t saved_flags_entry() const { return guarded_entry + saved_flags_offset; }
  [[nodiscard]] std::uint32_t end() const { return guarded_entry + size; }
  [[nodiscard]] bool crosses() const { return second_page_number != 0; }

  // Of instruction N:
  /// The part that it belongs to.
  [[nodiscard]] const Part& part_of(std::size_t n) const {
    return *std::prev(std::ranges::upper_bound(parts(), n, {}, &Part::first_instruction));
  }
  /// By CACHE, where the blocks are.
  [[nodiscard]] const soft::Instruction& instruction(CodeCache& cache, std::size_t n) const {
    const Part& part = part_of(n);
    return cache.instructions_of(*part.block)[n - part.first_instruction];
  }
  [[nodiscard]] std::span<const std::uint8_t> guest_code(std::size_t n) const {
    const Part& part = part_of(n);
    const auto offset = [&](std::size_t of) { return instructions()[of].offset; };
    const auto code = part.block->code().subspan(static_cast<std::size_t>(offset(n) - offset(part.first_instruction)));
    const bool is_last = n + 1 == instruction_count || &part_of(n + 1) != &part;
    return is_last ? code : code.first(static_cast<std::size_t>(offset(n + 1) - offset(n)));
  }
  /// It leads one.
  [[nodiscard]] const GroupMember& group_led_by(std::size_t n) const {
    return std::ranges::find(leaders(), n, &Leader::instruction)->member;
  }
  /// ZYDIS_MNEMONIC_INVALID: its code does not leave by itself.
  [[nodiscard]] std::uint16_t mnemonic_of(std::size_t n) const {
    const auto found = std::ranges::find(mnemonics(), n, &Mnemonic::instruction);
    return found == mnemonics().end() ? std::uint16_t{ZYDIS_MNEMONIC_INVALID} : found->mnemonic;
  }
  [[nodiscard]] std::uint64_t rip(std::size_t n) const {
    return key.linear + static_cast<std::uint64_t>(std::int64_t{instructions()[n].offset});
  }
  /// Where the flags are when its code begins.
  [[nodiscard]] FlagsHome flags_home_before(std::size_t n) const {
    return instructions()[n == 0 ? 0 : n - 1].flags_home;
  }
  [[nodiscard]] std::uint32_t begin_of(std::size_t n) const { return guarded_entry + instructions()[n].begin; }
  [[nodiscard]] std::uint32_t end_of(std::size_t n) const {
    return n + 1 < instruction_count ? begin_of(n + 1) : guarded_entry + end_of_last_offset;
  }
  /// The first instruction whose code begins at POSITION or behind it.
  [[nodiscard]] std::size_t first_from(std::uint32_t position) const {
    const auto first = std::ranges::lower_bound(instructions(), position - guarded_entry, {}, &Instruction::begin);
    return static_cast<std::size_t>(first - instructions().begin());
  }

  /// Of its memory.
  [[nodiscard]] std::size_t bytes() const { return instructions_at() + instruction_count * sizeof(Instruction); }

  // Ids that code hands out at its exits.
  static constexpr unsigned kIdBits = 26;
  static constexpr unsigned kInstructionBits = 6;
  static constexpr unsigned kLinkBits = 4;
  static_assert(kMostInstructions <= 1U << kInstructionBits && kMostLinks <= 1U << kLinkBits &&
                kMostParts <= 1U << kLinkBits && kIdBits + kInstructionBits <= 32 && kIdBits + kLinkBits <= 32);
  [[nodiscard]] static PieceId piece(TranslationId id, std::size_t number) {
    return id << kLinkBits | static_cast<std::uint32_t>(number);
  }
  [[nodiscard]] static TranslationId whole(PieceId piece) { return piece >> kLinkBits; }
  [[nodiscard]] static std::size_t number(PieceId piece) { return piece % (1U << kLinkBits); }

 private:
  // Where the lists are, from the one that must be aligned most to that which need not be.
  [[nodiscard]] static std::size_t parts_at() { return sizeof(Translation); }
  [[nodiscard]] std::size_t links_at() const { return parts_at() + part_count * sizeof(Part); }
  [[nodiscard]] std::size_t sites_at() const { return links_at() + link_count * sizeof(Link); }
  [[nodiscard]] std::size_t leaders_at() const { return sites_at() + site_count * sizeof(Site); }
  [[nodiscard]] std::size_t mnemonics_at() const { return leaders_at() + leader_count * sizeof(Leader); }
  [[nodiscard]] std::size_t instructions_at() const { return mnemonics_at() + mnemonic_count * sizeof(Mnemonic); }
  template <class T>
  [[nodiscard]] std::span<T> list(std::size_t at, std::size_t count) {
    return {reinterpret_cast<T*>(reinterpret_cast<std::byte*>(this) + at), count};
  }
  template <class T>
  [[nodiscard]] std::span<T> list(std::size_t at, std::size_t count) const {
    return {reinterpret_cast<T*>(reinterpret_cast<const std::byte*>(this) + at), count};
  }
};
static_assert(sizeof(Translation) == 64);

/// What the emitter finds out about a translation. All positions are whole.
struct TranslationDraft {
  TranslationKey key;
  TranslationId id = 0;
  std::uint32_t page_number = 0;
  std::uint32_t second_page_number = 0;
  std::uint32_t guarded_entry = 0;
  std::uint32_t saved_flags_entry = 0;
  std::uint32_t entry_with_flags = 0;
  std::uint32_t entry = 0;
  std::uint32_t end_of_last = 0;
  std::uint32_t end = 0;
  bool falls_through = true;
  std::vector<Translation::Part> parts;
  std::vector<Translation::Link> links;
  std::vector<Translation::Site> sites;
  std::vector<Translation::Leader> leaders;
  std::vector<Translation::Mnemonic> mnemonics;
  std::vector<Translation::Instruction> instructions;

  [[nodiscard]] bool crosses() const { return second_page_number != 0; }
  /// Empties the lists for the translation of another KEY.
  void begin(const TranslationKey& of, TranslationId with_id) {
    key = of;
    id = with_id;
    page_number = second_page_number = 0;
    parts.clear();
    links.clear();
    sites.clear();
    leaders.clear();
    mnemonics.clear();
    instructions.clear();
  }
};

}  // namespace doppel::accel::soft
