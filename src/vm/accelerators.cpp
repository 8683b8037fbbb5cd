#include "vm/accelerators.h"

#include <fmt/ranges.h>

#include "accel/kvm/kvm.h"

namespace doppel::vm {

namespace {

Result<std::unique_ptr<accel::Accelerator>> open_one(const std::string& name, const Logger& log) {
  if (name == "kvm") return accel::kvm::open({.log = log.named("kvm")});
  if (name != "soft" && name != "tcg")
    return fail(ErrorKind::kNotFound, "there is no such accelerator; it may be kvm, soft or tcg");
  return fail(ErrorKind::kUnsupported, "the software accelerator is not there yet");
}

}  // namespace

Result<std::unique_ptr<accel::Accelerator>> open_accelerator(const std::vector<AccelConfig>& wanted,
                                                             const Logger& log) {
  std::vector<std::string> names;
  for (const AccelConfig& accel : wanted) names.push_back(accel.name);
  if (names.empty()) names = {"kvm"};
  std::vector<std::string> reasons;
  for (const std::string& name : names) {
    auto opened = open_one(name, log);
    if (opened) return opened;
    if (names.size() == 1) return std::unexpected(std::move(opened).error().wrap(fmt::format("-accel {}", name)));
    reasons.push_back(fmt::format("{}: {}", name, opened.error().describe()));
  }
  return fail(ErrorKind::kUnsupported, "no accelerator works here; {}", fmt::join(reasons, "; "));
}

}  // namespace doppel::vm
