#include "hw/firmware/smbios.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "hw/firmware/firmware_test_support.h"

namespace doppel::hw {
namespace {

using test::text_of;

struct Parsed {
  unsigned type = 0;
  unsigned handle = 0;
  Bytes area;
  std::vector<std::string> strings;
  /// The string whose number stands at OFFSET.
  [[nodiscard]] std::string at(std::size_t offset) const {
    const auto number = std::to_integer<std::size_t>(area[offset]);
    return number == 0 || number > strings.size() ? "" : strings[number - 1];
  }
};

std::vector<Parsed> parse(const Bytes& bytes) {
  std::vector<Parsed> structures;
  for (std::size_t at = 0; at + 4 <= bytes.size();) {
    Parsed parsed;
    const auto length = std::to_integer<std::size_t>(bytes[at + 1]);
    parsed.type = std::to_integer<unsigned>(bytes[at]);
    parsed.handle = load_le<std::uint16_t>(bytes.data() + at + 2);
    parsed.area.assign(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                       bytes.begin() + static_cast<std::ptrdiff_t>(at + length));
    at += length;
    while (bytes[at] != std::byte{0}) {
      parsed.strings.emplace_back(reinterpret_cast<const char*>(bytes.data() + at));
      at += parsed.strings.back().size() + 1;
    }
    at += parsed.strings.empty() ? 2U : 1U;
    structures.push_back(std::move(parsed));
  }
  return structures;
}

const Parsed& find(const std::vector<Parsed>& structures, unsigned type) {
  static const Parsed none;
  for (const Parsed& parsed : structures)
    if (parsed.type == type) return parsed;
  ADD_FAILURE() << "no structure of type " << type;
  return none;
}

SmbiosConfig small_config() {
  SmbiosConfig config;
  config.ram_size = 20 * kGiB;
  config.ram = {{0, 3 * kGiB}, {4 * kGiB, 21 * kGiB}};
  config.sockets = 2;
  config.cores_per_socket = 4;
  config.threads_per_core = 2;
  config.cpuid_1_eax = 0x663;
  config.cpuid_1_edx = 0x078bfbfd;
  for (std::size_t i = 0; i < 16; ++i) config.uuid[i] = static_cast<std::byte>(i);
  return config;
}

TEST(Smbios, StructuresInTheirOrderAndLengths) {
  const auto tables = build_smbios(small_config());
  ASSERT_TRUE(tables);
  std::vector<std::array<unsigned, 3>> seen;
  for (const Parsed& parsed : parse(tables->structures))
    seen.push_back({parsed.type, parsed.handle, static_cast<unsigned>(parsed.area.size())});
  EXPECT_EQ(seen, (std::vector<std::array<unsigned, 3>>{{1, 0x100, 27},
                                                        {3, 0x300, 22},
                                                        {4, 0x400, 42},
                                                        {4, 0x401, 42},
                                                        {16, 0x1000, 23},
                                                        {17, 0x1100, 40},
                                                        {17, 0x1101, 40},
                                                        {19, 0x1300, 31},
                                                        {19, 0x1301, 31},
                                                        {32, 0x2000, 11},
                                                        {127, 0x7f00, 4}}));
}

TEST(Smbios, ThirtyTwoBitAnchor) {
  const auto tables = build_smbios(small_config());
  ASSERT_TRUE(tables);
  const Bytes& anchor = tables->anchor;
  ASSERT_EQ(anchor.size(), 31U);
  EXPECT_EQ(text_of(anchor).substr(0, 4), "_SM_");
  EXPECT_EQ(text_of(anchor).substr(16, 5), "_DMI_");
  EXPECT_EQ(checksum_of(anchor), 0);
  EXPECT_EQ(checksum_of(std::span(anchor).subspan(16)), 0);
  EXPECT_EQ(anchor[6], std::byte{2});
  EXPECT_EQ(anchor[7], std::byte{8});
  EXPECT_EQ(load_le<std::uint16_t>(anchor.data() + 22), tables->structures.size());
  EXPECT_EQ(load_le<std::uint16_t>(anchor.data() + 28), 11U);
}

TEST(Smbios, SixtyFourBitAnchorAndWiderCounts) {
  SmbiosConfig config = small_config();
  config.entry_point = SmbiosEntryPoint::k64;
  config.cores_per_socket = 300;
  const auto tables = build_smbios(config);
  ASSERT_TRUE(tables);
  ASSERT_EQ(tables->anchor.size(), 24U);
  EXPECT_EQ(text_of(tables->anchor).substr(0, 5), "_SM3_");
  EXPECT_EQ(checksum_of(tables->anchor), 0);
  EXPECT_EQ(load_le<std::uint32_t>(tables->anchor.data() + 12), tables->structures.size());
  const auto structures = parse(tables->structures);
  const Parsed& cpu = find(structures, 4);
  ASSERT_EQ(cpu.area.size(), 48U);
  EXPECT_EQ(cpu.area[0x23], std::byte{0xff});
  EXPECT_EQ(load_le<std::uint16_t>(cpu.area.data() + 0x2a), 300U);
  EXPECT_EQ(load_le<std::uint16_t>(cpu.area.data() + 0x2e), 600U);
}

TEST(Smbios, SystemAndProcessor) {
  const auto structures = parse(build_smbios(small_config())->structures);
  const Parsed& system = find(structures, 1);
  EXPECT_EQ(system.at(4), "Doppel");
  EXPECT_EQ(system.at(5), "Standard PC (i440FX + PIIX, 1996)");
  EXPECT_EQ(text_of(std::span(system.area).subspan(8, 16)),
            std::string("\3\2\1\0\5\4\7\6\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f", 16))
      << "the first three fields of the UUID are little-endian";
  const Parsed& cpu = find(structures, 4);
  EXPECT_EQ(cpu.at(4), "CPU 0");
  EXPECT_EQ(load_le<std::uint64_t>(cpu.area.data() + 8), 0x078bfbfd00000663U);
  EXPECT_EQ(cpu.area[0x23], std::byte{4});
  EXPECT_EQ(cpu.area[0x25], std::byte{8});
}

TEST(Smbios, Memory) {
  const auto structures = parse(build_smbios(small_config())->structures);
  const Parsed& array = find(structures, 16);
  EXPECT_EQ(load_le<std::uint32_t>(array.area.data() + 7), 20U * 1024 * 1024);
  EXPECT_EQ(load_le<std::uint16_t>(array.area.data() + 13), 2U);
  EXPECT_EQ(load_le<std::uint16_t>(structures[5].area.data() + 12), 16384U) << "MiB of the first module";
  EXPECT_EQ(load_le<std::uint16_t>(structures[6].area.data() + 12), 4096U);
  EXPECT_EQ(structures[6].at(16), "DIMM 1");
  EXPECT_EQ(load_le<std::uint32_t>(structures[8].area.data() + 4), 4U * 1024 * 1024);
  EXPECT_EQ(load_le<std::uint32_t>(structures[8].area.data() + 8), 21U * 1024 * 1024 - 1);
}

TEST(Smbios, HugeMemoryUsesTheExtendedFields) {
  SmbiosConfig config = small_config();
  config.ram_size = 12 * kTiB;
  config.ram = {{4 * kGiB, 12 * kTiB}};
  const auto structures = parse(build_smbios(config)->structures);
  const Parsed& array = find(structures, 16);
  EXPECT_EQ(load_le<std::uint32_t>(array.area.data() + 7), 0x80000000U);
  EXPECT_EQ(load_le<std::uint64_t>(array.area.data() + 15), 12 * kTiB);
  const Parsed& module = find(structures, 17);
  EXPECT_EQ(load_le<std::uint16_t>(module.area.data() + 12), 0x7fff);
  EXPECT_EQ(load_le<std::uint32_t>(module.area.data() + 28), 64 * 1024U) << "64 GiB modules";
  const Parsed& range = find(structures, 19);
  EXPECT_EQ(load_le<std::uint32_t>(range.area.data() + 4), 0xffffffffU);
  EXPECT_EQ(load_le<std::uint64_t>(range.area.data() + 23), 12 * kTiB - 1);
}

TEST(Smbios, OptionsFillFields) {
  SmbiosConfig config = small_config();
  for (const char* option :
       {"type=0,vendor=V,version=1,date=01/02/2003,release=4.5,uefi=on", "type=1,product=Thing,, and more,serial=S",
        "type=1,uuid=12345678-9abc-def0-1122-334455667788,sku=K,family=F", "type=2,location=L", "type=3,asset=A",
        "type=4,sock_pfx=Slot,max-speed=3000,processor-id=0x1122334455667788",
        "type=11,value=one,value=", "type=17,loc_pfx=Bay,speed=3200,bank=B"}) {
    const auto parsed = config.options.parse(option);
    ASSERT_TRUE(parsed) << parsed.error().describe();
  }
  const auto structures = parse(build_smbios(config)->structures);
  const Parsed& bios = find(structures, 0);
  ASSERT_EQ(bios.area.size(), 24U);
  EXPECT_EQ(bios.at(8), "01/02/2003");
  EXPECT_EQ(bios.area[19], std::byte{0x1c});
  EXPECT_EQ(bios.area[20], std::byte{4});
  EXPECT_EQ(bios.area[21], std::byte{5});
  const Parsed& system = find(structures, 1);
  EXPECT_EQ(system.at(5), "Thing, and more");
  EXPECT_EQ(load_le<std::uint32_t>(system.area.data() + 8), 0x12345678U);
  EXPECT_EQ(system.at(26), "F");
  const Parsed& board = find(structures, 2);
  ASSERT_EQ(board.area.size(), 15U);
  EXPECT_EQ(board.at(10), "L");
  EXPECT_EQ(find(structures, 3).at(8), "A");
  EXPECT_EQ(find(structures, 4).at(4), "Slot 0");
  EXPECT_EQ(load_le<std::uint64_t>(find(structures, 4).area.data() + 8), 0x1122334455667788U);
  EXPECT_EQ(load_le<std::uint16_t>(find(structures, 4).area.data() + 20), 3000U);
  const Parsed& oem = find(structures, 11);
  EXPECT_EQ(oem.area[4], std::byte{2});
  EXPECT_EQ(oem.strings, (std::vector<std::string>{"one", " "}));
  EXPECT_EQ(find(structures, 17).at(17), "B");
}

TEST(Smbios, FilesReplaceWholeTypes) {
  const test::ScratchFolder folder;
  SmbiosConfig config = small_config();
  const std::string own = std::string("\x01\x08\x00\x01\x01\x00\x00\x00mine\0\0", 14);
  ASSERT_TRUE(config.options.parse("file=" + folder.file("own", own)));
  const auto structures = parse(build_smbios(config)->structures);
  EXPECT_EQ(std::ranges::count(structures, 1U, &Parsed::type), 1);
  EXPECT_EQ(find(structures, 1).at(4), "mine");
  EXPECT_FALSE(config.options.parse("type=1,serial=x"));
}

TEST(Smbios, MistakesAreNamed) {
  const test::ScratchFolder folder;
  SmbiosOptions options;
  const auto message = [&](const std::string& option) {
    const auto parsed = options.parse(option);
    return parsed ? "" : parsed.error().message();
  };
  EXPECT_THAT(message("vendor=x"), ::testing::HasSubstr("type=N or file=PATH is missing"));
  EXPECT_THAT(message("type=99"), ::testing::HasSubstr("cannot be set by fields"));
  EXPECT_THAT(message("type=1,serail=x"), ::testing::HasSubstr("did you mean 'serial'"));
  EXPECT_THAT(message("type=1,uuid=xyz"), ::testing::HasSubstr("expects a UUID"));
  EXPECT_THAT(message("type=0,release=1"), ::testing::HasSubstr("expects two numbers"));
  EXPECT_THAT(message("type=17,speed=70000"), ::testing::HasSubstr("up to 65535"));
  EXPECT_THAT(message("file=" + folder.file("short", "\x01\x04")), ::testing::HasSubstr("too short"));
  EXPECT_THAT(message("file=" + folder.file("open", std::string("\x01\x04\x00\x01xyz", 7))),
              ::testing::HasSubstr("two zero bytes"));
  EXPECT_THAT(message("file=" + folder.file("end", std::string("\x7f\x04\x00\x7f\x00\x00", 6))),
              ::testing::HasSubstr("end-of-table"));
}

TEST(Smbios, TooMuchForTheOldAnchor) {
  SmbiosConfig config = small_config();
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(config.options.parse("type=11,value=" + std::string(5000, 'x')));
  }
  EXPECT_FALSE(build_smbios(config));
  config.entry_point = SmbiosEntryPoint::k64;
  EXPECT_TRUE(build_smbios(config));
}

TEST(Smbios, FwCfgAndMemory) {
  FwCfg fw_cfg(std::nullopt);
  ASSERT_TRUE(add_smbios(fw_cfg, small_config()));
  EXPECT_EQ(fw_cfg.file_names(), (std::vector<std::string>{"etc/smbios/smbios-anchor", "etc/smbios/smbios-tables"}));

  test::GuestMemory guest(kMiB);
  ASSERT_TRUE(place_smbios(small_config(), guest.dma(), 0xf0000));
  EXPECT_EQ(checksum_of({guest.at(0xf0000), 31}), 0);
  const auto address = guest.get<std::uint32_t>(0xf0000 + 24);
  EXPECT_EQ(guest.get<std::uint16_t>(address + 2), 0x100U);
}

}  // namespace
}  // namespace doppel::hw
