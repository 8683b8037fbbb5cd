// One guest processor as the interpreter works on it: registers, translation, memory access.
//
// Operations are free functions over Cpu, in files named after the manual's chapters; this class holds the state and
// what nearly all of them need. Everything belongs to the thread inside Vcpu::run(), but for attention.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <type_traits>
#include <vector>

#include "accel/soft/interpreter/bus_log.h"
#include "accel/soft/interpreter/fault.h"
#include "accel/soft/interpreter/fpu_state.h"
#include "accel/soft/interpreter/guest_clock.h"
#include "accel/soft/interpreter/instruction.h"
#include "accel/soft/interpreter/msr_file.h"
#include "accel/soft/mmu/tlb.h"
#include "accel/soft/runtime/attention.h"
#include "accel/soft/runtime/code_changes.h"
#include "accel/soft/runtime/guest_ram.h"
#include "accel/soft/runtime/rendezvous.h"
#include "base/bits.h"
#include "x86/cpu_state.h"
#include "x86/cpuid_table.h"
#include "x86/features.h"
#include "x86/page_table.h"
#include "x86/registers.h"

namespace doppel::accel::soft {

class Cpu;
class CpuTrace;

/// What vCPUs of one VM share.
struct Machine {
  GuestRam ram;
  Rendezvous rendezvous;
  std::vector<Cpu*> cpus;  // changed in exclusive() alone
  MsrExits msr_exits;
  GuestClock clock;
  /// Takes a single write to memory or a port that nothing else need come of, for vCPUs that are inside: a doorbell.
  /// False: the write leaves the guest. Null: so do all.
  std::function<bool(const BusAccess& write)> take_write;
  /// Stores that reached a page that held code.
  CodeChanges code_changes;

  /// A store of BY's did, at GPA: other CPUs, which may run that code without looking, are called to a safepoint.
  void code_changed(const Cpu& by, std::uint64_t gpa);
  void add(Cpu& cpu);
  void remove(Cpu& cpu);
};

enum class AccessKind : std::uint8_t { kRead, kWrite, kFetch };

/// Why the interpreter comes back; kNone: go on.
enum class StopReason : std::uint8_t {
  kNone,
  kBus,
  kHalt,
  kShutdown,
  kDebug,
  kKick,
  kIrqWindow,
  kTprLowered,
  kBudget,
  kDifference,
};

/// An operand of T in guest memory: any alignment, aliases everything.
template <class T>
struct [[gnu::packed, gnu::may_alias]] Place {
  T value;
};

/// By Instruction::address_size, bytes.
inline constexpr std::array<std::uint64_t, 9> kAddressMasks = {0, 0, 0xffff,           0, 0xffff'ffff, 0,
                                                               0, 0, ~std::uint64_t{0}};

/// A segment as accesses see it outside of 64-bit mode: offsets below END are fine, others need check_segment().
struct SegmentView {
  std::uint64_t base = 0;
  std::uint64_t read_end = 0;  // 0: never without check
  std::uint64_t write_end = 0;
  bool operator==(const SegmentView&) const = default;
};

class Cpu {
 public:
  explicit Cpu(Machine& shared);
  ~Cpu();
  Cpu(const Cpu&) = delete;
  Cpu& operator=(const Cpu&) = delete;

  // The register file; RegisterOffset indexes its bytes, so the order of these three is fixed.
  alignas(64) std::array<std::uint64_t, x86::kGprCount> gpr{};
  const std::uint64_t zero = 0;
  std::uint64_t rip = 0;
  std::uint64_t rflags = x86::rflags::kFixed;

  // Derived from the control registers, CS, SS and RFLAGS by update_mode().
  CodeMode code_mode = CodeMode::kReal16;
  MmuIndex mmu_index = MmuIndex::kSupervisor;
  std::uint8_t cpl = 0;
  bool protected_mode = false;  // CR0.PE, VM86 included
  bool long_mode = false;       // EFER.LMA
  bool vm86 = false;
  bool stack_is_32 = false;           // SS.B, outside of 64-bit mode
  std::uint64_t rip_mask = 0xffff;    // what RIP is cut to: 16-bit code keeps 32 bits too, see advance()
  std::uint8_t canonical_shift = 16;  // 64 minus the bits of a linear address
  std::uint64_t alignment_mask = 0;   // not 0: #AC is on
  std::array<SegmentView, x86::kSegmentCount> view{};

