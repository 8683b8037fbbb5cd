// One ACPI table under construction, and the file they are collected in.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "hw/firmware/acpi_config.h"
#include "hw/firmware/blob.h"
#include "hw/firmware/table_loader.h"

namespace doppel::hw {

inline constexpr std::size_t kAcpiHeaderSize = 36;
inline constexpr std::size_t kAcpiLengthOffset = 4;
inline constexpr std::size_t kAcpiChecksumOffset = 9;

inline constexpr std::string_view kAcpiTablesFile = "etc/acpi/tables";
inline constexpr std::string_view kAcpiRsdpFile = "etc/acpi/rsdp";
inline constexpr std::string_view kTableLoaderFile = "etc/table-loader";

/// The names a table carries; SLIC's replace the machine's where Windows wants to see them.
struct AcpiOem {
  std::string id;
  std::string table_id;
};

/// A generic address (ACPI 6.4, 5.2.3.2).
struct AcpiAddress {
  enum class Space : std::uint8_t { kMemory = 0, kIo = 1 };
  Space space = Space::kIo;
  std::uint8_t bits = 0;
  std::uint64_t address = 0;
  std::uint8_t access_size = 0;  // 0 undefined, 1 byte … 4 qword
};

/// Header and body; the length is patched by finish(), the checksum by the firmware.
class AcpiTable {
 public:
  AcpiTable(std::string_view signature, std::uint8_t revision, const AcpiOem& oem);

  [[nodiscard]] ByteWriter& body() { return writer_; }
  AcpiTable& address(const AcpiAddress& address);
  [[nodiscard]] Bytes finish();

 private:
  ByteWriter writer_;
};

/// A pointer inside a table, to another table.
struct AcpiPointer {
  std::uint32_t offset = 0;  // in the table that holds it
  std::uint8_t size = 4;
  std::uint32_t target = 0;  // offset of the other table in the tables file
};

/// Appends tables to "etc/acpi/tables" and writes down how firmware must link and sum them.
class AcpiTableFile {
 public:
  explicit AcpiTableFile(TableLoader& loader) : loader_(loader) {}

  /// Appends TABLE and returns its offset.
  std::uint32_t add(Bytes table, const std::vector<AcpiPointer>& pointers = {});
  /// Appends something that has no checksum at offset 9, such as the FACS.
  std::uint32_t add_raw(Bytes table);

  [[nodiscard]] Bytes take() { return std::move(bytes_); }

 private:
  TableLoader& loader_;
  Bytes bytes_;
};

// The tables, each in its final form but for links and checksums. FADT and RSDT tell where their pointers are.
Bytes build_facs();
Bytes build_fadt(const AcpiConfig& config, const AcpiOem& oem);
Bytes build_madt(const AcpiConfig& config, const AcpiOem& oem);
Bytes build_hpet(const AcpiOem& oem);
Bytes build_srat(const AcpiConfig& config, const AcpiOem& oem);
Bytes build_slit(const AcpiConfig& config, const AcpiOem& oem);
Bytes build_waet(const AcpiOem& oem);
Bytes build_dsdt(const AcpiConfig& config, const AcpiOem& oem);
Bytes build_rsdt(std::size_t count, const AcpiOem& oem);
Bytes build_xsdt(std::size_t count, const AcpiOem& oem);

inline constexpr std::uint32_t kFadtFacsOffset = 36;
inline constexpr std::uint32_t kFadtDsdtOffset = 40;
inline constexpr std::uint32_t kFadtXDsdtOffset = 140;

}  // namespace doppel::hw
