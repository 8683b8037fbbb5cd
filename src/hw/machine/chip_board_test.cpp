// The PC's flash chips and floppy drives: places, images, what firmware is told.
#include "block/fake_disk.h"
#include "hw/machine/machine_test_rig.h"

namespace doppel::hw {
namespace {

struct ChipBoardTest : testing::Test {
  MachineRig rig;
  block::FakeDisk code{0x40000};
  block::FakeDisk variables{0x8000};
  block::FakeDisk odd{0x8200};
  block::FakeDisk floppy{2400 * 512};

  Result<std::unique_ptr<PcMachine>> create(BoardConfig config) {
    MachineParts parts = rig.parts();
    parts.find_disk = [this](std::string_view id) -> Result<block::Disk*> {
      if (id == "code") return &code;
      if (id == "variables") return &variables;
      if (id == "odd") return &odd;
      if (id == "floppy") return &floppy;
      return fail(ErrorKind::kNotFound, "there is no drive '{}'", id);
    };
    parts.read_disk = [](const block::Disk& disk) -> Result<std::vector<std::byte>> {
      return dynamic_cast<const block::FakeDisk&>(disk).contents;
    };
    return PcMachine::create(std::move(parts), std::move(config));
  }
  BoardConfig with_flash(std::string first, std::string second) {
    BoardConfig config = rig.config();
    config.bios.clear();
    config.properties.pflash0 = std::move(first);
    config.properties.pflash1 = std::move(second);
    return config;
  }
  std::string error_of(BoardConfig config) {
    const auto machine = create(std::move(config));
    return machine ? "" : machine.error().describe();
  }
  std::uint8_t cmos(std::uint8_t index) {
    rig.out(0x70, index);
    return static_cast<std::uint8_t>(rig.in(0x71));
  }
};

TEST_F(ChipBoardTest, FlashLiesRightBelow4GiB) {
  code.contents.back() = std::byte{0x11};
  code.contents.front() = std::byte{0x22};
  variables.contents.back() = std::byte{0x33};
  const auto machine = create(with_flash("code", "variables"));
  ASSERT_TRUE(machine) << machine.error().describe();
  (*machine)->reset();
  EXPECT_EQ(rig.load(0xffff'ffff), 0x11U);
  EXPECT_EQ(rig.load(0xfffc'0000), 0x22U);
  EXPECT_EQ(rig.load(0xfffb'ffff), 0x33U);
  EXPECT_EQ(rig.load(0xfffff), 0x11U) << "in real mode's reach, too";
  rig.store(0xfffb'8000, 0x90);
  EXPECT_EQ(rig.load(0xfffb'8000), 0x89U) << "a command";
  EXPECT_EQ(rig.load(0xfffc'0000), 0x22U) << "the other chip goes on";
  (*machine)->reset();
  EXPECT_EQ(rig.load(0xfffb'ffff), 0x33U);
}

TEST_F(ChipBoardTest, FlashErrors) {
  EXPECT_EQ(error_of(with_flash("", "variables")),
            "pflash1 without pflash0: the firmware goes into pflash0, its variables into pflash1");
  EXPECT_EQ(error_of(with_flash("odd", "")),
            "the image of drive 'odd' has 33280 bytes; a flash chip's must be a multiple of 4 KiB");
  EXPECT_EQ(error_of(with_flash("nowhere", "")), "there is no drive 'nowhere'");
  BoardConfig small = with_flash("code", "variables");
  small.properties.max_fw_size.bytes = 0x40000;
  EXPECT_EQ(error_of(small),
            "the image of drive 'variables' has 32 KiB, and there is room for 0 B; '-machine max-fw-size=' makes more");
  BoardConfig twice = with_flash("code", "");
  twice.bios = rig.bios;
  EXPECT_EQ(error_of(twice), "-bios and pflash0 both say what the firmware is; write one of them");
  const auto microvm = MicrovmMachine::create(rig.parts(), with_flash("code", ""));
  ASSERT_FALSE(microvm);
  EXPECT_EQ(microvm.error().describe(), "a microvm has no flash chips; write '-bios FILE' or -machine pc");
}

TEST_F(ChipBoardTest, FirmwareIsToldOfFloppyDrives) {
  const auto machine = create(rig.config());
  ASSERT_TRUE(machine);
  (*machine)->reset();
  EXPECT_EQ(cmos(0x10), 0x00);
  EXPECT_EQ(cmos(0x14) & 0xc1, 0x00);
  ASSERT_TRUE((*machine)->add_device("floppy", {{"drive", "floppy"}, {"bootindex", "1"}}));
  EXPECT_EQ(cmos(0x10), 0x20) << "1.2 MB";
  EXPECT_EQ(cmos(0x14) & 0xc1, 0x01);
  ASSERT_TRUE((*machine)->add_device("floppy", {}));
  EXPECT_EQ(cmos(0x10), 0x25);
  EXPECT_EQ(cmos(0x14) & 0xc1, 0x41);
  EXPECT_EQ(rig.fw_cfg_file("bootorder"), std::string("/pci@i0cf8/isa@1/fdc@03f0/floppy@0") + '\0');
  EXPECT_EQ(rig.in(0x3f4), 0x80U) << "the controller is ready";
  EXPECT_EQ((*machine)->add_device("floppy", {{"unit", "1"}}).error().describe(),
            "there is a floppy drive with unit=1 already; write another unit=");
  EXPECT_EQ((*machine)->add_device("floppy", {}).error().describe(),
            "the PC has two floppy drives already; there is no third plug");
  EXPECT_EQ((*machine)->add_device("floppy", {{"unit", "2"}}).error().describe(),
            "unit=2: write unit=0 for drive A: or unit=1 for drive B:");
}

TEST_F(ChipBoardTest, AcpiTablesFollowThePowerManagementsPorts) {
  const auto machine = create(rig.config());
  ASSERT_TRUE(machine);
  (*machine)->reset();
  rig.config_out(1, 3, 0x40, 0xb001, 4);
  rig.config_out(1, 3, 0x80, 1, 1);
  (void)rig.fw_cfg_file("etc/table-loader");
  const std::string tables = rig.fw_cfg_file("etc/acpi/tables");
  const auto fadt = tables.find("FACP");
  ASSERT_NE(fadt, std::string::npos);
  constexpr std::size_t kPm1aEventBlock = 56;
  EXPECT_EQ(tables.substr(fadt + kPm1aEventBlock, 4), std::string("\x00\xb0\x00\x00", 4));
}

}  // namespace
}  // namespace doppel::hw
