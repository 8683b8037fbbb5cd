// Why a vCPU came back from the guest: a closed list, every one of which the run loop handles.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "memory/address.h"

namespace doppel::accel {

enum class IoDirection : std::uint8_t { kIn, kOut };  // seen from the guest

/// COUNT accesses of SIZE bytes to one port. For kIn the handler fills DATA, which stays valid until the next run().
struct IoExit {
  std::uint16_t port = 0;
  std::uint8_t size = 1;  // 1, 2 or 4
  IoDirection direction = IoDirection::kIn;
  std::uint32_t count = 1;
  std::span<std::byte> data;  // size * count bytes
};

/// One access of 1 to 8 bytes to guest-physical memory that no slot backs (or a write to a read-only slot).
struct MmioExit {
  memory::GuestPhysAddr address;
  IoDirection direction = IoDirection::kIn;
  std::span<std::byte> data;
};

struct HaltExit {};         // HLT, with interrupts handled in user space
struct IrqWindowExit {};    // an interrupt can be injected now, as asked for
struct ShutdownExit {};     // triple fault
struct InterruptedExit {};  // kick(), a signal or immediate exit
struct SetTprExit {};       // CR8 was lowered; Vcpu::tpr() has it

/// A breakpoint, watchpoint or single step asked for by set_debug().
struct DebugExit {
  std::uint8_t vector = 1;  // 1 #DB, 3 #BP
  std::uint64_t pc = 0;     // linear address
  std::uint64_t dr6 = 0;
  std::uint64_t dr7 = 0;
};

enum class SystemEventKind : std::uint8_t { kShutdown, kReset, kCrash, kOther };
struct SystemEventExit {
  SystemEventKind kind = SystemEventKind::kOther;
  std::uint32_t code = 0;
};

/// A guest RDMSR or WRMSR that the accelerator leaves to us. Set VALUE for a read; FAULT makes the guest take #GP.
struct MsrExit {
  std::uint32_t index = 0;
  IoDirection direction = IoDirection::kIn;
  std::uint64_t* value = nullptr;
  std::uint8_t* fault = nullptr;
};

/// An EOI of a level-triggered vector, with a split interrupt controller.
struct IoapicEoiExit {
  std::uint8_t vector = 0;
};

/// The accelerator met something it cannot carry out. With instruction bytes the interpreter may still do it.
struct InternalErrorExit {
  std::string why;
  std::array<std::uint8_t, 15> instruction{};
  std::uint8_t instruction_length = 0;  // bytes known, 0 if none
  bool is_emulation_failure = false;
};

/// The processor refused to enter the guest.
struct FailEntryExit {
  std::uint64_t hardware_reason = 0;
  std::uint32_t cpu = 0;
};

/// A reason newer than this program.
struct UnknownExit {
  std::uint32_t code = 0;
};

using VcpuExit =
    std::variant<IoExit, MmioExit, HaltExit, IrqWindowExit, ShutdownExit, InterruptedExit, SetTprExit, DebugExit,
                 SystemEventExit, MsrExit, IoapicEoiExit, InternalErrorExit, FailEntryExit, UnknownExit>;

/// "io out port 0x3f8 size 1", for logs and tests.
std::string describe(const VcpuExit& exit);

}  // namespace doppel::accel
