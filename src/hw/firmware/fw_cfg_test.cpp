#include "hw/firmware/fw_cfg.h"

#include <gtest/gtest.h>

#include <cstring>

#include "hw/firmware/firmware_test_support.h"
#include "hw/firmware/option_text.h"

namespace doppel::hw {
namespace {

using test::text_of;

constexpr std::uint64_t kRam = 64 * kKiB;
constexpr std::uint64_t kDescriptor = 0x1000;

class FwCfgTest : public ::testing::Test {
 protected:
  void select(std::uint16_t key) { device.write(0, 2, key); }
  std::string read_port(std::size_t count) {
    std::string text;
    while (count-- != 0) text += static_cast<char>(device.read(1, 1));
    return text;
  }
  std::string read_key(FwCfgKey key, std::size_t count) {
    select(static_cast<std::uint16_t>(key));
    return read_port(count);
  }
  /// Runs one DMA request and returns the control word left behind.
  std::uint32_t dma(std::uint32_t control, std::uint32_t length, std::uint64_t address) {
    store_be(guest.at(kDescriptor), control);
    store_be(guest.at(kDescriptor + 4), length);
    store_be(guest.at(kDescriptor + 8), address);
    device.write(4, 4, 0);
    device.write(8, 4, byte_swap(static_cast<std::uint32_t>(kDescriptor)));
    return load_be<std::uint32_t>(guest.at(kDescriptor));
  }
  static constexpr std::uint32_t select_bits(std::uint16_t key) { return (std::uint32_t{key} << 16) | kFwCfgDmaSelect; }

