// The PIIX4's power management function (82371AB function 3, 290562-001 chapter 7), with QEMU's GPE block.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "event/clock.h"
#include "hw/core/irq_line.h"
#include "hw/pci/acpi_pm1.h"
#include "hw/pci/io_function.h"
#include "hw/pci/pci_function.h"
#include "hw/pci/piix4_smbus.h"

namespace doppel::hw {

enum class SleepState : std::uint8_t { kS3, kS4, kS5 };

struct Piix4PmOptions {
  bool disable_s3 = false;  // the guest's request is then ignored
  bool disable_s4 = false;
  std::uint8_t s4_type = 2;  // SLP_TYP that the DSDT's \_S4 names; S5 is 0 and S3 is 1
  bool smm = false;          // false: firmware finds SMIs set up already and leaves system management mode alone
};

/// What the guest asks of the machine. Called on the thread of its write, with no lock held.
struct Piix4PmRequests {
  std::function<void(SleepState)> sleep;  // S5: power off
  std::function<void()> smi;              // an SMI to the processor that wrote
};

/// Ports, which it adds to the bus when attached: PM1 and friends at PMBASE (64 ports, if PMREGMISC.PMIOSE), the SMBus
/// host at SMBBA (16, if SMBHSTCFG enables it), GPE0 at AFE0h (4) and the APM pair at B2h (2).
/// The SCI is active while SCI_EN and any enabled PM1 or GPE0 event are; its pin is ISA IRQ 9.
class Piix4Pm final : public PciFunction {
 public:
  static constexpr unsigned kSciIrq = 9;
  static constexpr std::uint64_t kGpeBase = 0xafe0;
  static constexpr unsigned kGpeSize = 4;
  static constexpr std::uint64_t kApmBase = 0xb2;
  // Where in configuration space firmware puts PMBASE and enables it.
  static constexpr unsigned kPmBaseRegister = 0x40;
  static constexpr unsigned kPmEnableRegister = 0x80;
  static constexpr std::uint8_t kAcpiEnable = 0xf1;  // written to B2h
  static constexpr std::uint8_t kAcpiDisable = 0xf0;

  Piix4Pm(const PciServices& services, event::Clock& clock, IrqPin sci, const Piix4PmOptions& options,
          Piix4PmRequests requests);
  ~Piix4Pm() override;

  [[nodiscard]] std::string_view name() const override { return "PIIX4_PM"; }

  /// The user pressed the button: the guest is told and decides.
  void power_button();
  /// After a sleep: EVENT is what woke the machine (kWake for nothing in particular).
  void wake(PmEvent event);
  /// General purpose event BIT, 0..15, happened.
  void raise_gpe(unsigned bit);

  void save(state::Writer& writer) override;
  Result<> load(state::Reader& reader) override;

 protected:
  void reset_chip() override;
  void attached(PciBus& bus) override;
  void detached(PciBus& bus) override;

 private:
  struct Gpe {
    std::uint16_t status = 0;
    std::uint16_t enable = 0;
  };

  void define_registers();
  void place_ports();
  void timer_due();
  void update_sci();
  void request_sleep(unsigned type);

  [[nodiscard]] std::uint64_t read_pm(std::uint64_t offset, unsigned size);
  void write_pm(std::uint64_t offset, unsigned size, std::uint64_t value);
  [[nodiscard]] std::uint64_t read_gpe(std::uint64_t offset);
  void write_gpe(std::uint64_t offset, std::uint8_t value);
  [[nodiscard]] std::uint64_t read_apm(std::uint64_t offset);
  void write_apm(std::uint64_t offset, std::uint8_t value);
  [[nodiscard]] bool smi_enabled() const;

  static constexpr unsigned kPmSize = 64;
  static constexpr unsigned kStorageFirst = 0x10;  // PCNTRL and up: kept, without effect but for GLBCTL

  const Piix4PmOptions options_;
  const Piix4PmRequests requests_;
  AcpiPm1 pm1_;
  Gpe gpe_;
  std::array<std::uint8_t, kPmSize> storage_{};
  std::uint8_t apm_control_ = 0;
  std::uint8_t apm_status_ = 0;
  Piix4Smbus smbus_;
  IrqLine sci_;
  IoFunction pm_ports_;
  IoFunction smbus_ports_;
  IoFunction gpe_ports_;
  IoFunction apm_ports_;
  memory::RegionPtr pm_region_;
  memory::RegionPtr smbus_region_;
  memory::RegionPtr gpe_region_;
  memory::RegionPtr apm_region_;
};

}  // namespace doppel::hw
