// Runs hot blocks as host code: makes translations of them, keeps and links those, and sees to what they leave for.
//
// A translation belongs to a decoded block and goes with it. It is reached by the run loop, which has verified the
// block's bytes; by other translations, that were linked with it; and by indirect branches through the jump cache. When
// a page of code changes, its translations are cut off from the latter two, until the run loop finds them good again.
// A jump into another page enters by a guard: the linear page must still lead where it did.
//
// One per vCPU, on its thread.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "accel/soft/interpreter/code_cache.h"
#include "accel/soft/interpreter/cpu.h"
#include "accel/soft/interpreter/translated_code.h"
#include "accel/soft/runtime/code_memory.h"
#include "accel/soft/runtime/host_fault.h"
#include "accel/soft/runtime/low_memory.h"
#include "accel/soft/translator/code_regions.h"
#include "accel/soft/translator/emitter.h"
#include "accel/soft/translator/gate.h"
#include "accel/soft/translator/statistics.h"
#include "accel/soft/translator/translation.h"
#include "accel/soft/translator/translation_observer.h"
#include "accel/soft/translator/translation_options.h"
#include "accel/soft/translator/verifier.h"
#include "base/error.h"

namespace doppel::accel::soft {

class Translator final : public TranslatedCode {
 public:
  /// Why there can be none for CPU, if so: the host has no BMI2, or no memory below 2 GiB.
  static Result<std::unique_ptr<Translator>> create(Cpu& cpu, CodeCache& cache, const TranslationOptions& options = {});
  ~Translator() override;
  /// Forgets all translations. Not from inside run().
  void flush();
  /// Nothing runs any more: blocks may go without their translations being taken apart one by one.
  void abandon() { is_abandoned_ = true; }

  void begin() override;
  bool run(const Block& block) override;
  void look_for_host_writes() override;

  /// OBSERVER, which outlives the translator, is told of each translation from now on.
  void observe(TranslationObserver& observer);

  using Statistics = TranslatorStatistics;
  [[nodiscard]] Statistics statistics() const;
  /// Null: translated code is not verified.
  [[nodiscard]] const Verifier* verifier() const { return verifier_.get(); }
  /// All of it, for tests that spoil some.
  [[nodiscard]] std::span<std::byte> code() const { return {memory_.writable(), memory_.capacity()}; }

 private:
  class Owned;
  struct X87Pointers;

  /// A guest page that reachable translations came from.
  struct CodePage {
    Block::Source source;
    std::vector<Translation*> translations;
  };
  /// An instruction of a translation.
  struct Place {
    const Translation* translation;
    std::size_t number;
    [[nodiscard]] std::uint64_t rip() const { return translation->rip(number); }
    [[nodiscard]] bool has_saved_flags() const {
      return translation->instructions()[number].flags_home == FlagsHome::kMemory;
    }
  };
  struct PageKey {
    std::uint64_t linear;
    std::uint64_t gpa;
    bool operator==(const PageKey&) const = default;
  };
  struct PageKeyHash {
    std::size_t operator()(const PageKey& key) const {
      return std::hash<std::uint64_t>()(key.linear ^ (key.gpa << 17U) ^ (key.gpa >> 12U));
    }
  };

  Translator(Cpu& cpu, CodeCache& cache, const TranslationOptions& options, CodeMemory memory);

  // Finding and making.
  Translation* find_or_make(const Block& block);
  Translation* find(Owned& owned, const TranslationKey& key);
  Translation* make(const TranslationKey& key, const BlockPlan& plan);
  void make_room();
  void evict(const std::vector<Translation*>& translations);
  void tell_observers(const BlockPlan& plan, const Translation& translation, std::size_t cold);
  [[nodiscard]] HostCode code(std::size_t begin, std::size_t end) const;
  void plan(const Block& block, bool alone, bool shared);
  Owned& translations_of(const Block& block);
  [[nodiscard]] static Owned* known_translations_of(const Block& block);
  void take_from_block(Translation& translation);
  std::uint32_t page_number(std::uint64_t linear, std::uint64_t gpa);
  [[nodiscard]] bool provide(const ExtendedRegisters& registers);
  void clear_jump_caches(MmuIndex index);

  // Heat.
  void sample(Translation& translation);
  [[nodiscard]] bool heat(Translation& translation);
  void cool();
  void plan_sites(const Owned& owned);
  void prepare_sites(const Translation& translation);
  void judge_sites(Translation& translation);
  void give_sites_back(const Translation& translation);

