#include "block/file_node.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <random>
#include <thread>

#include "block/file_lock.h"
#include "block/test_support.h"

namespace doppel::block {
namespace {

struct Setup {
  std::string name;
  EngineChoice engine;
  bool direct;
  bool filling = false;
};

class FileNodeTest : public testing::TestWithParam<Setup> {
 protected:
  NodePtr open(const TemporaryFile& file) {
    const FileOptions options{.writable = true, .direct = GetParam().direct, .filling = GetParam().filling};
    auto node = FileNode::open(rig_.context, file.path(), options);
    EXPECT_TRUE(node) << node.error().describe();
    return node ? std::move(*node) : nullptr;
  }
  BlockRig rig_{GetParam().engine};
};

INSTANTIATE_TEST_SUITE_P(Engines, FileNodeTest,
                         testing::Values(Setup{"uring", EngineChoice::kBest, false},
                                         Setup{"threads", EngineChoice::kThreads, false},
                                         Setup{"uring_direct", EngineChoice::kBest, true},
                                         Setup{"threads_direct", EngineChoice::kThreads, true},
                                         Setup{"filling", EngineChoice::kBest, false, true}),
                         [](const auto& setup) { return setup.param.name; });

TEST_P(FileNodeTest, KeepsWhatIsWrittenAtAnyAlignment) {
  const TemporaryFile file(100'000);
  const NodePtr node = open(file);
  Bytes model(150'000, std::byte{0});
  std::mt19937 random(7);
  std::size_t end = 100'000;
  for (int i = 0; i < 200; ++i) {
    const bool large = i == 100;  // enough for blocks to be reserved
    const std::size_t offset = large ? 3 : random() % 140'000;
    const std::size_t size = large ? 140'000 : random() % 10'000;
    const Bytes bytes = filled(size, i + 1);
    ASSERT_TRUE(rig_.write(*node, offset, bytes));
    std::copy(bytes.begin(), bytes.end(), model.begin() + static_cast<std::ptrdiff_t>(offset));
    if (size > 0) end = std::max(end, offset + size);
    ASSERT_EQ(node->size(), end);
  }
  EXPECT_EQ(rig_.read(*node, 0, model.size()), model);
  EXPECT_EQ(rig_.read(*node, 777, 5000), Bytes(model.begin() + 777, model.begin() + 5777));
  ASSERT_TRUE(rig_.run(node->flush()));
  EXPECT_EQ(file.contents().size(), end);
}

TEST_P(FileNodeTest, SplicesWhatIsThere) {
  const TemporaryFile file;
  const NodePtr node = open(file);
  Bytes bytes(700'000);
  std::mt19937 random(3);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  ASSERT_TRUE(rig_.write(*node, 0, bytes));
  if (GetParam().direct) {
    EXPECT_EQ(rig_.spliced(*node, 0, 4096), Bytes()) << "there is no page cache";
    return;
  }
  EXPECT_EQ(rig_.spliced(*node, 1234, 555'555), Bytes(bytes.begin() + 1234, bytes.begin() + 556'789));
  EXPECT_EQ(rig_.spliced(*node, 699'999, 1), Bytes(1, bytes.back()));
  EXPECT_EQ(rig_.spliced(*node, 699'999, 2), Bytes());
  ASSERT_EQ(::truncate(file.path().c_str(), 1000), 0);
  EXPECT_EQ(rig_.spliced(*node, 0, 2000), Bytes()) << "somebody has made the file shorter";
}

TEST_P(FileNodeTest, NeighboursInOneBlockDoNotLoseEachOther) {
  const TemporaryFile file;
  const NodePtr node = open(file);
  constexpr int kPieces = 64;
  std::vector<Bytes> pieces;
  for (int i = 0; i < kPieces; ++i) pieces.push_back(filled(512, i + 1));
  rig_.run_at_once(kPieces, [&](std::size_t i) { return node->write(i * 512, std::span<const std::byte>(pieces[i])); });
  for (std::size_t i = 0; i < kPieces; ++i) ASSERT_EQ(rig_.read(*node, i * 512, 512), pieces[i]) << i;
}

// More than an engine copies on the loop's thread: the rest goes to its workers, and all of it arrives.
TEST_P(FileNodeTest, ManyLargeReadsAtOnce) {
  constexpr std::size_t kCount = 24;
  constexpr std::size_t kSize = 1 << 20;
  const TemporaryFile file;
  const NodePtr node = open(file);
  Bytes bytes(kCount * kSize);
  std::mt19937_64 random(5);
  for (std::size_t i = 0; i < bytes.size(); i += 512) bytes[i] = static_cast<std::byte>(random());
  ASSERT_TRUE(rig_.write(*node, 0, bytes));
  Bytes copy(bytes.size());
  rig_.run_at_once(kCount,
                   [&](std::size_t i) { return node->read(i * kSize, std::span(copy).subspan(i * kSize, kSize)); });
  EXPECT_TRUE(copy == bytes);
  EXPECT_TRUE(rig_.read(*node, 0, bytes.size()) == bytes) << "one read, larger than any that is copied at once";
}

/// Reads the same block up to COUNT times, while what it posts at the first time has not run; how often.
Task<int> read_until_posted(Node& node, event::Loop& loop, int count) {
  Bytes bytes(512);
  bool ran = false;
  int done = 0;
  while (!ran && done < count) {
    EXPECT_TRUE(co_await node.read(0, std::span(bytes)));
    if (++done == 1) loop.post([&ran] { ran = true; });
  }
  co_return done;
}

// A read that follows another is complete at once, from the page cache: the loop's other work has its turn all the
// same.
TEST_P(FileNodeTest, CachedReadsLeaveTheLoopToOthers) {
  constexpr int kCount = 10'000;
  const TemporaryFile file(4096);
  const NodePtr node = open(file);
  EXPECT_LT(rig_.run(read_until_posted(*node, rig_.loop, kCount)), kCount);
}

TEST_P(FileNodeTest, ZeroesAndHoles) {
  const TemporaryFile file;
  const NodePtr node = open(file);
  ASSERT_TRUE(rig_.write(*node, 0, filled(1 << 20, 0x55)));
  ASSERT_TRUE(rig_.run(node->write_zeroes(65536, 65536, Unmap::kMayUnmap)));
  ASSERT_TRUE(rig_.run(node->write_zeroes(300'000, 1000, Unmap::kKeep)));
  ASSERT_TRUE(rig_.run(node->write_zeroes((1 << 20) - 10, 30, Unmap::kKeep)));
  EXPECT_EQ(node->size(), (1U << 20) + 20);
  EXPECT_EQ(rig_.read(*node, 65535, 2), (Bytes{std::byte{0x55}, std::byte{0}}));
  EXPECT_EQ(rig_.read(*node, 300'000, 1001).back(), std::byte{0x55});
  EXPECT_EQ(rig_.read(*node, 65536, 65536), filled(65536, 0));
  const auto hole = rig_.run(node->block_status(65536, 1 << 20));
  ASSERT_TRUE(hole);
  EXPECT_TRUE(hole->zero);
  EXPECT_EQ(hole->bytes, 65536U);
  const auto data = rig_.run(node->block_status(131072, 4096));
  EXPECT_TRUE(data->data);
  EXPECT_EQ(data->offset, 131072U);
}

TEST_P(FileNodeTest, Resizes) {
  const TemporaryFile file(4096);
  const NodePtr node = open(file);
  ASSERT_TRUE(rig_.run(node->resize(1 << 20, Preallocation::kFalloc)));
  EXPECT_GE(node->info().disk_size, (1U << 20) - 4096);
  ASSERT_TRUE(rig_.run(node->resize(2 << 20, Preallocation::kFull)));
  ASSERT_TRUE(rig_.run(node->resize(512, Preallocation::kOff)));
  EXPECT_EQ(file.contents().size(), 512U);
}

TEST(FileNode, SaysWhatIsWrong) {
  BlockRig rig;
  const auto missing = FileNode::open(rig.context, "/nonexistent/x", {});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().describe(), "cannot open '/nonexistent/x': No such file or directory");
  const auto directory = FileNode::open(rig.context, "/", {});
  ASSERT_FALSE(directory);
  EXPECT_EQ(directory.error().describe(), "'/' is neither a file nor a block device");
}

/// A child process that opens PATH and keeps it, until destroyed.
class Holder {
 public:
  Holder(const std::string& path, bool writable) {
    int ready[2];
    EXPECT_EQ(::pipe(ready), 0);
    child_ = ::fork();
    if (child_ == 0) {
      BlockRig rig;
      const auto node = FileNode::open(rig.context, path, {.writable = writable});
      const char ok = node ? 'y' : 'n';
      (void)!::write(ready[1], &ok, 1);
      for (;;) ::pause();
    }
    char ok = 0;
    EXPECT_EQ(::read(ready[0], &ok, 1), 1);
    EXPECT_EQ(ok, 'y');
    ::close(ready[0]);
    ::close(ready[1]);
  }
  ~Holder() {
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
  }
  [[nodiscard]] int pid() const { return child_; }

 private:
  int child_;
};

void send_descriptor(int socket, int fd) {
  char byte = 0;
  iovec data{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)]{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  ASSERT_EQ(::sendmsg(socket, &message, 0), 1);
}

TEST(FileLock, KeepsASecondWriterAwayAndNamesTheFirst) {
  const TemporaryFile file(4096);
  const Holder holder(file.path(), true);
  BlockRig rig;
  for (const bool writable : {true, false}) {
    const auto second = FileNode::open(rig.context, file.path(), {.writable = writable});
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().kind(), ErrorKind::kBusy);
    const std::string expected =
        fmt::format("'{}' is locked: process {} (block_test) has it open for writing", file.path(), holder.pid());
    EXPECT_EQ(second.error().message(), expected);
  }
  EXPECT_TRUE(FileNode::open(rig.context, file.path(), {.writable = true, .locking = FileLocking::kOff}));
}

TEST(FileLock, ReadersShareAndKeepWritersAway) {
  const TemporaryFile file(4096);
  const Holder holder(file.path(), false);
  BlockRig rig;
  EXPECT_TRUE(FileNode::open(rig.context, file.path(), {}));
  const auto writer = FileNode::open(rig.context, file.path(), {.writable = true});
  ASSERT_FALSE(writer);
  EXPECT_THAT(writer.error().message(), testing::HasSubstr("uses it and lets nobody write to it"));
}

TEST(FileLock, TellsOfAnImageThatIsOpenedTwice) {
  const TemporaryFile file(4096);
  BlockRig rig;
  const auto first = FileNode::open(rig.context, file.path(), {.writable = true});
  ASSERT_TRUE(first);
  const auto second = FileNode::open(rig.context, file.path(), {.writable = true});
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message(), testing::HasSubstr("this program itself has it open for writing"));
}

/// A file that is on its way through a socket is open, but no process has it, as with one that was killed a moment ago.
TEST(FileLock, OutlivesItsProcessForAMoment) {
  const TemporaryFile file(4096);
  BlockRig rig;
  const int locked = ::open(file.path().c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_TRUE(lock_file(locked, file.path(), image_permissions(true)));
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  send_descriptor(ends[0], locked);
  ::close(locked);
  const auto too_long = FileNode::open(rig.context, file.path(), {.writable = true});
  ASSERT_FALSE(too_long);
  EXPECT_THAT(too_long.error().message(), testing::HasSubstr("a process that cannot be seen has it open"));
  std::thread kernel([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    ::close(ends[0]);
    ::close(ends[1]);
  });
  EXPECT_TRUE(FileNode::open(rig.context, file.path(), {.writable = true}));
  kernel.join();
}

TEST(FileLock, QemuRespectsOursAndWeRespectQemus) {
  if (std::system("command -v qemu-io >/dev/null") != 0) GTEST_SKIP() << "qemu-io (qemu-utils) is not installed";
  const TemporaryFile file(1 << 20);
  {
    const Holder holder(file.path(), true);
    EXPECT_NE(std::system(("qemu-io -f raw -c 'read 0 512' " + file.path() + " >/dev/null 2>&1").c_str()), 0);
  }
  EXPECT_EQ(std::system(("qemu-io -f raw -c 'read 0 512' " + file.path() + " >/dev/null 2>&1").c_str()), 0);
  std::FILE* qemu = ::popen(("qemu-io -f raw " + file.path() + " >/dev/null 2>&1").c_str(), "w");
  ASSERT_NE(qemu, nullptr);
  BlockRig rig;
  Result<NodePtr> node;
  for (int tries = 0; tries < 500; ++tries) {  // until qemu-io has opened it
    node = FileNode::open(rig.context, file.path(), {.writable = true});
    if (!node) break;
    node->reset();
    ::usleep(10'000);
  }
  EXPECT_FALSE(node);
  EXPECT_EQ(node.error().kind(), ErrorKind::kBusy);
  EXPECT_THAT(node.error().message(), testing::HasSubstr("(qemu-io)"));
  ::pclose(qemu);
  EXPECT_TRUE(FileNode::open(rig.context, file.path(), {.writable = true}));
}

}  // namespace
}  // namespace doppel::block
