// What the kernel offers, asked once when /dev/kvm is opened.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "accel/accelerator.h"
#include "base/error.h"
#include "base/log.h"

namespace doppel::accel::kvm {

/// Constant once made; shared by the system, its VMs and their vCPUs.
struct SystemInfo {
  Capabilities capabilities;
  std::size_t run_size = 0;             // bytes of a vCPU's shared pages
  std::size_t coalesced_ring_page = 0;  // index among them, 0: no ring
  std::uint64_t sync_registers = 0;     // KVM_SYNC_X86_* that KVM_RUN can exchange
  std::uint64_t manual_dirty_log = 0;   // KVM_DIRTY_LOG_*
  std::uint64_t quirks = 0;             // KVM_X86_QUIRK_* that can be disabled
  std::uint64_t user_space_msrs = 0;    // KVM_MSR_EXIT_REASON_*
  std::uint64_t debug_flags = 0;        // KVM_GUESTDBG_* beyond the basic ones
  bool xsave2 = false;
  bool xcrs = false;
  bool exception_payload = false;
  bool emulation_failure_exits = false;
  bool coalesced_ports = false;
  bool irqfd_resample = false;
  bool any_length_ioeventfd = false;
  bool smm = false;
  std::vector<std::uint32_t> saved_msrs;  // sorted
  Logger log;
};

/// KVM_CHECK_EXTENSION: 0 if the kernel does not have CAPABILITY, else what it says of it.
using CheckExtension = std::function<int(unsigned long capability)>;

/// The interface version must be the one that all kernels since 2007 have.
Result<> check_version(int version);
/// Everything we cannot do without; the error names what is missing and why it is needed.
Result<> check_required(const CheckExtension& check);
/// What we can do without.
SystemInfo read_optional(const CheckExtension& check);

}  // namespace doppel::accel::kvm
