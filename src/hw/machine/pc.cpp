#include "hw/machine/pc.h"

#include <algorithm>
#include <iterator>
#include <tuple>
#include <utility>

#include "base/bits.h"

namespace doppel::hw {

namespace {

// The board's slots.
constexpr PciAddress kHostBridgePlace{0, 0};
constexpr PciAddress kIsaBridgePlace{1, 0};
constexpr PciAddress kIdeControllerPlace{1, 1};
constexpr PciAddress kPowerManagementPlace{1, 3};

constexpr std::uint64_t kMostBelow4g = 0xe0000000;  // 3.5 GiB
constexpr std::uint64_t kSplitBelow4g = 0xc0000000;
constexpr std::uint64_t kPciHoleEnd = 0xfec00000;  // the I/O APIC
constexpr std::uint64_t kPciHole64Size = 2 * kGiB;

}  // namespace

PcMemorySplit split_pc_memory(std::uint64_t ram_size, std::uint64_t limit) {
  std::uint64_t most = ram_size >= kMostBelow4g ? kSplitBelow4g : kMostBelow4g;
  if (limit != 0) most = std::min(most, std::max(align_down(limit, kMiB), kMiB));
  const std::uint64_t below = std::min(ram_size, most);
  return {.below_4g = below, .above_4g = ram_size - below};
}

PcMachine::PcMachine(MachineParts parts, BoardConfig config)
    : Board(std::move(parts), std::move(config)),
      split_(split_pc_memory(parts_.ram_size, config_.properties.max_ram_below_4g.bytes)),
      pci_memory_(parts_.topology.container("pci", 0)),
      pirq_pins_([this](unsigned pin, bool level) {
        if (isa_bridge_ != nullptr) isa_bridge_->set_irq(pin, level);
      }) {}

Result<std::unique_ptr<PcMachine>> PcMachine::create(MachineParts parts, BoardConfig config) {
  std::unique_ptr<PcMachine> machine(new PcMachine(std::move(parts), std::move(config)));
  DOPPEL_ASSIGN(machine->interrupts_, InterruptBoard::create(machine->parts_, machine->ports_));
  DOPPEL_TRY(machine->build_pci());
  DOPPEL_TRY(machine->build_isa());
  DOPPEL_TRY(machine->build_firmware());
  DOPPEL_TRY(machine->build_ide());
  DOPPEL_ASSIGN(machine->floppy_, FloppyBoard::create(machine->parts_, *machine->interrupts_, *machine->isa_,
                                                      machine->ports_, *machine->firmware_));
  return machine;
}

Result<> PcMachine::build_pci() {
  pci_bus_ = std::make_unique<PciBus>("pci.0", pci_memory_, parts_.ports.root_region(), pirq_pins_, i440fx_swizzle);
  add_pci_bus(*pci_bus_);
  DOPPEL_ASSIGN(auto host_bridge, I440fx::create(pci_services("i440fx"), {.system = parts_.memory.root_region(),
                                                                          .ram = parts_.ram,
                                                                          .low_ram = parts_.low_ram,
                                                                          .below_4g = split_.below_4g,
                                                                          .above_4g = split_.above_4g,
                                                                          .pci = pci_memory_}));
  host_bridge_ = host_bridge.get();
  auto isa_bridge =
      std::make_unique<Piix3>(pci_services("piix3"), *interrupts_, [this] { parts_.events.reset_requested(); });
  isa_bridge_ = isa_bridge.get();
  DOPPEL_TRY(plug(std::move(host_bridge), kHostBridgePlace));
  DOPPEL_TRY(plug(std::move(isa_bridge), kIsaBridgePlace));
  pci_host_ =
      std::make_unique<PciHost>(parts_.topology, *pci_bus_, &isa_bridge_->reset_control(), parts_.log.named("pci"));
  DOPPEL_TRY(ports_.reserve("pci-host", PciHost::kAddressPort, 8));
  parts_.ports.root().add(pci_host_->address_region(), PciHost::kAddressPort);
  parts_.ports.root().add(pci_host_->data_region(), PciHost::kDataPort);
  return has_acpi() ? build_power_management() : Result<>();
}

Result<> PcMachine::build_power_management() {
  Piix4PmRequests requests;
  requests.sleep = [&events = parts_.events](SleepState state) {
    if (state == SleepState::kS3)
      events.suspend_requested();
    else
      events.power_off_requested();
  };
  // Without firmware nobody would resume the guest.
  const Piix4PmOptions sleep_states{.disable_s3 = !config_.offers_s3 || boots_directly(),
                                    .disable_s4 = !config_.offers_s4};
  auto power =
      std::make_unique<Piix4Pm>(pci_services("piix4"), parts_.clock, IrqPin{interrupts_.get(), Piix4Pm::kSciIrq},
                                sleep_states, std::move(requests));
  power_management_ = power.get();
  DOPPEL_TRY(ports_.reserve("apm", Piix4Pm::kApmBase, 2));
  DOPPEL_TRY(ports_.reserve("acpi-gpe0", Piix4Pm::kGpeBase, Piix4Pm::kGpeSize));
  return plug(std::move(power), kPowerManagementPlace);
}

Result<> PcMachine::plug(std::unique_ptr<PciFunction> function, PciAddress where) {
  DOPPEL_TRY(pci_bus_->attach(*function, where));
  functions_.push_back(std::move(function));
  return {};
}

Result<> PcMachine::build_isa() {
  IsaBoardConfig isa;
  isa.pit = config_.properties.pit;
  isa.hpet = config_.properties.hpet;
  isa.i8042 = config_.properties.i8042;
  isa.rtc_start_ns = config_.rtc_start_ns;
  isa.rtc_slew = config_.rtc_slew;
  isa.cmos.ram_below_4g = split_.below_4g;
  isa.cmos.ram_above_4g = split_.above_4g;
  isa.cmos.cpus = static_cast<unsigned>(std::ranges::count(parts_.cpus, true, &CpuSlot::present));
  isa.cmos.boot_order = config_.boot_order;
  isa.cmos.check_floppy_signature = config_.properties.fd_bootchk;
  DOPPEL_ASSIGN(isa_, IsaBoard::create(parts_, isa, *interrupts_, ports_));
  if (!config_.boot_once.empty())
    DOPPEL_TRY(set_boot_order(*isa_->rtc(), config_.boot_once, config_.properties.fd_bootchk));
  return add_serial_ports();
}

Result<> PcMachine::build_ide() {
  DOPPEL_ASSIGN(auto controller, Piix3Ide::create(pci_services("piix3-ide"), *interrupts_));
  for (unsigned i = 0; i < Piix3Ide::kChannels; ++i) {
    DOPPEL_TRY(ports_.reserve("ide", Piix3Ide::kCommandPorts.at(i), IdeChannel::kCommandPorts));
    DOPPEL_TRY(ports_.reserve("ide", Piix3Ide::kControlPorts.at(i), 1));
  }
  ide_ = std::make_unique<IdeBoard>(parts_, *controller, *isa_->rtc(), *firmware_);
  return plug(std::move(controller), kIdeControllerPlace);
}

Result<> PcMachine::build_firmware() {
  FirmwareSite site{.ports = ports_,
                    .rom_space = *pci_memory_,
                    .ram_below_4g = split_.below_4g,
                    .ram_above_4g = split_.above_4g,
                    .default_image = "bios-256k.bin"};
  site.direct_boot = config_.properties.direct_boot;
  DOPPEL_ASSIGN(flash_, build_flash(parts_, config_, *pci_memory_));
  site.in_flash = !flash_.empty();
  if (has_acpi()) site.acpi = [this] { return acpi_config(); };
  DOPPEL_ASSIGN(firmware_, BoardFirmware::create(parts_, config_, std::move(site)));
  return {};
}

AcpiConfig PcMachine::acpi_config() const {
  AcpiConfig acpi = common_acpi_config(parts_, config_, isa_->serial_ports());
  acpi.ram_below_4g = split_.below_4g;
  acpi.ram_above_4g = split_.above_4g;
  acpi.pci_hole_32 = {split_.below_4g, kPciHoleEnd};
  const std::uint64_t hole_64 = align_up(4 * kGiB + split_.above_4g, kGiB);
  acpi.pci_hole_64 = {hole_64, hole_64 + kPciHole64Size};
  acpi.s3 = config_.offers_s3 && !boots_directly();
  acpi.s4 = config_.offers_s4;
  acpi.hpet = config_.properties.hpet;
  acpi.keyboard_controller = config_.properties.i8042;
  acpi.floppy_controller = true;
  acpi.pm_base = pm_base();
  if (pvpanic_port_ != 0) acpi.pvpanic_port = pvpanic_port_;
  return acpi;
}

/// Where firmware has put the power management's ports: SeaBIOS and OVMF differ. Asked when it fetches the tables.
std::uint16_t PcMachine::pm_base() const {
  constexpr std::uint32_t kAddressBits = 0xffc0;
  if (power_management_ == nullptr || (power_management_->config_read(Piix4Pm::kPmEnableRegister, 1) & 1U) == 0)
    return AcpiConfig{}.pm_base;
  return static_cast<std::uint16_t>(power_management_->config_read(Piix4Pm::kPmBaseRegister, 4) & kAddressBits);
}

void PcMachine::reset() {
  Board::reset();
  if (!std::exchange(is_first_boot_, false) && !config_.boot_once.empty())
    // Both orders were found good when the machine was built.
    std::ignore = set_boot_order(*isa_->rtc(), config_.boot_order, config_.properties.fd_bootchk);
  if (firmware_->boots_directly()) set_up_as_firmware_would();
  if (const auto placed = firmware_->reset(); !placed)
    parts_.log.error("cannot start the kernel: {}", placed.error().describe());
}

void PcMachine::wake() {
  constexpr std::uint8_t kCmosShutdownStatus = 0x0f;
  constexpr std::uint8_t kResume = 0xfe;  // SeaBIOS and OVMF go on at the FACS's waking vector then
  Board::reset();
  isa_->rtc()->set_cmos(kCmosShutdownStatus, kResume);
  if (power_management_ != nullptr) power_management_->wake(PmEvent::kPowerButton);
}

/// What a system relies on that firmware does before it: C0000-FFFFF is RAM, the power management's ports are where the
/// FADT has them.
void PcMachine::set_up_as_firmware_would() {
  constexpr unsigned kPam0 = 0x59;
  constexpr unsigned kPam6 = 0x5f;
  constexpr std::uint32_t kReadWrite = 0x33;
  for (unsigned pam = kPam0; pam <= kPam6; ++pam) host_bridge_->config_write(pam, 1, kReadWrite);
  if (power_management_ == nullptr) return;
  power_management_->config_write(Piix4Pm::kPmBaseRegister, 4, AcpiConfig{}.pm_base);
  power_management_->config_write(Piix4Pm::kPmEnableRegister, 1, 1);
}

std::optional<x86::CpuState> PcMachine::boot_entry() {
  return firmware_->boot_entry();
}

void PcMachine::power_button() {
  if (power_management_ != nullptr) power_management_->power_button();
}

std::vector<Device*> PcMachine::devices() {
  std::vector<Device*> all = Board::devices();
  all.push_back(pci_host_.get());
  all.push_back(&firmware_->fw_cfg());
  all.push_back(&floppy_->controller());
  std::ranges::transform(flash_, std::back_inserter(all), &std::unique_ptr<CfiFlash01>::get);
  return all;
}

}  // namespace doppel::hw
