#include "hw/firmware/firmware_image.h"

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "base/bits.h"
#include "base/text.h"

namespace doppel::hw {

namespace {

constexpr std::uint64_t kGranule = 64 * kKiB;
constexpr std::uint64_t kMaxFirmware = 16 * kMiB;
constexpr std::uint64_t kLowWindow = 128 * kKiB;
constexpr std::uint64_t kMaxOptionRom = 16 * kMiB;

bool is_file(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored);
}

}  // namespace

std::vector<std::string> default_firmware_dirs() {
  return {"/usr/share/doppel", "/usr/local/share/doppel", "/usr/share/seabios",    "/usr/share/qemu",
          "/usr/share/OVMF",   "/usr/share/ovmf",         "/usr/local/share/qemu", "/usr/lib/ipxe/qemu"};
}

Result<std::string> find_firmware(std::string_view name, const std::vector<std::string>& dirs) {
  const std::filesystem::path file(name);
  if (is_file(file)) return file.string();
  if (name.empty() || name.find('/') != std::string_view::npos)
    return fail(ErrorKind::kNotFound, "there is no firmware file '{}'", name);
  std::vector<std::string> all = dirs;
  const std::vector<std::string> standard = default_firmware_dirs();
  all.insert(all.end(), standard.begin(), standard.end());
  std::string sought;
  for (const std::string& dir : all) {
    const std::filesystem::path candidate = std::filesystem::path(dir) / file;
    if (is_file(candidate)) return candidate.string();
    sought += (sought.empty() ? "" : ", ") + dir;
  }
  return fail(ErrorKind::kNotFound, "there is no firmware '{}' in {}", name, sought);
}

Result<> check_firmware_size(std::uint64_t size, std::string_view name) {
  if (size == 0 || size % kGranule != 0)
    return fail(ErrorKind::kInvalidArgument, "the firmware '{}' has {} bytes; it must be a multiple of 64 KiB", name,
                size);
  if (size > kMaxFirmware)
    return fail(ErrorKind::kInvalidArgument, "the firmware '{}' has {}; at most 16 MiB fit below 4 GiB", name,
                format_size(size));
  return {};
}

Result<SystemFirmware> make_system_firmware(const Blob& image, std::string_view name) {
  DOPPEL_TRY(check_firmware_size(image.size(), name));
  memory::RamOptions options;
  options.name = "firmware";
  options.size = image.size();
  SystemFirmware firmware;
  DOPPEL_ASSIGN(firmware.block, memory::RamBlock::create(std::move(options)));
  std::memcpy(firmware.block->host(), image.bytes().data(), image.size());
  firmware.base = {4 * kGiB - image.size()};
  firmware.low_size = std::min<std::uint64_t>(image.size(), kLowWindow);
  firmware.low_base = {kMiB - firmware.low_size};
  firmware.low_offset = image.size() - firmware.low_size;
  return firmware;
}

Result<SystemFirmware> load_system_firmware(const std::string& path) {
  DOPPEL_ASSIGN(const Blob image, read_blob(path, kMaxFirmware));
  return make_system_firmware(image, path);
}

void map_firmware(memory::Topology& topology, memory::Region& system_memory, const SystemFirmware& firmware,
                  int low_priority) {
  system_memory.add(topology.rom("firmware", firmware.block, 0, firmware.block->size()), firmware.base.value);
  system_memory.add(topology.rom("firmware-low", firmware.block, firmware.low_offset, firmware.low_size),
                    firmware.low_base.value, low_priority);
}

Result<> add_option_rom(FwCfg& fw_cfg, const std::string& path) {
  DOPPEL_ASSIGN(Blob rom, read_blob(path, kMaxOptionRom));
  if (rom.get_or_zero<std::uint16_t>(0) != 0xaa55)
    return fail(ErrorKind::kInvalidArgument, "'{}' is no option ROM: it does not begin with 55 aa", path);
  return fw_cfg.add_file("genroms/" + std::filesystem::path(path).filename().string(), std::move(rom));
}

}  // namespace doppel::hw
