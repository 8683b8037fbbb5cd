// Virtio disks: hostile rings of both formats, accesses to all registers, disks that answer late or fail.
#include "fuzz/virtio_board.h"

using namespace doppel;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::FuzzInput input(data, size);
  fuzz::VirtioBoard board(input.take<std::uint8_t>());
  while (!input.empty()) {
    switch (const unsigned kind = input.below(fuzz::kCommonOperations + 11); kind) {
      case 0:
      case 1:
      case 2: board.common(input, kind); break;
      case 3: board.start(input); break;
      case 4: board.modern_access(input); break;
      case 5: board.legacy_access(input); break;
      case 6: board.write_memory(input); break;
      case 7: board.answer(input); break;
      case 8: board.loop.run_ready(); break;
      default: board.offer(input);
    }
  }
  return 0;
}
