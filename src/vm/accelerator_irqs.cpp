#include "vm/accelerator_irqs.h"

#include <algorithm>

#include "base/bits.h"

namespace doppel::vm {

namespace {

constexpr std::uint32_t kIoapicPins = 24;
constexpr unsigned kMsiLevelBit = 15;  // of the data (SDM 3A 11.11.2)

}  // namespace

AcceleratorIrqs::AcceleratorIrqs(accel::Vm& vm, accel::IrqchipMode mode, Logger log, bool has_irqfds)
    : vm_(vm), mode_(mode), log_(std::move(log)) {
  if (has_irqfds && mode != accel::IrqchipMode::kOff)
    events_.emplace(vm, kIoapicPins, [this] { return set_routing(); });
}

void AcceleratorIrqs::set_irq(unsigned gsi, bool level) {
  if (const auto set = vm_.set_irq_line(gsi, level); !set) log_.error("GSI {}: {}", gsi, set.error().describe());
}

void AcceleratorIrqs::signal(std::uint64_t address, std::uint32_t data) {
  const accel::MsiMessage message{address, data};
  if (mode_ == accel::IrqchipMode::kSplit && test_bit(data, kMsiLevelBit))
    expect_end_of(message);
  else if (signal_event(message))
    return;
  if (const auto sent = vm_.signal_msi(message); !sent)
    log_.guest_error("MSI {:#x} to {:#x}: {}", data, address, sent.error().describe());
}

bool AcceleratorIrqs::signal_event(const accel::MsiMessage& message) {
  const std::scoped_lock lock(mutex_);
  return events_ && events_->signal(message);
}

/// Under the lock.
Result<> AcceleratorIrqs::set_routing() {
  auto routes = mode_ == accel::IrqchipMode::kKernel ? pc_irq_routes() : level_routes_;
  if (events_) events_->append_routes(routes);
  return vm_.set_irq_routing(routes);
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
  if (const auto set = set_routing(); !set)
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
