#include "hw/core/device.h"

#include "hw/core/irq_line.h"

namespace doppel::hw {

DeviceGuard::~DeviceGuard() {
  device_.mutex_.unlock();
  for (IrqLine* line : device_.lines_) line->deliver();
}

}  // namespace doppel::hw
