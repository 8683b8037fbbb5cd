#include "hw/pci/bar.h"

#include <bit>
#include <utility>

#include "base/bits.h"
#include "base/text.h"
#include "hw/pci/pci_registers.h"

namespace doppel::hw {

namespace {

struct KindFacts {
  std::string_view name;
  std::uint64_t smallest;
  std::uint64_t largest;
  std::uint64_t space_end;  // one past the last address
};

/// No x86 has more than 52 physical address bits, and accelerators refuse memory beyond.
constexpr KindFacts facts(BarKind kind) {
  switch (kind) {
    case BarKind::kIo: return {"an I/O BAR", 4, 32 * kKiB, 64 * kKiB};
    case BarKind::kMemory32: return {"a 32-bit memory BAR", 16, 2 * kGiB, 4 * kGiB};
    case BarKind::kMemory64: return {"a 64-bit memory BAR", 16, bit(51), bit(52)};
    case BarKind::kRom: return {"an expansion ROM", 2 * kKiB, 16 * kMiB, 4 * kGiB};
  }
  return {};
}

}  // namespace

Result<Bar> Bar::create(BarKind kind, Prefetch prefetch, unsigned offset, memory::RegionPtr region) {
  const KindFacts limits = facts(kind);
  const std::uint64_t size = region->size();
  if (!std::has_single_bit(size) || size < limits.smallest || size > limits.largest)
    return fail(ErrorKind::kInvalidArgument, "{} ('{}') takes a power of two from {} to {} bytes, not {}", limits.name,
                region->name(), limits.smallest, limits.largest, size);
  return Bar(kind, prefetch, offset, std::move(region));
}

Bar::Bar(BarKind kind, Prefetch prefetch, unsigned offset, memory::RegionPtr region)
    : kind_(kind), prefetch_(prefetch), offset_(offset), size_(region->size()), region_(std::move(region)) {
  region_->set_enabled(false);
}

void Bar::define(ConfigSpace& config) const {
  const std::uint64_t address_bits = ~(size_ - 1);
  const auto low_bits = static_cast<std::uint32_t>(address_bits);
  std::uint32_t type = prefetch_ == Prefetch::kYes ? pci::kBarPrefetchable : 0;
  switch (kind_) {
    case BarKind::kIo: config.define<std::uint32_t>(offset_, pci::kBarIo, low_bits); return;
    case BarKind::kRom: config.define<std::uint32_t>(offset_, 0, low_bits | pci::kRomEnable); return;
    case BarKind::kMemory64:
      type |= pci::kBarMemory64;
      config.define<std::uint32_t>(offset_ + 4, 0, static_cast<std::uint32_t>(address_bits >> 32));
      break;
    case BarKind::kMemory32: break;
  }
  config.define<std::uint32_t>(offset_, type, low_bits);
}

std::optional<std::uint64_t> Bar::decode(const ConfigSpace& config, std::uint16_t decodes) const {
  const std::uint16_t needed = kind_ == BarKind::kIo ? pci::kCommandIo : pci::kCommandMemory;
  if ((decodes & needed) == 0) return std::nullopt;
  std::uint64_t value = config.get<std::uint32_t>(offset_);
  if (kind_ == BarKind::kRom && (value & pci::kRomEnable) == 0) return std::nullopt;
  if (kind_ == BarKind::kMemory64) value |= std::uint64_t{config.get<std::uint32_t>(offset_ + 4)} << 32;
  const std::uint64_t address = align_down(value, size_);
  const std::uint64_t space_end = facts(kind_).space_end;
  if (address == 0 || address >= space_end) return std::nullopt;
  // The end of 32-bit memory is what all ones decode to: a range being sized, not one being used.
  const bool ends_space = space_end - address <= size_;
  if (ends_space && (kind_ == BarKind::kMemory32 || kind_ == BarKind::kRom)) return std::nullopt;
  return address;
}

void Bar::update(const ConfigSpace& config, std::uint16_t decodes) {
  const std::optional<std::uint64_t> address = decode(config, decodes);
  if (address == mapped_at_) return;
  if (address) region_->set_offset(*address);
  region_->set_enabled(address.has_value());
  mapped_at_ = address;
}

}  // namespace doppel::hw
