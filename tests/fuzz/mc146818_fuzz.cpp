// The real-time clock: registers, CMOS, interrupts, and a host that was away for long.
#include "event/fake_clock.h"
#include "fuzz/fuzz_input.h"
#include "hw/timer/mc146818.h"

using namespace doppel;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::FuzzInput input(data, size);
  event::FakeClock clock;
  hw::IrqFunction irq([](unsigned, bool) {});
  hw::Mc146818Config config{.extended_bank = input.take_bool()};
  if (input.take_bool()) config.lost_tick_policy = "slew";
  hw::Mc146818 rtc(clock, static_cast<std::int64_t>(input.take<std::uint64_t>() >> 2U), config, {&irq, 8},
                   [](std::int64_t) {});
  rtc.reset();
  while (!input.empty()) {
    switch (const unsigned kind = input.below(fuzz::kCommonOperations + 6); kind) {
      case 3: fuzz::pass_time(input, clock); break;
      case 4: rtc.set_irq_enabled(input.take_bool()); break;
      case 5:
        (void)rtc.calendar_seconds();
        (void)rtc.nmi_masked();
        rtc.set_cmos(input.take<std::uint8_t>(), input.take<std::uint8_t>());
        break;
      case 6: fuzz::access(input, rtc, rtc.ports(), hw::Mc146818::kIoSizes); break;
      default:
        rtc.write(0, 1, input.below(16));
        if (input.take_bool()) rtc.write(1, 1, input.take<std::uint8_t>());
        (void)rtc.read(1, 1);
        break;
      case 0:
      case 1:
      case 2: fuzz::common_operation(input, rtc, kind);
    }
  }
  return 0;
}
