// /dev/kvm itself.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "accel/accelerator.h"
#include "accel/kvm/kvm.h"
#include "accel/kvm/system_info.h"
#include "base/unique_fd.h"

namespace doppel::accel::kvm {

class KvmSystem final : public Accelerator {
 public:
  static Result<std::unique_ptr<KvmSystem>> create(const Options& options);

  [[nodiscard]] std::string_view name() const override { return "kvm"; }
  [[nodiscard]] const Capabilities& capabilities() const override { return info_.capabilities; }
  [[nodiscard]] const Traits& traits() override;
  [[nodiscard]] Result<x86::CpuidTable> supported_cpuid() override;
  [[nodiscard]] const std::vector<std::uint32_t>& saved_msrs() const override { return info_.saved_msrs; }
  [[nodiscard]] Result<std::unique_ptr<Vm>> create_vm() override;

 private:
  explicit KvmSystem(UniqueFd fd) : fd_(std::move(fd)) {}
  Result<> ask_kernel();
  Result<> read_msr_list();

  const UniqueFd fd_;
  SystemInfo info_;
  std::once_flag traits_once_;
  Traits traits_;
};

}  // namespace doppel::accel::kvm
