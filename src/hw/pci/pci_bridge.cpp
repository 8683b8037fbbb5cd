#include "hw/pci/pci_bridge.h"

#include <algorithm>

#include "base/bits.h"
#include "hw/pci/pci_registers.h"

namespace doppel::hw {

namespace {

constexpr PciIdentity kIdentity = {
    .vendor_id = 0x1b36, .device_id = 0x0001, .class_code = 0x060400, .header = PciHeader::kBridge};

constexpr std::uint16_t kBridgeControlWritable = 0x0003 | pci::kBridgeControlVga | pci::kBridgeControlReset;
constexpr std::uint16_t kPrefetch64 = 0x0001;
constexpr std::uint64_t kPrefetchEnd = bit(52);

struct Range {
  std::uint64_t base;
  std::uint64_t limit;
};
constexpr Range kVgaMemoryRange = {0xa0000, 0xbffff};
constexpr Range kVgaMonoPorts = {0x3b0, 0x3bb};
constexpr Range kVgaColourPorts = {0x3c0, 0x3df};

}  // namespace

PciBridge::PciBridge(const PciServices& services, const PciBridgeOptions& options)
    : PciFunction(kIdentity, services),
      upstream_pins_([this](unsigned pin, bool level) {
        if (bus() != nullptr) bus()->set_intx(address(), pin, level);
      }),
      reset_sink_([this](unsigned, bool level) {
        if (level) secondary_.reset();
      }),
      reset_wire_(*this, {&reset_sink_, 0}),
      secondary_(options.bus_name, services.topology.container(options.bus_name + "-memory", 0),
                 services.topology.container(options.bus_name + "-io", 64 * kKiB), upstream_pins_, bridge_swizzle,
                 this) {
  define_registers(options.chassis);
  make_windows();
}

PciBridge::~PciBridge() {
  if (bus() != nullptr) bus()->detach(*this);
}

void PciBridge::define_registers(std::uint8_t chassis) {
  ConfigSpace& space = config();
  for (const unsigned offset : {pci::kPrimaryBus, pci::kSecondaryBus, pci::kSubordinateBus, pci::kSecondaryLatency})
    space.define<std::uint8_t>(offset, 0, 0xff);
  space.define<std::uint8_t>(pci::kIoBase, 0, 0xf0);
  space.define<std::uint8_t>(pci::kIoLimit, 0, 0xf0);
  space.define<std::uint16_t>(pci::kSecondaryStatus, 0, 0, pci::kStatusClearable);
  for (const unsigned offset : {pci::kMemoryBase, pci::kMemoryLimit}) space.define<std::uint16_t>(offset, 0, 0xfff0);
  for (const unsigned offset : {pci::kPrefetchBase, pci::kPrefetchLimit})
    space.define<std::uint16_t>(offset, kPrefetch64, 0xfff0);
  for (const unsigned offset : {pci::kPrefetchBaseHigh, pci::kPrefetchLimitHigh})
    space.define<std::uint32_t>(offset, 0, 0xffff'ffff);
  space.define<std::uint16_t>(pci::kBridgeControl, 0, kBridgeControlWritable);
  if (const auto slot_id = add_capability(pci::kCapabilitySlotId, 4))
    space.define<std::uint8_t>(*slot_id + 3U, chassis);

  on_config_write(pci::kPrimaryBus, 3, [this] { bus_numbers_written(); });
  on_config_write(pci::kIoBase, 2, [this] { decoding_changed(); });
  on_config_write(pci::kMemoryBase, 16, [this] { decoding_changed(); });
  on_config_write(pci::kBridgeControl, 2, [this] {
    reset_wire_.set((config().get<std::uint16_t>(pci::kBridgeControl) & pci::kBridgeControlReset) != 0);
    decoding_changed();
  });
}

void PciBridge::make_windows() {
  const auto make = [this](WindowIndex index, const char* suffix, const memory::RegionPtr& target) {
    windows_[index].alias = topology().alias(secondary_.name() + suffix, target, 0, target->size());
    windows_[index].alias->set_enabled(false);
  };
  make(kIo, "-io-window", secondary_.io());
  make(kMemory, "-memory-window", secondary_.memory());
  make(kPrefetch, "-prefetch-window", secondary_.memory());
  make(kVgaMemory, "-vga-window", secondary_.memory());
  make(kVgaMono, "-vga-mono-window", secondary_.io());
  make(kVgaColour, "-vga-colour-window", secondary_.io());
}

const memory::RegionPtr& PciBridge::container_of(const PciBus& bus, unsigned window) const {
  const bool is_io = window == kIo || window == kVgaMono || window == kVgaColour;
  return is_io ? bus.io() : bus.memory();
}

void PciBridge::attached(PciBus& bus) {
  for (unsigned i = 0; i < kWindows; ++i) container_of(bus, i)->add(windows_[i].alias, windows_[i].base, 1);
}

void PciBridge::detached(PciBus& bus) {
  for (unsigned i = 0; i < kWindows; ++i) container_of(bus, i)->remove(windows_[i].alias);
}

bool PciBridge::forwards(unsigned bus) const {
  const unsigned first = secondary_number();
  return first != 0 && bus >= first && bus <= subordinate_number_.load(std::memory_order_relaxed);
}

void PciBridge::bus_numbers_written() {
  secondary_number_.store(config().get<std::uint8_t>(pci::kSecondaryBus), std::memory_order_relaxed);
  subordinate_number_.store(config().get<std::uint8_t>(pci::kSubordinateBus), std::memory_order_relaxed);
}

void PciBridge::reset_chip() {
  reset_wire_.edge();
  reset_wire_.lower();
}

void PciBridge::decoding_changed() {
  bus_numbers_written();
  const memory::Transaction transaction(topology());
  update_io_window();
  update_memory_windows();
  update_vga_windows();
}

void PciBridge::set_window(WindowIndex index, bool enabled, std::uint64_t base, std::uint64_t limit) {
  Window& window = windows_[index];
  const std::uint64_t size = enabled && limit >= base ? limit - base + 1 : 0;
  if (size == window.size && (size == 0 || base == window.base)) return;
  if (size != 0) {
    window.alias->set_size(size);
    window.alias->set_alias_offset(base);
    window.alias->set_offset(base);
    window.base = base;
  }
  window.alias->set_enabled(size != 0);
  window.size = size;
}

void PciBridge::update_io_window() {
  const std::uint64_t base = std::uint64_t{config().get<std::uint8_t>(pci::kIoBase)} << 8U;
  const std::uint64_t limit = std::uint64_t{config().get<std::uint8_t>(pci::kIoLimit)} << 8U | 0xfffU;
  set_window(kIo, (effective_command() & pci::kCommandIo) != 0, base, limit);
}

void PciBridge::update_memory_windows() {
  const bool enabled = (effective_command() & pci::kCommandMemory) != 0;
  const auto field = [this](unsigned offset) {
    return std::uint64_t{config().get<std::uint16_t>(offset) & 0xfff0U} << 16U;
  };
  const auto high = [this](unsigned offset) { return std::uint64_t{config().get<std::uint32_t>(offset)} << 32U; };
  set_window(kMemory, enabled, field(pci::kMemoryBase), field(pci::kMemoryLimit) | 0xf'ffff);
  const std::uint64_t base = field(pci::kPrefetchBase) | high(pci::kPrefetchBaseHigh);
  const std::uint64_t limit = field(pci::kPrefetchLimit) | high(pci::kPrefetchLimitHigh) | 0xf'ffff;
  set_window(kPrefetch, enabled, base, std::min(limit, kPrefetchEnd - 1));
}

void PciBridge::update_vga_windows() {
  const std::uint16_t command = effective_command();
  const bool vga = (config().get<std::uint16_t>(pci::kBridgeControl) & pci::kBridgeControlVga) != 0;
  const bool io = vga && (command & pci::kCommandIo) != 0;
  set_window(kVgaMemory, vga && (command & pci::kCommandMemory) != 0, kVgaMemoryRange.base, kVgaMemoryRange.limit);
  set_window(kVgaMono, io, kVgaMonoPorts.base, kVgaMonoPorts.limit);
  set_window(kVgaColour, io, kVgaColourPorts.base, kVgaColourPorts.limit);
}

}  // namespace doppel::hw
