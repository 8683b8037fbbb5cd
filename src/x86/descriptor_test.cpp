#include "x86/descriptor.h"

#include "x86/page_table.h"
#include "x86/registers.h"

namespace doppel::x86 {
namespace {

TEST(Descriptor, EncodesTheWellKnownFlatSegments) {
  EXPECT_EQ(encode_descriptor(flat_segment(0x08, true)), 0x00cf9b000000ffffU);
  EXPECT_EQ(encode_descriptor(flat_segment(0x10, false)), 0x00cf93000000ffffU);
  EXPECT_EQ(encode_descriptor(flat_segment(0x08, true, true)), 0x00af9b000000ffffU);
}

TEST(Descriptor, DecodesWhatItEncodes) {
  for (const std::uint64_t raw :
       {0x00cf9b000000ffffULL, 0x12409a345678abcdULL, 0xff00e2fffffff00fULL, 0x0000890000000067ULL}) {
    const Segment segment = decode_descriptor(raw, 0x33);
    EXPECT_EQ(segment.selector, 0x33);
    EXPECT_EQ(encode_descriptor(segment), raw);
  }
}

TEST(Descriptor, AppliesGranularityToTheLimit) {
  const Segment pages = decode_descriptor(0x00c0930000000001ULL, 8);
  EXPECT_EQ(pages.limit, 0x1fffU);
  EXPECT_TRUE(pages.granularity);
  const Segment bytes = decode_descriptor(0x004f93000000ffffULL, 8);
  EXPECT_EQ(bytes.limit, 0xfffffU);
}

TEST(Descriptor, SplitsBaseAndFields) {
  const Segment segment = decode_descriptor(0xab40f2cdef120034ULL, 0x2b);
  EXPECT_EQ(segment.base, 0xabcdef12U);
  EXPECT_EQ(segment.limit, 0x34U);
  EXPECT_EQ(segment.dpl, 3);
  EXPECT_EQ(segment.type, segment_type::kWritable);
  EXPECT_TRUE(segment.present);
  EXPECT_TRUE(segment.code_or_data);
  EXPECT_TRUE(segment.default_big);
  EXPECT_FALSE(segment.granularity);
}

TEST(Descriptor, SystemDescriptorsHave64BitBases) {
  Segment tss;
  tss.base = 0xffff800012345678;
  tss.limit = 0x67;
  tss.selector = 0x40;
  tss.type = kTssBusy;
  tss.code_or_data = false;
  const auto raw = encode_system_descriptor64(tss);
  EXPECT_EQ(raw[1], 0xffff8000U);
  EXPECT_EQ(decode_system_descriptor64(raw, 0x40), tss);
}

TEST(Descriptor, AttributesAndAccessRightsRoundTrip) {
  Segment segment = flat_segment(0x10, false);
  EXPECT_EQ(segment_attributes(segment), 0x00c09300U);
  EXPECT_EQ(segment_access_rights(segment), 0xc093U);
  for (std::uint32_t rights = 0; rights < 0x20000; rights += 7) {
    const std::uint32_t valid = rights & 0x1f0ff;
    Segment copy;
    set_segment_access_rights(copy, rights);
    EXPECT_EQ(segment_access_rights(copy), valid);
    Segment again;
    set_segment_attributes(again, segment_attributes(copy));
    again.unusable = copy.unusable;
    EXPECT_EQ(again, copy);
  }
}

TEST(Descriptor, GatesRoundTrip) {
  const Gate gate{.offset = 0x89abcdef, .selector = 8, .type = kTrapGate, .dpl = 3};
  EXPECT_EQ(encode_gate(gate), 0x89abef000008cdefU);
  EXPECT_EQ(decode_gate(encode_gate(gate)), gate);
  const Gate call{.offset = 0x1000, .selector = 0x18, .type = kCallGate, .dpl = 2, .parameters = 31};
  EXPECT_EQ(decode_gate(encode_gate(call)), call);
  const Gate wide{.offset = 0xffffffff81000000, .selector = 0x10, .ist = 5};
  const auto raw = encode_gate64(wide);
  EXPECT_EQ(raw[0], 0x81008e0500100000U);
  EXPECT_EQ(raw[1], 0xffffffffU);
  EXPECT_EQ(decode_gate64(raw), wide);
}

TEST(Descriptor, RealModeSegmentsAreTheSelectorTimes16) {
  const Segment segment = real_mode_segment(0xf000);
  EXPECT_EQ(segment.base, 0xf0000U);
  EXPECT_EQ(segment.limit, 0xffffU);
  EXPECT_EQ(segment_attributes(segment), 0x9300U);
}

TEST(Registers, VectorsThatPushAnErrorCode) {
  for (const int vector : {8, 10, 11, 12, 13, 14, 17, 21})
    EXPECT_TRUE(pushes_error_code(static_cast<std::uint8_t>(vector))) << vector;
  for (const int vector : {0, 1, 2, 3, 4, 5, 6, 7, 9, 15, 16, 18, 19, 20, 32, 40, 255})
    EXPECT_FALSE(pushes_error_code(static_cast<std::uint8_t>(vector))) << vector;
}

TEST(PageTable, CanonicalAddresses) {
  EXPECT_TRUE(is_canonical(0x00007fffffffffff));
  EXPECT_FALSE(is_canonical(0x0000800000000000));
  EXPECT_TRUE(is_canonical(0xffff800000000000));
  EXPECT_TRUE(is_canonical(0x0000800000000000, 57));
  EXPECT_FALSE(is_canonical(0x0100000000000000, 57));
}

}  // namespace
}  // namespace doppel::x86
