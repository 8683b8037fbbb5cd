#include "accel/soft/interpreter/stack.h"

#include <gtest/gtest.h>

#include "accel/soft/interpreter/test_fault.h"

namespace doppel::accel::soft {
namespace {

using tiny::Mode;
using namespace x86;

constexpr std::uint64_t kTop = tiny::kStackTop;

void set_stack_16(TestCpu& test) {
  test.cpu.segment[kSs].default_big = false;
  test.cpu.segment[kSs].limit = 0xffff;
  test.cpu.update_mode();
}
TEST(PushTest, SizesFollowTheMode) {
  TestCpu test(Mode::kLong64);
  test.cpu.gpr[kRax] = 0x1122'3344'5566'7788;
  ASSERT_EQ(test.run({0x50}), StopReason::kBudget);
  EXPECT_EQ(test.cpu.gpr[kRsp], kTop - 8);
  EXPECT_EQ(test.peek<std::uint64_t>(kTop - 8), 0x1122'3344'5566'7788U);
  ASSERT_EQ(test.run({0x66, 0x50}), StopReason::kBudget);
  EXPECT_EQ(test.cpu.gpr[kRsp], kTop - 10);
  ASSERT_EQ(test.run({0x6a, 0xfe}), StopReason::kBudget);  // push -2
  EXPECT_EQ(test.peek<std::uint64_t>(kTop - 18), ~std::uint64_t{1});
  ASSERT_EQ(test.run({0x66, 0x6a, 0xfe}), StopReason::kBudget);
  EXPECT_EQ(test.cpu.gpr[kRsp], kTop - 20);
}

TEST(PushTest, StackPointerIsPushedAsItWas) {
  TestCpu test(Mode::kLong64);
  ASSERT_EQ(test.run({0x54}), StopReason::kBudget);
  EXPECT_EQ(test.peek<std::uint64_t>(kTop - 8), kTop);
}

TEST(PushTest, SixteenBitStackLeavesTheUpperHalf) {
  TestCpu test(Mode::kProtected32);
  set_stack_16(test);
  test.cpu.gpr[kRsp] = 0x1234'0002;
  test.cpu.gpr[kRax] = 0xaabb'ccdd;
  ASSERT_EQ(test.run({0x66, 0x50}), StopReason::kBudget);  // push ax
  EXPECT_EQ(test.cpu.gpr[kRsp], 0x1234'0000U);
  ASSERT_EQ(test.run({0x50}), StopReason::kBudget);  // push eax
  EXPECT_EQ(test.cpu.gpr[kRsp], 0x1234'fffcU);
  EXPECT_EQ(test.peek<std::uint32_t>(0xfffc), 0xaabb'ccddU);
}

TEST(PushTest, FaultsAreStackFaultsAndChangeNothing) {
  TestCpu test(Mode::kReal16);
  test.cpu.gpr[kRsp] = 1;
  test.cpu.gpr[kRax] = 5;
  test.catch_vector(kStackFault);
  // The handler cannot be entered on this stack either: triple fault, like a processor's shutdown.
  EXPECT_EQ(test.run({0x50}), StopReason::kShutdown);
  EXPECT_EQ(test.cpu.gpr[kRsp], 1U);
}

TEST(PopTest, StackPointerKeepsWhatWasPopped) {
  TestCpu test(Mode::kLong64);
  test.poke<std::uint64_t>(kTop, 0x1234);
  ASSERT_EQ(test.run({0x5c}), StopReason::kBudget);
  EXPECT_EQ(test.cpu.gpr[kRsp], 0x1234U);
}

TEST(PopTest, AddressesMoveWithTheStackPointer) {
  TestCpu test(Mode::kLong64);
  test.poke<std::uint64_t>(kTop, 0x1234);
  ASSERT_EQ(test.run({0x8f, 0x04, 0x24}), StopReason::kBudget);  // pop [rsp]
  EXPECT_EQ(test.peek<std::uint64_t>(kTop + 8), 0x1234U);
  EXPECT_EQ(test.cpu.gpr[kRsp], kTop + 8);
}

TEST(PopTest, AFailingStoreLeavesTheStack) {
  TestCpu test(Mode::kLong64);
  test.cpu.gpr[kRbx] = 0x8000'0000'0000;
  test.poke<std::uint64_t>(kTop, 0x1234);
  EXPECT_TRUE(raises(test, kGeneralProtection, {0x8f, 0x03}));  // pop [rbx]
  EXPECT_EQ(test.peek<std::uint64_t>(tiny::kStackTop - 16), kTop) << "RSP in the frame";
}

TEST(PushAllTest, RoundTrip) {
  TestCpu test(Mode::kProtected32);
  for (unsigned n = 0; n < 8; ++n)
    if (n != kRsp) test.cpu.gpr.at(n) = 0x1111'1111U * (n + 1);
  ASSERT_EQ(test.run({0x60}), StopReason::kBudget);
  EXPECT_EQ(test.cpu.gpr[kRsp], kTop - 32);
  EXPECT_EQ(test.peek<std::uint32_t>(kTop - 4), 0x1111'1111U);
  EXPECT_EQ(test.peek<std::uint32_t>(kTop - 20), kTop) << "ESP before";
  EXPECT_EQ(test.peek<std::uint32_t>(kTop - 32), 0x8888'8888U);
  test.poke<std::uint32_t>(kTop - 20, 0xdead'beef);
  for (unsigned n = 0; n < 8; ++n)
    if (n != kRsp) test.cpu.gpr.at(n) = 0;
  ASSERT_EQ(test.run({0x61}), StopReason::kBudget);
  EXPECT_EQ(test.cpu.gpr[kRsp], kTop) << "the popped ESP is thrown away";
  for (unsigned n = 0; n < 8; ++n)
    if (n != kRsp) {
      EXPECT_EQ(test.cpu.gpr.at(n), 0x1111'1111U * (n + 1));
    }
}

TEST(PushAllTest, SixteenBitFormKeepsUpperHalves) {
  TestCpu test(Mode::kProtected32);
  test.cpu.gpr[kRdi] = 0x1234'5678;
  ASSERT_EQ(test.run({0x66, 0x60}), StopReason::kBudget);
  EXPECT_EQ(test.cpu.gpr[kRsp], kTop - 16);
  test.cpu.gpr[kRdi] = 0xffff'0000;
  ASSERT_EQ(test.run({0x66, 0x61}), StopReason::kBudget);
  EXPECT_EQ(test.cpu.gpr[kRdi], 0xffff'5678U);
}

TEST(PushAllTest, AFaultHalfWayStoresNothing) {
  TestCpu test(Mode::kProtected32);
  test.cpu.segment[kSs].limit = 0xefff;
  test.cpu.update_mode();
  test.cpu.gpr[kRsp] = 8;
  test.poke<std::uint64_t>(0, 0x55);
  EXPECT_EQ(test.run({0x60}), StopReason::kShutdown);
  EXPECT_EQ(test.peek<std::uint64_t>(0), 0x55U);
  EXPECT_EQ(test.cpu.gpr[kRsp], 8U);
}

// --- PUSHF, POPF ---

constexpr std::uint64_t kEveryFlag = 0x003f'7fd5;

TEST(PopFlagsTest, KernelChangesNearlyAll) {
  TestCpu test(Mode::kLong64);
  test.poke<std::uint64_t>(kTop, kEveryFlag & ~rflags::kTf);
  ASSERT_EQ(test.run({0x9d}), StopReason::kBudget);
  EXPECT_EQ(test.cpu.rflags,
            (kEveryFlag & ~(rflags::kTf | rflags::kVm | rflags::kRf | rflags::kVif | rflags::kVip)) | rflags::kFixed);
}

TEST(PopFlagsTest, SixteenBitFormKeepsTheUpperHalf) {
  TestCpu test(Mode::kLong64);
  test.cpu.rflags |= rflags::kId | rflags::kAc;
  test.poke<std::uint64_t>(kTop, 0);
  ASSERT_EQ(test.run({0x66, 0x9d}), StopReason::kBudget);
  EXPECT_EQ(test.cpu.rflags, rflags::kId | rflags::kAc | rflags::kFixed);
}

TEST(PopFlagsTest, UserKeepsIoplAndWithoutItIf) {
  TestCpu test(Mode::kUser64);  // IOPL 3
  test.poke<std::uint64_t>(kTop, rflags::kIf | rflags::kCf);
  ASSERT_EQ(test.run({0x9d}), StopReason::kBudget);
  EXPECT_EQ(test.cpu.rflags, rflags::kIopl | rflags::kIf | rflags::kCf | rflags::kFixed);
  test.start(tiny::kCode);
  test.cpu.rflags = rflags::kFixed | rflags::kIf;
  test.poke<std::uint64_t>(kTop, rflags::kIopl | rflags::kZf);
  ASSERT_EQ(test.run({0x9d}), StopReason::kBudget);
  EXPECT_EQ(test.cpu.rflags, rflags::kIf | rflags::kZf | rflags::kFixed);
}

TEST(PopFlagsTest, AcTurnsAlignmentChecksOn) {
  TestCpu test(Mode::kUser64);
  test.cpu.cr0 |= cr0::kAm;
  test.poke<std::uint64_t>(kTop, rflags::kAc);
  ASSERT_EQ(test.run({0x9d}), StopReason::kBudget);
  EXPECT_NE(test.cpu.alignment_mask, 0U);
}

TEST(PushFlagsTest, HidesVmAndRf) {
  TestCpu test(Mode::kProtected32);
  enter_vm86(test, 3);
  test.cpu.rflags |= rflags::kCf;
  ASSERT_EQ(test.run({0x66, 0x9c}), StopReason::kBudget);  // pushfd
  EXPECT_EQ(test.peek<std::uint32_t>(kTop - 4), rflags::kIopl | rflags::kCf | rflags::kFixed);
}

TEST(Vm86FlagsTest, NeedIopl3OrVirtualInterrupts) {
  TestCpu test(Mode::kProtected32);
  for (const std::uint8_t opcode : std::initializer_list<std::uint8_t>{0x9c, 0x9d}) {
    test.start(tiny::kCode);
    enter_vm86(test, 0);
    EXPECT_TRUE(raises(test, kGeneralProtection, {opcode}));
    test.start(tiny::kCode);
    test.cpu.cr4 |= cr4::kVme;
    enter_vm86(test, 0);
    EXPECT_TRUE(raises(test, kGeneralProtection, {0x66, opcode})) << "only the 16-bit form is helped";
  }
}

TEST(Vm86FlagsTest, VirtualInterruptFlag) {
  TestCpu test(Mode::kProtected32);
  test.cpu.cr4 |= cr4::kVme;
  enter_vm86(test, 0);
  test.cpu.rflags |= rflags::kVif;
  ASSERT_EQ(test.run({0x9c}), StopReason::kBudget);
  EXPECT_EQ(test.peek<std::uint16_t>(kTop - 2), rflags::kIf | rflags::kIopl | rflags::kFixed);
  test.poke<std::uint16_t>(kTop - 2, rflags::kCf);
  ASSERT_EQ(test.run({0x9d}), StopReason::kBudget);
  EXPECT_EQ(test.cpu.rflags, rflags::kVm | rflags::kCf | rflags::kFixed) << "VIF is off, IOPL and IF are as before";
  test.cpu.rflags |= rflags::kVip;
  test.poke<std::uint16_t>(kTop, rflags::kIf);
  EXPECT_TRUE(raises(test, kGeneralProtection, {0x9d})) << "an interrupt is waiting for it";
}

// --- ENTER, LEAVE ---

TEST(EnterTest, WithoutNesting) {
  TestCpu test(Mode::kLong64);
  test.cpu.gpr[kRbp] = 0x1234;
  ASSERT_EQ(test.run({0xc8, 0x20, 0x00, 0x00}), StopReason::kBudget);
  EXPECT_EQ(test.peek<std::uint64_t>(kTop - 8), 0x1234U);
  EXPECT_EQ(test.cpu.gpr[kRbp], kTop - 8);
  EXPECT_EQ(test.cpu.gpr[kRsp], kTop - 8 - 0x20);
  ASSERT_EQ(test.run({0xc9}), StopReason::kBudget);  // leave
  EXPECT_EQ(test.cpu.gpr[kRbp], 0x1234U);
  EXPECT_EQ(test.cpu.gpr[kRsp], kTop);
}

TEST(EnterTest, CopiesTheDisplay) {
  TestCpu test(Mode::kProtected32);
  test.cpu.gpr[kRbp] = tiny::kData + 0x100;
  test.poke<std::uint32_t>(tiny::kData + 0xfc, 0x1111);
  test.poke<std::uint32_t>(tiny::kData + 0xf8, 0x2222);
  ASSERT_EQ(test.run({0xc8, 0x10, 0x00, 0x23}), StopReason::kBudget);  // level 3: bits above 4:0 do not count
  EXPECT_EQ(test.peek<std::uint32_t>(kTop - 4), tiny::kData + 0x100);
  EXPECT_EQ(test.peek<std::uint32_t>(kTop - 8), 0x1111U);
  EXPECT_EQ(test.peek<std::uint32_t>(kTop - 12), 0x2222U);
  EXPECT_EQ(test.peek<std::uint32_t>(kTop - 16), kTop - 4);
  EXPECT_EQ(test.cpu.gpr[kRbp], kTop - 4);
  EXPECT_EQ(test.cpu.gpr[kRsp], kTop - 16 - 16);
}

TEST(EnterTest, SixteenBitFormMergesTheFramePointer) {
  TestCpu test(Mode::kLong64);
  test.cpu.gpr[kRbp] = 0x1234'5678'1234'5678;
  ASSERT_EQ(test.run({0x66, 0xc8, 0x10, 0x00, 0x00}), StopReason::kBudget);
  EXPECT_EQ(test.cpu.gpr[kRbp], 0x1234'5678'1234'0000U | (kTop - 2));
  EXPECT_EQ(test.cpu.gpr[kRsp], kTop - 2 - 16);
  EXPECT_EQ(test.peek<std::uint16_t>(kTop - 2), 0x5678U);
}

TEST(EnterTest, ChecksTheFinalStackPointer) {
  TestCpu test(Mode::kProtected32);
  test.cpu.segment[kSs].type = 7;  // expand-down: below LIMIT nothing is allowed
  test.cpu.segment[kSs].limit = 0xe000;
  test.cpu.update_mode();
  test.cpu.gpr[kRbp] = 0x1234;
  ASSERT_EQ(test.run({0xc8, 0x00, 0x08, 0x00}), StopReason::kBudget);
  test.start(tiny::kCode);
  test.cpu.segment[kSs].type = 7;
  test.cpu.segment[kSs].limit = 0xe000;
  test.cpu.update_mode();
  test.cpu.gpr[kRbp] = 0x1234;
  EXPECT_TRUE(raises(test, kStackFault, {0xc8, 0x00, 0x10, 0x00}));
  EXPECT_EQ(test.cpu.gpr[kRbp], 0x1234U);
}

// --- stack.h ---

TEST(StackCursorTest, CommitsLast) {
  TestCpu test(Mode::kProtected32);
  set_stack_16(test);
  test.cpu.gpr[kRsp] = 0x5555'0004;
  StackCursor cursor(test.cpu);
  cursor.push(4, 0x1234'5678);
  cursor.push(2, 0xabcd);
  EXPECT_EQ(cursor.pointer(), 0xfffeU);
  EXPECT_EQ(test.cpu.gpr[kRsp], 0x5555'0004U);
  EXPECT_EQ(cursor.pop(2), 0xabcdU);
  EXPECT_EQ(cursor.pop(4), 0x1234'5678U);
  cursor.skip(2);
  cursor.commit();
  EXPECT_EQ(test.cpu.gpr[kRsp], 0x5555'0006U);
  EXPECT_THROW(
      {
        cursor.move_to(3);
        cursor.probe_pushes(2, 2);
      },
      Fault);
}

}  // namespace
}  // namespace doppel::accel::soft
