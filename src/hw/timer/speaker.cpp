#include "hw/timer/speaker.h"

#include <utility>

#include "base/bits.h"

namespace doppel::hw {

namespace {

constexpr std::uint8_t kGate2 = 0x01;
constexpr std::uint8_t kSpeakerOn = 0x03;
constexpr std::uint8_t kWritable = 0x0f;
constexpr std::uint8_t kRefresh = 0x10;
constexpr std::uint8_t kOut2 = 0x20;

}  // namespace

SystemControlPortB::SystemControlPortB(I8254& pit, SpeakerGate speaker) : pit_(pit), speaker_(std::move(speaker)) {}

void SystemControlPortB::reset() {
  set_control(0);
}

void SystemControlPortB::save(state::Writer& writer) {
  const DeviceGuard guard(*this);
  state::save(writer, SystemControlPortBState{control_});
}

Result<> SystemControlPortB::load(state::Reader& reader) {
  DOPPEL_ASSIGN(const auto loaded, state::load<SystemControlPortBState>(reader));
  const DeviceGuard guard(*this);
  control_ = loaded.control & kWritable;  // the 8254 has saved its gate itself
  return {};
}

std::uint64_t SystemControlPortB::read(std::uint64_t /*offset*/, unsigned size) {
  if (size != 1) return low_mask(8 * size);
  const unsigned live = (pit_.refresh_toggle() ? kRefresh : 0U) | (pit_.out2() ? kOut2 : 0U);
  const DeviceGuard guard(*this);
  return control_ | live;
}

void SystemControlPortB::write(std::uint64_t /*offset*/, unsigned size, std::uint64_t value) {
  if (size == 1) set_control(static_cast<std::uint8_t>(value & kWritable));
}

void SystemControlPortB::set_control(std::uint8_t control) {
  std::uint8_t before = 0;
  {
    const DeviceGuard guard(*this);
    before = std::exchange(control_, control);
  }
  pit_.set_gate2((control & kGate2) != 0);
  const bool on = (control & kSpeakerOn) == kSpeakerOn;
  if (speaker_ && on != ((before & kSpeakerOn) == kSpeakerOn)) speaker_(on);
}

}  // namespace doppel::hw
