#include "hw/firmware/memory_map.h"

#include <gtest/gtest.h>

#include "base/bits.h"

namespace doppel::hw {
namespace {

using Ranges = std::vector<MemoryRange>;

TEST(MemoryMap, LaterWordsCutEarlierOnes) {
  MemoryMap map;
  map.add(0, 0x10000, MemoryType::kRam);
  map.add(0x4000, 0x1000, MemoryType::kReserved);
  EXPECT_EQ(map.ranges(), (Ranges{{0, 0x4000, MemoryType::kRam},
                                  {0x4000, 0x1000, MemoryType::kReserved},
                                  {0x5000, 0xb000, MemoryType::kRam}}));
  map.add(0x3000, 0x10000, MemoryType::kAcpi);
  EXPECT_EQ(map.ranges(), (Ranges{{0, 0x3000, MemoryType::kRam}, {0x3000, 0x10000, MemoryType::kAcpi}}));
}

TEST(MemoryMap, NeighboursOfOneTypeJoin) {
  MemoryMap map;
  map.add(0x2000, 0x1000, MemoryType::kRam);
  map.add(0x1000, 0x1000, MemoryType::kRam);
  map.add(0, 0, MemoryType::kRam);
  EXPECT_EQ(map.ranges(), (Ranges{{0x1000, 0x2000, MemoryType::kRam}}));
}

TEST(MemoryMap, IsRam) {
  const MemoryMap map = direct_memory_map(16 * kMiB, kGiB);
  EXPECT_TRUE(map.is_ram(0, kEbdaBase));
  EXPECT_FALSE(map.is_ram(0, kEbdaBase + 1));
  EXPECT_FALSE(map.is_ram(0xf0000, 1));
  EXPECT_TRUE(map.is_ram(kMiB, 15 * kMiB));
  EXPECT_FALSE(map.is_ram(kMiB, 15 * kMiB + 1));
  EXPECT_TRUE(map.is_ram(4 * kGiB, kGiB));
  EXPECT_FALSE(map.is_ram(kMiB, ~std::uint64_t{0}));
  EXPECT_FALSE(map.is_ram(~std::uint64_t{0}, 2));
}

TEST(MemoryMap, LowRamEnd) {
  EXPECT_EQ(direct_memory_map(256 * kMiB, 0).low_ram_end(), 256 * kMiB);
  EXPECT_EQ(firmware_memory_map(3 * kGiB, kGiB).low_ram_end(), 3 * kGiB);
  EXPECT_EQ(firmware_memory_map(512 * kKiB, 0).low_ram_end(), kMiB);
  EXPECT_EQ(firmware_memory_map(3 * kGiB, kGiB).ram().size(), 2U);
}

TEST(MemoryMap, EncodesEntriesOf20Bytes) {
  const Bytes e820 = firmware_memory_map(kGiB, 2 * kGiB).encode_e820();
  ASSERT_EQ(e820.size(), 60U);
  EXPECT_EQ(load_le<std::uint64_t>(e820.data() + 8), kGiB);
  EXPECT_EQ(load_le<std::uint32_t>(e820.data() + 16), 1U);
  EXPECT_EQ(load_le<std::uint64_t>(e820.data() + 20), 0xfeffc000U);
  EXPECT_EQ(load_le<std::uint32_t>(e820.data() + 36), 2U);
  EXPECT_EQ(load_le<std::uint64_t>(e820.data() + 40), 4 * kGiB);
}

}  // namespace
}  // namespace doppel::hw
