// Model-specific registers: which there are, what may be written to them, and what a write brings about (SDM volume 4;
// AMD APM 2 appendix A; the kernel's Documentation/virt/kvm/x86/msr.rst).
#pragma once

#include <cstdint>
#include <vector>

#include "accel/soft/interpreter/cpu.h"

namespace doppel::accel::soft {

enum class MsrStatus : std::uint8_t { kDone, kFault, kUnknown };
/// The host, which restores state, may set what guests can only read, and its writes have no side effects.
enum class MsrWriter : std::uint8_t { kGuest, kHost };

MsrStatus read_msr(const Cpu& cpu, std::uint32_t index, std::uint64_t& value);
MsrStatus write_msr(Cpu& cpu, std::uint32_t index, std::uint64_t value, MsrWriter writer);

/// Those that are part of a processor's saved state, sorted by index. EFER, the APIC base and the bases of FS and GS
/// have places of their own in x86::CpuState.
std::vector<std::uint32_t> saved_msr_indexes();

}  // namespace doppel::accel::soft
