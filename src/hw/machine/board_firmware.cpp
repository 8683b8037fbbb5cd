#include "hw/machine/board_firmware.h"

#include <algorithm>
#include <ranges>

#include "hw/firmware/acpi.h"
#include "hw/firmware/boot_rom.h"
#include "hw/firmware/firmware_image.h"
#include "hw/firmware/kernel_loader.h"
#include "hw/firmware/smbios.h"

namespace doppel::hw {

BoardFirmware::BoardFirmware(const MachineParts& parts, const BoardConfig& config, FirmwareSite site)
    : parts_(parts),
      config_(config),
      site_(std::move(site)),
      memory_(parts.memory),
      fw_cfg_(memory_, parts.log.named("fw_cfg")) {}

Result<std::unique_ptr<BoardFirmware>> BoardFirmware::create(const MachineParts& parts, const BoardConfig& config,
                                                             FirmwareSite site) {
  if (config.kernel.empty() && !config.initrd.empty())
    return fail(ErrorKind::kInvalidArgument, "-initrd only makes sense together with -kernel");
  if (config.kernel.empty() && !config.command_line.empty())
    return fail(ErrorKind::kInvalidArgument, "-append only makes sense together with -kernel");
  std::unique_ptr<BoardFirmware> firmware(new BoardFirmware(parts, config, std::move(site)));
  DOPPEL_TRY(firmware->fill_fw_cfg());
  firmware->fixed_boot_order_ = firmware->fw_cfg_.file("bootorder");
  DOPPEL_TRY(firmware->read_kernel());
  if (!firmware->boots_directly() && !firmware->site_.in_flash) DOPPEL_TRY(firmware->load_image());
  DOPPEL_TRY(
      firmware->site_.ports.add("fw_cfg", kFwCfgBasePort, kFwCfgPortCount, firmware->fw_cfg_, FwCfg::kPortSizes));
  return firmware;
}

SmbiosConfig BoardFirmware::smbios() const {
  SmbiosConfig smbios = config_.smbios;
  smbios.ram_size = parts_.ram_size;
  smbios.ram = firmware_memory_map(site_.ram_below_4g, site_.ram_above_4g).ram();
  return smbios;
}

Result<> BoardFirmware::fill_fw_cfg() {
  FwCfgBasics basics;
  basics.uuid = config_.uuid;
  basics.ram_size = parts_.ram_size;
  basics.no_graphic = !config_.has_display || !config_.properties.graphics;
  basics.cpu_count = static_cast<std::uint16_t>(std::ranges::count(parts_.cpus, true, &CpuSlot::present));
  for (const CpuSlot& cpu : parts_.cpus) basics.max_apic_id = std::max(basics.max_apic_id, cpu.apic_id);
  basics.boot_menu = config_.boot_menu;
  basics.boot_menu_wait = config_.boot_menu_wait_ms;
  basics.reboot_timeout = config_.reboot_timeout_ms;
  basics.hpet = config_.properties.hpet;
  basics.s3 = config_.offers_s3;
  basics.s4 = config_.offers_s4;
  fw_cfg_.add_basics(basics);
  DOPPEL_TRY(fw_cfg_.add_file("etc/e820", firmware_memory_map(site_.ram_below_4g, site_.ram_above_4g).encode_e820()));
  DOPPEL_TRY(add_smbios(fw_cfg_, smbios()));
  if (site_.acpi) DOPPEL_TRY(add_acpi(fw_cfg_, site_.acpi));
  for (const NamedBlob& file : config_.fw_cfg_files) {
    auto added = fw_cfg_.add_file(file.name, file.data);
    if (!added) return std::unexpected(std::move(added).error().wrap(fmt::format("-fw_cfg {}", file.name)));
  }
  if (config_.boot_strict) DOPPEL_TRY(prepend_boot_order(fw_cfg_, "HALT"));
  return {};
}

Result<> BoardFirmware::add_boot_device(std::uint32_t index, std::string path) {
  const auto [place, is_new] = boot_devices_.emplace(index, std::move(path));
  if (!is_new) return fail(ErrorKind::kAlreadyExists, "bootindex={} is taken by {}", index, place->second);
  DOPPEL_TRY(fw_cfg_.set_file("bootorder", fixed_boot_order_));
  for (const auto& [unused, device] : boot_devices_ | std::views::reverse)
    DOPPEL_TRY(prepend_boot_order(fw_cfg_, device));
  return fw_cfg_.has_file(kBootRomFile) ? prepend_boot_order(fw_cfg_, kBootRomOrder) : Result<>();
}

Result<> BoardFirmware::read_kernel() {
  if (config_.kernel.empty()) return {};
  DOPPEL_ASSIGN(auto files, read_kernel_files(config_.kernel, config_.initrd, config_.command_line));
  if (!site_.direct_boot) {
    const BootMemory memory{.map = firmware_memory_map(site_.ram_below_4g, site_.ram_above_4g)};
    return load_kernel(fw_cfg_, files, memory);
  }
  kernel_ = std::move(files);
  const BootMemory memory{.map = direct_memory_map(site_.ram_below_4g, site_.ram_above_4g), .rsdp = kDirectRsdpBase};
  DOPPEL_TRY(plan_kernel(*kernel_, memory));  // a bad kernel is told of now, not at the first reset
  return {};
}

Result<> BoardFirmware::load_image() {
  const std::string_view wanted = config_.bios.empty() ? site_.default_image : std::string_view(config_.bios);
  const auto load = [&]() -> Result<SystemFirmware> {
    DOPPEL_ASSIGN(const std::string path, find_firmware(wanted, config_.firmware_directories));
    return load_system_firmware(path);
  };
  const auto image = load();
  if (!image)
    return std::unexpected(Error(image.error())
                               .wrap(config_.bios.empty()
                                         ? "no firmware; write '-bios FILE' or '-L DIRECTORY', or install seabios"
                                         : "-bios"));
  map_firmware(parts_.topology, site_.rom_space, *image);
  return {};
}

Result<> BoardFirmware::reset() {
  if (!kernel_) return {};
  BootMemory memory{.map = direct_memory_map(site_.ram_below_4g, site_.ram_above_4g)};
  if (site_.acpi) {
    DOPPEL_ASSIGN(memory.rsdp, place_acpi(site_.acpi(), memory_));
  }
  DOPPEL_TRY(place_smbios(smbios(), memory_));
  DOPPEL_ASSIGN(const auto plan, plan_kernel(*kernel_, memory));
  entry_.emplace();
  return place(plan, memory_, *entry_);
}

AcpiConfig common_acpi_config(const MachineParts& parts, const BoardConfig& config,
                              const std::vector<SerialPort>& serial_ports) {
  AcpiConfig acpi;
  acpi.cpus.clear();
  for (const CpuSlot& cpu : parts.cpus)
    acpi.cpus.push_back({.apic_id = cpu.apic_id, .node = cpu.numa_node, .present = cpu.present});
  for (std::size_t i = 0; i < parts.numa_memory.size(); ++i) {
    AcpiNumaNode node;
    node.memory = parts.numa_memory[i].size;
    const std::size_t count = parts.numa_memory.size();
    if (parts.numa_distances.size() == count * count)
      node.distances.assign(parts.numa_distances.begin() + static_cast<std::ptrdiff_t>(i * count),
                            parts.numa_distances.begin() + static_cast<std::ptrdiff_t>((i + 1) * count));
    acpi.nodes.push_back(std::move(node));
  }
  for (const SerialPort& port : serial_ports)
    acpi.serial_ports.push_back({.number = port.index + 1, .port = port.port, .irq = port.irq});
  acpi.user_tables = config.acpi_tables;
  return acpi;
}

}  // namespace doppel::hw
