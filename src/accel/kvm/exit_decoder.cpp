#include "accel/kvm/exit_decoder.h"

#include <fmt/format.h>

#include <algorithm>

namespace doppel::accel::kvm {

namespace {

IoExit decode_io(kvm_run& run) {
  const auto& io = run.io;
  auto* data = reinterpret_cast<std::byte*>(&run) + io.data_offset;
  return {
      .port = io.port,
      .size = io.size,
      .direction = io.direction == KVM_EXIT_IO_OUT ? IoDirection::kOut : IoDirection::kIn,
      .count = io.count,
      .data = {data, std::size_t{io.size} * io.count},
  };
}

MmioExit decode_mmio(kvm_run& run) {
  auto& mmio = run.mmio;
  return {
      .address = {mmio.phys_addr},
      .direction = mmio.is_write != 0 ? IoDirection::kOut : IoDirection::kIn,
      .data = std::as_writable_bytes(std::span(mmio.data).first(std::min<std::size_t>(mmio.len, sizeof mmio.data))),
  };
}

DebugExit decode_debug(const kvm_run& run) {
  const auto& debug = run.debug.arch;
  return {.vector = static_cast<std::uint8_t>(debug.exception), .pc = debug.pc, .dr6 = debug.dr6, .dr7 = debug.dr7};
}

MsrExit decode_msr(kvm_run& run, IoDirection direction) {
  run.msr.error = 0;
  // The kernel's __u64 and std::uint64_t are different types of the same size and alignment.
  return {.index = run.msr.index,
          .direction = direction,
          .value = reinterpret_cast<std::uint64_t*>(&run.msr.data),
          .fault = &run.msr.error};
}

SystemEventExit decode_system_event(const kvm_run& run) {
  SystemEventExit exit{.kind = SystemEventKind::kOther, .code = run.system_event.type};
  switch (run.system_event.type) {
    case KVM_SYSTEM_EVENT_SHUTDOWN: exit.kind = SystemEventKind::kShutdown; break;
    case KVM_SYSTEM_EVENT_RESET: exit.kind = SystemEventKind::kReset; break;
    case KVM_SYSTEM_EVENT_CRASH: exit.kind = SystemEventKind::kCrash; break;
    default: break;
  }
  return exit;
}

std::string internal_error_reason(const kvm_run& run) {
  switch (run.internal.suberror) {
    case KVM_INTERNAL_ERROR_EMULATION: return "KVM cannot emulate an instruction";
    case KVM_INTERNAL_ERROR_SIMUL_EX: return "KVM met exceptions at the same time";
    case KVM_INTERNAL_ERROR_DELIVERY_EV: return "KVM could not deliver an event to the guest";
    case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON: return "KVM does not know why the processor left the guest";
    default: return fmt::format("KVM reports internal error {}", run.internal.suberror);
  }
}

}  // namespace

InternalErrorExit decode_internal_error(const kvm_run& run) {
  InternalErrorExit exit;
  exit.why = internal_error_reason(run);
  exit.is_emulation_failure = run.internal.suberror == KVM_INTERNAL_ERROR_EMULATION;
  if (!exit.is_emulation_failure) return exit;
  // The flags are the first of ndata 64-bit words, the instruction the second and third. Older kernels and failed
  // fetches leave it out, and what is there then is stale.
  const auto& failure = run.emulation_failure;
  if (failure.ndata < 3 || (failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES) == 0) return exit;
  const std::size_t length = std::min<std::size_t>(failure.insn_size, exit.instruction.size());
  std::copy_n(failure.insn_bytes, length, exit.instruction.begin());
  exit.instruction_length = static_cast<std::uint8_t>(length);
  return exit;
}

VcpuExit decode_exit(kvm_run& run) {
  switch (run.exit_reason) {
    case KVM_EXIT_IO: return decode_io(run);
    case KVM_EXIT_MMIO: return decode_mmio(run);
    case KVM_EXIT_HLT: return HaltExit{};
    case KVM_EXIT_IRQ_WINDOW_OPEN: return IrqWindowExit{};
    case KVM_EXIT_SHUTDOWN: return ShutdownExit{};
    case KVM_EXIT_INTR: return InterruptedExit{};
    case KVM_EXIT_SET_TPR: return SetTprExit{};
    case KVM_EXIT_DEBUG: return decode_debug(run);
    case KVM_EXIT_X86_RDMSR: return decode_msr(run, IoDirection::kIn);
    case KVM_EXIT_X86_WRMSR: return decode_msr(run, IoDirection::kOut);
    case KVM_EXIT_IOAPIC_EOI: return IoapicEoiExit{run.eoi.vector};
    case KVM_EXIT_SYSTEM_EVENT: return decode_system_event(run);
    case KVM_EXIT_INTERNAL_ERROR: return decode_internal_error(run);
    case KVM_EXIT_FAIL_ENTRY:
      return FailEntryExit{.hardware_reason = run.fail_entry.hardware_entry_failure_reason, .cpu = run.fail_entry.cpu};
    default: return UnknownExit{run.exit_reason};
  }
}

}  // namespace doppel::accel::kvm
