// The keyboard controller with its keyboard and mouse.
#include "fuzz/fuzz_input.h"
#include "hw/input/i8042.h"

using namespace doppel;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::FuzzInput input(data, size);
  event::FakeClock clock;
  hw::IrqFunction pins([](unsigned, bool) {});
  hw::I8042 chip({{&pins, 1}, {&pins, 12}, {&pins, 20}, {&pins, 0}}, clock);
  chip.on_leds([](std::uint8_t lights) { fuzz::require(lights < 8, "a keyboard has three lights"); });
  chip.reset();
  while (!input.empty()) {
    switch (const unsigned kind = input.below(fuzz::kCommonOperations + 7); kind) {
      case 3: fuzz::access(input, chip.command_port(), 1, hw::I8042::kIoSizes); break;
      case 4: fuzz::pass_time(input, clock); break;
      case 5:
        chip.key_event(static_cast<hw::KeyCode>(input.below(static_cast<unsigned>(hw::KeyCode::kCount))),
                       input.take_bool());
        break;
      case 6: {
        const auto dx = static_cast<std::int32_t>(input.take<std::uint32_t>());
        const auto dy = static_cast<std::int32_t>(input.take<std::uint32_t>());
        chip.mouse_move(dx, dy, static_cast<std::int32_t>(input.take<std::uint32_t>()));
        break;
      }
      case 7: chip.mouse_button(static_cast<hw::MouseButton>(input.below(5)), input.take_bool()); break;
      default: fuzz::access(input, chip.data_port(), 1, hw::I8042::kIoSizes); break;
      case 0:
      case 1:
      case 2: fuzz::common_operation(input, chip, kind);
    }
  }
  return 0;
}
