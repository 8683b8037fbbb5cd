#include "block/raw_node.h"

#include "block/memory_node.h"
#include "block/probe.h"
#include "block/test_support.h"

namespace doppel::block {
namespace {

Bytes text(std::string_view characters) {
  const auto bytes = std::as_bytes(std::span(characters));
  return {bytes.begin(), bytes.end()};
}

NodePtr raw_over(Bytes contents, RawOptions options) {
  auto node = RawNode::create(std::make_unique<MemoryNode>(std::move(contents)), options);
  EXPECT_TRUE(node) << node.error().describe();
  return std::move(*node);
}

TEST(Probe, KnowsTheMarks) {
  EXPECT_EQ(probe_format(text("QFI\xfb\0\0\0\3")), "qcow2");
  EXPECT_EQ(probe_format(text("QFI\xfb")), "qcow2");
  EXPECT_EQ(probe_format(text(std::string_view("QFI\xfb\0\0\0\1", 8))), "qcow");
  EXPECT_EQ(probe_format(text("LUKS\xba\xbe")), "luks");
  EXPECT_EQ(probe_format(text("QFI")), "raw");
  EXPECT_EQ(probe_format({}), "raw");
}

TEST(RawNode, ShowsAWindow) {
  BlockRig rig;
  Bytes contents = filled(4096, 1);
  contents[1024] = std::byte{9};
  const NodePtr node = raw_over(contents, {.offset = 1024, .size = 1024});
  EXPECT_EQ(node->size(), 1024U);
  EXPECT_EQ(rig.read(*node, 0, 1)[0], std::byte{9});
  const auto outside = rig.write(*node, 1000, filled(25, 0));
  ASSERT_FALSE(outside);
  EXPECT_EQ(outside.error().kind(), ErrorKind::kOutOfRange);
  EXPECT_FALSE(rig.run(node->resize(2048, Preallocation::kOff)));
}

TEST(RawNode, RefusesWindowsOutsideOfTheFile) {
  for (const RawOptions& options : {RawOptions{.offset = 4097}, {.offset = 1, .size = 4096}, {.size = 1000}})
    EXPECT_FALSE(RawNode::create(std::make_unique<MemoryNode>(filled(4096, 0)), options));
}

TEST(RawNode, RoundsTheFileUpToSectors) {
  BlockRig rig;
  const NodePtr node = raw_over(filled(1000, 7), {});
  EXPECT_EQ(node->size(), 1024U);
  EXPECT_EQ(rig.read(*node, 999, 2), (Bytes{std::byte{7}, std::byte{0}}));
  EXPECT_TRUE(rig.write(*node, 512, filled(512, 8)));
  EXPECT_EQ(node->size(), 1024U);
}

TEST(RawNode, AGuestCannotTurnAProbedImageIntoAnotherFormat) {
  BlockRig rig;
  const NodePtr probed = raw_over(filled(4096, 0), {.probed = true});
  EXPECT_TRUE(rig.write(*probed, 0, text("boot sector")));
  EXPECT_TRUE(rig.write(*probed, 1024, text("QFI\xfb")));
  const auto refused = rig.write(*probed, 0, text("QFI\xfb"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::kPermissionDenied);
  // Neither byte by byte.
  EXPECT_TRUE(rig.write(*probed, 1, text("FI\xfb")));
  EXPECT_FALSE(rig.write(*probed, 0, text("Q")));
  EXPECT_EQ(rig.read(*probed, 0, 1)[0], std::byte{'b'});

  const NodePtr said = raw_over(filled(4096, 0), {});
  EXPECT_TRUE(rig.write(*said, 0, text("QFI\xfb")));
}

}  // namespace
}  // namespace doppel::block
