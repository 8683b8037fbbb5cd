// The floppy controller and the DMA controller beside it: registers, whole commands, disks that answer late or fail.
#include "block/fake_disk.h"
#include "fuzz/fuzz_input.h"
#include "hw/floppy/i82077.h"

using namespace doppel;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::FuzzInput input(data, size);
  memory::Topology topology;
  memory::AddressSpace space(topology, topology.container("memory", 0), "memory");
  const auto ram = memory::RamBlock::create({.size = 1U << 20U}).value();
  space.root().add(topology.ram("ram", ram, 0, ram->size()), 0);
  hw::I8237 dma{memory::DmaSpace(space)};
  block::FakeDisk disk(2880 * 512);
  block::FakeDisk odd(99 * 512);
  odd.is_read_only = input.take_bool();
  hw::IrqFunction irq([](unsigned pin, bool) { fuzz::require(pin == 6, "this is the floppy's interrupt"); });
  hw::I82077 fdc({&irq, 6}, dma);
  fdc.add_drive(0, &disk);
  fdc.add_drive(1, &odd);
  fdc.reset();
  fdc.rate_port().write(0, 1, 0);
  while (!input.empty()) {
    switch (const unsigned kind = input.below(fuzz::kCommonOperations + 9); kind) {
      case 3: fuzz::access(input, fdc.rate_port(), 1, hw::I82077::kIoSizes); break;
      case 4: {
        const hw::I8237::Ports ports = dma.ports()[input.below(4)];
        fuzz::access(input, *ports.handler, ports.size, hw::I8237::kIoSizes);
        break;
      }
      case 5: {
        block::FakeDisk& which = input.take_bool() ? disk : odd;
        which.failure = input.below(4) == 0 ? std::optional(ErrorKind::kIo) : std::nullopt;
        which.finish_one();
        break;
      }
      case 6:  // a whole command, a likely one
        for (const std::uint32_t limit : {256U, 8U, 81U, 2U, 20U, 4U, 20U, 256U, 256U})
          fdc.ports().write(3, 1, input.below(limit));
        break;
      case 7:
        for (unsigned count = input.take<std::uint8_t>() * 8U; count > 0; --count) (void)fdc.ports().read(3, 1);
        break;
      default: fuzz::access(input, fdc.ports(), hw::I82077::kPortCount, hw::I82077::kIoSizes); break;
      case 0:
      case 1:
      case 2: fuzz::common_operation(input, fdc, kind);
    }
  }
  return 0;
}