  std::array<x86::Segment, x86::kSegmentCount> segment{};
  x86::Segment tr;
  x86::Segment ldt;
  x86::DescriptorTable gdt;
  x86::DescriptorTable idt;
  std::uint64_t cr0 = 0;
  std::uint64_t cr2 = 0;
  std::uint64_t cr3 = 0;
  std::uint64_t cr4 = 0;
  std::uint64_t cr8 = 0;
  std::uint64_t efer = 0;
  std::uint64_t apic_base = 0;
  std::uint64_t xcr0 = 1;
  std::array<std::uint64_t, 4> dr{};
  std::uint64_t dr6 = x86::dr6::kReset;
  std::uint64_t dr7 = x86::dr7::kReset;
  std::array<std::uint64_t, 4> pdpte{};  // PAE paging's registers, loaded by MOV to CR3 (SDM 3A 4.4.1)

  FpuState fpu;
  MsrFile msrs;
  x86::PendingEvents events;
  x86::CpuidTable cpuid;
  x86::FeatureSet features;
  unsigned phys_bits = 40;
  unsigned id = 0;

  Machine& machine;
  Tlb tlb;
  BusLog bus;

  Attention attention;  // any thread: come to a safepoint
  std::atomic<bool> kicked{false};
  /// Set by an operation to have the block left after it: modes, interrupt state or this very code may have changed.
  bool leave_block = false;
  StopReason stop = StopReason::kNone;
  std::uint64_t pending_dr6 = 0;        // data breakpoints and T bits hit by the current instruction
  std::uint64_t instruction_start = 0;  // RIP of the current instruction
  bool irq_window_wanted = false;
  CpuTrace* trace = nullptr;  // null: nobody wants to see anything

  // Guest debugging, as Vcpu::set_debug() asks for it.
  bool host_single_step = false;
  bool host_breakpoints = false;  // INT3 leaves the guest
  bool host_owns_dr = false;      // the debugger's addresses are in force instead of the guest's
  std::array<std::uint64_t, 4> host_dr{};
  std::uint64_t host_dr7 = 0x400;

  // --- Registers ---
  template <class T>
  [[nodiscard]] T get(RegisterOffset offset) const {
    T value;
    std::memcpy(&value, file() + offset, sizeof value);
    return value;
  }
  /// A 32-bit result clears the upper half (SDM 1 3.4.1.1).
  template <class T>
  void set(RegisterOffset offset, T value) {
    if constexpr (sizeof(T) == 4) {
      const std::uint64_t wide = value;
      std::memcpy(file() + offset, &wide, sizeof wide);
    } else {
      std::memcpy(file() + offset, &value, sizeof value);
    }
  }
  [[nodiscard]] bool flag(std::uint64_t mask) const { return (rflags & mask) != 0; }
  [[nodiscard]] unsigned iopl() const { return static_cast<unsigned>(rflags >> x86::rflags::kIoplShift) & 3U; }

  [[nodiscard]] std::uint64_t effective_address(const Instruction& instruction) const {
    const std::uint64_t sum = get<std::uint64_t>(instruction.base) +
                              (get<std::uint64_t>(instruction.index) << instruction.scale) +
                              static_cast<std::uint64_t>(instruction.disp);
    return sum & kAddressMasks[instruction.address_size];
  }

