#include "hw/isa/pvpanic.h"

#include <utility>

namespace doppel::hw {

Pvpanic::Pvpanic(const PvpanicConfig& config, Report report, Logger log)
    : config_(config), report_(std::move(report)), log_(std::move(log)) {}

void Pvpanic::write(std::uint64_t /*offset*/, unsigned /*size*/, std::uint64_t value) {
  if ((value & ~std::uint64_t{config_.events}) != 0) log_.guest_error("unknown events {:#x} reported", value);
  for (const PvpanicEvent event : {PvpanicEvent::kPanicked, PvpanicEvent::kCrashLoaded})
    if ((value & config_.events & static_cast<unsigned>(event)) != 0 && report_) report_(event);
}

}  // namespace doppel::hw
