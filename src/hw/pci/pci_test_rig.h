// For the tests of this folder: a root bus in address spaces of its own, and a function with everything public.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "hw/pci/pci_bus.h"
#include "hw/pci/pci_function.h"
#include "hw/pci/pci_registers.h"
#include "memory/address_space.h"

namespace doppel::hw::test {

/// Answers every read with VALUE and counts.
class ConstantPort final : public memory::IoHandler {
 public:
  explicit ConstantPort(std::uint64_t value) : value_(value) {}
  [[nodiscard]] std::uint64_t read(std::uint64_t /*offset*/, unsigned /*size*/) override { return value_; }
  void write(std::uint64_t offset, unsigned /*size*/, std::uint64_t value) override {
    last_offset = offset;
    last_value = value;
  }

  std::uint64_t last_offset = ~0ULL;
  std::uint64_t last_value = 0;

 private:
  const std::uint64_t value_;
};

class RecordingMsi final : public MsiSink {
 public:
  void signal(std::uint64_t address, std::uint32_t data) override { messages.push_back({address, data}); }
  std::vector<MsiMessage> messages;
};

struct PciRig {
  memory::Topology topology;
  memory::RegionPtr memory = topology.container("pci", 0);
  memory::RegionPtr io = topology.container("io", 0x10000);
  memory::AddressSpace memory_space{topology, memory, "pci"};
  memory::AddressSpace io_space{topology, io, "io"};
  std::array<bool, 4> wires{};
  std::vector<std::pair<unsigned, bool>> edges;
  IrqFunction lines{[this](unsigned wire, bool level) {
    wires.at(wire) = level;
    edges.emplace_back(wire, level);
  }};
  RecordingMsi msi;
  PciBus bus{"pci.0", memory, io, lines, i440fx_swizzle};

  PciServices services() { return {topology, &memory_space, &msi, {}}; }
  std::uint64_t read(std::uint64_t address, unsigned size = 1) { return memory_space.read({address}, size); }
  std::uint64_t in(std::uint64_t port, unsigned size = 1) { return io_space.read({port}, size); }
  void out(std::uint64_t port, unsigned size, std::uint64_t value) { io_space.write({port}, size, value); }
};

inline constexpr PciIdentity kTestIdentity = {
    .vendor_id = 0x1234, .device_id = 0x5678, .revision = 0x9a, .class_code = 0x020000, .interrupt_pin = 1};

class TestFunction final : public PciFunction {
 public:
  explicit TestFunction(PciRig& rig, std::string name = "test", const PciIdentity& identity = kTestIdentity)
      : PciFunction(identity, rig.services()), name_(std::move(name)) {}

  [[nodiscard]] std::string_view name() const override { return name_; }
  using PciFunction::add_bar;
  using PciFunction::add_capability;
  using PciFunction::add_msi;
  using PciFunction::add_msix;
  using PciFunction::add_msix_bar;
  using PciFunction::add_power_management;
  using PciFunction::add_rom;
  using PciFunction::add_vendor_capability;
  using PciFunction::config;
  using PciFunction::msi;
  using PciFunction::msix;
  using PciFunction::on_config_read;
  using PciFunction::on_config_write;

  void intx(bool level) {
    const DeviceGuard guard(*this);
    set_intx(level);
  }
  bool signal(unsigned vector) {
    const DeviceGuard guard(*this);
    return signal_vector(vector);
  }
  void command(std::uint16_t value) { config_write(pci::kCommand, 2, value); }
  std::uint16_t status() { return static_cast<std::uint16_t>(config_read(pci::kStatus, 2)); }

  unsigned resets = 0;

 protected:
  void reset_chip() override { ++resets; }

 private:
  const std::string name_;
};

/// Saves FROM and loads the result into TO.
inline Result<> transfer(Device& from, Device& to) {
  state::Writer writer;
  from.save(writer);
  state::Reader reader(writer.bytes());
  return to.load(reader);
}

}  // namespace doppel::hw::test
