#include "hw/pci/piix4_pm.h"

#include <gtest/gtest.h>

#include "event/fake_clock.h"
#include "hw/pci/pci_test_rig.h"

namespace doppel::hw {
namespace {

constexpr std::uint64_t kPm = 0x600;
constexpr std::int64_t kCarryNs = event::ticks_to_ns(1U << 23U, AcpiPm1::kTimerHz) + 1;

struct Board {
  explicit Board(const Piix4PmOptions& options = {}) : options_(options) {
    EXPECT_TRUE(rig.bus.attach(pm, PciAddress{1, 3}));
    pm.reset();
  }
  /// What SeaBIOS does with the chip.
  void set_up() {
    pm.config_write(0x40, 4, kPm | 1);
    pm.config_write(0x80, 1, 1);
    pm.config_write(0x90, 4, 0x701);
    pm.config_write(0xd2, 1, 0x09);
  }

  Piix4PmOptions options_;
  test::PciRig rig;
  event::FakeClock clock;
  bool sci = false;
  IrqFunction sci_sink{[this](unsigned pin, bool level) {
    EXPECT_EQ(pin, 9U);
    sci = level;
  }};
  std::vector<SleepState> sleeps;
  unsigned smis = 0;
  Piix4Pm pm{rig.services(),
             clock,
             {&sci_sink, Piix4Pm::kSciIrq},
             options_,
             {[this](SleepState state) { sleeps.push_back(state); }, [this] { ++smis; }}};
};

using Sleeps = std::vector<SleepState>;

TEST(Piix4Pm, IdentifiesItself) {
  Board board;
  EXPECT_EQ(board.pm.config_read(0x00, 4), 0x7113'8086U);
  EXPECT_EQ(board.pm.config_read(0x08, 4), 0x0680'0003U);
  EXPECT_EQ(board.pm.config_read(0x3d, 1), 1U);
  EXPECT_EQ(board.pm.config_read(0x40, 4), 1U);
}

TEST(Piix4Pm, PortsAppearWhereFirmwarePutsThem) {
  Board board;
  EXPECT_EQ(board.rig.in(kPm + 4, 2), 0xffffU);
  board.set_up();
  EXPECT_EQ(board.pm.config_read(0x40, 4), kPm | 1);
  EXPECT_EQ(board.rig.in(kPm + 4, 2), 0U);
  board.clock.advance(event::kNsPerSecond);
  EXPECT_EQ(board.rig.in(kPm + 8, 4), 3'579'545U);
  board.pm.config_write(0x40, 4, 0xb000);
  EXPECT_EQ(board.rig.in(kPm + 4, 2), 0xffffU);
  EXPECT_EQ(board.rig.in(0xb004, 2), 0U);
  board.pm.config_write(0x80, 1, 0);
  EXPECT_EQ(board.rig.in(0xb004, 2), 0xffffU);
}

TEST(Piix4Pm, ABaseOfZeroIsNotDecoded) {
  Board board;
  board.pm.config_write(0x80, 1, 1);
  EXPECT_EQ(board.rig.in(4, 2), 0xffffU);
}

TEST(Piix4Pm, CommandPortSwitchesAcpiMode) {
  Board board;
  board.set_up();
  board.rig.out(0xb2, 1, 0xf1);
  EXPECT_EQ(board.rig.in(kPm + 4, 2), 1U);
  EXPECT_EQ(board.rig.in(0xb2), 0xf1U);
  board.rig.out(0xb2, 1, 0xf0);
  EXPECT_EQ(board.rig.in(kPm + 4, 2), 0U);
  board.rig.out(0xb3, 1, 0x5a);
  EXPECT_EQ(board.rig.in(0xb3), 0x5aU);
}

TEST(Piix4Pm, PowerButtonRaisesTheSci) {
  Board board;
  board.set_up();
  board.rig.out(kPm + 2, 2, 0x100);
  board.pm.power_button();
  EXPECT_FALSE(board.sci) << "not in ACPI mode yet";
  board.rig.out(0xb2, 1, 0xf1);
  EXPECT_TRUE(board.sci);
  board.rig.out(kPm, 2, 0x100);
  EXPECT_FALSE(board.sci);
  EXPECT_EQ(board.rig.in(kPm, 2), 0U);
}

TEST(Piix4Pm, TimerCarryRaisesTheSci) {
  Board board;
  board.set_up();
  board.rig.out(0xb2, 1, 0xf1);
  board.rig.out(kPm + 2, 2, 1);
  board.clock.advance(kCarryNs);
  EXPECT_TRUE(board.sci);
  board.rig.out(kPm, 2, 1);
  EXPECT_FALSE(board.sci);
  board.clock.advance(kCarryNs);
  EXPECT_TRUE(board.sci);
}

TEST(Piix4Pm, SoftOff) {
  Board board;
  board.set_up();
  board.rig.out(kPm + 4, 2, 0x0001);
  EXPECT_TRUE(board.sleeps.empty());
  board.rig.out(kPm + 4, 2, 0x2001);
  EXPECT_EQ(board.sleeps, Sleeps{SleepState::kS5});
  board.rig.out(kPm + 5, 1, 0x20);
  EXPECT_EQ(board.sleeps.size(), 2U);
}

TEST(Piix4Pm, SuspendAndHibernate) {
  Board board;
  board.set_up();
  board.rig.out(kPm + 4, 2, 0x2401);
  board.rig.out(kPm + 4, 2, 0x2801);
  board.rig.out(kPm + 4, 2, 0x3c01);
  EXPECT_EQ(board.sleeps, (Sleeps{SleepState::kS3, SleepState::kS4}));
}

TEST(Piix4Pm, DisabledSleepStatesAreIgnored) {
  Board board({.disable_s3 = true, .disable_s4 = true});
  board.set_up();
  board.rig.out(kPm + 4, 2, 0x2401);
  board.rig.out(kPm + 4, 2, 0x2801);
  EXPECT_TRUE(board.sleeps.empty());
}

TEST(Piix4Pm, WakingSetsItsStatus) {
  Board board;
  board.set_up();
  board.pm.wake(PmEvent::kPowerButton);
  EXPECT_EQ(board.rig.in(kPm, 2), 0x8100U);
  board.rig.out(kPm, 2, 0x8100);
  EXPECT_EQ(board.rig.in(kPm, 2), 0U);
}

TEST(Piix4Pm, GeneralPurposeEvents) {
  Board board;
  board.set_up();
  board.rig.out(0xb2, 1, 0xf1);
  board.pm.raise_gpe(1);
  board.pm.raise_gpe(9);
  board.pm.raise_gpe(16);
  EXPECT_EQ(board.rig.in(0xafe0, 2), 0x0202U);
  EXPECT_FALSE(board.sci);
  board.rig.out(0xafe3, 1, 0x02);
  EXPECT_TRUE(board.sci);
  EXPECT_EQ(board.rig.in(0xafe0, 4), 0x0200'0202U);
  board.rig.out(0xafe1, 1, 0xff);
  EXPECT_FALSE(board.sci);
  EXPECT_EQ(board.rig.in(0xafe0, 2), 0x0002U);
}

TEST(Piix4Pm, SmiNeedsSupportApmcAndGlobalEnable) {
  Board plain;
  plain.set_up();
  EXPECT_EQ(plain.pm.config_read(0x58, 4), 0x0200'0000U) << "tells firmware to leave SMM alone";
  plain.rig.out(kPm + 0x28, 4, 1);
  plain.rig.out(0xb2, 1, 0);
  EXPECT_EQ(plain.smis, 0U);

  Board board({.smm = true});
  board.set_up();
  EXPECT_EQ(board.pm.config_read(0x58, 4), 0U);
  board.pm.config_write(0x58, 4, 0x0200'0000);
  board.rig.out(0xb2, 1, 0);
  EXPECT_EQ(board.smis, 0U);
  board.rig.out(kPm + 0x28, 4, board.rig.in(kPm + 0x28, 4) | 1);
  board.rig.out(0xb2, 1, 0);
  EXPECT_EQ(board.smis, 1U);
  board.rig.out(0xb2, 1, 0xf1);
  EXPECT_EQ(board.smis, 1U);
}

TEST(Piix4Pm, SmbusAnswersWithADeviceError) {
  Board board;
  board.set_up();
  constexpr std::uint64_t kSmbus = 0x700;
  EXPECT_EQ(board.rig.in(kSmbus), 0U);
  board.rig.out(kSmbus + 4, 1, 0xa1);
  board.rig.out(kSmbus + 2, 1, 0x48);
  EXPECT_EQ(board.rig.in(kSmbus), 0x04U);
  EXPECT_EQ(board.rig.in(kSmbus + 2), 0x08U) << "START does not stay";
  EXPECT_EQ(board.rig.in(kSmbus + 4), 0xa1U);
  board.rig.out(kSmbus, 1, 0xff);
  EXPECT_EQ(board.rig.in(kSmbus), 0U);
  board.pm.config_write(0xd2, 1, 0x08);
  EXPECT_EQ(board.rig.in(kSmbus), 0xffU);
}

TEST(Piix4Pm, HostileAccessesAreHarmless) {
  Board board;
  board.set_up();
  for (std::uint64_t port = kPm - 4; port < kPm + 0x44; ++port)
    for (const unsigned size : {1U, 2U, 4U}) {
      (void)board.rig.in(port, size);
      board.rig.out(port, size, 0xffff'ffff);
    }
  for (std::uint64_t port = 0xafdd; port < 0xafe8; ++port) {
    (void)board.rig.in(port, 4);
    board.rig.out(port, 4, 0xffff'ffff);
  }
  for (unsigned offset = 0; offset < 256; offset += 4) board.pm.config_write(offset, 4, 0xffff'ffff);
  EXPECT_EQ(board.pm.config_read(0, 4), 0x7113'8086U);
  EXPECT_EQ(board.pm.config_read(0x40, 4), 0xffc1U);
  EXPECT_EQ(board.rig.in(0xffc4, 2), 0x1c03U);
}

TEST(Piix4Pm, ResetForgetsEverything) {
  Board board;
  board.set_up();
  board.rig.out(0xb2, 1, 0xf1);
  board.rig.out(kPm + 2, 2, 0x101);
  board.pm.power_button();
  EXPECT_TRUE(board.sci);
  board.pm.reset();
  EXPECT_FALSE(board.sci);
  EXPECT_EQ(board.rig.in(kPm, 4), 0xffff'ffffU);
  board.set_up();
  EXPECT_EQ(board.rig.in(kPm, 4), 0U);
  EXPECT_EQ(board.rig.in(kPm + 4, 2), 0U);
}

TEST(Piix4Pm, LeavesTheBusWithItsPorts) {
  Board board;
  board.set_up();
  board.rig.bus.detach(board.pm);
  EXPECT_EQ(board.rig.in(kPm + 4, 2), 0xffffU);
  EXPECT_EQ(board.rig.in(0xb2), 0xffU);
  EXPECT_EQ(board.rig.in(0xafe0), 0xffU);
}

TEST(Piix4Pm, StateRestoresPortsAndSci) {
  Board board;
  board.set_up();
  board.rig.out(0xb2, 1, 0xf1);
  board.rig.out(0xb3, 1, 0x77);
  board.rig.out(kPm + 2, 2, 0x101);
  board.rig.out(kPm + 0x28, 4, 0x1234'5678);
  board.pm.raise_gpe(3);
  board.pm.power_button();
  Board loaded;
  ASSERT_TRUE(test::transfer(board.pm, loaded.pm));
  EXPECT_TRUE(loaded.sci);
  EXPECT_EQ(loaded.rig.in(kPm, 4), 0x0101'0100U);
  EXPECT_EQ(loaded.rig.in(kPm + 4, 2), 1U);
  EXPECT_EQ(loaded.rig.in(kPm + 0x28, 4), 0x1234'5678U);
  EXPECT_EQ(loaded.rig.in(0xafe0, 2), 0x0008U);
  EXPECT_EQ(loaded.rig.in(0xb3), 0x77U);
  loaded.rig.out(kPm, 2, 0x100);
  EXPECT_FALSE(loaded.sci);
  loaded.clock.advance(kCarryNs);
  EXPECT_TRUE(loaded.sci) << "the timer is armed again";
}

}  // namespace
}  // namespace doppel::hw
