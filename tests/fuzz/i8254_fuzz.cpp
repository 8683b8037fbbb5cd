// The interval timer, with port 61h that looks at it and drives its gate.
#include "event/fake_clock.h"
#include "fuzz/fuzz_input.h"
#include "hw/timer/speaker.h"

using namespace doppel;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::FuzzInput input(data, size);
  event::FakeClock clock;
  hw::IrqFunction irq([](unsigned, bool) {});
  hw::I8254 pit(clock, {&irq, 0});
  hw::SystemControlPortB port61(pit, [&pit](bool) { (void)pit.tone(); });
  pit.reset();
  port61.reset();
  while (!input.empty()) {
    switch (const unsigned kind = input.below(2 * fuzz::kCommonOperations + 6); kind) {
      case 6: fuzz::pass_time(input, clock); break;
      case 7: pit.set_irq_enabled(input.take_bool()); break;
      case 8: fuzz::access(input, port61, hw::SystemControlPortB::kPorts, hw::SystemControlPortB::kIoSizes); break;
      default: fuzz::access(input, pit, hw::I8254::kPorts, hw::I8254::kIoSizes); break;
      case 0:
      case 1:
      case 2: fuzz::common_operation(input, pit, kind); break;
      case 3:
      case 4:
      case 5: fuzz::common_operation(input, port61, kind - 3);
    }
  }
  return 0;
}
