#include "accel/exit.h"

#include <gtest/gtest.h>

namespace doppel::accel {
namespace {

TEST(ExitTest, DescribesPortAccesses) {
  std::byte data[3] = {std::byte{0x0d}, std::byte{0}, std::byte{0xff}};
  EXPECT_EQ(
      describe(IoExit{
          .port = 0x3f8, .size = 1, .direction = IoDirection::kOut, .count = 1, .data = std::span(data).first(1)}),
      "io out port 0x3f8 size 1 data 0d");
  EXPECT_EQ(describe(IoExit{.port = 0x80, .size = 1, .direction = IoDirection::kOut, .count = 3, .data = data}),
            "io out port 0x80 size 1 count 3 data 0d 00 ff");
  EXPECT_EQ(describe(IoExit{.port = 0x1f0, .size = 2, .direction = IoDirection::kIn, .count = 1, .data = {}}),
            "io in port 0x1f0 size 2");
}

TEST(ExitTest, DescribesLongDataByItsStart) {
  std::byte data[100] = {};
  const std::string text =
      describe(IoExit{.port = 1, .size = 4, .direction = IoDirection::kOut, .count = 25, .data = data});
  EXPECT_LT(text.size(), 100U);
  EXPECT_TRUE(text.ends_with("…"));
}

TEST(ExitTest, DescribesMemoryAccesses) {
  std::byte data[2] = {std::byte{0x34}, std::byte{0x12}};
  EXPECT_EQ(describe(MmioExit{.address = {0xfee000b0}, .direction = IoDirection::kOut, .data = data}),
            "mmio write 0xfee000b0 size 2 data 34 12");
  EXPECT_EQ(describe(MmioExit{.address = {0xd0000000}, .direction = IoDirection::kIn, .data = data}),
            "mmio read 0xd0000000 size 2");
}

TEST(ExitTest, DescribesTheRest) {
  std::uint64_t value = 0x55;
  EXPECT_EQ(describe(HaltExit{}), "halt");
  EXPECT_EQ(describe(IrqWindowExit{}), "interrupt window open");
  EXPECT_EQ(describe(ShutdownExit{}), "shutdown (triple fault)");
  EXPECT_EQ(describe(InterruptedExit{}), "interrupted");
  EXPECT_EQ(describe(SetTprExit{}), "task priority lowered");
  EXPECT_EQ(describe(DebugExit{.vector = 3, .pc = 0x1000, .dr6 = 1, .dr7 = 0x400}),
            "debug exception 3 at 0x1000 dr6 0x1 dr7 0x400");
  EXPECT_EQ(describe(SystemEventExit{.kind = SystemEventKind::kReset, .code = 2}), "system event reset (code 2)");
  EXPECT_EQ(describe(MsrExit{.index = 0x10, .direction = IoDirection::kIn, .value = &value, .fault = nullptr}),
            "rdmsr 0x10");
  EXPECT_EQ(describe(MsrExit{.index = 0x10, .direction = IoDirection::kOut, .value = &value, .fault = nullptr}),
            "wrmsr 0x10 value 0x55");
  EXPECT_EQ(describe(IoapicEoiExit{0x41}), "end of interrupt, vector 0x41");
  EXPECT_EQ(describe(InternalErrorExit{
                .why = "it broke", .instruction = {}, .instruction_length = 0, .is_emulation_failure = false}),
            "internal error: it broke");
  EXPECT_EQ(describe(InternalErrorExit{
                .why = "it broke", .instruction = {0x0f, 0x77}, .instruction_length = 2, .is_emulation_failure = true}),
            "internal error: it broke (instruction bytes 0f 77)");
  EXPECT_EQ(describe(FailEntryExit{.hardware_reason = 0x80000021, .cpu = 3}),
            "entry failed on processor 3, hardware reason 0x80000021");
  EXPECT_EQ(describe(UnknownExit{99}), "unknown exit 99");
}

}  // namespace
}  // namespace doppel::accel
