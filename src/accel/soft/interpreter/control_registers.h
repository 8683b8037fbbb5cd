// Control, debug and EFER registers: what may be written to them, and what a write brings about (SDM
// 3A 2.5, 2.2.1, 4.1, 9.8.5, 17.2).
#pragma once

#include <cstdint>

#include "accel/soft/interpreter/cpu.h"

namespace doppel::accel::soft {

/// Bits that a processor with FEATURES has in CR4 and EFER.
std::uint64_t cr4_bits(const x86::FeatureSet& features);
std::uint64_t efer_bits(const x86::FeatureSet& features);

// Writes by the guest: #GP(0) for what is not allowed, and then nothing has changed.
void write_cr0(Cpu& cpu, std::uint64_t value);
void write_cr3(Cpu& cpu, std::uint64_t value);
void write_cr4(Cpu& cpu, std::uint64_t value);
void write_cr8(Cpu& cpu, std::uint64_t value);
/// False: #GP. EFER.LMA stays as it is.
[[nodiscard]] bool write_efer(Cpu& cpu, std::uint64_t value);

/// DR4 and DR5 are DR6 and DR7 by another name; N is 0 to 7.
std::uint64_t read_debug_register(const Cpu& cpu, unsigned n);
void write_debug_register(Cpu& cpu, unsigned n, std::uint64_t value);

/// DR6 and DR7 with their fixed bits as they always read.
std::uint64_t dr6_with_fixed_bits(std::uint64_t value);
std::uint64_t dr7_with_fixed_bits(std::uint64_t value);

/// Could a processor be in this state? Asked before a state from outside is taken over.
[[nodiscard]] bool is_consistent(const x86::FeatureSet& features, unsigned phys_bits, std::uint64_t cr0,
                                 std::uint64_t cr3, std::uint64_t cr4, std::uint64_t efer);

}  // namespace doppel::accel::soft
