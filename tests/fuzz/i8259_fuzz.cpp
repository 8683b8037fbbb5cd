// The pair of 8259As: initialisation, priorities, acknowledges.
#include "fuzz/fuzz_input.h"
#include "hw/intc/i8259.h"

using namespace doppel;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::FuzzInput input(data, size);
  hw::IrqFunction intr([](unsigned, bool) {});
  hw::I8259Pair pair({&intr, 0}, {});
  pair.reset();
  while (!input.empty()) {
    switch (const unsigned kind = input.below(fuzz::kCommonOperations + 6); kind) {
      case 3: fuzz::access(input, pair.master_ports(), hw::I8259Pair::kPorts, hw::I8259Pair::kSizes); break;
      case 4: fuzz::access(input, pair.slave_ports(), hw::I8259Pair::kPorts, hw::I8259Pair::kSizes); break;
      case 5: fuzz::access(input, pair.elcr_ports(), hw::I8259Pair::kPorts, hw::I8259Pair::kSizes); break;
      case 6: pair.acknowledge(); break;
      default: {
        const auto pin = input.take<std::uint8_t>();
        pair.set_irq(pin % hw::I8259Pair::kPins, pin >= 0x80);
        break;
      }
      case 0:
      case 1:
      case 2: fuzz::common_operation(input, pair, kind);
    }
  }
  return 0;
}
