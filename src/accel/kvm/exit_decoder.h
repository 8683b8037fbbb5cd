// From the page that the kernel shares with a vCPU to the contract's exits.
#pragma once

#include "accel/exit.h"
#include "accel/kvm/kvm_abi.h"

namespace doppel::accel::kvm {

/// Decodes RUN after KVM_RUN returned 0. The exit's data points into RUN's pages and is valid until the next entry.
[[nodiscard]] VcpuExit decode_exit(kvm_run& run);

/// The KVM_EXIT_INTERNAL_ERROR part of it.
[[nodiscard]] InternalErrorExit decode_internal_error(const kvm_run& run);

/// Must the kernel be entered once more before the instruction that caused this exit is finished?
[[nodiscard]] constexpr bool needs_completion(std::uint32_t exit_reason) {
  return exit_reason == KVM_EXIT_IO || exit_reason == KVM_EXIT_MMIO || exit_reason == KVM_EXIT_X86_RDMSR ||
         exit_reason == KVM_EXIT_X86_WRMSR;
}

}  // namespace doppel::accel::kvm
