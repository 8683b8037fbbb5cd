#include "accel/soft/interpreter/fpu_state.h"

namespace doppel::accel::soft {

void FpuState::reset() {
  *this = {};
  set_legacy_field<std::uint16_t>(kFcw, 0x40);
  set_legacy_field<std::uint8_t>(kFtw, 0xff);  // tag word 5555: all zeros, none empty
  set_mxcsr(kInitialMxcsr);
}

void FpuState::init_x87() {
  const std::uint32_t mxcsr_before = mxcsr();
  legacy = {};
  set_mxcsr(mxcsr_before);
  fcs = 0;
  fds = 0;
  set_legacy_field<std::uint16_t>(kFcw, 0x37f);
}

void FpuState::set_x87_words(std::uint16_t fcw, std::uint16_t fsw) {
  constexpr unsigned kControlBits = 0x1f3f;
  constexpr unsigned kControlFixed = 0x40;
  constexpr unsigned kExceptions = 0x3f;
  constexpr unsigned kSummary = 0x8080;  // ES and B
  const unsigned control = (fcw & kControlBits) | kControlFixed;
  const bool pending = (fsw & ~control & kExceptions) != 0;
  const unsigned status = (fsw & ~kSummary) | (pending ? kSummary : 0);
  set_legacy_field(kFcw, static_cast<std::uint16_t>(control));
  set_legacy_field(kFsw, static_cast<std::uint16_t>(status));
}

}  // namespace doppel::accel::soft
