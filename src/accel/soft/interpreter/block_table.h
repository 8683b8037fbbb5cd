// Blocks by where they were decoded from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "accel/soft/interpreter/block.h"

namespace doppel::accel::soft {

/// Owns them, in as many chains as there are blocks, or more. On one thread.
class BlockTable {
 public:
  BlockTable() = default;
  ~BlockTable() { clear(); }
  BlockTable(const BlockTable&) = delete;
  BlockTable& operator=(const BlockTable&) = delete;

  /// Null: there is none.
  [[nodiscard]] Block* find(std::uint64_t gpa, CodeMode mode) const {
    Block* block = chains_[chain_of(gpa)];
    while (block != nullptr && (block->first.gpa != gpa || block->mode != mode)) block = block->next;
    return block;
  }
  /// There is none of the same place and mode.
  Block& add(std::unique_ptr<Block> fresh) {
    if (++size_ > chains_.size()) lengthen();
    return put(*fresh.release());
  }
  template <class Predicate>
  void erase_if(const Predicate& is_wanted_no_more) {
    for (Block*& chain : chains_)
      for (Block** place = &chain; *place != nullptr;) {
        Block* const block = *place;
        if (!is_wanted_no_more(*block)) {
          place = &block->next;
          continue;
        }
        *place = block->next;
        --size_;
        delete block;
      }
  }
  void clear() {
    erase_if([](const Block&) { return true; });
  }
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  /// Addresses differ in few bits.
  [[nodiscard]] std::size_t chain_of(std::uint64_t gpa) const {
    constexpr std::uint64_t kGolden = 0x9e37'79b9'7f4a'7c15;  // 2^64 / the golden ratio
    return gpa * kGolden >> (64U - chain_bits_);
  }
  Block& put(Block& block) {
    Block*& chain = chains_[chain_of(block.first.gpa)];
    block.next = chain;
    chain = &block;
    return block;
  }
  /// Looking for a block waits for memory at each link of a chain.
  void lengthen() {
    ++chain_bits_;
    for (Block* chain : std::exchange(chains_, std::vector<Block*>(std::size_t{1} << chain_bits_)))
      while (chain != nullptr) put(*std::exchange(chain, chain->next));
  }

  unsigned chain_bits_ = 14;
  std::vector<Block*> chains_ = std::vector<Block*>(std::size_t{1} << chain_bits_);
  std::size_t size_ = 0;
};

}  // namespace doppel::accel::soft
