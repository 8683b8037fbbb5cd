#include "hw/pci/pci_host.h"

#include <utility>

#include "base/bits.h"

namespace doppel::hw {

namespace {

constexpr std::uint32_t kEnable = 0x8000'0000;
constexpr std::uint32_t kAddressBits = 0x80ff'fffc;  // the others read as zero
constexpr std::uint64_t kResetControl = 1;           // CF9h, from CF8h

struct PciHostState {
  static constexpr std::string_view kName = "i440FX-pcihost";
  static constexpr std::uint32_t kVersion = 1;
  std::uint32_t address = 0;
  void describe(auto& fields) { fields("address", address); }
};

constexpr Bdf target(std::uint32_t address) {
  return {static_cast<std::uint8_t>(bits(address, 23, 16)), static_cast<std::uint8_t>(bits(address, 15, 11)),
          static_cast<std::uint8_t>(bits(address, 10, 8))};
}

constexpr unsigned register_of(std::uint32_t address, std::uint64_t port) {
  return (address & 0xfcU) + static_cast<unsigned>(port & 3U);
}

}  // namespace

PciHost::PciHost(memory::Topology& topology, PciBus& root, memory::IoHandler* reset_control, Logger log)
    : root_(root),
      reset_control_(reset_control),
      log_(std::move(log)),
      address_ports_([this](auto offset, auto size) { return read_address(offset, size); },
                     [this](auto offset, auto size, auto value) { write_address(offset, size, value); }),
      data_ports_([this](auto offset, auto size) { return read_data(offset, size); },
                  [this](auto offset, auto size, auto value) { write_data(offset, size, value); }),
      address_region_(topology.io("pci-conf-idx", 4, address_ports_, {1, 4, true})),
      data_region_(topology.io("pci-conf-data", 4, data_ports_, {1, 4, false})) {}

void PciHost::reset() {
  const DeviceGuard guard(*this);
  address_ = 0;
}

std::uint32_t PciHost::address() {
  const DeviceGuard guard(*this);
  return address_;
}

std::uint64_t PciHost::read_address(std::uint64_t offset, unsigned size) {
  if (offset == 0 && size == 4) return address();
  if (offset == kResetControl && size == 1 && reset_control_ != nullptr) return reset_control_->read(0, 1);
  log_.guest_error("read of {} byte(s) at {:#x}: the configuration address is a dword", size, kAddressPort + offset);
  return low_mask(8 * size);
}

void PciHost::write_address(std::uint64_t offset, unsigned size, std::uint64_t value) {
  if (offset == kResetControl && size == 1 && reset_control_ != nullptr) {
    reset_control_->write(0, 1, value);
    return;
  }
  if (offset != 0 || size != 4) {
    log_.guest_error("write of {} byte(s) at {:#x}: the configuration address is a dword", size, kAddressPort + offset);
    return;
  }
  const DeviceGuard guard(*this);
  address_ = static_cast<std::uint32_t>(value) & kAddressBits;
}

std::uint64_t PciHost::read_data(std::uint64_t offset, unsigned size) {
  const std::uint32_t where = address();
  if ((where & kEnable) == 0) return low_mask(8 * size);
  return root_.config_read(target(where), register_of(where, offset), size);
}

void PciHost::write_data(std::uint64_t offset, unsigned size, std::uint64_t value) {
  const std::uint32_t where = address();
  if ((where & kEnable) == 0) return;
  root_.config_write(target(where), register_of(where, offset), size, static_cast<std::uint32_t>(value));
}

void PciHost::save(state::Writer& writer) {
  state::save(writer, PciHostState{address()});
}

Result<> PciHost::load(state::Reader& reader) {
  DOPPEL_ASSIGN(const PciHostState saved, state::load<PciHostState>(reader));
  const DeviceGuard guard(*this);
  address_ = saved.address & kAddressBits;
  return {};
}

}  // namespace doppel::hw
