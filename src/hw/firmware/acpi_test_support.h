// Reads tables the way a guest does, after the loader's script has run. For tests only.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "hw/firmware/acpi.h"
#include "hw/firmware/acpi_table.h"

namespace doppel::hw::test {

inline constexpr std::uint64_t kTablesBase = 0x7fe0000;
inline constexpr std::uint64_t kRsdpBase = 0xf5a00;

/// Linked tables in their "guest memory".
struct GuestAcpi {
  TableFiles files;
  std::map<std::string, std::uint64_t, std::less<>> addresses;

  [[nodiscard]] const Bytes& rsdp() const { return files.find(kAcpiRsdpFile)->second; }
  [[nodiscard]] const Bytes& tables() const { return files.find(kAcpiTablesFile)->second; }

  /// The table at a guest address; empty if there is none.
  [[nodiscard]] Bytes at(std::uint64_t address) const {
    if (address < kTablesBase || address - kTablesBase + 8 > tables().size()) return {};
    const auto start = static_cast<std::size_t>(address - kTablesBase);
    const auto length = load_le<std::uint32_t>(tables().data() + start + 4);
    if (length > tables().size() - start) return {};
    const auto from = tables().begin() + static_cast<std::ptrdiff_t>(start);
    return {from, from + static_cast<std::ptrdiff_t>(length)};
  }
  /// What the RSDT (or the XSDT) lists.
  [[nodiscard]] std::vector<Bytes> listed(bool extended = false) const {
    const std::uint64_t root_address =
        extended ? load_le<std::uint64_t>(rsdp().data() + 24) : load_le<std::uint32_t>(rsdp().data() + 16);
    const Bytes root = at(root_address);
    std::vector<Bytes> tables;
    const std::size_t step = extended ? 8 : 4;
    for (std::size_t i = kAcpiHeaderSize; i + step <= root.size(); i += step)
      tables.push_back(at(load_le_sized(root.data() + i, step)));
    return tables;
  }
  [[nodiscard]] Bytes table(std::string_view signature) const {
    for (const Bytes& table : listed())
      if (table.size() >= 4 && std::string_view(reinterpret_cast<const char*>(table.data()), 4) == signature)
        return table;
    if (signature == "DSDT") return at(load_le<std::uint32_t>(table("FACP").data() + kFadtDsdtOffset));
    if (signature == "FACS") return at(load_le<std::uint32_t>(table("FACP").data() + kFadtFacsOffset));
    return {};
  }
};

inline Result<GuestAcpi> link(const AcpiConfig& config) {
  DOPPEL_ASSIGN(AcpiTables built, build_acpi(config));
  GuestAcpi guest;
  guest.files.emplace(kAcpiTablesFile, std::move(built.tables));
  guest.files.emplace(kAcpiRsdpFile, std::move(built.rsdp));
  DOPPEL_ASSIGN(guest.addresses, built.loader.link(guest.files,
                                                   [](std::string_view file, std::uint64_t,
                                                      const TableCommand&) -> Result<std::uint64_t> {
                                                     return file == kAcpiRsdpFile ? kRsdpBase : kTablesBase;
                                                   }));
  return guest;
}

/// Every optional thing at once.
inline AcpiConfig rich_config() {
  AcpiConfig config;
  config.rsdp_revision = 2;
  config.cpus = {{0, 0, true}, {1, 0, true}, {2, 1, true}, {300, 1, false}};
  config.ram_below_4g = 3 * kGiB;
  config.ram_above_4g = 5 * kGiB;
  config.nodes = {{4 * kGiB, {10, 21}}, {4 * kGiB, {21, 10}}};
  config.pci_hole_32 = {0xc0000000, 0xfec00000};
  config.pci_hole_64 = {0x240000000, 0xa40000000};
  config.floppy_controller = true;
  config.serial_ports = {{1, 0x3f8, 4}, {2, 0x2f8, 3}, {3, 0x3e8, 4}, {4, 0x2e8, 3}};
  config.parallel_port = 0x378;
  config.pvpanic_port = 0x505;
  return config;
}

inline AcpiConfig microvm_config() {
  AcpiConfig config;
  config.board = AcpiBoard::kMicrovm;
  config.rsdp_revision = 2;
  config.hpet = false;
  config.rtc = false;
  config.keyboard_controller = false;
  config.ram_below_4g = 256 * kMiB;
  config.serial_ports = {{1, 0x3f8, 4}};
  config.virtio_mmio = {{0xfeb00000, 512, 5}, {0xfeb00200, 512, 6}};
  config.sleep_registers = AcpiSleepRegisters{.control = 0xfea00200, .reset = 0xfea00202};
  return config;
}

}  // namespace doppel::hw::test
