// What the contract's own suite (tests/contract) does not ask of every accelerator.
#include "accel/soft/vcpu.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <thread>

#include "accel/soft/soft.h"
#include "accel/tiny_guest.h"
#include "base/endian.h"
#include "event/event_fd.h"
#include "memory/dirty_bitmap.h"
#include "x86/cpu_reset.h"
#include "x86/cpuid_table.h"
#include "x86/msr.h"

namespace doppel::accel::soft {
namespace {

using tiny::Mode;
using enum x86::StateParts;
using Code = std::vector<std::uint8_t>;

class SoftVcpuTest : public testing::Test {
 protected:
  static constexpr std::size_t kSize = tiny::kMemorySize;

  SoftVcpuTest() {
    tiny::write_tables({ram_, kSize});
    EXPECT_TRUE(vm_->set_memory_slot({.slot = 0, .address = {0}, .size = kSize, .host = ram_}));
    vcpu_ = *vm_->create_vcpu(0);
  }
  ~SoftVcpuTest() override {
    vcpu_.reset();
    vm_.reset();
    ::munmap(ram_, kSize);
  }

  void start(Mode mode, const Code& code) {
    std::memcpy(ram_ + tiny::kCode, code.data(), code.size());
    ASSERT_TRUE(tiny::start(*vcpu_, mode));
  }
  template <class Exit>
  Exit run() {
    auto exit = vcpu_->run();
    EXPECT_TRUE(exit);
    const Exit* expected = exit ? std::get_if<Exit>(&*exit) : nullptr;
    EXPECT_NE(expected, nullptr) << (exit ? describe(*exit) : exit.error().describe());
    return expected == nullptr ? Exit{} : *expected;
  }
  x86::CpuState state(x86::StateParts parts) {
    x86::CpuState state;
    EXPECT_TRUE(vcpu_->get_state(state, parts));
    return state;
  }
  void set(x86::Gpr name, std::uint64_t value) {
    x86::CpuState now = state(kRegisters);
    now.gpr.at(name) = value;
    EXPECT_TRUE(vcpu_->set_state(now, kRegisters));
  }

