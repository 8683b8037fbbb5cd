#include "hw/machine/microvm.h"

#include <algorithm>

#include "base/bits.h"
#include "hw/isa/acpi_ged.h"

namespace doppel::hw {

namespace {

constexpr std::uint64_t kMostBelow4g = 3 * kGiB;
constexpr std::uint64_t kGedBase = 0xfea00000;
constexpr int kOverRam = 10;

}  // namespace

MicrovmMachine::MicrovmMachine(MachineParts parts, BoardConfig config)
    : Board(std::move(parts), std::move(config)),
      below_4g_(std::min(parts_.ram_size, kMostBelow4g)),
      above_4g_(parts_.ram_size - below_4g_) {}

Result<std::unique_ptr<MicrovmMachine>> MicrovmMachine::create(MachineParts parts, BoardConfig config) {
  if (!config.properties.pflash0.empty() || !config.properties.pflash1.empty())
    return fail(ErrorKind::kUnsupported, "a microvm has no flash chips; write '-bios FILE' or -machine pc");
  std::unique_ptr<MicrovmMachine> machine(new MicrovmMachine(std::move(parts), std::move(config)));
  DOPPEL_ASSIGN(machine->interrupts_, InterruptBoard::create(machine->parts_, machine->ports_));
  machine->build_memory();
  DOPPEL_TRY(machine->build_isa());
  DOPPEL_TRY(machine->build_firmware());
  return machine;
}

void MicrovmMachine::build_memory() {
  memory::Topology& topology = parts_.topology;
  memory::Region& system = parts_.memory.root();
  system.add(topology.alias("ram-below-4g", parts_.ram, 0, below_4g_), 0);
  if (above_4g_ != 0) system.add(topology.alias("ram-above-4g", parts_.ram, below_4g_, above_4g_), 4 * kGiB);
}

Result<> MicrovmMachine::build_isa() {
  IsaBoardConfig isa;
  isa.pit = config_.properties.pit;
  isa.rtc = config_.properties.rtc != OnOffAuto::kOff;
  isa.hpet = false;
  isa.dma = false;
  isa.i8042 = false;
  isa.rtc_start_ns = config_.rtc_start_ns;
  isa.rtc_slew = config_.rtc_slew;
  isa.cmos.ram_below_4g = below_4g_;
  isa.cmos.ram_above_4g = above_4g_;
  isa.cmos.cpus = static_cast<unsigned>(std::ranges::count(parts_.cpus, true, &CpuSlot::present));
  DOPPEL_ASSIGN(isa_, IsaBoard::create(parts_, isa, *interrupts_, ports_));
  if (config_.properties.isa_serial) DOPPEL_TRY(add_serial_ports());

  auto ged = std::make_unique<AcpiGed>(AcpiGed::Requests{.power_off = [this] { parts_.events.power_off_requested(); },
                                                         .reset = [this] { parts_.events.reset_requested(); }});
  parts_.memory.root().add(parts_.topology.io("acpi-ged", AcpiGed::kSize, *ged, AcpiGed::kIoSizes), kGedBase, kOverRam);
  isa_->own(std::move(ged));
  return {};
}

Result<> MicrovmMachine::build_firmware() {
  FirmwareSite site{.ports = ports_,
                    .rom_space = parts_.memory.root(),
                    .ram_below_4g = below_4g_,
                    .ram_above_4g = above_4g_,
                    .default_image = "bios-microvm.bin"};
  site.direct_boot = config_.bios.empty();
  if (config_.properties.acpi != OnOffAuto::kOff) site.acpi = [this] { return acpi_config(); };
  DOPPEL_ASSIGN(firmware_, BoardFirmware::create(parts_, config_, std::move(site)));
  return {};
}

AcpiConfig MicrovmMachine::acpi_config() const {
  AcpiConfig acpi = common_acpi_config(parts_, config_, isa_->serial_ports());
  acpi.board = AcpiBoard::kMicrovm;
  acpi.ram_below_4g = below_4g_;
  acpi.ram_above_4g = above_4g_;
  acpi.hpet = false;
  acpi.keyboard_controller = false;
  acpi.rtc = config_.properties.rtc != OnOffAuto::kOff;
  acpi.sleep_registers = {.control = kGedBase + AcpiGed::kSleepControl, .reset = kGedBase + AcpiGed::kReset};
  if (pvpanic_port_ != 0) acpi.pvpanic_port = pvpanic_port_;
  return acpi;
}

void MicrovmMachine::reset() {
  Board::reset();
  if (const auto placed = firmware_->reset(); !placed)
    parts_.log.error("cannot start the kernel: {}", placed.error().describe());
}

std::vector<Device*> MicrovmMachine::devices() {
  std::vector<Device*> all = Board::devices();
  all.push_back(&firmware_->fw_cfg());
  return all;
}

}  // namespace doppel::hw
