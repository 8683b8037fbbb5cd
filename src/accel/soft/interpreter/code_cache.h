// Decoded guest code of one vCPU: blocks of instructions by guest-physical address, and how to find the one at a linear
// address quickly.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "accel/soft/interpreter/block_table.h"
#include "accel/soft/interpreter/cpu.h"
#include "accel/soft/interpreter/decoder.h"
#include "accel/soft/interpreter/instruction.h"
#include "accel/soft/mmu/tlb.h"

namespace doppel::accel::soft {

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
    if (block.decoded == nullptr) [[unlikely]]
      decode_again(block);
    return {block.decoded, block.size};
  }
  /// The block at LINEAR, which lies in BLOCK's page. Null: it has not run yet, or its page is another by now.
  [[nodiscard]] const Block* known_beside(const Block& block, std::uint64_t linear) const;
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
  static constexpr std::size_t kQuickEntries = 65536;
  static constexpr std::size_t kEnoughBlocks = 3U << 15U;
  static constexpr std::size_t kMostDecoded = 3U << 16U;  // instructions; most others run as translated code

  struct alignas(32) Quick {
    std::uint64_t linear = 0;
    std::uint64_t context = 0;
    const Block* block = nullptr;  // null: empty
  };
  struct Fetched;

  const Block& look_up(std::uint64_t linear, Quick& quick, const Context& context);
  const Block& find(std::uint64_t linear);
  [[nodiscard]] bool is_full() const;
  void make_room();
  void decode(Block& block, const Fetched& from);
  void decode_again(const Block& block);
  void make_room_for_instructions(std::size_t count);
  void keep_instructions(const Block& block, std::size_t begin);
  bool verify(Block& block, const Fetched& from) const;
  [[nodiscard]] bool is_still_at(const Block& block, std::uint64_t linear) const;
  bool is_second_page_there(const Block& block, std::uint64_t linear) const;

  Cpu& cpu_;
  NativeStubs& stubs_;
  std::unique_ptr<Decoder> decoder_;
  BlockTable blocks_;
  std::vector<Quick> quick_ = std::vector<Quick>(kQuickEntries);
  Statistics statistics_;
  std::size_t longest_block_ = 64;  // instructions
  std::size_t most_blocks_ = kEnoughBlocks;
  std::vector<Instruction> decoded_;   // of all blocks that have theirs, one behind the other; does not move
  std::vector<const Block*> holders_;  // those blocks
};

}  // namespace doppel::accel::soft
