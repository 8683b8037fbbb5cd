#include "chardev/mux_chardev.h"

#include "chardev/chardev_test_support.h"

namespace doppel::chardev {
namespace {

/// A terminal that is only strings.
class FakeBackend final : public Chardev {
 public:
  [[nodiscard]] const std::string& id() const override { return id_; }
  [[nodiscard]] std::string filename() const override { return "fake"; }
  [[nodiscard]] std::size_t write(std::span<const std::byte> bytes) override {
    const std::size_t taken = std::min(room, bytes.size());
    for (const std::byte byte : bytes.first(taken)) output += static_cast<char>(byte);
    room -= taken;
    return taken;
  }
  void connect(Frontend wanted) override { frontend = std::move(wanted); }
  void accept_input() override { ++accepted; }

  std::size_t type(std::string_view text) {
    const auto part = text.substr(0, frontend.can_receive());
    if (!part.empty()) frontend.receive(bytes_of(part));
    return part.size();
  }

  Frontend frontend;
  std::string output;
  std::size_t room = 1 << 20;
  int accepted = 0;

 private:
  std::string id_ = "mux0";
};

class MuxChardevTest : public ChardevTest {
 protected:
  MuxChardevTest() : mux(std::unique_ptr<Chardev>(backend), loop) {
    monitor_port = *mux.add_frontend();
    guest.connect_to(mux);
    monitor.connect_to(*monitor_port);
    backend->frontend.event(CharEvent::kOpened);
    turn();
    guest.events.clear();
    monitor.events.clear();
  }
  FakeBackend* backend = new FakeBackend;
  MuxChardev mux;
  Chardev* monitor_port = nullptr;
  TestFrontend guest;
  TestFrontend monitor;
};

TEST_F(MuxChardevTest, InputGoesToTheFocusOutputComesFromAll) {
  backend->type("hello");
  EXPECT_EQ(guest.received, "hello");
  EXPECT_EQ(monitor.received, "");
  (void)mux.write(bytes_of("guest "));
  (void)monitor_port->write(bytes_of("monitor"));
  EXPECT_EQ(backend->output, "guest monitor");
  EXPECT_EQ(mux.id(), "mux0");
}

TEST_F(MuxChardevTest, EscapeSwitchesTheFocus) {
  backend->type(
      "a\x01"
      "cinfo\x01"
      "cb");
  EXPECT_EQ(guest.received, "ab");
  EXPECT_EQ(monitor.received, "info");
  EXPECT_EQ(guest.events, (std::vector{CharEvent::kFocusOut, CharEvent::kFocusIn}));
  EXPECT_EQ(monitor.events, (std::vector{CharEvent::kFocusIn, CharEvent::kFocusOut}));
}

TEST_F(MuxChardevTest, EscapeTwiceSendsIt) {
  backend->type("\x01\x01");
  EXPECT_EQ(guest.received, "\x01");
  backend->type("\x01");
  backend->type("a");
  EXPECT_EQ(guest.received, "\x01") << "an unknown key after it is dropped";
}

TEST_F(MuxChardevTest, EscapeKeysAct) {
  int exits = 0;
  int saves = 0;
  mux.set_actions({.exit = [&] { ++exits; }, .save_disks = [&] { ++saves; }});
  backend->type("\x01x\x01s");
  EXPECT_EQ(exits, 1);
  EXPECT_EQ(saves, 1);
  backend->type(
      "\x01"
      "b");
  EXPECT_EQ(guest.events, std::vector{CharEvent::kBreak});
  backend->output.clear();
  backend->type("\x01h");
  EXPECT_NE(backend->output.find("C-a x"), std::string::npos);
  EXPECT_EQ(guest.received, "");
}

TEST_F(MuxChardevTest, AnotherEscapeKey) {
  mux.set_escape(2);
  backend->type("\x01x\x02h");
  EXPECT_EQ(guest.received, "\x01x");
  EXPECT_NE(backend->output.find("C-b x"), std::string::npos);
}

TEST_F(MuxChardevTest, FocusSkipsUnconnectedFrontends) {
  monitor_port->connect({});
  turn();
  backend->type(
      "\x01"
      "ca");
  EXPECT_EQ(guest.received, "a");
  EXPECT_EQ(mux.focused(), 0U);
}

TEST_F(MuxChardevTest, ABusyGuestDoesNotLockTheEscapeOut) {
  guest.room = 0;
  int exits = 0;
  mux.set_actions({.exit = [&] { ++exits; }, .save_disks = {}});
  EXPECT_EQ(backend->type("typed ahead\x01x"), 13U);
  EXPECT_EQ(exits, 1);
  guest.room = 100;
  mux.accept_input();
  turn();
  EXPECT_EQ(guest.received, "typed ahead");
}

TEST_F(MuxChardevTest, TypeAheadIsBounded) {
  guest.room = 0;
  EXPECT_EQ(backend->type(std::string(10000, 'x')), MuxChardev::kTypeAhead);
  EXPECT_EQ(backend->type("more"), 0U);
  const int before = backend->accepted;
  guest.room = 10000;
  mux.accept_input();
  turn();
  EXPECT_EQ(guest.received.size(), MuxChardev::kTypeAhead);
  EXPECT_GT(backend->accepted, before);
  EXPECT_EQ(backend->type("more"), 4U);
}

TEST_F(MuxChardevTest, RoomIsToldToThoseWhoLackedIt) {
  backend->room = 2;
  EXPECT_EQ(mux.write(bytes_of("abc")), 2U);
  backend->frontend.can_write();
  EXPECT_EQ(guest.can_writes, 1);
  EXPECT_EQ(monitor.can_writes, 0);
}

TEST_F(MuxChardevTest, EventsReachAllBreakOnlyTheFocus) {
  backend->frontend.event(CharEvent::kBreak);
  EXPECT_EQ(guest.events, std::vector{CharEvent::kBreak});
  EXPECT_TRUE(monitor.events.empty());
  backend->frontend.event(CharEvent::kClosed);
  EXPECT_EQ(guest.events.back(), CharEvent::kClosed);
  EXPECT_EQ(monitor.events, std::vector{CharEvent::kClosed});
}

TEST_F(MuxChardevTest, FrontendsAreCounted) {
  for (std::size_t i = 2; i < MuxChardev::kMostFrontends; ++i) EXPECT_TRUE(mux.add_frontend());
  EXPECT_EQ(mux.add_frontend().error().kind(), ErrorKind::kNoSpace);
}

}  // namespace
}  // namespace doppel::chardev
