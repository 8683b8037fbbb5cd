// A PCI-to-PCI bridge: PCI-to-PCI Bridge Architecture 1.2, seen as QEMU's "pci-bridge" (1b36:0001).
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "hw/pci/pci_bus.h"
#include "hw/pci/pci_function.h"

namespace doppel::hw {

struct PciBridgeOptions {
  std::string bus_name = "pci.1";  // of the secondary bus
  std::uint8_t chassis = 1;        // in the slot numbering capability
};

/// Its windows are aliases, on the primary bus, of the secondary bus's whole I/O and memory space: 16-bit I/O, 32-bit
/// memory, 64-bit prefetchable memory and the legacy VGA ranges. ISA mode and subtractive decoding are not offered.
/// Interrupts of the secondary bus leave on the pin that the swizzle names. Secondary bus reset resets the functions
/// behind, on the thread of the guest's write, after the bridge's lock is dropped.
class PciBridge final : public PciFunction {
 public:
  PciBridge(const PciServices& services, const PciBridgeOptions& options);
  ~PciBridge() override;

  [[nodiscard]] std::string_view name() const override { return "pci-bridge"; }
  [[nodiscard]] PciBridge* as_bridge() override { return this; }

  [[nodiscard]] PciBus& secondary() { return secondary_; }
  /// As the guest numbered it; 0 before. Any thread.
  [[nodiscard]] unsigned secondary_number() const { return secondary_number_.load(std::memory_order_relaxed); }
  /// Does a configuration cycle for BUS go down this bridge?
  [[nodiscard]] bool forwards(unsigned bus) const;

 protected:
  void reset_chip() override;
  void decoding_changed() override;
  void attached(PciBus& bus) override;
  void detached(PciBus& bus) override;

 private:
  /// An alias and what the registers last made of it.
  struct Window {
    memory::RegionPtr alias;
    std::uint64_t base = 0;
    std::uint64_t size = 0;  // 0: closed
  };
  enum WindowIndex : std::uint8_t { kIo, kMemory, kPrefetch, kVgaMemory, kVgaMono, kVgaColour, kWindows };

  void define_registers(std::uint8_t chassis);
  void make_windows();
  [[nodiscard]] const memory::RegionPtr& container_of(const PciBus& bus, unsigned window) const;
  void set_window(WindowIndex index, bool enabled, std::uint64_t base, std::uint64_t limit);
  void update_io_window();
  void update_memory_windows();
  void update_vga_windows();
  void bus_numbers_written();

  std::atomic<std::uint8_t> secondary_number_{0};
  std::atomic<std::uint8_t> subordinate_number_{0};
  IrqFunction upstream_pins_;
  IrqFunction reset_sink_;
  IrqLine reset_wire_;  // RST# of the secondary bus
  PciBus secondary_;
  std::array<Window, kWindows> windows_;
};

}  // namespace doppel::hw
