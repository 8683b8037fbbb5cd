// The devices of one port each: port 92h, isa-debug-exit, pvpanic, port 80h.
#include <gtest/gtest.h>

#include <vector>

#include "hw/isa/debug_exit.h"
#include "hw/isa/port92.h"
#include "hw/isa/post_code.h"
#include "hw/isa/pvpanic.h"

namespace doppel::hw {
namespace {

class Port92Test : public ::testing::Test {
 protected:
  std::vector<bool> a20;
  int resets = 0;
  Port92 port{{[this](bool open) { a20.push_back(open); }, [this] { ++resets; }}};
};

TEST_F(Port92Test, GatesA20) {
  port.write(0, 1, 0x02);
  port.write(0, 1, 0x02);
  EXPECT_EQ(port.read(0, 1), 0x02U);
  port.write(0, 1, 0x00);
  EXPECT_EQ(a20, (std::vector<bool>{true, false}));
  EXPECT_EQ(resets, 0);
}

TEST_F(Port92Test, ResetsWhenBitZeroRises) {
  port.write(0, 1, 0x01);
  port.write(0, 1, 0x03);
  EXPECT_EQ(resets, 1);
  port.reset();
  EXPECT_EQ(port.read(0, 1), 0U);
  EXPECT_EQ(a20, (std::vector<bool>{true, false}));
  port.write(0, 1, 0x01);
  EXPECT_EQ(resets, 2);
}

TEST_F(Port92Test, StateRoundTrip) {
  port.write(0, 1, 0x02);
  state::Writer writer;
  port.save(writer);
  port.reset();
  state::Reader reader(writer.bytes());
  ASSERT_TRUE(port.load(reader));
  EXPECT_EQ(a20, (std::vector<bool>{true, false, true}));
}

TEST_F(Port92Test, WideAccessesAreDropped) {
  port.write(0, 4, 0xff);
  EXPECT_EQ(port.read(0, 2), 0xffffU);
  EXPECT_EQ(resets, 0);
}

TEST(DebugExit, StatusIsNeverZero) {
  std::vector<int> statuses;
  DebugExit device({}, [&](int status) { statuses.push_back(status); });
  EXPECT_EQ(device.port(), 0x501U);
  EXPECT_EQ(device.ports(), 2U);
  device.write(0, 1, 0);
  device.write(1, 1, 0x10);
  device.write(0, 2, 0xffff);
  EXPECT_EQ(statuses, (std::vector{1, 0x21, 0x1ffff}));
  EXPECT_EQ(device.read(0, 1), 0U);
}

TEST(DebugExit, Properties) {
  DebugExitConfig config;
  ASSERT_TRUE(kDebugExitProperties.set(config, "iobase", "0xf4"));
  ASSERT_TRUE(kDebugExitProperties.set(config, "iosize", "0x04"));
  DebugExit device(config, {});
  EXPECT_EQ(device.port(), 0xf4U);
  EXPECT_EQ(device.ports(), 4U);
  device.write(0, 4, 0xffffffff);
}

TEST(Pvpanic, ReportsWhatItOffers) {
  std::vector<PvpanicEvent> events;
  Pvpanic device({}, [&](PvpanicEvent event) { events.push_back(event); });
  EXPECT_EQ(device.port(), 0x505U);
  EXPECT_EQ(device.read(0, 1), 3U);
  device.write(0, 1, 1);
  device.write(0, 1, 2);
  device.write(0, 1, 0xfc);
  EXPECT_EQ(events, (std::vector{PvpanicEvent::kPanicked, PvpanicEvent::kCrashLoaded}));
}

TEST(Pvpanic, EventsCanBeTakenAway) {
  int reports = 0;
  PvpanicConfig config;
  ASSERT_TRUE(kPvpanicProperties.set(config, "events", "1"));
  Pvpanic device(config, [&](PvpanicEvent) { ++reports; });
  EXPECT_EQ(device.read(0, 1), 1U);
  device.write(0, 1, 2);
  EXPECT_EQ(reports, 0);
}

TEST(PostCode, RemembersTheLast) {
  PostCode port;
  port.write(0, 1, 0x55);
  EXPECT_EQ(port.last(), 0x55U);
  EXPECT_EQ(port.read(0, 1), 0x55U);
  port.reset();
  EXPECT_EQ(port.last(), 0U);
}

}  // namespace
}  // namespace doppel::hw
