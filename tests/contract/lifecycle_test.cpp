// Making and unmaking machines leaves nothing behind.
#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "tests/contract/contract.h"

namespace doppel::test {
namespace {

using LifecycleTest = ContractTest;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kFreedMemoryIsKept = true;
#elif defined(__has_feature)
constexpr bool kFreedMemoryIsKept = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
constexpr bool kFreedMemoryIsKept = false;
#endif

std::size_t open_descriptors() {
  std::size_t count = 0;
  DIR* directory = ::opendir("/proc/self/fd");
  if (directory == nullptr) return 0;
  while (::readdir(directory) != nullptr) ++count;
  ::closedir(directory);
  return count;
}

std::uint64_t resident_bytes() {
  std::uint64_t size = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> size >> resident;
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

void make_run_and_unmake(accel::Accelerator& accelerator, bool with_irqchip) {
  TestMachine machine(accelerator, {.irqchip = with_irqchip ? IrqchipMode::kKernel : IrqchipMode::kOff, .vcpus = 2});
  machine.start(Mode::kLong64, {0xe6, 0x80});  // out 0x80, al
  expect<IoExit>(machine.run());
}

TEST_P(LifecycleTest, TwoHundredMachines) {
  for (int i = 0; i < 10; ++i) make_run_and_unmake(accelerator(), i % 2 != 0 && capabilities().irqchip);
  const std::size_t descriptors = open_descriptors();
  const std::uint64_t memory = resident_bytes();
  for (int i = 0; i < 200; ++i) make_run_and_unmake(accelerator(), i % 2 != 0 && capabilities().irqchip);
  EXPECT_EQ(open_descriptors(), descriptors);
  if (!kFreedMemoryIsKept) {
    EXPECT_LT(resident_bytes(), memory + 12 * 1024 * 1024);  // each touched 100 KiB
  }
}

TEST_P(LifecycleTest, MachinesSideBySide) {
  std::vector<std::unique_ptr<TestMachine>> machines;
  for (int i = 0; i < 10; ++i) machines.push_back(std::make_unique<TestMachine>(accelerator()));
  for (std::uint8_t i = 0; const auto& machine : machines)
    machine->start(Mode::kLong64, {0xb0, i++, 0xe6, 0x80});  // mov al, i; out 0x80, al
  for (std::uint8_t i = 0; const auto& machine : machines) {
    const auto exit = expect<IoExit>(machine->run());
    ASSERT_EQ(exit.data.size(), 1U);
    EXPECT_EQ(exit.data[0], std::byte{i++});
  }
}

TEST_P(LifecycleTest, VcpuIdsAreUnique) {
  TestMachine machine(accelerator());
  EXPECT_EQ(machine.vcpu().id(), 0U);
  const auto same = machine.vm().create_vcpu(0);
  ASSERT_FALSE(same);
  EXPECT_EQ(same.error().kind(), ErrorKind::kAlreadyExists);
}

TEST_P(LifecycleTest, CapabilitiesMakeSense) {
  EXPECT_FALSE(accelerator().name().empty());
  EXPECT_GE(capabilities().max_vcpus, 1U);
  EXPECT_GE(capabilities().max_memory_slots, 8U);
  EXPECT_TRUE(std::ranges::is_sorted(accelerator().saved_msrs()));
  EXPECT_TRUE(accelerator().supported_cpuid());
}

DOPPEL_CONTRACT_SUITE(LifecycleTest);

}  // namespace
}  // namespace doppel::test
