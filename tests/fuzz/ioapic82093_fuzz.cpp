// The I/O APIC: redirection, level-triggered interrupts and their ends.
#include "fuzz/fuzz_input.h"
#include "hw/intc/ioapic82093.h"

using namespace doppel;

namespace {
struct Sink final : hw::ApicMessageSink {
  void deliver(const hw::ApicMessage& message) override { vector = message.vector; }
  std::uint8_t vector = 0;
};
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::FuzzInput input(data, size);
  Sink bus;
  hw::Ioapic82093 ioapic(input.take_bool() ? hw::IoapicVersion::k20 : hw::IoapicVersion::k11, bus, {});
  ioapic.reset();
  while (!input.empty()) {
    switch (const unsigned kind = input.below(fuzz::kCommonOperations + 7); kind) {
      case 3: fuzz::access(input, ioapic, hw::Ioapic82093::kSize, hw::Ioapic82093::kSizes); break;
      case 4: ioapic.end_of_interrupt(bus.vector); break;
      case 5: ioapic.end_of_interrupt(input.take<std::uint8_t>()); break;
      case 6: ioapic.set_irq(input.below(hw::Ioapic82093::kPins), true); break;
      case 7: ioapic.set_irq(input.below(hw::Ioapic82093::kPins), false); break;
      default:
        ioapic.write(0, 4, input.take<std::uint8_t>());
        ioapic.write(0x10, 4, input.take<std::uint32_t>());
        (void)ioapic.read(0x10, 4);
        break;
      case 0:
      case 1:
      case 2: fuzz::common_operation(input, ioapic, kind);
    }
  }
  return 0;
}
