#include "hw/machine/video_board.h"

#include <gmock/gmock.h>

#include "hw/machine/machine_test_rig.h"
#include "ui/us_layout.h"

namespace doppel::hw {
namespace {

using testing::HasSubstr;

TEST(VideoBoard, APcHasNoScreenUnlessItIsGivenOne) {
  MachineRig rig;
  const auto machine = rig.pc();
  EXPECT_EQ(machine->screen(), nullptr);
  ASSERT_TRUE(machine->add_device("VGA", {{"romfile", ""}}));
  machine->reset();
  ASSERT_NE(machine->screen(), nullptr);
  EXPECT_EQ(rig.config_in(2, 0, 0, 4), 0x1111'1234U) << "the first free slot is where QEMU has it";
  ui::Screen screen;
  machine->screen()->read_screen(screen);
  EXPECT_EQ(screen.kind, ui::ScreenKind::kBlank);
  const auto second = machine->add_device("VGA", {{"romfile", ""}});
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().describe(), HasSubstr("there is a VGA already"));
}

TEST(VideoBoard, WindowIsBehindTheHostBridge) {
  MachineRig rig;
  const auto machine = rig.pc();
  ASSERT_TRUE(machine->add_device("VGA", {{"romfile", ""}}));
  machine->reset();
  rig.config_out(2, 0, 4, 3, 2);
  rig.out(0x3c2, 0x67);
  rig.out(0x3c4, 0x0302, 2);
  rig.out(0x3ce, 0x0e06, 2);
  rig.out(0x3ce, 0xff08, 2);
  rig.store(0xb8000, 'A');
  EXPECT_EQ(rig.load(0xb8000), 'A');
  rig.config_out(2, 0, 4, 0, 2);
  EXPECT_EQ(rig.load(0xb8000), 0xffU);
}

TEST(VideoBoard, AMissingVideoBiosIsAnError) {
  MachineRig rig;
  const auto machine = rig.pc();
  const auto added = machine->add_device("VGA", {{"romfile", "/nonexistent"}});
  ASSERT_FALSE(added);
  EXPECT_THAT(added.error().describe(), HasSubstr("no video BIOS; write romfile=FILE, or install seabios"));
}

/// The keyboard has every key that the user's characters are typed by.
TEST(VideoBoard, KnowsTheLayoutsKeys) {
  for (char32_t character = 0; character < 0x80; ++character) {
    const auto stroke = ui::us_key_stroke(character);
    ASSERT_TRUE(stroke);
    EXPECT_TRUE(key_from_name(stroke->key)) << stroke->key;
  }
  for (const char* name : {"up", "down", "left", "right", "home", "end", "pgup", "pgdn", "insert", "delete", "f1",
                           "f10", "f11", "f12", "shift", "ctrl", "alt"})
    EXPECT_TRUE(key_from_name(name)) << name;
}

TEST(VideoBoard, KeysReachTheController) {
  MachineRig rig;
  const auto machine = rig.pc();
  rig.out(0x64, 0xae);  // keyboard on
  (void)rig.in(0x60);   // its self-test's result
  machine->keyboard()->key("a", true);
  machine->keyboard()->key("nonsense", true);
  EXPECT_EQ(rig.in(0x60), 0x1eU);
}

}  // namespace
}  // namespace doppel::hw
