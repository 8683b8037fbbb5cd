// What the interpreter's run loop knows of a translator: something that runs blocks in another way than handler by
// handler, and keeps what it made of each with the block.
#pragma once

namespace doppel::accel::soft {

struct Block;

/// What a translator made of a block. Goes with it.
class BlockTranslations {
 public:
  BlockTranslations() = default;
  virtual ~BlockTranslations() = default;
  /// Is there none any more?
  [[nodiscard]] virtual bool empty() const = 0;
  BlockTranslations(const BlockTranslations&) = delete;
  BlockTranslations& operator=(const BlockTranslations&) = delete;
};

class TranslatedCode {
 public:
  TranslatedCode() = default;
  virtual ~TranslatedCode() = default;
  TranslatedCode(const TranslatedCode&) = delete;
  TranslatedCode& operator=(const TranslatedCode&) = delete;

  /// Modes, rights or control registers may have changed since run().
  virtual void begin() = 0;
  /// Runs on from BLOCK, which RIP is at and which may be gone afterwards, until something is to be looked up by the
  /// caller. Raises what instructions raise, with Cpu::instruction_start set. False: nothing was done, the block is to
  /// be interpreted.
  virtual bool run(const Block& block) = 0;
  /// The host may have written to memory.
  virtual void look_for_host_writes() = 0;
};

}  // namespace doppel::accel::soft
