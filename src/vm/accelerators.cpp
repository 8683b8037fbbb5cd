#include "vm/accelerators.h"

#include <fmt/ranges.h>

#include "accel/kvm/kvm.h"
#include "accel/soft/soft.h"
#include "x86/cpuid_table.h"
#include "x86/features.h"

namespace doppel::vm {

namespace {

using Opened = Result<std::unique_ptr<accel::Accelerator>>;

Opened open_one(const std::string& name, const Logger& log) {
  if (name == "kvm") return accel::kvm::open({.log = log.named("kvm")});
  if (name == "soft" || name == "tcg") return accel::soft::open({.log = log.named("soft")});
  return fail(ErrorKind::kNotFound, "there is no such accelerator; it may be kvm, soft or tcg");
}

/// Whether KVM has the processor run the guest's kernel. The processor's own word is free; asking KVM takes a guest.
bool uses_hardware(accel::Accelerator& kvm) {
  const x86::FeatureSet host = x86::features_of(x86::host_cpuid_table());
  return host.has(x86::feature::kVmx) || host.has(x86::feature::kSvm) || !kvm.traits().interprets_kernel_code;
}

Opened open_best(const Logger& log) {
  auto kvm = open_one("kvm", log);
  if (kvm && uses_hardware(**kvm)) return kvm;
  log.trace(LogCategory::kAccel, "{}, so the guest runs on the software accelerator",
            kvm ? "/dev/kvm interprets kernel code" : kvm.error().describe());
  return open_one("soft", log);
}

}  // namespace

Opened open_accelerator(const std::vector<AccelConfig>& wanted, const Logger& log) {
  if (wanted.empty()) return open_best(log);
  std::vector<std::string> reasons;
  for (const AccelConfig& accel : wanted) {
    auto opened = open_one(accel.name, log);
    if (opened) return opened;
    if (wanted.size() == 1)
      return std::unexpected(std::move(opened).error().wrap(fmt::format("-accel {}", accel.name)));
    reasons.push_back(fmt::format("{}: {}", accel.name, opened.error().describe()));
  }
  return fail(ErrorKind::kUnsupported, "no accelerator works here; {}", fmt::join(reasons, "; "));
}

}  // namespace doppel::vm
