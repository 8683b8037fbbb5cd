// The run loop: blocks of decoded instructions, and between them everything that may come in between: events,
// interrupt windows, single steps, breakpoints, requests of other threads.
#pragma once

#include <cstdint>

#include "accel/exit.h"
#include "accel/soft/interpreter/code_cache.h"
#include "accel/soft/interpreter/cpu.h"
#include "accel/soft/interpreter/native_stub.h"
#include "accel/soft/interpreter/translated_code.h"

namespace doppel::accel::soft {

class Interpreter {
 public:
  explicit Interpreter(Cpu& cpu) : cpu_(cpu), cache_(cpu, stubs_) {}

  /// Runs until something needs the outside, at most BUDGET instructions (then kBudget; 0: without end). Never
  /// StopReason::kNone. The caller is inside the machine's rendezvous.
  ///   kBus         cpu.bus.pending() waits for its answer
  ///   kHalt        HLT or the like, RIP behind it
  ///   kShutdown    triple fault
  ///   kDebug       debug_exit() says what
  ///   kKick        cpu.kicked was set; it is cleared
  ///   kIrqWindow   cpu.irq_window_wanted, and an interrupt would be accepted
  ///   kDifference  translated code was found to be wrong, by whom it was verified
  StopReason run(std::uint64_t budget = 0);
  /// Finishes the instruction whose bus accesses were answered, and nothing else. kBus: it has another one; kNone:
  /// done.
  StopReason finish_instruction();

  /// Has CODE run what it wants to, in run() without a budget; null: nothing.
  void set_translated_code(TranslatedCode* code) { translated_ = code; }
  [[nodiscard]] CodeCache& cache() { return cache_; }

  [[nodiscard]] const DebugExit& debug_exit() const { return debug_exit_; }
  [[nodiscard]] bool accepts_interrupt() const;
  /// The CPUID table or memory's contents changed behind the CPU's back.
  void forget_code() { cache_.reset(); }

  struct Statistics {
    std::uint64_t instructions = 0;
    std::uint64_t faults = 0;
    std::uint64_t interrupts = 0;
  };
  [[nodiscard]] const Statistics& statistics() const { return statistics_; }
  [[nodiscard]] const CodeCache::Statistics& code_statistics() const { return cache_.statistics(); }

 private:
  StopReason serve_attention();
  void forget_stale_code();
  StopReason deliver_events();
  [[nodiscard]] bool must_step() const;
  StopReason run_blocks();
  void count(std::uint64_t executed);
  StopReason step();
  bool check_code_breakpoints();
  StopReason after_instruction(bool single_step);
  StopReason take_fault(const Fault& fault);
  StopReason report_debug(std::uint8_t vector, std::uint64_t dr6);
  StopReason take_stop();

  Cpu& cpu_;
  NativeStubs stubs_;
  CodeCache cache_;
  TranslatedCode* translated_ = nullptr;
  DebugExit debug_exit_;
  Statistics statistics_;
  std::uint64_t remaining_ = 0;
  std::uint64_t instructions_at_fault_ = ~std::uint64_t{0};  // how many had been executed at the last one
  std::uint64_t memory_layout_ = 0;                          // of GuestRam, when the code cache last knew it
};

}  // namespace doppel::accel::soft
