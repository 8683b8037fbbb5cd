#include "base/daemon.h"

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>

namespace doppel {
namespace {

namespace fs = std::filesystem;

class PidFileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "doppel-pid-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    directory_ = name;
  }
  void TearDown() override { fs::remove_all(directory_); }
  [[nodiscard]] std::string path() const { return directory_ / "pid"; }

  static std::string contents(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  fs::path directory_;
};

TEST_F(PidFileTest, HoldsOurIdAndGoesAway) {
  {
    const auto file = PidFile::create(path());
    ASSERT_TRUE(file) << file.error().describe();
    EXPECT_EQ(contents(path()), fmt::format("{}\n", ::getpid()));
  }
  EXPECT_FALSE(fs::exists(path()));
}

TEST_F(PidFileTest, ReplacesWhatADeadProcessLeft) {
  std::ofstream(path()) << "1234567890123\n";
  const auto file = PidFile::create(path());
  ASSERT_TRUE(file);
  EXPECT_EQ(contents(path()), fmt::format("{}\n", ::getpid()));
}

TEST_F(PidFileTest, KeepsOthersAway) {
  const auto file = PidFile::create(path());
  const auto second = PidFile::create(path());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().describe(), fmt::format("'{}' belongs to process {}, which is running", path(), ::getpid()));
  EXPECT_TRUE(fs::exists(path()));
}

TEST_F(PidFileTest, IsRemovedEvenFromAnotherDirectory) {
  const fs::path before = fs::current_path();
  fs::current_path(directory_);
  auto file = std::optional(std::move(*PidFile::create("pid")));
  fs::current_path("/");
  file.reset();
  fs::current_path(before);
  EXPECT_FALSE(fs::exists(path()));
}

TEST_F(PidFileTest, NamesWhatCannotBeWritten) {
  const auto file = PidFile::create(directory_ / "missing" / "pid");
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().describe(),
            fmt::format("cannot open '{}': No such file or directory", (directory_ / "missing/pid").string()));
}

/// Runs WORK as the child of a daemon's start in a process of its own; the status the starter sees.
int start_and(int (*work)(Daemon& daemon)) {
  const pid_t starter = ::fork();
  if (starter == 0) {
    auto daemon = Daemon::start();
    ::_exit(daemon ? work(*daemon) : 99);
  }
  int status = 0;
  ::waitpid(starter, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(DaemonTest, TheStarterLearnsThatAllIsWell) {
  EXPECT_EQ(start_and([](Daemon& daemon) { return daemon.ready() ? 0 : 1; }), 0);
}

TEST(DaemonTest, TheStarterLearnsOfAFailure) {
  EXPECT_EQ(start_and([](Daemon&) { return 0; }), 1);
}

}  // namespace
}  // namespace doppel
