#include "hw/machine/flash_board.h"

#include <algorithm>

#include "base/bits.h"
#include "base/text.h"

namespace doppel::hw {

namespace {

constexpr std::uint64_t kTop = 4 * kGiB;
constexpr std::uint64_t kMostFirmware = 16 * kMiB;  // below it are the local APICs
constexpr std::uint64_t kLowWindow = 128 * kKiB;

Result<> check_size(std::string_view id, std::uint64_t size, std::uint64_t room) {
  if (size == 0 || !is_aligned(size, CfiFlash01::kBlockSize))
    return fail(ErrorKind::kInvalidArgument,
                "the image of drive '{}' has {} bytes; a flash chip's must be a multiple of 4 KiB", id, size);
  if (size > room)
    return fail(ErrorKind::kInvalidArgument,
                "the image of drive '{}' has {}, and there is room for {}; '-machine max-fw-size=' makes more", id,
                format_size(size), format_size(room));
  return {};
}

}  // namespace

Result<std::vector<std::unique_ptr<CfiFlash01>>> build_flash(const MachineParts& parts, const BoardConfig& config,
                                                             memory::Region& rom_space) {
  const PcConfig& properties = config.properties;
  std::vector<std::unique_ptr<CfiFlash01>> chips;
  if (properties.max_fw_size.bytes > kMostFirmware)
    return fail(ErrorKind::kOutOfRange, "-machine max-fw-size={}: at most 16M fit below 4 GiB",
                properties.max_fw_size.bytes);
  if (properties.pflash0.empty() && !properties.pflash1.empty())
    return fail(ErrorKind::kInvalidArgument,
                "pflash1 without pflash0: the firmware goes into pflash0, its variables "
                "into pflash1");
  if (!properties.pflash0.empty() && !config.bios.empty())
    return fail(ErrorKind::kInvalidArgument, "-bios and pflash0 both say what the firmware is; write one of them");
  std::uint64_t base = kTop;
  const std::string* const ids[] = {&properties.pflash0, &properties.pflash1};
  for (unsigned unit = 0; unit < std::size(ids); ++unit) {
    if (ids[unit]->empty()) break;
    DOPPEL_ASSIGN(block::Disk * disk, parts.find_disk(*ids[unit]));
    DOPPEL_TRY(check_size(*ids[unit], disk->size(), properties.max_fw_size.bytes - (kTop - base)));
    DOPPEL_ASSIGN(const std::vector<std::byte> contents, parts.read_disk(*disk));
    const std::string name = fmt::format("system.flash{}", unit);
    DOPPEL_ASSIGN(auto chip, CfiFlash01::create(parts.topology, name, contents, *disk, parts.log.named(name)));
    base -= contents.size();
    rom_space.add(chip->region(), base);
    chips.push_back(std::move(chip));
  }
  if (chips.empty()) return chips;
  const auto& memory = chips.front()->region()->ram();
  const std::uint64_t low = std::min(memory->size(), kLowWindow);
  rom_space.add(parts.topology.rom("system.flash0-low", memory, memory->size() - low, low), kMiB - low);
  return chips;
}

}  // namespace doppel::hw
