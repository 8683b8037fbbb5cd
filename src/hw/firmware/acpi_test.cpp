#include "hw/firmware/acpi.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "hw/firmware/acpi_test_support.h"
#include "hw/firmware/firmware_test_support.h"

namespace doppel::hw {
namespace {

using test::GuestAcpi;
using test::text_of;

GuestAcpi linked(const AcpiConfig& config) {
  auto guest = test::link(config);
  EXPECT_TRUE(guest) << guest.error().describe();
  return guest ? std::move(*guest) : GuestAcpi{};
}

/// Entries of a MADT or SRAT: type to bodies.
std::vector<Bytes> entries(const Bytes& table, std::size_t start, unsigned type) {
  std::vector<Bytes> found;
  for (std::size_t at = start; at + 2 <= table.size();) {
    const auto length = std::to_integer<std::size_t>(table[at + 1]);
    if (length < 2 || at + length > table.size()) {
      ADD_FAILURE() << "entry of " << length << " bytes at " << at;
      break;
    }
    const auto from = table.begin() + static_cast<std::ptrdiff_t>(at);
    if (std::to_integer<unsigned>(table[at]) == type)
      found.emplace_back(from, from + static_cast<std::ptrdiff_t>(length));
    at += length;
  }
  return found;
}

TEST(Acpi, EveryTableSumsToZeroAndHasItsHeader) {
  for (const AcpiConfig& config : {AcpiConfig{}, test::rich_config(), test::microvm_config()}) {
    const GuestAcpi guest = linked(config);
    std::vector<Bytes> tables = guest.listed();
    tables.push_back(guest.table("DSDT"));
    for (const Bytes& table : tables) {
      ASSERT_GE(table.size(), kAcpiHeaderSize);
      EXPECT_EQ(checksum_of(table), 0) << text_of(std::span(table).first(4));
      EXPECT_EQ(text_of(std::span(table).subspan(10, 14)), "DOPPELDOPPELPC");
    }
  }
}

TEST(Acpi, OldRsdpHasTheRsdtAlone) {
  const GuestAcpi guest = linked({});
  ASSERT_EQ(guest.rsdp().size(), 20U);
  EXPECT_EQ(text_of(std::span(guest.rsdp()).first(8)), "RSD PTR ");
  EXPECT_EQ(checksum_of(guest.rsdp()), 0);
  EXPECT_EQ(guest.rsdp()[15], std::byte{0});
  std::vector<std::string> names;
  for (const Bytes& table : guest.listed()) names.push_back(text_of(std::span(table).first(4)));
  EXPECT_EQ(names, (std::vector<std::string>{"FACP", "APIC", "HPET", "WAET"}));
}

TEST(Acpi, NewRsdpHasBothRootsAndTheyAgree) {
  const GuestAcpi guest = linked(test::rich_config());
  ASSERT_EQ(guest.rsdp().size(), 36U);
  EXPECT_EQ(checksum_of(guest.rsdp()), 0);
  EXPECT_EQ(checksum_of(std::span(guest.rsdp()).first(20)), 0);
  EXPECT_EQ(guest.listed(false), guest.listed(true));
  EXPECT_FALSE(guest.table("SRAT").empty());
  EXPECT_FALSE(guest.table("SLIT").empty());
}

TEST(Acpi, FacsLiesOn64Bytes) {
  const GuestAcpi guest = linked({});
  const Bytes fadt = guest.table("FACP");
  const auto address = load_le<std::uint32_t>(fadt.data() + 36);
  EXPECT_EQ(address % 64, 0U);
  EXPECT_EQ(text_of(guest.at(address)).substr(0, 4), "FACS");
  EXPECT_EQ(guest.at(address).size(), 64U);
}

TEST(Acpi, FadtOfThePc) {
  const Bytes fadt = linked({}).table("FACP");
  ASSERT_EQ(fadt.size(), 244U);
  EXPECT_EQ(fadt[8], std::byte{3});
  const auto u16 = [&](std::size_t at) { return load_le<std::uint16_t>(fadt.data() + at); };
  const auto u32 = [&](std::size_t at) { return load_le<std::uint32_t>(fadt.data() + at); };
  EXPECT_EQ(u16(46), 9);
  EXPECT_EQ(u32(48), 0xb2U);
  EXPECT_EQ(fadt[52], std::byte{0xf1});
  EXPECT_EQ(fadt[53], std::byte{0xf0});
  EXPECT_EQ(u32(56), 0x600U);
  EXPECT_EQ(u32(64), 0x604U);
  EXPECT_EQ(u32(76), 0x608U);
  EXPECT_EQ(u32(80), 0xafe0U);
  EXPECT_EQ(fadt[88], std::byte{4});
  EXPECT_EQ(fadt[89], std::byte{2});
  EXPECT_EQ(fadt[91], std::byte{4});
  EXPECT_EQ(fadt[92], std::byte{4});
  EXPECT_EQ(fadt[108], std::byte{0x32}) << "century";
  EXPECT_EQ(u16(109), 3) << "legacy devices, 8042";
  EXPECT_EQ(u32(112), 0x84a5U);
  EXPECT_EQ(u16(120), 0xcf9) << "reset register";
  EXPECT_EQ(fadt[128], std::byte{0x0f});
  EXPECT_EQ(load_le<std::uint64_t>(fadt.data() + 132), 0U) << "one FACS pointer is enough";
  EXPECT_EQ(load_le<std::uint64_t>(fadt.data() + 140), u32(40)) << "both DSDT pointers agree";
  EXPECT_EQ(load_le<std::uint64_t>(fadt.data() + 148 + 4), 0x600U) << "X_PM1a_EVT_BLK";
  EXPECT_EQ(load_le<std::uint64_t>(fadt.data() + 220 + 4), 0xafe0U) << "X_GPE0_BLK";
}

TEST(Acpi, FadtOfTheMicrovmIsHardwareReduced) {
  const Bytes fadt = linked(test::microvm_config()).table("FACP");
  ASSERT_EQ(fadt.size(), 268U);
  EXPECT_EQ(load_le<std::uint32_t>(fadt.data() + 112) & (1U << 20), 1U << 20);
  EXPECT_EQ(load_le<std::uint32_t>(fadt.data() + 36), 0U) << "no FACS";
  EXPECT_EQ(load_le<std::uint64_t>(fadt.data() + 120), 0xfea00202U);
  EXPECT_EQ(load_le<std::uint64_t>(fadt.data() + 248), 0xfea00200U);
  EXPECT_EQ(load_le<std::uint64_t>(fadt.data() + 260), 0xfea00201U);
}

TEST(Acpi, MadtOfThePc) {
  AcpiConfig config;
  config.cpus = {{0, 0, true}, {4, 0, false}};
  const Bytes madt = linked(config).table("APIC");
  EXPECT_EQ(load_le<std::uint32_t>(madt.data() + 36), 0xfee00000U);
  EXPECT_EQ(load_le<std::uint32_t>(madt.data() + 40), 1U);
  const auto cpus = entries(madt, 44, 0);
  ASSERT_EQ(cpus.size(), 2U);
  EXPECT_EQ(cpus[1][3], std::byte{4});
  EXPECT_EQ(cpus[0][4], std::byte{1});
  EXPECT_EQ(cpus[1][4], std::byte{0}) << "not present";
  const auto io_apics = entries(madt, 44, 1);
  ASSERT_EQ(io_apics.size(), 1U);
  EXPECT_EQ(load_le<std::uint32_t>(io_apics[0].data() + 4), 0xfec00000U);
  EXPECT_EQ(load_le<std::uint32_t>(io_apics[0].data() + 8), 0U);
  std::vector<std::array<unsigned, 3>> overrides;
  for (const Bytes& entry : entries(madt, 44, 2))
    overrides.push_back({std::to_integer<unsigned>(entry[3]), load_le<std::uint32_t>(entry.data() + 4),
                         load_le<std::uint16_t>(entry.data() + 8)});
  EXPECT_EQ(overrides,
            (std::vector<std::array<unsigned, 3>>{{0, 2, 0}, {5, 5, 13}, {9, 9, 13}, {10, 10, 13}, {11, 11, 13}}));
  const auto nmis = entries(madt, 44, 4);
  ASSERT_EQ(nmis.size(), 1U);
  EXPECT_EQ(nmis[0][2], std::byte{0xff});
  EXPECT_EQ(nmis[0][5], std::byte{1});
}

TEST(Acpi, LargeApicIdsAreX2Apic) {
  AcpiConfig config;
  config.cpus = {{254, 0, true}, {255, 0, true}, {256, 0, true}};
  const Bytes madt = linked(config).table("APIC");
  EXPECT_EQ(entries(madt, 44, 0).size(), 1U);
  const auto large = entries(madt, 44, 9);
  ASSERT_EQ(large.size(), 2U);
  EXPECT_EQ(load_le<std::uint32_t>(large[0].data() + 4), 255U);
  EXPECT_EQ(load_le<std::uint32_t>(large[0].data() + 12), 1U) << "processor UID";
  EXPECT_EQ(entries(madt, 44, 10).size(), 1U);
}

TEST(Acpi, SratSplitsMemoryAroundTheHoles) {
  const Bytes srat = linked(test::rich_config()).table("SRAT");
  std::vector<std::array<std::uint64_t, 3>> ranges;
  for (const Bytes& entry : entries(srat, 48, 1))
    ranges.push_back({load_le<std::uint32_t>(entry.data() + 2), load_le<std::uint64_t>(entry.data() + 8),
                      load_le<std::uint64_t>(entry.data() + 16)});
  EXPECT_EQ(ranges, (std::vector<std::array<std::uint64_t, 3>>{
                        {0, 0, 640 * kKiB}, {0, kMiB, 3 * kGiB - kMiB}, {0, 4 * kGiB, kGiB}, {1, 5 * kGiB, 4 * kGiB}}));
  EXPECT_EQ(entries(srat, 48, 0).size(), 3U);
  const auto x2apic = entries(srat, 48, 2);
  ASSERT_EQ(x2apic.size(), 1U);
  EXPECT_EQ(load_le<std::uint32_t>(x2apic[0].data() + 4), 1U);
  EXPECT_EQ(load_le<std::uint32_t>(x2apic[0].data() + 8), 300U);
}

TEST(Acpi, SlitIsTheMatrix) {
  const Bytes slit = linked(test::rich_config()).table("SLIT");
  EXPECT_EQ(load_le<std::uint64_t>(slit.data() + 36), 2U);
  EXPECT_EQ(text_of(std::span(slit).subspan(44)), "\x0a\x15\x15\x0a");
}

TEST(Acpi, SlicNamesGoToRsdtAndFadt) {
  AcpiConfig config;
  const auto slic = parse_acpi_table_option("sig=SLIC,oem_id=WINDOW,oem_table_id=LICENSED");
  ASSERT_TRUE(slic);
  config.user_tables.push_back(*slic);
  const GuestAcpi guest = linked(config);
  const auto names = [](const Bytes& table) { return text_of(std::span(table).subspan(10, 14)); };
  EXPECT_EQ(names(guest.table("FACP")), "WINDOWLICENSED");
  EXPECT_EQ(names(guest.at(load_le<std::uint32_t>(guest.rsdp().data() + 16))), "WINDOWLICENSED");
  EXPECT_EQ(names(guest.table("APIC")), "DOPPELDOPPELPC");
  EXPECT_EQ(guest.table("SLIC"), *slic);
}

TEST(Acpi, BadConfigurationsAreErrors) {
  AcpiConfig config;
  config.oem_id = "TOOLONG";
  EXPECT_FALSE(build_acpi(config));
  config = {};
  config.cpus.clear();
  EXPECT_FALSE(build_acpi(config));
  config = {};
  config.user_tables.emplace_back(10);
  EXPECT_FALSE(build_acpi(config));
}

TEST(Acpi, FwCfgFilesFollowTheMachine) {
  FwCfg fw_cfg(std::nullopt);
  AcpiConfig config;
  ASSERT_TRUE(add_acpi(fw_cfg, [&] { return config; }));
  const Bytes before = fw_cfg.file(kAcpiTablesFile);
  EXPECT_EQ(before.size() % 4096, 0U);
  EXPECT_EQ(fw_cfg.file_names(), (std::vector<std::string>{"etc/acpi/rsdp", "etc/acpi/tables", "etc/table-loader"}));

  config.pci_hole_64 = {0x100000000, 0x900000000};  // as if firmware had set up the windows
  fw_cfg.write(0, 2, 0x22);
  fw_cfg.write(0, 2, 0x21);
  const Bytes after = fw_cfg.file(kAcpiTablesFile);
  EXPECT_EQ(before.size(), after.size());
  EXPECT_NE(before, after);
  EXPECT_EQ(fw_cfg.file(kTableLoaderFile), build_acpi(config)->loader.encode());
}

TEST(Acpi, PlacedTablesAreFoundInMemory) {
  test::GuestMemory guest(2 * kMiB);
  const auto rsdp = place_acpi(test::microvm_config(), guest.dma());
  ASSERT_TRUE(rsdp) << rsdp.error().describe();
  EXPECT_EQ(*rsdp, kDirectRsdpBase);
  EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(guest.at(*rsdp)), 8), "RSD PTR ");
  const auto xsdt = guest.get<std::uint64_t>(*rsdp + 24);
  EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(guest.at(xsdt)), 4), "XSDT");
  EXPECT_EQ(checksum_of({guest.at(xsdt), guest.get<std::uint32_t>(xsdt + 4)}), 0);

  test::GuestMemory small(64 * kKiB);
  EXPECT_FALSE(place_acpi(test::microvm_config(), small.dma()));
  const auto crowded = place_acpi(test::microvm_config(), guest.dma(), {0xe0040, 0xe0100});
  ASSERT_FALSE(crowded);
  EXPECT_THAT(crowded.error().message(), ::testing::HasSubstr("there is room for 192 B"));
}

