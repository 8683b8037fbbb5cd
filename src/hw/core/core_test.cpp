#include <gtest/gtest.h>

#include <vector>

#include "hw/core/device.h"
#include "hw/core/irq_line.h"
#include "hw/core/property.h"

namespace doppel::hw {
namespace {

class Chip final : public Device {
 public:
  explicit Chip(IrqPin pin) : line(*this, pin) {}
  [[nodiscard]] std::string_view name() const override { return "chip"; }
  void reset() override {}
  IrqLine line;
};

struct Wire {
  std::vector<bool> levels;
  IrqFunction sink{[this](unsigned, bool level) { levels.push_back(level); }};
};

TEST(IrqLine, TravelsOnlyWhenTheGuardLetsGo) {
  Wire wire;
  Chip chip({&wire.sink, 3});
  {
    const DeviceGuard guard(chip);
    chip.line.raise();
    EXPECT_TRUE(wire.levels.empty());
  }
  EXPECT_EQ(wire.levels, std::vector<bool>{true});
}

TEST(IrqLine, RepeatsNothing) {
  Wire wire;
  Chip chip({&wire.sink, 0});
  for (int i = 0; i < 3; ++i) {
    const DeviceGuard guard(chip);
    chip.line.raise();
  }
  EXPECT_EQ(wire.levels, std::vector<bool>{true});
}

TEST(IrqLine, PulseInOneHoldReachesTheSinkAsAnEdge) {
  Wire wire;
  Chip chip({&wire.sink, 0});
  {
    const DeviceGuard guard(chip);
    chip.line.raise();
    chip.line.lower();
  }
  EXPECT_EQ(wire.levels, (std::vector<bool>{true, false}));
}

TEST(IrqLine, EdgeOnAHighLineDropsItFirst) {
  Wire wire;
  Chip chip({&wire.sink, 0});
  for (int i = 0; i < 2; ++i) {
    const DeviceGuard guard(chip);
    chip.line.edge();
  }
  EXPECT_EQ(wire.levels, (std::vector<bool>{true, false, true}));
}

TEST(IrqLine, UnconnectedLineIsHarmless) {
  Chip chip({});
  const DeviceGuard guard(chip);
  chip.line.raise();
  EXPECT_TRUE(chip.line.level());
}

struct Config {
  bool flag = true;
  std::uint16_t port = 0x501;
  std::int32_t addr = -1;
  SizeValue size{4096};
  OnOffAuto mode = OnOffAuto::kAuto;
  std::string id = "x";
};

const PropertyTable<Config> kTable = {
    {"flag", &Config::flag, "a switch"}, {"port", &Config::port, "I/O port"},    {"addr", &Config::addr, "slot"},
    {"size", &Config::size, "bytes"},    {"mode", &Config::mode, "auto or not"}, {"id", &Config::id, "name"},
};

TEST(PropertyTable, ParsesEachType) {
  Config config;
  EXPECT_TRUE(kTable.set(config, "flag", "off"));
  EXPECT_TRUE(kTable.set(config, "port", "0xf4"));
  EXPECT_TRUE(kTable.set(config, "addr", "-3"));
  EXPECT_TRUE(kTable.set(config, "size", "2M"));
  EXPECT_TRUE(kTable.set(config, "mode", "on"));
  EXPECT_TRUE(kTable.set(config, "id", "abc"));
  EXPECT_FALSE(config.flag);
  EXPECT_EQ(config.port, 0xf4);
  EXPECT_EQ(config.addr, -3);
  EXPECT_EQ(config.size.bytes, 2U << 20U);
  EXPECT_EQ(config.mode, OnOffAuto::kOn);
  EXPECT_EQ(config.id, "abc");
}

TEST(PropertyTable, ErrorsSayWhatIsExpected) {
  Config config;
  EXPECT_EQ(kTable.set(config, "port", "65536").error().message(),
            "property 'port' expects a number up to 65535, not '65536'");
  EXPECT_EQ(kTable.set(config, "flag", "maybe").error().message(),
            "property 'flag' expects 'on' or 'off', not 'maybe'");
  EXPECT_EQ(kTable.set(config, "prot", "1").error().message(), "there is no property 'prot' (did you mean 'port'?)");
}

TEST(PropertyTable, DescribesTypesAndDefaults) {
  const auto rows = kTable.describe();
  ASSERT_EQ(rows.size(), 6U);
  EXPECT_EQ(rows[1].type, "uint16");
  EXPECT_EQ(rows[1].default_text, "1281");
  EXPECT_EQ(rows[3].type, "size");
}

}  // namespace
}  // namespace doppel::hw