  // --- Memory, by segment and offset, with the current privilege ---
  template <class T>
  [[nodiscard]] T load(x86::SegmentName name, std::uint64_t offset) {
    return load_linear<T>(linear<AccessKind::kRead>(name, offset, sizeof(T)));
  }
  template <class T>
  void store(x86::SegmentName name, std::uint64_t offset, T value) {
    store_linear<T>(linear<AccessKind::kWrite>(name, offset, sizeof(T)), value);
  }
  /// OPERATION(Place<T>& operand) reads and writes the operand in one go: on guest RAM itself where possible, so that a
  /// host LOCK prefix inside it is the guest's. ATOMIC: nobody sees a state in between, wherever the operand lies.
  template <class T, class Operation>
  void modify(x86::SegmentName name, std::uint64_t offset, bool atomic, Operation operation) {
    modify_linear<T>(linear<AccessKind::kWrite>(name, offset, sizeof(T)), atomic, operation);
  }
  template <class T, class Operation>
  void modify_linear(std::uint64_t address, bool atomic, Operation operation) {
    const TlbEntry& entry = tlb.entry(mmu_index, address);
    if (entry.write_tag == tag(address, sizeof(T))) [[likely]]
      return operation(*host_pointer<Place<T>>(entry, address));
    modify_slow(
        address, sizeof(T), atomic,
        [](void* place, void* context) { (*static_cast<Operation*>(context))(*static_cast<Place<T>*>(place)); },
        &operation);
  }

  /// Segment and limit checks (SDM 3A 5.3, 5.5; 1 3.3.7): the linear address of SIZE bytes at OFFSET.
  template <AccessKind kind>
  [[nodiscard]] std::uint64_t linear(x86::SegmentName name, std::uint64_t offset, std::uint64_t size) const {
    const SegmentView& segment_view = view[name];
    const std::uint64_t sum = segment_view.base + offset;
    if (code_mode == CodeMode::kLong64) {
      if (!is_canonical_range(sum, size)) [[unlikely]]
        raise(name == x86::kSs ? x86::kStackFault : x86::kGeneralProtection, 0);
      return sum;
    }
    const std::uint64_t end = kind == AccessKind::kWrite ? segment_view.write_end : segment_view.read_end;
    if (offset + size > end) [[unlikely]]
      check_segment(name, offset, size, kind);
    return sum & 0xffff'ffffU;
  }