TEST(AcpiTableOption, FieldsMakeAHeader) {
  const test::ScratchFolder folder;
  const auto table = parse_acpi_table_option(
      "sig=TEST,rev=2,oem_id=ME,oem_table_id=MINE,oem_rev=0x10,asl_compiler_id=CC,asl_compiler_rev=3,data=" +
      folder.file("one", "abc") + ":" + folder.file("two", "de"));
  ASSERT_TRUE(table) << table.error().describe();
  ASSERT_EQ(table->size(), 41U);
  EXPECT_EQ(text_of(*table).substr(0, 4), "TEST");
  EXPECT_EQ(load_le<std::uint32_t>(table->data() + 4), 41U);
  EXPECT_EQ((*table)[8], std::byte{2});
  EXPECT_EQ(text_of(*table).substr(10, 14), std::string("ME\0\0\0\0MINE\0\0\0\0", 14));
  EXPECT_EQ(load_le<std::uint32_t>(table->data() + 24), 0x10U);
  EXPECT_EQ(text_of(*table).substr(36), "abcde");
  EXPECT_EQ(checksum_of(*table), 0);
}

TEST(AcpiTableOption, FileKeepsItsHeaderButForWhatIsSaid) {
  const test::ScratchFolder folder;
  const Bytes original = *parse_acpi_table_option("sig=SSDT,rev=7");
  const auto table = parse_acpi_table_option("oem_id=OTHER,file=" + folder.file("t", original));
  ASSERT_TRUE(table);
  EXPECT_EQ(text_of(*table).substr(0, 4), "SSDT");
  EXPECT_EQ((*table)[8], std::byte{7});
  EXPECT_EQ(text_of(*table).substr(10, 6), std::string("OTHER\0", 6));
  EXPECT_EQ(checksum_of(*table), 0);
}

TEST(AcpiTableOption, MistakesAreNamed) {
  const test::ScratchFolder folder;
  const auto message = [](const std::string& option) {
    const auto table = parse_acpi_table_option(option);
    return table ? "" : table.error().message();
  };
  EXPECT_THAT(message("sgi=TEST"), ::testing::HasSubstr("did you mean 'sig'"));
  EXPECT_THAT(message("sig=TOOLONG"), ::testing::HasSubstr("at most 4 characters"));
  EXPECT_THAT(message("rev=256"), ::testing::HasSubstr("expects a number"));
  EXPECT_THAT(message("data=/nonexistent/x"), ::testing::HasSubstr("cannot open"));
  EXPECT_THAT(message("file=" + folder.file("short", "abc")), ::testing::HasSubstr("too short"));
  EXPECT_THAT(message("data=a,file=b"), ::testing::HasSubstr("not several"));
}

}  // namespace
}  // namespace doppel::hw
