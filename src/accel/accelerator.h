// The accelerator contract: three handles shaped after the kernel's KVM API (system, VM, vCPU), so that hardware and
// software virtualisation are interchangeable. tests/contract holds every implementation to it.
//
// Threads: Accelerator and Vm may be called from any thread; a Vcpu from the one thread that runs it, except where a
// line says otherwise. Handles are destroyed in reverse order of making, with no vCPU running.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "accel/exit.h"
#include "base/error.h"
#include "event/event_fd.h"
#include "memory/address.h"
#include "x86/cpu_state.h"
#include "x86/cpuid.h"

namespace doppel::memory {
class DirtyBitmap;
}

namespace doppel::accel {

/// Where the interrupt controllers (PIC, I/O APIC, local APIC) and the PIT live.
enum class IrqchipMode : std::uint8_t {
  kKernel,  // all in the accelerator
  kSplit,   // local APIC in the accelerator, the rest in hw/
  kOff,     // all in hw/
};

/// What an implementation can do on this host; asked before relying on it.
struct Capabilities {
  bool irqchip = false;
  bool split_irqchip = false;
  bool pit = false;
  bool ioeventfd = false;
  bool irqfd = false;
  bool read_only_memory = false;
  bool dirty_log = false;
  bool coalesced_io = false;
  bool msr_exits = false;
  bool msr_filter = false;
  bool guest_debug = false;
  bool nmi = false;
  bool signal_msi = false;
  unsigned max_vcpus = 1;
  unsigned max_memory_slots = 32;
};

/// How an implementation is known to deviate from real hardware on this host, found by running small guests. Tests and
/// the gdbstub read it to skip, or to take another way, with a reason.
struct Traits {
  bool interprets_kernel_code = false;    // CPL0 code runs in an emulator: slow, integer instructions only
  bool legacy_paging = true;              // 32-bit and PAE paging work
  bool protected_mode_iret = true;        // IRET and INT n work in 32-bit protected mode
  bool software_breakpoints = true;       // INT3 comes back as DebugExit
  bool data_watchpoints = true;           // DR0-DR3 data breakpoints come back as DebugExit
  bool user_mode_debug = true;            // single step and breakpoints work at CPL3
  bool user_mode_syscall = true;          // SYSCALL from CPL3 reaches CPL0
  bool user_mode_port_io = true;          // IN and OUT work at CPL3 with IOPL 3
  bool lapic_holds_isr_until_eoi = true;  // false: acts as if in automatic-EOI mode
  bool exact_cpuid = true;                // the guest sees the table that was set
  bool tsc_offset = true;                 // writing the TSC takes effect
  bool real_mode_idt_limit = true;        // a short IVT leads to a triple fault
};

enum class SlotFlags : std::uint32_t { kNone = 0, kLogDirty = 1, kReadOnly = 2 };
constexpr SlotFlags operator|(SlotFlags a, SlotFlags b) {
  return static_cast<SlotFlags>(static_cast<std::uint32_t>(a) | static_cast<std::uint32_t>(b));
}
constexpr bool has(SlotFlags set, SlotFlags flag) {
  return (static_cast<std::uint32_t>(set) & static_cast<std::uint32_t>(flag)) != 0;
}

/// Guest-physical RAM: SIZE bytes (a multiple of 4 KiB) at ADDRESS, backed by HOST, which must stay mapped.
struct MemorySlot {
  unsigned slot = 0;
  memory::GuestPhysAddr address;
  std::uint64_t size = 0;  // 0 removes the slot
  std::byte* host = nullptr;
  SlotFlags flags = SlotFlags::kNone;
  /// Where the host marks its own writes to the range, from DIRTY_OFFSET on. Without it an accelerator that remembers
  /// code forgets it at every run().
  memory::DirtyBitmap* dirty = nullptr;
  std::uint64_t dirty_offset = 0;
};

/// A message-signalled interrupt: one 32-bit write as a PCI function would make it.
struct MsiMessage {
  std::uint64_t address = 0;
  std::uint32_t data = 0;
  bool operator==(const MsiMessage&) const = default;
};

/// One row of the GSI routing table: to a pin of an in-accelerator chip, or to an MSI.
struct IrqRoute {
  enum class Target : std::uint8_t { kPicMaster, kPicSlave, kIoapic, kMsi };
  std::uint32_t gsi = 0;
  Target target = Target::kIoapic;
  std::uint32_t pin = 0;
  MsiMessage msi;
};

/// A doorbell: a guest write to ADDRESS signals an eventfd instead of leaving the guest.
struct IoEventSpec {
  memory::GuestPhysAddr address;
  bool is_port = false;
  unsigned size = 0;  // 0 (any), 1, 2, 4 or 8 bytes
  std::optional<std::uint64_t> value;
};

/// Guest debugging, as the gdbstub wants it.
struct DebugRequest {
  bool single_step = false;
  bool software_breakpoints = false;  // INT3 becomes DebugExit
  std::array<std::uint64_t, 4> address{};
  std::uint64_t dr7 = 0x400;  // 0x400: no hardware breakpoint
};

/// What inject() puts into the guest.
struct Injection {
  enum class Kind : std::uint8_t { kInterrupt, kNmi, kException };
  Kind kind = Kind::kInterrupt;
  std::uint8_t vector = 0;
  std::optional<std::uint32_t> error_code;  // kException only
};

/// One instruction carried out by somebody else, for what an accelerator cannot do itself. Given by the composition
/// root.
class InstructionFallback {
 public:
  virtual ~InstructionFallback() = default;
  /// Runs the instruction at STATE's RIP once and updates STATE. kUnsupported: it cannot either. STATE has kRegisters,
  /// kSystem and kEvents, and those are written back; other parts are fetched and stored through VCPU where needed.
  virtual Result<> execute(class Vcpu& vcpu, std::span<const std::uint8_t> instruction, x86::CpuState& state) = 0;
};

class Vcpu {
 public:
  virtual ~Vcpu() = default;