  // Reachability.
  void make_reachable(Translation& translation);
  void enlist(const Block::Source& source, Translation& translation);
  void delist(std::uint32_t number, const Translation& translation);
  void note_page(std::uint64_t linear, std::uint32_t number);
  void detach(Translation& translation);
  void unlink(Translation::Link& link);
  void link(Translation& from, Translation::Link& link, Translation& to);
  [[nodiscard]] Translation::Link& link_of(PieceId piece) const {
    return regions_.of(Translation::whole(piece)).links()[Translation::number(piece)];
  }
  void drop_changed_code();
  void drop_changed_pages();
  void drop_if_changed(const CodePage& page);
  void discard(Translation& translation);
  [[nodiscard]] JumpCache* jump_cache_of(const TranslationKey& key);
  void enter_in_jump_cache(const Translation& translation);
  [[nodiscard]] Translation* find_reachable(const TranslationKey& key, std::uint64_t linear);
  [[nodiscard]] bool is_mapped(const Translation& translation) const;
  void link_to_known(Translation& from);
  /// May code go there without the run loop?
  [[nodiscard]] bool may_chain_to(std::uint64_t linear) const {
    return !options_.may_chain_to || options_.may_chain_to(linear);
  }
  Translation* follow_link();

  // Running.
  void enter(std::uint32_t position);
  void pass(std::uint32_t position);
  [[nodiscard]] bool pass_verified(std::uint32_t position);
  void pass_gate();
  void call_gate() const;
  void find_x87_pointers(const X87Pointers& before);
  [[nodiscard]] CodeExit where_left() const;
  [[nodiscard]] CodeExit where_faulted() const;
  void interpret(const Instruction& instruction, std::uint64_t rip);
  [[nodiscard]] bool access_device(const Instruction& instruction, const Translation::Instruction& place,
                                   std::uint64_t rip);
  void count_interpreted(const Translation& translation, std::size_t number);
  void note_failed_lookup(Translation& translation);
  bool look_up_group(const Instruction& instruction, const Translation::Instruction& place, const GroupMember& member,
                     std::uint64_t rip);
  void follow_fault();
  [[nodiscard]] Place place_of(std::uint64_t at) const;
  [[nodiscard]] Place place_of_id(std::uint32_t id) const;
  [[nodiscard]] std::uint64_t address_of(std::uint32_t position) const;

  Cpu& cpu_;
  CodeCache& cache_;
  bool is_abandoned_ = false;
  const TranslationOptions options_;
  CodeMemory memory_;
  LowPointer<GateState> state_;
  GateCode gate_;
  std::size_t gate_size_ = 0;
  std::unique_ptr<Emitter> emitter_;
  CodeRegions regions_;
  BlockPlan plan_;  // at work
  TranslationDraft draft_;
  GeneratedCode generated_;

  std::unordered_map<PageKey, std::uint32_t, PageKeyHash> page_numbers_;
  std::vector<std::uint64_t> numbered_pages_{0};       // their gpa >> 12; nothing has the number 0
  std::unordered_map<std::uint64_t, CodePage> pages_;  // by gpa >> 12

  /// With it every guard fails, as no page is noted in the ITLB, and links lead to guards: so translated code is left
  /// behind each translation.
  std::unique_ptr<Verifier> verifier_;

  std::array<ExtendedRegisters, kMmuIndexes> registers_{};  // to begin with
  /// What begin() found, which stays so: null, nothing that can be translated.
  std::optional<CodeKind> kind_;
  std::uint64_t nowhere_ = 0;  // address of GateCode::nowhere
  std::array<std::array<LowPointer<JumpCache>, kExtendedRegisterSets>, kMmuIndexes> jump_caches_;  // null: not used yet
  std::array<CodeKind, kMmuIndexes> jump_cache_kind_{};  // of the code that they lead to
  std::uint64_t last_cr3_ = 0;
  std::uint64_t seen_code_changes_ = 0;
  std::uint64_t seen_host_writes_ = 0;
  std::uint64_t samples_ = 0;
  std::chrono::steady_clock::time_point last_sample_;
  std::uint64_t cooled_ = 0;  // how many samples there were then
  /// A link exit that led to the block that run() is called with next.
  Translation* link_from_ = nullptr;
  std::size_t link_number_ = 0;
  std::vector<TranslationObserver*> observers_;
  Statistics statistics_;
};

}  // namespace doppel::accel::soft
