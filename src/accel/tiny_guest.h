// Memory image and start states of tiny guests: a few instructions, run to learn how an accelerator behaves. For the
// probes behind Traits and for tests.
//
// The guest's memory begins at guest-physical 0 and is laid out as below. All of the first 4 GiB is mapped to itself,
// for every privilege level, in 32-bit (with paging) and in 64-bit mode.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "accel/accelerator.h"
#include "base/error.h"
#include "x86/cpu_state.h"

namespace doppel::accel::tiny {

enum class Mode : std::uint8_t {
  kReal16,       // CS base 0
  kProtected32,  // flat, CPL 0, no paging
  kPaged32,      // the same with 32-bit paging (4 MiB pages)
  kLong64,       // CPL 0
  kUser64,       // CPL 3, IOPL 3
};

// Layout, in bytes from guest-physical 0.
inline constexpr std::uint64_t kGdt = 0x1000;
inline constexpr std::uint64_t kTss = 0x1400;
inline constexpr std::uint64_t kIdt = 0x2000;      // 256 gates of 16 bytes; 8 in 32-bit mode
inline constexpr std::uint64_t kCode = 0x4000;     // where programs go by habit
inline constexpr std::uint64_t kHandler = 0x6000;  // and their interrupt handlers
inline constexpr std::uint64_t kData = 0x8000;     // free
inline constexpr std::uint64_t kStackTop = 0xf000;
inline constexpr std::uint64_t kKernelStackTop = 0xe000;  // where CPL 3 is interrupted to
inline constexpr std::uint64_t kPml4 = 0x10000;
inline constexpr std::uint64_t kPageDirectories = 0x12000;  // four, of 2 MiB pages
inline constexpr std::uint64_t kPageDirectory32 = 0x16000;
inline constexpr std::size_t kMemorySize = 0x18000;

// Selectors. The order serves SYSCALL and SYSRET (SDM 3A 5.8.8): STAR = kSyscallStar.
inline constexpr std::uint16_t kCode32 = 0x08;
inline constexpr std::uint16_t kData32 = 0x10;
inline constexpr std::uint16_t kCode64 = 0x18;
inline constexpr std::uint16_t kData64 = 0x20;
inline constexpr std::uint16_t kUserCode32 = 0x2b;
inline constexpr std::uint16_t kUserData = 0x33;
inline constexpr std::uint16_t kUserCode64 = 0x3b;
inline constexpr std::uint16_t kTssSelector = 0x40;
inline constexpr std::uint64_t kSyscallStar = std::uint64_t{0x28} << 48 | std::uint64_t{kCode64} << 32;

/// Writes descriptors, TSS and page tables. MEMORY is at least kMemorySize bytes, zeroed.
void write_tables(std::span<std::byte> memory);

/// Puts an interrupt gate for VECTOR, callable from CPL 3, into the IDT (kReal16: the IVT) of MODE.
void write_gate(std::span<std::byte> memory, Mode mode, std::uint8_t vector, std::uint64_t handler);

/// Makes STATE's registers, system registers and events those of a guest about to run RIP in MODE, interrupts off.
/// The APIC base stays.
void set_start_state(x86::CpuState& state, Mode mode, std::uint64_t rip);

/// The same on a vCPU.
Result<> start(Vcpu& vcpu, Mode mode, std::uint64_t rip = kCode);

}  // namespace doppel::accel::tiny
