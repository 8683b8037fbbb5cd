#include "accel/kvm/system_info.h"

#include <algorithm>
#include <string_view>

#include "accel/kvm/kvm_abi.h"

namespace doppel::accel::kvm {

namespace {

struct RequiredCapability {
  unsigned long capability;
  std::string_view name;
  std::string_view why;
};

constexpr RequiredCapability kRequired[] = {
    {KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY", "guest memory is ours"},
    {KVM_CAP_DESTROY_MEMORY_REGION_WORKS, "KVM_CAP_DESTROY_MEMORY_REGION_WORKS",
     "guest memory is remapped at run time"},
    {KVM_CAP_JOIN_MEMORY_REGIONS_WORKS, "KVM_CAP_JOIN_MEMORY_REGIONS_WORKS", "guest memory is remapped at run time"},
    {KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID", "the guest must be told its processor's features"},
    {KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE", "processors are halted, started and saved"},
    {KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS", "pending exceptions are part of the saved state"},
    {KVM_CAP_DEBUGREGS, "KVM_CAP_DEBUGREGS", "debug registers are part of the saved state"},
    {KVM_CAP_XSAVE, "KVM_CAP_XSAVE", "floating-point registers are part of the saved state"},
    {KVM_CAP_INTERNAL_ERROR_DATA, "KVM_CAP_INTERNAL_ERROR_DATA", "failures must say what failed"},
    {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT", "a running guest must be stoppable"},
};

Capabilities public_capabilities(const CheckExtension& check) {
  const auto has_all = [&](std::initializer_list<unsigned long> list) {
    return std::ranges::all_of(list, [&](unsigned long capability) { return check(capability) > 0; });
  };
  const auto count = [&](unsigned long capability, unsigned otherwise) {
    const int value = check(capability);
    return value > 0 ? static_cast<unsigned>(value) : otherwise;
  };
  return {
      .irqchip = has_all({KVM_CAP_IRQCHIP, KVM_CAP_IRQ_ROUTING}),
      .split_irqchip = has_all({KVM_CAP_SPLIT_IRQCHIP, KVM_CAP_IRQ_ROUTING}),
      .pit = has_all({KVM_CAP_PIT2, KVM_CAP_PIT_STATE2}),
      .ioeventfd = has_all({KVM_CAP_IOEVENTFD}),
      .irqfd = has_all({KVM_CAP_IRQFD}),
      .read_only_memory = has_all({KVM_CAP_READONLY_MEM}),
      .dirty_log = true,
      .coalesced_io = has_all({KVM_CAP_COALESCED_MMIO}),
      .msr_exits = has_all({KVM_CAP_X86_USER_SPACE_MSR}),
      .msr_filter = has_all({KVM_CAP_X86_USER_SPACE_MSR, KVM_CAP_X86_MSR_FILTER}),
      .guest_debug = has_all({KVM_CAP_SET_GUEST_DEBUG}),
      .nmi = has_all({KVM_CAP_USER_NMI}),
      .signal_msi = has_all({KVM_CAP_SIGNAL_MSI}),
      .max_vcpus = count(KVM_CAP_MAX_VCPUS, count(KVM_CAP_NR_VCPUS, 4)),
      .max_memory_slots = count(KVM_CAP_NR_MEMSLOTS, 32),
  };
}

}  // namespace

Result<> check_version(int version) {
  if (version == abi::kApiVersion) return {};
  return fail(ErrorKind::kUnsupported, "the kernel speaks version {} of the KVM interface; Doppel needs version {}",
              version, abi::kApiVersion);
}

Result<> check_required(const CheckExtension& check) {
  for (const RequiredCapability& row : kRequired) {
    if (check(row.capability) > 0) continue;
    return fail(ErrorKind::kUnsupported, "the kernel's KVM lacks {} ({}); a newer kernel is needed", row.name, row.why);
  }
  return {};
}

SystemInfo read_optional(const CheckExtension& check) {
  const auto flags = [&](unsigned long capability) {
    return static_cast<std::uint64_t>(std::max(check(capability), 0));
  };
  const auto has = [&](unsigned long capability) { return check(capability) > 0; };
  SystemInfo info;
  info.capabilities = public_capabilities(check);
  info.coalesced_ring_page = flags(KVM_CAP_COALESCED_MMIO);
  info.sync_registers = flags(KVM_CAP_SYNC_REGS) & KVM_SYNC_X86_VALID_FIELDS;
  info.manual_dirty_log = flags(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2);
  info.quirks = flags(KVM_CAP_DISABLE_QUIRKS2);
  info.user_space_msrs = flags(KVM_CAP_X86_USER_SPACE_MSR);
  info.debug_flags = flags(KVM_CAP_SET_GUEST_DEBUG2);
  info.xsave2 = has(KVM_CAP_XSAVE2);
  info.xcrs = has(KVM_CAP_XCRS);
  info.exception_payload = has(KVM_CAP_EXCEPTION_PAYLOAD);
  info.emulation_failure_exits = has(KVM_CAP_EXIT_ON_EMULATION_FAILURE);
  info.coalesced_ports = has(KVM_CAP_COALESCED_PIO);
  info.irqfd_resample = has(KVM_CAP_IRQFD_RESAMPLE);
  info.any_length_ioeventfd = has(KVM_CAP_IOEVENTFD_ANY_LENGTH);
  info.smm = has(KVM_CAP_X86_SMM);
  return info;
}

}  // namespace doppel::accel::kvm
