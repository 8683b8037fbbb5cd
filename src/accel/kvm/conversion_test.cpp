// The kernel's structures and what we make of them: state, MSR filter, coalesced ring, register exchange.
#include <gtest/gtest.h>

#include <vector>

#include "accel/kvm/coalesced_ring.h"
#include "accel/kvm/msr_filter.h"
#include "accel/kvm/state_conversion.h"
#include "accel/kvm/vcpu.h"

namespace doppel::accel::kvm {
namespace {

TEST(StateConversionTest, Registers) {
  x86::CpuState state;
  for (unsigned i = 0; i < x86::kGprCount; ++i) state.gpr[i] = 100 + i;
  state.rip = 200;
  state.rflags = 0x246;
  kvm_regs regs;
  to_kvm(state, regs);
  EXPECT_EQ(regs.rcx, 101U);
  EXPECT_EQ(regs.rbx, 103U);
  EXPECT_EQ(regs.rsi, 106U);
  EXPECT_EQ(regs.r15, 115U);
  x86::CpuState again;
  from_kvm(regs, again);
  EXPECT_EQ(again, state);
}

TEST(StateConversionTest, SystemRegisters) {
  x86::CpuState state;
  for (std::size_t i = 0; i < x86::kSegmentCount; ++i)
    state.segment[i] = {.base = i * 0x10000,
                        .limit = 0xfffff,
                        .selector = static_cast<std::uint16_t>(8 * i),
                        .type = 3,
                        .dpl = 3,
                        .present = true,
                        .default_big = true,
                        .granularity = true,
                        .available = true};
  state.segment[x86::kCs].long_mode = true;
  state.ldt.unusable = true;
  state.ldt.present = false;
  state.tr.code_or_data = false;
  state.gdt = {.base = 0x1000, .limit = 0x4f};
  state.idt = {.base = 0x2000, .limit = 0xfff};
  state.cr0 = 1;
  state.cr2 = 2;
  state.cr3 = 3;
  state.cr4 = 4;
  state.cr8 = 8;
  state.efer = 0x500;
  state.apic_base = 0xfee00900;
  kvm_sregs sregs;
  to_kvm(state, sregs);
  EXPECT_EQ(sregs.fs.base, 0x40000U);
  EXPECT_EQ(sregs.interrupt_bitmap[0], 0U);
  x86::CpuState again;
  from_kvm(sregs, again);
  EXPECT_EQ(again, state);
}

TEST(StateConversionTest, Events) {
  x86::PendingEvents events;
  events.exception = {
      .pending = true, .vector = 14, .has_error_code = true, .error_code = 6, .has_payload = true, .payload = 0x1000};
  events.interrupt = {.injected = true, .vector = 0x40, .soft = true};
  events.nmi = {.injected = true, .pending = true, .masked = true};
  events.sti_shadow = events.mov_ss_shadow = true;
  events.sipi_vector = 5;
  kvm_vcpu_events raw;
  to_kvm(events, KVM_VCPUEVENT_VALID_PAYLOAD | KVM_VCPUEVENT_VALID_SHADOW, raw);
  x86::PendingEvents again;
  from_kvm(raw, again);
  EXPECT_EQ(again, events);
}

TEST(StateConversionTest, PendingExceptionsAreInjectedWhereTheKernelHasNoOther) {
  x86::PendingEvents events;
  events.exception = {.pending = true, .vector = 6};
  kvm_vcpu_events raw;
  to_kvm(events, 0, raw);
  EXPECT_EQ(raw.exception.injected, 1);
  EXPECT_EQ(raw.exception.pending, 0);
  events.exception.injected = true;  // both at once is refused by the kernel
  to_kvm(events, KVM_VCPUEVENT_VALID_PAYLOAD, raw);
  EXPECT_EQ(raw.exception.injected, 1);
  EXPECT_EQ(raw.exception.pending, 0);
}

TEST(StateConversionTest, WhatIsBeingDeliveredKeepsInterruptsOut) {
  EXPECT_TRUE(leaves_room_for_interrupt({}));
  kvm_vcpu_events masked{};
  masked.nmi.masked = masked.nmi.pending = 1;  // no matter to others
  EXPECT_TRUE(leaves_room_for_interrupt(masked));
  const auto keeps_out = [](auto change) {
    kvm_vcpu_events events{};
    change(events);
    return !leaves_room_for_interrupt(events);
  };
  EXPECT_TRUE(keeps_out([](kvm_vcpu_events& events) { events.interrupt.shadow = KVM_X86_SHADOW_INT_STI; }));
  EXPECT_TRUE(keeps_out([](kvm_vcpu_events& events) { events.interrupt.shadow = KVM_X86_SHADOW_INT_MOV_SS; }));
  EXPECT_TRUE(keeps_out([](kvm_vcpu_events& events) { events.interrupt.injected = 1; }));
  EXPECT_TRUE(keeps_out([](kvm_vcpu_events& events) { events.nmi.injected = 1; }));
  EXPECT_TRUE(keeps_out([](kvm_vcpu_events& events) { events.exception.injected = 1; }));
  EXPECT_TRUE(keeps_out([](kvm_vcpu_events& events) { events.exception.pending = 1; }));
}

TEST(StateConversionTest, Cpuid) {
  const x86::CpuidEntry with{.leaf = 4, .subleaf = 2, .eax = 1, .ebx = 2, .ecx = 3, .edx = 4};
  const x86::CpuidEntry without{.leaf = 1, .subleaf = {}, .eax = 1, .ebx = 2, .ecx = 3, .edx = 4};
  EXPECT_EQ(to_kvm(with).flags, static_cast<std::uint32_t>(KVM_CPUID_FLAG_SIGNIFCANT_INDEX));
  EXPECT_EQ(to_kvm(without).flags, 0U);
  EXPECT_EQ(from_kvm(to_kvm(with)), with);
  EXPECT_EQ(from_kvm(to_kvm(without)), without);
}

bool allowed(const kvm_msr_filter_range& range, std::uint32_t index) {
  return (range.bitmap[(index - range.base) / 8] >> ((index - range.base) % 8) & 1) != 0;
}

TEST(MsrFilterTest, DeniesWhatIsListedAndNothingElse) {
  const std::uint32_t indexes[] = {0xc0000082, 0x1b, 0x10, 0x1b};
  auto filter = MsrFilter::create(indexes);
  ASSERT_TRUE(filter);
  const kvm_msr_filter argument = filter->argument();
  EXPECT_EQ(argument.flags, 0U);
  EXPECT_EQ(argument.ranges[0].base, 0x10U);
  EXPECT_EQ(argument.ranges[0].nmsrs, 12U);
  EXPECT_FALSE(allowed(argument.ranges[0], 0x10));
  EXPECT_TRUE(allowed(argument.ranges[0], 0x11));
  EXPECT_FALSE(allowed(argument.ranges[0], 0x1b));
  EXPECT_EQ(argument.ranges[1].base, 0xc0000082U);
  EXPECT_FALSE(allowed(argument.ranges[1], 0xc0000082));
  EXPECT_EQ(argument.ranges[2].nmsrs, 0U);
}

TEST(MsrFilterTest, RangesAreLimited) {
  std::vector<std::uint32_t> indexes;
  for (std::uint32_t i = 0; i < 16; ++i) indexes.push_back(i << 24);
  EXPECT_TRUE(MsrFilter::create(indexes));
  indexes.push_back(0xff000000);
  const auto filter = MsrFilter::create(indexes);
  ASSERT_FALSE(filter);
  EXPECT_EQ(filter.error().kind(), ErrorKind::kNoSpace);
}

class CoalescedRingTest : public testing::Test {
 protected:
  CoalescedRingTest() : words_(4096 / sizeof(std::uint64_t)) {}

