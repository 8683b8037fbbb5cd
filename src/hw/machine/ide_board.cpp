#include "hw/machine/ide_board.h"

#include <optional>

#include "base/text.h"

namespace doppel::hw {

namespace {

std::optional<unsigned> channel_of(std::string_view bus) {
  if (bus == "ide.0") return 0;
  if (bus == "ide.1") return 1;
  return std::nullopt;
}

/// Has it the form of an AHCI port's name? Whether there is one shows when the drive is made.
bool may_be_port(std::string_view bus) {
  const std::size_t dot = bus.rfind('.');
  return dot != std::string_view::npos && dot != 0 && bus.substr(0, dot) != "ide" &&
         parse_number(bus.substr(dot + 1)).has_value();
}

}  // namespace

std::string default_ide_serial(unsigned index) {
  return fmt::format("QM{:05}", index + 1);
}

Result<block::Disk*> claim_disk(const MachineParts& parts, const IdePlace& place) {
  if (place.drive.empty())
    return fail(ErrorKind::kInvalidArgument,
                "a disk needs an image; write drive=ID and '-drive if=none,id=ID,file=FILE'");
  DOPPEL_ASSIGN(block::Disk * disk, parts.find_disk(place.drive));
  if (disk->size() == 0)
    return fail(ErrorKind::kInvalidArgument,
                "the image of drive '{}' is empty; give it a size, as 'doppel-img create FILE SIZE' does", place.drive);
  return disk;
}

Result<block::Disk*> claim_medium(const MachineParts& parts, const IdePlace& place) {
  if (place.drive.empty()) return nullptr;
  return parts.find_disk(place.drive);
}

Result<> check_place(const IdePlace& place) {
  if (!place.bus.empty() && !channel_of(place.bus) && !may_be_port(place.bus))
    return fail(ErrorKind::kNotFound, "there is no IDE bus '{}'; write bus=ide.0 or bus=ide.1", place.bus);
  if (place.unit < -1 || place.unit > 1)
    return fail(ErrorKind::kInvalidArgument, "unit={}: write unit=0 for the master or unit=1 for the slave",
                place.unit);
  return {};
}

Result<IdeBoard::Slot> IdeBoard::choose(const IdePlace& place) const {
  const std::optional<unsigned> wanted = channel_of(place.bus);
  for (unsigned channel = 0; channel < Piix3Ide::kChannels; ++channel) {
    for (unsigned unit = 0; unit < IdeChannel::kDrives; ++unit) {
      const bool fits =
          wanted.value_or(channel) == channel && (place.unit < 0 || unit == static_cast<unsigned>(place.unit));
      if (fits && !controller_.channel(channel).has_drive(unit)) return Slot{channel, unit};
    }
  }
  if (wanted && place.unit >= 0)
    return fail(ErrorKind::kAlreadyExists,
                "{}, unit {} has a drive already; give one of the two another bus= or unit=", place.bus, place.unit);
  return fail(ErrorKind::kNoSpace, "there is no free place{}{}; the PC has two IDE buses with two drives each",
              wanted ? " on " : "", place.bus);
}

Result<> IdeBoard::add_disk(AtaDriveConfig config, const IdePlace& place) {
  DOPPEL_ASSIGN(const Slot slot, choose(place));
  DOPPEL_ASSIGN(block::Disk * disk, claim_disk(parts_, place));
  if (config.serial.empty()) config.serial = default_ide_serial(slot.channel * IdeChannel::kDrives + slot.unit);
  const IdeGeometry geometry = default_geometry(disk->size() / ata::kSectorSize);
  DOPPEL_TRY(controller_.channel(slot.channel).add_disk(slot.unit, *disk, std::move(config)));
  note_translation(slot, geometry);
  return note_boot_index(place, slot);
}

Result<> IdeBoard::add_cdrom(AtapiDriveConfig config, const IdePlace& place) {
  DOPPEL_ASSIGN(const Slot slot, choose(place));
  DOPPEL_ASSIGN(block::Disk * medium, claim_medium(parts_, place));
  if (config.serial.empty()) config.serial = default_ide_serial(slot.channel * IdeChannel::kDrives + slot.unit);
  DOPPEL_TRY(controller_.channel(slot.channel).add_cdrom(slot.unit, medium, std::move(config)));
  return note_boot_index(place, slot);
}

/// By its path in Open Firmware's spelling, which SeaBIOS and OVMF know.
Result<> IdeBoard::note_boot_index(const IdePlace& place, Slot slot) {
  if (place.bootindex < 0) return {};
  return firmware_.add_boot_device(static_cast<std::uint32_t>(place.bootindex),
                                   fmt::format("/pci@i0cf8/ide@1,1/drive@{}/disk@{}", slot.channel, slot.unit));
}

/// CMOS 39h tells the BIOS how to squeeze cylinders into the ten bits that INT 13h has for them.
void IdeBoard::note_translation(Slot slot, const IdeGeometry& geometry) {
  constexpr std::uint8_t kCmosTranslation = 0x39;
  constexpr std::uint8_t kByLba = 1;
  constexpr std::uint32_t kMostCylinders = 1024;
  if (geometry.cylinders <= kMostCylinders) return;
  translations_ |= static_cast<std::uint8_t>(kByLba << 2 * (slot.channel * IdeChannel::kDrives + slot.unit));
  rtc_.set_cmos(kCmosTranslation, translations_);
}

}  // namespace doppel::hw
