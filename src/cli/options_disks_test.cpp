// -hda, -cdrom, -drive, -snapshot.
#include <algorithm>

#include "cli/cli_test_support.h"
#include "vm/config_json.h"

namespace doppel::cli {
namespace {

/// "ide-hd bus=ide.0 unit=1 drive=x", one for each IDE device.
Words ide_devices(const Words& words) {
  Words devices;
  for (const vm::DeviceConfig& device : parse_config(words).devices) {
    if (!device.driver.starts_with("ide-")) continue;
    std::string text = device.driver;
    for (const auto& [key, value] : device.properties) text += fmt::format(" {}={}", key, value);
    devices.push_back(std::move(text));
  }
  return devices;
}

vm::DriveConfig drive_of(const Words& words) {
  const auto drives = parse_config(words).drives;
  EXPECT_EQ(drives.size(), 1U);
  return drives.empty() ? vm::DriveConfig{} : drives[0];
}

TEST(DiskOptions, HaveTheirPlaces) {
  EXPECT_EQ(ide_devices({"-hda", "a", "-hdb", "b", "-hdd", "d", "-cdrom", "c"}),
            (Words{"ide-hd bus=ide.0 unit=0 drive=ide0-hd0", "ide-hd bus=ide.0 unit=1 drive=ide0-hd1",
                   "ide-hd bus=ide.1 unit=1 drive=ide1-hd1", "ide-cd bus=ide.1 unit=0 drive=ide1-cd0"}));
  EXPECT_EQ(drive_of({"-hdc", "c,d.img"}).file, "c,d.img");
  EXPECT_TRUE(drive_of({"-cdrom", "x"}).read_only);
}

TEST(DiskOptions, EmptyCdromByDefault) {
  const Words drive{"ide-cd bus=ide.1 unit=0"};
  EXPECT_EQ(ide_devices({}), drive);
  EXPECT_EQ(ide_devices({"-nodefaults"}), Words{});
  EXPECT_EQ(ide_devices({"-M", "microvm"}), Words{});
  EXPECT_EQ(ide_devices({"-device", "ide-cd"}), (Words{"ide-cd"}));
  EXPECT_EQ(ide_devices({"-hdc", "x"}), (Words{"ide-hd bus=ide.1 unit=0 drive=ide1-hd0"}));
}

TEST(DriveOption, Keys) {
  const auto drive = drive_of({"-drive",
                               "file=a,,b,format=raw,cache=none,aio=native,discard=unmap,readonly=on,snapshot=on,"
                               "werror=report,rerror=report,detect-zeroes=off,copy-on-read=off,id=d"});
  EXPECT_EQ(drive.id, "d");
  EXPECT_EQ(drive.file, "a,b");
  EXPECT_EQ(drive.format, "raw");
  EXPECT_EQ(drive.cache, "none");
  EXPECT_EQ(drive.write_error, "report");
  EXPECT_EQ(drive_of({"-drive", "file=a"}).write_error, "enospc");
  EXPECT_EQ(drive_of({"-drive", "file=a,rerror=stop"}).read_error, "stop");
  EXPECT_TRUE(drive.discard && drive.read_only && drive.snapshot);
}

TEST(DriveOption, ListsFormats) {
  EXPECT_TRUE(printout_of({"-drive", "format=help"}).text.starts_with("Supported formats: raw"));
}

TEST(DriveOption, Places) {
  EXPECT_EQ(ide_devices({"-drive", "file=a,index=3", "-drive", "file=b", "-drive", "file=c,bus=1,serial=S", "-drive",
                         "file=d,unit=1,media=cdrom"}),
            (Words{"ide-hd bus=ide.1 unit=1 drive=ide1-hd1", "ide-hd bus=ide.0 unit=0 drive=ide0-hd0",
                   "ide-hd bus=ide.1 unit=0 drive=ide1-hd0 serial=S", "ide-cd bus=ide.0 unit=1 drive=ide0-cd1"}));
  EXPECT_EQ(ide_devices({"-drive", "media=cdrom,index=0", "-nodefaults"}), (Words{"ide-cd bus=ide.0 unit=0"}));
}

TEST(DriveOption, ForDevices) {
  const auto config = parse_config({"-drive", "if=none,id=a,file=x", "-device", "ide-cd,drive=a", "-nodefaults"});
  EXPECT_TRUE(config.drives.at(0).read_only) << "in a CD-ROM drive";
  EXPECT_EQ(config.devices.size(), 1U);
  EXPECT_FALSE(drive_of({"-drive", "if=none,id=a,file=x", "-device", "ide-hd,drive=a"}).read_only);
}

TEST(DriveOption, VirtioDisksAreDevicesAtOnce) {
  const auto config = parse_config({"-drive", "file=a,if=virtio,serial=S", "-device", "pci-bridge", "-drive",
                                    "file=b,if=virtio", "-drive", "file=c,if=virtio,id=mine", "-nodefaults"});
  ASSERT_EQ(config.devices.size(), 4U);
  EXPECT_EQ(config.devices[0].driver, "virtio-blk-pci");
  EXPECT_EQ(config.devices[0].properties, (vm::KeyValues{{"drive", "virtio0"}, {"serial", "S"}}));
  EXPECT_EQ(config.devices[1].driver, "pci-bridge");
  EXPECT_EQ(config.devices[2].properties, (vm::KeyValues{{"drive", "virtio1"}}));
  EXPECT_EQ(config.devices[3].properties, (vm::KeyValues{{"drive", "mine"}}));
  EXPECT_EQ(error_of({"-drive", "if=virtio"}), "-drive if=virtio: a disk needs an image; write file=FILE");
  EXPECT_EQ(error_of({"-drive", "file=a,if=virtio,media=cdrom"}),
            "-drive file=a,if=virtio,media=cdrom: if=virtio has disks only; write if=ide for media=cdrom");
  EXPECT_EQ(error_of({"-drive", "file=a,if=virtio", "-drive", "file=b,if=virtio,index=0"}),
            "-drive file=b,if=virtio,index=0: the id 'virtio0' is taken by another drive");
}

TEST(DriveOption, ScsiDrivesReplaceTheDefaultCdrom) {
  const auto config =
      parse_config({"-device", "virtio-scsi-pci", "-drive", "if=none,id=a,file=x", "-device", "scsi-cd,drive=a"});
  EXPECT_EQ(std::ranges::find(config.devices, "ide-cd", &vm::DeviceConfig::driver), config.devices.end());
  EXPECT_TRUE(config.drives.at(0).read_only);
}

TEST(SnapshotOption, HoldsForAllWhereverItStands) {
  const auto config = parse_config({"-hda", "a", "-snapshot", "-hdb", "b"});
  EXPECT_TRUE(std::ranges::all_of(config.drives, &vm::DriveConfig::snapshot));
}

TEST(DriveOption, SurvivesJson) {
  const auto config = parse_config({"-hda", "a", "-drive", "file=b,cache=unsafe,discard=on,snapshot=on,readonly=on"});
  const auto back = vm::config_from_json(vm::to_json(config));
  ASSERT_TRUE(back) << back.error().describe();
  EXPECT_EQ(vm::to_json(*back), vm::to_json(config));
  EXPECT_EQ(back->drives.at(1).cache, "unsafe");
}

TEST(DriveOption, Errors) {
  EXPECT_EQ(error_of({"-hda", "a", "-drive", "file=b,index=0"}),
            "-drive file=b,index=0: there is a drive at bus=0,unit=0 (index=0) already; give one of the two another "
            "index=");
  EXPECT_EQ(error_of({"-drive", "file=a,if=scsi"}), "-drive file=a,if=scsi: if=scsi is not there yet; write if=ide");
  EXPECT_EQ(error_of({"-drive", "file=a,if=ied"}),
            "-drive file=a,if=ied: if= expects ide, virtio, floppy, pflash or none, not 'ied'");
  EXPECT_EQ(error_of({"-drive", "file=a,index=4"}),
            "-drive file=a,index=4: index=4: IDE drives have the places 0 to 3");
  EXPECT_EQ(error_of({"-drive", "file=a,bus=2"}),
            "-drive file=a,bus=2: IDE has bus=0 and bus=1, each with unit=0 and unit=1");
  EXPECT_EQ(error_of({"-drive", "file=a,rerror=no"}),
            "-drive file=a,rerror=no: rerror= expects report, ignore, stop or enospc, not 'no'");
  EXPECT_EQ(error_of({"-drive", "if=none,id=a,file=x,serial=1"}),
            "-drive if=none,id=a,file=x,serial=1: with if=none the serial= goes to the -device that uses the drive");
  EXPECT_EQ(error_of({"-drive", "index=1"}), "-drive index=1: a disk needs an image; write file=FILE");
  EXPECT_EQ(error_of({"-drive", "file=a,id=x", "-drive", "file=b,id=x"}),
            "-drive file=b,id=x: the id 'x' is taken by another drive");
  EXPECT_EQ(error_of({"-device", "ide-hd,unit=2"}),
            "-device ide-hd,unit=2: unit=2: write unit=0 for the master or unit=1 for the slave");
  EXPECT_EQ(error_of({"-device", "ide-hd,drvie=a"}),
            "-device ide-hd,drvie=a: there is no property 'drvie' (did you mean 'drive'?)");
}

}  // namespace
}  // namespace doppel::cli
