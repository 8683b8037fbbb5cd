#include "hw/core/irq_line.h"

#include "hw/core/device.h"

namespace doppel::hw {

IrqLine::IrqLine(Device& owner, IrqPin pin) : pin_(pin) {
  owner.lines_.push_back(this);
}

void IrqLine::set(bool level) {
  if (level == level_) return;
  if (level) ++edges_;
  level_ = level;
  changed_ = true;
}

void IrqLine::edge() {
  ++edges_;
  level_ = true;
  changed_ = true;
}

void IrqLine::deliver() {
  if (!changed_.load(std::memory_order_relaxed) || !changed_.exchange(false)) return;
  const std::scoped_lock lock(delivery_mutex_);
  const unsigned edges = edges_;
  const bool level = level_;
  if (edges != delivered_edges_) {
    if (delivered_level_) pin_.set(false);
    pin_.set(true);
    if (!level) pin_.set(false);
  } else if (level != delivered_level_) {
    pin_.set(level);
  }
  delivered_edges_ = edges;
  delivered_level_ = level;
}

}  // namespace doppel::hw
