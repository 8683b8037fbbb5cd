// Messages that go by eventfd, as a machine sends them (vm::AcceleratorIrqs), reach a guest of each accelerator.
#include <thread>

#include "tests/contract/contract.h"
#include "vm/accelerator_irqs.h"

namespace doppel::test {
namespace {

class MessageEventTest : public ContractTest {
 protected:
  void SetUp() override {
    ContractTest::SetUp();
    if (IsSkipped()) return;
    DOPPEL_NEEDS(capabilities().irqchip && capabilities().signal_msi, "no interrupt controllers in the accelerator");
    DOPPEL_NEEDS(capabilities().irqfd, "no irqfds");
  }
};

constexpr std::uint64_t kAddress = 0xfee00000;
constexpr std::uint32_t kFirst = 0x41;
constexpr std::uint32_t kSecond = 0x51;

// mov ebx, 0xfee00000; mov dword [rbx+0xf0], 0x1ff (enable the local APIC); out 0x80, al; sti; jmp $
const Code kWaitForInterrupts = {0xbb, 0x00, 0x00, 0xe0, 0xfe, 0xc7, 0x83, 0xf0, 0x00, 0x00,
                                 0x00, 0xff, 0x01, 0x00, 0x00, 0xe6, 0x80, 0xfb, 0xeb, 0xfe};
/// out PORT, al; mov dword [rbx+0xb0], 0 (EOI); iretq
Code handler(std::uint8_t port) {
  return {0xe6, port, 0xc7, 0x83, 0xb0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x48, 0xcf};
}

TEST_P(MessageEventTest, EachArrivesOnce) {
  TestMachine machine(accelerator(), {.irqchip = IrqchipMode::kKernel});
  vm::AcceleratorIrqs irqs(machine.vm(), IrqchipMode::kKernel, {}, true);
  machine.handle(Mode::kLong64, kFirst, handler(0x81));
  machine.handle(Mode::kLong64, kSecond, handler(0x82), 0x40);
  machine.start(Mode::kLong64, kWaitForInterrupts);
  ASSERT_EQ(expect<IoExit>(machine.run()).port, 0x80);
  // By call, at the change to the event, and by event; two of them in turn.
  for (unsigned i = 0; i < vm::MsiEvents::kSentBefore + 20; ++i) {
    irqs.signal(kAddress, kFirst);
    ASSERT_EQ(expect<IoExit>(machine.run()).port, 0x81) << i;
    irqs.signal(kAddress, kSecond);
    ASSERT_EQ(expect<IoExit>(machine.run()).port, 0x82) << i;
  }
}

TEST_P(MessageEventTest, FromAnotherThreadWhileTheGuestRuns) {
  TestMachine machine(accelerator(), {.irqchip = IrqchipMode::kKernel});
  vm::AcceleratorIrqs irqs(machine.vm(), IrqchipMode::kKernel, {}, true);
  machine.handle(Mode::kLong64, kFirst, handler(0x81));
  machine.start(Mode::kLong64, kWaitForInterrupts);
  ASSERT_EQ(expect<IoExit>(machine.run()).port, 0x80);
  for (unsigned i = 0; i < vm::MsiEvents::kSentBefore + 20; ++i) {
    std::thread device([&irqs] { irqs.signal(kAddress, kFirst); });
    EXPECT_EQ(expect<IoExit>(machine.run()).port, 0x81) << i;
    device.join();
  }
}

DOPPEL_CONTRACT_SUITE(MessageEventTest);

}  // namespace
}  // namespace doppel::test
