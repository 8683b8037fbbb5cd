// The flash chip: bytes written anywhere in it, read back, over a disk that answers late or fails.
#include "block/fake_disk.h"
#include "fuzz/fuzz_input.h"
#include "hw/flash/cfi_flash01.h"

using namespace doppel;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::FuzzInput input(data, size);
  memory::Topology topology;
  block::FakeDisk disk(4 * hw::CfiFlash01::kBlockSize);
  disk.is_read_only = input.below(8) == 0;
  const auto chip = hw::CfiFlash01::create(topology, "flash", disk.contents, disk, {}).value();
  constexpr std::uint8_t kCommands[] = {0x40, 0x10, 0x20, 0xd0, 0x50, 0x60, 0x70, 0x90, 0x98, 0xe8, 0xff, 0x01};
  while (!input.empty()) {
    switch (const unsigned kind = input.below(fuzz::kCommonOperations + 6); kind) {
      case 0:
      case 1:
      case 2: fuzz::common_operation(input, *chip, kind); break;
      case 3:
        disk.failure = input.below(4) == 0 ? std::optional(ErrorKind::kIo) : std::nullopt;
        disk.finish_one();
        break;
      case 4: chip->write(input.below(disk.size()), 1, kCommands[input.below(std::size(kCommands))]); break;
      default: fuzz::access(input, *chip, disk.size(), hw::CfiFlash01::kIoSizes); break;
    }
  }
  return 0;
}