  // --- Memory, by linear address, with the current privilege ---
  template <class T>
  [[nodiscard]] T load_linear(std::uint64_t address) {
    const TlbEntry& entry = tlb.entry(mmu_index, address);
    T value;
    if (entry.read_tag == tag(address, sizeof(T))) [[likely]]
      value = host_pointer<Place<T>>(entry, address)->value;
    else
      read_slow(address, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  template <class T>
  void store_linear(std::uint64_t address, T value) {
    const TlbEntry& entry = tlb.entry(mmu_index, address);
    if (entry.write_tag == tag(address, sizeof(T))) [[likely]]
      host_pointer<Place<T>>(entry, address)->value = value;
    else
      write_slow(address, std::as_bytes(std::span(&value, 1)));
  }
  void read_linear(std::uint64_t address, std::span<std::byte> out) { read_slow(address, out); }
  void write_linear(std::uint64_t address, std::span<const std::byte> data) { write_slow(address, data); }
  /// Faults as an access would, without making it; before the first store of an operation that makes several.
  void probe(std::uint64_t address, std::uint64_t size, AccessKind kind);
  /// Host memory behind SIZE bytes (within one page) if they are plain RAM that may be accessed so, else null; faults
  /// like an access. For kWrite call wrote() afterwards.
  [[nodiscard]] std::byte* direct(std::uint64_t address, std::uint64_t size, AccessKind kind);
  /// Bytes at LINEAR were stored through direct().
  void wrote(std::uint64_t address, std::uint64_t size);

  // --- Descriptor tables, TSS and the like: supervisor rights whatever the CPL (SDM 3A 4.6, "implicit") ---
  template <class T>
  [[nodiscard]] T load_system(std::uint64_t address) {
    const ImplicitSupervisor guard(*this);
    return load_linear<T>(long_mode ? address : address & 0xffff'ffffU);
  }
  template <class T>
  void store_system(std::uint64_t address, T value) {
    const ImplicitSupervisor guard(*this);
    store_linear<T>(long_mode ? address : address & 0xffff'ffffU, value);
  }
  template <class T, class Operation>
  void modify_system(std::uint64_t address, Operation operation) {
    const ImplicitSupervisor guard(*this);
    modify_linear<T>(long_mode ? address : address & 0xffff'ffffU, true, operation);
  }
  void probe_system(std::uint64_t address, std::uint64_t size, AccessKind kind) {
    const ImplicitSupervisor guard(*this);
    probe(address, size, kind);
  }

  // --- Modes ---
  /// After a change of CR0, CR4, EFER, CS, SS, any segment, or RFLAGS.VM/AC.
  void update_mode();
  /// After a change of one data segment register alone.
  void update_view(x86::SegmentName name);

  [[nodiscard]] bool has(x86::FeatureBit feature) const { return features.has(feature); }
  [[nodiscard]] unsigned linear_bits() const { return (cr4 & x86::cr4::kLa57) != 0 ? 57 : 48; }
  [[nodiscard]] bool paging() const { return (cr0 & x86::cr0::kPg) != 0; }
  /// Of the present address space, 0 without CR4.PCIDE.
  [[nodiscard]] Tlb::Pcid pcid() const {
    return (cr4 & x86::cr4::kPcide) != 0 ? static_cast<Tlb::Pcid>(cr3 & x86::cr3::kPcidMask) : Tlb::Pcid{0};
  }

  /// Rights of the kernel for as long as it lives.
  class ImplicitSupervisor {
   public:
    explicit ImplicitSupervisor(Cpu& cpu) : cpu_(cpu), index_(cpu.mmu_index), alignment_(cpu.alignment_mask) {
      cpu.mmu_index = MmuIndex::kSupervisor;
      cpu.alignment_mask = 0;
    }
    ~ImplicitSupervisor() {
      cpu_.mmu_index = index_;
      cpu_.alignment_mask = alignment_;
    }
    ImplicitSupervisor(const ImplicitSupervisor&) = delete;
    ImplicitSupervisor& operator=(const ImplicitSupervisor&) = delete;

   private:
    Cpu& cpu_;
    const MmuIndex index_;
    const std::uint64_t alignment_;
  };

 private:
  [[nodiscard]] const std::byte* file() const { return reinterpret_cast<const std::byte*>(gpr.data()); }
  [[nodiscard]] std::byte* file() { return reinterpret_cast<std::byte*>(gpr.data()); }

  /// What an entry's tag must be for SIZE bytes at ADDRESS: of another page if they cross a page's end, of none if they
  /// are misaligned and that matters.
  [[nodiscard]] std::uint64_t tag(std::uint64_t address, std::uint64_t size) const {
    return ((address + (size - 1)) & ~std::uint64_t{0xfff}) | (address & alignment_mask & (size - 1));
  }
  template <class T>
  static T* host_pointer(const TlbEntry& entry, std::uint64_t address) {
    return reinterpret_cast<T*>(entry.host + address % x86::kPageSize);
  }
  [[nodiscard]] bool is_canonical_range(std::uint64_t address, std::uint64_t size) const {
    const auto same = [shift = canonical_shift](std::uint64_t a) {
      return static_cast<std::uint64_t>(static_cast<std::int64_t>(a << shift) >> shift) == a;
    };
    // Both ends are in one page mostly, and a page is canonical or not.
    return same(address) && ((address & 0xfff) + size <= 0x1000 || same(address + size - 1));
  }

  /// The precise check; returns if the access is fine after all (expand-down segments).
  void check_segment(x86::SegmentName name, std::uint64_t offset, std::uint64_t size, AccessKind kind) const;
  void read_slow(std::uint64_t address, std::span<std::byte> out);
  void write_slow(std::uint64_t address, std::span<const std::byte> data);
  void modify_slow(std::uint64_t address, std::uint64_t size, bool atomic,
                   void (*operation)(void* place, void* context), void* context);
};

}  // namespace doppel::accel::soft
