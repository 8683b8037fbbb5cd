// The whole architectural state of one x86 logical processor, as accelerators exchange it.
//
// Plain data, no behaviour. Names follow the Intel SDM (volume 3A, chapters 2, 3, 8 and 10, unless a line says
// otherwise).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace doppel::x86 {

/// Indexes CpuState::gpr; the order is the encoding's (SDM 2A, table 2-2).
enum Gpr : std::uint8_t {
  kRax,
  kRcx,
  kRdx,
  kRbx,
  kRsp,
  kRbp,
  kRsi,
  kRdi,
  kR8,
  kR9,
  kR10,
  kR11,
  kR12,
  kR13,
  kR14,
  kR15,
};
inline constexpr unsigned kGprCount = 16;

/// Indexes CpuState::segment; the order is the encoding's.
enum SegmentName : std::uint8_t { kEs, kCs, kSs, kDs, kFs, kGs };
inline constexpr unsigned kSegmentCount = 6;

/// A segment register with its hidden part (SDM 3A 3.4.3). LIMIT is in bytes, granularity already applied.
struct Segment {
  std::uint64_t base = 0;
  std::uint32_t limit = 0xffff;
  std::uint16_t selector = 0;
  std::uint8_t type = 0;  // the descriptor's 4 type bits
  std::uint8_t dpl = 0;
  bool present = true;
  bool code_or_data = true;  // S: false for system segments (LDT, TSS)
  bool default_big = false;  // D/B
  bool long_mode = false;    // L
  bool granularity = false;  // G
  bool available = false;    // AVL
  bool unusable = false;     // loaded with a null selector
  bool operator==(const Segment&) const = default;
};

/// GDTR or IDTR.
struct DescriptorTable {
  std::uint64_t base = 0;
  std::uint16_t limit = 0xffff;
  bool operator==(const DescriptorTable&) const = default;
};

/// One model-specific register.
struct Msr {
  std::uint32_t index = 0;
  std::uint64_t value = 0;
  bool operator==(const Msr&) const = default;
};

/// What is on its way into the processor (KVM_GET_VCPU_EVENTS has the same shape).
struct PendingEvents {
  struct Exception {
    bool injected = false;  // being delivered: must be delivered again
    bool pending = false;   // raised, not begun
    std::uint8_t vector = 0;
    bool has_error_code = false;
    std::uint32_t error_code = 0;
    bool has_payload = false;
    std::uint64_t payload = 0;  // CR2 for #PF, DR6 for #DB
    bool operator==(const Exception&) const = default;
  } exception;
  struct Interrupt {
    bool injected = false;
    std::uint8_t vector = 0;
    bool soft = false;  // INT n rather than a pin
    bool operator==(const Interrupt&) const = default;
  } interrupt;
  struct Nmi {
    bool injected = false;
    bool pending = false;
    bool masked = false;  // until the next IRET
    bool operator==(const Nmi&) const = default;
  } nmi;
  bool sti_shadow = false;     // no interrupt before the next instruction has run
  bool mov_ss_shadow = false;  // the same, for MOV/POP SS
  bool smm = false;
  bool smi_pending = false;
  std::uint32_t sipi_vector = 0;
  bool operator==(const PendingEvents&) const = default;
};

/// Whether the processor runs (KVM_GET_MP_STATE has the same values).
enum class MpState : std::uint8_t {
  kRunnable = 0,
  kUninitialized = 1,
  kInitReceived = 2,
  kHalted = 3,
  kSipiReceived = 4
};

/// Size of a local APIC's register page image, in bytes (SDM 3A table 11-1), registers at their MMIO offsets.
inline constexpr std::size_t kLapicPageSize = 1024;

/// Parts of CpuState that can be read and written on their own; the cheap ones are kRegisters and kSystem.
enum class StateParts : std::uint32_t {
  kRegisters = 1U << 0,  // gpr, rip, rflags
  kSystem = 1U << 1,     // segments, tables, control registers, EFER, APIC base
  kFpu = 1U << 2,        // xsave, xcr0
  kMsrs = 1U << 3,
  kEvents = 1U << 4,
  kDebug = 1U << 5,  // dr
  kLapic = 1U << 6,  // only with an in-accelerator local APIC
  kMpState = 1U << 7,
  kAll = 0xff,
};
constexpr StateParts operator|(StateParts a, StateParts b) {
  return static_cast<StateParts>(static_cast<std::uint32_t>(a) | static_cast<std::uint32_t>(b));
}
constexpr bool contains(StateParts set, StateParts part) {
  return (static_cast<std::uint32_t>(set) & static_cast<std::uint32_t>(part)) == static_cast<std::uint32_t>(part);
}

struct CpuState {
  std::array<std::uint64_t, kGprCount> gpr{};
  std::uint64_t rip = 0;
  std::uint64_t rflags = 2;

  std::array<Segment, kSegmentCount> segment{};
  Segment tr;
  Segment ldt;
  DescriptorTable gdt;
  DescriptorTable idt;
  std::uint64_t cr0 = 0;
  std::uint64_t cr2 = 0;
  std::uint64_t cr3 = 0;
  std::uint64_t cr4 = 0;
  std::uint64_t cr8 = 0;
  std::uint64_t efer = 0;
  std::uint64_t apic_base = 0;

  std::array<std::uint64_t, 4> dr{};  // DR0 to DR3
  std::uint64_t dr6 = 0xffff0ff0;
  std::uint64_t dr7 = 0x400;

  /// The XSAVE area in standard (not compacted) format, at least the 576 bytes of x87, SSE and header.
  std::vector<std::byte> xsave;
  std::uint64_t xcr0 = 1;

  std::vector<Msr> msrs;  // sorted by index; which there are depends on the CPU model
  PendingEvents events;
  std::vector<std::byte> lapic;  // empty, or kLapicPageSize bytes
  MpState mp_state = MpState::kRunnable;

  bool operator==(const CpuState&) const = default;
};

}  // namespace doppel::x86
