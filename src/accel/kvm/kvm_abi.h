// The kernel's KVM interface, and the only way to include it.
//
// Some distributions ship a <linux/kvm.h> whose __DECLARE_FLEX_ARRAY holds an empty struct: 0 bytes in C, 1 byte in
// C++. Structure sizes, array offsets and even ioctl numbers then change silently. Here the macro is replaced before it
// is used, and the assertions below hold the result to the C layout.
#pragma once

#include <linux/stddef.h>
#undef __DECLARE_FLEX_ARRAY
#define __DECLARE_FLEX_ARRAY(type, name) type name[0]  // NOLINT: the kernel's name
#include <linux/kvm.h>

#include <cstddef>
#include <cstdint>

static_assert(sizeof(kvm_cpuid2) == 8 && offsetof(kvm_cpuid2, entries) == 8);
static_assert(sizeof(kvm_msrs) == 8 && offsetof(kvm_msrs, entries) == 8);
static_assert(sizeof(kvm_msr_list) == 4 && offsetof(kvm_msr_list, indices) == 4);
static_assert(sizeof(kvm_irq_routing) == 8 && offsetof(kvm_irq_routing, entries) == 8);
static_assert(sizeof(kvm_signal_mask) == 4 && offsetof(kvm_signal_mask, sigset) == 4);
static_assert(sizeof(kvm_coalesced_mmio_ring) == 8 && offsetof(kvm_coalesced_mmio_ring, coalesced_mmio) == 8);
static_assert(sizeof(kvm_xsave) == 4096);
static_assert(KVM_SET_CPUID2 == 0x4008ae90 && KVM_GET_MSRS == 0xc008ae88 && KVM_GET_MSR_INDEX_LIST == 0xc004ae02);
static_assert(KVM_SET_GSI_ROUTING == 0x4008ae6a && KVM_SET_SIGNAL_MASK == 0x4004ae8b && KVM_GET_XSAVE == 0x9000aea4);

namespace doppel::accel::kvm::abi {

// Newer than the oldest headers we build with.
inline constexpr std::uint32_t kExitMemoryFault = 39;  // KVM_EXIT_MEMORY_FAULT

/// kvm_run.memory_fault, at the start of the exit union; comes with KVM_RUN failing with EFAULT.
struct MemoryFault {
  std::uint64_t flags;
  std::uint64_t address;
  std::uint64_t size;
};

/// The version every kernel since 2.6.22 reports; the API is extended by capabilities only.
inline constexpr int kApiVersion = 12;

}  // namespace doppel::accel::kvm::abi
