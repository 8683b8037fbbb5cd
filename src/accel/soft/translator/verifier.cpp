#include "accel/soft/translator/verifier.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "accel/soft/interpreter/bit_string.h"
#include "accel/soft/interpreter/gather.h"
#include "accel/soft/interpreter/paging.h"

namespace doppel::accel::soft {

namespace {

constexpr std::uint32_t kMxcsrExceptions = 0x3f;

/// Shifts by nothing and strings of nothing leave flags as they were, undefined or not.
bool may_change_nothing(const ZydisDecodedInstruction& zydis) {
  return zydis.meta.category == ZYDIS_CATEGORY_SHIFT || zydis.meta.category == ZYDIS_CATEGORY_ROTATE ||
         zydis.meta.category == ZYDIS_CATEGORY_STRINGOP;
}

/// Flags that nobody can rely on behind an instruction, if UNDEFINED are such before it.
std::uint64_t undefined_after(const ZydisDecodedInstruction& zydis, std::uint64_t undefined) {
  if (zydis.cpu_flags == nullptr) return undefined;
  const ZydisAccessedFlags& flags = *zydis.cpu_flags;
  if (!may_change_nothing(zydis)) undefined &= ~std::uint64_t{flags.modified | flags.set_0 | flags.set_1};
  return undefined | flags.undefined;
}

}  // namespace

/// Has translated code leave before an instruction, as if that were to be interpreted. Between instructions R10 is
/// free.
class Verifier::Breakpoint {
 public:
  Breakpoint(const CodeMemory& code, const GateCode& gate, const Translation& translation, std::size_t number)
      : place_(code.writable() + translation.begin_of(number)) {
    std::memcpy(saved_.data(), place_, saved_.size());
    const std::uint32_t id = translation.id << Translation::kInstructionBits | static_cast<std::uint32_t>(number);
    const std::uint8_t* const exit = gate.exit(ExitKind::kInterpret, translation.flags_home_before(number));
    const auto distance =
        static_cast<std::int32_t>(reinterpret_cast<const std::byte*>(exit) - (place_ + saved_.size()));
    std::array<std::uint8_t, kSize> bytes = {0x41, 0xba, 0, 0, 0, 0, 0xe9};  // MOV R10D, id; JMP rel32
    std::memcpy(bytes.data() + 2, &id, sizeof id);
    std::memcpy(bytes.data() + 7, &distance, sizeof distance);
    std::memcpy(place_, bytes.data(), bytes.size());
    serialize_code();
  }
  ~Breakpoint() {
    std::memcpy(place_, saved_.data(), saved_.size());
    serialize_code();
  }
  Breakpoint(const Breakpoint&) = delete;
  Breakpoint& operator=(const Breakpoint&) = delete;

