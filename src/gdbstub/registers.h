// The registers gdb sees: a table in the order of their numbers, from which reading, writing and the target description
// come. The features and their names are gdb's ("Debugging with GDB", appendix G.5.10); what gdb has no feature for
// (control registers, EFER) stands in one of our own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "x86/cpu_state.h"

namespace doppel::gdbstub {

enum class Feature : std::uint8_t { kCore, kSse, kSegments, kSystem, kAvx };

/// Where in CpuState a register lives.
enum class RegisterKind : std::uint8_t {
  kGpr,
  kRip,
  kRflags,
  kSegment,     // the selector
  kX87,         // ST(index)
  kX87Control,  // index is an X87Control
  kXmm,
  kMxcsr,
  kYmmHigh,
  kSegmentBase,
  kKernelGsBase,
  kCr0,
  kCr2,
  kCr3,
  kCr4,
  kCr8,
  kEfer,
};

/// gdb's eight x87 registers besides the stack, in its order.
enum X87Control : std::uint8_t { kFctrl, kFstat, kFtag, kFiseg, kFioff, kFoseg, kFooff, kFop };

struct Register {
  std::string name;
  std::string_view type;  // in the target description
  Feature feature = Feature::kCore;
  RegisterKind kind = RegisterKind::kGpr;
  std::uint8_t index = 0;
  std::uint8_t size = 8;  // bytes in a packet
};

/// Widest register, in bytes.
inline constexpr std::size_t kMaxRegisterSize = 16;

class RegisterTable {
 public:
  explicit RegisterTable(bool with_avx);

  /// By gdb's number.
  [[nodiscard]] std::span<const Register> registers() const { return registers_; }
  /// Of a whole g packet, in bytes.
  [[nodiscard]] std::size_t total_size() const;
  /// What of CpuState the whole table touches.
  static x86::StateParts parts();

 private:
  void add(std::string name, std::string_view type, Feature feature, RegisterKind kind, unsigned index, unsigned size);
  void add_core();
  void add_vectors(bool with_avx);
  void add_system();

  std::vector<Register> registers_;
};

/// The part of CpuState that REG lives in.
x86::StateParts parts_of(const Register& reg);
/// OUT has REG.size bytes, little-endian.
void read_register(const x86::CpuState& state, const Register& reg, std::span<std::byte> out);
/// Fails, and changes nothing, where the processor could not load VALUE the way a debugger does: another selector into
/// a segment register in protected mode, or a register that this CPU has not.
Result<> write_register(x86::CpuState& state, const Register& reg, std::span<const std::byte> value);

/// RIP as a linear address, which breakpoints are given in.
std::uint64_t linear_pc(const x86::CpuState& state);

}  // namespace doppel::gdbstub
