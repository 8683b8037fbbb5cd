// IN, OUT, INS and OUTS, run by the interpreter.
#include <gtest/gtest.h>

#include <numeric>

#include "accel/soft/interpreter/test_cpu.h"
#include "x86/descriptor.h"

namespace doppel::accel::soft {
namespace {

using tiny::Mode;
using namespace x86;

constexpr std::uint8_t kHlt = 0xf4;
constexpr std::uint16_t kPort = 0x1234;

class IoTest : public testing::Test {
 protected:
  /// Answers the pending access with VALUE and goes on for one instruction.
  static StopReason answer(TestCpu& test, std::uint64_t value = 0) {
    test.cpu.bus.pending().value = value;
    test.cpu.bus.answered();
    return test.resume(1);
  }
  /// Makes exceptions with VECTOR end in a handler that stays where it is.
  static void catch_vector(TestCpu& test, std::uint8_t vector) {
    test.catch_vector(vector);
    test.poke<std::uint16_t>(tiny::kHandler, 0xfeeb);  // jmp $
  }
  static void at_cpl3(TestCpu& test, std::uint8_t vector) {
    catch_vector(test, vector);
    test.cpu.rflags &= ~rflags::kIopl;
    test.cpu.update_mode();
  }
};

TEST_F(IoTest, OutTellsWhatAndWhere) {
  TestCpu test(Mode::kLong64);
  test.cpu.gpr[kRax] = 0x1122'3344'5566'7788;
  test.cpu.gpr[kRdx] = 0xffff'0000 | kPort;
  ASSERT_EQ(test.run({0xef, kHlt}), StopReason::kBus);  // out dx, eax
  const BusAccess& access = test.cpu.bus.pending();
  EXPECT_EQ(access.kind, BusAccess::Kind::kPort);
  EXPECT_EQ(access.direction, IoDirection::kOut);
  EXPECT_EQ(access.address, kPort);
  EXPECT_EQ(access.size, 4);
  EXPECT_EQ(access.value, 0x5566'7788U);
  EXPECT_EQ(test.cpu.rip, tiny::kCode) << "until it is carried out";
  EXPECT_EQ(answer(test), StopReason::kBudget);
  EXPECT_EQ(test.cpu.rip, tiny::kCode + 1);
}

TEST_F(IoTest, RepeatingNothingNeedsPermissionToo) {
  TestCpu test(Mode::kUser64);
  at_cpl3(test, kGeneralProtection);
  test.cpu.gpr[kRcx] = 0;
  test.cpu.gpr[kRdx] = kPort;  // beyond the bitmap
  test.run({0xf3, 0x6f});      // rep outsd
  EXPECT_EQ(test.cpu.rip, tiny::kHandler);
}

TEST_F(IoTest, InKeepsTheRestOfTheRegister) {
  TestCpu test(Mode::kLong64);
  test.cpu.gpr[kRax] = 0x1122'3344'5566'7788;
  ASSERT_EQ(test.run({0xe4, 0x80}), StopReason::kBus);  // in al, 0x80
  EXPECT_EQ(test.cpu.bus.pending().address, 0x80U);
  answer(test, 0xab);
  EXPECT_EQ(test.cpu.gpr[kRax], 0x1122'3344'5566'77abU);
  ASSERT_EQ(test.run({0xe5, 0x80}), StopReason::kBus);  // in eax, 0x80
  answer(test, 0xdead'beef);
  EXPECT_EQ(test.cpu.gpr[kRax], 0xdead'beefU);
}

TEST_F(IoTest, RepInsTakesAPageAtATime) {
  constexpr std::uint64_t kTarget = tiny::kData + 0xff0;
  TestCpu test(Mode::kLong64);
  test.cpu.gpr[kRcx] = 20;
  test.cpu.gpr[kRdi] = kTarget;
  test.cpu.gpr[kRdx] = kPort;
  ASSERT_EQ(test.run({0xf3, 0x66, 0x6d, kHlt}), StopReason::kBus);  // rep insw
  EXPECT_EQ(test.cpu.bus.pending().count, 8U);
  EXPECT_EQ(test.cpu.bus.pending().size, 2);
  std::iota(reinterpret_cast<std::uint8_t*>(test.cpu.bus.block().data()),
            reinterpret_cast<std::uint8_t*>(test.cpu.bus.block().data()) + 16, std::uint8_t{1});
  answer(test);
  EXPECT_EQ(test.cpu.gpr[kRcx], 12U);
  EXPECT_EQ(test.cpu.gpr[kRdi], kTarget + 16);
  EXPECT_EQ(test.cpu.rip, tiny::kCode) << "it goes on";
  EXPECT_EQ(test.peek<std::uint16_t>(kTarget + 14), 0x100fU);
  ASSERT_EQ(test.resume(1), StopReason::kBus);
  EXPECT_EQ(test.cpu.bus.pending().count, 12U);
  answer(test);
  EXPECT_EQ(test.cpu.gpr[kRcx], 0U);
  EXPECT_EQ(test.cpu.rip, tiny::kCode + 3);
}

TEST_F(IoTest, RepOutsWithAnEmptyCountDoesNothing) {
  TestCpu test(Mode::kProtected32);
  test.cpu.gpr[kRcx] = 0;
  EXPECT_EQ(test.run({0xf3, 0x6e}), StopReason::kBudget);
  EXPECT_EQ(test.cpu.rip, tiny::kCode + 2);
}

TEST_F(IoTest, AddressSizeLimitsTheIndexes) {
  TestCpu test(Mode::kReal16);
  test.cpu.gpr[kRcx] = 0xaaaa'0002;
  test.cpu.gpr[kRsi] = 0xbbbb'ffff;
  test.poke<std::uint8_t>(0xffff, 0x11);
  test.poke<std::uint8_t>(0, 0x22);
  ASSERT_EQ(test.run({0xf3, 0x6e, kHlt}), StopReason::kBus);  // rep outsb
  EXPECT_EQ(test.cpu.bus.pending().count, 0U);
  EXPECT_EQ(test.cpu.bus.pending().value, 0x11U);
  answer(test);
  EXPECT_EQ(test.cpu.gpr[kRsi], 0xbbbb'0000U) << "SI wraps";
  EXPECT_EQ(test.cpu.gpr[kRcx], 0xaaaa'0001U);
  ASSERT_EQ(test.resume(1), StopReason::kBus);
  EXPECT_EQ(test.cpu.bus.pending().value, 0x22U);
}

TEST_F(IoTest, InsFaultsBeforeTheDeviceIsAsked) {
  TestCpu test(Mode::kLong64);
  catch_vector(test, kPageFault);
  test.cpu.gpr[kRdi] = std::uint64_t{5} << 30U;
  test.run({0x6c});  // insb
  EXPECT_TRUE(test.cpu.bus.empty());
  EXPECT_EQ(test.cpu.rip, tiny::kHandler);
}

TEST_F(IoTest, WithoutPrivilegeTheBitmapDecides) {
  constexpr std::uint16_t kBitmap = 0x68;
  TestCpu test(Mode::kUser64);
  at_cpl3(test, kGeneralProtection);
  test.poke<std::uint16_t>(tiny::kTss + tss64::kIoMapBase, kBitmap);
  test.run({0xe4, 0x80});
  EXPECT_EQ(test.cpu.rip, tiny::kHandler) << "the TSS has no bitmap";

  test.start(tiny::kCode);
  at_cpl3(test, kGeneralProtection);
  test.cpu.tr.limit = kBitmap + 0x20;
  test.poke<std::uint8_t>(tiny::kTss + kBitmap + 0x10, 0x02);  // port 0x81 is not allowed
  EXPECT_EQ(test.run({0xe4, 0x80}), StopReason::kBus);
  answer(test);
  test.run({0xe5, 0x80});  // four ports from 0x80 on
  EXPECT_EQ(test.cpu.rip, tiny::kHandler);

  test.start(tiny::kCode);
  at_cpl3(test, kGeneralProtection);
  test.cpu.tr.limit = kBitmap + 0x10;  // the byte behind port 0x87's must be there
  test.run({0xe4, 0x80});
  EXPECT_EQ(test.cpu.rip, tiny::kHandler);
}

TEST_F(IoTest, Vm86AlwaysAsksTheBitmap) {
  TestCpu test(Mode::kProtected32);
  Cpu& cpu = test.cpu;
  catch_vector(test, kGeneralProtection);
  cpu.rflags |= rflags::kVm | rflags::kIopl;
  for (Segment& segment : cpu.segment) {
    segment = real_mode_segment(0);
    segment.dpl = 3;
  }
  cpu.update_mode();
  ASSERT_TRUE(cpu.vm86);
  cpu.tr.limit = 0x67;
  test.poke<std::uint16_t>(tiny::kTss + tss32::kIoMapBase, 0x68);
  test.poke<std::uint32_t>(tiny::kTss + tss32::kEsp0, tiny::kKernelStackTop);
  test.poke<std::uint16_t>(tiny::kTss + tss32::kSs0, tiny::kData32);
  test.run({0xe4, 0x80});
  EXPECT_EQ(cpu.rip, tiny::kHandler);
  EXPECT_TRUE(cpu.bus.empty());
}

TEST_F(IoTest, PortBreakpointTrapsBehind) {
  TestCpu test(Mode::kLong64);
  catch_vector(test, kDebug);
  test.cpu.dr[1] = 0x80;
  test.cpu.dr7 = 0x400 | 1U << 2U | 2U << 20U | 3U << 22U;  // L1, port, 4 bytes
  ASSERT_EQ(test.run({0xe6, 0x83}), StopReason::kBus);
  answer(test);
  EXPECT_EQ(test.cpu.rip, tiny::kCode + 2) << "CR4.DE is clear";
  test.start(tiny::kCode);
  test.cpu.cr4 |= cr4::kDe;
  ASSERT_EQ(test.run({0xe6, 0x83}), StopReason::kBus);
  answer(test);
  EXPECT_EQ(test.cpu.rip, tiny::kHandler);
  EXPECT_EQ(test.cpu.dr6 & 0xf, 2U);
  EXPECT_EQ(test.peek<std::uint64_t>(test.cpu.gpr[kRsp]), tiny::kCode + 2);
}

}  // namespace
}  // namespace doppel::accel::soft
