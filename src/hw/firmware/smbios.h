// SMBIOS: the inventory a guest reads with dmidecode (DMTF DSP0134, versions 2.8 and 3.0).
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "hw/firmware/acpi_config.h"
#include "hw/firmware/fw_cfg.h"
#include "memory/dma.h"

namespace doppel::hw {

enum class SmbiosEntryPoint : std::uint8_t {
  k32,  // "_SM_", 2.8: what every guest knows
  k64,  // "_SM3_", 3.0
};

/// What `-smbios` options say, gathered one after another.
class SmbiosOptions {
 public:
  /// `type=N[,field=value...]` or `file=PATH` (one whole structure with its strings).
  Result<> parse(std::string_view option);

  /// The field of a type as given, or PRESET.
  [[nodiscard]] std::string get(unsigned type, std::string_view field, std::string_view preset = "") const;
  [[nodiscard]] bool has_type(unsigned type) const { return fields_.contains(type) || has_file(type); }
  [[nodiscard]] bool has_file(unsigned type) const;
  [[nodiscard]] const std::vector<std::string>& oem_strings() const { return oem_strings_; }
  [[nodiscard]] const std::vector<Bytes>& files() const { return files_; }

 private:
  Result<> add_file(const std::string& path);
  Result<> add_field(unsigned type, const std::string& name, std::string value);

  std::map<unsigned, std::map<std::string, std::string, std::less<>>> fields_;
  std::vector<std::string> oem_strings_;
  std::vector<Bytes> files_;
};

struct SmbiosConfig {
  SmbiosEntryPoint entry_point = SmbiosEntryPoint::k32;
  std::string manufacturer = "Doppel";
  std::string product = "Standard PC (i440FX + PIIX, 1996)";
  std::string version = "doppel-pc";
  std::array<std::byte, 16> uuid{};  // as written, big-endian; all zero: not set
  unsigned sockets = 1;
  unsigned cores_per_socket = 1;
  unsigned threads_per_core = 1;
  std::uint32_t cpuid_1_eax = 0;   // processor signature
  std::uint32_t cpuid_1_edx = 0;   // feature flags
  std::uint64_t ram_size = 0;      // bytes
  std::vector<AddressWindow> ram;  // where it shows
  SmbiosOptions options;
};

struct SmbiosTables {
  Bytes structures;  // "etc/smbios/smbios-tables"
  Bytes anchor;      // "etc/smbios/smbios-anchor"; the structures' address is 0 until somebody places them
};

Result<SmbiosTables> build_smbios(const SmbiosConfig& config);
Result<> add_smbios(FwCfg& fw_cfg, const SmbiosConfig& config);

/// For guests without firmware: the anchor at ANCHOR_BASE (in f0000-fffff, on 16 bytes), the structures behind it, all
/// below 1 MiB.
inline constexpr std::uint64_t kDirectSmbiosBase = 0xf0000;
Result<> place_smbios(const SmbiosConfig& config, const memory::DmaSpace& memory,
                      std::uint64_t anchor_base = kDirectSmbiosBase);

}  // namespace doppel::hw
