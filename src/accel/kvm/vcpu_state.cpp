// KvmVcpu's state, part by part. SDM chapters as in x86/cpu_state.h; ioctls as in the kernel's virt/kvm/api.
#include <x86intrin.h>
#include <algorithm>
#include <span>
#include <utility>

#include "accel/kvm/ioctl.h"
#include "accel/kvm/state_conversion.h"
#include "accel/kvm/vcpu.h"
#include "base/endian.h"
#include "x86/msr.h"
#include "x86/registers.h"

namespace doppel::accel::kvm {

using enum x86::StateParts;

namespace {

/// KVM_GET_MSRS and KVM_SET_MSRS take at most this many at once.
constexpr std::size_t kMsrsPerCall = 256;

/// The argument of KVM_GET_MSRS and KVM_SET_MSRS.
struct MsrBatch {
  kvm_msrs header{};
  kvm_msr_entry entries[kMsrsPerCall]{};
};
static_assert(offsetof(MsrBatch, entries) == sizeof(kvm_msrs));

constexpr std::size_t kMaxCpuidEntries = 256;

struct CpuidBuffer {
  kvm_cpuid2 header{};
  kvm_cpuid_entry2 entries[kMaxCpuidEntries]{};
};
static_assert(offsetof(CpuidBuffer, entries) == sizeof(kvm_cpuid2));

// The XSAVE area's legacy part (SDM 1, 13.4.1), for a vCPU whose state is left at its initial configuration.
constexpr std::size_t kSmallestXsave = 576;
constexpr std::size_t kFcwOffset = 0;
constexpr std::size_t kMxcsrOffset = 24;
constexpr std::uint16_t kInitialFcw = 0x37f;
constexpr std::uint32_t kInitialMxcsr = 0x1f80;

}  // namespace

bool KvmVcpu::lapic_in_kernel() const {
  return vm_.irqchip.load(std::memory_order_relaxed) != IrqchipMode::kOff;
}

std::uint32_t KvmVcpu::event_flags() const {
  return static_cast<std::uint32_t>(KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR |
                                    KVM_VCPUEVENT_VALID_SHADOW | (vm_.info.smm ? KVM_VCPUEVENT_VALID_SMM : 0) |
                                    (vm_.info.exception_payload ? KVM_VCPUEVENT_VALID_PAYLOAD : 0));
}

/// Makes the shared page hold CLASSES, asking the kernel for those that the last exit did not leave there.
Result<> KvmVcpu::fetch(std::uint64_t classes) {
  sync_.used(classes);
  return load_missing(classes);
}

Result<> KvmVcpu::load_missing(std::uint64_t classes) {
  auto& shared = run_->s.regs;
  const std::uint64_t missing = classes & ~fresh_;
  if ((missing & KVM_SYNC_X86_REGS) != 0) DOPPEL_TRY(command(fd_.get(), KVM_GET_REGS, &shared.regs, "KVM_GET_REGS"));
  if ((missing & KVM_SYNC_X86_SREGS) != 0)
    DOPPEL_TRY(command(fd_.get(), KVM_GET_SREGS, &shared.sregs, "KVM_GET_SREGS"));
  if ((missing & KVM_SYNC_X86_EVENTS) != 0)
    DOPPEL_TRY(command(fd_.get(), KVM_GET_VCPU_EVENTS, &shared.events, "KVM_GET_VCPU_EVENTS"));
  fresh_ |= missing;
  return {};
}

/// Hands the kernel now what would otherwise wait for the next entry: before another ioctl that depends on it.
Result<> KvmVcpu::flush_dirty() {
  auto& shared = run_->s.regs;
  const std::uint64_t dirty = std::exchange(run_->kvm_dirty_regs, 0);
  if ((dirty & KVM_SYNC_X86_REGS) != 0) DOPPEL_TRY(command(fd_.get(), KVM_SET_REGS, &shared.regs, "KVM_SET_REGS"));
  if ((dirty & KVM_SYNC_X86_SREGS) != 0) DOPPEL_TRY(command(fd_.get(), KVM_SET_SREGS, &shared.sregs, "KVM_SET_SREGS"));
  if ((dirty & KVM_SYNC_X86_EVENTS) != 0)
    DOPPEL_TRY(command(fd_.get(), KVM_SET_VCPU_EVENTS, &shared.events, "KVM_SET_VCPU_EVENTS"));
  return {};
}

/// What the last exit said of interrupts does not hold after a change from outside. With the local APIC in the kernel
/// its LINT0 has a say too: the next entry finds out.
Result<> KvmVcpu::update_readiness() {
  run_->ready_for_interrupt_injection = 0;
  DOPPEL_TRY(load_missing(KVM_SYNC_X86_REGS));
  run_->if_flag = (run_->s.regs.regs.rflags & x86::rflags::kIf) != 0;
  if (run_->if_flag == 0 || lapic_in_kernel()) return {};
  DOPPEL_TRY(load_missing(KVM_SYNC_X86_EVENTS));
  run_->ready_for_interrupt_injection = leaves_room_for_interrupt(run_->s.regs.events);
  return {};
}

Result<> KvmVcpu::get_state(x86::CpuState& state, x86::StateParts parts) {
  // First, because the kernel acts on pending INITs and SIPIs here, which changes registers.
  if (contains(parts, kMpState)) DOPPEL_TRY(get_mp_state(state));

  std::uint64_t classes = 0;
  if (contains(parts, kRegisters)) classes |= KVM_SYNC_X86_REGS;
  if (contains(parts, kSystem)) classes |= KVM_SYNC_X86_SREGS;
  if (contains(parts, kEvents)) classes |= KVM_SYNC_X86_EVENTS;
  if (classes != 0) DOPPEL_TRY(fetch(classes));
  if (contains(parts, kRegisters)) from_kvm(run_->s.regs.regs, state);
  if (contains(parts, kSystem)) from_kvm(run_->s.regs.sregs, state);
  if (contains(parts, kEvents)) from_kvm(run_->s.regs.events, state.events);

  if (contains(parts, kFpu)) DOPPEL_TRY(get_fpu(state));
  if (contains(parts, kMsrs)) DOPPEL_TRY(get_msrs(state.msrs));
  if (contains(parts, kDebug)) DOPPEL_TRY(get_debug_registers(state));
  if (contains(parts, kLapic)) DOPPEL_TRY(get_lapic(state));
  return {};
}

// The order matters: control registers and EFER decide what MSRs and the local APIC accept; KVM_SET_LAPIC needs the
// APIC base, the TSC deadline MSR needs the LAPIC's timer mode; KVM_SET_REGS drops pending exceptions, so events come
// last.
Result<> KvmVcpu::set_state(const x86::CpuState& state, x86::StateParts parts) {
  if (parts == kRegisters && ran_) {  // nothing to be wrong with: leave it to the next entry
    to_kvm(state, run_->s.regs.regs);
    run_->kvm_dirty_regs |= KVM_SYNC_X86_REGS & vm_.info.sync_registers;
    fresh_ |= KVM_SYNC_X86_REGS;
    user_mp_state_ = x86::MpState::kRunnable;
    if (vm_.info.sync_registers == 0) DOPPEL_TRY(command(fd_.get(), KVM_SET_REGS, &run_->s.regs.regs, "KVM_SET_REGS"));
    const bool enabled = (state.rflags & x86::rflags::kIf) != 0;
    return enabled == (run_->if_flag != 0) ? Result<>() : update_readiness();
  }
  DOPPEL_TRY(flush_dirty());
  forget();
  if (contains(parts, kSystem)) DOPPEL_TRY(set_system(state));
  if (contains(parts, kFpu)) DOPPEL_TRY(set_fpu(state));
  if (contains(parts, kLapic)) DOPPEL_TRY(set_lapic(state));
  if (contains(parts, kMsrs)) DOPPEL_TRY(set_msrs(state.msrs));
  if (contains(parts, kRegisters)) {
    kvm_regs regs;
    to_kvm(state, regs);
    DOPPEL_TRY(command(fd_.get(), KVM_SET_REGS, &regs, "cannot set the vCPU's registers"));
    user_mp_state_ = x86::MpState::kRunnable;
  }
  if (contains(parts, kDebug)) DOPPEL_TRY(set_debug_registers(state));
  if (contains(parts, kMpState)) DOPPEL_TRY(set_mp_state(state.mp_state));
  if (contains(parts, kEvents)) DOPPEL_TRY(set_events(state.events));
  return update_readiness();
}

Result<> KvmVcpu::set_system(const x86::CpuState& state) {
  kvm_sregs sregs;
  to_kvm(state, sregs);
  DOPPEL_TRY(command(fd_.get(), KVM_SET_SREGS, &sregs, "cannot set the vCPU's segments and control registers"));
  run_->cr8 = state.cr8;
  return {};
}

Result<> KvmVcpu::set_events(const x86::PendingEvents& events) {
  kvm_vcpu_events raw;
  to_kvm(events, event_flags(), raw);
  forget();
  return command(fd_.get(), KVM_SET_VCPU_EVENTS, &raw, "cannot set the vCPU's pending events");
}

Result<> KvmVcpu::get_fpu(x86::CpuState& state) {
  state.xsave.resize(vm_.xsave_size);
  DOPPEL_TRY(command(fd_.get(), vm_.info.xsave2 ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, state.xsave.data(), "KVM_GET_XSAVE"));
  state.xcr0 = 1;
  if (!vm_.info.xcrs) return {};
  kvm_xcrs registers{};
  DOPPEL_TRY(command(fd_.get(), KVM_GET_XCRS, &registers, "KVM_GET_XCRS"));
  for (const kvm_xcr& row : std::span(registers.xcrs).first(std::min<std::size_t>(registers.nr_xcrs, KVM_MAX_XCRS)))
    if (row.xcr == 0) state.xcr0 = row.value;
  return {};
}

/// Never by KVM_SET_FPU: that leaves XSTATE_BV alone, and what XSTATE_BV does not claim is lost on entry.
Result<> KvmVcpu::set_fpu(const x86::CpuState& state) {
  std::vector<std::byte> area = state.xsave;
  if (area.empty()) {  // the initial configuration
    area.resize(kSmallestXsave);
    store_le(&area[kFcwOffset], kInitialFcw);
    store_le(&area[kMxcsrOffset], kInitialMxcsr);
  }
  if (area.size() < kSmallestXsave)
    return fail(ErrorKind::kInvalidArgument, "an XSAVE area of {} bytes is too small", area.size());
  if (area.size() > vm_.xsave_size && std::any_of(area.begin() + static_cast<std::ptrdiff_t>(vm_.xsave_size),
                                                  area.end(), [](std::byte b) { return b != std::byte{0}; }))
    return fail(ErrorKind::kUnsupported, "the XSAVE area of {} bytes holds state that this host's KVM cannot take",
                area.size());
  area.resize(vm_.xsave_size);
  DOPPEL_TRY(command(fd_.get(), KVM_SET_XSAVE, area.data(), "cannot set the vCPU's floating-point registers"));
  if (!vm_.info.xcrs) return {};
  kvm_xcrs registers{};
  registers.nr_xcrs = 1;
  registers.xcrs[0].value = state.xcr0;
  return command(fd_.get(), KVM_SET_XCRS, &registers, "cannot set the vCPU's XCR0");
}

/// The kernel stops at the first register that this guest does not have; it is left out, and the rest goes on.
Result<> KvmVcpu::get_msrs(std::vector<x86::Msr>& msrs) {
  const std::vector<std::uint32_t>& indexes = vm_.info.saved_msrs;
  msrs.clear();
  for (std::size_t next = 0; next < indexes.size();) {
    MsrBatch batch;
    const std::size_t count = std::min(indexes.size() - next, kMsrsPerCall);
    for (std::size_t i = 0; i < count; ++i) batch.entries[i].index = indexes[next + i];
    batch.header.nmsrs = static_cast<std::uint32_t>(count);
    DOPPEL_ASSIGN(const int done, checked_ioctl(fd_.get(), KVM_GET_MSRS, &batch, "KVM_GET_MSRS"));
    const auto read = static_cast<std::size_t>(done);
    for (const kvm_msr_entry& entry : std::span(batch.entries).first(read)) msrs.push_back({entry.index, entry.data});
    next += read == count ? count : read + 1;
  }
  return {};
}

/// A register that refuses its own present value is read-only here, and nothing is lost; any other refusal is reported
/// once all others are written.
Result<> KvmVcpu::set_msrs(const std::vector<x86::Msr>& msrs) {
  const x86::Msr* refused = nullptr;
  for (std::size_t next = 0; next < msrs.size();) {
    MsrBatch batch;
    const std::size_t count = std::min(msrs.size() - next, kMsrsPerCall);
    for (std::size_t i = 0; i < count; ++i) {
      batch.entries[i].index = msrs[next + i].index;
      batch.entries[i].data = msrs[next + i].value;
    }
    batch.header.nmsrs = static_cast<std::uint32_t>(count);
    DOPPEL_ASSIGN(const int done, checked_ioctl(fd_.get(), KVM_SET_MSRS, &batch, "KVM_SET_MSRS"));
    const auto written = static_cast<std::size_t>(done);
    next += written;
    if (written == count) continue;
    const x86::Msr& culprit = msrs[next++];
    MsrBatch present;
    present.header.nmsrs = 1;
    present.entries[0].index = culprit.index;
    const bool readable = retry_ioctl(fd_.get(), KVM_GET_MSRS, &present) == 1;
    if (!readable || present.entries[0].data != culprit.value) refused = &culprit;
  }
  if (refused == nullptr) return {};
  return fail(ErrorKind::kUnsupported, "this host's KVM refuses the value {:#x} for MSR {:#x}", refused->value,
              refused->index);
}

std::uint64_t KvmVcpu::tsc_offset() {
  MsrBatch tsc;
  tsc.header.nmsrs = 1;
  tsc.entries[0].index = x86::msr::kTsc;
  if (retry_ioctl(fd_.get(), KVM_GET_MSRS, &tsc) != 1) return 0;
  return tsc.entries[0].data - __rdtsc();
}

Result<> KvmVcpu::get_debug_registers(x86::CpuState& state) {
  kvm_debugregs registers{};
  DOPPEL_TRY(command(fd_.get(), KVM_GET_DEBUGREGS, &registers, "KVM_GET_DEBUGREGS"));
  from_kvm(registers, state);
  return {};
}

Result<> KvmVcpu::set_debug_registers(const x86::CpuState& state) {
  kvm_debugregs registers;
  to_kvm(state, registers);
  return command(fd_.get(), KVM_SET_DEBUGREGS, &registers, "cannot set the vCPU's debug registers");
}

Result<> KvmVcpu::get_lapic(x86::CpuState& state) {
  state.lapic.clear();
  if (!lapic_in_kernel()) return {};
  static_assert(sizeof(kvm_lapic_state) == x86::kLapicPageSize);
  state.lapic.resize(sizeof(kvm_lapic_state));
  return command(fd_.get(), KVM_GET_LAPIC, state.lapic.data(), "KVM_GET_LAPIC");
}

Result<> KvmVcpu::set_lapic(const x86::CpuState& state) {
  if (!lapic_in_kernel() || state.lapic.empty()) return {};
  if (state.lapic.size() != sizeof(kvm_lapic_state))
    return fail(ErrorKind::kInvalidArgument, "a local APIC image has {} bytes, not {}", sizeof(kvm_lapic_state),
                state.lapic.size());
  return command(fd_.get(), KVM_SET_LAPIC, state.lapic.data(), "cannot set the vCPU's local APIC");
}

Result<> KvmVcpu::get_mp_state(x86::CpuState& state) {
  if (!lapic_in_kernel()) {
    state.mp_state = user_mp_state_;
    return {};
  }
  DOPPEL_TRY(flush_dirty());
  forget();
  kvm_mp_state raw{};
  DOPPEL_TRY(command(fd_.get(), KVM_GET_MP_STATE, &raw, "KVM_GET_MP_STATE"));
  state.mp_state = static_cast<x86::MpState>(raw.mp_state);
  return {};
}

Result<> KvmVcpu::set_mp_state(x86::MpState mp_state) {
  if (!lapic_in_kernel()) {
    user_mp_state_ = mp_state;
    return {};
  }
  ran_ = false;  // an uninitialized processor's next entry does not take dirty registers
  const kvm_mp_state raw{.mp_state = static_cast<std::uint32_t>(mp_state)};
  return command(fd_.get(), KVM_SET_MP_STATE, &raw, "cannot set whether the vCPU runs");
}

Result<> KvmVcpu::set_cpuid(const x86::CpuidTable& table) {
  if (table.size() > kMaxCpuidEntries)
    return fail(ErrorKind::kInvalidArgument, "a CPUID table of {} entries; KVM takes {}", table.size(),
                kMaxCpuidEntries);
  DOPPEL_TRY(flush_dirty());
  forget();
  auto buffer = std::make_unique<CpuidBuffer>();
  buffer->header.nent = static_cast<std::uint32_t>(table.size());
  std::ranges::transform(table, buffer->entries, [](const x86::CpuidEntry& entry) { return to_kvm(entry); });
  return command(fd_.get(), KVM_SET_CPUID2, buffer.get(), "KVM refuses the CPUID table");
}

Result<x86::CpuidTable> KvmVcpu::get_cpuid() {
  auto buffer = std::make_unique<CpuidBuffer>();
  buffer->header.nent = kMaxCpuidEntries;
  DOPPEL_TRY(command(fd_.get(), KVM_GET_CPUID2, buffer.get(), "KVM_GET_CPUID2"));
  x86::CpuidTable table;
  for (const kvm_cpuid_entry2& entry : std::span(buffer->entries).first(buffer->header.nent))
    table.push_back(from_kvm(entry));
  return table;
}

}  // namespace doppel::accel::kvm
