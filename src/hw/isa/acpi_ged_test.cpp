#include "hw/isa/acpi_ged.h"

#include <gtest/gtest.h>

namespace doppel::hw {
namespace {

struct Fixture : testing::Test {
  int power_offs = 0;
  int resets = 0;
  AcpiGed chip{{.power_off = [this] { ++power_offs; }, .reset = [this] { ++resets; }}};
};
using AcpiGedTest = Fixture;

TEST_F(AcpiGedTest, SleepEnableWithS5PowersOff) {
  chip.write(AcpiGed::kSleepControl, 1, 1U << 5U | AcpiGed::kSleepTypeS5 << 2U);
  EXPECT_EQ(power_offs, 1);
}

TEST_F(AcpiGedTest, TypeWithoutEnableAndOtherTypesDoNothing) {
  chip.write(AcpiGed::kSleepControl, 1, AcpiGed::kSleepTypeS5 << 2U);
  chip.write(AcpiGed::kSleepControl, 1, 1U << 5U | 1U << 2U);
  EXPECT_EQ(power_offs, 0);
}

TEST_F(AcpiGedTest, OnlyTheResetValueResets) {
  chip.write(AcpiGed::kReset, 1, 0x41);
  EXPECT_EQ(resets, 0);
  chip.write(AcpiGed::kReset, 1, AcpiGed::kResetValue);
  EXPECT_EQ(resets, 1);
}

TEST_F(AcpiGedTest, ReadsAsZeroAndIgnoresTheStatusRegister) {
  chip.write(AcpiGed::kSleepStatus, 1, 0xff);
  for (std::uint64_t offset = 0; offset < AcpiGed::kSize; ++offset) EXPECT_EQ(chip.read(offset, 1), 0U);
  EXPECT_EQ(power_offs + resets, 0);
}

}  // namespace
}  // namespace doppel::hw
