// The standard VGA of QEMU, `-vga std`: a VGA with the Bochs display interface, on PCI (docs/display.md).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hw/core/property.h"
#include "hw/display/bochs_dispi.h"
#include "hw/display/vga_memory.h"
#include "hw/display/vga_registers.h"
#include "hw/pci/io_function.h"
#include "hw/pci/pci_function.h"
#include "memory/ram_block.h"
#include "ui/screen.h"

namespace doppel::hw {

struct VgaConfig {
  std::uint32_t vgamem_mb = 16;
  std::string romfile = "vgabios-stdvga.bin";
};

inline const PropertyTable<VgaConfig> kVgaProperties = {
    {"vgamem_mb", &VgaConfig::vgamem_mb, "display memory in MiB, rounded up to a power of two"},
    {"romfile", &VgaConfig::romfile, "the video BIOS, or nothing"},
};

/// Is there so much display memory?
Result<> check_config(const VgaConfig& config);

/// Registers alone: the display memory is RAM, and carried as such.
struct VgaState {
  static constexpr std::string_view kName = "vga";
  static constexpr std::uint32_t kVersion = 1;
  VgaRegisters registers;
  BochsDispiState dispi;
  void describe(auto& fields) {
    fields("registers", registers);
    fields("dispi", dispi);
  }
};

/// PCI 1234:1111. BAR 0 is the display memory, BAR 2 has its registers once more, the ROM is the video BIOS. The
/// window A0000-BFFFF and the ports of a VGA answer while the COMMAND register lets memory and I/O be decoded.
class Vga final : public PciFunction, public ui::ScreenSource {
 public:
  struct PortRange {
    std::uint16_t first;
    std::uint16_t count;
  };
  /// 3BC to 3BF, in between, are a parallel port's. The last are the Bochs display interface's.
  static constexpr std::array<PortRange, 6> kPorts = {
      {{0x3b4, 2}, {0x3ba, 1}, {0x3c0, 16}, {0x3d4, 2}, {0x3da, 1}, {0x1ce, 4}}};

  /// ROM is the video BIOS's image, up to 16 MiB; empty: none.
  static Result<std::unique_ptr<Vga>> create(const PciServices& services, const VgaConfig& config,
                                             std::span<const std::byte> rom);

  [[nodiscard]] std::string_view name() const override { return "VGA"; }
  void save(state::Writer& writer) override;
  Result<> load(state::Reader& reader) override;

  void read_screen(ui::Screen& screen) override;

 protected:
  void reset_chip() override;
  void decoding_changed() override;
  void attached(PciBus& bus) override;
  void detached(PciBus& bus) override;

 private:
  Vga(const PciServices& services, std::shared_ptr<memory::RamBlock> memory);
  Result<> build(std::span<const std::byte> rom);
  Result<> add_video_bios(std::span<const std::byte> rom);
  void build_ports();

  [[nodiscard]] VgaMemory window_memory() const { return {memory_->bytes(), dispi_.bank(), dispi_.enabled()}; }
  [[nodiscard]] std::uint64_t read_window(std::uint64_t offset, unsigned size);
  void write_window(std::uint64_t offset, unsigned size, std::uint64_t value);
  [[nodiscard]] std::uint64_t read_port(std::uint16_t port);
  void write_port(std::uint16_t port, std::uint8_t value);
  [[nodiscard]] std::uint64_t read_dispi_port(std::uint64_t offset, unsigned size);
  void write_dispi_port(std::uint64_t offset, unsigned size, std::uint64_t value);
  [[nodiscard]] std::uint64_t read_registers(std::uint64_t offset, unsigned size);
  void write_registers(std::uint64_t offset, unsigned size, std::uint64_t value);
  void write_dispi(unsigned index, std::uint16_t value);
  void enter_svga_mode();

  const std::shared_ptr<memory::RamBlock> memory_;
  VgaRegisters registers_;
  BochsDispi dispi_;
  IoFunction window_;
  IoFunction dispi_ports_;
  IoFunction register_window_;
  std::vector<std::unique_ptr<IoFunction>> port_handlers_;
  memory::RegionPtr window_region_;
  std::vector<memory::RegionPtr> port_regions_;  // in the order of kPorts
};

}  // namespace doppel::hw
