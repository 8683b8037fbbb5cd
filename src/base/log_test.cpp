#include "base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

namespace doppel {
namespace {

class LogTest : public ::testing::Test {
 protected:
  LogTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "doppel-log-test-XXXXXX").string();
    directory_ = ::mkdtemp(pattern.data());
    EXPECT_TRUE(sink_.open(path("log")));
  }
  ~LogTest() override { std::filesystem::remove_all(directory_); }

  [[nodiscard]] std::string path(const std::string& name) const { return (directory_ / name).string(); }
  [[nodiscard]] std::string text() const {
    std::ostringstream all;
    all << std::ifstream(path("log")).rdbuf();
    return all.str();
  }

  std::filesystem::path directory_;
  LogSink sink_;
};

TEST_F(LogTest, LevelsAndComponents) {
  const Logger log(sink_, "rtl8139");
  log.error("number {}", 1);
  log.warn("two");
  log.info("three");
  Logger(sink_, "").info("four");
  log.named("tap").info("five");
  EXPECT_EQ(text(),
            "doppel: error: rtl8139: number 1\n"
            "doppel: warning: rtl8139: two\n"
            "doppel: rtl8139: three\n"
            "doppel: four\n"
            "doppel: tap: five\n");
}

TEST_F(LogTest, QuietLeavesErrors) {
  const Logger log(sink_, "x");
  sink_.set_quiet(true);
  log.warn("no");
  log.info("no");
  log.error("yes");
  EXPECT_EQ(text(), "doppel: error: x: yes\n");
}

TEST_F(LogTest, DefaultLoggerIsSilent) {
  const Logger log;
  log.error("nobody hears this");
  log.guest_error("nor this");
  log.named("x").error("nor this");
  EXPECT_FALSE(log.enabled(LogCategory::kMmu));
}

TEST_F(LogTest, CategoriesAreAskedFor) {
  const Logger log(sink_, "x");
  log.trace(LogCategory::kMmu, "no");
  ASSERT_TRUE(sink_.enable("mmu,int"));
  log.trace(LogCategory::kMmu, "walk {:#x}", 16);
  log.trace(LogCategory::kExec, "no");
  EXPECT_EQ(text(), "doppel: x: walk 0x10\n");
  ASSERT_TRUE(sink_.enable("all"));
  for (const auto& row : log_categories()) EXPECT_TRUE(log.enabled(row.category)) << row.name;
}

TEST_F(LogTest, UnknownCategoryNamesTheNearest) {
  EXPECT_EQ(sink_.enable("int,guest_eror").error().message(),
            "unknown log category 'guest_eror' (did you mean 'guest_errors'?); '-d help' lists them");
}

TEST_F(LogTest, CategoryNamesAreDistinct) {
  for (const auto& a : log_categories())
    EXPECT_EQ(std::ranges::count(log_categories(), a.name, &LogCategoryInfo::name), 1) << a.name;
}

TEST_F(LogTest, GuestErrorsAreRateLimitedForEachLogger) {
  const Logger hostile(sink_, "hostile");
  const Logger other(sink_, "other");
  hostile.guest_error("not asked for");
  ASSERT_TRUE(sink_.enable("guest_errors"));
  for (int i = 0; i < 100'000; ++i) hostile.guest_error("line {}", i);
  other.guest_error("still heard");
  const std::string all = text();
  EXPECT_LT(std::ranges::count(all, '\n'), 100);  // ten a second, however slow this host
  EXPECT_THAT(all, ::testing::StartsWith("doppel: hostile: line 0\n"));
  EXPECT_THAT(all, ::testing::HasSubstr("doppel: hostile: further messages of this second are dropped\n"));
  EXPECT_THAT(all, ::testing::EndsWith("doppel: other: still heard\n"));
}

TEST_F(LogTest, FileNameMayHoldTheProcessId) {
  LogSink sink;
  ASSERT_TRUE(sink.open(path("log-%d.txt")));
  EXPECT_TRUE(std::filesystem::exists(path(fmt::format("log-{}.txt", ::getpid()))));
  const auto missing = sink.open(path("missing/log"));
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().kind(), ErrorKind::kNotFound);
  sink.write(LogLevel::kInfo, "x", "goes on into the old file");
}

TEST_F(LogTest, LinesOfSeveralThreadsStayWhole) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      const Logger log(sink_, fmt::format("t{}", t));
      for (int i = 0; i < 200; ++i) log.info("{:a<100}", "");
    });
  for (auto& thread : threads) thread.join();
  std::ifstream file(path("log"));
  int lines = 0;
  for (std::string line; std::getline(file, line); ++lines) EXPECT_EQ(line.size(), 112U);
  EXPECT_EQ(lines, 800);
}

}  // namespace
}  // namespace doppel
