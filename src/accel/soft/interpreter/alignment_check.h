// #AC (SDM 3A 6.15, interrupt 17) for instructions with rules of their own.
#pragma once

#include <cstdint>
#include <utility>

#include "accel/soft/interpreter/cpu.h"
#include "accel/soft/interpreter/fault.h"

namespace doppel::accel::soft {

/// Accesses go unchecked for alignment: it has been looked after.
class AlignmentCheckOff {
 public:
  explicit AlignmentCheckOff(Cpu& cpu) : cpu_(cpu), before_(std::exchange(cpu.alignment_mask, 0)) {}
  ~AlignmentCheckOff() { cpu_.alignment_mask = before_; }
  AlignmentCheckOff(const AlignmentCheckOff&) = delete;
  AlignmentCheckOff& operator=(const AlignmentCheckOff&) = delete;

 private:
  Cpu& cpu_;
  const std::uint64_t before_;
};

/// For an operand whose parts are aligned to SIZE bytes, a power of two.
inline void check_alignment(const Cpu& cpu, std::uint64_t address, std::uint64_t size) {
  if ((address & cpu.alignment_mask & (size - 1)) != 0) raise(x86::kAlignmentCheck, 0);
}

}  // namespace doppel::accel::soft
