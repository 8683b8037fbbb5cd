#include "hw/firmware/table_loader.h"

#include <gtest/gtest.h>

#include <numeric>

#include "hw/firmware/firmware_test_support.h"

namespace doppel::hw {
namespace {

using test::text_of;

Result<std::uint64_t> place_anywhere(std::string_view file, std::uint64_t, const TableCommand&) {
  return file == "a" ? 0x10000 : 0x20000;
}

TEST(TableLoader, EncodesEachCommandIn128Bytes) {
  TableLoader loader;
  loader.allocate("a", 64, TableZone::kFSegment);
  loader.add_pointer("a", 0x11, 8, "b");
  loader.add_checksum("a", 9, 1, 36);
  loader.write_pointer("c", 4, 4, "b", 0x28);
  const Bytes script = loader.encode();
  ASSERT_EQ(script.size(), 4 * kTableCommandSize);
  const std::byte* at = script.data();
  EXPECT_EQ(load_le<std::uint32_t>(at), 1U);
  EXPECT_EQ(text_of({at + 4, 2}), std::string("a\0", 2));
  EXPECT_EQ(load_le<std::uint32_t>(at + 60), 64U);
  EXPECT_EQ(at[64], std::byte{2});
  at += 128;
  EXPECT_EQ(load_le<std::uint32_t>(at), 2U);
  EXPECT_EQ(text_of({at + 60, 2}), std::string("b\0", 2));
  EXPECT_EQ(load_le<std::uint32_t>(at + 116), 0x11U);
  EXPECT_EQ(at[120], std::byte{8});
  at += 128;
  EXPECT_EQ(load_le<std::uint32_t>(at), 3U);
  EXPECT_EQ(load_le<std::uint32_t>(at + 60), 9U);
  EXPECT_EQ(load_le<std::uint32_t>(at + 64), 1U);
  EXPECT_EQ(load_le<std::uint32_t>(at + 68), 36U);
  at += 128;
  EXPECT_EQ(load_le<std::uint32_t>(at), 4U);
  EXPECT_EQ(load_le<std::uint32_t>(at + 116), 4U);
  EXPECT_EQ(load_le<std::uint32_t>(at + 120), 0x28U);
  EXPECT_EQ(at[124], std::byte{4});
}

TEST(TableLoader, LinksAsFirmwareWould) {
  TableFiles files{{"a", Bytes(16)}, {"b", Bytes(8)}, {"c", Bytes(8)}};
  store_le(files["a"].data() + 4, std::uint32_t{3});
  TableLoader loader;
  loader.allocate("a", 1, TableZone::kHigh);
  loader.allocate("b", 1, TableZone::kHigh);
  loader.add_pointer("a", 4, 4, "b");
  loader.add_checksum("a", 0, 0, 16);
  loader.write_pointer("c", 0, 8, "a", 5);
  const auto addresses = loader.link(files, place_anywhere);
  ASSERT_TRUE(addresses) << addresses.error().describe();
  EXPECT_EQ(addresses->at("b"), 0x20000U);
  EXPECT_EQ(load_le<std::uint32_t>(files["a"].data() + 4), 0x20003U);
  EXPECT_EQ(checksum_of(files["a"]), 0);
  EXPECT_EQ(load_le<std::uint64_t>(files["c"].data()), 0x10005U);
}

TEST(TableLoader, MistakesAreErrors) {
  const auto link = [](auto fill) {
    TableFiles files{{"a", Bytes(16)}};
    TableLoader loader;
    fill(loader);
    return loader.link(files, place_anywhere);
  };
  EXPECT_FALSE(link([](TableLoader& loader) { loader.allocate("missing", 1, TableZone::kHigh); }));
  EXPECT_FALSE(link([](TableLoader& loader) { loader.add_pointer("a", 0, 4, "a"); })) << "not yet allocated";
  EXPECT_FALSE(link([](TableLoader& loader) { loader.add_checksum("a", 16, 0, 16); }));
  EXPECT_FALSE(link([](TableLoader& loader) { loader.add_checksum("a", 0, 8, 9); }));
  EXPECT_FALSE(link([](TableLoader& loader) {
    loader.allocate("a", 1, TableZone::kHigh);
    loader.add_pointer("a", 13, 4, "a");
  }));
}

}  // namespace
}  // namespace doppel::hw
