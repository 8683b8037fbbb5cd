// -pflash, -fda, -fdb, if=pflash, if=floppy, and what no PC has.
#include "cli/cli_test_support.h"

namespace doppel::cli {
namespace {

TEST(ChipOptions, FlashChipsAreDrivesThatTheMachineNames) {
  const auto config = parse_config({"-pflash", "code", "-pflash", "vars"});
  EXPECT_EQ(config.machine.properties, (vm::KeyValues{{"pflash0", "pflash0"}, {"pflash1", "pflash1"}}));
  ASSERT_EQ(config.drives.size(), 2U);
  EXPECT_EQ(config.drives[1].id, "pflash1");
  EXPECT_EQ(config.drives[1].file, "vars");
  const auto drive = parse_config({"-drive", "if=pflash,unit=1,file=v,id=x,readonly=on,format=raw"});
  EXPECT_EQ(drive.machine.properties, (vm::KeyValues{{"pflash1", "x"}}));
  EXPECT_TRUE(drive.drives.at(0).read_only);
  EXPECT_EQ(parse_config({"-machine", "pc,pflash0=x"}).machine.properties, (vm::KeyValues{{"pflash0", "x"}}));
}

TEST(ChipOptions, FloppiesAreDevices) {
  const auto config = parse_config({"-fda", "a", "-drive", "if=floppy,file=b,readonly=on"});
  std::vector<vm::KeyValues> floppies;
  for (const auto& device : config.devices)
    if (device.driver == "floppy") floppies.push_back(device.properties);
  EXPECT_EQ(floppies,
            (std::vector<vm::KeyValues>{{{"unit", "0"}, {"drive", "floppy0"}}, {{"unit", "1"}, {"drive", "floppy1"}}}));
  EXPECT_TRUE(config.drives.at(1).read_only);
}

TEST(ChipOptions, Errors) {
  EXPECT_EQ(error_of({"-pflash", "a", "-pflash", "b", "-pflash", "c"}),
            "-pflash c: the PC has two flash chips, and both have an image already");
  EXPECT_EQ(error_of({"-drive", "if=pflash,file=a,unit=2"}),
            "-drive if=pflash,file=a,unit=2: the PC has two flash chips: unit=0 and unit=1");
  EXPECT_EQ(error_of({"-fda", "a", "-drive", "if=floppy,file=b,index=0"}),
            "-drive if=floppy,file=b,index=0: unit=0 of the floppy drives has an image already; write another unit=");
  EXPECT_EQ(error_of({"-drive", "if=pflash"}), "-drive if=pflash: file= is missing; write file=FILE");
  EXPECT_EQ(error_of({"-drive", "if=floppy,file=a,bus=1"}),
            "-drive if=floppy,file=a,bus=1: bus=1: there is bus=0 alone");
  EXPECT_EQ(error_of({"-mtdblock", "a"}),
            "-mtdblock a: a PC has no bare flash memory for if=mtd; its firmware's flash chips are '-pflash FILE', its "
            "disks '-drive file=FILE'");
  EXPECT_EQ(error_of({"-drive", "if=sd,file=a"}),
            "-drive if=sd,file=a: a PC has no SD card reader for if=sd; write '-drive file=FILE'");
}

}  // namespace
}  // namespace doppel::cli
