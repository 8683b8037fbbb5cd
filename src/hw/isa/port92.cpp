#include "hw/isa/port92.h"

#include <utility>

#include "base/bits.h"

namespace doppel::hw {

namespace {

constexpr std::uint8_t kFastReset = 0x01;
constexpr std::uint8_t kA20 = 0x02;

}  // namespace

Port92::Port92(Board board) : board_(std::move(board)) {}

void Port92::reset() {
  exchange(0);
}

void Port92::save(state::Writer& writer) {
  const DeviceGuard guard(*this);
  state::save(writer, Port92State{value_});
}

Result<> Port92::load(state::Reader& reader) {
  DOPPEL_ASSIGN(const auto loaded, state::load<Port92State>(reader));
  exchange(loaded.value);
  return {};
}

std::uint64_t Port92::read(std::uint64_t /*offset*/, unsigned size) {
  const DeviceGuard guard(*this);
  return size == 1 ? value_ : low_mask(8 * size);
}

void Port92::write(std::uint64_t /*offset*/, unsigned size, std::uint64_t value) {
  if (size != 1) return;
  const std::uint8_t before = exchange(static_cast<std::uint8_t>(value));
  if ((value & kFastReset) != 0 && (before & kFastReset) == 0 && board_.request_reset) board_.request_reset();
}

std::uint8_t Port92::exchange(std::uint8_t value) {
  std::uint8_t before = 0;
  {
    const DeviceGuard guard(*this);
    before = std::exchange(value_, value);
  }
  if (((before ^ value) & kA20) != 0 && board_.set_a20) board_.set_a20((value & kA20) != 0);
  return before;
}

}  // namespace doppel::hw
