#include "hw/pci/msi.h"

#include <algorithm>
#include <bit>

#include "base/bits.h"

namespace doppel::hw {

namespace {

constexpr std::uint16_t kEnable = 0x0001;
constexpr std::uint16_t kMultipleEnable = 0x0070;
constexpr std::uint16_t kAddress64 = 0x0080;
constexpr std::uint16_t kPerVectorMask = 0x0100;

}  // namespace

std::uint8_t MsiCapability::size(const MsiOptions& options) {
  return static_cast<std::uint8_t>(0x0a + (options.address_64 ? 4 : 0) + (options.per_vector_mask ? 0x0a : 0));
}

MsiCapability::MsiCapability(ConfigSpace& config, unsigned offset, const MsiOptions& options, MsiOutput& output)
    : config_(config), offset_(offset), options_(options), output_(output) {
  const auto multiple_capable = static_cast<unsigned>(std::countr_zero(options.vectors)) << 1U;
  const auto control = static_cast<std::uint16_t>(multiple_capable | (options.address_64 ? kAddress64 : 0U) |
                                                  (options.per_vector_mask ? kPerVectorMask : 0U));
  config.define<std::uint16_t>(offset + 2, control, kEnable | kMultipleEnable);
  config.define<std::uint32_t>(offset + 4, 0, 0xffff'fffc);
  if (options.address_64) config.define<std::uint32_t>(offset + 8, 0, 0xffff'ffff);
  config.define<std::uint16_t>(offset + (options.address_64 ? 0x0cU : 0x08U), 0, 0xffff);
  if (!options.per_vector_mask) return;
  config.define<std::uint32_t>(mask_offset(), 0, static_cast<std::uint32_t>(low_mask(options.vectors)));
  config.define<std::uint32_t>(pending_offset(), 0);
}

bool MsiCapability::enabled() const {
  return (config_.get<std::uint16_t>(offset_ + 2) & kEnable) != 0;
}

unsigned MsiCapability::allocated() const {
  const unsigned log2 = bits(config_.get<std::uint16_t>(offset_ + 2), 6, 4);
  return std::min(1U << log2, options_.vectors);
}

bool MsiCapability::pending(unsigned vector) const {
  return options_.per_vector_mask && vector < options_.vectors &&
         test_bit(config_.get<std::uint32_t>(pending_offset()), vector);
}

MsiMessage MsiCapability::message(unsigned vector) const {
  const unsigned granted = allocated();
  std::uint64_t address = config_.get<std::uint32_t>(offset_ + 4);
  if (options_.address_64) address |= std::uint64_t{config_.get<std::uint32_t>(offset_ + 8)} << 32;
  const std::uint32_t data = config_.get<std::uint16_t>(offset_ + (options_.address_64 ? 0x0cU : 0x08U));
  return {address, (data & ~(granted - 1)) | (vector & (granted - 1))};
}

void MsiCapability::signal(unsigned vector) {
  if (!enabled()) return;
  vector &= allocated() - 1;
  if (options_.per_vector_mask && test_bit(config_.get<std::uint32_t>(mask_offset()), vector))
    config_.set(pending_offset(), with_bit(config_.get<std::uint32_t>(pending_offset()), vector, true));
  else
    output_.send(message(vector));
}

void MsiCapability::changed() {
  if (!options_.per_vector_mask || !enabled()) return;
  const auto pending = config_.get<std::uint32_t>(pending_offset());
  std::uint32_t ready = pending & ~config_.get<std::uint32_t>(mask_offset());
  config_.set(pending_offset(), pending & ~ready);
  for (; ready != 0; ready &= ready - 1) output_.send(message(static_cast<unsigned>(std::countr_zero(ready))));
}

}  // namespace doppel::hw
