// A decoded block of guest code.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "accel/soft/interpreter/instruction.h"
#include "accel/soft/interpreter/translated_code.h"
#include "accel/soft/runtime/guest_ram.h"

namespace doppel::accel::soft {

/// Instructions that follow each other in one page, up to the first branch. An instruction that reaches into the next
/// page is a block of its own. There are hundreds of thousands of them.
struct Block {
  // Where it was decoded from. Valid while the pages' versions are what they were.
  struct Source {
    const RamSlot* slot = nullptr;  // null: not from RAM, never valid twice
    std::uint64_t gpa = 0;
    std::uint32_t version = 0;

    [[nodiscard]] bool is_current() const {
      return slot != nullptr && version == slot->page(gpa).version.load(std::memory_order_acquire) &&
             !slot->has_host_write(gpa);
    }
  };
  /// What most have not.
  struct Rare {
    Source second;                        // of the page that the last instruction reaches into
    std::vector<std::uint64_t> shown_at;  // linear addresses, by -d in_asm
  };

  // What is looked at each time comes first, in one line of the cache: memory is what cold code waits for.
  Source first;
  Block* next = nullptr;           // in its BlockTable
  mutable std::uint32_t runs = 0;  // by the interpreter, before it was translated
  CodeMode mode = CodeMode::kReal16;
  bool crosses_page = false;
  std::uint8_t beyond = 0;  // bytes of IMAGE behind its own, by which the last was found to be no instruction
  mutable std::unique_ptr<BlockTranslations> translations;  // for a translator
  mutable const Instruction* decoded = nullptr;             // SIZE of them; null: CodeCache::instructions_of() has them
  std::uint16_t size = 0;                                   // instructions
  std::uint16_t bytes = 0;                                  // at most kMostBytes
  std::unique_ptr<std::uint8_t[]> image;                    // the BYTES it was made from, of both pages
  mutable std::unique_ptr<Rare> rare;                       // null: nothing of it

  static constexpr std::size_t kMostBytes = 512;

  [[nodiscard]] bool is_current() const { return first.is_current() && (!crosses() || second().is_current()); }
  [[nodiscard]] bool crosses() const { return crosses_page; }
  /// It crosses.
  [[nodiscard]] const Source& second() const { return rare->second; }
  [[nodiscard]] std::span<const std::uint8_t> code() const { return {image.get(), bytes}; }
  [[nodiscard]] Rare& with_rare() const {
    if (rare == nullptr) rare = std::make_unique<Rare>();
    return *rare;
  }
};

}  // namespace doppel::accel::soft