  [[nodiscard]] virtual unsigned id() const = 0;  // also the initial APIC id

  /// Runs the guest until something needs attention. An Error is the host's failure or our bug, never the guest's
  /// doing.
  virtual Result<VcpuExit> run() = 0;
  /// Any thread, async-signal-safe: the run() in progress, or else the next one, returns InterruptedExit soon.
  virtual void kick() = 0;
  /// Finishes an I/O or MMIO read whose data was just filled in, without running further guest code. Before state is
  /// read by anyone but the exit's handler, and before a pause. kBusy: the instruction needs another access or ends in
  /// an exit of its own, which the next run() hands out at once; handle that and call again.
  virtual Result<> complete_exit() = 0;

  virtual Result<> get_state(x86::CpuState& state, x86::StateParts parts) = 0;
  /// Parts not named keep their values.
  virtual Result<> set_state(const x86::CpuState& state, x86::StateParts parts) = 0;

  virtual Result<> set_cpuid(const x86::CpuidTable& table) = 0;
  [[nodiscard]] virtual Result<x86::CpuidTable> get_cpuid() = 0;

  virtual Result<> inject(const Injection& injection) = 0;
  /// As of the last exit or set_state(): would an external interrupt be accepted? IF set, no shadow, nothing injected.
  [[nodiscard]] virtual bool ready_for_interrupt() const = 0;
  /// Asks for IrqWindowExit as soon as ready_for_interrupt() holds; stays on until taken back.
  virtual void request_interrupt_window(bool wanted) = 0;
  /// CR8 as of the last exit, and what it is to be at the next entry (user-space local APIC only).
  [[nodiscard]] virtual std::uint8_t tpr() const = 0;
  virtual void set_tpr(std::uint8_t tpr) = 0;
  /// The guest's TSC minus the host's: what a local APIC in user space needs for its TSC deadline.
  [[nodiscard]] virtual std::uint64_t tsc_offset() = 0;

