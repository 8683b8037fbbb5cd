// String operations (SDM 1 7.3.9): MOVS, STOS, LODS, CMPS, SCAS, alone and repeated.
//
// A repeated operation commits registers after every element, or after a run of elements in plain memory. It stops when
// something may have to come in between and is then executed anew for the rest, like interrupted ones on a processor.
#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "accel/soft/interpreter/alu.h"
#include "accel/soft/interpreter/operation.h"
#include "accel/soft/interpreter/register_offset.h"

namespace doppel::accel::soft {

namespace {

namespace rflags = x86::rflags;

constexpr std::uint64_t kPageSize = 4096;

// T, below, is the element and A the width of addresses and of the counter.

bool goes_down(const Cpu& cpu) {
  return cpu.flag(rflags::kDf);
}
/// Moves RSI or RDI by COUNT elements.
template <class T, class A>
void advance(Cpu& cpu, RegisterOffset reg, std::uint64_t count = 1) {
  const std::uint64_t distance = count * sizeof(T);
  const std::uint64_t before = cpu.get<A>(reg);
  cpu.set<A>(reg, static_cast<A>(goes_down(cpu) ? before - distance : before + distance));
}

/// Elements that lie side by side in host memory, to be had without further checks.
struct Run {
  std::uint64_t count = 0;
  std::byte* lowest = nullptr;  // host address of the element with the lowest address
};

/// How many elements from OFFSET on, in the direction of DF, lie in ADDRESS's page, the segment and the address space.
template <class T, class A>
std::uint64_t elements_in_reach(const Cpu& cpu, std::uint64_t end, A offset, std::uint64_t address) {
  const std::uint64_t in_page = address % kPageSize;
  if (in_page + sizeof(T) > kPageSize) return 0;
  const bool has_limit = cpu.code_mode != CodeMode::kLong64;
  if (has_limit && end <= offset) return 1;  // an expand-down segment
  if (goes_down(cpu)) return std::min<std::uint64_t>(in_page, offset) / sizeof(T) + 1;
  std::uint64_t room = kPageSize - in_page;
  if (sizeof(A) < 8) room = std::min<std::uint64_t>(room, std::uint64_t{std::numeric_limits<A>::max()} - offset + 1);
  if (has_limit) room = std::min(room, end - offset);
  return room / sizeof(T);
}

/// At most MOST elements from OFFSET on; none if the page is not in the TLB or not plain memory. Faults like an access
/// to the first by segmentation alone.
template <class T, class A, AccessKind kKind>
Run run_of(Cpu& cpu, x86::SegmentName name, A offset, std::uint64_t most) {
  constexpr bool kWrite = kKind == AccessKind::kWrite;
  const std::uint64_t address = cpu.linear<kKind>(name, offset, sizeof(T));
  const TlbEntry& entry = cpu.tlb.entry(cpu.mmu_index, address);
  if ((kWrite ? entry.write_tag : entry.read_tag) != (address & ~(kPageSize - 1)) || cpu.alignment_mask != 0) return {};
  const std::uint64_t end = kWrite ? cpu.view[name].write_end : cpu.view[name].read_end;
  const std::uint64_t count = std::min(most, elements_in_reach<T, A>(cpu, end, offset, address));
  if (count == 0) return {};
  auto* const first = reinterpret_cast<std::byte*>(entry.host + address % kPageSize);
  return {.count = count, .lowest = goes_down(cpu) ? first - (count - 1) * sizeof(T) : first};
}

/// Copies COUNT elements one after the other, as far as anybody can tell: where the destination overtakes the source,
/// elements are copied that were written before.
template <class T>
void copy_elements(std::byte* to, const std::byte* from, std::uint64_t count, bool down) {
  const auto destination = reinterpret_cast<std::uintptr_t>(to);
  const auto source = reinterpret_cast<std::uintptr_t>(from);
  const bool overtakes = down ? source - destination < count * sizeof(T) : destination - source < count * sizeof(T);
  if (!overtakes || destination == source) {
    std::memmove(to, from, count * sizeof(T));
    return;
  }
  for (std::uint64_t n = 0; n < count; ++n) {
    const std::uint64_t place = (down ? count - 1 - n : n) * sizeof(T);
    T element;
    std::memcpy(&element, from + place, sizeof element);
    std::memcpy(to + place, &element, sizeof element);
  }
}

template <class T>
void fill_elements(std::byte* to, T element, std::uint64_t count) {
  const auto low = static_cast<std::uint8_t>(element);
  if (element == static_cast<T>(low * (std::numeric_limits<T>::max() / 0xffU)))
    std::memset(to, low, count * sizeof(T));
  else
    std::fill_n(reinterpret_cast<Place<T>*>(to), count, Place<T>{element});
}

// Each operation: one() carries out one element. many() carries out at most MOST at once, and returns how many; none
// if one() must be used. kCompares: a repetition ends by ZF, too.

template <class T, class A>
struct Movs {
  static constexpr bool kCompares = false;
  static void one(Cpu& cpu, const Instruction& i) {
    const T element = cpu.load<T>(i.segment, cpu.get<A>(kSource));
    cpu.store<T>(x86::kEs, cpu.get<A>(kDestination), element);
    advance<T, A>(cpu, kSource);
    advance<T, A>(cpu, kDestination);
  }
  static std::uint64_t many(Cpu& cpu, const Instruction& i, std::uint64_t most) {
    const Run from = run_of<T, A, AccessKind::kRead>(cpu, i.segment, cpu.get<A>(kSource), most);
    if (from.count == 0) return 0;
    const Run to = run_of<T, A, AccessKind::kWrite>(cpu, x86::kEs, cpu.get<A>(kDestination), from.count);
    if (to.count == 0) return 0;
    const bool down = goes_down(cpu);
    copy_elements<T>(to.lowest, down ? from.lowest + (from.count - to.count) * sizeof(T) : from.lowest, to.count, down);
    advance<T, A>(cpu, kSource, to.count);
    advance<T, A>(cpu, kDestination, to.count);
    return to.count;
  }
};

template <class T, class A>
struct Stos {
  static constexpr bool kCompares = false;
  static void one(Cpu& cpu, const Instruction&) {
    cpu.store<T>(x86::kEs, cpu.get<A>(kDestination), cpu.get<T>(kAccumulator));
    advance<T, A>(cpu, kDestination);
  }
  static std::uint64_t many(Cpu& cpu, const Instruction&, std::uint64_t most) {
    const Run to = run_of<T, A, AccessKind::kWrite>(cpu, x86::kEs, cpu.get<A>(kDestination), most);
    if (to.count == 0) return 0;
    fill_elements<T>(to.lowest, cpu.get<T>(kAccumulator), to.count);
    advance<T, A>(cpu, kDestination, to.count);
    return to.count;
  }
};

template <class T, class A>
struct Lods {
  static constexpr bool kCompares = false;
  static void one(Cpu& cpu, const Instruction& i) {
    cpu.set<T>(kAccumulator, cpu.load<T>(i.segment, cpu.get<A>(kSource)));
    advance<T, A>(cpu, kSource);
  }
  static std::uint64_t many(Cpu&, const Instruction&, std::uint64_t) { return 0; }
};

template <class T, class A>
struct Cmps {
  static constexpr bool kCompares = true;
  static void one(Cpu& cpu, const Instruction& i) {
    const T left = cpu.load<T>(i.segment, cpu.get<A>(kSource));
    const T right = cpu.load<T>(x86::kEs, cpu.get<A>(kDestination));
    (void)alu::Cmp::value(cpu, left, right);
    advance<T, A>(cpu, kSource);
    advance<T, A>(cpu, kDestination);
  }
  static std::uint64_t many(Cpu&, const Instruction&, std::uint64_t) { return 0; }
};

template <class T, class A>
struct Scas {
  static constexpr bool kCompares = true;
  static void one(Cpu& cpu, const Instruction&) {
    const T element = cpu.load<T>(x86::kEs, cpu.get<A>(kDestination));
    (void)alu::Cmp::value(cpu, cpu.get<T>(kAccumulator), element);
    advance<T, A>(cpu, kDestination);
  }
  static std::uint64_t many(Cpu&, const Instruction&, std::uint64_t) { return 0; }
};

// --- Repetition ---

/// Must something be looked after before the next element? A trap, an answered bus access, another thread's request,
/// code that was written to.
bool is_interrupted(const Cpu& cpu) {
  return cpu.leave_block || cpu.pending_dr6 != 0 || !cpu.bus.empty() || cpu.attention.requested();
}

template <class Op, class A>
void repeated(Cpu& cpu, const Instruction& i) {
  constexpr unsigned kRounds = 64;  // elements or runs, before interrupts are looked for
  // A single step is one element (SDM 3B 18.3.1.4).
  const bool steps = cpu.flag(rflags::kTf) || cpu.host_single_step;
  for (unsigned round = 0; round < kRounds; ++round) {
    const auto count = cpu.get<A>(kCounter);
    if (count == 0) return;
    std::uint64_t done = steps ? 0 : Op::many(cpu, i, count);
    if (done == 0) {
      Op::one(cpu, i);
      done = 1;
    }
    cpu.set<A>(kCounter, static_cast<A>(count - done));
    if (Op::kCompares && cpu.flag(rflags::kZf) != (i.repeat == Repeat::kRep)) return;
    if (steps || is_interrupted(cpu)) break;
  }
  if (cpu.get<A>(kCounter) == 0) return;
  cpu.rip = cpu.instruction_start;
  cpu.leave_block = true;
}

// --- Selection ---

/// The last of the two repeat prefixes counts, and with MOVS, STOS and LODS either means REP.
Repeat repeat_prefix(const Decoded& decoded) {
  Repeat result = Repeat::kNone;
  for (unsigned n = 0; n < decoded.zydis.raw.prefix_count; ++n) {
    const std::uint8_t prefix = decoded.zydis.raw.prefixes[n].value;
    if (prefix == 0xf2) result = Repeat::kRepne;
    if (prefix == 0xf3) result = Repeat::kRep;
  }
  return result;
}

template <class Op, class A>
Handler select_repeat(const Instruction& instruction) {
  return instruction.repeat == Repeat::kNone ? static_cast<Handler>(Op::one) : repeated<Op, A>;
}

template <template <class, class> class Op, class T>
Handler select(const Decoded& decoded, Instruction& instruction) {
  if (decoded.zydis.opcode_map != ZYDIS_OPCODE_MAP_DEFAULT) return nullptr;  // MOVSD, CMPSD of SSE2
  instruction.repeat = repeat_prefix(decoded);
  switch (instruction.address_size) {
    case 2: return select_repeat<Op<T, std::uint16_t>, std::uint16_t>(instruction);
    case 4: return select_repeat<Op<T, std::uint32_t>, std::uint32_t>(instruction);
    default: return select_repeat<Op<T, std::uint64_t>, std::uint64_t>(instruction);
  }
}

constexpr std::array kRows = {
    OperationRow{ZYDIS_MNEMONIC_MOVSB, select<Movs, std::uint8_t>},
    OperationRow{ZYDIS_MNEMONIC_MOVSW, select<Movs, std::uint16_t>},
    OperationRow{ZYDIS_MNEMONIC_MOVSD, select<Movs, std::uint32_t>},
    OperationRow{ZYDIS_MNEMONIC_MOVSQ, select<Movs, std::uint64_t>},
    OperationRow{ZYDIS_MNEMONIC_STOSB, select<Stos, std::uint8_t>},
    OperationRow{ZYDIS_MNEMONIC_STOSW, select<Stos, std::uint16_t>},
    OperationRow{ZYDIS_MNEMONIC_STOSD, select<Stos, std::uint32_t>},
    OperationRow{ZYDIS_MNEMONIC_STOSQ, select<Stos, std::uint64_t>},
    OperationRow{ZYDIS_MNEMONIC_LODSB, select<Lods, std::uint8_t>},
    OperationRow{ZYDIS_MNEMONIC_LODSW, select<Lods, std::uint16_t>},
    OperationRow{ZYDIS_MNEMONIC_LODSD, select<Lods, std::uint32_t>},
    OperationRow{ZYDIS_MNEMONIC_LODSQ, select<Lods, std::uint64_t>},
    OperationRow{ZYDIS_MNEMONIC_CMPSB, select<Cmps, std::uint8_t>},
    OperationRow{ZYDIS_MNEMONIC_CMPSW, select<Cmps, std::uint16_t>},
    OperationRow{ZYDIS_MNEMONIC_CMPSD, select<Cmps, std::uint32_t>},
    OperationRow{ZYDIS_MNEMONIC_CMPSQ, select<Cmps, std::uint64_t>},
    OperationRow{ZYDIS_MNEMONIC_SCASB, select<Scas, std::uint8_t>},
    OperationRow{ZYDIS_MNEMONIC_SCASW, select<Scas, std::uint16_t>},
    OperationRow{ZYDIS_MNEMONIC_SCASD, select<Scas, std::uint32_t>},
    OperationRow{ZYDIS_MNEMONIC_SCASQ, select<Scas, std::uint64_t>},
};

}  // namespace

std::span<const OperationRow> string_operations() {
  return kRows;
}

}  // namespace doppel::accel::soft
