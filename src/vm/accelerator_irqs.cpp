#include "vm/accelerator_irqs.h"

#include <algorithm>

#include "base/bits.h"

namespace doppel::vm {

namespace {

constexpr std::uint32_t kIoapicPins = 24;
constexpr unsigned kMsiLevelBit = 15;  // of the data (SDM 3A 11.11.2)

}  // namespace

void AcceleratorIrqs::set_irq(unsigned gsi, bool level) {
  if (const auto set = vm_.set_irq_line(gsi, level); !set) log_.error("GSI {}: {}", gsi, set.error().describe());
}

void AcceleratorIrqs::signal(std::uint64_t address, std::uint32_t data) {
  const accel::MsiMessage message{address, data};
  if (mode_ == accel::IrqchipMode::kSplit && test_bit(data, kMsiLevelBit)) expect_end_of(message);
  if (const auto sent = vm_.signal_msi(message); !sent)
    log_.guest_error("MSI {:#x} to {:#x}: {}", data, address, sent.error().describe());
}

void AcceleratorIrqs::expect_end_of(const accel::MsiMessage& message) {
  const std::scoped_lock lock(mutex_);
  if (std::ranges::find(level_routes_, message, &accel::IrqRoute::msi) != level_routes_.end()) return;
  if (level_routes_.size() < kIoapicPins) {
    const auto gsi = static_cast<std::uint32_t>(level_routes_.size());
    level_routes_.push_back({.gsi = gsi, .target = accel::IrqRoute::Target::kMsi, .pin = 0, .msi = message});
  } else {
    level_routes_[oldest_].msi = message;
    oldest_ = (oldest_ + 1) % kIoapicPins;
  }
  if (const auto set = vm_.set_irq_routing(level_routes_); !set)
    log_.error("EOIs of level-triggered interrupts: {}", set.error().describe());
}

std::vector<accel::IrqRoute> pc_irq_routes() {
  using Target = accel::IrqRoute::Target;
  constexpr std::uint32_t kIsaIrqs = 16;
  constexpr std::uint32_t kCascade = 2;
  std::vector<accel::IrqRoute> routes;
  for (std::uint32_t gsi = 0; gsi < kIsaIrqs; ++gsi) {
    if (gsi == kCascade) continue;
    routes.push_back(
        {.gsi = gsi, .target = gsi < 8 ? Target::kPicMaster : Target::kPicSlave, .pin = gsi % 8, .msi = {}});
  }
  for (std::uint32_t gsi = 0; gsi < kIoapicPins; ++gsi)
    if (gsi != kCascade)
      routes.push_back({.gsi = gsi, .target = Target::kIoapic, .pin = gsi == 0 ? 2 : gsi, .msi = {}});
  return routes;
}

}  // namespace doppel::vm
