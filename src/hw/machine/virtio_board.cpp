#include "hw/machine/virtio_board.h"

#include <utility>

#include "hw/machine/board.h"

namespace doppel::hw {

namespace {

/// Where a device works: the iothread ID, or the main thread.
Result<IoThread> find_thread(Board& board, const std::string& id) {
  const MachineParts& parts = board.parts();
  if (id.empty()) {
    if (parts.loop == nullptr) return fail(ErrorKind::kInternal, "the machine was built without an event loop");
    return IoThread{.loop = parts.loop, .find_disk = parts.find_disk};
  }
  if (!parts.find_iothread) return fail(ErrorKind::kUnsupported, "this machine has no iothreads");
  return parts.find_iothread(id);
}

}  // namespace

Result<> add_virtio_blk(Board& board, VirtioBlkConfig config, const DiskPlace& place) {
  DOPPEL_TRY(board.check_has_pci());
  if (place.drive.empty())
    return fail(ErrorKind::kInvalidArgument,
                "a disk needs an image; write drive=ID and '-drive if=none,id=ID,file=FILE'");
  DOPPEL_TRY(check_config(config));
  DOPPEL_ASSIGN(const IoThread thread, find_thread(board, config.iothread));
  const VirtioPciParts parts{.loop = *thread.loop, .ports = &board.parts().ports};
  DOPPEL_ASSIGN(block::Disk * disk, thread.find_disk(place.drive));
  DOPPEL_ASSIGN(auto function, create_virtio_blk(board.pci_services("virtio-blk"), parts, *disk, std::move(config),
                                                 board.parts().cpus.size()));
  function->set_multifunction(place.multifunction);
  const PciFunction& plugged = *function;
  DOPPEL_TRY(board.plug(std::move(function), place.bus, place.addr));
  return board.note_boot_index(place.bootindex, firmware_path(plugged, "scsi") + "/disk@0,0");
}

Result<> add_virtio_scsi(Board& board, VirtioScsiConfig config, const PciPlace& place) {
  DOPPEL_TRY(board.check_has_pci());
  DOPPEL_TRY(check_config(config));
  DOPPEL_ASSIGN(IoThread thread, find_thread(board, config.iothread));
  const VirtioPciParts parts{.loop = *thread.loop, .ports = &board.parts().ports};
  DOPPEL_ASSIGN(ScsiBusEntry * entry, board.scsi().add_bus(place.id));
  entry->find_disk = std::move(thread.find_disk);
  DOPPEL_ASSIGN(auto function, create_virtio_scsi(board.pci_services("virtio-scsi"), parts, entry->bus,
                                                  std::move(config), board.parts().cpus.size()));
  function->set_multifunction(place.multifunction);
  const PciFunction& plugged = *function;
  DOPPEL_TRY(board.plug(std::move(function), place.bus, place.addr));
  entry->path = firmware_path(plugged, "scsi");
  return {};
}

}  // namespace doppel::hw
