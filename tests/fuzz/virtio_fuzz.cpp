// Virtio disks: hostile rings of both formats, accesses to all registers, disks that answer late or fail.
#include "fuzz/virtio_board.h"
#include "hw/virtio/virtio_blk.h"

namespace doppel::fuzz {
namespace {

struct BlkBoard : VirtioBoard {
  static constexpr unsigned kQueues = 2;

  explicit BlkBoard(std::uint8_t options) : VirtioBoard(options, kQueues) {
    auto config = config_of<hw::VirtioBlkConfig>(options);
    config.num_queues = kQueues;
    attach(hw::create_virtio_blk(pci.services(), parts(), disk, config, 1));
  }
  void request(FuzzInput& input) {
    store(kRest, input.take<std::uint8_t>() % 16U);  // the header: type, sector
    store(kRest + 8, input.take<std::uint16_t>() % 600U);
    const bool reads = input.take_bool();
    std::array<Piece, 4> pieces{{{kRest, 16}, {0, 512, reads}, {0, 512, reads}, {0, 1, true}}};
    for (Piece& piece : std::span(pieces).subspan(1)) piece.at = kRest + 0x100 + input.take<std::uint16_t>() % 0x8000U;
    offer(input, input.below(kQueues), pieces);
  }
};

}  // namespace
}  // namespace doppel::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace doppel::fuzz;
  FuzzInput input(data, size);
  BlkBoard board(input.take<std::uint8_t>());
  drive(input, board, &BlkBoard::request);
  return 0;
}
