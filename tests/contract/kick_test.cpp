// kick(): from before, during and between entries, and never lost.
#include <pthread.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <thread>

#include "tests/contract/contract.h"

namespace doppel::test {
namespace {

using KickTest = ContractTest;

const Code kSpin = {0xeb, 0xfe};                  // jmp $
const Code kPortLoop = {0xe6, 0x80, 0xeb, 0xfc};  // again: out 0x80, al; jmp again

TEST_P(KickTest, BeforeTheFirstRun) {
  TestMachine machine(accelerator());
  machine.start(Mode::kLong64, kSpin);
  machine.vcpu().kick();
  expect<InterruptedExit>(machine.run());
  EXPECT_EQ(machine.state().rip, tiny::kCode);
}

TEST_P(KickTest, ManyBeforeARunAreOne) {
  TestMachine machine(accelerator());
  machine.start(Mode::kLong64, kPortLoop);
  for (int i = 0; i < 10; ++i) machine.vcpu().kick();
  expect<InterruptedExit>(machine.run());
  expect<IoExit>(machine.run());
  expect<IoExit>(machine.run());
}

TEST_P(KickTest, BetweenAReadAndItsCompletion) {
  TestMachine machine(accelerator());
  machine.start(Mode::kLong64, {0xe4, 0x80, 0xf4});  // in al, 0x80; hlt
  const auto exit = expect<IoExit>(machine.run());
  ASSERT_EQ(exit.data.size(), 1U);
  exit.data[0] = std::byte{0x77};
  machine.vcpu().kick();
  ASSERT_TRUE(machine.vcpu().complete_exit());
  EXPECT_EQ(machine.state().gpr[x86::kRax], 0x77U);
  expect<InterruptedExit>(machine.run());
  expect<HaltExit>(machine.run());
  EXPECT_EQ(machine.state().gpr[x86::kRax], 0x77U);
}

TEST_P(KickTest, AReadInterruptedByAKickIsNotLost) {
  TestMachine machine(accelerator());
  machine.start(Mode::kLong64, {0xe4, 0x80, 0xf4});
  const auto exit = expect<IoExit>(machine.run());
  ASSERT_EQ(exit.data.size(), 1U);
  exit.data[0] = std::byte{0x77};
  machine.vcpu().kick();
  expect<InterruptedExit>(machine.run());
  EXPECT_EQ(machine.state().gpr[x86::kRax], 0x77U);
  EXPECT_EQ(machine.state().rip, tiny::kCode + 2);
  expect<HaltExit>(machine.run());
}

/// Up to ROUNDS times, fewer on a busy host: ask, kick, and wait until the vCPU's thread has come out and seen the
/// question.
void kick_and_be_heard(TestMachine& machine, int rounds) {
  using Clock = std::chrono::steady_clock;
  std::atomic<int> asked{0};
  std::atomic<int> heard{0};
  std::atomic<bool> done{false};
  std::thread runner([&] {
    while (!done.load()) {
      const VcpuExit exit = machine.run();
      if (std::holds_alternative<InterruptedExit>(exit)) heard.store(asked.load());
    }
  });
  const auto enough = Clock::now() + std::chrono::seconds(1);
  int lost = 0;
  for (int round = 1; round <= rounds && lost == 0 && Clock::now() < enough; ++round) {
    const auto deadline = Clock::now() + std::chrono::seconds(5);
    asked.store(round);
    machine.vcpu().kick();
    while (heard.load() < round && lost == 0) {
      std::this_thread::yield();
      if (Clock::now() > deadline) lost = round;
    }
  }
  done.store(true);
  machine.vcpu().kick();
  runner.join();
  EXPECT_EQ(lost, 0) << "this kick was lost";
}

TEST_P(KickTest, NoneIsLostInASpinningGuest) {
  TestMachine machine(accelerator());
  machine.start(Mode::kLong64, kSpin);
  kick_and_be_heard(machine, 300);
}

TEST_P(KickTest, NoneIsLostInUserMode) {
  TestMachine machine(accelerator());
  machine.start(Mode::kUser64, kSpin);
  kick_and_be_heard(machine, 300);
}

TEST_P(KickTest, NoneIsLostBetweenExits) {
  TestMachine machine(accelerator());
  machine.start(Mode::kLong64, kPortLoop);
  kick_and_be_heard(machine, 1000);
}

TEST_P(KickTest, ManyThreadsAtOnce) {
  TestMachine machine(accelerator());
  machine.start(Mode::kLong64, kPortLoop);
  std::atomic<bool> done{false};
  std::vector<std::thread> kickers;
  for (int i = 0; i < 3; ++i)
    kickers.emplace_back([&] {
      for (int k = 0; k < 500; ++k) machine.vcpu().kick();
    });
  std::thread runner([&] {
    while (!done.load()) {
      const VcpuExit exit = machine.run();
      EXPECT_TRUE(std::holds_alternative<InterruptedExit>(exit) || std::holds_alternative<IoExit>(exit))
          << describe(exit);
    }
  });
  for (std::thread& kicker : kickers) kicker.join();
  done.store(true);
  machine.vcpu().kick();
  runner.join();
}

TEST_P(KickTest, FollowsTheVcpuToAnotherThread) {
  TestMachine machine(accelerator());
  machine.start(Mode::kLong64, kSpin);
  for (int i = 0; i < 5; ++i) kick_and_be_heard(machine, 5);
}

TEST_P(KickTest, ReachesAProcessorHaltedInTheAccelerator) {
  DOPPEL_NEEDS(capabilities().irqchip, "no interrupt controllers in the accelerator");
  TestMachine machine(accelerator(), {.irqchip = IrqchipMode::kKernel});
  machine.start(Mode::kLong64, {0xf4});  // hlt
  kick_and_be_heard(machine, 20);
}

TEST_P(KickTest, FromASignalHandlerOnTheVcpusOwnThread) {
  static std::atomic<accel::Vcpu*> target;
  TestMachine machine(accelerator());
  machine.start(Mode::kLong64, kSpin);
  target = &machine.vcpu();
  struct sigaction action = {}, before = {};
  action.sa_handler = [](int) { target.load()->kick(); };
  ASSERT_EQ(::sigaction(SIGUSR1, &action, &before), 0);
  const pthread_t self = ::pthread_self();
  std::thread sender([self] {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    ::pthread_kill(self, SIGUSR1);
  });
  expect<InterruptedExit>(machine.run());
  sender.join();
  ::sigaction(SIGUSR1, &before, nullptr);
}

TEST_P(KickTest, WorksWhenTheThreadBlocksAllSignals) {
  TestMachine machine(accelerator());
  machine.start(Mode::kLong64, kSpin);
  sigset_t all, before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  kick_and_be_heard(machine, 5);  // its thread inherits the mask
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

DOPPEL_CONTRACT_SUITE(KickTest);

}  // namespace
}  // namespace doppel::test
