// Holds our tables against ACPICA, where it is installed: iasl must take them apart and build them again without a
// complaint, acpiexec must load them and run _PRT, _CRS and the link devices' methods.
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>

#include "hw/firmware/acpi_test_support.h"
#include "hw/firmware/aml.h"
#include "hw/firmware/firmware_test_support.h"

namespace doppel::hw {
namespace {

namespace fs = std::filesystem;

class AcpiOracle : public ::testing::Test {
 protected:
  /// Runs COMMAND in the folder; its output, both streams.
  std::string run(const std::string& command) const {
    std::string output;
    FILE* pipe = ::popen(("cd '" + folder_.path().string() + "' && " + command + " 2>&1").c_str(), "r");
    if (pipe == nullptr) return "popen failed";
    char buffer[4096];
    while (const std::size_t got = std::fread(buffer, 1, sizeof buffer, pipe)) output.append(buffer, got);
    const int status = ::pclose(pipe);
    return output + (status == 0 ? "" : "\n[failed]");
  }

  void store(const std::string& name, const Bytes& bytes) const { (void)folder_.file(name, bytes); }

  void store_tables(const test::GuestAcpi& guest) const {
    for (const Bytes& table : guest.listed())
      store(std::string(reinterpret_cast<const char*>(table.data()), 4) + ".dat", table);
    store("DSDT.dat", guest.table("DSDT"));
  }

  /// Takes every table apart and builds it again.
  void check_round_trip(const test::GuestAcpi& guest) const {
    store_tables(guest);
    for (const fs::directory_entry& entry : fs::directory_iterator(folder_.path())) {
      const std::string stem = entry.path().stem().string();
      SCOPED_TRACE(stem);
      const std::string apart = run("iasl -d " + stem + ".dat");
      EXPECT_EQ(apart.find("[failed]"), std::string::npos) << apart;
      EXPECT_EQ(apart.find("Invalid"), std::string::npos) << apart;
      EXPECT_EQ(apart.find("Error"), std::string::npos) << apart;
      // 3168: Processor objects are what guests of the i440FX's age look for. 3073: so is a host bridge with _ADR.
      const std::string together = run("iasl -vw 3168 -vw 3073 -p " + stem + ".new " + stem + ".dsl");
      EXPECT_NE(together.find(" 0 Errors, 0 Warnings"), std::string::npos) << together;
    }
  }

  test::ScratchFolder folder_;
};

#define SKIP_WITHOUT(program) \
  if (!test::installed(program)) GTEST_SKIP() << program << " (acpica-tools) is not installed"

TEST_F(AcpiOracle, IaslRebuildsThePlainPc) {
  SKIP_WITHOUT("iasl");
  AcpiConfig config;
  config.ram_below_4g = 128 * kMiB;
  const auto guest = test::link(config);
  ASSERT_TRUE(guest);
  check_round_trip(*guest);
}

TEST_F(AcpiOracle, IaslRebuildsEverythingAtOnce) {
  SKIP_WITHOUT("iasl");
  const auto guest = test::link(test::rich_config());
  ASSERT_TRUE(guest);
  check_round_trip(*guest);
}

TEST_F(AcpiOracle, IaslRebuildsTheMicrovm) {
  SKIP_WITHOUT("iasl");
  const auto guest = test::link(test::microvm_config());
  ASSERT_TRUE(guest);
  check_round_trip(*guest);
}

/// acpiexec cannot print all 128 rows of _PRT at once: a table of our own picks single ones.
TEST_F(AcpiOracle, AcpiexecRoutesThePins) {
  SKIP_WITHOUT("acpiexec");
  const auto guest = test::link(test::rich_config());
  ASSERT_TRUE(guest);
  store_tables(*guest);
  AcpiTable picker("SSDT", 1, {"DOPPEL", "PICKER"});
  const aml::Term row = aml::dereference(aml::index("\\_SB.PCI0._PRT", aml::arg(0)));
  picker.body().bytes(aml::method("PICK", 1, {aml::return_(row)}).bytes());
  Bytes ssdt = picker.finish();
  ssdt[kAcpiChecksumOffset] = static_cast<std::byte>(checksum_of(ssdt));
  store("SSDT.dat", ssdt);

  struct Row {
    const char* number;  // hexadecimal: slot * 4 + pin
    std::uint32_t address;
    std::uint32_t pin;
    const char* link;
  };
  for (const Row& expected :
       {Row{"0", 0x0000ffff, 0, "LNKD"}, Row{"1", 0x0000ffff, 1, "LNKA"}, Row{"4", 0x0001ffff, 0, "LNKS"},
        Row{"7", 0x0001ffff, 3, "LNKD"}, Row{"8", 0x0002ffff, 0, "LNKB"}, Row{"0x7F", 0x001fffff, 3, "LNKB"}}) {
    const std::string output = run(fmt::format("acpiexec -b 'evaluate \\PICK {}' DSDT.dat SSDT.dat", expected.number));
    SCOPED_TRACE(output);
    EXPECT_NE(output.find("Contains 4 Elements"), std::string::npos);
    EXPECT_NE(output.find(fmt::format("= {:016X}", expected.address)), std::string::npos);
    EXPECT_NE(output.find(fmt::format("= {:016X}", expected.pin)), std::string::npos);
    EXPECT_NE(output.find(expected.link), std::string::npos);
  }
}

TEST_F(AcpiOracle, AcpiexecReadsThePciWindows) {
  SKIP_WITHOUT("acpiexec");
  const auto guest = test::link(test::rich_config());
  ASSERT_TRUE(guest);
  store_tables(*guest);
  const std::string output = run("acpiexec -b 'resources \\_SB.PCI0' DSDT.dat");
  EXPECT_EQ(output.find("Exception"), std::string::npos) << output;
  EXPECT_NE(output.find("Address Minimum : C0000000"), std::string::npos) << output;
  EXPECT_NE(output.find("0000000A3FFFFFFF"), std::string::npos) << output;
}

TEST_F(AcpiOracle, AcpiexecRunsTheLinkMethods) {
  SKIP_WITHOUT("acpiexec");
  const auto guest = test::link(test::rich_config());
  ASSERT_TRUE(guest);
  store_tables(*guest);
  for (const char* method : {"\\_SB.LNKA._STA", "\\_SB.LNKB._CRS", "\\_SB.LNKC._DIS", "\\_SB.LNKS._CRS", "\\_S5"}) {
    const std::string output = run(std::string("acpiexec -b 'evaluate ") + method + "' DSDT.dat");
    EXPECT_EQ(output.find("Exception"), std::string::npos) << method << ": " << output;
    EXPECT_EQ(output.find("rror"), std::string::npos) << method << ": " << output;
  }
}

}  // namespace
}  // namespace doppel::hw
