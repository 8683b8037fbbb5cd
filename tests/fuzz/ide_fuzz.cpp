// The IDE controller: registers, packets, bus master tables in memory, disks that answer late, fail or not at all.
#include "fuzz/ide_board.h"

using namespace doppel;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::FuzzInput input(data, size);
  fuzz::IdeBoard board;
  while (!input.empty()) {
    switch (const unsigned kind = input.below(fuzz::kCommonOperations + 9); kind) {
      case 0:
      case 1:
      case 2: fuzz::common_operation(input, *board.ide, kind); break;
      case 3: board.power_up(); break;
      case 4: fuzz::access(input, board.ide->channel(input.below(2)).command_block(), 8, {.min = 1, .max = 4}); break;
      case 5: board.pci.out(0x3f6, 1, input.take<std::uint8_t>()); break;
      case 6: board.pci.out(fuzz::kBusMaster + input.below(16), 1, input.take<std::uint8_t>()); break;
      case 7: board.dma(input); break;
      case 8: board.pump(input); break;
      case 9: board.answer(input); break;
      default: board.command(input);
    }
  }
  return 0;
}
