// What every PCI function has: configuration space, BARs, capabilities, interrupts.
//
// A chip derives from PciFunction and, in its constructor, defines its registers, BARs and capabilities. All of that is
// fixed by the time the function is attached to a PciBus.
//
// Locking and regions. A configuration write runs under the function's own lock; BARs and other windows move at once,
// inside one memory::Transaction, so that the order of locks is always function, then topology. Hence no one may call
// into a device while holding a Transaction, and listeners of an address space must not call devices. Accesses that
// other threads began in the old view still reach the handler after a move: handlers check their own state.
//
// Reset order. PciBus::reset() resets slot by slot, functions ascending. A reset disables decoding, so that all BARs
// leave the bus, then calls reset_chip(). The INTx line falls when the guard is released, after which the interrupt
// router sees it; resetting routers and interrupt controllers before or after makes no difference.
#pragma once

#include <array>
#include <atomic>
#include <bitset>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/log.h"
#include "hw/core/device.h"
#include "hw/core/irq_line.h"
#include "hw/pci/bar.h"
#include "hw/pci/config_space.h"
#include "hw/pci/msi.h"
#include "hw/pci/msi_output.h"
#include "hw/pci/msix.h"
#include "hw/pci/pci_address.h"
#include "memory/dma.h"
#include "memory/region.h"

namespace doppel::hw {

class PciBridge;
class PciBus;

enum class PciHeader : std::uint8_t { kEndpoint = 0, kBridge = 1 };

/// The read-only part of the header.
struct PciIdentity {
  std::uint16_t vendor_id = 0;
  std::uint16_t device_id = 0;
  std::uint8_t revision = 0;
  std::uint32_t class_code = 0;                // base class, subclass, interface: 0xBBSSII
  std::uint16_t subsystem_vendor_id = 0x1af4;  // QEMU's, which guests' drivers look for
  std::uint16_t subsystem_id = 0x1100;
  std::uint8_t interrupt_pin = 0;  // 0: none, 1..4: INTA..INTD
  PciHeader header = PciHeader::kEndpoint;
};

/// What the machine gives each function at birth. DMA and MSI may be null: no bus mastering, no messages.
struct PciServices {
  memory::Topology& topology;
  memory::AddressSpace* dma = nullptr;
  MsiSink* msi = nullptr;
  Logger log;
};

class PciFunction : public Device {
 public:
  PciFunction(const PciIdentity& identity, const PciServices& services);
  ~PciFunction() override;

  /// Configuration cycles of 1, 2 or 4 bytes within one dword. Any thread.
  [[nodiscard]] std::uint32_t config_read(unsigned offset, unsigned size);
  void config_write(unsigned offset, unsigned size, std::uint32_t value);

  void reset() final;
  /// A subclass with state of its own overrides both, calls these first, then saves or loads its section.
  void save(state::Writer& writer) override;
  Result<> load(state::Reader& reader) override;

  /// `multifunction=on`: function 0 tells the guest to look for others. Before attaching.
  void set_multifunction(bool on);
  [[nodiscard]] bool multifunction() const { return multifunction_; }

  /// Where it is attached; nullptr and 00.0 before.
  [[nodiscard]] PciBus* bus() const { return bus_; }
  [[nodiscard]] PciAddress address() const { return address_; }
  [[nodiscard]] virtual PciBridge* as_bridge() { return nullptr; }

  /// Guest memory, for as long as the guest lets this function (and every bridge above it) be a bus master.
  /// Any thread, with or without the lock.
  [[nodiscard]] Result<memory::DmaSpace> dma() const;
  [[nodiscard]] bool bus_master_enabled() const { return bus_master_.load(std::memory_order_acquire); }
  /// Where BAR number INDEX is mapped now. Takes the lock.
  [[nodiscard]] std::optional<std::uint64_t> bar_address(unsigned index);

 protected:
  // Building, in the constructor.

