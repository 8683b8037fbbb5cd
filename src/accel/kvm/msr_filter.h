// The table that makes chosen MSRs exit to user space.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "accel/kvm/kvm_abi.h"
#include "base/error.h"

namespace doppel::accel::kvm {

/// KVM_X86_SET_MSR_FILTER's argument with the bitmaps that it points to: everything is allowed but the given registers.
class MsrFilter {
 public:
  /// Fails if INDEXES are too scattered for the ranges that KVM offers.
  static Result<MsrFilter> create(std::span<const std::uint32_t> indexes);

  /// Valid while this object stays where it is.
  [[nodiscard]] kvm_msr_filter argument();

 private:
  struct Range {
    std::uint32_t base = 0;
    std::uint32_t count = 0;
    std::vector<std::uint8_t> bitmap;  // 1: allowed
  };
  std::vector<Range> ranges_;
};

}  // namespace doppel::accel::kvm
