#include "hw/firmware/boot_rom.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <iterator>

#include "hw/firmware/firmware_test_support.h"
#include "hw/firmware/kernel_loader.h"

namespace doppel::hw {
namespace {

using test::text_of;

TEST(BootRom, HasTheHeadersFirmwareLooksFor) {
  const Bytes rom = boot_rom();
  EXPECT_EQ(load_le<std::uint16_t>(rom.data()), 0xaa55);
  EXPECT_EQ(std::to_integer<std::size_t>(rom[2]) * 512, rom.size());
  EXPECT_EQ(checksum_of(rom), 0);
  const auto pnp = std::span(rom).subspan(load_le<std::uint16_t>(rom.data() + 0x1a), 32);
  EXPECT_EQ(text_of(pnp.first(4)), "$PnP");
  EXPECT_EQ(checksum_of(pnp), 0);
  EXPECT_EQ(text_of(std::span(rom).subspan(load_le<std::uint16_t>(pnp.data() + 16), 20)), "Doppel kernel loader");
  const auto entry = load_le<std::uint16_t>(pnp.data() + 26);
  EXPECT_GT(entry, 0x40);
  EXPECT_LT(entry, boot_rom_code().size());
}

TEST(BootRom, IsWhatItsSourceAssemblesTo) {
  if (!test::installed("nasm")) GTEST_SKIP() << "nasm is not installed";
  const auto source = std::filesystem::path(__FILE__).parent_path() / "boot_rom.asm";
  if (!std::filesystem::exists(source)) GTEST_SKIP() << "the source tree is not here";
  const test::ScratchFolder folder;
  const std::string binary = (folder.path() / "rom").string();
  ASSERT_EQ(std::system(fmt::format("nasm -f bin -o '{}' '{}'", binary, source.string()).c_str()), 0);
  std::ifstream file(binary, std::ios::binary);
  const std::string assembled{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(assembled, text_of(std::as_bytes(boot_rom_code()))) << "run boot_rom.py";
}

TEST(BootRom, PlansPutZeroesLast) {
  BootPlan plan;
  plan.entry = 0x200000;
  plan.eax = 1;
  plan.ebx = 2;
  plan.rsi = 3;
  plan.add(0x200000, text_bytes("code"), 0x1000);
  plan.add(0x300000, text_bytes("data"));
  plan.map_slot = {.entries = 0x9100, .lead = 4, .count = 0x902c, .unit = 24, .rsdp = 0x9020};
  const auto encoded = encode_boot_plan(plan);
  ASSERT_TRUE(encoded);
  const auto word = [&](std::size_t index) { return load_le<std::uint32_t>(encoded->data() + 4 * index); };
  EXPECT_EQ(text_of(std::span(*encoded).first(4)), "DPLN");
  const std::vector<std::uint32_t> expected{0x200000, 1, 2,        3, 0x9100,   4, 0x902c,   24,   0x9020,
                                            3,        0, 0x200000, 4, 0x300000, 4, 0x200004, 0xffc};
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(word(i + 1), expected[i]) << i;
  EXPECT_EQ(text_of(*encoded).substr(48 + 24), "codedata");
}

TEST(BootRom, RefusesWhatItCannotDo) {
  BootPlan plan;
  plan.mode = BootMode::kLong64;
  EXPECT_FALSE(encode_boot_plan(plan));
  plan.mode = BootMode::kProtected32;
  plan.add(0xfffff000, Bytes(0x2000));
  EXPECT_FALSE(encode_boot_plan(plan));
  plan.pieces.clear();
  for (std::uint64_t i = 0; i < 129; ++i) plan.add(kMiB + i, Bytes(1));
  EXPECT_FALSE(encode_boot_plan(plan));
}

TEST(BootRom, GoesFirstInTheBootOrder) {
  FwCfg fw_cfg(std::nullopt);
  ASSERT_TRUE(prepend_boot_order(fw_cfg, "/second"));
  ASSERT_TRUE(add_boot_rom(fw_cfg));
  EXPECT_EQ(text_of(fw_cfg.file("bootorder")), std::string("/rom@genroms/doppel-linuxboot.rom\n/second\0", 42));
}

/// The ROM in a real firmware: QEMU with SeaBIOS offers the same device. The kernels write to QEMU's debug port and
/// end.
class BootRomOracle : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!test::installed("qemu-system-x86_64")) GTEST_SKIP() << "qemu-system-x86_64 is not installed";
  }
  /// What the guest wrote to port e9.
  std::string run(const std::string& arguments) const {
    const std::string log = (folder_.path() / "log").string();
    const std::string command = fmt::format(
        "timeout 100 qemu-system-x86_64 -accel tcg -m 32 -display none -nodefaults -no-reboot -L '{}' -debugcon "
        "file:{} "
        "-device isa-debug-exit {} >/dev/null 2>&1",
        folder_.path().string(), log, arguments);
    (void)!std::system(command.c_str());
    std::ifstream file(log, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  test::ScratchFolder folder_;
};

TEST_F(BootRomOracle, StartsLinuxSetupCode) {
  // Says 'L' if DS is CS - 20h and the stack is above the code, then the first byte of the kernel at 1 MiB is not
  // looked at: that would need protected mode.
  //   mov ax,cs / sub ax,20h / mov bx,ds / cmp ax,bx / jne end / mov al,'L' / out e9h,al / end: mov dx,501h / out dx,al
  //   / hlt
  const std::string code =
      std::string("\x8c\xc8\x83\xe8\x20\x8c\xdb\x39\xd8\x75\x04\xb0\x4c\xe6\xe9\xba\x01\x05\xee\xf4", 20);
  folder_.file("linuxboot_dma.bin", boot_rom());
  const std::string kernel = folder_.file("kernel", test::linux_image({.setup_code = code}));
  EXPECT_EQ(run("-kernel " + kernel), "L");
}

TEST_F(BootRomOracle, StartsABootPlanInProtectedMode) {
  // Checks the magic and the length of the memory map that the ROM filled in, and says 'M'.
  //   cmp eax,2badb002h / jne end / cmp dword [ebx+44],48 / jb end / mov eax,[ebx+48] / cmp dword [eax],20 / jne end /
  //   mov al,'M' / out e9h,al / end: mov dx,501h / out dx,al / hlt
  const std::string code = std::string(
      "\x3d\x02\xb0\xad\x2b\x75\x12\x83\x7b\x2c\x30\x72\x0c\x8b\x43\x30\x83\x38\x14\x75\x04\xb0\x4d\xe6\xe9\x66\xba\x01"
      "\x05"
      "\xee\xf4",
      31);
  const KernelFiles files{.kernel_name = "k",
                          .kernel = test::elf_image({.code = code, .multiboot = true}),
                          .modules = {},
                          .command_line = ""};
  const auto plan = plan_kernel(files, {.map = firmware_memory_map(32 * kMiB, 0)});
  ASSERT_TRUE(plan) << plan.error().describe();
  const std::string rom = folder_.file("doppel.rom", boot_rom());
  const std::string encoded = folder_.file("plan", *encode_boot_plan(*plan));
  EXPECT_EQ(run("-option-rom " + rom + ",bootindex=0 -fw_cfg name=etc/doppel/boot-plan,file=" + encoded), "M");
}

}  // namespace
}  // namespace doppel::hw
