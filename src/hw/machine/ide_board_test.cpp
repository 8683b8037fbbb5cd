// The PC's IDE drives: places, images, what firmware is told.
#include "block/fake_disk.h"
#include "hw/machine/machine_test_rig.h"

namespace doppel::hw {
namespace {

/// Beyond what the BIOS reaches by cylinders; nobody reads it.
struct LargeDisk final : block::FakeDisk {
  LargeDisk() : FakeDisk(0) {}
  [[nodiscard]] std::uint64_t size() const override { return 600 * kMiB; }
};

struct IdeBoardTest : testing::Test {
  MachineRig rig;
  block::FakeDisk small{1 << 20};
  LargeDisk large;
  block::FakeDisk empty{0};

  std::unique_ptr<PcMachine> pc(BoardConfig config) {
    MachineParts parts = rig.parts();
    parts.find_disk = [this](std::string_view id) -> Result<block::Disk*> {
      if (id == "small") return &small;
      if (id == "large") return &large;
      if (id == "empty") return &empty;
      return fail(ErrorKind::kNotFound, "there is no drive '{}'", id);
    };
    auto machine = PcMachine::create(std::move(parts), std::move(config));
    EXPECT_TRUE(machine);
    return std::move(*machine);
  }
  static std::string error_of(Machine& machine, std::string_view driver, const DeviceProperties& properties) {
    const auto added = machine.add_device(driver, properties);
    return added ? "" : added.error().describe();
  }
  std::uint8_t cmos(std::uint8_t index) {
    rig.out(0x70, index);
    return static_cast<std::uint8_t>(rig.in(0x71));
  }
};

TEST_F(IdeBoardTest, ControllerIsBesideTheIsaBridge) {
  const auto machine = rig.pc();
  EXPECT_EQ(rig.config_in(1, 1, 0, 4), 0x7010'8086U);
  rig.config_out(1, 1, 4, 1, 2);
  EXPECT_EQ(rig.in(0x1f7), 0U) << "no drive";
}

TEST_F(IdeBoardTest, DrivesTakeFreePlacesInOrder) {
  const auto machine = pc(rig.config());
  ASSERT_EQ(error_of(*machine, "ide-cd", {{"bus", "ide.0"}, {"unit", "0"}}), "");
  ASSERT_EQ(error_of(*machine, "ide-hd", {{"drive", "small"}}), "");
  ASSERT_EQ(error_of(*machine, "ide-hd", {{"drive", "large"}, {"unit", "1"}}), "");
  ASSERT_EQ(error_of(*machine, "ide-cd", {}), "");
  EXPECT_EQ(error_of(*machine, "ide-cd", {}), "there is no free place; the PC has two IDE buses with two drives each");
  machine->reset();
  rig.config_out(1, 1, 4, 1, 2);
  rig.out(0x1f6, 0xb0);
  EXPECT_EQ(rig.in(0x1f7), 0x50U);
  rig.out(0x176, 0xa0);
  EXPECT_EQ(rig.in(0x174), 0x14U);
  EXPECT_EQ(cmos(0x39), 0x40) << "the large one, slave of the second bus, is addressed by LBA";
}

TEST_F(IdeBoardTest, BootIndicesMakeTheBootOrder) {
  BoardConfig config = rig.config();
  config.boot_strict = true;
  const auto machine = pc(std::move(config));
  ASSERT_EQ(error_of(*machine, "ide-hd", {{"drive", "small"}, {"bootindex", "7"}}), "");
  ASSERT_EQ(error_of(*machine, "ide-cd", {{"bus", "ide.1"}, {"bootindex", "2"}}), "");
  EXPECT_EQ(error_of(*machine, "ide-cd", {{"bootindex", "7"}}),
            "bootindex=7 is taken by /pci@i0cf8/ide@1,1/drive@0/disk@0");
  machine->reset();
  EXPECT_EQ(rig.fw_cfg_file("bootorder"), std::string("/pci@i0cf8/ide@1,1/drive@1/disk@0\n"
                                                      "/pci@i0cf8/ide@1,1/drive@0/disk@0\nHALT\0",
                                                      73));
}

TEST_F(IdeBoardTest, Errors) {
  const auto machine = pc(rig.config());
  EXPECT_EQ(error_of(*machine, "ide-hd", {}),
            "a disk needs an image; write drive=ID and '-drive if=none,id=ID,file=FILE'");
  EXPECT_EQ(error_of(*machine, "ide-hd", {{"drive", "other"}}), "there is no drive 'other'");
  EXPECT_EQ(error_of(*machine, "ide-hd", {{"drive", "empty"}}),
            "the image of drive 'empty' is empty; give it a size, as 'doppel-img create FILE SIZE' does");
  EXPECT_EQ(error_of(*machine, "ide-cd", {{"bus", "ide.5"}}),
            "there is no IDE bus 'ide.5'; write bus=ide.0 or bus=ide.1");
  ASSERT_EQ(error_of(*machine, "ide-cd", {{"bus", "ide.1"}, {"unit", "1"}}), "");
  EXPECT_EQ(error_of(*machine, "ide-cd", {{"bus", "ide.1"}, {"unit", "1"}}),
            "ide.1, unit 1 has a drive already; give one of the two another bus= or unit=");
}

TEST_F(IdeBoardTest, MicrovmHasNone) {
  auto machine = MicrovmMachine::create(rig.parts(), rig.config());
  ASSERT_TRUE(machine);
  EXPECT_EQ(error_of(**machine, "ide-cd", {}), "this machine has no IDE bus; use -machine pc");
}

}  // namespace
}  // namespace doppel::hw
