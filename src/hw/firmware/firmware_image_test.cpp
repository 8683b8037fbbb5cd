#include "hw/firmware/firmware_image.h"

#include <gtest/gtest.h>

#include "hw/firmware/firmware_test_support.h"

namespace doppel::hw {
namespace {

TEST(FirmwareImage, SizesAreChecked) {
  EXPECT_TRUE(check_firmware_size(64 * kKiB, "bios"));
  EXPECT_TRUE(check_firmware_size(16 * kMiB, "bios"));
  EXPECT_FALSE(check_firmware_size(0, "bios"));
  EXPECT_EQ(check_firmware_size(100000, "bios").error().message(),
            "the firmware 'bios' has 100000 bytes; it must be a multiple of 64 KiB");
  EXPECT_FALSE(check_firmware_size(16 * kMiB + 64 * kKiB, "bios"));
}

TEST(FirmwareImage, EndsAt4GiBAndShowsItsEndBelow1MiB) {
  Bytes image(256 * kKiB);
  image.back() = std::byte{0xaa};
  image.front() = std::byte{0x11};
  const auto firmware = make_system_firmware(image, "bios");
  ASSERT_TRUE(firmware) << firmware.error().describe();
  EXPECT_EQ(firmware->base.value, 0xfffc0000U);
  EXPECT_EQ(firmware->low_base.value, 0xe0000U);

  memory::Topology topology;
  const auto root = topology.container("memory", 0);
  memory::AddressSpace space(topology, root, "memory");
  map_firmware(topology, *root, *firmware);
  EXPECT_EQ(space.read({0xfffc0000}, 1), 0x11U);
  EXPECT_EQ(space.read({0xffffffff}, 1), 0xaaU);
  EXPECT_EQ(space.read({0xfffff}, 1), 0xaaU);
  space.write({0xfffff}, 1, 0x55);
  EXPECT_EQ(space.read({0xffffffff}, 1), 0xaaU) << "it is a ROM";
}

TEST(BlobTest, ALargeFileIsTheSameAfterARest) {
  const test::ScratchFolder folder;
  std::string text(3 * kMiB + 5, 'a');
  text.back() = 'z';
  const std::string path = folder.file("large", text);
  const auto blob = read_blob(path, 4 * kMiB);
  ASSERT_TRUE(blob) << blob.error().describe();
  const Blob part = blob->slice(kMiB + 1);
  std::filesystem::remove(path);
  part.rest();
  EXPECT_EQ(part.bytes().front(), std::byte{'a'});
  EXPECT_EQ(part.bytes().back(), std::byte{'z'});
  EXPECT_FALSE(read_blob(folder.file("larger", text), kMiB));
}

TEST(FirmwareImage, SmallOnesShowWhole) {
  const auto firmware = make_system_firmware(Bytes(64 * kKiB), "bios");
  ASSERT_TRUE(firmware);
  EXPECT_EQ(firmware->low_base.value, 0xf0000U);
  EXPECT_EQ(firmware->low_offset, 0U);
}

TEST(FirmwareImage, IsSoughtInTheGivenFoldersFirst) {
  const test::ScratchFolder one;
  const test::ScratchFolder two;
  const std::string path = two.file("doppel-test-bios.bin", "x");
  EXPECT_EQ(*find_firmware("doppel-test-bios.bin", {one.path().string(), two.path().string()}), path);
  EXPECT_EQ(*find_firmware(path, {}), path);
  const auto missing = find_firmware("doppel-test-missing.bin", {one.path().string()});
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().message(), ::testing::HasSubstr(one.path().string()));
  EXPECT_THAT(missing.error().message(), ::testing::HasSubstr("/usr/share/seabios"));
  EXPECT_FALSE(find_firmware("/nonexistent/bios.bin", {one.path().string()}));
  EXPECT_FALSE(find_firmware("", {one.path().string()}));
}

TEST(FirmwareImage, TheDistributionsSeabiosLoads) {
  const auto path = find_firmware("bios-256k.bin", {});
  if (!path) GTEST_SKIP() << "the package seabios is not installed";
  const auto firmware = load_system_firmware(*path);
  ASSERT_TRUE(firmware) << firmware.error().describe();
  EXPECT_EQ(firmware->block->bytes()[256 * kKiB - 16], std::byte{0xea}) << "the reset vector is a far jump";
}

TEST(OptionRom, KeepsItsNameAndNeedsItsSignature) {
  const test::ScratchFolder folder;
  FwCfg fw_cfg(std::nullopt);
  ASSERT_TRUE(add_option_rom(fw_cfg, folder.file("net.rom", "\x55\xaa\x01")));
  EXPECT_TRUE(fw_cfg.has_file("genroms/net.rom"));
  EXPECT_THAT(add_option_rom(fw_cfg, folder.file("bad.rom", "MZ")).error().message(), ::testing::HasSubstr("55 aa"));
}

}  // namespace
}  // namespace doppel::hw
