// Lockstep of translated code with the interpreter (-accel soft,verify=on): each stretch of instructions is executed by
// both from the same state, and all registers, the flags that somebody still reads and the memory written are compared.
//
// The interpreter rehearses first, up to where translated code must stop as well: an instruction that is left to it,
// one that faults, an access that the TLB does not let pass. What a planned instruction writes is known before it is
// executed, so its memory can be put back. Then translated code runs, from the same state, until it is left somewhere.
// It may be left earlier than need be, then the interpreter is asked again for so many instructions; it may not be left
// later. The guest goes on with the interpreter's state.
//
// What is not the guest's own doing, DMA above all, may change memory between the two runs: only differences that
// repeat are believed. There can be no other vCPU, whose stores would be undone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "accel/soft/interpreter/cpu.h"
#include "accel/soft/runtime/code_memory.h"
#include "accel/soft/translator/gate.h"
#include "accel/soft/translator/lockstep.h"
#include "accel/soft/translator/plan.h"
#include "accel/soft/translator/translation.h"

namespace doppel::accel::soft {

/// Where translated code was left.
struct CodeExit {
  const Translation* in = nullptr;  // null: by one of its jumps to TO, whose guard failed
  const Translation* to = nullptr;
  std::size_t number = 0;  // of the instruction that comes next, or would if it had not jumped
  std::uint64_t rip = 0;
  bool branched = false;
  bool faulted = false;  // by an exception of the host's, so that instruction may have begun
};

/// On the vCPU's thread, like the translator whose it is.
class Verifier {
 public:
  /// Runs translated code from a position on until it is left.
  using Run = std::function<CodeExit(std::uint32_t position)>;
  /// All live as long as this. Each translation is compared PASSES times.
  Verifier(Cpu& cpu, CodeCache& cache, const CodeMemory& code, const GateCode& gate, std::uint64_t passes, Run run);

  /// TRANSLATION was just made by PLAN.
  void learn(const Translation& translation, const BlockPlan& plan);
  /// TRANSLATION is no more.
  void forget(const Translation& translation) { known_.erase(translation.id); }
  /// What RUN does from POSITION in TRANSLATION, compared. False: there is a difference, which difference() describes;
  /// the guest is where it was before.
  [[nodiscard]] bool pass(const Translation& translation, std::uint32_t position);
  /// TRANSLATION is not compared any more.
  [[nodiscard]] bool is_through(const Translation& translation) const {
    return known_.at(translation.id).passes >= passes_;
  }
  [[nodiscard]] const std::string& difference() const { return difference_; }

  struct Statistics {
    std::uint64_t stretches = 0;  // compared
    std::uint64_t instructions = 0;
    std::uint64_t differences = 0;
    std::uint64_t passing = 0;  // differences that did not repeat
    std::uint64_t unknown = 0;  // stretches cut short, or not compared, since nothing is known of what they write
  };
  [[nodiscard]] const Statistics& statistics() const { return statistics_; }

 private:
  /// What is kept of a plan.
  struct Known {
    Action action = Action::kInterpret;
    bool writes_memory = false;
    StringUse string;
    bool repeatable = true;         // with the same result
    std::uint16_t memory_size = 0;  // bytes
    std::uint64_t flags = 0;        // that must be right before it
    std::uint64_t undefined = 0;    // flags that nobody can rely on before it
  };
  struct KnownBlock {
    std::vector<Known> instructions;
    std::uint64_t undefined_at_end = 0;  // flags
    std::uint64_t passes = 0;
  };
  struct GuestAccess {
    std::uint64_t linear = 0;
    std::size_t size = 0;
    AccessKind kind = AccessKind::kRead;
  };
  /// Of one instruction.
  struct Accesses {
    std::array<GuestAccess, 16> access;  // as many as a gather makes
    unsigned count = 0;
    bool known = true;
    void add(const GuestAccess& one) { access.at(count++) = one; }
  };
  /// What is compared: a part of a translation.
  struct Task {
    const Translation& translation;
    const KnownBlock& known;
    std::uint32_t position = 0;
    std::size_t first = 0;  // instruction
    std::size_t limit = 0;  // the first that is not executed
  };
  struct Rehearsal {
    std::size_t end = 0;     // the first instruction that was not executed
    bool completed = true;   // else that one began, and registers are not to be trusted
    bool must_stop = false;  // translated code would go on there if it were not held
  };
  class Breakpoint;

  [[nodiscard]] std::uint64_t flags_read_behind(const Task& task) const;
  [[nodiscard]] Task task_at(const Translation& translation, std::uint32_t position) const;
  [[nodiscard]] bool compare(const Task& task);
  Rehearsal rehearse(const Task& task);
  void replay(const Task& task, std::size_t end);
  void execute(const Translation& translation, std::size_t number);
  [[nodiscard]] Accesses accesses_of(const Task& task, std::size_t number) const;
  [[nodiscard]] bool note(const Accesses& accesses);
  [[nodiscard]] const TlbEntry* direct(std::uint64_t linear, AccessKind kind);
  void go_back();
  void describe(const Task& task);
  [[nodiscard]] std::string describe_code(const Task& task, std::size_t wrong) const;

  Cpu& cpu_;
  CodeCache& cache_;
  const CodeMemory& code_;
  const GateCode& gate_;
  const std::uint64_t passes_;
  const Run run_;
  std::unordered_map<TranslationId, KnownBlock> known_;

  // The stretch at work.
  GuestRegisters before_;
  GuestRegisters interpreted_;
  GuestRegisters translated_;
  Journal journal_;
  Journal::Contents interpreted_memory_;
  Journal::Contents translated_memory_;
  CodeExit exit_;
  Rehearsal rehearsal_;
  Ignored ignored_;
  std::size_t end_ = 0;  // where translated code came to

  std::string difference_;
  Statistics statistics_;
};

}  // namespace doppel::accel::soft
