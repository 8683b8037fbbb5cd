#include "accel/soft/runtime/host_fault.h"

#include <gtest/gtest.h>

#include <array>
#include <csignal>
#include <thread>
#include <utility>
#include <vector>

#include "accel/soft/runtime/code_memory.h"

namespace doppel::accel::soft {
namespace {

using Function = std::uint64_t (*)(std::uint64_t);

/// Code that begins with INSTRUCTION, the one that may fault, and returns 1 after it or 2 if it faulted.
class Faulting {
 public:
  explicit Faulting(std::vector<std::uint8_t> instruction) : length_(instruction.size()) {
    std::vector<std::uint8_t> code = std::move(instruction);
    code.insert(code.end(), {0xb8, 1, 0, 0, 0, 0xc3});  // mov eax, 1; ret
    code.insert(code.end(), {0xb8, 2, 0, 0, 0, 0xc3});
    place_ = memory_->append(code);
    guarded_ = {.instruction = reinterpret_cast<std::uintptr_t>(place_),
                .resume = reinterpret_cast<std::uintptr_t>(place_) + length_ + 6};
    install_host_fault_handlers();
  }
  std::uint64_t run(std::uint64_t argument = 0) {
    host_fault_slot = {.guarded = &guarded_, .trap = kNoTrap};
    const std::uint64_t result = reinterpret_cast<Function>(reinterpret_cast<std::uintptr_t>(place_))(argument);
    host_fault_slot.guarded = nullptr;
    return result;
  }
  [[nodiscard]] const GuardedInstruction& guarded() const { return guarded_; }

 private:
  Result<CodeMemory> memory_ = CodeMemory::create(4096);
  const std::size_t length_;
  const std::byte* place_ = nullptr;
  GuardedInstruction guarded_;
};

TEST(HostFaultTest, TellsTheTrap) {
  Faulting undefined({0x0f, 0x0b});  // ud2
  EXPECT_EQ(undefined.run(), 2U);
  EXPECT_EQ(host_fault_slot.trap, 6);
  Faulting misaligned({0x0f, 0x28, 0x07});  // movaps xmm0, [rdi]
  alignas(16) std::array<std::byte, 32> data{};
  EXPECT_EQ(misaligned.run(reinterpret_cast<std::uintptr_t>(data.data())), 1U);
  EXPECT_EQ(host_fault_slot.trap, kNoTrap);
  EXPECT_EQ(misaligned.run(reinterpret_cast<std::uintptr_t>(data.data()) + 1), 2U);
  EXPECT_EQ(host_fault_slot.trap, 13);
  Faulting divide({0xf7, 0xff});  // idiv edi
  EXPECT_EQ(divide.run(0), 2U);
  EXPECT_EQ(host_fault_slot.trap, 0);
}

TEST(HostFaultTest, EveryThreadHasItsOwn) {
  Faulting undefined({0x0f, 0x0b});
  std::vector<std::thread> threads;
  std::array<int, 4> traps{};
  for (int& trap : traps)
    threads.emplace_back([&] {
      for (unsigned n = 0; n < 100; ++n) undefined.run();
      trap = host_fault_slot.trap;
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(traps, (std::array{6, 6, 6, 6}));
}

TEST(HostFaultDeathTest, OtherFaultsTakeTheirOldWay) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  install_host_fault_handlers();
  EXPECT_DEATH(asm volatile("ud2"), "");
  EXPECT_DEATH(std::raise(SIGFPE), "");
}

TEST(HostFaultDeathTest, MemoryThatIsGoneIsNotTheInstructions) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Faulting load({0x48, 0x8b, 0x07});  // mov rax, [rdi]
  EXPECT_DEATH(load.run(8), "");
}

TEST(HostFault, OtherSignalsAreRefusedWhereAskedFor) {
  std::thread([] {
    refuse_other_signals();
    sigset_t blocked;
    ASSERT_EQ(::pthread_sigmask(SIG_SETMASK, nullptr, &blocked), 0);
    EXPECT_EQ(::sigismember(&blocked, SIGTERM), 1);
    EXPECT_EQ(::sigismember(&blocked, SIGUSR1), 1);
    EXPECT_EQ(::sigismember(&blocked, SIGSEGV), 0);
    EXPECT_EQ(::sigismember(&blocked, SIGFPE), 0);
  }).join();
}

TEST(HostFault, AreAcceptedByAThreadThatBlockedEverything) {
  std::thread([] {
    sigset_t all;
    ::sigfillset(&all);
    ASSERT_EQ(::pthread_sigmask(SIG_BLOCK, &all, nullptr), 0);
    accept_host_faults();
    sigset_t blocked;
    ASSERT_EQ(::pthread_sigmask(SIG_SETMASK, nullptr, &blocked), 0);
    EXPECT_EQ(::sigismember(&blocked, SIGSEGV), 0);
    EXPECT_EQ(::sigismember(&blocked, SIGTERM), 1);
    stack_t stack{};
    ASSERT_EQ(::sigaltstack(nullptr, &stack), 0);
    EXPECT_EQ(stack.ss_flags & SS_DISABLE, 0);
  }).join();
}

}  // namespace
}  // namespace doppel::accel::soft
