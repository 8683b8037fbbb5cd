#include "x86/cpu_reset.h"

#include <algorithm>

#include "base/endian.h"
#include "x86/descriptor.h"
#include "x86/msr.h"
#include "x86/registers.h"

namespace doppel::x86 {
namespace {

constexpr std::size_t kFcwOffset = 0;
constexpr std::size_t kMxcsrOffset = 24;
constexpr std::size_t kXstateBvOffset = 512;
constexpr std::uint16_t kFcwReset = 0x037f;
constexpr std::uint32_t kMxcsrReset = 0x1f80;
constexpr std::uint64_t kResetRip = 0xfff0;

Segment reset_system_segment(std::uint8_t type) {
  Segment segment;
  segment.type = type;
  segment.code_or_data = false;
  return segment;
}

}  // namespace

std::vector<std::byte> initial_xsave_area(std::size_t size) {
  std::vector<std::byte> area(std::max(size, kXsaveMinimumSize));
  store_le(area.data() + kFcwOffset, kFcwReset);
  store_le(area.data() + kMxcsrOffset, kMxcsrReset);
  store_le(area.data() + kXstateBvOffset, std::uint64_t{xcr::kX87 | xcr::kSse});
  return area;
}

CpuState reset_state(const ResetParameters& parameters) {
  CpuState state;
  state.gpr.at(kRdx) = parameters.signature;
  state.rip = kResetRip;
  state.rflags = rflags::kFixed;

  state.segment.fill(real_mode_segment(0));
  Segment& cs = state.segment.at(kCs);
  cs.base = 0xffff0000;
  cs.selector = 0xf000;
  cs.type |= segment_type::kCode;
  state.ldt = reset_system_segment(kLdt);
  state.tr = reset_system_segment(kTssBusy);

  state.cr0 = cr0::kCd | cr0::kNw | cr0::kEt;
  state.apic_base = apic_base::kDefaultAddress | apic_base::kEnable;
  if (parameters.apic_id == 0) state.apic_base |= apic_base::kBsp;
  state.dr6 = dr6::kReset;
  state.dr7 = dr7::kReset;
  state.xsave = initial_xsave_area(parameters.xsave_size);
  state.xcr0 = xcr::kX87;
  state.msrs = reset_msrs(parameters.msrs);
  state.mp_state = parameters.apic_id == 0 ? MpState::kRunnable : MpState::kUninitialized;
  return state;
}

CpuState init_state(const CpuState& before, const ResetParameters& parameters) {
  CpuState state = reset_state(parameters);
  state.cr0 = (before.cr0 & (cr0::kCd | cr0::kNw)) | cr0::kEt;
  state.apic_base = before.apic_base;
  state.xsave = before.xsave;
  state.xcr0 = before.xcr0;
  state.msrs = before.msrs;
  state.lapic = before.lapic;
  state.mp_state = (before.apic_base & apic_base::kBsp) != 0 ? MpState::kRunnable : MpState::kInitReceived;
  return state;
}

}  // namespace doppel::x86