 private:
  static constexpr std::size_t kSize = 11;
  std::byte* const place_;
  std::array<std::byte, kSize> saved_{};
};

Verifier::Verifier(Cpu& cpu, CodeCache& cache, const CodeMemory& code, const GateCode& gate, std::uint64_t passes,
                   Run run)
    : cpu_(cpu), cache_(cache), code_(code), gate_(gate), passes_(passes), run_(std::move(run)) {}

void Verifier::learn(const Translation& translation, const BlockPlan& plan) {
  KnownBlock& block = known_[translation.id];
  block.instructions.clear();
  block.passes = 0;
  std::uint64_t undefined = 0;
  for (const PlannedInstruction& planned : plan.instructions) {
    block.instructions.push_back({.action = planned.action,
                                  .writes_memory = planned.writes_memory,
                                  .string = planned.string,
                                  .repeatable = planned.zydis.meta.category != ZYDIS_CATEGORY_RDRAND &&
                                                planned.zydis.meta.category != ZYDIS_CATEGORY_RDSEED,
                                  .memory_size = planned.memory_size,
                                  .flags = planned.flags_before & ~undefined,
                                  .undefined = undefined});
    // The guest goes on with the interpreter's state behind an instruction that is interpreted.
    undefined = planned.action == Action::kInterpret ? 0 : undefined_after(planned.zydis, undefined);
  }
  block.undefined_at_end = undefined;
}

bool Verifier::pass(const Translation& translation, std::uint32_t position) {
  if (is_through(translation)) {
    (void)run_(position);
    return true;
  }
  ++known_[translation.id].passes;
  constexpr unsigned kAttempts = 8;
  const Task task = task_at(translation, position);
  for (unsigned attempt = 0; attempt < kAttempts; ++attempt) {
    if (compare(task)) {
      if (attempt != 0) ++statistics_.passing;
      ++statistics_.stretches;
      statistics_.instructions += end_ - task.first;
      interpreted_.put(cpu_);
      return true;
    }
    go_back();
  }
  ++statistics_.differences;
  describe(task);
  return false;
}

Verifier::Task Verifier::task_at(const Translation& translation, std::uint32_t position) const {
  return {.translation = translation,
          .known = known_.at(translation.id),
          .position = position,
          .first = translation.first_from(position),
          .limit = translation.instruction_count};
}

/// Both have run when it returns; memory and INTERPRETED_ are what the guest may go on with.
bool Verifier::compare(const Task& task) {
  before_.take(cpu_);
  journal_.clear();
  rehearsal_ = rehearse(task);
  interpreted_.take(cpu_);
  journal_.read(interpreted_memory_);
  go_back();
  {
    std::optional<Breakpoint> hold;
    if (rehearsal_.must_stop) hold.emplace(code_, gate_, task.translation, rehearsal_.end);
    exit_ = run_(task.position);
  }
  translated_.take(cpu_);
  translated_.rip = exit_.rip;
  journal_.read(translated_memory_);
  // RIP tells whether it was the interpreter's branch that led to a guard.
  end_ = exit_.in == nullptr ? rehearsal_.end : exit_.number;
  const bool elsewhere = exit_.in != nullptr && exit_.in != &task.translation;
  if (elsewhere || end_ < task.first || end_ > rehearsal_.end) return false;
  if (end_ != rehearsal_.end || !rehearsal_.completed) replay(task, end_);
  ignored_ = {.gpr = ~task.translation.key.kind.address_mask(),
              .rflags = x86::rflags::kArithmetic & ~flags_read_behind(task),
              .mxcsr = exit_.faulted ? kMxcsrExceptions : 0,
              .x87 = exit_.faulted};
  return same(interpreted_, translated_, ignored_) && interpreted_memory_ == translated_memory_;
}

/// That must be right where translated code was left.
std::uint64_t Verifier::flags_read_behind(const Task& task) const {
  const bool inside = end_ < task.known.instructions.size();
  if (inside && !exit_.branched) return task.known.instructions[end_].flags;
  return x86::rflags::kArithmetic & ~(inside ? task.known.instructions[end_].undefined : task.known.undefined_at_end);
}

Verifier::Rehearsal Verifier::rehearse(const Task& task) {
  std::size_t n = task.first;
  for (; n < task.limit; ++n) {
    const Known& known = task.known.instructions[n];
    cpu_.rip = task.translation.rip(n);
    if (known.action == Action::kInterpret) return {.end = n};
    cpu_.rip += task.translation.guest_code(n).size();
    const Accesses accesses = accesses_of(task, n);
    const bool goes_on = accesses.known && note(accesses);
    cpu_.rip = task.translation.rip(n);
    if (!accesses.known) ++statistics_.unknown;
    if (!goes_on) return {.end = n, .completed = true, .must_stop = !accesses.known};
    try {
      execute(task.translation, n);
    } catch (const Fault&) {
      return {.end = n, .completed = false};
    } catch (const BusWait&) {
      cpu_.bus.clear();
      return {.end = n, .completed = false};
    }
    // What it did is more than registers and memory.
    if (std::exchange(cpu_.leave_block, false)) return {.end = n, .completed = false};
    if (n + 1 < task.translation.instruction_count && cpu_.rip != task.translation.rip(n + 1)) return {.end = n + 1};
  }
  return {.end = n, .completed = true, .must_stop = n < task.translation.instruction_count};
}

/// The interpreter's state and memory at END, which it is known to get to.
void Verifier::replay(const Task& task, std::size_t end) {
  go_back();
  for (std::size_t n = task.first; n < end; ++n) execute(task.translation, n);
  if (end < task.translation.instruction_count && !exit_.branched) cpu_.rip = task.translation.rip(end);
  interpreted_.take(cpu_);
  journal_.read(interpreted_memory_);
}

void Verifier::execute(const Translation& translation, std::size_t number) {
  const Instruction& instruction = translation.instruction(cache_, number);
  cpu_.instruction_start = translation.rip(number);
  cpu_.rip = cpu_.instruction_start + instruction.length;
  instruction.handler(cpu_, instruction);
}

/// RIP is behind the instruction.
Verifier::Accesses Verifier::accesses_of(const Task& task, std::size_t number) const {
  const Known& known = task.known.instructions[number];
  const Instruction& instruction = task.translation.instruction(cache_, number);
  const CodeKind& kind = task.translation.key.kind;
  const auto operand = [&](std::size_t size, bool writes) {
    const std::uint64_t linear = cpu_.view[instruction.segment].base + cpu_.effective_address(instruction);
    return GuestAccess{
        .linear = linear & kind.address_mask(), .size = size, .kind = writes ? AccessKind::kWrite : AccessKind::kRead};
  };
  Accesses accesses;
  accesses.known = known.repeatable;
  switch (known.action) {
    case Action::kVerbatim:
    case Action::kAddress:
    case Action::kNothing:
    case Action::kClearDirection:
    case Action::kSetDirection:
    case Action::kReadSelector:
    case Action::kSwapGs:
    case Action::kJump:
    case Action::kJumpIf:
    case Action::kJumpCounter: return accesses;
    case Action::kPush:
    case Action::kPop:
    case Action::kLeave:
    case Action::kCall:
    case Action::kReturn: {
      const StackAccess stack = stack_access(known.action, kind).value();
      const std::uint64_t linear = cpu_.gpr.at(stack.reg) + static_cast<std::uint64_t>(std::int64_t{stack.offset});
      accesses.add({.linear = linear & kind.address_mask(),
                    .size = kind.word(),
                    .kind = stack.writes ? AccessKind::kWrite : AccessKind::kRead});
      return accesses;
    }
    case Action::kMemory:
      accesses.known &= known.memory_size != 0;
      accesses.add(operand(known.memory_size, known.writes_memory));
      return accesses;
    case Action::kBitString: {
      const std::uint64_t linear = cpu_.view[instruction.segment].base + bit_string_offset(cpu_, instruction);
      accesses.add({.linear = linear & kind.address_mask(),
                    .size = known.memory_size,
                    .kind = known.writes_memory ? AccessKind::kWrite : AccessKind::kRead});
      return accesses;
    }
    case Action::kString: {
      const std::uint64_t mask = kind.address_mask();
      const std::uint64_t elements = instruction.repeat == Repeat::kNone ? 1 : cpu_.gpr[x86::kRcx] & mask;
      const bool in_page = elements <= x86::kPageSize / instruction.operand_size && !cpu_.flag(x86::rflags::kDf);
      // Between two pages translated code may be left; then the instruction is not as it was before.
      const auto add = [&](x86::Gpr reg, AccessKind access) {
        const std::uint64_t linear = cpu_.gpr.at(reg) & mask;
        const std::uint64_t size = elements * instruction.operand_size;
        accesses.known &= in_page && linear % x86::kPageSize + size <= x86::kPageSize;
        if (accesses.known) accesses.add({.linear = linear, .size = size, .kind = access});
      };
      if (elements == 0) return accesses;
      if (known.string.destination) add(x86::kRdi, known.string.writes ? AccessKind::kWrite : AccessKind::kRead);
      if (known.string.source) add(x86::kRsi, AccessKind::kRead);
      return accesses;
    }
    case Action::kGather: {
      const GatherOperands operands = gather_operands(instruction);
      const std::uint64_t active = active_elements(cpu_.fpu, operands);
      for (unsigned n = 0; n < operands.count; ++n) {
        if ((active >> n & 1U) == 0) continue;
        const std::uint64_t linear =
            cpu_.view[instruction.segment].base + element_offset(cpu_, instruction, operands, n);
        accesses.add({.linear = linear & kind.address_mask(),
                      .size = operands.element_size,
                      .kind = operands.scatter ? AccessKind::kWrite : AccessKind::kRead});
      }
      return accesses;
    }
    case Action::kPushMemory:
    case Action::kJumpIndirect:
    case Action::kCallIndirect:
      if (instruction.has_memory) accesses.add(operand(kind.word(), false));
      if (known.action != Action::kJumpIndirect)
        accesses.add({.linear = (cpu_.gpr[x86::kRsp] - kind.word()) & kind.address_mask(),
                      .size = kind.word(),
                      .kind = AccessKind::kWrite});
      return accesses;
    default: accesses.known = false; return accesses;
  }
}

/// Notes what is about to be written. False: not all of it is memory that translated code accesses by itself.
bool Verifier::note(const Accesses& accesses) {
  for (const GuestAccess& access : std::span(accesses.access).first(accesses.count))
    for (std::size_t done = 0; done < access.size;) {
      const std::uint64_t linear = access.linear + done;
      const std::uint64_t offset = linear % x86::kPageSize;
      const auto size = std::min<std::size_t>(access.size - done, x86::kPageSize - offset);
      const TlbEntry* const entry = direct(linear, access.kind);
      if (entry == nullptr) return false;
      if (access.kind == AccessKind::kWrite)
        journal_.add({.linear = linear, .host = reinterpret_cast<std::byte*>(entry->host + offset), .size = size});
      done += size;
    }
  return true;
}

/// The TLB's entry that lets an access of KIND pass, or null.
const TlbEntry* Verifier::direct(std::uint64_t linear, AccessKind kind) {
  if (!x86::is_canonical(linear, cpu_.linear_bits())) return nullptr;
  const TlbEntry& entry = cpu_.tlb.entry(cpu_.mmu_index, linear);
  const std::uint64_t& tag = kind == AccessKind::kWrite ? entry.write_tag : entry.read_tag;
  const std::uint64_t page = linear & ~(x86::kPageSize - 1);
  if (tag == page) return &entry;
  const std::uint64_t cr2 = cpu_.cr2;
  try {
    (void)translate(cpu_, linear, kind);
  } catch (const Fault&) {
    cpu_.cr2 = cr2;
  }
  return tag == page ? &entry : nullptr;
}

void Verifier::go_back() {
  journal_.undo();
  before_.put(cpu_);
}

}  // namespace doppel::accel::soft
