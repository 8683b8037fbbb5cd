// ELF files, multiboot and PVH kernels.
#include <gtest/gtest.h>

#include "hw/firmware/elf_image.h"
#include "hw/firmware/firmware_test_support.h"
#include "hw/firmware/multiboot.h"
#include "hw/firmware/pvh.h"

namespace doppel::hw {
namespace {

using test::elf_image;
using test::ElfOptions;

BootMemory direct_memory(std::uint64_t size = 64 * kMiB) {
  return {.map = direct_memory_map(size, 0)};
}

KernelFiles files_of(Bytes kernel, std::vector<BootModule> modules = {}) {
  return {.kernel_name = "kernel", .kernel = std::move(kernel), .modules = std::move(modules), .command_line = "a=b"};
}

struct Started {
  test::GuestMemory guest{64 * kMiB};
  x86::CpuState cpu;
};

std::unique_ptr<Started> start(const Result<BootPlan>& plan) {
  auto started = std::make_unique<Started>();
  EXPECT_TRUE(plan) << plan.error().describe();
  if (plan) {
    EXPECT_TRUE(place(*plan, started->guest.dma(), started->cpu));
  }
  return started;
}

void expect_flat_protected_mode(const x86::CpuState& cpu) {
  EXPECT_EQ(cpu.cr0, 0x11U);
  EXPECT_EQ(cpu.cr4, 0U);
  EXPECT_EQ(cpu.efer, 0U);
  EXPECT_EQ(cpu.rflags, 2U) << "interrupts are off";
  EXPECT_EQ(cpu.segment[x86::kCs].limit, 0xffffffffU);
  EXPECT_EQ(cpu.segment[x86::kCs].base, 0U);
  EXPECT_TRUE(cpu.segment[x86::kCs].default_big);
  EXPECT_EQ(cpu.segment[x86::kSs].type, 3);
  EXPECT_EQ(cpu.tr.limit, 0x67U);
}

TEST(Elf, BothClasses) {
  for (const bool is_64 : {false, true}) {
    const auto image = parse_elf(elf_image({.is_64 = is_64, .pvh_entry = 0x1234}), "k");
    ASSERT_TRUE(image) << image.error().describe();
    EXPECT_EQ(image->is_64, is_64);
    EXPECT_EQ(image->entry, 0x200000U);
    ASSERT_EQ(image->load.size(), 1U);
    EXPECT_EQ(image->load[0].physical_address, 0x200000U);
    EXPECT_EQ(image->load[0].memory_size, 0x3000U);
    EXPECT_EQ(image->load[0].data.size(), 3U);
    EXPECT_EQ(image->find_note("Xen", 18), 0x1234U);
    EXPECT_EQ(image->find_note("Xen", 17), std::nullopt);
    EXPECT_EQ(image->find_note("Xex", 18), std::nullopt);
  }
}

TEST(Elf, MistakesAreNamed) {
  const auto message = [](Bytes image, std::size_t at, std::uint32_t value, std::size_t size) {
    store_le_sized(image.data() + at, size, value);
    const auto parsed = parse_elf(image, "k");
    return parsed ? "" : parsed.error().message();
  };
  EXPECT_THAT(message(elf_image(), 0, 0, 1), ::testing::HasSubstr("no ELF file"));
  EXPECT_THAT(message(elf_image(), 4, 3, 1), ::testing::HasSubstr("neither of 32 nor of 64"));
  EXPECT_THAT(message(elf_image(), 5, 2, 1), ::testing::HasSubstr("not for x86"));
  EXPECT_THAT(message(elf_image(), 18, 183, 2), ::testing::HasSubstr("machine 183"));
  EXPECT_THAT(message(elf_image(), 16, 1, 2), ::testing::HasSubstr("not executable"));
  EXPECT_THAT(message(elf_image(), 42, 8, 2), ::testing::HasSubstr("program headers of 8 bytes"));
  EXPECT_THAT(message(elf_image(), 44, 0xffff, 2), ::testing::HasSubstr("truncated"));
  EXPECT_THAT(message(elf_image(), 44, 0, 2), ::testing::HasSubstr("nothing to load"));
  EXPECT_THAT(message(elf_image(), 52 + 16, 0x7fffffff, 4), ::testing::HasSubstr("truncated: segment 0"));
  EXPECT_THAT(message(elf_image(), 52 + 20, 1, 4), ::testing::HasSubstr("larger in the file"));
}

TEST(Elf, EndlessNotesEnd) {
  Bytes image = elf_image({.pvh_entry = 0x1234});
  const std::size_t note = image.size() - 20;
  store_le(image.data() + note, std::uint32_t{0xffffffff});
  EXPECT_EQ(parse_elf(image, "k")->find_note("Xen", 18), std::nullopt);
  store_le(image.data() + note, std::uint32_t{4});
  store_le(image.data() + note + 4, std::uint32_t{0xffffffff});
  EXPECT_EQ(parse_elf(image, "k")->find_note("Xen", 18), std::nullopt) << "the description is not there";
}

TEST(Pvh, EntryStateAndStartInfo) {
  for (const bool is_64 : {false, true}) {
    BootMemory memory = direct_memory();
    memory.rsdp = 0xe0000;
    const Bytes kernel = elf_image({.is_64 = is_64, .pvh_entry = 0x200001});
    const auto started = start(plan_pvh(files_of(kernel, {{Bytes(5000, std::byte{7}), ""}}), memory));
    const auto& guest = started->guest;
    expect_flat_protected_mode(started->cpu);
    EXPECT_EQ(started->cpu.rip, 0x200001U);
    const std::uint64_t info = started->cpu.gpr[x86::kRbx];
    EXPECT_EQ(guest.get<std::uint32_t>(info), 0x336ec578U);
    EXPECT_EQ(guest.get<std::uint32_t>(info + 4), 1U);
    EXPECT_EQ(guest.get<std::uint32_t>(info + 12), 1U);
    EXPECT_EQ(guest.text(guest.get<std::uint64_t>(info + 24)), "a=b");
    EXPECT_EQ(guest.get<std::uint64_t>(info + 32), 0xe0000U);
    const auto modules = guest.get<std::uint64_t>(info + 16);
    EXPECT_EQ(guest.get<std::uint64_t>(modules + 8), 5000U);
    EXPECT_EQ(*guest.at(guest.get<std::uint64_t>(modules) + 4999), std::byte{7});
    const auto map = guest.get<std::uint64_t>(info + 40);
    ASSERT_EQ(guest.get<std::uint32_t>(info + 48), memory.map.ranges().size());
    EXPECT_EQ(guest.get<std::uint64_t>(map + 24), kEbdaBase);
    EXPECT_EQ(guest.get<std::uint32_t>(map + 24 + 16), 2U);
    EXPECT_EQ(guest.text(0x200000).substr(0, 3), "\xf4\xeb\xfd");
  }
}

TEST(Pvh, NeedsItsNoteAndRoom) {
  EXPECT_FALSE(is_pvh_image(elf_image()));
  EXPECT_TRUE(is_pvh_image(elf_image({.pvh_entry = 1})));
  const auto message = [](const ElfOptions& options, std::vector<BootModule> modules = {}) {
    const auto plan = plan_pvh(files_of(elf_image(options), std::move(modules)), direct_memory());
    return plan ? "" : plan.error().message();
  };
  EXPECT_THAT(message({}), ::testing::HasSubstr("no PVH entry point"));
  EXPECT_THAT(message({.is_64 = true, .pvh_entry = 1ULL << 32}), ::testing::HasSubstr("not below 4 GiB"));
  EXPECT_THAT(message({.address = 0x9f000, .pvh_entry = 1}), ::testing::HasSubstr("has no RAM"));
  EXPECT_THAT(message({.address = 0x8000, .memory_size = 16, .pvh_entry = 1}), ::testing::HasSubstr("loader itself"));
  EXPECT_THAT(message({.address = 0x9000, .memory_size = 16, .pvh_entry = 1}), ::testing::HasSubstr("overlap"));
  EXPECT_THAT(message({.is_64 = true, .address = ~0ULL - 0x100, .pvh_entry = 1}), ::testing::HasSubstr("has no RAM"));
  EXPECT_THAT(message({.pvh_entry = 1}, {{Bytes(64 * kMiB), ""}}), ::testing::HasSubstr("does not fit"));
}

TEST(Multiboot, ElfEntryStateAndInformation) {
  const Bytes kernel = elf_image({.multiboot = true});
  EXPECT_EQ(find_multiboot_header(kernel), 52U + 64U);
  const auto started = start(plan_multiboot(
      files_of(kernel, {{Bytes(10, std::byte{1}), "mod one"}, {Bytes(5000, std::byte{2}), "two"}}), direct_memory()));
  const auto& guest = started->guest;
  expect_flat_protected_mode(started->cpu);
  EXPECT_EQ(started->cpu.rip, 0x20000cU);
  EXPECT_EQ(started->cpu.gpr[x86::kRax], 0x2badb002U);
  const std::uint64_t info = started->cpu.gpr[x86::kRbx];
  EXPECT_EQ(guest.get<std::uint32_t>(info), 0x24fU);
  EXPECT_EQ(guest.get<std::uint32_t>(info + 4), 640U);
  EXPECT_EQ(guest.get<std::uint32_t>(info + 8), 63U * 1024);
  EXPECT_EQ(guest.text(guest.get<std::uint32_t>(info + 16)), "kernel a=b");
  EXPECT_EQ(guest.text(guest.get<std::uint32_t>(info + 64)), "doppel");
  ASSERT_EQ(guest.get<std::uint32_t>(info + 20), 2U);
  const auto modules = guest.get<std::uint32_t>(info + 24);
  const auto second = guest.get<std::uint32_t>(modules + 16);
  EXPECT_EQ(second % 4096, 0U);
  EXPECT_GE(guest.get<std::uint32_t>(modules), 0x203000U) << "behind the kernel's zeroes";
  EXPECT_EQ(guest.get<std::uint32_t>(modules + 20) - second, 5000U);
  EXPECT_EQ(guest.text(guest.get<std::uint32_t>(modules + 8)), "mod one");
  EXPECT_EQ(*guest.at(second), std::byte{2});
  const auto map = guest.get<std::uint32_t>(info + 48);
  EXPECT_EQ(guest.get<std::uint32_t>(map), 20U);
  EXPECT_EQ(guest.get<std::uint64_t>(map + 12), kEbdaBase);
  EXPECT_EQ(guest.get<std::uint32_t>(info + 44), 24 * direct_memory().map.ranges().size());
}

/// A raw image with the header at byte 16, to be loaded with addresses.
Bytes raw_image(std::uint32_t load, std::uint32_t load_end, std::uint32_t bss_end) {
  constexpr std::uint32_t kFlags = 0x10000;
  ByteWriter image;
  image.text("0123456789abcdef", 16).u32(0x1badb002).u32(kFlags).u32(0U - 0x1badb002U - kFlags);
  image.u32(load + 16).u32(load).u32(load_end).u32(bss_end).u32(load + 48).zeros(16);
  return image.take();
}

TEST(Multiboot, AddressesInTheHeader) {
  const auto started = start(plan_multiboot(files_of(raw_image(0x300000, 0x300040, 0x305000)), direct_memory()));
  EXPECT_EQ(started->cpu.rip, 0x300030U);
  EXPECT_EQ(started->guest.text(0x300000).substr(0, 4), "0123");
  const auto whole = plan_multiboot(files_of(raw_image(0x300000, 0, 0)), direct_memory());
  ASSERT_TRUE(whole);
  EXPECT_EQ(whole->pieces[0].size, 64U) << "load_end 0: the whole file";
}

TEST(Multiboot, MistakesAreNamed) {
  const auto message = [](const Bytes& kernel) {
    const auto plan = plan_multiboot(files_of(kernel), direct_memory());
    return plan ? "" : plan.error().message();
  };
  EXPECT_THAT(message(raw_image(0x300000, 0x301000, 0)), ::testing::HasSubstr("truncated"));
  EXPECT_THAT(message(raw_image(0x300000, 0x200000, 0)), ::testing::HasSubstr("contradict"));
  EXPECT_THAT(message(raw_image(0xf0000000, 0, 0)), ::testing::HasSubstr("has no RAM"));
  EXPECT_THAT(message(elf_image()), ::testing::HasSubstr("no multiboot header"));
  EXPECT_THAT(message(elf_image({.is_64 = true, .multiboot = true})), ::testing::HasSubstr("64-bit multiboot"));
  Bytes demanding = elf_image({.multiboot = true});
  const std::size_t header = *find_multiboot_header(demanding);
  store_le(demanding.data() + header + 4, std::uint32_t{0x80});
  store_le(demanding.data() + header + 8, 0U - 0x1badb002U - 0x80U);
  EXPECT_THAT(message(demanding), ::testing::HasSubstr("demands features"));
  Bytes late(9000);
  std::memcpy(late.data() + 8192, raw_image(0x300000, 0, 0).data() + 16, 12);
  EXPECT_EQ(find_multiboot_header(late), std::nullopt);
}

TEST(ElfBoot, CutAndMutatedImagesNeverCrash) {
  constexpr std::uint32_t kSeed = 77;
  SCOPED_TRACE(fmt::format("seed {}", kSeed));
  std::uint64_t state = kSeed;
  const auto random = [&] { return state = state * 6364136223846793005U + 1442695040888963407U, state >> 33; };
  const auto try_all = [](const Bytes& image) {
    for (const auto& plan :
         {plan_pvh(files_of(image), direct_memory()), plan_multiboot(files_of(image), direct_memory())}) {
      if (plan) {
        EXPECT_TRUE(check_pieces(*plan, direct_memory().map, "k"));
      } else {
        EXPECT_EQ(plan.error().message().find('\n'), std::string::npos);
      }
    }
  };
  for (const Bytes& original : {elf_image({.pvh_entry = 0x200000}), elf_image({.is_64 = true, .pvh_entry = 0x200000}),
                                elf_image({.multiboot = true}), raw_image(0x300000, 0x300040, 0x305000)}) {
    for (std::size_t length = 0; length < original.size(); ++length)
      try_all(Bytes(original.begin(), original.begin() + static_cast<std::ptrdiff_t>(length)));
    for (int round = 0; round < 1500; ++round) {
      Bytes image = original;
      for (int i = 0; i < 4; ++i)
        image[random() % image.size()] = static_cast<std::byte>(random() % 4 == 0 ? 0xff : random());
      try_all(image);
    }
  }
}

}  // namespace
}  // namespace doppel::hw