  virtual Result<> set_debug(const DebugRequest& request) = 0;
  /// Guest-linear to guest-physical by the vCPU's page tables; kNotFound if not mapped.
  virtual Result<memory::GuestPhysAddr> translate(std::uint64_t linear) = 0;
};

class Vm {
 public:
  virtual ~Vm() = default;

  virtual Result<> set_memory_slot(const MemorySlot& slot) = 0;
  /// Fetches and clears the slot's dirty bits: bit 0 of word 0 is its first page.
  virtual Result<std::vector<std::uint64_t>> take_dirty_log(unsigned slot) = 0;

  /// Chosen before the first vCPU. IOAPIC_PINS matter for kSplit.
  virtual Result<> create_irqchip(IrqchipMode mode, unsigned ioapic_pins = 24) = 0;
  virtual Result<> create_pit() = 0;
  /// In-accelerator chip state, opaque to all but the same implementation.
  virtual Result<std::vector<std::byte>> save_irqchip() = 0;
  virtual Result<> load_irqchip(std::span<const std::byte> saved) = 0;

  virtual Result<std::unique_ptr<Vcpu>> create_vcpu(unsigned id) = 0;

  virtual Result<> set_irq_line(std::uint32_t gsi, bool level) = 0;
  /// Replaces the whole table.
  virtual Result<> set_irq_routing(std::span<const IrqRoute> routes) = 0;
  virtual Result<> signal_msi(const MsiMessage& message) = 0;

  virtual Result<> attach_ioeventfd(const IoEventSpec& spec, const event::EventFd& event) = 0;
  virtual Result<> detach_ioeventfd(const IoEventSpec& spec, const event::EventFd& event) = 0;
  /// EVENT raises GSI; with RESAMPLE the line is level-triggered and RESAMPLE is signalled at the guest's EOI.
  virtual Result<> attach_irqfd(std::uint32_t gsi, const event::EventFd& event, const event::EventFd* resample) = 0;
  virtual Result<> detach_irqfd(std::uint32_t gsi, const event::EventFd& event) = 0;

  /// Writes in [ADDRESS, +SIZE) may be delivered late, in order, before the next exit of any vCPU.
  virtual Result<> coalesce(memory::GuestPhysAddr address, std::uint64_t size, bool is_port) = 0;
  virtual Result<> uncoalesce(memory::GuestPhysAddr address, std::uint64_t size, bool is_port) = 0;
  using CoalescedWrite =
      std::function<void(memory::GuestPhysAddr address, bool is_port, std::span<const std::byte> data)>;
  /// Hands over what has gathered.
  virtual void drain_coalesced(const CoalescedWrite& write) = 0;

  /// Guest RDMSR/WRMSR of these registers become MsrExit; those unknown to the accelerator too, if UNKNOWN.
  virtual Result<> exit_on_msrs(std::span<const std::uint32_t> indexes, bool unknown) = 0;

  /// The paravirtual clock's nanoseconds.
  virtual Result<std::uint64_t> get_clock() = 0;
  virtual Result<> set_clock(std::uint64_t ns) = 0;

  virtual void set_fallback(InstructionFallback* fallback) = 0;
};

class Accelerator {
 public:
  virtual ~Accelerator() = default;

  [[nodiscard]] virtual std::string_view name() const = 0;  // "kvm", "soft"
  [[nodiscard]] virtual const Capabilities& capabilities() const = 0;
  /// Found by running probe guests the first time it is asked; takes milliseconds.
  [[nodiscard]] virtual const Traits& traits() = 0;
  /// CPUID as this accelerator can give it to a guest at most.
  [[nodiscard]] virtual Result<x86::CpuidTable> supported_cpuid() = 0;
  /// MSRs that get_state(kMsrs) saves.
  [[nodiscard]] virtual const std::vector<std::uint32_t>& saved_msrs() const = 0;
  [[nodiscard]] virtual Result<std::unique_ptr<Vm>> create_vm() = 0;
};

}  // namespace doppel::accel