  kvm_coalesced_mmio_ring* page() { return reinterpret_cast<kvm_coalesced_mmio_ring*>(words_.data()); }
  void fill(std::uint32_t index, std::uint64_t address, std::uint8_t value) {
    kvm_coalesced_mmio& entry = page()->coalesced_mmio[index];
    entry = {};
    entry.phys_addr = address;
    entry.len = 1;
    entry.data[0] = value;
  }
  std::vector<std::uint64_t> drain() {
    std::vector<std::uint64_t> seen;
    ring_.drain(
        [&](memory::GuestPhysAddr address, bool, std::span<const std::byte>) { seen.push_back(address.value); });
    return seen;
  }

  std::vector<std::uint64_t> words_;
  CoalescedRing ring_{page()};
};

TEST_F(CoalescedRingTest, EmptiesInOrderAndWraps) {
  static_assert(CoalescedRing::kEntries == 170);
  EXPECT_TRUE(drain().empty());
  page()->first = page()->last = CoalescedRing::kEntries - 1;
  fill(CoalescedRing::kEntries - 1, 1, 0);
  fill(0, 2, 0);
  fill(1, 3, 0);
  page()->last = 2;
  EXPECT_EQ(drain(), (std::vector<std::uint64_t>{1, 2, 3}));
  EXPECT_EQ(page()->first, 2U);
  EXPECT_TRUE(drain().empty());
}

TEST_F(CoalescedRingTest, LengthsAreHeldToTheEntry) {
  fill(0, 1, 0);
  page()->coalesced_mmio[0].len = 1000;
  page()->last = 1;
  std::size_t size = 0;
  ring_.drain([&](memory::GuestPhysAddr, bool, std::span<const std::byte> data) { size = data.size(); });
  EXPECT_EQ(size, 8U);
}

TEST(SyncPolicyTest, AsksForWhatIsReadAndForgetsIt) {
  SyncPolicy policy(KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS);
  EXPECT_EQ(policy.for_next_run(), 0U);
  policy.used(KVM_SYNC_X86_REGS | KVM_SYNC_X86_EVENTS);
  EXPECT_EQ(policy.for_next_run(), KVM_SYNC_X86_REGS);  // events are not supported here
  for (int i = 0; i < 1000; ++i) {
    policy.used(KVM_SYNC_X86_REGS);
    EXPECT_EQ(policy.for_next_run(), KVM_SYNC_X86_REGS);
  }
  for (int i = 0; i < 100; ++i) (void)policy.for_next_run();
  EXPECT_EQ(policy.for_next_run(), 0U);
}

}  // namespace
}  // namespace doppel::accel::kvm
