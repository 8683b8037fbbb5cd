#include "vm/accelerators.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "accel/kvm/kvm.h"
#include "accel/soft/soft.h"
#include "base/text.h"
#include "x86/cpuid_table.h"
#include "x86/features.h"

namespace doppel::vm {

namespace {

using Opened = Result<std::unique_ptr<accel::Accelerator>>;

/// From properties of `-accel soft`; those that are not ours have no effect.
Result<accel::soft::TranslationOptions> translation_options(const AccelConfig& accel) {
  constexpr std::uint64_t kLeastCodeMiB = 8;
  constexpr std::uint64_t kMostCodeMiB = 1024;  // translated code jumps within 2 GiB
  accel::soft::TranslationOptions options;
  for (const auto& [key, value] : accel.properties) {
    if (key == "translate") {
      const auto on = parse_bool(value);
      if (!on) return fail(ErrorKind::kInvalidArgument, "translate= expects on or off, not '{}'", value);
      options.on = *on;
    } else if (key == "one-insn-per-tb") {
      const auto one = parse_bool(value);
      if (!one) return fail(ErrorKind::kInvalidArgument, "one-insn-per-tb= expects on or off, not '{}'", value);
      options.one_instruction = *one;
    } else if (key == "verify") {
      const auto on = parse_bool(value);
      const auto passes = parse_number(value);
      if (!on && !passes)
        return fail(ErrorKind::kInvalidArgument, "verify= expects on, off or how often each block, not '{}'", value);
      options.verify = passes ? *passes : *on ? accel::soft::TranslationOptions::kAlways : 0;
      if (options.verify != 0) options.threshold = 0;  // all code
    } else if (key == "tb-size") {
      const auto mib = parse_number(value);
      if (!mib || *mib > kMostCodeMiB)
        return fail(ErrorKind::kInvalidArgument, "tb-size= expects MiB from 0, which is the default, to {}, not '{}'",
                    kMostCodeMiB, value);
      if (*mib != 0) options.code_size = static_cast<std::size_t>(std::max(*mib, kLeastCodeMiB) << 20U);
    }
  }
  return options;
}

Opened open_one(const AccelConfig& accel, const Logger& log, const ProfileConfig& profile) {
  if (accel.name == "kvm") return accel::kvm::open({.log = log.named("kvm")});
  if (accel.name == "soft" || accel.name == "tcg") {
    DOPPEL_ASSIGN(const auto translation, translation_options(accel));
    return accel::soft::open({.log = log.named("soft"),
                              .translation = translation,
                              .profile = {.perf_map = profile.perf_map, .jit_dump = profile.jit_dump}});
  }
  return fail(ErrorKind::kNotFound, "there is no such accelerator; it may be kvm, soft or tcg");
}

/// Whether KVM has the processor run the guest's kernel. The processor's own word is free; asking KVM takes a guest.
bool uses_hardware(accel::Accelerator& kvm) {
  const x86::FeatureSet host = x86::features_of(x86::host_cpuid_table());
  return host.has(x86::feature::kVmx) || host.has(x86::feature::kSvm) || !kvm.traits().interprets_kernel_code;
}

Opened open_best(const Logger& log, const ProfileConfig& profile) {
  auto kvm = open_one({.name = "kvm", .properties = {}}, log, profile);
  if (kvm && uses_hardware(**kvm)) return kvm;
  log.trace(LogCategory::kAccel, "{}, so the guest runs on the software accelerator",
            kvm ? "/dev/kvm interprets kernel code" : kvm.error().describe());
  return open_one({.name = "soft", .properties = {}}, log, profile);
}

}  // namespace

Opened open_accelerator(const std::vector<AccelConfig>& wanted, const Logger& log, const ProfileConfig& profile) {
  if (wanted.empty()) return open_best(log, profile);
  std::vector<std::string> reasons;
  for (const AccelConfig& accel : wanted) {
    auto opened = open_one(accel, log, profile);
    if (opened) return opened;
    if (wanted.size() == 1)
      return std::unexpected(std::move(opened).error().wrap(fmt::format("-accel {}", accel.name)));
    reasons.push_back(fmt::format("{}: {}", accel.name, opened.error().describe()));
  }
  return fail(ErrorKind::kUnsupported, "no accelerator works here; {}", fmt::join(reasons, "; "));
}

}  // namespace doppel::vm
