// Decoded guest code of one vCPU: blocks of instructions by guest-physical address, and how to find the one at a linear
// address quickly.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <tsl/hopscotch_map.h>

#include "accel/soft/interpreter/cpu.h"
#include "accel/soft/interpreter/decoder.h"
#include "accel/soft/interpreter/instruction.h"
#include "accel/soft/interpreter/translated_code.h"
#include "accel/soft/mmu/tlb.h"
#include "accel/soft/runtime/guest_ram.h"

namespace doppel::accel::soft {

/// Instructions that follow each other in one page, up to the first branch. An instruction that reaches into the next
/// page is a block of its own.
struct Block {
  // Where it was decoded from. Valid while the pages' versions are what they were.
  struct Source {
    static constexpr std::atomic<std::uint32_t> kNoVersion{~0U};
    const RamSlot* slot = nullptr;  // null: not from RAM, never valid twice
    std::uint64_t gpa = 0;
    std::uint32_t version = 0;
    const std::atomic<std::uint32_t>* current_version = &kNoVersion;
    RamSlot::HostWriteMark host_write;

    [[nodiscard]] bool is_current() const {
      return version == current_version->load(std::memory_order_acquire) && !host_write.set();
    }
  };
  // What is looked at each time comes first: memory is what cold code waits for.
  Source first;
  mutable std::uint32_t runs = 0;                           // by the interpreter, before it was translated
  mutable std::unique_ptr<BlockTranslations> translations;  // for a translator
  mutable std::unique_ptr<Instruction[]> decoded;           // SIZE of them; null: CodeCache::instructions_of() has them
  std::uint16_t size = 0;                                   // instructions
  std::uint16_t bytes = 0;
  CodeMode mode = CodeMode::kReal16;
  mutable bool was_run = true;            // since the hand of the code cache's clock came by
  mutable bool is_holder = false;         // the hand comes by
  std::unique_ptr<Source> second;         // of the page that the last instruction reaches into; null: it does not
  std::unique_ptr<std::uint8_t[]> image;  // the BYTES it was made from, of both pages

  mutable std::unique_ptr<std::vector<std::uint64_t>> shown_at;  // linear addresses, by -d in_asm

  [[nodiscard]] bool is_current() const { return first.is_current() && (!crosses() || second->is_current()); }
  [[nodiscard]] bool crosses() const { return second != nullptr; }
  [[nodiscard]] std::span<const std::uint8_t> code() const { return {image.get(), bytes}; }
};

class CodeCache {
 public:
  CodeCache(Cpu& cpu, NativeStubs& stubs);

  /// What blocks and addresses mean now: stays as it is for as long as no operation sets Cpu::leave_block.
  struct Context {
    std::uint64_t id = 0;  // equal for equal translations, rights and mode
    std::uint64_t base = 0;
    std::uint64_t linear_mask = 0;
    CodeMode mode = CodeMode::kReal16;
  };
  [[nodiscard]] Context context() const;
  /// The block at the CPU's CS:RIP; raises the faults of fetching its first byte. Valid until the next call.
  const Block& at_rip(const Context& context) {
    const std::uint64_t linear = (context.base + cpu_.rip) & context.linear_mask;
    Quick& quick = quick_[(linear ^ linear >> 13U) % kQuickEntries];
    const Block* const block = quick.block;
    if (quick.linear == linear && quick.context == context.id && block != nullptr && block->is_current()) [[likely]]
      return *block;
    return look_up(linear, quick, context);
  }
  /// BLOCK's, decoded once more if that was too long ago. Valid until other blocks' are asked for.
  [[nodiscard]] std::span<const Instruction> instructions_of(const Block& block) {
    block.was_run = true;
    if (block.decoded == nullptr) [[unlikely]]
      decode_again(block);
    return {block.decoded.get(), block.size};
  }
  /// The block at LINEAR, which lies in the page that RIP is in. Null: it cannot be had without losing others.
  const Block* nearby(std::uint64_t linear);
  /// The decoder that blocks are made by.
  [[nodiscard]] const Decoder& decoder() const { return *decoder_; }
  /// Blocks decoded from now on have at most that many INSTRUCTIONS.
  void limit_blocks(std::size_t instructions) { longest_block_ = instructions; }
  /// Forgets everything, and takes over the CPU's features.
  void reset();

  struct Statistics {
    std::uint64_t decoded = 0;   // blocks
    std::uint64_t verified = 0;  // blocks whose page changed and whose bytes did not
    std::uint64_t again = 0;     // blocks decoded again for their instructions alone
    std::uint64_t lookups = 0;   // that missed the quick table
  };
  [[nodiscard]] const Statistics& statistics() const { return statistics_; }

 private:
  static constexpr std::size_t kQuickEntries = 131072;
  static constexpr std::size_t kEnoughBlocks = 1U << 17U;
  static constexpr std::size_t kMostDecoded = 1U << 15U;  // blocks; most others run as translated code

  struct alignas(32) Quick {
    std::uint64_t linear = 0;
    std::uint64_t context = 0;
    const Block* block = nullptr;  // null: empty
  };
  struct Fetched;
  /// Addresses differ in few bits, and a hopscotch map takes the lowest.
  struct KeyHash {
    std::size_t operator()(std::uint64_t key) const {
      constexpr std::uint64_t kGolden = 0x9e37'79b9'7f4a'7c15;  // 2^64 / the golden ratio
      return key * kGolden >> 32U;
    }
  };

  const Block& look_up(std::uint64_t linear, Quick& quick, const Context& context);
  const Block& find(std::uint64_t linear);
  [[nodiscard]] bool is_full() const;
  void make_room();
  void decode(Block& block, const Fetched& from);
  void decode_again(const Block& block);
  void note_decoded(const Block& block);
  static bool let_go_of_instructions(const Block& block);
  bool verify(Block& block, const Fetched& from) const;
  [[nodiscard]] bool is_still_at(const Block& block, std::uint64_t linear) const;
  bool is_second_page_there(const Block& block, std::uint64_t linear) const;

  Cpu& cpu_;
  NativeStubs& stubs_;
  std::unique_ptr<Decoder> decoder_;
  tsl::hopscotch_map<std::uint64_t, std::unique_ptr<Block>, KeyHash> blocks_;  // by gpa and mode
  std::vector<Quick> quick_ = std::vector<Quick>(kQuickEntries);
  Statistics statistics_;
  std::size_t longest_block_ = 64;    // instructions
  std::vector<Instruction> decoded_;  // of the block at work
  std::size_t most_blocks_ = kEnoughBlocks;
  std::vector<const Block*> holders_;  // of instructions, in a circle; HAND_ is where it begins
  std::size_t hand_ = 0;
};

}  // namespace doppel::accel::soft
