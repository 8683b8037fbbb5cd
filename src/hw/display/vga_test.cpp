#include "hw/display/vga.h"

#include <gtest/gtest.h>

#include "hw/display/vga_test_rig.h"
#include "hw/pci/pci_test_rig.h"

namespace doppel::hw {
namespace {

constexpr std::uint64_t kFrameBuffer = 0xe000'0000;
constexpr std::uint64_t kRegisters = 0xf000'0000;
constexpr std::uint64_t kRom = 0xf100'0000;

class VgaDevice : public testing::Test {
 protected:
  VgaDevice() {
    EXPECT_TRUE(rig.bus.attach(*vga));
    rig.bus.reset();
    vga->config_write(0x10, 4, kFrameBuffer);
    vga->config_write(0x18, 4, kRegisters);
    vga->config_write(0x30, 4, kRom | 1);
    vga->config_write(pci::kCommand, 2, 3);
  }
  void dispi(unsigned index, unsigned value) {
    rig.out(0x1ce, 2, index);
    rig.out(0x1cf, 2, value);
  }
  void store(std::uint64_t address, std::uint64_t value, unsigned size = 1) {
    rig.memory_space.write({address}, size, value);
  }
  /// What a video BIOS does for text, as far as the processor's side needs it.
  void program_text_mode() {
    VgaRegisters mode;
    test::set_text_mode(mode);
    rig.out(0x3c2, 1, mode.misc);
    for (unsigned i = 0; i < vga::kSequencerBits.size(); ++i) rig.out(0x3c4, 2, i | unsigned{mode.sequencer[i]} << 8U);
    for (unsigned i = 0; i < vga::kGraphicsBits.size(); ++i) rig.out(0x3ce, 2, i | unsigned{mode.graphics[i]} << 8U);
    rig.out(0x3d4, 2, 0x0011);
    for (unsigned i = 0; i < vga::kCrtcBits.size(); ++i) rig.out(0x3d4, 2, i | unsigned{mode.crtc[i]} << 8U);
    rig.out(0x3c0, 1, vga::kPaletteSource);
  }

  test::PciRig rig;
  std::unique_ptr<Vga> vga =
      Vga::create(rig.services(), {.vgamem_mb = 1}, std::vector<std::byte>(3000, std::byte{0x55})).value();
};

TEST_F(VgaDevice, IsQemus) {
  EXPECT_EQ(vga->config_read(pci::kVendorId, 4), 0x1111'1234U);
  EXPECT_EQ(vga->config_read(pci::kRevision, 4) >> 8U, 0x030000U);
  EXPECT_EQ(vga->config_read(pci::kInterruptPin, 1), 0U);
  EXPECT_EQ(rig.read(kRom), 0x55U);
  EXPECT_EQ(rig.read(kRom + 4095), 0U) << "its ROM is filled up to a power of two";
}

TEST_F(VgaDevice, TextOnItsScreen) {
  program_text_mode();
  store(0xb8000, 0x1f42'0741, 4);
  ui::Screen screen;
  vga->read_screen(screen);
  ASSERT_EQ(screen.kind, ui::ScreenKind::kText);
  EXPECT_EQ(screen.cells[0], (ui::Cell{.code = 'A'}));
  EXPECT_EQ(screen.cells[1], (ui::Cell{.code = 'B', .foreground = 15, .background = 1}));
  EXPECT_EQ(rig.read(0xb8000, 4), 0x1f42'0741U);
}

TEST_F(VgaDevice, AnswersWhileCommandLetsIt) {
  program_text_mode();
  store(0xb8000, 'A');
  vga->config_write(pci::kCommand, 2, pci::kCommandIo);
  EXPECT_EQ(rig.read(0xb8000), 0xffU);
  EXPECT_EQ(rig.in(0x3cc), 0x67U);
  vga->config_write(pci::kCommand, 2, pci::kCommandMemory);
  EXPECT_EQ(rig.read(0xb8000), 'A');
  EXPECT_EQ(rig.in(0x3cc), 0xffU);
  rig.bus.detach(*vga);
  EXPECT_EQ(rig.read(0xb8000), 0xffU);
}

TEST_F(VgaDevice, RegistersInMemoryAreThePorts) {
  rig.out(0x3c2, 1, 0x67);
  EXPECT_EQ(rig.read(kRegisters + 0x40c), 0x67U);
  store(kRegisters + 0x404, 0x0f02, 2);  // map mask
  rig.out(0x3c4, 1, 2);
  EXPECT_EQ(rig.in(0x3c5), 0x0fU);
  EXPECT_EQ(rig.read(kRegisters + 0x500, 2), 0xb0c5U);
  store(kRegisters + 0x502, 640, 2);
  rig.out(0x1ce, 2, dispi::kWidth);
  EXPECT_EQ(rig.in(0x1cf, 2), 640U);
  EXPECT_EQ(rig.in(0x1d0, 2), 640U);
  EXPECT_EQ(rig.in(0x1cf, 1), 0xffU);
  EXPECT_EQ(rig.read(kRegisters + 0x600, 4), 8U);
  EXPECT_EQ(rig.read(kRegisters + 0x604, 4), 0x1e1e1e1eU);
  EXPECT_EQ(rig.read(kRegisters, 4), 0xffff'ffffU) << "no EDID";
}

TEST_F(VgaDevice, SvgaModesClearTheFrameBufferAndHaveBanks) {
  store(kFrameBuffer + 5, 0x77);
  dispi(dispi::kWidth, 320);
  dispi(dispi::kHeight, 200);
  dispi(dispi::kBitsPerPixel, 32);
  dispi(dispi::kEnable, dispi::kEnabled | dispi::kKeepMemory);
  EXPECT_EQ(rig.read(kFrameBuffer + 5), 0x77U);
  dispi(dispi::kEnable, 0);
  dispi(dispi::kEnable, dispi::kEnabled);
  EXPECT_EQ(rig.read(kFrameBuffer + 5), 0U);
  rig.out(0x3c2, 1, 0x67);
  dispi(dispi::kBank, 3);
  store(0xa0010, 0x99);
  EXPECT_EQ(rig.read(kFrameBuffer + 0x30010), 0x99U);
  rig.out(0x3c0, 1, vga::kPaletteSource);
  ui::Screen screen;
  vga->read_screen(screen);
  EXPECT_EQ(screen.kind, ui::ScreenKind::kGraphics);
  EXPECT_EQ(screen.width, 320U);
  EXPECT_EQ(screen.height, 200U);
}

TEST_F(VgaDevice, StateComesBack) {
  program_text_mode();
  dispi(dispi::kWidth, 1024);
  state::Writer writer;
  vga->save(writer);
  rig.bus.reset();
  state::Reader reader(writer.bytes());
  ASSERT_TRUE(vga->load(reader));
  EXPECT_EQ(rig.in(0x3cc), 0x67U);
  rig.out(0x1ce, 2, dispi::kWidth);
  EXPECT_EQ(rig.in(0x1cf, 2), 1024U);
  state::Writer again;
  vga->save(again);
}

TEST(VgaConfig, MemoryHasLimits) {
  test::PciRig rig;
  EXPECT_FALSE(Vga::create(rig.services(), {.vgamem_mb = 0}, {}));
  EXPECT_FALSE(Vga::create(rig.services(), {.vgamem_mb = 513}, {}));
  EXPECT_TRUE(Vga::create(rig.services(), {.vgamem_mb = 3}, {}));
}

}  // namespace
}  // namespace doppel::hw
