#include "hw/firmware/linux_image.h"

#include <gtest/gtest.h>

#include "hw/firmware/firmware_test_support.h"

namespace doppel::hw {
namespace {

using test::linux_image;
using test::LinuxOptions;
using test::text_of;

KernelFiles files_of(Bytes kernel, std::string command_line = "quiet", Bytes initrd = {}) {
  KernelFiles files{
      .kernel_name = "vmlinuz", .kernel = std::move(kernel), .modules = {}, .command_line = std::move(command_line)};
  if (!initrd.empty()) files.modules.push_back({std::move(initrd), ""});
  return files;
}

BootMemory firmware_memory(std::uint64_t size = 256 * kMiB) {
  return {.map = firmware_memory_map(size, 0)};
}
BootMemory direct_memory(std::uint64_t size = 256 * kMiB) {
  return {.map = direct_memory_map(size, 0)};
}

std::uint32_t number(FwCfg& fw_cfg, FwCfgKey key) {
  return load_le<std::uint32_t>(fw_cfg.item(key).data());
}

std::string error_of(const Bytes& kernel) {
  const auto header = parse_linux_header(kernel, "vmlinuz");
  return header ? "" : header.error().message();
}

TEST(LinuxImage, HeaderFieldsByProtocol) {
  const auto header = parse_linux_header(linux_image(), "k");
  ASSERT_TRUE(header);
  EXPECT_EQ(header->protocol, 0x20f);
  EXPECT_EQ(header->setup_size, 1536U);
  EXPECT_TRUE(header->loaded_high);
  EXPECT_EQ(header->initrd_max, 0x7fffffffU);
  EXPECT_EQ(header->cmdline_size, 2047U);
  EXPECT_EQ(header->preferred_address, 0x1000000U);

  const auto old = parse_linux_header(linux_image({.protocol = 0x202}), "k");
  ASSERT_TRUE(old);
  EXPECT_EQ(old->initrd_max, 0x37ffffffU);
  EXPECT_EQ(old->cmdline_size, 255U);
  EXPECT_EQ(old->xloadflags, 0);
  EXPECT_EQ(old->init_size, 0U);
}

TEST(LinuxImage, ZeroSetupSectorsMeansFour) {
  Bytes image = linux_image({.setup_sectors = 4});
  image[0x1f1] = std::byte{0};
  const auto header = parse_linux_header(image, "k");
  ASSERT_TRUE(header);
  EXPECT_EQ(header->setup_size, 2560U);
}

TEST(LinuxImage, TruncatedAtEveryByteIsOneSentence) {
  const Bytes image = linux_image();
  for (std::size_t length = 0; length < image.size(); ++length) {
    const Bytes cut(image.begin(), image.begin() + static_cast<std::ptrdiff_t>(length));
    const auto header = parse_linux_header(cut, "vmlinuz");
    if (header) {
      EXPECT_GE(length + 15, image.size()) << "the size in the header is rounded up to 16 bytes";
      continue;
    }
    EXPECT_FALSE(header.error().message().empty());
    EXPECT_EQ(header.error().message().find('\n'), std::string::npos);
  }
  EXPECT_EQ(error_of(Bytes(image.begin(), image.begin() + 2000)),
            "the kernel 'vmlinuz' is truncated: its header says 5632 bytes, the file has 2000");
}

TEST(LinuxImage, OtherMistakes) {
  EXPECT_THAT(error_of(text_bytes("hello")), ::testing::HasSubstr("no setup header"));
  EXPECT_THAT(error_of(linux_image({.protocol = 0x1ff})), ::testing::HasSubstr("boot protocol"));
  EXPECT_THAT(error_of(linux_image({.kernel_size = 0})), ::testing::HasSubstr("nothing behind its setup code"));
}

TEST(LinuxFwCfg, ItemsSayWhatGoesWhere) {
  FwCfg fw_cfg(std::nullopt);
  const Bytes kernel = linux_image();
  const auto added =
      add_linux(fw_cfg, files_of(kernel, "root=/dev/sda vga=0x317", Bytes(5000, std::byte{9})), firmware_memory());
  ASSERT_TRUE(added) << added.error().describe();
  EXPECT_EQ(number(fw_cfg, FwCfgKey::kSetupAddress), 0x10000U);
  EXPECT_EQ(number(fw_cfg, FwCfgKey::kSetupSize), 1536U);
  EXPECT_EQ(number(fw_cfg, FwCfgKey::kKernelAddress), 0x100000U);
  EXPECT_EQ(number(fw_cfg, FwCfgKey::kKernelSize), 4096U);
  EXPECT_EQ(number(fw_cfg, FwCfgKey::kCmdlineAddress), 0x20000U);
  EXPECT_EQ(number(fw_cfg, FwCfgKey::kCmdlineSize), 24U);
  EXPECT_EQ(text_of(fw_cfg.item(FwCfgKey::kCmdlineData)), std::string("root=/dev/sda vga=0x317\0", 24));
  EXPECT_EQ(fw_cfg.item(FwCfgKey::kKernelData), Bytes(kernel.begin() + 1536, kernel.end()));
  const std::uint32_t initrd = number(fw_cfg, FwCfgKey::kInitrdAddress);
  EXPECT_EQ(initrd, 256 * kMiB - 128 * kKiB - 8192);
  EXPECT_EQ(number(fw_cfg, FwCfgKey::kInitrdSize), 5000U);

  const Bytes setup = fw_cfg.item(FwCfgKey::kSetupData);
  EXPECT_EQ(setup[0x210], std::byte{0xff});
  EXPECT_EQ(setup[0x211], std::byte{0x81});
  EXPECT_EQ(load_le<std::uint16_t>(setup.data() + 0x1fa), 0x317);
  EXPECT_EQ(load_le<std::uint32_t>(setup.data() + 0x218), initrd);
  EXPECT_EQ(load_le<std::uint32_t>(setup.data() + 0x21c), 5000U);
  EXPECT_EQ(load_le<std::uint16_t>(setup.data() + 0x224), 0xfe00);
  EXPECT_EQ(load_le<std::uint32_t>(setup.data() + 0x228), 0x20000U);
}

TEST(LinuxFwCfg, OldProtocolsLieLow) {
  FwCfg fw_cfg(std::nullopt);
  ASSERT_TRUE(add_linux(fw_cfg, files_of(linux_image({.protocol = 0x201})), firmware_memory()));
  EXPECT_EQ(number(fw_cfg, FwCfgKey::kSetupAddress), 0x90000U);
  EXPECT_EQ(number(fw_cfg, FwCfgKey::kCmdlineAddress), 0x9a000U - 16);
  const Bytes setup = fw_cfg.item(FwCfgKey::kSetupData);
  EXPECT_EQ(load_le<std::uint16_t>(setup.data() + 0x20), 0xa33f);
  EXPECT_EQ(load_le<std::uint16_t>(setup.data() + 0x22), 0x9ff0);

  FwCfg low(std::nullopt);
  ASSERT_TRUE(add_linux(low, files_of(linux_image({.protocol = 0x202, .loaded_high = false})), firmware_memory()));
  EXPECT_EQ(number(low, FwCfgKey::kKernelAddress), 0x10000U);
}

TEST(LinuxFwCfg, LimitsAreSentences) {
  FwCfg fw_cfg(std::nullopt);
  const auto message = [&](const KernelFiles& files, const BootMemory& memory) {
    const auto added = add_linux(fw_cfg, files, memory);
    return added ? "" : added.error().message();
  };
  EXPECT_EQ(message(files_of(linux_image(), std::string(3000, 'x')), firmware_memory()),
            "the kernel command line has 3000 characters; 'vmlinuz' takes at most 2047");
  EXPECT_THAT(message(files_of(linux_image(), "", Bytes(2 * kMiB)), firmware_memory(2 * kMiB)),
              ::testing::HasSubstr("does not fit"));
  EXPECT_THAT(message(files_of(linux_image({.kernel_size = 2 * kMiB})), firmware_memory(2 * kMiB)),
              ::testing::HasSubstr("raise -m"));
  EXPECT_THAT(message(files_of(linux_image({.kernel_size = kMiB}), "", Bytes(kMiB)), firmware_memory(3 * kMiB)),
              ::testing::HasSubstr("raise -m"));
  EXPECT_THAT(message(files_of(linux_image({.setup_sectors = 200})), firmware_memory()),
              ::testing::HasSubstr("setup code"));
}

TEST(LinuxDirect, SixtyFourBitEntry) {
  test::GuestMemory guest(64 * kMiB);
  const Bytes kernel = linux_image();
  BootMemory memory = direct_memory(64 * kMiB);
  memory.rsdp = 0xe0000;
  const auto plan = plan_linux(files_of(kernel, "console=ttyS0", Bytes(100, std::byte{3})), memory);
  ASSERT_TRUE(plan) << plan.error().describe();
  x86::CpuState cpu;
  ASSERT_TRUE(place(*plan, guest.dma(), cpu));
  EXPECT_EQ(cpu.rip, 0x100200U);
  EXPECT_EQ(cpu.gpr[x86::kRsi], 0x10000U);
  EXPECT_EQ(cpu.segment[x86::kCs].selector, 0x10);
  EXPECT_TRUE(cpu.segment[x86::kCs].long_mode);
  EXPECT_EQ(cpu.segment[x86::kDs].selector, 0x18);
  EXPECT_EQ(cpu.efer, 0x500U);
  EXPECT_EQ(cpu.cr4, 0x20U);
  EXPECT_EQ(cpu.cr0, 0x80000011U);

  // Every page of the first 4 GiB maps to itself.
  const auto pml4 = guest.get<std::uint64_t>(cpu.cr3) & ~0xfffULL;
  for (const std::uint64_t address : {std::uint64_t{0}, 0x100000UL, 0xfee00000UL, 0xffffffffUL}) {
    const auto pdpt = guest.get<std::uint64_t>(pml4 + 8 * (address >> 30)) & ~0xfffULL;
    const auto entry = guest.get<std::uint64_t>(pdpt + 8 * ((address >> 21) & 511));
    EXPECT_EQ(entry, (address & ~0x1fffffULL) | 0x83);
  }
  EXPECT_EQ(guest.get<std::uint64_t>(cpu.gdt.base + 0x10), 0x00af9b000000ffffU);

  const std::uint64_t params = cpu.gpr[x86::kRsi];
  EXPECT_EQ(guest.get<std::uint32_t>(params + 0x202), load_le<std::uint32_t>("HdrS"));
  EXPECT_EQ(guest.get<std::uint64_t>(params + 0x70), 0xe0000U);
  EXPECT_EQ(guest.text(guest.get<std::uint32_t>(params + 0x228)), "console=ttyS0");
  const auto initrd = guest.get<std::uint32_t>(params + 0x218);
  EXPECT_EQ(*guest.at(initrd + 99), std::byte{3});
  EXPECT_EQ(guest.get<std::uint32_t>(params + 0x21c), 100U);
  EXPECT_EQ(guest.get<std::uint8_t>(params + 0x1e8), memory.map.ranges().size());
  EXPECT_EQ(guest.get<std::uint64_t>(params + 0x2d0 + 8), kEbdaBase);
  EXPECT_EQ(std::memcmp(guest.at(0x100000), kernel.data() + 1536, 4096), 0);
}

TEST(LinuxDirect, ThirtyTwoBitEntryWithoutTheFlag) {
  const auto plan = plan_linux(files_of(linux_image({.xloadflags = 0})), direct_memory());
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->mode, BootMode::kProtected32);
  EXPECT_EQ(plan->entry, 0x100000U);
  EXPECT_EQ(plan->rsi, 0x10000U);
}

TEST(LinuxDirect, NeedsRoomToUnpackAndAModernProtocol) {
  const auto small = plan_linux(files_of(linux_image({.init_size = 0x4000000})), direct_memory(32 * kMiB));
  ASSERT_FALSE(small);
  EXPECT_EQ(small.error().message(), "the kernel 'vmlinuz' needs 80 MiB of RAM; the machine has 32 MiB");
  EXPECT_FALSE(plan_linux(files_of(linux_image({.protocol = 0x201})), direct_memory()));
  EXPECT_FALSE(plan_linux(files_of(linux_image({.loaded_high = false})), direct_memory()));
}

TEST(LinuxImage, MutatedImagesNeverCrash) {
  constexpr std::uint32_t kSeed = 20240611;
  SCOPED_TRACE(fmt::format("seed {}", kSeed));
  const Bytes original = linux_image();
  std::uint64_t state = kSeed;
  const auto random = [&] { return state = state * 6364136223846793005U + 1442695040888963407U, state >> 33; };
  for (int round = 0; round < 3000; ++round) {
    Bytes image = original;
    for (int i = 0; i < 6; ++i) image[0x1f0 + random() % 0x90] = static_cast<std::byte>(random());
    if (round % 3 != 0) std::memcpy(image.data() + 0x1fe, original.data() + 0x1fe, 8);
    const KernelFiles files = files_of(image, "quiet", Bytes(1000));
    FwCfg fw_cfg(std::nullopt);
    (void)add_linux(fw_cfg, files, firmware_memory());
    const auto plan = plan_linux(files, direct_memory());
    if (plan) {
      EXPECT_TRUE(check_pieces(*plan, direct_memory().map, "k"));
    }
  }
}

}  // namespace
}  // namespace doppel::hw
