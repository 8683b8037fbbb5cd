#include "vm/disk_set.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <optional>

namespace doppel::vm {
namespace {

struct DiskSetTest : testing::Test {
  DiskSetTest() {
    const int fd = ::mkstemp(path.data());
    EXPECT_GE(fd, 0);
    EXPECT_EQ(::ftruncate(fd, 1 << 20), 0);
    ::close(fd);
  }
  ~DiskSetTest() override { ::unlink(path.c_str()); }

  std::string path = testing::TempDir() + "doppel-disk-set-XXXXXX";
  event::Loop loop;
  DiskSet disks{loop};
};

TEST_F(DiskSetTest, OpensAndHandsOutEachDiskOnce) {
  ASSERT_TRUE(disks.open({.id = "a", .file = path, .format = "raw"}));
  const auto disk = disks.claim("a");
  ASSERT_TRUE(disk);
  EXPECT_EQ((*disk)->size(), 1U << 20U);
  EXPECT_EQ(disks.claim("a").error().describe(), "drive 'a' is in another device already");
  EXPECT_EQ(disks.claim("b").error().describe(),
            "there is no drive 'b' (did you mean 'a'?); add '-drive if=none,id=b,file=FILE'");
}

TEST_F(DiskSetTest, ErrorsNameTheDriveAndAdvise) {
  EXPECT_EQ(disks.open({.id = "a", .file = "/does/not/exist"}).error().describe(),
            "drive 'a': cannot open '/does/not/exist': No such file or directory; 'doppel-img create FILE SIZE' "
            "makes one");
  EXPECT_NE(disks.open({.id = "a", .file = path, .format = "rwa"}).error().describe().find("did you mean 'raw'?"),
            std::string::npos);
  ASSERT_TRUE(disks.open({.id = "a", .file = path, .format = "raw"}));
  EXPECT_EQ(disks.open({.id = "a", .file = path}).error().describe(),
            "there are two drives 'a'; give one of them another id=");
  EXPECT_EQ(disks.open({.id = "b", .file = path}).error().describe(),
            "drives 'a' and 'b' have the same image, '" + path + "', which only one can write to");
}

/// A disk that lives in an iothread: there its requests end, and from there the main thread is told of trouble.
struct ThreadDiskTest : DiskSetTest {
  ThreadDiskTest() {
    VmConfig config;
    config.drives = {{.id = "a"}, {.id = "b"}};
    config.iothreads = {io};
    config.devices = {{"virtio-blk-pci", {{"drive", "a"}, {"iothread", "io0"}}}};
    set.emplace(loop, DiskSet::Events{.stopped = [this](const std::string& why) { told.push_back(why); }}, threads,
                DiskHomes::plan(config).value());
  }
  ~ThreadDiskTest() override { threads.stop(); }

  /// Opens a drive that fails at its first FAILURES reads, and waits then.
  void open_failing(const std::string& id, int failures) {
    KeyValues options = {
        {"driver", "raw"}, {"file.driver", "blkdebug"}, {"file.image.driver", "file"}, {"file.image.filename", path}};
    for (int i = 0; i < failures; ++i) {
      const std::string prefix = "file.inject-error." + std::to_string(i) + ".";
      options.insert(options.end(), {{prefix + "event", "none"}, {prefix + "iotype", "read"}, {prefix + "once", "on"}});
    }
    const auto opened = set->open({.id = id, .read_error = "stop", .options = options});
    ASSERT_TRUE(opened) << opened.error().describe();
  }
  template <class Condition>
  bool serve_until(Condition condition) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!condition() && std::chrono::steady_clock::now() < deadline) loop.run_ready();
    return condition();
  }
  void read(block::Disk& disk) {
    disk.read(0, {{.iov_base = bytes.data(), .iov_len = bytes.size()}}, [this](const Result<>& result) {
      ended_there = threads.find("io0")->is_loop_thread();
      outcome = result ? 1 : 2;
    });
  }

  const IoThreadConfig io{.id = "io0"};
  IoThreadSet threads{{io}, true};
  std::vector<std::byte> bytes = std::vector<std::byte>(4096);
  std::vector<std::string> told;  // on the main thread
  std::atomic<bool> ended_there = false;
  std::atomic<int> outcome = 0;
  std::optional<DiskSet> set;
};

