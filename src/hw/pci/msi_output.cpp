#include "hw/pci/msi_output.h"

#include <algorithm>

namespace doppel::hw {

void MsiOutput::send(const MsiMessage& message) {
  const std::scoped_lock lock(mutex_);
  if (std::find(waiting_.begin(), waiting_.end(), message) == waiting_.end()) waiting_.push_back(message);
  doorbell_.edge();
}

void MsiOutput::set_irq(unsigned /*pin*/, bool level) {
  if (!level || sink_ == nullptr) return;
  std::vector<MsiMessage> messages;
  {
    const std::scoped_lock lock(mutex_);
    messages.swap(waiting_);
  }
  for (const MsiMessage& message : messages) sink_->signal(message.address, message.data);
}

}  // namespace doppel::hw
