// A PCI bus: slots, configuration cycles, and where its interrupt pins go.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "base/error.h"
#include "hw/core/irq_line.h"
#include "hw/pci/pci_address.h"
#include "memory/region.h"

namespace doppel::hw {

class PciBridge;
class PciFunction;

/// Which of a bus's four interrupt wires the pin INT[A + PIN] of a slot drives.
using IntxSwizzle = unsigned (*)(unsigned slot, unsigned pin);

/// Between a bridge and its secondary bus: (slot + pin) mod 4 (PCI-to-PCI Bridge 1.2, section 9.1).
constexpr unsigned bridge_swizzle(unsigned slot, unsigned pin) {
  return (slot + pin) % 4;
}
/// The i440FX board's wiring, as firmware knows it: slot 1 pin A is PIRQA.
constexpr unsigned i440fx_swizzle(unsigned slot, unsigned pin) {
  return (slot + pin + 3) % 4;
}

/// Attaching and detaching: the main thread. Everything else: any thread. The bus's mutexes guard its tables only;
/// configuration cycles hold none while a function runs. Interrupt wires are wired-OR, and delivered in order.
class PciBus {
 public:
  /// The root bus's number is 0; a secondary one asks its BRIDGE. LINES has the four interrupt wires as pins 0..3.
  PciBus(std::string name, memory::RegionPtr memory, memory::RegionPtr io, IrqSink& lines, IntxSwizzle swizzle,
         PciBridge* bridge = nullptr);
  ~PciBus();
  PciBus(const PciBus&) = delete;
  PciBus& operator=(const PciBus&) = delete;

  [[nodiscard]] const std::string& name() const { return name_; }
  /// What BARs and windows on this bus are put into.
  [[nodiscard]] const memory::RegionPtr& memory() const { return memory_; }
  [[nodiscard]] const memory::RegionPtr& io() const { return io_; }
  [[nodiscard]] unsigned number() const;
  /// The bridge that this bus is behind; nullptr for a root bus.
  [[nodiscard]] PciBridge* bridge() const { return bridge_; }

  /// Plugs FUNCTION in at WHERE, or at function 0 of the first empty slot, and returns the place.
  Result<PciAddress> attach(PciFunction& function, std::optional<PciAddress> where = std::nullopt);
  /// Unplugs it; its interrupt wire falls.
  void detach(PciFunction& function);
  [[nodiscard]] PciFunction* at(PciAddress address) const;
  /// Functions on this bus, by address.
  [[nodiscard]] std::vector<PciFunction*> functions() const;

  /// Configuration cycles, here or behind a bridge of this bus. An absent function reads as ones.
  [[nodiscard]] std::uint32_t config_read(Bdf bdf, unsigned offset, unsigned size) const;
  void config_write(Bdf bdf, unsigned offset, unsigned size, std::uint32_t value);
  [[nodiscard]] PciFunction* find(Bdf bdf) const;

  /// RST#: resets every function of this bus, and with the bridges those behind.
  void reset();
  /// May masters here reach memory, as far as the bridges above are concerned?
  [[nodiscard]] bool upstream_master_enabled() const;
  /// Drives PIN (0..3: INTA..INTD) of a function.
  void set_intx(PciAddress address, unsigned pin, bool level);

 private:
  static constexpr unsigned kPlaces = PciAddress::kDevices * PciAddress::kFunctions;

  [[nodiscard]] Result<PciAddress> choose_place(const PciFunction& function, std::optional<PciAddress> where) const;
  [[nodiscard]] Result<> check_multifunction(const PciFunction& function, PciAddress where) const;
  [[nodiscard]] bool slot_is_empty(unsigned device) const;

  const std::string name_;
  const memory::RegionPtr memory_;
  const memory::RegionPtr io_;
  IrqSink& lines_;
  const IntxSwizzle swizzle_;
  PciBridge* const bridge_;
  mutable std::mutex functions_mutex_;  // guards functions_
  std::array<PciFunction*, kPlaces> functions_{};
  std::mutex intx_mutex_;  // guards pins_ and wires_; held while a wire is driven, to keep levels in order
  std::array<std::uint8_t, kPlaces> pins_{};  // bit N: INT[A + N] is asserted
  std::array<unsigned, 4> wires_{};           // how many pins assert each
};

}  // namespace doppel::hw
