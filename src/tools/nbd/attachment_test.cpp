// The kernel's client, with a device that stands in for the kernel: hosts of tests rarely have /dev/nbdN.
#include "tools/nbd/attachment.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <future>

#include "block/memory_node.h"
#include "block/test_support.h"
#include "nbd/server.h"
#include "nbd/wire.h"

namespace doppel::nbd {
namespace {

using block::Bytes;
using block::filled;

/// Reads the first bytes of what it is attached to, as the kernel's search for partitions does, until it is detached.
class FakeDevice final : public KernelDevice {
 public:
  struct Log {
    std::uint64_t size = 0;
    std::uint16_t flags = 0;
    Bytes first;
    std::promise<void> detached;
    std::atomic<bool> has_read = false;  // FIRST is there
    std::atomic<bool> is_detached = false;
    bool refuses = false;
  };
  explicit FakeDevice(Log& log) : log_(log) {}

  Result<> attach(int socket, std::uint64_t size, std::uint16_t transmission_flags) override {
    EXPECT_EQ(::fcntl(socket, F_GETFL) & O_NONBLOCK, 0) << "the kernel's client waits in its calls";
    if (log_.refuses) return fail(ErrorKind::kBusy, "the device is in use");
    socket_ = socket;
    log_.size = size;
    log_.flags = transmission_flags;
    return {};
  }
  Result<> serve() override {
    WireWriter request;
    request.put(kRequestMagic).put(std::uint16_t{0}).put(static_cast<std::uint16_t>(Command::kRead));
    request.put(std::uint64_t{7}).put(std::uint64_t{0}).put(std::uint32_t{512});
    EXPECT_EQ(::send(socket_, request.bytes().data(), request.bytes().size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(request.bytes().size()));
    Bytes reply(kSimpleReplySize + 512);
    EXPECT_EQ(::recv(socket_, reply.data(), reply.size(), MSG_WAITALL), static_cast<ssize_t>(reply.size()));
    log_.first.assign(reply.begin() + kSimpleReplySize, reply.end());
    log_.has_read = true;
    log_.detached.get_future().wait();
    return {};
  }
  void scan_partitions() override {}
  void detach() override {
    if (!log_.is_detached.exchange(true)) log_.detached.set_value();
  }

 private:
  Log& log_;
  int socket_ = -1;
};

struct AttachmentTest : testing::Test {
  AttachmentTest() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
    EXPECT_TRUE(server.adopt(UniqueFd(ends[0])));
    socket = UniqueFd(ends[1]);
  }
  ~AttachmentTest() override { rig.run(server.stop()); }

  std::unique_ptr<Attachment> attach(const std::string& name, std::function<void()> attached) {
    return std::make_unique<Attachment>(
        rig.loop, std::make_unique<FakeDevice>(log), std::move(socket), name,
        Attachment::Events{.attached = std::move(attached), .detached = [this](Result<> how) {
                             outcome = how ? "good" : how.error().describe();
                             rig.loop.quit();
                           }});
  }

  block::BlockRig rig;
  block::MemoryNode node{filled(1 << 20, 0x5a)};
  Server server{rig.loop, {.exports = {{.name = "disk", .node = &node, .read_only = true}}}, {}};
  FakeDevice::Log log;
  UniqueFd socket;
  std::string outcome;
};

TEST_F(AttachmentTest, GivesTheKernelTheExport) {
  bool attached = false;
  const auto attachment = attach("disk", [&] {
    attached = true;
    FakeDevice(log).detach();  // as doppel-nbd -d does
  });
  rig.loop.run();
  EXPECT_TRUE(attached);
  EXPECT_EQ(outcome, "good");
  EXPECT_EQ(log.size, 1U << 20U);
  EXPECT_NE(log.flags & kReadOnly, 0);
  EXPECT_EQ(log.first, filled(512, 0x5a));
}

TEST_F(AttachmentTest, EndsWhileItIsAttached) {
  auto attachment = attach("disk", [this] { rig.loop.quit(); });
  rig.loop.run();
  // The device's request may still be under way: the server answers as long as its loop runs.
  while (!log.has_read) rig.loop.run_ready();
  attachment.reset();
  EXPECT_TRUE(log.is_detached);
  EXPECT_EQ(outcome, "");
}

TEST_F(AttachmentTest, EndsInTheHandshake) {
  const auto attachment = attach("disk", [] {});
}

TEST_F(AttachmentTest, TellsWhatIsWrong) {
  const auto missing = attach("other", [] { ADD_FAILURE() << "there is no such export"; });
  rig.loop.run();
  EXPECT_EQ(outcome, "the server does not answer as it should");
}

TEST_F(AttachmentTest, TellsWhyTheDeviceRefuses) {
  log.refuses = true;
  const auto attachment = attach("disk", [] {});
  rig.loop.run();
  EXPECT_EQ(outcome, "the device is in use");
}

TEST(KernelDevice, OneThatIsNotThere) {
  const auto opened = open_kernel_device("/dev/doppel-has-no-nbd");
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().describe(),
            "there is no '/dev/doppel-has-no-nbd'; 'modprobe nbd' loads the kernel's NBD client");
}

}  // namespace
}  // namespace doppel::nbd
