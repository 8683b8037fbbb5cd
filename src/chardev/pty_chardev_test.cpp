#include "chardev/pty_chardev.h"

#include <fcntl.h>
#include <termios.h>

#include "chardev/chardev_test_support.h"

namespace doppel::chardev {
namespace {

class PtyChardevTest : public ChardevTest {
 protected:
  void SetUp() override {
    auto made = PtyChardev::create({.id = "p"}, {.path = path("link")}, loop, {});
    ASSERT_TRUE(made) << made.error().describe();
    pty = std::move(*made);
    frontend.connect_to(*pty);
  }
  UniqueFd open_slave() { return UniqueFd(open(pty->filename().substr(4).c_str(), O_RDWR | O_NOCTTY | O_NONBLOCK)); }
  std::unique_ptr<ChardevBase> pty;
  TestFrontend frontend;
};

TEST_F(PtyChardevTest, NamesItself) {
  EXPECT_TRUE(pty->filename().starts_with("pty:/dev/pts/"));
  EXPECT_EQ(std::filesystem::read_symlink(path("link")).string(), pty->filename().substr(4));
  pty.reset();
  EXPECT_FALSE(std::filesystem::exists(std::filesystem::symlink_status(path("link"))));
}

TEST_F(PtyChardevTest, DropsOutputWhileNobodyListens) {
  for (int i = 0; i < 100; ++i) EXPECT_EQ(pty->write(bytes_of(std::string(10000, 'x'))), 10000U);
  turn();
  EXPECT_TRUE(frontend.events.empty());
}

TEST_F(PtyChardevTest, TalksWhileOpenAndSurvivesReopening) {
  for (int round = 0; round < 2; ++round) {
    frontend.events.clear();
    frontend.received.clear();
    {
      const UniqueFd slave = open_slave();
      ASSERT_TRUE(slave.valid());
      ASSERT_TRUE(turn_until([&] { return !frontend.events.empty(); }));
      EXPECT_EQ(frontend.events[0], CharEvent::kOpened);
      termios mode{};
      ASSERT_EQ(tcgetattr(slave.get(), &mode), 0);
      EXPECT_EQ(mode.c_lflag & (ICANON | ECHO), 0U);
      put(slave.get(), "hello\r");
      EXPECT_TRUE(turn_until([&] { return frontend.received == "hello\r"; }));
      EXPECT_EQ(pty->write(bytes_of("world\n")), 6U);
      std::string got;
      EXPECT_TRUE(turn_until([&] { return (got += read_some(slave.get())) == "world\n"; }));
    }
    EXPECT_TRUE(turn_until([&] { return frontend.events.back() == CharEvent::kClosed; }));
  }
}

TEST_F(PtyChardevTest, ALeavingPeerFreesAFullQueue) {
  {
    const UniqueFd slave = open_slave();
    ASSERT_TRUE(turn_until([&] { return !frontend.events.empty(); }));
    std::size_t taken = 1;
    for (int i = 0; i < 1000 && taken != 0; ++i) {
      taken = pty->write(bytes_of(std::string(10000, 'x')));
      turn();
    }
    EXPECT_EQ(taken, 0U);
  }
  EXPECT_TRUE(turn_until([&] { return frontend.events.back() == CharEvent::kClosed && frontend.can_writes > 0; }));
  EXPECT_EQ(pty->write(bytes_of("dropped")), 7U);
}

}  // namespace
}  // namespace doppel::chardev
