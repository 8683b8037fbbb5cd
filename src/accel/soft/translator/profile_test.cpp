// -perfmap and -jitdump.
#include <elf.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "accel/soft/translator/jit_dump.h"
#include "accel/soft/translator/perf_map.h"
#include "accel/soft/translator/plan.h"
#include "accel/soft/translator/translation.h"

namespace doppel::accel::soft {
namespace {

class ProfileTest : public testing::Test {
 protected:
  ProfileTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "doppel-profile-test-XXXXXX").string();
    directory_ = ::mkdtemp(pattern.data());
    translation_.key.linear = 0xffffffff81000000;
  }
  ~ProfileTest() override { std::filesystem::remove_all(directory_); }

  [[nodiscard]] std::string path(const std::string& name) const { return (directory_ / name).string(); }
  [[nodiscard]] std::string contents(const std::string& name) const {
    std::ostringstream all;
    all << std::ifstream(path(name), std::ios::binary).rdbuf();
    return all.str();
  }
  void tell(TranslationObserver& observer) const {
    observer.gate_generated({.address = 0x10000, .bytes = kGate});
    observer.translated({.plan = plan_,
                         .translation = translation_,
                         .hot = {.address = 0x20000, .bytes = kHot},
                         .cold = {.address = 0x30000, .bytes = {}}});
  }
  [[nodiscard]] bool is_mapped_executable(const std::string& name) const {
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);)
      if (line.ends_with(path(name)) && line.find(" r-xp ") != std::string::npos) return true;
    return false;
  }

  static constexpr std::array<std::uint8_t, 3> kGate = {1, 2, 3};
  static constexpr std::array<std::uint8_t, 17> kHot = {0x90, 0xc3};
  std::filesystem::path directory_;
  BlockPlan plan_;
  Translation translation_;
};

TEST_F(ProfileTest, MapNamesPiecesThatAreThere) {
  {
    const auto map = PerfMap::create(path("map"));
    ASSERT_TRUE(map);
    tell(**map);
  }
  EXPECT_EQ(contents("map"), "10000 3 doppel_gate\n20000 11 guest_0xffffffff81000000\n");
  EXPECT_EQ(PerfMap::usual_path(), fmt::format("/tmp/perf-{}.map", ::getpid()));
}

TEST_F(ProfileTest, AFileThatCannotBeIsTold) {
  const std::string name = path("missing/map");
  EXPECT_EQ(PerfMap::create(name).error().describe(), fmt::format("cannot open '{}': No such file or directory", name));
  EXPECT_EQ(JitDump::create(name).error().describe(), fmt::format("cannot open '{}': No such file or directory", name));
  std::filesystem::create_symlink(path("elsewhere"), path("map"));
  EXPECT_FALSE(PerfMap::create(path("map")));
}

TEST_F(ProfileTest, DumpHasHeaderLoadsAndAnEnd) {
  {
    const auto dump = JitDump::create(path("dump"));
    ASSERT_TRUE(dump);
    EXPECT_TRUE(is_mapped_executable("dump"));
    tell(**dump);
  }
  EXPECT_FALSE(is_mapped_executable("dump"));
  const std::string all = contents("dump");
  std::size_t at = 0;
  const auto word = [&] {
    std::uint32_t value = 0;
    EXPECT_LE(at + 4, all.size());
    std::memcpy(&value, all.data() + at, 4);
    at += 4;
    return value;
  };
  const auto wide = [&] { return word() | std::uint64_t{word()} << 32U; };
  const auto pid = static_cast<std::uint32_t>(::getpid());
  EXPECT_EQ(word(), 0x4a695444U);
  EXPECT_EQ(word(), 1U);
  EXPECT_EQ(word(), 40U);
  EXPECT_EQ(word(), static_cast<std::uint32_t>(EM_X86_64));
  EXPECT_EQ(word(), 0U);
  EXPECT_EQ(word(), pid);
  std::uint64_t last = wide();
  EXPECT_EQ(wide(), 0U);
  std::uint64_t index = 0;
  const auto expect_load = [&](const std::string& name, std::uint64_t address, std::span<const std::uint8_t> code) {
    EXPECT_EQ(word(), 0U);
    EXPECT_EQ(word(), 56 + name.size() + 1 + code.size());
    const std::uint64_t time = wide();
    EXPECT_GE(time, last);
    last = time;
    EXPECT_EQ(word(), pid);
    EXPECT_EQ(word(), static_cast<std::uint32_t>(::gettid()));
    EXPECT_EQ(wide(), address);
    EXPECT_EQ(wide(), address);
    EXPECT_EQ(wide(), code.size());
    EXPECT_EQ(wide(), index++);
    EXPECT_STREQ(all.data() + at, name.c_str());
    at += name.size() + 1;
    EXPECT_EQ(std::memcmp(all.data() + at, code.data(), code.size()), 0);
    at += code.size();
  };
  expect_load("doppel_gate", 0x10000, kGate);
  expect_load("guest_0xffffffff81000000", 0x20000, kHot);
  EXPECT_EQ(word(), 3U);
  EXPECT_EQ(word(), 16U);
  EXPECT_GE(wide(), last);
  EXPECT_EQ(at, all.size());
}

}  // namespace
}  // namespace doppel::accel::soft
