#include "gdbstub/breakpoints.h"

#include <gtest/gtest.h>

#include "gdbstub/fake_target.h"

namespace doppel::gdbstub {
namespace {

using memory::GuestPhysAddr;

class BreakpointsTest : public testing::Test {
 protected:
  Result<> insert(BreakKind kind, std::uint64_t address, std::uint64_t length = 1) {
    return breakpoints.insert(kind, address, length, 0);
  }
  std::optional<Breakpoints::Hit> hit(std::uint64_t dr6) const { return breakpoints.find_hit({.dr6 = dr6}); }
  std::optional<Breakpoints::Hit> int3_at(std::uint64_t pc) const {
    return breakpoints.find_hit({.vector = x86::kBreakpoint, .pc = pc});
  }

  FakeTarget target;
  Breakpoints breakpoints{target};
};

TEST_F(BreakpointsTest, SoftwareBreakpointIsPlantedAndTakenOut) {
  target.memory[0x1000] = std::byte{0x90};
  ASSERT_TRUE(insert(BreakKind::kSoftware, 0x1000));
  EXPECT_EQ(target.byte_at(0x1000), 0xccU);
  EXPECT_TRUE(breakpoints.request().software_breakpoints);
  EXPECT_EQ(breakpoints.request().dr7 & x86::dr7::kEnables, 0U);
  EXPECT_TRUE(int3_at(0x1000));
  EXPECT_FALSE(int3_at(0x1001));
  ASSERT_TRUE(breakpoints.remove(BreakKind::kSoftware, 0x1000, 1));
  EXPECT_EQ(target.byte_at(0x1000), 0x90U);
  EXPECT_FALSE(breakpoints.request().software_breakpoints);
}

TEST_F(BreakpointsTest, InsertingTwiceIsInsertingOnce) {
  ASSERT_TRUE(insert(BreakKind::kSoftware, 0x1000));
  ASSERT_TRUE(insert(BreakKind::kSoftware, 0x1000));
  ASSERT_TRUE(breakpoints.remove(BreakKind::kSoftware, 0x1000, 1));
  EXPECT_EQ(target.byte_at(0x1000), 0U);
  EXPECT_EQ(breakpoints.remove(BreakKind::kSoftware, 0x1000, 1).error().kind(), ErrorKind::kNotFound);
}

TEST_F(BreakpointsTest, UnmappedOrUnwritableIsAnError) {
  EXPECT_FALSE(insert(BreakKind::kSoftware, FakeTarget::kUnmapped));
  EXPECT_FALSE(insert(BreakKind::kSoftware, FakeTarget::kSize));
  target.read_only_below = 0x2000;
  EXPECT_FALSE(insert(BreakKind::kSoftware, 0x1000));
  EXPECT_TRUE(breakpoints.empty());
}

TEST_F(BreakpointsTest, MemoryReadsAsIfNothingWerePlanted) {
  target.memory[0x1001] = std::byte{0x55};
  ASSERT_TRUE(insert(BreakKind::kSoftware, 0x1001));
  std::array<std::byte, 3> bytes{};
  ASSERT_TRUE(breakpoints.read_memory(GuestPhysAddr{0x1000}, bytes));
  EXPECT_EQ(bytes[1], std::byte{0x55});
  ASSERT_TRUE(breakpoints.read_memory(GuestPhysAddr{0x1002}, bytes));
}

TEST_F(BreakpointsTest, WritesGoUnderThePlantedByte) {
  ASSERT_TRUE(insert(BreakKind::kSoftware, 0x1001));
  const std::array code = {std::byte{1}, std::byte{2}, std::byte{3}};
  ASSERT_TRUE(breakpoints.write_memory(GuestPhysAddr{0x1000}, code));
  EXPECT_EQ(target.byte_at(0x1000), 1U);
  EXPECT_EQ(target.byte_at(0x1001), 0xccU);
  EXPECT_EQ(target.byte_at(0x1002), 3U);
  breakpoints.clear();
  EXPECT_EQ(target.byte_at(0x1001), 2U);
}

TEST_F(BreakpointsTest, TwoNamesForOneByte) {
  target.memory[0x1000] = std::byte{0x90};
  ASSERT_TRUE(insert(BreakKind::kSoftware, 0x1000));
  ASSERT_TRUE(insert(BreakKind::kSoftware, FakeTarget::kHigh + 0x1000));
  ASSERT_TRUE(breakpoints.remove(BreakKind::kSoftware, 0x1000, 1));
  EXPECT_EQ(target.byte_at(0x1000), 0xccU);
  ASSERT_TRUE(breakpoints.remove(BreakKind::kSoftware, FakeTarget::kHigh + 0x1000, 1));
  EXPECT_EQ(target.byte_at(0x1000), 0x90U);
}

TEST_F(BreakpointsTest, NewCodeOverABreakpointIsKept) {
  ASSERT_TRUE(insert(BreakKind::kSoftware, 0x1000));
  target.memory[0x1000] = std::byte{0x42};  // the guest loaded something
  breakpoints.plant();
  EXPECT_EQ(target.byte_at(0x1000), 0xccU);
  breakpoints.clear();
  EXPECT_EQ(target.byte_at(0x1000), 0x42U);
}

TEST_F(BreakpointsTest, LiftedUntilPlanted) {
  target.memory[0x1000] = std::byte{0x90};
  ASSERT_TRUE(insert(BreakKind::kSoftware, 0x1000));
  ASSERT_TRUE(insert(BreakKind::kHardware, 0x2000));
  breakpoints.lift(0x1000);
  EXPECT_EQ(target.byte_at(0x1000), 0x90U);
  EXPECT_FALSE(int3_at(0x1000));
  EXPECT_EQ(breakpoints.request().address[0], 0x2000U);
  breakpoints.plant();
  breakpoints.lift(0x2000);
  EXPECT_EQ(target.byte_at(0x1000), 0xccU);
  EXPECT_EQ(breakpoints.request().dr7 & x86::dr7::kEnables, 0U);
  EXPECT_TRUE(breakpoints.stops_at(0x2000));
}

TEST_F(BreakpointsTest, HardwareBreakpointsAndWatchpointsShareFourRegisters) {
  ASSERT_TRUE(insert(BreakKind::kHardware, 0x1000));
  ASSERT_TRUE(insert(BreakKind::kWrite, 0x2000, 4));
  ASSERT_TRUE(insert(BreakKind::kAccess, 0x3000, 8));
  ASSERT_TRUE(insert(BreakKind::kWrite, 0x4002, 2));
  const accel::DebugRequest request = breakpoints.request();
  EXPECT_EQ(request.address, (std::array<std::uint64_t, 4>{0x1000, 0x2000, 0x3000, 0x4002}));
  EXPECT_EQ(request.dr7, 0x5bd004aaU);  // by SDM 3B figure 18-1
  EXPECT_EQ(insert(BreakKind::kHardware, 0x5000).error().kind(), ErrorKind::kNoSpace);
  EXPECT_EQ(insert(BreakKind::kWrite, 0x5000).error().kind(), ErrorKind::kNoSpace);
  ASSERT_TRUE(breakpoints.remove(BreakKind::kHardware, 0x1000, 1));
  EXPECT_TRUE(insert(BreakKind::kHardware, 0x5000));
}

TEST_F(BreakpointsTest, UnalignedWatchpointsAreCutUp) {
  ASSERT_TRUE(insert(BreakKind::kWrite, 0x1001, 7));  // 1 at 1001, 2 at 1002, 4 at 1004
  const accel::DebugRequest request = breakpoints.request();
  EXPECT_EQ(request.address[0], 0x1001U);
  EXPECT_EQ(request.address[1], 0x1002U);
  EXPECT_EQ(request.address[2], 0x1004U);
  EXPECT_EQ(request.dr7 >> 16U, 0xd51U);
  EXPECT_EQ(hit(4)->address, 0x1001U);
  EXPECT_EQ(insert(BreakKind::kWrite, 0x2001, 7).error().kind(), ErrorKind::kNoSpace);
  EXPECT_TRUE(insert(BreakKind::kWrite, 0x2000, 8));
}

TEST_F(BreakpointsTest, HostileLengthsAreRefused) {
  for (const std::uint64_t length : {std::uint64_t{0}, std::uint64_t{33}, ~std::uint64_t{0}})
    EXPECT_FALSE(insert(BreakKind::kWrite, 0x1000, length)) << length;
  EXPECT_FALSE(insert(BreakKind::kWrite, ~std::uint64_t{0}, 8));
  EXPECT_TRUE(insert(BreakKind::kWrite, 0, 8));
}

TEST_F(BreakpointsTest, ReadWatchpointsAreUnsupported) {
  EXPECT_EQ(insert(BreakKind::kRead, 0x1000, 4).error().kind(), ErrorKind::kUnsupported);
}

TEST_F(BreakpointsTest, HitsNameTheirBreakpoint) {
  ASSERT_TRUE(insert(BreakKind::kHardware, 0x1000));
  ASSERT_TRUE(insert(BreakKind::kAccess, 0x2000, 4));
  EXPECT_EQ(hit(1)->kind, BreakKind::kHardware);
  EXPECT_EQ(hit(2)->kind, BreakKind::kAccess);
  EXPECT_EQ(hit(2)->address, 0x2000U);
  EXPECT_FALSE(hit(4));  // a register that is not ours
  EXPECT_FALSE(hit(x86::dr6::kBs));
}

TEST_F(BreakpointsTest, SoftwareBreakpointsTakeRegistersWhereInt3IsLost) {
  target.the_traits.software_breakpoints = false;
  ASSERT_TRUE(insert(BreakKind::kSoftware, 0x1000));
  EXPECT_EQ(target.byte_at(0x1000), 0U);
  EXPECT_FALSE(breakpoints.request().software_breakpoints);
  EXPECT_EQ(breakpoints.request().address[0], 0x1000U);
  EXPECT_EQ(hit(1)->kind, BreakKind::kSoftware);
  for (const std::uint64_t address : {1U, 2U, 3U}) EXPECT_TRUE(insert(BreakKind::kSoftware, address));
  EXPECT_EQ(insert(BreakKind::kSoftware, 4).error().kind(), ErrorKind::kNoSpace);
}

TEST_F(BreakpointsTest, WatchpointsWhereTheyNeverFireAreRefused) {
  target.the_traits.data_watchpoints = false;
  EXPECT_EQ(insert(BreakKind::kWrite, 0x1000, 4).error().kind(), ErrorKind::kUnsupported);
  EXPECT_THAT(breakpoints.describe(), testing::HasSubstr("watchpoints do not work"));
}

TEST_F(BreakpointsTest, ThereIsALimit) {
  for (std::uint64_t i = 0; i < Breakpoints::kMaxCount; ++i) ASSERT_TRUE(insert(BreakKind::kSoftware, i));
  EXPECT_EQ(insert(BreakKind::kSoftware, Breakpoints::kMaxCount).error().kind(), ErrorKind::kNoSpace);
  breakpoints.clear();
  EXPECT_EQ(std::ranges::count(target.memory, std::byte{0}), std::ssize(target.memory));
}

TEST_F(BreakpointsTest, Describes) {
  EXPECT_EQ(breakpoints.describe(), "no breakpoints\n");
  ASSERT_TRUE(insert(BreakKind::kSoftware, 0x1000));
  ASSERT_TRUE(insert(BreakKind::kHardware, 0x2000));
  EXPECT_EQ(breakpoints.describe(),
            "0x0000000000001000 software breakpoint, INT3 in memory\n"
            "0x0000000000002000 hardware breakpoint, debug register\n");
}

}  // namespace
}  // namespace doppel::gdbstub
