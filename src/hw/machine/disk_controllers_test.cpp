// Disk controllers of -device and what is put into them.
#include "hw/machine/disk_controllers.h"

#include "block/fake_disk.h"
#include "hw/machine/machine_test_rig.h"

namespace doppel::hw {
namespace {

struct DiskControllersTest : testing::Test {
  MachineRig rig;
  block::FakeDisk disk{1 << 20};

  std::unique_ptr<PcMachine> pc() {
    MachineParts parts = rig.parts();
    parts.find_disk = [this](std::string_view id) -> Result<block::Disk*> {
      if (id.starts_with("d")) return &disk;
      return fail(ErrorKind::kNotFound, "there is no drive '{}'", id);
    };
    BoardConfig config = rig.config();
    config.boot_strict = true;
    auto machine = PcMachine::create(std::move(parts), std::move(config));
    EXPECT_TRUE(machine);
    return std::move(*machine);
  }
  static std::string error_of(Machine& machine, std::string_view driver, const DeviceProperties& properties) {
    const auto added = machine.add_device(driver, properties);
    return added ? "" : added.error().describe();
  }
};

TEST_F(DiskControllersTest, NvmeWithItsNamespaces) {
  const auto machine = pc();
  EXPECT_EQ(error_of(*machine, "nvme-ns", {{"drive", "d"}}),
            "there is no NVMe controller for this namespace; write '-device nvme,serial=TEXT' before it");
  ASSERT_EQ(error_of(*machine, "nvme", {{"serial", "a"}, {"drive", "d1"}, {"bootindex", "2"}, {"addr", "5"}}), "");
  ASSERT_EQ(error_of(*machine, "nvme", {{"serial", "b"}, {"id", "nvme1"}, {"addr", "6"}}), "");
  ASSERT_EQ(error_of(*machine, "nvme-ns", {{"bus", "nvme1"}, {"drive", "d2"}, {"nsid", "3"}, {"bootindex", "1"}}), "");
  EXPECT_EQ(error_of(*machine, "nvme-ns", {{"drive", "d2"}, {"nsid", "3"}}),
            "nsid=3: this controller has a namespace with that number already");
  EXPECT_EQ(error_of(*machine, "nvme-ns", {{"bus", "nvme2"}, {"drive", "d2"}}),
            "there is no NVMe controller 'nvme2' (did you mean 'nvme1'?)");
  EXPECT_EQ(error_of(*machine, "nvme-ns", {{"drive", "x"}}), "there is no drive 'x'");
  EXPECT_EQ(error_of(*machine, "nvme-ns", {{"drive", "d"}, {"logical_block_size", "1024"}}),
            "logical_block_size=1024: write 512 or 4096");
  EXPECT_EQ(error_of(*machine, "nvme", {{"serial", "c"}, {"bootindex", "5"}}),
            "bootindex= is of a disk; this NVMe controller has no drive=");
  machine->reset();
  EXPECT_EQ(rig.config_in(5, 0, 0, 4), 0x0010'1b36U);
  EXPECT_EQ(rig.fw_cfg_file("bootorder"), std::string("/pci@i0cf8/nvme@6/namespace@3,0\n"
                                                      "/pci@i0cf8/nvme@5/namespace@1,0\nHALT\0",
                                                      69));
}

TEST_F(DiskControllersTest, AhciWithItsDrives) {
  const auto machine = pc();
  EXPECT_EQ(
      error_of(*machine, "ide-hd", {{"bus", "ahci0.0"}, {"drive", "d"}}),
      "there is no IDE bus 'ahci0.0'; write bus=ide.0, bus=ide.1, or the id of an ahci device with the port, such "
      "as ahci0.0");
  ASSERT_EQ(error_of(*machine, "ahci", {{"id", "ahci0"}, {"addr", "7"}}), "");
  ASSERT_EQ(error_of(*machine, "ide-hd", {{"bus", "ahci0.0"}, {"drive", "d"}, {"bootindex", "2"}}), "");
  ASSERT_EQ(error_of(*machine, "ide-cd", {{"bus", "ahci0.5"}, {"bootindex", "1"}}), "");
  EXPECT_EQ(error_of(*machine, "ide-hd", {{"bus", "ahci0.0"}, {"drive", "d"}}),
            "ahci0.0 has a drive already; give one of the two another bus=");
  EXPECT_EQ(error_of(*machine, "ide-hd", {{"bus", "ahci0.6"}, {"drive", "d"}}),
            "bus=ahci0.6: an AHCI adapter has the ports 0 to 5");
  EXPECT_EQ(error_of(*machine, "ide-hd", {{"bus", "ahci0.1"}, {"unit", "1"}, {"drive", "d"}}),
            "unit=1: there is one drive at an AHCI port; write unit=0");
  ASSERT_EQ(error_of(*machine, "ide-hd", {{"drive", "d"}}), "") << "on the IDE controller";
  machine->reset();
  EXPECT_EQ(rig.config_in(7, 0, 0, 4), 0x2922'8086U);
  EXPECT_EQ(rig.fw_cfg_file("bootorder"), std::string("/pci@i0cf8/pci8086,2922@7/drive@5/disk@0\n"
                                                      "/pci@i0cf8/pci8086,2922@7/drive@0/disk@0\nHALT\0",
                                                      87));
}

}  // namespace
}  // namespace doppel::hw