  /// BAR number INDEX: 0..5, or 0..1 in a bridge; a 64-bit one takes INDEX + 1 too.
  Result<> add_bar(unsigned index, BarKind kind, memory::RegionPtr region, Prefetch prefetch = Prefetch::kNo);
  Result<> add_rom(memory::RegionPtr region);
  /// Links a capability of SIZE bytes (its 2-byte header included) and returns its offset: AT, or if that is 0 the
  /// first place that is free. Its registers are the caller's to define.
  Result<std::uint8_t> add_capability(std::uint8_t id, std::uint8_t size, std::uint8_t at = 0);
  /// A vendor-specific capability: the length byte, then BODY, all read-only.
  Result<std::uint8_t> add_vendor_capability(std::span<const std::uint8_t> body, std::uint8_t at = 0);
  /// D0 and D3hot, without reset between them.
  Result<> add_power_management(std::uint8_t at = 0);
  Result<> add_msi(const MsiOptions& options, std::uint8_t at = 0);
  /// The caller puts msix()->table_region() and pba_region() where LAYOUT says.
  Result<> add_msix(const MsixLayout& layout, std::uint8_t at = 0);
  /// MSI-X with a 32-bit memory BAR of its own.
  Result<> add_msix_bar(unsigned index, unsigned vectors, std::uint8_t at = 0);
  /// HOOK runs, under the lock, after each guest write that touches [FIRST, FIRST + LENGTH).
  void on_config_write(unsigned first, unsigned length, std::function<void()> hook);
  /// HOOK runs, under the lock, before each guest read that touches the range.
  void on_config_read(unsigned first, unsigned length, std::function<void()> hook);

  // Running, under the lock.

  [[nodiscard]] ConfigSpace& config() { return config_; }
  [[nodiscard]] const ConfigSpace& config() const { return config_; }
  [[nodiscard]] memory::Topology& topology() const { return topology_; }
  [[nodiscard]] const Logger& log() const { return log_; }
  /// The COMMAND register as it acts: no decoding, no mastering in D3hot.
  [[nodiscard]] std::uint16_t effective_command() const;
  /// The level of the function's INTx source. It shows in STATUS, and on the pin unless disabled or MSI is in use.
  void set_intx(bool level);
  [[nodiscard]] MsiCapability* msi() { return msi_ ? &*msi_ : nullptr; }
  [[nodiscard]] MsixCapability* msix() { return msix_.get(); }
  /// Sends VECTOR by MSI-X or MSI, whichever the guest enabled. False if neither: use INTx.
  bool signal_vector(unsigned vector);
  /// Where BAR number INDEX is mapped now.
  [[nodiscard]] const std::optional<std::uint64_t>& mapped_bar(unsigned index) const;

  /// The chip's own part of a reset, under the lock; configuration space is back to its defined values.
  virtual void reset_chip() {}
  /// COMMAND, power state or everything (reset, load) changed; under the lock, inside a Transaction.
  virtual void decoding_changed() {}
  /// For ports and windows that are not BARs: add them to, and remove them from, the bus's containers.
  virtual void attached(PciBus& /*bus*/) {}
  virtual void detached(PciBus& /*bus*/) {}

 private:
  friend class PciBus;
  struct Hook {
    unsigned first;
    unsigned length;
    std::function<void()> run;
  };
  static void run_hooks(const std::vector<Hook>& hooks, unsigned offset, unsigned size);

  void define_header(const PciIdentity& identity);
  void attach_to(PciBus& bus, PciAddress address);
  void detach_from(PciBus& bus);
  Result<> store_bar(unsigned slot, Bar bar);
  [[nodiscard]] Result<std::uint8_t> place_capability(std::uint8_t size, std::uint8_t at) const;
  void power_state_written();
  void apply_config();
  void update_intx();
  void drive_intx(bool level);
  [[nodiscard]] Result<> check_saved_layout(const ConfigSpace::Bytes& saved) const;

  static constexpr unsigned kRomSlot = 6;

  memory::Topology& topology_;
  memory::AddressSpace* const dma_;
  Logger log_;
  const PciHeader header_;
  const std::uint8_t interrupt_pin_;
  ConfigSpace config_;
  std::vector<Hook> write_hooks_;
  std::vector<Hook> read_hooks_;
  std::array<std::optional<Bar>, kRomSlot + 1> bars_;
  std::bitset<ConfigSpace::kSize> capability_bytes_;
  unsigned power_management_ = 0;  // the capability's offset, 0 without
  std::uint8_t power_state_ = 0;
  std::atomic<bool> bus_master_{false};
  bool intx_ = false;
  bool multifunction_ = false;
  PciBus* bus_ = nullptr;
  PciAddress address_;
  IrqFunction intx_sink_{[this](unsigned /*pin*/, bool level) { drive_intx(level); }};
  IrqLine intx_line_{*this, {&intx_sink_, 0}};
  MsiOutput msi_output_;
  std::optional<MsiCapability> msi_;
  std::unique_ptr<MsixCapability> msix_;
};

}  // namespace doppel::hw
