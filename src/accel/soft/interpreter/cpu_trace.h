// What -d shows of one processor at work: the blocks it enters and its registers there (in_asm, exec, cpu), what it is
// interrupted by (int), what its TLB holds (mmu). Made only if anything of this is asked for.
#pragma once

#include <cstdint>

#include "accel/soft/interpreter/code_cache.h"
#include "accel/soft/interpreter/cpu.h"
#include "accel/soft/interpreter/disassembly.h"
#include "accel/soft/interpreter/interrupts.h"
#include "accel/soft/interpreter/translated_code.h"
#include "accel/soft/mmu/tlb_observer.h"
#include "base/log.h"

namespace doppel::accel::soft {

class CpuTrace final : public TlbObserver {
 public:
  [[nodiscard]] static bool is_wanted(const Logger& log) { return wants_blocks(log) || wants_events(log); }
  [[nodiscard]] static bool wants_blocks(const Logger& log);
  /// Not only the first one of each block?
  [[nodiscard]] static bool wants_every_entry(const Logger& log);

  /// From now on CPU tells it what happens.
  CpuTrace(Cpu& cpu, CodeCache& cache, const Logger& log);
  ~CpuTrace() override;

  /// The CPU is about to run BLOCK, or its first instruction, at RIP.
  void enter(const Block& block) const;
  /// Has GO deliver EVENT.
  void deliver(const Event& event, void (*go)(Cpu& cpu, const Event& event));

  void tlb_filled(MmuIndex index, const TlbInfo& info) override;
  void tlb_flushed(TlbFlush what, std::uint64_t linear) override;

 private:
  [[nodiscard]] static bool wants_events(const Logger& log);
  void show_code(const Block& block, std::uint64_t linear) const;
  void show_entry(const Block& block, std::uint64_t linear) const;
  void show_registers() const;
  [[nodiscard]] std::uint64_t code_base() const;
  [[nodiscard]] std::string describe(const Event& event) const;
  [[nodiscard]] std::string describe_handler() const;

  Cpu& cpu_;
  CodeCache& cache_;
  const Logger log_;
  const Disassembler disassembler_;
  std::uint64_t delivered_ = 0;  // events
};

/// The run loop's way to a CpuTrace, in front of a translator or in place of one.
class TracedCode final : public TranslatedCode {
 public:
  /// INNER may be null: everything is interpreted.
  TracedCode(const CpuTrace& trace, TranslatedCode* inner) : trace_(trace), inner_(inner) {}

  void begin() override {
    if (inner_ != nullptr) inner_->begin();
  }
  bool run(const Block& block) override {
    trace_.enter(block);
    return inner_ != nullptr && inner_->run(block);
  }
  void look_for_host_writes() override {
    if (inner_ != nullptr) inner_->look_for_host_writes();
  }

 private:
  const CpuTrace& trace_;
  TranslatedCode* const inner_;
};

}  // namespace doppel::accel::soft