  test::GuestMemory guest{kRam};
  FwCfg device{guest.dma()};
};

TEST_F(FwCfgTest, SignatureIsSelectedAfterReset) {
  EXPECT_EQ(read_port(4), "QEMU");
  select(5);
  device.reset();
  EXPECT_EQ(read_port(4), "QEMU");
}

TEST_F(FwCfgTest, IdTellsBothInterfaces) {
  EXPECT_EQ(read_key(FwCfgKey::kId, 4), std::string("\x03\0\0\0", 4));
}

TEST_F(FwCfgTest, WithoutDmaTheIdSaysSoAndThePortsAreDead) {
  FwCfg plain(std::nullopt);
  plain.write(0, 2, 1);
  EXPECT_EQ(plain.read(1, 1), kFwCfgIdTraditional);
  EXPECT_EQ(plain.read(4, 4), 0xffffffffU);
  plain.write(8, 4, 0x1000);
}

TEST_F(FwCfgTest, DmaRegisterReadsItsSignature) {
  std::array<std::byte, 8> bytes{};
  store_le(bytes.data(), device.read(4, 8));
  EXPECT_EQ(text_of(bytes), "QEMU CFG");
  EXPECT_EQ(device.read(8, 1), static_cast<std::uint64_t>(' '));
}

TEST_F(FwCfgTest, DataPastTheEndAndOfAMissingItemIsZero) {
  EXPECT_EQ(read_key(FwCfgKey::kSignature, 6), std::string("QEMU\0\0", 6));
  select(0x1234);
  EXPECT_EQ(read_port(2), std::string("\0\0", 2));
}

TEST_F(FwCfgTest, TheWriteChannelBitIsIgnored) {
  select(kFwCfgWriteChannel);
  EXPECT_EQ(read_port(4), "QEMU");
}

TEST_F(FwCfgTest, ByteWritesToTheSelectorAndWritesToDataDoNothing) {
  device.write(0, 1, 5);
  device.write(1, 1, 0x55);
  EXPECT_EQ(read_port(4), "QEMU");
}

TEST_F(FwCfgTest, BasicsFillTheNumberedItems) {
  FwCfgBasics basics;
  basics.uuid[15] = std::byte{7};
  basics.ram_size = 0x123456789;
  basics.cpu_count = 3;
  basics.max_apic_id = 6;
  basics.boot_menu = true;
  basics.boot_menu_wait = 500;
  basics.screen_and_debug = false;
  device.add_basics(basics);
  EXPECT_EQ(read_key(FwCfgKey::kUuid, 16).back(), 7);
  EXPECT_EQ(load_le<std::uint64_t>(read_key(FwCfgKey::kRamSize, 8).data()), 0x123456789U);
  EXPECT_EQ(read_key(FwCfgKey::kCpuCount, 2), std::string("\3\0", 2));
  EXPECT_EQ(read_key(FwCfgKey::kMaxCpus, 2), std::string("\7\0", 2));
  EXPECT_EQ(read_key(FwCfgKey::kBootMenu, 2), std::string("\1\0", 2));
  EXPECT_EQ(read_key(FwCfgKey::kIrq0Override, 1), "\1");
  EXPECT_EQ(text_of(device.file("etc/boot-fail-wait")), "\xff\xff\xff\xff");
  EXPECT_EQ(text_of(device.file("etc/system-states")), std::string("\x80\0\0\x81\x82\x80", 6));
  EXPECT_TRUE(device.has_file("etc/boot-menu-wait"));
  EXPECT_EQ(text_of(device.file("etc/screen-and-debug")), std::string("\0\0\0\0", 4));
}

TEST_F(FwCfgTest, NumaItemListsCpusThenNodes) {
  FwCfgBasics basics;
  basics.max_apic_id = 2;
  basics.cpu_nodes = {0, 1};
  basics.node_memory = {kGiB, 2 * kGiB};
  device.add_basics(basics);
  const Bytes item = device.item(FwCfgKey::kNuma);
  std::vector<std::uint64_t> words;
  for (std::size_t at = 0; at < item.size(); at += 8) words.push_back(load_le<std::uint64_t>(item.data() + at));
  EXPECT_EQ(words, (std::vector<std::uint64_t>{2, 0, 1, 0, kGiB, 2 * kGiB}));
}

TEST_F(FwCfgTest, DirectoryIsSortedAndKeysFollowIt) {
  ASSERT_TRUE(device.add_file("etc/z", text_bytes("last")));
  ASSERT_TRUE(device.add_file("bootorder", text_bytes("first")));
  ASSERT_TRUE(device.add_file("etc/a", text_bytes("middle")));
  const std::string directory = read_key(FwCfgKey::kFileDirectory, 4 + 3 * 64);
  EXPECT_EQ(load_be<std::uint32_t>(directory.data()), 3U);
  const std::array<std::string, 3> names{"bootorder", "etc/a", "etc/z"};
  const std::array<std::string, 3> contents{"first", "middle", "last"};
  for (std::size_t i = 0; i < 3; ++i) {
    const char* row = directory.data() + 4 + 64 * i;
    EXPECT_EQ(load_be<std::uint32_t>(row), contents[i].size());
    const auto key = load_be<std::uint16_t>(row + 4);
    EXPECT_EQ(key, 0x20 + i);
    EXPECT_EQ(std::string(row + 8), names[i]);
    select(key);
    EXPECT_EQ(read_port(contents[i].size()), contents[i]);
  }
}

TEST_F(FwCfgTest, FileNamesAreCheckedAndUnique) {
  EXPECT_TRUE(device.add_file(std::string(55, 'x'), {}));
  EXPECT_FALSE(device.add_file(std::string(56, 'x'), {}));
  EXPECT_FALSE(device.add_file("", {}));
  EXPECT_EQ(device.add_file(std::string(55, 'x'), {}).error().kind(), ErrorKind::kAlreadyExists);
  EXPECT_TRUE(device.set_file(std::string(55, 'x'), text_bytes("new")));
  EXPECT_EQ(text_of(device.file(std::string(55, 'x'))), "new");
}

TEST_F(FwCfgTest, DmaReadsSelectsSkipsAndGoesOn) {
  ASSERT_TRUE(device.add_file("f", text_bytes("abcdefgh")));
  EXPECT_EQ(dma(select_bits(0x20) | kFwCfgDmaRead, 2, 0x2000), 0U);
  EXPECT_EQ(dma(kFwCfgDmaSkip, 3, 0), 0U);
  EXPECT_EQ(dma(kFwCfgDmaRead, 2, 0x2002), 0U);
  EXPECT_EQ(std::memcmp(guest.at(0x2000), "abfg", 4), 0);
  EXPECT_EQ(device.read(1, 1), static_cast<std::uint64_t>('h')) << "port and DMA share the offset";
}

TEST_F(FwCfgTest, DmaReadsZeroesPastTheEndAndOfAMissingItem) {
  std::memset(guest.at(0x2000), 0x55, 16);
  EXPECT_EQ(dma(select_bits(0) | kFwCfgDmaRead, 8, 0x2000), 0U);
  EXPECT_EQ(std::memcmp(guest.at(0x2000), "QEMU\0\0\0\0\x55", 9), 0);
  EXPECT_EQ(dma(select_bits(0x1fff) | kFwCfgDmaRead, 9, 0x2000), 0U);
  EXPECT_EQ(guest.get<std::uint64_t>(0x2000), 0U);
}

TEST_F(FwCfgTest, DmaIntoAHoleSetsTheErrorBit) {
  EXPECT_EQ(dma(select_bits(0) | kFwCfgDmaRead, 4, kRam), kFwCfgDmaError);
  EXPECT_EQ(dma(select_bits(0) | kFwCfgDmaRead, 0xffffffff, 0x2000), kFwCfgDmaError);
  EXPECT_EQ(dma(select_bits(0) | kFwCfgDmaRead, 4, ~std::uint64_t{0} - 1), kFwCfgDmaError);
}

TEST_F(FwCfgTest, DescriptorOutsideOfRamHarmsNobody) {
  device.write(4, 4, 0xffffffff);
  device.write(8, 4, 0xffffffff);
  EXPECT_EQ(read_key(FwCfgKey::kSignature, 4), "QEMU");
}

TEST_F(FwCfgTest, EightByteAddressWriteStartsTheTransfer) {
  store_be(guest.at(kDescriptor), select_bits(0) | kFwCfgDmaRead);
  store_be(guest.at(kDescriptor + 4), std::uint32_t{4});
  store_be(guest.at(kDescriptor + 8), std::uint64_t{0x3000});
  device.write(4, 8, byte_swap(kDescriptor));
  EXPECT_EQ(std::memcmp(guest.at(0x3000), "QEMU", 4), 0);
}

TEST_F(FwCfgTest, OnlyWritableFilesTakeWrites) {
  std::vector<std::string> calls;
  ASSERT_TRUE(device.add_file("ro", text_bytes("12345678")));
  ASSERT_TRUE(device.add_file(
      "rw", text_bytes("12345678"),
      {.on_select = {},
       .on_write = [&](std::uint32_t offset, std::uint32_t length, std::span<const std::byte> contents) {
         calls.push_back(fmt::format("{}+{} {}", offset, length, text_of(contents)));
       }}));
  std::memcpy(guest.at(0x2000), "ABCDEFGHIJ", 10);
  EXPECT_EQ(dma(select_bits(0x20) | kFwCfgDmaWrite, 2, 0x2000), kFwCfgDmaError);
  EXPECT_EQ(dma(select_bits(0x21) | kFwCfgDmaSkip, 2, 0), 0U);
  EXPECT_EQ(dma(kFwCfgDmaWrite, 3, 0x2000), 0U);
  EXPECT_EQ(dma(kFwCfgDmaWrite, 4, 0x2000), kFwCfgDmaError) << "three bytes are left";
  EXPECT_EQ(dma(kFwCfgDmaWrite, 3, kRam - 1), kFwCfgDmaError);
  EXPECT_EQ(calls, std::vector<std::string>{"2+3 12ABC678"});
}

TEST_F(FwCfgTest, SelectingRebuildsTheContentsInTheirSize) {
  int calls = 0;
  ASSERT_TRUE(device.add_file(
      "f", text_bytes("old-"),
      {.on_select = [&] { return text_bytes(++calls == 1 ? "n" : "longer than before"); }, .on_write = {}}));
  select(0x20);
  EXPECT_EQ(read_port(5), std::string("n\0\0\0\0", 5));
  EXPECT_EQ(dma(select_bits(0x20) | kFwCfgDmaRead, 4, 0x2000), 0U);
  EXPECT_EQ(std::memcmp(guest.at(0x2000), "long", 4), 0);
}

TEST_F(FwCfgTest, MmioVariantHasTheSameRegistersElsewhere) {
  memory::IoHandler& mmio = device.mmio();
  mmio.write(kFwCfgMmioSelector, 2, byte_swap(std::uint16_t{1}));
  EXPECT_EQ(mmio.read(kFwCfgMmioData, 4), kFwCfgIdTraditional | kFwCfgIdDma);
  mmio.write(kFwCfgMmioSelector, 2, 0);
  EXPECT_EQ(mmio.read(kFwCfgMmioData, 4), load_le<std::uint32_t>("QEMU"));
  EXPECT_EQ(mmio.read(kFwCfgMmioDma, 4), load_le<std::uint32_t>("QEMU"));
  store_be(guest.at(kDescriptor), select_bits(0) | kFwCfgDmaRead);
  store_be(guest.at(kDescriptor + 4), std::uint32_t{4});
  store_be(guest.at(kDescriptor + 8), std::uint64_t{0x3000});
  mmio.write(kFwCfgMmioDma, 8, byte_swap(kDescriptor));
  EXPECT_EQ(std::memcmp(guest.at(0x3000), "QEMU", 4), 0);
}

TEST_F(FwCfgTest, StateTravels) {
  const auto add = [](FwCfg& to) {
    ASSERT_TRUE(to.add_file("rw", text_bytes("1234"), {.on_select = {}, .on_write = [](auto...) {}}));
  };
  add(device);
  std::memcpy(guest.at(0x2000), "AB", 2);
  EXPECT_EQ(dma(select_bits(0x20) | kFwCfgDmaWrite, 2, 0x2000), 0U);
  state::Writer writer;
  device.save(writer);

  FwCfg other(guest.dma());
  add(other);
  state::Reader reader(writer.bytes());
  ASSERT_TRUE(other.load(reader));
  EXPECT_EQ(other.read(1, 1), static_cast<std::uint64_t>('3'));
  EXPECT_EQ(text_of(other.file("rw")), "AB34");

  FwCfg without(guest.dma());
  state::Reader again(writer.bytes());
  EXPECT_EQ(without.load(again).error().kind(), ErrorKind::kCorrupt);
}

TEST_F(FwCfgTest, AStateThatReadsBeyondItsItemIsRefused) {
  ASSERT_TRUE(device.add_file("long", Bytes(9)));
  device.write(0, 2, 0x20);
  (void)read_port(9);
  state::Writer writer;
  device.save(writer);

  FwCfg other(guest.dma());
  ASSERT_TRUE(other.add_file("short", Bytes(8)));
  state::Reader reader(writer.bytes());
  const auto loaded = other.load(reader);
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().kind(), ErrorKind::kCorrupt);
}

TEST_F(FwCfgTest, RandomAccessesAreHarmless) {
  ASSERT_TRUE(device.add_file("rw", Bytes(100), {.on_select = {}, .on_write = [](auto...) {}}));
  std::uint64_t seed = 42;
  const auto random = [&] { return seed = seed * 6364136223846793005U + 1442695040888963407U, seed >> 24; };
  for (int i = 0; i < 20000; ++i) {
    const unsigned size = 1U << (random() % 4);
    const std::uint64_t offset = random() % 12;
    if (random() % 2 == 0)
      (void)device.read(offset, size);
    else
      device.write(offset, size, random() % 3 == 0 ? random() % 0x40 : random());
  }
  device.reset();
  EXPECT_EQ(read_port(4), "QEMU");
}

TEST_F(FwCfgTest, UserFiles) {
  const test::ScratchFolder folder;
  EXPECT_TRUE(add_user_file(device, "name=opt/a,string=x,,y"));
  EXPECT_TRUE(add_user_file(device, "name=opt/empty,string="));
  EXPECT_EQ(text_of(device.file("opt/a")), "x,y");
  EXPECT_TRUE(add_user_file(device, "opt/b,file=" + folder.file("b", "from file")));
  EXPECT_EQ(text_of(device.file("opt/b")), "from file");
  EXPECT_FALSE(add_user_file(device, "name=opt/c"));
  EXPECT_FALSE(add_user_file(device, "string=x"));
  EXPECT_FALSE(add_user_file(device, "opt/c,file=/nonexistent/file"));
  EXPECT_FALSE(add_user_file(device, "opt/c,string=a,file=b"));
  EXPECT_THAT(add_user_file(device, "opt/c,strin=a").error().message(), ::testing::HasSubstr("did you mean 'string'"));
}

}  // namespace
}  // namespace doppel::hw
