#include "hw/display/bochs_dispi.h"

#include <algorithm>
#include <limits>

namespace doppel::hw {

namespace {

std::uint16_t units_of_64k(std::uint64_t size) {
  return static_cast<std::uint16_t>(std::min<std::uint64_t>(size / 0x10000, std::numeric_limits<std::uint16_t>::max()));
}

}  // namespace

BochsDispi::BochsDispi(std::uint64_t memory_size) : memory_64k_(units_of_64k(memory_size)) {
  reset();
}

void BochsDispi::reset() {
  state_ = {};
  state_.values[dispi::kId] = dispi::kId5;
}

std::uint16_t BochsDispi::read(unsigned index) const {
  if (index == dispi::kMemory64k) return memory_64k_;
  if (index >= dispi::kRegisters) return 0;
  if ((state_.values[dispi::kEnable] & dispi::kGetCapabilities) != 0) {
    if (index == dispi::kWidth) return dispi::kMostWidth;
    if (index == dispi::kHeight) return dispi::kMostHeight;
    if (index == dispi::kBitsPerPixel) return dispi::kMostBits;
  }
  return state_.values.at(index);
}

/// VALUE if register INDEX takes it, else what the register has or can have.
std::uint16_t BochsDispi::limit(unsigned index, std::uint16_t value) const {
  switch (index) {
    case dispi::kId: return value >= dispi::kId0 && value <= dispi::kId5 ? value : state_.values[dispi::kId];
    case dispi::kWidth: return std::min<std::uint16_t>(value, dispi::kMostWidth) & 0xfff8U;
    case dispi::kHeight: return std::min(value, dispi::kMostHeight);
    case dispi::kBitsPerPixel: return std::min(value, dispi::kMostBits);
    case dispi::kBank: return memory_64k_ == 0 ? 0 : value % memory_64k_;
    case dispi::kMemory64k: return 0;
    default: return value;
  }
}

bool BochsDispi::write(unsigned index, std::uint16_t value) {
  if (index >= dispi::kRegisters) return false;
  if (index == dispi::kEnable) return enable(value);
  state_.values.at(index) = limit(index, value);
  return false;
}

/// Switching on shows the memory from its first pixel, with lines as long as the screen is wide.
bool BochsDispi::enable(std::uint16_t value) {
  const bool was_enabled = enabled();
  state_.values[dispi::kEnable] = value;
  if (!enabled() || was_enabled) return false;
  state_.values[dispi::kVirtualWidth] = state_.values[dispi::kWidth];
  state_.values[dispi::kVirtualHeight] = state_.values[dispi::kHeight];
  state_.values[dispi::kXOffset] = 0;
  state_.values[dispi::kYOffset] = 0;
  state_.values[dispi::kBank] = 0;
  return true;
}

void BochsDispi::restore(const BochsDispiState& state) {
  reset();
  state_.index = state.index;
  for (unsigned i = 0; i < dispi::kRegisters; ++i) state_.values.at(i) = limit(i, state.values.at(i));
}

}  // namespace doppel::hw
