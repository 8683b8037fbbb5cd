// Integer arithmetic with the host's own instructions, so that results and flags, undefined ones too, are the host's.
#pragma once

#include <cstdint>

#include "accel/soft/interpreter/cpu.h"

namespace doppel::accel::soft::alu {

/// LAHF in AH and SETO in AL, as flags. What asm statements below leave in AX.
inline std::uint64_t flags_of(std::uint16_t ax) {
  return (ax >> 8U & (x86::rflags::kArithmetic & 0xff)) | (ax & 1U) << 11U;
}
inline void set_flags(Cpu& cpu, std::uint16_t ax) {
  cpu.rflags = (cpu.rflags & ~x86::rflags::kArithmetic) | flags_of(ax);
}

// Each: OPERAND op= SOURCE, flags into CPU. OPERAND is a register's copy or guest memory; kLocked with a LOCK prefix.
// A macro, since an asm template must be a literal.
#define DOPPEL_ALU_OPERATION(name, before, mnemonic)                                       \
  struct name {                                                                            \
    template <bool kLocked, class T>                                                       \
    static void memory(Cpu& cpu, Place<T>& operand, T source) {                            \
      std::uint16_t ax = 0;                                                                \
      const auto carry = static_cast<std::uint32_t>(cpu.rflags);                           \
      if constexpr (kLocked)                                                               \
        asm volatile(before "lock " mnemonic " %[source], %[operand]\n\tlahf\n\tseto %%al" \
                     : [operand] "+m"(operand.value), "=&a"(ax)                            \
                     : [source] "q"(source), [carry] "r"(carry)                            \
                     : "cc", "memory");                                                    \
      else                                                                                 \
        asm volatile(before mnemonic " %[source], %[operand]\n\tlahf\n\tseto %%al"         \
                     : [operand] "+m"(operand.value), "=&a"(ax)                            \
                     : [source] "q"(source), [carry] "r"(carry)                            \
                     : "cc");                                                              \
      set_flags(cpu, ax);                                                                  \
    }                                                                                      \
    template <class T>                                                                     \
    static T value(Cpu& cpu, T operand, T source) {                                        \
      std::uint16_t ax = 0;                                                                \
      const auto carry = static_cast<std::uint32_t>(cpu.rflags);                           \
      asm(before mnemonic " %[source], %[operand]\n\tlahf\n\tseto %%al"                    \
          : [operand] "+q"(operand), "=&a"(ax)                                             \
          : [source] "q"(source), [carry] "r"(carry)                                       \
          : "cc");                                                                         \
      set_flags(cpu, ax);                                                                  \
      return operand;                                                                      \
    }                                                                                      \
  }

DOPPEL_ALU_OPERATION(Add, "", "add");
DOPPEL_ALU_OPERATION(Or, "", "or");
DOPPEL_ALU_OPERATION(Adc, "btl $0, %[carry]\n\t", "adc");
DOPPEL_ALU_OPERATION(Sbb, "btl $0, %[carry]\n\t", "sbb");
DOPPEL_ALU_OPERATION(And, "", "and");
DOPPEL_ALU_OPERATION(Sub, "", "sub");
DOPPEL_ALU_OPERATION(Xor, "", "xor");
DOPPEL_ALU_OPERATION(Cmp, "", "cmp");
DOPPEL_ALU_OPERATION(Test, "", "test");
#undef DOPPEL_ALU_OPERATION

}  // namespace doppel::accel::soft::alu
