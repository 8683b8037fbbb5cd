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

/// The same from CPU's flags, for DOPPEL_LOAD_FLAGS.
inline std::uint16_t ax_of(const Cpu& cpu) {
  return static_cast<std::uint16_t>((cpu.rflags & 0xff) << 8U | (cpu.rflags >> 11U & 1U));
}

// Parts of asm templates: arithmetic flags from and to AX. Operations that leave some flags undefined begin with
// LOAD, since "undefined" often means "as before".
#define DOPPEL_LOAD_FLAGS "addb $0x7f, %%al\n\tsahf\n\t"
#define DOPPEL_STORE_FLAGS "\n\tlahf\n\tseto %%al"

// MNEMONIC with the suffix for an operand of %[size] bytes, where no register tells the assembler. GCC's %z would do,
// but clang has no such thing.
#define DOPPEL_SIZED(mnemonic, operands)                                                                \
  ".if %c[size] == 1\n\t" mnemonic "b " operands "\n\t.elseif %c[size] == 2\n\t" mnemonic "w " operands \
  "\n\t.elseif %c[size] == 4\n\t" mnemonic "l " operands "\n\t.else\n\t" mnemonic "q " operands "\n\t.endif"

// Each: OPERAND op= SOURCE. value() works on a register's copy and sets CPU's flags. memory() works on guest memory and
// returns the flags, as AX, for when the access is known to have succeeded; kLocked with a LOCK prefix.
// A macro, since an asm template must be a literal.
#define DOPPEL_ALU_OPERATION(name, before, mnemonic)                                         \
  struct name {                                                                              \
    template <bool kLocked, class T>                                                         \
    [[nodiscard]] static std::uint16_t memory(const Cpu& cpu, Place<T>& operand, T source) { \
      std::uint16_t ax = 0;                                                                  \
      const auto carry = static_cast<std::uint32_t>(cpu.rflags);                             \
      if constexpr (kLocked)                                                                 \
        asm volatile(before "lock " mnemonic " %[source], %[operand]" DOPPEL_STORE_FLAGS     \
                     : [operand] "+m"(operand.value), "=&a"(ax)                              \
                     : [source] "q"(source), [carry] "r"(carry)                              \
                     : "cc", "memory");                                                      \
      else                                                                                   \
        asm volatile(before mnemonic " %[source], %[operand]" DOPPEL_STORE_FLAGS             \
                     : [operand] "+m"(operand.value), "=&a"(ax)                              \
                     : [source] "q"(source), [carry] "r"(carry)                              \
                     : "cc");                                                                \
      return ax;                                                                             \
    }                                                                                        \
    template <class T>                                                                       \
    static T value(Cpu& cpu, T operand, T source) {                                          \
      std::uint16_t ax = 0;                                                                  \
      const auto carry = static_cast<std::uint32_t>(cpu.rflags);                             \
      asm(before mnemonic " %[source], %[operand]" DOPPEL_STORE_FLAGS                        \
          : [operand] "+q"(operand), "=&a"(ax)                                               \
          : [source] "q"(source), [carry] "r"(carry)                                         \
          : "cc");                                                                           \
      set_flags(cpu, ax);                                                                    \
      return operand;                                                                        \
    }                                                                                        \
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

// The same with one operand. T is spelled out by a suffix, as there is no source register to tell it.
#define DOPPEL_UNARY_OPERATION(name, before, mnemonic)                                      \
  struct name {                                                                             \
    template <bool kLocked, class T>                                                        \
    [[nodiscard]] static std::uint16_t memory(const Cpu& cpu, Place<T>& operand) {          \
      std::uint16_t ax = 0;                                                                 \
      const auto carry = static_cast<std::uint32_t>(cpu.rflags);                            \
      if constexpr (kLocked)                                                                \
        asm volatile(before DOPPEL_SIZED("lock " mnemonic, "%[operand]") DOPPEL_STORE_FLAGS \
                     : [operand] "+m"(operand.value), "=&a"(ax)                             \
                     : [carry] "r"(carry), [size] "i"(sizeof(T))                            \
                     : "cc", "memory");                                                     \
      else                                                                                  \
        asm volatile(before DOPPEL_SIZED(mnemonic, "%[operand]") DOPPEL_STORE_FLAGS         \
                     : [operand] "+m"(operand.value), "=&a"(ax)                             \
                     : [carry] "r"(carry), [size] "i"(sizeof(T))                            \
                     : "cc");                                                               \
      return ax;                                                                            \
    }                                                                                       \
    template <class T>                                                                      \
    static T value(Cpu& cpu, T operand) {                                                   \
      std::uint16_t ax = 0;                                                                 \
      const auto carry = static_cast<std::uint32_t>(cpu.rflags);                            \
      asm(before mnemonic " %[operand]" DOPPEL_STORE_FLAGS                                  \
          : [operand] "+q"(operand), "=&a"(ax)                                              \
          : [carry] "r"(carry)                                                              \
          : "cc");                                                                          \
      set_flags(cpu, ax);                                                                   \
      return operand;                                                                       \
    }                                                                                       \
  }

DOPPEL_UNARY_OPERATION(Inc, "btl $0, %[carry]\n\t", "inc");  // the carry flag stays
DOPPEL_UNARY_OPERATION(Dec, "btl $0, %[carry]\n\t", "dec");
DOPPEL_UNARY_OPERATION(Neg, "", "neg");
#undef DOPPEL_UNARY_OPERATION

}  // namespace doppel::accel::soft::alu
