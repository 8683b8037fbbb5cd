// A PC's PCI: configuration cycles to the i440FX, PIIX3 and PIIX4, nested bridges and functions with everything.
#include "event/fake_clock.h"
#include "fuzz/pci_board.h"

using namespace doppel;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::FuzzInput input(data, size);
  fuzz::PciBoard board;
  while (!input.empty()) {
    hw::Device& device = *board.devices[input.below(board.devices.size())];
    switch (const unsigned kind = input.below(fuzz::kCommonOperations + 10); kind) {
      case 3: fuzz::pass_time(input, board.clock); break;
      case 4: board.plain.intx(input.take_bool()); break;
      case 5: board.hidden.signal(input.below(8)), board.plain.signal(input.below(40)); break;
      case 6: board.power.power_button(), board.power.raise_gpe(input.below(16)); break;
      case 7: board.power.wake(hw::PmEvent::kRtc); break;
      case 8: (void)board.memory.read({input.take<std::uint32_t>()}, 1U << input.below(4)); break;
      case 9:
        board.memory.write({input.take<std::uint32_t>()}, 1U << input.below(4), input.take<std::uint64_t>());
        break;
      case 10: board.rig.out(input.take<std::uint16_t>(), 1U << input.below(3), input.take<std::uint32_t>()); break;
      case 11: (void)board.rig.in(input.take<std::uint16_t>(), 1U << input.below(3)); break;
      default: board.configuration_cycle(input); break;
      case 0:
      case 1:
      case 2: fuzz::common_operation(input, device, kind);
    }
  }
  return 0;
}