  std::byte* const ram_ =
      static_cast<std::byte*>(::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  std::unique_ptr<Accelerator> soft_ = *open();
  std::unique_ptr<Vm> vm_ = *soft_->create_vm();
  std::unique_ptr<Vcpu> vcpu_;
};

TEST_F(SoftVcpuTest, IsLikeHardware) {
  EXPECT_EQ(soft_->name(), "soft");
  EXPECT_FALSE(soft_->traits().interprets_kernel_code);
  EXPECT_TRUE(soft_->traits().data_watchpoints);
  EXPECT_FALSE(soft_->capabilities().irqchip);
  EXPECT_FALSE(vm_->create_irqchip(IrqchipMode::kKernel));
  EXPECT_TRUE(vm_->create_irqchip(IrqchipMode::kOff));
  EXPECT_FALSE(vm_->signal_msi({}));
  EXPECT_FALSE(vm_->coalesce({0}, 8, false));
  EXPECT_FALSE(vm_->create_vcpu(kMaxVcpus));
}

TEST_F(SoftVcpuTest, WholeStateRoundTrips) {
  start(Mode::kLong64, {0xf4});
  const x86::CpuState before = state(kAll);
  auto other = *vm_->create_vcpu(1);
  ASSERT_TRUE(other->set_state(before, kAll));
  x86::CpuState after;
  ASSERT_TRUE(other->get_state(after, kAll));
  const auto forget_time = [](x86::CpuState& state) {
    std::erase_if(state.msrs, [](const x86::Msr& msr) { return msr.index == x86::msr::kTsc; });
  };
  x86::CpuState expected = before;
  forget_time(expected);
  forget_time(after);
  EXPECT_EQ(after, expected);
}

TEST_F(SoftVcpuTest, ResetOfAnyModelIsTaken) {
  const x86::CpuidTable supported = *soft_->supported_cpuid();
  x86::CpuidTable poor = supported;
  for (x86::CpuidEntry& entry : poor)
    if (entry.leaf == 7) entry.ebx = entry.ecx = entry.edx = 0;
  for (const x86::CpuidTable& table : {supported, poor}) {
    ASSERT_TRUE(vcpu_->set_cpuid(table));
    x86::ResetParameters parameters;
    parameters.msrs = soft_->saved_msrs();
    const auto result = vcpu_->set_state(x86::reset_state(parameters), kAll);
    EXPECT_TRUE(result) << result.error().describe();
  }
}

TEST_F(SoftVcpuTest, StatesThatAreNoStatesAreRefused) {
  start(Mode::kLong64, {0xf4});
  x86::CpuState bad = state(kAll);
  bad.cr4 |= 1U << 13U;  // VMXE
  EXPECT_FALSE(vcpu_->set_state(bad, kSystem));
  bad = state(kAll);
  bad.efer &= ~std::uint64_t{0x400};  // paging with LME is long mode
  EXPECT_FALSE(vcpu_->set_state(bad, kSystem));
  bad = state(kAll);
  bad.xcr0 = std::uint64_t{1} << 40U;
  EXPECT_FALSE(vcpu_->set_state(bad, kFpu));
  run<HaltExit>();
}

TEST_F(SoftVcpuTest, DebugRegistersReadWithTheirFixedBits) {
  x86::CpuState debug;
  debug.dr6 = 0;
  debug.dr7 = ~std::uint64_t{0};
  ASSERT_TRUE(vcpu_->set_state(debug, kDebug));
  EXPECT_EQ(state(kDebug).dr6, 0xffff0ff0U);
  EXPECT_EQ(state(kDebug).dr7, 0xffff27ffU);
}

TEST_F(SoftVcpuTest, WhatTheTableHidesIsUndefined) {
  x86::CpuidTable table = *soft_->supported_cpuid();
  x86::find_cpuid(table, 1)->ecx &= ~(1U << 23U);  // POPCNT
  ASSERT_TRUE(vcpu_->set_cpuid(table));
  start(Mode::kLong64, {0xf3, 0x0f, 0xb8, 0xc3, 0xf4});  // popcnt eax, ebx; hlt
  run<ShutdownExit>();
  ASSERT_TRUE(vcpu_->set_cpuid(*soft_->supported_cpuid()));
  start(Mode::kLong64, {0xf3, 0x0f, 0xb8, 0xc3, 0xf4});
  run<HaltExit>();
}

TEST_F(SoftVcpuTest, WhatTheTableInventsIsUndefinedToo) {
  x86::CpuidTable table = *soft_->supported_cpuid();
  x86::find_cpuid(table, 1)->ecx |= 1U << 3U;  // MONITOR
  ASSERT_TRUE(vcpu_->set_cpuid(table));
  start(Mode::kLong64, {0x0f, 0x01, 0xc8, 0xf4});
  run<ShutdownExit>();
}

TEST_F(SoftVcpuTest, AnotherStateForgetsAnUnfinishedAccess) {
  start(Mode::kLong64, {0xe4, 0x80, 0xf4});  // in al, 0x80; hlt
  run<IoExit>().data[0] = std::byte{0x77};
  start(Mode::kLong64, {0xe4, 0x81, 0xf4});
  EXPECT_EQ(run<IoExit>().port, 0x81) << "the answer was for the other IN";
}

TEST_F(SoftVcpuTest, StringsComeInBatches) {
  start(Mode::kLong64, {0xf3, 0x6e, 0xf4});  // rep outsb; hlt
  set(x86::kRcx, 1000);
  set(x86::kRsi, tiny::kData);
  set(x86::kRdx, 0x402);
  unsigned exits = 0;
  std::size_t bytes = 0;
  auto exit = vcpu_->run();
  for (; exit && std::holds_alternative<IoExit>(*exit); exit = vcpu_->run()) {
    ++exits;
    bytes += std::get<IoExit>(*exit).data.size();
  }
  EXPECT_EQ(bytes, 1000U);
  EXPECT_LE(exits, 2U);
}

TEST_F(SoftVcpuTest, DoorbellsWithinOneInstructionDoNotStopIt) {
  const auto bell = event::EventFd::create();
  ASSERT_TRUE(vm_->attach_ioeventfd({.address = {0xd000'0000}, .is_port = false, .size = 4, .value = {}}, *bell));
  start(Mode::kLong64, {0xf3, 0xab, 0xf4});  // rep stosd; hlt
  set(x86::kRcx, 2);
  set(x86::kRdi, 0xd000'0000);
  EXPECT_EQ(run<MmioExit>().address.value, 0xd000'0004U);
  EXPECT_EQ(bell->drain(), 1U);
  run<HaltExit>();
}

TEST_F(SoftVcpuTest, CompleteExitRingsDoorbellsOnTheWay) {
  const auto bell = event::EventFd::create();
  ASSERT_TRUE(vm_->attach_ioeventfd({.address = {0xd000'0000}, .is_port = false, .size = 4, .value = {}}, *bell));
  start(Mode::kLong64, {0x01, 0x07, 0xf4});  // add [rdi], eax; hlt
  set(x86::kRdi, 0xd000'0000);
  run<MmioExit>();
  EXPECT_TRUE(vcpu_->complete_exit());
  EXPECT_EQ(bell->drain(), 1U);
  EXPECT_EQ(state(kRegisters).rip, tiny::kCode + 2);
}

TEST_F(SoftVcpuTest, AStepThatEndsInCompleteExitIsReportedOnce) {
  start(Mode::kLong64, {0xe4, 0x80, 0x90, 0xf4});  // in al, 0x80; nop; hlt
  ASSERT_TRUE(vcpu_->set_debug({.single_step = true}));
  run<IoExit>();
  const auto completed = vcpu_->complete_exit();
  ASSERT_FALSE(completed);
  EXPECT_EQ(completed.error().kind(), ErrorKind::kBusy);
  EXPECT_EQ(run<DebugExit>().pc, tiny::kCode + 2);
  EXPECT_TRUE(vcpu_->complete_exit());
  ASSERT_TRUE(vcpu_->set_debug({}));
  run<HaltExit>();
}

TEST_F(SoftVcpuTest, MarkedHostWritesChangeCode) {
  constexpr std::uint64_t kHigh = 0x4000'0000;
  memory::DirtyBitmap dirty(4096);
  void* page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  auto* bytes = static_cast<std::byte*>(page);
  ASSERT_TRUE(vm_->set_memory_slot({.slot = 1, .address = {kHigh}, .size = 4096, .host = bytes, .dirty = &dirty}));
  const auto write = [&](const Code& code) {
    std::memcpy(bytes, code.data(), code.size());
    dirty.mark(0, code.size());
  };
  for (std::uint8_t port = 0x80; port < 0x84; ++port) {
    write({0xe6, port, 0xff, 0xe7});  // out port, al; jmp rdi
    if (port == 0x80) start(Mode::kLong64, {0xff, 0xe7});
    if (port == 0x80) set(x86::kRdi, kHigh);
    EXPECT_EQ(run<IoExit>().port, port);
  }
  ASSERT_TRUE(vm_->set_memory_slot({.slot = 1, .address = {kHigh}, .size = 0, .host = bytes}));
  ::munmap(page, 4096);
}

TEST_F(SoftVcpuTest, ParavirtualClockFollowsSetClock) {
  constexpr std::uint32_t kSystemTime = x86::msr::kKvmSystemTimeNew;
  constexpr std::uint64_t kSystemTimeOffset = 16;  // in the page
  x86::CpuState clock;
  clock.msrs = {{kSystemTime, tiny::kData | 1}};
  ASSERT_TRUE(vcpu_->set_state(clock, kMsrs));
  ASSERT_TRUE(vm_->set_clock(7'000'000'000));
  EXPECT_EQ(load_le<std::uint64_t>(ram_ + tiny::kData + kSystemTimeOffset), 7'000'000'000U);
  EXPECT_GE(*vm_->get_clock(), 7'000'000'000U);
}

TEST_F(SoftVcpuTest, SlotsComeAndGoUnderTwoRunningVcpus) {
  constexpr std::uint64_t kHigh = 0x4000'0000;
  void* page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  auto other = *vm_->create_vcpu(1);
  start(Mode::kLong64, {0x48, 0xff, 0x07, 0xeb, 0xfb});  // again: inc qword [rdi]; jmp again
  set(x86::kRdi, kHigh);
  ASSERT_TRUE(other->set_state(state(kAll), kAll));
  std::atomic<bool> done{false};
  const auto spin = [&done](Vcpu& vcpu) {
    while (!done) {
      const auto exit = vcpu.run();
      ASSERT_TRUE(exit);
      ASSERT_TRUE(std::holds_alternative<MmioExit>(*exit) || std::holds_alternative<InterruptedExit>(*exit));
    }
  };
  std::thread first([&] { spin(*vcpu_); });
  std::thread second([&] { spin(*other); });
  for (int i = 0; i < 100; ++i)
    for (const std::uint64_t size : {std::uint64_t{4096}, std::uint64_t{0}})
      EXPECT_TRUE(
          vm_->set_memory_slot({.slot = 1, .address = {kHigh}, .size = size, .host = static_cast<std::byte*>(page)}));
  done = true;
  vcpu_->kick();
  other->kick();
  first.join();
  second.join();
  ::munmap(page, 4096);
}

}  // namespace
}  // namespace doppel::accel::soft
