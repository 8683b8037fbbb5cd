#include "vm/accelerator_irqs.h"

namespace doppel::vm {

void AcceleratorIrqs::set_irq(unsigned gsi, bool level) {
  if (const auto set = vm_.set_irq_line(gsi, level); !set) log_.error("GSI {}: {}", gsi, set.error().describe());
}

void AcceleratorIrqs::signal(std::uint64_t address, std::uint32_t data) {
  if (const auto sent = vm_.signal_msi({address, data}); !sent)
    log_.guest_error("MSI {:#x} to {:#x}: {}", data, address, sent.error().describe());
}

std::vector<accel::IrqRoute> pc_irq_routes() {
  using Target = accel::IrqRoute::Target;
  constexpr std::uint32_t kIsaIrqs = 16;
  constexpr std::uint32_t kIoapicPins = 24;
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
