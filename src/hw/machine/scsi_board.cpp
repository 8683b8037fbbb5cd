#include "hw/machine/scsi_board.h"

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "hw/machine/board.h"

namespace doppel::hw {

Result<> check_place(const ScsiPlace& place) {
  if (place.channel != 0)
    return fail(ErrorKind::kOutOfRange, "channel={}: adapters have channel 0 alone", place.channel);
  if (place.scsi_id < -1 || place.scsi_id >= static_cast<std::int32_t>(ScsiBus::kTargets))
    return fail(ErrorKind::kOutOfRange, "scsi-id={}: targets are 0 to {}", place.scsi_id, ScsiBus::kTargets - 1);
  if (place.lun >= ScsiBus::kLuns)
    return fail(ErrorKind::kOutOfRange, "lun={}: units are 0 to {}", place.lun, ScsiBus::kLuns - 1);
  return {};
}

Result<ScsiBusEntry*> ScsiBoard::add_bus(std::string_view id) {
  auto entry = std::make_unique<ScsiBusEntry>();
  entry->name = id.empty() ? fmt::format("scsi.{}", buses_.size()) : fmt::format("{}.0", id);
  for (const auto& other : buses_)
    if (other->name == entry->name)
      return fail(ErrorKind::kAlreadyExists,
                  "there is a SCSI bus '{}' already; give the adapter another id=", entry->name);
  return buses_.emplace_back(std::move(entry)).get();
}

Result<ScsiBusEntry*> ScsiBoard::find(std::string_view name) const {
  if (buses_.empty())
    return fail(ErrorKind::kNotFound, "there is no SCSI bus; add '-device virtio-scsi-pci' in front of it");
  if (name.empty()) return buses_.front().get();
  NearestName nearest(name);
  for (const auto& entry : buses_) {
    if (entry->name == name) return entry.get();
    nearest.offer(entry->name);
  }
  return fail(ErrorKind::kNotFound, "there is no SCSI bus '{}'{}", name, nearest.suggestion());
}

Result<> add_scsi_unit(Board& board, ScsiKind kind, ScsiDiskConfig config, const ScsiPlace& place) {
  DOPPEL_TRY(check_config(config));
  DOPPEL_ASSIGN(ScsiBusEntry * entry, board.scsi().find(place.bus));
  ScsiAddress address{.target = static_cast<std::uint8_t>(std::max(place.scsi_id, 0)),
                      .lun = static_cast<std::uint16_t>(place.lun)};
  if (place.scsi_id < 0) {
    const unsigned target = entry->bus.free_target();
    if (target == ScsiBus::kTargets)
      return fail(ErrorKind::kNoSpace, "SCSI bus '{}' has drives at all of its targets", entry->name);
    address.target = static_cast<std::uint8_t>(target);
  }
  if (kind == ScsiKind::kDisk && place.drive.empty())
    return fail(ErrorKind::kInvalidArgument,
                "a disk needs an image; write drive=ID and '-drive if=none,id=ID,file=FILE'");
  block::Disk* disk = nullptr;
  if (!place.drive.empty()) {
    DOPPEL_ASSIGN(disk, entry->find_disk(place.drive));
  }
  if (kind == ScsiKind::kDisk && disk->size() < config.logical_block_size)
    return fail(
        ErrorKind::kInvalidArgument,
        "the image of drive '{}' is smaller than a block; give it a size, as 'doppel-img create FILE SIZE' does",
        place.drive);
  DOPPEL_TRY(entry->bus.add(
      address, std::make_unique<ScsiDisk>(kind, disk, std::move(config), board.parts().log.named("scsi"))));
  return board.note_boot_index(place.bootindex,
                               fmt::format("{}/channel@0/disk@{:x},{:x}", entry->path, address.target, address.lun));
}

}  // namespace doppel::hw