TEST_F(ThreadDiskTest, BelongsToTheDeviceOfThatThread) {
  ASSERT_TRUE(set->open({.id = "a", .file = path, .format = "raw"}));
  EXPECT_EQ(set->claim("b").error().kind(), ErrorKind::kNotFound);
  EXPECT_EQ(set->claim("a").error().kind(), ErrorKind::kInternal);
}

TEST_F(ThreadDiskTest, RequestsEndThere) {
  ASSERT_TRUE(set->open({.id = "a", .file = path, .format = "raw"}));
  block::Disk& disk = **set->claim("a", "io0");
  EXPECT_EQ(set->read_all(disk)->size(), disk.size());
  threads.start();
  read(disk);
  ASSERT_TRUE(serve_until([this] { return outcome != 0; }));
  EXPECT_EQ(outcome, 1);
  EXPECT_TRUE(ended_there);
}

TEST_F(ThreadDiskTest, HeldRequestsAreTriedAgainThere) {
  open_failing("a", 2);
  block::Disk& disk = **set->claim("a", "io0");
  threads.start();
  read(disk);
  ASSERT_TRUE(serve_until([this] { return told.size() == 1; }));
  EXPECT_TRUE(told[0].starts_with("drive 'a': reading 4096 bytes at 0: ")) << told[0];
  EXPECT_EQ(outcome, 0);
  set->retry_requests();
  ASSERT_TRUE(serve_until([this] { return told.size() == 2; }));
  EXPECT_EQ(outcome, 0);
  set->retry_requests();
  ASSERT_TRUE(serve_until([this] { return outcome != 0; }));
  EXPECT_EQ(outcome, 1);
  EXPECT_TRUE(ended_there);
}

TEST_F(ThreadDiskTest, AbandonedRequestsFailThere) {
  open_failing("a", 1);
  block::Disk& disk = **set->claim("a", "io0");
  threads.start();
  read(disk);
  ASSERT_TRUE(serve_until([this] { return told.size() == 1; }));
  set->abandon_requests();
  ASSERT_TRUE(serve_until([this] { return outcome != 0; }));
  EXPECT_EQ(outcome, 2);
  EXPECT_TRUE(ended_there);
}

/// What was abandoned or retried meanwhile stops nobody.
TEST_F(ThreadDiskTest, LateNewsIsNoNews) {
  open_failing("a", 1);
  block::Disk& disk = **set->claim("a", "io0");
  event::Loop& home = *threads.find("io0");
  read(disk);
  for (int i = 0; i < 20; ++i) home.run_ready();  // it fails there, and says so
  set->retry_requests();
  loop.run_ready();
  EXPECT_TRUE(told.empty());
  threads.start();
  ASSERT_TRUE(serve_until([this] { return outcome != 0; }));
  EXPECT_EQ(outcome, 1);
}

/// It fails when the machine goes on already: the answer is on its way.
TEST_F(ThreadDiskTest, TheAnswerMayPassTheNews) {
  open_failing("a", 1);
  block::Disk& disk = **set->claim("a", "io0");
  event::Loop& home = *threads.find("io0");
  read(disk);
  set->retry_requests();
  for (int i = 0; i < 20; ++i) home.run_ready();
  loop.run_ready();
  EXPECT_TRUE(told.empty());
  EXPECT_EQ(outcome, 1);
}

/// The end of the machine with all sorts of work left.
TEST_F(ThreadDiskTest, EndsInTheMiddle) {
  for (int round = 0; round < 10; ++round) {
    open_failing("a", 1);
    block::Disk& disk = **set->claim("a", "io0");
    threads.start();
    for (int i = 0; i < 4; ++i) read(disk);
    set->retry_requests();
    set->abandon_requests();
    threads.stop();
    VmConfig config;
    config.drives = {{.id = "a"}};
    config.iothreads = {io};
    config.devices = {{"virtio-blk-pci", {{"drive", "a"}, {"iothread", "io0"}}}};
    set.emplace(loop, DiskSet::Events{}, threads, DiskHomes::plan(config).value());
  }
  EXPECT_NE(outcome, 0);
  loop.run_ready();  // what was posted knows that nobody listens
}

}  // namespace
}  // namespace doppel::vm
