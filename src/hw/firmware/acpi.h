// The ACPI tables of a machine: built from AcpiConfig, handed to firmware through fw_cfg or put into RAM for guests
// booted without firmware.
#pragma once

#include <functional>
#include <string_view>

#include "base/error.h"
#include "hw/firmware/acpi_config.h"
#include "hw/firmware/fw_cfg.h"
#include "hw/firmware/table_loader.h"
#include "memory/dma.h"

namespace doppel::hw {

struct AcpiTables {
  Bytes tables;  // "etc/acpi/tables"
  Bytes rsdp;    // "etc/acpi/rsdp"
  TableLoader loader;
};

Result<AcpiTables> build_acpi(const AcpiConfig& config);

/// Adds the three files. PROVIDE is called now and again each time the firmware selects "etc/table-loader" (on its
/// vCPU's thread, no lock held), so that the tables show the PCI windows as the firmware just set them up.
Result<> add_acpi(FwCfg& fw_cfg, std::function<AcpiConfig()> provide);

/// Where place_acpi() puts things: the RSDP in the area every guest searches, the tables just above it, clear of what
/// place_smbios() uses.
inline constexpr std::uint64_t kDirectRsdpBase = 0xe0000;
inline constexpr AddressWindow kDirectAcpiTables{0xe0040, 0xf0000};

/// Links the tables inside the window TABLES, the RSDP at RSDP_BASE, and writes both to guest memory: what firmware
/// does, for guests booted without one. Returns the RSDP's address.
Result<std::uint64_t> place_acpi(const AcpiConfig& config, const memory::DmaSpace& memory,
                                 AddressWindow tables = kDirectAcpiTables, std::uint64_t rsdp_base = kDirectRsdpBase);

/// `-acpitable [sig=S][,rev=N][,oem_id=S][,oem_table_id=S][,oem_rev=N][,asl_compiler_id=S][,asl_compiler_rev=N]
/// [,{data|file}=PATH[:PATH...]]`: one whole table. With file= the files hold a header, which the fields change.
Result<Bytes> parse_acpi_table_option(std::string_view option);

}  // namespace doppel::hw
