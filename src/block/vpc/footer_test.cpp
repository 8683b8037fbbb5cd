#include "block/vpc/footer.h"

#include <gtest/gtest.h>

#include <cstring>

#include "block/memory_node.h"
#include "block/test_support.h"
#include "block/vpc/image.h"

namespace doppel::block::vpc {
namespace {

TEST(Geometry, FollowsTheSpecificationsTable) {
  const auto expect = [](std::uint64_t sectors, unsigned cylinders, unsigned heads, unsigned per_track) {
    const Geometry geometry = geometry_below(sectors);
    EXPECT_EQ(geometry.cylinders, cylinders);
    EXPECT_EQ(geometry.heads, heads);
    EXPECT_EQ(geometry.sectors, per_track);
    EXPECT_LE(geometry.total(), sectors);
  };
  expect(20480, 301, 4, 17);
  expect(1 << 21, 2080, 16, 63);
  expect(kLargestGeometry.total() + 1, 65535, 16, 255);
}

/// The disk's size by an image whose creator and size field are these.
Result<std::uint64_t> size_of(const char* creator, std::uint64_t field) {
  BlockRig rig;
  MemoryNode file;
  const CreateOptions options{.size = 10 << 20, .fixed = true};
  EXPECT_TRUE(rig.run(create(file, options)));
  std::vector<std::byte> contents = file.contents();
  RawFooter footer;
  std::byte* place = contents.data() + contents.size() - sizeof footer;
  std::memcpy(&footer, place, sizeof footer);
  std::memcpy(footer.creator, creator, 4);
  footer.current_size = field;
  footer.checksum = checksum(footer);
  std::memcpy(place, &footer, sizeof footer);
  MemoryNode changed(contents);
  DOPPEL_ASSIGN(const Header header, rig.run(read_header(changed)));
  return header.disk_size;
}

TEST(Footer, TheCreatorDecidesWhereTheSizeIs) {
  EXPECT_EQ(size_of("qemu", 512), 10514432U);
  EXPECT_EQ(size_of("vpc ", 512), 10514432U);
  for (const char* creator : {"qem2", "win ", "d2v ", "tap\0", "CTXS", "wa\0\0"})
    EXPECT_EQ(size_of(creator, 51200), 51200U);
  const auto beyond = size_of("win ", std::uint64_t{1} << 40);
  ASSERT_FALSE(beyond);
  EXPECT_EQ(beyond.error().describe(), "the file has 10514432 bytes of data, fewer than the disk's 1099511627776");
}

}  // namespace
}  // namespace doppel::block::vpc
