// The PIIX3's IDE controller (82371SB function 1, 290550-002): two cables at the ports and interrupts that PCs have had
// for them since the AT, and a bus master for each.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>

#include "hw/disk/disk_queue.h"
#include "hw/ide/ide_channel.h"
#include "hw/pci/io_function.h"
#include "hw/pci/pci_function.h"

namespace doppel::hw {

class Piix3Ide final : public PciFunction {
 public:
  static constexpr unsigned kChannels = 2;
  /// ISA interrupts and ports of the two channels.
  static constexpr std::array<unsigned, kChannels> kIrqs{14, 15};
  static constexpr std::array<std::uint16_t, kChannels> kCommandPorts{0x1f0, 0x170};
  static constexpr std::array<std::uint16_t, kChannels> kControlPorts{0x3f6, 0x376};

  /// ISA_IRQS has the ISA interrupts as pins 0..15.
  static Result<std::unique_ptr<Piix3Ide>> create(const PciServices& services, IrqSink& isa_irqs);
  ~Piix3Ide() override;

  [[nodiscard]] std::string_view name() const override { return "piix3-ide"; }
  /// INDEX 0 is the primary one.
  [[nodiscard]] IdeChannel& channel(unsigned index) { return *channels_.at(index); }

  void save(state::Writer& writer) override;
  Result<> load(state::Reader& reader) override;

 protected:
  void reset_chip() override;
  void decoding_changed() override;
  void attached(PciBus& bus) override;
  void detached(PciBus& bus) override;

 private:
  Piix3Ide(const PciServices& services, IrqSink& isa_irqs);
  void define_registers();
  [[nodiscard]] std::uint64_t read_bus_master(std::uint64_t offset, unsigned size);
  void write_bus_master(std::uint64_t offset, unsigned size, std::uint64_t value);

  DiskQueue queue_{*this};
  std::array<std::unique_ptr<IdeChannel>, kChannels> channels_;
  std::array<memory::RegionPtr, kChannels> command_regions_;
  std::array<memory::RegionPtr, kChannels> control_regions_;
  IoFunction bus_master_ports_;
};

}  // namespace doppel::hw
