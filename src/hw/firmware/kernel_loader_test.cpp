#include "hw/firmware/kernel_loader.h"

#include <gtest/gtest.h>

#include "hw/firmware/boot_rom.h"
#include "hw/firmware/firmware_test_support.h"

namespace doppel::hw {
namespace {

using test::elf_image;
using test::linux_image;
using test::text_of;

BootMemory memory_of(std::uint64_t size = 64 * kMiB) {
  return {.map = firmware_memory_map(size, 0)};
}

TEST(KernelLoader, TellsKindsApart) {
  EXPECT_EQ(*detect_kernel(linux_image(), "k"), KernelKind::kLinux);
  EXPECT_EQ(*detect_kernel(elf_image({.multiboot = true}), "k"), KernelKind::kMultiboot);
  EXPECT_EQ(*detect_kernel(elf_image({.pvh_entry = 1}), "k"), KernelKind::kPvh);
  EXPECT_EQ(*detect_kernel(elf_image({.pvh_entry = 1, .multiboot = true}), "k"), KernelKind::kMultiboot);
}

TEST(KernelLoader, SaysWhatAFileIsNot) {
  EXPECT_EQ(detect_kernel(text_bytes("#!/bin/sh"), "script").error().message(),
            "'script' is no kernel that can be started: neither Linux bzImage nor multiboot nor ELF with PVH entry");
  EXPECT_THAT(detect_kernel(elf_image(), "k").error().message(), ::testing::HasSubstr("no PVH entry point"));
  EXPECT_FALSE(detect_kernel(Blob(), "empty"));
}

TEST(KernelLoader, FirmwareGetsItemsOrAPlanAndTheRom) {
  FwCfg linux_cfg(std::nullopt);
  ASSERT_TRUE(load_kernel(linux_cfg, {.kernel_name = "k", .kernel = linux_image(), .modules = {}, .command_line = ""},
                          memory_of()));
  EXPECT_TRUE(linux_cfg.has_file(kBootRomFile));
  EXPECT_FALSE(linux_cfg.has_file(kBootPlanFile));
  EXPECT_FALSE(linux_cfg.item(FwCfgKey::kSetupData).empty());

  FwCfg pvh_cfg(std::nullopt);
  ASSERT_TRUE(load_kernel(
      pvh_cfg, {.kernel_name = "k", .kernel = elf_image({.pvh_entry = 1}), .modules = {}, .command_line = ""},
      memory_of()));
  EXPECT_EQ(text_of(pvh_cfg.file(kBootPlanFile)).substr(0, 4), "DPLN");
  EXPECT_TRUE(pvh_cfg.item(FwCfgKey::kSetupData).empty());
  EXPECT_THAT(text_of(pvh_cfg.file("bootorder")), ::testing::StartsWith(std::string(kBootRomOrder)));
}

TEST(KernelLoader, ReadsFilesAsTheKindWantsThem) {
  const test::ScratchFolder folder;
  const std::string linux_kernel = folder.file("linux", linux_image());
  const std::string multiboot = folder.file("multiboot", elf_image({.multiboot = true}));
  const std::string one = folder.file("one", "first");
  const std::string two = folder.file("two,x", "second");

  const auto plain = read_kernel_files(linux_kernel, one, "quiet");
  ASSERT_TRUE(plain);
  EXPECT_EQ(text_of(plain->modules.at(0).data.bytes()), "first");
  EXPECT_EQ(plain->command_line, "quiet");

  std::string escaped = two;
  escaped.insert(escaped.rfind(','), ",");
  const auto several = read_kernel_files(multiboot, one + " arg=1," + escaped + " more", "");
  ASSERT_TRUE(several) << several.error().describe();
  ASSERT_EQ(several->modules.size(), 2U);
  EXPECT_EQ(several->modules[0].command_line, one + " arg=1");
  EXPECT_EQ(text_of(several->modules[1].data.bytes()), "second");
  EXPECT_EQ(several->modules[1].command_line, two + " more");

  EXPECT_THAT(read_kernel_files("/nonexistent/kernel", "", "").error().describe(),
              ::testing::HasSubstr("-kernel: cannot open"));
  EXPECT_THAT(read_kernel_files(linux_kernel, "/nonexistent/initrd", "").error().describe(),
              ::testing::HasSubstr("-initrd: cannot open"));
  EXPECT_THAT(read_kernel_files(folder.path().string(), "", "").error().describe(),
              ::testing::HasSubstr("not a regular file"));
}

TEST(BootPlan, ZeroesAreWrittenAgainAfterAReset) {
  test::GuestMemory guest(4 * kMiB);
  std::memset(guest.at(2 * kMiB), 0x55, 0x30000);
  BootPlan plan;
  plan.add(2 * kMiB, text_bytes("x"), 0x20000);
  x86::CpuState cpu;
  cpu.msrs.push_back({0x10, 5});
  cpu.gpr[x86::kRdi] = 9;
  ASSERT_TRUE(place(plan, guest.dma(), cpu));
  EXPECT_EQ(guest.get<std::uint8_t>(2 * kMiB + 1), 0);
  EXPECT_EQ(guest.get<std::uint8_t>(2 * kMiB + 0x1ffff), 0);
  EXPECT_EQ(guest.get<std::uint8_t>(2 * kMiB + 0x20000), 0x55);
  EXPECT_EQ(cpu.gpr[x86::kRdi], 0U);
  EXPECT_EQ(cpu.msrs.size(), 1U) << "left alone";
}

TEST(BootPlan, PlacingOutsideOfRamIsAnError) {
  test::GuestMemory guest(4 * kMiB);
  BootPlan plan;
  plan.add(8 * kMiB, text_bytes("x"));
  x86::CpuState cpu;
  EXPECT_FALSE(place(plan, guest.dma(), cpu));
}

TEST(BootPlan, TopOfMemoryKeepsClearOfFirmware) {
  const BootMemory memory = memory_of();
  EXPECT_EQ(*place_at_top(1, memory, 4 * kGiB, "x"), 64 * kMiB - 128 * kKiB - 4096);
  EXPECT_EQ(*place_at_top(4096, memory, 32 * kMiB, "x"), 32 * kMiB - 4096);
  EXPECT_FALSE(place_at_top(64 * kMiB, memory, 4 * kGiB, "x"));
  EXPECT_FALSE(place_at_top(~std::uint64_t{0}, memory, 4 * kGiB, "x"));
  EXPECT_FALSE(place_at_top(1, memory_of(512 * kKiB), 4 * kGiB, "x"));
}

}  // namespace
}  // namespace doppel::hw
