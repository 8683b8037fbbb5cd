#include "block/qcow2/header.h"

#include <cstring>

#include "base/endian.h"
#include "block/qcow2/qcow2_rig.h"

namespace doppel::block::qcow2 {
namespace {

/// What opening a sound image says after CHANGE; empty if it opens.
std::string error_after(const std::function<void(Bytes&)>& change, CreateOptions options = {.size = 1 << 20}) {
  Qcow2Rig rig;
  MemoryNode file;
  EXPECT_TRUE(rig.run(create(file, options)));
  Bytes contents = file.contents();
  change(contents);
  auto opened = rig.run(Image::open(rig.context, std::make_unique<MemoryNode>(std::move(contents)), nullptr));
  return opened ? "" : opened.error().describe();
}

template <class T>
auto put(std::size_t offset, T value) {
  return [offset, value](Bytes& bytes) { store_be<T>(bytes.data() + offset, value); };
}

TEST(Header, NamesAnUnknownFeatureAsTheImageDoes) {
  const auto with_name = [](Bytes& bytes) {
    store_be<std::uint64_t>(bytes.data() + 72, bit(7));
    bytes[112 + 8] = std::byte{0};  // the first entry of the feature name table
    bytes[112 + 9] = std::byte{7};
    std::memcpy(bytes.data() + 112 + 10, "time travel\n", 13);
  };
  EXPECT_EQ(error_after(with_name), "the image needs features that Doppel does not have: 'time travel?'");
  EXPECT_EQ(error_after(put<std::uint64_t>(72, bit(40) | bit(41))),
            "the image needs features that Doppel does not have: 'bit 40', 'bit 41'");
}

TEST(Header, RefusesWhatNoImageHas) {
  EXPECT_EQ(error_after([](Bytes& /*bytes*/) {}), "");
  EXPECT_EQ(error_after(put<std::uint32_t>(0, 7)), "it does not begin with qcow2's mark");
  EXPECT_EQ(error_after(put<std::uint32_t>(4, 4)), "qcow2 version 4 is not known, only 2 and 3");
  EXPECT_EQ(error_after(put<std::uint32_t>(20, 63)), "clusters of 2^63 bytes are not possible, only 2^9 to 2^21");
  EXPECT_EQ(error_after(put<std::uint32_t>(32, 2)), "it is encrypted, but has no LUKS header");
  EXPECT_EQ(error_after(put<std::uint32_t>(36, 0xffffffff)),
            "the L1 table has 34359738360 bytes, more than the 33554432 that are allowed");
  EXPECT_EQ(error_after(put<std::uint64_t>(40, 513)), "the L1 table at offset 0x201 is not aligned");
  EXPECT_EQ(error_after(put<std::uint64_t>(40, bit(60))), "the L1 table at offset 0x1000000000000000 lies too high");
  EXPECT_EQ(error_after(put<std::uint32_t>(56, 0x7fffffff)),
            "the refcount table has 140737488289792 bytes, more than the 8388608 that are allowed");
  EXPECT_EQ(error_after(put<std::uint32_t>(56, 0)), "the image has no refcount table");
  EXPECT_EQ(error_after(put<std::uint32_t>(60, 70000)),
            "the image claims 70000 snapshots, more than the 65536 that are allowed");
  EXPECT_EQ(error_after(put<std::uint64_t>(24, bit(40))),
            "an L1 table of 1 entries is too small for a disk of 1099511627776 bytes");
  EXPECT_EQ(error_after(put<std::uint32_t>(96, 7)), "refcounts of 2^7 bits are not possible");
  EXPECT_EQ(error_after(put<std::uint32_t>(100, 104)), "");  // without a compression type
  EXPECT_EQ(error_after(put<std::uint32_t>(100, 100)), "a header of 100 bytes is not possible");
  EXPECT_EQ(error_after(put<std::uint64_t>(72, 8)), "compression type and its feature bit contradict each other");
  EXPECT_EQ(error_after(put<std::uint32_t>(116, 0x10000000)),
            "header extension 0x6803f857 of 268435456 bytes does not fit into its place");
  EXPECT_EQ(error_after([](Bytes& bytes) {
              put<std::uint64_t>(8, 65000)(bytes);
              put<std::uint32_t>(16, 1000)(bytes);
            }),
            "a backing file name of 1000 bytes at offset 65000 is not possible");
}

TEST(Header, AnImageMarkedCorruptIsNotWritten) {
  EXPECT_EQ(error_after(put<std::uint64_t>(72, Header::kCorrupt)),
            "the image is marked corrupt; check -r all repairs it, or open it read-only");
}

TEST(Header, AnImageLeftDirtyIsRepairedWhenOpened) {
  Qcow2Rig rig;
  rig.create({.size = 1 << 20, .cluster_size = 4096});
  ASSERT_TRUE(rig.write(*rig.image, 0, filled(50'000, 3)));
  rig.close();
  Bytes contents = rig.file->contents();
  const auto block = static_cast<std::size_t>(load_be<std::uint64_t>(contents.data() + 4096));
  std::fill_n(contents.begin() + static_cast<std::ptrdiff_t>(block), 4096, std::byte{0});  // lazily never written
  store_be<std::uint64_t>(contents.data() + 72, Header::kDirty);
  rig.image.reset();
  rig.open(std::make_unique<MemoryNode>(contents));
  EXPECT_FALSE(rig.image->info().dirty);
  rig.expect_clean();
  EXPECT_EQ(rig.read(*rig.image, 0, 50'000), filled(50'000, 3));
}

TEST(Header, KeepsExtensionsItDoesNotKnow) {
  Qcow2Rig rig;
  MemoryNode file;
  Header header{.size = 0, .refcount_table_offset = 65536, .refcount_table_clusters = 1};
  header.backing_file = "base.img";
  header.unknown.push_back({0x12345678, filled(13, 9)});
  ASSERT_TRUE(rig.run(write_header(file, header)));
  const auto again = rig.run(read_header(file));
  ASSERT_TRUE(again) << again.error().describe();
  ASSERT_EQ(again->unknown.size(), 1U);
  EXPECT_EQ(again->unknown[0].type, 0x12345678U);
  EXPECT_EQ(again->unknown[0].data, filled(13, 9));
  EXPECT_EQ(again->backing_file, "base.img");
}

}  // namespace
}  // namespace doppel::block::qcow2
