// Exchanges, the building stones of locks (SDM 1 5.1.1, 7.3.1.2): XCHG, XADD, CMPXCHG, CMPXCHG8B, CMPXCHG16B. The host
// executes them on guest memory itself.
#include <array>
#include <type_traits>
#include <utility>

#include "accel/soft/interpreter/alu.h"
#include "accel/soft/interpreter/operation.h"
#include "accel/soft/interpreter/register_offset.h"

namespace doppel::accel::soft {

namespace {

namespace rflags = x86::rflags;

__extension__ using Uint128 = unsigned __int128;

// --- XCHG: with memory always locked ---

template <class T>
void xchg_rm_reg(Cpu& cpu, const Instruction& i) {
  const T value = cpu.get<T>(i.rm);
  cpu.set<T>(i.rm, cpu.get<T>(i.reg));
  cpu.set<T>(i.reg, value);
}
template <class T>
void xchg_mem_reg(Cpu& cpu, const Instruction& i) {
  T value = 0;
  const T source = cpu.get<T>(i.reg);
  cpu.modify<T>(i.segment, cpu.effective_address(i), true, [&value, source](Place<T>& place) {
    value = source;
    asm volatile("xchg %[value], %[place]" : [value] "+q"(value), [place] "+m"(place.value) : : "memory");
  });
  cpu.set<T>(i.reg, value);
}
Handler select_xchg(const Decoded& decoded, Instruction&) {
  static constexpr BySize kRegister{xchg_rm_reg<std::uint8_t>, xchg_rm_reg<std::uint16_t>, xchg_rm_reg<std::uint32_t>,
                                    xchg_rm_reg<std::uint64_t>};
  static constexpr BySize kMemory{xchg_mem_reg<std::uint8_t>, xchg_mem_reg<std::uint16_t>, xchg_mem_reg<std::uint32_t>,
                                  xchg_mem_reg<std::uint64_t>};
  return (decoded.is_memory(0) || decoded.is_memory(1) ? kMemory : kRegister).of(decoded.size(0));
}

// --- XADD ---

template <class T>
void xadd_rm_reg(Cpu& cpu, const Instruction& i) {
  const T before = cpu.get<T>(i.rm);
  const T sum = alu::Add::value(cpu, before, cpu.get<T>(i.reg));
  cpu.set<T>(i.reg, before);
  cpu.set<T>(i.rm, sum);
}

template <class T>
void xadd_mem_reg(Cpu& cpu, const Instruction& i) {
  const T source = cpu.get<T>(i.reg);
  T before = 0;
  const auto exchange = [&before, source](Place<T>& place) {
    before = source;
    asm volatile("xadd %[before], %[place]" : [before] "+q"(before), [place] "+m"(place.value) : : "cc", "memory");
  };
  const auto exchange_locked = [&before, source](Place<T>& place) {
    before = source;
    asm volatile("lock xadd %[before], %[place]" : [before] "+q"(before), [place] "+m"(place.value) : : "cc", "memory");
  };
  if (i.lock)
    cpu.modify<T>(i.segment, cpu.effective_address(i), true, exchange_locked);
  else
    cpu.modify<T>(i.segment, cpu.effective_address(i), false, exchange);
  (void)alu::Add::value(cpu, before, source);  // for the flags
  cpu.set<T>(i.reg, before);
}
Handler select_xadd(const Decoded& decoded, Instruction&) {
  static constexpr BySize kRegister{xadd_rm_reg<std::uint8_t>, xadd_rm_reg<std::uint16_t>, xadd_rm_reg<std::uint32_t>,
                                    xadd_rm_reg<std::uint64_t>};
  static constexpr BySize kMemory{xadd_mem_reg<std::uint8_t>, xadd_mem_reg<std::uint16_t>, xadd_mem_reg<std::uint32_t>,
                                  xadd_mem_reg<std::uint64_t>};
  return (decoded.is_memory(0) ? kMemory : kRegister).of(decoded.size(0));
}

// --- CMPXCHG ---

// RAX comes out with the flags as AX (alu.h); what CMPXCHG makes of it is in RESULT.
#define DOPPEL_CMPXCHG(prefix, suffix, source, operand) \
  prefix "cmpxchg" suffix " " source ", " operand "\n\tmovq %%rax, %[result]" DOPPEL_STORE_FLAGS

/// Whether the flags in AX say "equal".
bool is_equal(std::uint64_t ax) {
  return (alu::flags_of(static_cast<std::uint16_t>(ax)) & rflags::kZf) != 0;
}

/// The destination is a whole register: whether a 32-bit one's upper half survives failure is the host's answer.
template <class T>
void cmpxchg_rm_reg(Cpu& cpu, const Instruction& i) {
  using Whole = std::conditional_t<sizeof(T) == 4, std::uint64_t, T>;
  const auto source = static_cast<Whole>(cpu.get<T>(i.reg));
  auto destination = cpu.get<Whole>(i.rm);
  auto rax = cpu.get<std::uint64_t>(kAccumulator);
  std::uint64_t result = 0;
  if constexpr (sizeof(T) == 4)
    asm(DOPPEL_CMPXCHG("", "l", "%k[source]", "%k[destination]")
        : "+a"(rax), [destination] "+q"(destination), [result] "=&r"(result)
        : [source] "q"(source)
        : "cc");
  else
    asm(DOPPEL_CMPXCHG("", "", "%[source]", "%[destination]")
        : "+a"(rax), [destination] "+q"(destination), [result] "=&r"(result)
        : [source] "q"(source)
        : "cc");
  if (!is_equal(rax)) cpu.set<T>(kAccumulator, static_cast<T>(result));
  cpu.set<Whole>(i.rm, destination);
  alu::set_flags(cpu, static_cast<std::uint16_t>(rax));
}

/// Writes memory whatever the comparison says.
template <bool kLocked, class T>
void cmpxchg_mem_reg(Cpu& cpu, const Instruction& i) {
  const T source = cpu.get<T>(i.reg);
  const auto accumulator = cpu.get<std::uint64_t>(kAccumulator);
  std::uint64_t rax = 0;
  std::uint64_t result = 0;
  cpu.modify<T>(i.segment, cpu.effective_address(i), kLocked, [&](Place<T>& place) {
    rax = accumulator;
    if constexpr (kLocked)
      asm volatile(DOPPEL_CMPXCHG("lock ", "", "%[source]", "%[place]")
                   : "+a"(rax), [place] "+m"(place.value), [result] "=&r"(result)
                   : [source] "q"(source)
                   : "cc", "memory");
    else
      asm volatile(DOPPEL_CMPXCHG("", "", "%[source]", "%[place]")
                   : "+a"(rax), [place] "+m"(place.value), [result] "=&r"(result)
                   : [source] "q"(source)
                   : "cc", "memory");
  });
  if (!is_equal(rax)) cpu.set<T>(kAccumulator, static_cast<T>(result));
  alu::set_flags(cpu, static_cast<std::uint16_t>(rax));
}
#undef DOPPEL_CMPXCHG

template <bool kLocked>
constexpr BySize kCmpxchgMem{cmpxchg_mem_reg<kLocked, std::uint8_t>, cmpxchg_mem_reg<kLocked, std::uint16_t>,
                             cmpxchg_mem_reg<kLocked, std::uint32_t>, cmpxchg_mem_reg<kLocked, std::uint64_t>};

Handler select_cmpxchg(const Decoded& decoded, Instruction& instruction) {
  static constexpr BySize kRegister{cmpxchg_rm_reg<std::uint8_t>, cmpxchg_rm_reg<std::uint16_t>,
                                    cmpxchg_rm_reg<std::uint32_t>, cmpxchg_rm_reg<std::uint64_t>};
  if (!decoded.is_memory(0)) return kRegister.of(decoded.size(0));
  return (instruction.lock ? kCmpxchgMem<true> : kCmpxchgMem<false>).of(decoded.size(0));
}

// --- CMPXCHG8B, CMPXCHG16B. A missing LOCK prefix makes no difference that a guest could rely on ---

/// *PLACE becomes DESIRED if it is EXPECTED, which becomes what *PLACE was.
bool compare_and_swap(Place<std::uint64_t>& place, std::uint64_t& expected, std::uint64_t desired) {
  bool equal = false;
  asm volatile("lock cmpxchgq %[desired], %[place]"
               : "=@ccz"(equal), [place] "+m"(place.value), "+a"(expected)
               : [desired] "r"(desired)
               : "memory");
  return equal;
}
bool compare_and_swap(Place<Uint128>& place, Uint128& expected, Uint128 desired) {
  if (reinterpret_cast<std::uintptr_t>(&place) % sizeof place != 0) {
    // A copy: the guest's operand is aligned.
    const Uint128 before = place.value;
    if (before == expected) place.value = desired;
    return std::exchange(expected, before) == before;
  }
  bool equal = false;
  auto low = static_cast<std::uint64_t>(expected);
  auto high = static_cast<std::uint64_t>(expected >> 64U);
  asm volatile("lock cmpxchg16b %[place]"
               : "=@ccz"(equal), [place] "+m"(place.value), "+a"(low), "+d"(high)
               : "b"(static_cast<std::uint64_t>(desired)), "c"(static_cast<std::uint64_t>(desired >> 64U))
               : "memory");
  expected = static_cast<Uint128>(high) << 64U | low;
  return equal;
}

/// HALF is half the operand: EDX:EAX or RDX:RAX are compared with.
template <class Half, class Whole>
void cmpxchg_double(Cpu& cpu, const Instruction& i) {
  constexpr unsigned kHalfBits = 8 * sizeof(Half);
  const auto join = [&cpu](RegisterOffset high, RegisterOffset low) {
    return static_cast<Whole>(cpu.get<Half>(high)) << kHalfBits | cpu.get<Half>(low);
  };
  const std::uint64_t offset = cpu.effective_address(i);
  if constexpr (sizeof(Whole) == 16) {
    if (cpu.linear<AccessKind::kWrite>(i.segment, offset, sizeof(Whole)) % sizeof(Whole) != 0) raise_gp();
  }
  const Whole desired = join(kCounter, kBase);
  Whole found = 0;
  bool equal = false;
  cpu.modify<Whole>(i.segment, offset, true, [&](Place<Whole>& place) {
    found = join(kData, kAccumulator);
    equal = compare_and_swap(place, found, desired);
  });
  if (!equal) {
    cpu.set<Half>(kAccumulator, static_cast<Half>(found));
    cpu.set<Half>(kData, static_cast<Half>(found >> kHalfBits));
  }
  cpu.rflags = (cpu.rflags & ~rflags::kZf) | (equal ? rflags::kZf : 0);
}

template <Handler handler>
Handler always(const Decoded&, Instruction&) {
  return handler;
}

constexpr std::array kRows = {
    OperationRow{ZYDIS_MNEMONIC_XCHG, select_xchg},
    OperationRow{ZYDIS_MNEMONIC_XADD, select_xadd},
    OperationRow{ZYDIS_MNEMONIC_CMPXCHG, select_cmpxchg},
    OperationRow{ZYDIS_MNEMONIC_CMPXCHG8B, always<cmpxchg_double<std::uint32_t, std::uint64_t>>},
    OperationRow{ZYDIS_MNEMONIC_CMPXCHG16B, always<cmpxchg_double<std::uint64_t, Uint128>>},
};

}  // namespace

std::span<const OperationRow> exchange_operations() {
  return kRows;
}

}  // namespace doppel::accel::soft
