// What KVM's vCPUs do beyond the contract; needs a /dev/kvm.
#include "accel/kvm/vcpu.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>

#include "accel/kvm/kvm.h"
#include "accel/tiny_guest.h"

namespace doppel::accel::kvm {
namespace {

using tiny::Mode;
using x86::StateParts;

class KvmVcpuTest : public testing::Test {
 protected:
  void SetUp() override {
    auto opened = open();
    if (!opened) GTEST_SKIP() << "skipped: " << opened.error().describe();
    system_ = std::move(*opened);
    memory_ = static_cast<std::byte*>(map(tiny::kMemorySize));
    tiny::write_tables({memory_, tiny::kMemorySize});
    vm_ = std::move(*system_->create_vm());
    ASSERT_TRUE(
        vm_->set_memory_slot({.slot = 0, .address = {0}, .size = tiny::kMemorySize, .host = memory_, .flags = {}}));
    vcpu_ = std::move(*vm_->create_vcpu(0));
    ASSERT_TRUE(vcpu_->set_cpuid(*system_->supported_cpuid()));
  }
  void TearDown() override {
    vcpu_.reset();
    vm_.reset();
    if (memory_ != nullptr) ::munmap(memory_, tiny::kMemorySize);
  }

  static void* map(std::size_t size) {
    return ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  }
  void start(std::initializer_list<std::uint8_t> code, Mode mode = Mode::kLong64) {
    std::memcpy(memory_ + tiny::kCode, code.begin(), code.size());
    ASSERT_TRUE(tiny::start(*vcpu_, mode));
  }

  std::unique_ptr<Accelerator> system_;
  std::byte* memory_ = nullptr;
  std::unique_ptr<Vm> vm_;
  std::unique_ptr<Vcpu> vcpu_;
};

TEST_F(KvmVcpuTest, InterruptIntoAGuestThatIsNotReadyIsRefused) {
  start({0xe6, 0x80, 0xf4});  // out 0x80, al; hlt
  ASSERT_TRUE(vcpu_->run());
  ASSERT_FALSE(vcpu_->ready_for_interrupt());
  const auto injected = vcpu_->inject({.kind = Injection::Kind::kInterrupt, .vector = 0x40, .error_code = {}});
  ASSERT_FALSE(injected);
  EXPECT_EQ(injected.error().kind(), ErrorKind::kInternal);
  EXPECT_TRUE(std::holds_alternative<HaltExit>(*vcpu_->run()));
}

TEST_F(KvmVcpuTest, HostMemoryThatIsGoneIsOurFaultAndNotTheProcesss) {
  constexpr std::uint64_t kAddress = 0x40000000;
  auto* gone = static_cast<std::byte*>(map(4096));
  ASSERT_TRUE(vm_->set_memory_slot({.slot = 1, .address = {kAddress}, .size = 4096, .host = gone, .flags = {}}));
  ::munmap(gone, 4096);
  // mov [0x40000000], eax; hlt
  start({0x89, 0x04, 0x25, 0x00, 0x00, 0x00, 0x40, 0xf4});
  const auto exit = vcpu_->run();
  if (exit) {  // where the kernel interprets guest code
    ASSERT_TRUE(std::holds_alternative<MmioExit>(*exit)) << describe(*exit);
    EXPECT_EQ(std::get<MmioExit>(*exit).address.value, kAddress);
  } else {
    EXPECT_EQ(exit.error().kind(), ErrorKind::kInternal);
    EXPECT_THAT(exit.error().describe(), testing::HasSubstr("not accessible on the host"));
  }
}

TEST_F(KvmVcpuTest, FetchingFromAHoleHasNoInstructionBytesToShow) {
  if (!system_->traits().interprets_kernel_code) GTEST_SKIP() << "skipped: differs between processors";
  start({0xff, 0xe0});  // jmp rax
  x86::CpuState state;
  ASSERT_TRUE(vcpu_->get_state(state, StateParts::kRegisters));
  state.gpr[x86::kRax] = 0x50000000;
  ASSERT_TRUE(vcpu_->set_state(state, StateParts::kRegisters));
  const auto exit = vcpu_->run();
  ASSERT_TRUE(exit);
  const auto* error = std::get_if<InternalErrorExit>(&*exit);
  ASSERT_NE(error, nullptr) << describe(*exit);
  EXPECT_EQ(error->instruction_length, 0);
}

TEST_F(KvmVcpuTest, RegistersWrittenAfterAnExitReachTheNextEntryAndEveryReader) {
  start({0xe6, 0x80, 0xeb, 0xfc});  // again: out 0x80, al; jmp again
  x86::CpuState state;
  for (std::uint64_t i = 1; i < 200; ++i) {  // long enough for the register exchange to begin
    ASSERT_TRUE(vcpu_->run());
    ASSERT_TRUE(vcpu_->get_state(state, StateParts::kRegisters));
    if (i > 1) {
      ASSERT_EQ(state.gpr[x86::kRbx], i - 1);
    }
    state.gpr[x86::kRbx] = i;
    ASSERT_TRUE(vcpu_->set_state(state, StateParts::kRegisters));
    if (i % 3 == 0) {  // an ioctl in between must not lose it
      ASSERT_TRUE(vcpu_->translate(0x1000));
    }
    if (i % 5 == 0) {
      ASSERT_TRUE(vcpu_->get_state(state, StateParts::kAll));
      ASSERT_EQ(state.gpr[x86::kRbx], i);
      ASSERT_TRUE(vcpu_->set_state(state, StateParts::kEvents | StateParts::kSystem));
    }
  }
}

TEST_F(KvmVcpuTest, RegistersSurviveAKickThatComesFirst) {
  start({0xe6, 0x80, 0xf4});  // out 0x80, al; hlt
  ASSERT_TRUE(vcpu_->run());
  x86::CpuState state;
  ASSERT_TRUE(vcpu_->get_state(state, StateParts::kRegisters));
  state.gpr[x86::kRbx] = 0x4711;
  ASSERT_TRUE(vcpu_->set_state(state, StateParts::kRegisters));
  vcpu_->kick();
  EXPECT_TRUE(std::holds_alternative<InterruptedExit>(*vcpu_->run()));
  state = {};
  ASSERT_TRUE(vcpu_->get_state(state, StateParts::kRegisters));
  EXPECT_EQ(state.gpr[x86::kRbx], 0x4711U);
  EXPECT_TRUE(std::holds_alternative<HaltExit>(*vcpu_->run()));
}

TEST_F(KvmVcpuTest, ProbingTwiceFindsTheSame) {
  const Traits first = system_->traits();
  auto again = open();
  ASSERT_TRUE(again);
  const Traits second = (*again)->traits();
  EXPECT_EQ(first.interprets_kernel_code, second.interprets_kernel_code);
  EXPECT_EQ(first.legacy_paging, second.legacy_paging);
  EXPECT_EQ(first.exact_cpuid, second.exact_cpuid);
  EXPECT_EQ(first.user_mode_port_io, second.user_mode_port_io);
}

}  // namespace
}  // namespace doppel::accel::kvm
