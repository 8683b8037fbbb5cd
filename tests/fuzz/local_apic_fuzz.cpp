// Three local APICs on a bus: registers, MSRs, messages between them and from devices, timers.
#include <deque>

#include "fuzz/fuzz_input.h"
#include "hw/intc/apic_bus.h"
#include "hw/intc/local_apic.h"

using namespace doppel;

namespace {
struct Client final : hw::LocalApicClient {
  void interrupt_pending() override {}
  void nmi() override {}
  void smi() override {}
  void init() override {}
  void start_up(std::uint8_t /*vector*/) override {}
};
void drive(fuzz::FuzzInput& input, unsigned kind, hw::ApicBus& bus, hw::LocalApic& apic) {
  static constexpr std::uint32_t kMsrs[] = {0x1b, 0x6e0, 0x808, 0x80b, 0x80f, 0x828, 0x830, 0x832, 0x838, 0x83e, 0x83f};
  if (kind == 0) apic.set_irq(input.below(2), input.take_bool());
  if (kind == 1) bus.deliver_msi(0xfee00000 | input.take<std::uint32_t>() >> 12U, input.take<std::uint32_t>());
  if (kind == 2) (void)apic.write_msr(kMsrs[input.below(std::size(kMsrs))], input.take<std::uint64_t>());
  if (kind == 3) (void)apic.read_msr(0x800U + input.below(0x100));
  if (kind == 4) apic.init();
  if (kind == 5 && apic.has_interrupt()) (void)apic.acknowledge();
  if (kind == 6) apic.end_of_interrupt();
  if (kind > 6) fuzz::access(input, apic, 16U * hw::lapic::kRegisterCount, hw::LocalApic::kSizes);
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::FuzzInput input(data, size);
  event::FakeClock clock;
  hw::ApicBus bus({});
  Client client;
  const auto tsc = [&clock] { return static_cast<std::uint64_t>(clock.now_ns()); };
  std::deque<hw::LocalApic> apics;
  for (const std::uint32_t id : {0U, 1U, 0x123U}) {
    apics.emplace_back(hw::LocalApicConfig{.id = id}, bus, client, clock, tsc, nullptr, Logger{});
    (void)bus.attach(apics.back());
  }
  while (!input.empty()) {
    hw::LocalApic& apic = apics[input.below(3)];
    const unsigned kind = input.below(14);
    fuzz::common_operation(input, apic, kind);
    if (kind == fuzz::kCommonOperations) fuzz::pass_time(input, clock);
    if (kind > fuzz::kCommonOperations) drive(input, kind - fuzz::kCommonOperations - 1, bus, apic);
  }
  return 0;
}
