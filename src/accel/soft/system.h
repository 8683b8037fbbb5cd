// The software accelerator as a whole: what it can do, and its machines.
#pragma once

#include <string_view>
#include <vector>

#include "accel/accelerator.h"
#include "accel/soft/soft.h"

namespace doppel::accel::soft {

class SoftSystem final : public Accelerator {
 public:
  explicit SoftSystem(const Options& options);

  [[nodiscard]] std::string_view name() const override { return "soft"; }
  [[nodiscard]] const Capabilities& capabilities() const override { return capabilities_; }
  /// Those of real hardware.
  [[nodiscard]] const Traits& traits() override { return traits_; }
  [[nodiscard]] Result<x86::CpuidTable> supported_cpuid() override { return cpuid_; }
  [[nodiscard]] const std::vector<std::uint32_t>& saved_msrs() const override { return saved_msrs_; }
  [[nodiscard]] Result<std::unique_ptr<Vm>> create_vm() override;

 private:
  const Options options_;
  const Capabilities capabilities_;
  const Traits traits_;
  const x86::CpuidTable cpuid_;
  const std::vector<std::uint32_t> saved_msrs_;
};

}  // namespace doppel::accel::soft
