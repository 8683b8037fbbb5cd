// The HPET: registers, routing, time.
#include "event/fake_clock.h"
#include "fuzz/fuzz_input.h"
#include "hw/timer/hpet.h"

using namespace doppel;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::FuzzInput input(data, size);
  event::FakeClock clock;
  hw::IrqFunction pins([](unsigned pin, bool) { fuzz::require(pin < 32, "the HPET drives global interrupts"); });
  const auto timers = static_cast<std::uint8_t>(3 + input.below(30));
  hw::Hpet hpet(clock, {.timers = timers, .msi = input.take_bool(), .intcap = input.take<std::uint32_t>()},
                {&pins, [](bool) {}, [](std::uint64_t, std::uint32_t) {}});
  hpet.reset();
  while (!input.empty()) {
    switch (const unsigned kind = input.below(fuzz::kCommonOperations + 5); kind) {
      case 3: fuzz::pass_time(input, clock); break;
      case 4: hpet.write(0x10, 8, input.below(4)); break;
      default: fuzz::access(input, hpet, hw::Hpet::kSize, hw::Hpet::kIoSizes); break;
      case 0:
      case 1:
      case 2: fuzz::common_operation(input, hpet, kind);
    }
  }
  return 0;
}
