#include "block/vmdk/descriptor.h"

#include <gtest/gtest.h>

namespace doppel::block::vmdk {
namespace {

TEST(Descriptor, NamesExtentsParentAndContentIds) {
  const std::string text =
      "# Disk DescriptorFile\r\nversion=1\r\nCID=12ab34cd\nparentCID=0badf00d\ncreateType=\"custom\"\n"
      "parentFileNameHint=\"my parent.vmdk\"\n\nRW 100 FLAT \"a b-flat.vmdk\" 7\nRDONLY 3 SPARSE \"c\"\nRW 5 ZERO\n";
  const auto found = parse_descriptor(text);
  ASSERT_TRUE(found) << found.error().describe();
  EXPECT_EQ(found->cid, 0x12ab34cdU);
  EXPECT_EQ(found->parent_cid, 0x0badf00dU);
  EXPECT_EQ(found->create_type, "custom");
  EXPECT_EQ(found->parent, "my parent.vmdk");
  ASSERT_TRUE(found->cid_place);
  EXPECT_EQ(text.substr(*found->cid_place, 8), "12ab34cd");
  ASSERT_EQ(found->extents.size(), 3U);
  EXPECT_EQ(found->extents[0].filename, "a b-flat.vmdk");
  EXPECT_EQ(found->extents[0].sectors, 100U);
  EXPECT_EQ(found->extents[0].offset, 7U);
  EXPECT_EQ(found->extents[1].access, Access::kReadOnly);
  EXPECT_EQ(found->extents[1].kind, ExtentKind::kSparse);
  EXPECT_EQ(found->extents[2].kind, ExtentKind::kZero);
}

TEST(Descriptor, RefusesWhatMakesNoSense) {
  const auto error = [](const std::string& text) {
    const auto found = parse_descriptor(text);
    return found ? std::string() : found.error().describe();
  };
  EXPECT_EQ(error("RW 0 FLAT \"x\" 0"), "an extent's size makes no sense");
  EXPECT_EQ(error("RW -1 FLAT \"x\" 0"), "an extent's size makes no sense");
  EXPECT_EQ(error("RW 5 FLAT"), "an extent does not name its file");
  EXPECT_EQ(error("RW 5 FLAT \"x\""), "a flat extent does not say where in its file it begins");
  EXPECT_EQ(error("RW 5 FLAT \"x\" -1"), "an extent's offset makes no sense");
  EXPECT_EQ(error("CID=zz"), "a content id is no number");
  EXPECT_EQ(error("NOACCESS 5 FLAT \"x\" 0"), "an extent is marked as inaccessible");
}

}  // namespace
}  // namespace doppel::block::vmdk
