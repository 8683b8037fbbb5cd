// Virtio devices of `-device` on a board.
#pragma once

#include "hw/machine/pci_place.h"
#include "hw/machine/scsi_board.h"
#include "hw/virtio/virtio_blk.h"
#include "hw/virtio/virtio_scsi.h"

namespace doppel::hw {

class Board;

/// A disk over the image that PLACE names.
Result<> add_virtio_blk(Board& board, VirtioBlkConfig config, const DiskPlace& place);
/// A SCSI adapter, whose bus is called after it.
Result<> add_virtio_scsi(Board& board, VirtioScsiConfig config, const PciPlace& place);

}  // namespace doppel::hw
