#include "chardev/socket_chardev.h"

#include "chardev/chardev_test_support.h"
#include "chardev/fd_util.h"
#include "chardev/udp_chardev.h"

namespace doppel::chardev {
namespace {

class SocketChardevTest : public ChardevTest {
 protected:
  std::unique_ptr<SocketChardev> create(const SocketBackend& backend) {
    auto made = SocketChardev::create({.id = "s"}, backend, loop, {});
    EXPECT_TRUE(made) << made.error().describe();
    if (!made) return nullptr;
    return std::unique_ptr<SocketChardev>(static_cast<SocketChardev*>(made->release()));
  }
  /// A non-blocking client of ADDRESS.
  static UniqueFd dial(const SocketAddress& address) {
    UniqueFd fd(socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(connect(fd.get(), address.raw(), address.size), 0);
    EXPECT_TRUE(set_nonblocking(fd.get(), true));
    return fd;
  }
  bool wait_for(TestFrontend& frontend, CharEvent event) {
    return turn_until([&] { return !frontend.events.empty() && frontend.events.back() == event; });
  }
  bool expect(int fd, std::string_view text) {
    std::string got;
    return turn_until([&] { return (got += read_some(fd)) == text; });
  }
};

TEST_F(SocketChardevTest, UnixServerTakesOneClientAfterAnother) {
  const auto server = create({.path = path("s"), .server = true, .wait = false});
  ASSERT_NE(server, nullptr);
  EXPECT_EQ(server->filename(), "disconnected:unix:" + path("s") + ",server=on");
  TestFrontend frontend;
  frontend.connect_to(*server);
  EXPECT_EQ(server->write(bytes_of("to nobody")), 9U);
  for (int round = 0; round < 2; ++round) {
    frontend.received.clear();
    UniqueFd client = dial(server->listening_address());
    ASSERT_TRUE(wait_for(frontend, CharEvent::kOpened));
    EXPECT_EQ(server->filename(), "unix:" + path("s") + ",server=on");
    put(client.get(), "ping");
    EXPECT_TRUE(turn_until([&] { return frontend.received == "ping"; }));
    (void)server->write(bytes_of("pong"));
    EXPECT_TRUE(expect(client.get(), "pong"));
    client.reset();
    ASSERT_TRUE(wait_for(frontend, CharEvent::kClosed));
  }
}

TEST_F(SocketChardevTest, TheSocketFileComesAndGoes) {
  auto server = create({.path = path("s"), .server = true, .wait = false});
  EXPECT_TRUE(std::filesystem::exists(path("s")));
  server.reset();
  EXPECT_FALSE(std::filesystem::exists(path("s")));
  fill(path("file"), "precious");
  const auto made = SocketChardev::create({.id = "s"}, {.path = path("file"), .server = true}, loop, {});
  EXPECT_FALSE(made);
  EXPECT_EQ(contents(path("file")), "precious");
}

TEST_F(SocketChardevTest, WaitsForItsFirstClient) {
  std::thread guest([&] {
    SocketAddress address = *unix_address(path("s"), false, true);
    UniqueFd fd(socket(AF_UNIX, SOCK_STREAM, 0));
    while (connect(fd.get(), address.raw(), address.size) != 0) std::this_thread::yield();
    put(fd.get(), "early");
    (void)read_some(fd.get());
  });
  auto server = create({.path = path("s"), .server = true});
  ASSERT_NE(server, nullptr);
  TestFrontend frontend;
  frontend.connect_to(*server);
  EXPECT_TRUE(turn_until([&] { return frontend.received == "early"; }));
  EXPECT_EQ(frontend.events, std::vector{CharEvent::kOpened});
  server.reset();
  guest.join();
}

TEST_F(SocketChardevTest, AbstractNamesNeedNoFile) {
  const std::string name = "doppel-test-" + std::to_string(getpid());
  const auto server = create({.path = name, .abstract = true, .server = true, .wait = false});
  ASSERT_NE(server, nullptr);
  EXPECT_FALSE(std::filesystem::exists(name));
  const auto client = create({.path = name, .abstract = true});
  ASSERT_NE(client, nullptr);
  TestFrontend frontend;
  frontend.connect_to(*server);
  (void)client->write(bytes_of("hi"));
  EXPECT_TRUE(turn_until([&] { return frontend.received == "hi"; }));
}

TEST_F(SocketChardevTest, TcpBothWays) {
  const auto server = create({.host = "127.0.0.1", .port = "0", .server = true, .wait = false});
  ASSERT_NE(server, nullptr);
  const std::string place = server->listening_address().text();
  EXPECT_EQ(server->filename(), "disconnected:tcp:" + place + ",server=on");
  const auto client = create({.host = "127.0.0.1", .port = place.substr(place.rfind(':') + 1), .nodelay = true});
  ASSERT_NE(client, nullptr);
  TestFrontend at_server;
  TestFrontend at_client;
  at_server.connect_to(*server);
  at_client.connect_to(*client);
  const std::string big(200000, 'z');
  std::string_view rest = big;
  EXPECT_TRUE(turn_until([&] {
    rest.remove_prefix(client->write(bytes_of(rest)));
    return at_server.received.size() == big.size();
  }));
  (void)server->write(bytes_of("back"));
  EXPECT_TRUE(turn_until([&] { return at_client.received == "back"; }));
  EXPECT_TRUE(client->filename().ends_with(" <-> " + place));
}

TEST_F(SocketChardevTest, TriesPortsUpToTheLast) {
  const auto first = create({.host = "127.0.0.1", .port = "0", .server = true, .wait = false});
  const std::string place = first->listening_address().text();
  const std::string port = place.substr(place.rfind(':') + 1);
  const SocketBackend taken{.host = "127.0.0.1", .port = port, .server = true, .wait = false};
  EXPECT_FALSE(SocketChardev::create({.id = "s"}, taken, loop, {}));
  SocketBackend next = taken;
  next.to = static_cast<std::uint16_t>(std::min(std::stoi(port) + 50, 65535));
  const auto second = create(next);
  ASSERT_NE(second, nullptr);
  EXPECT_NE(second->listening_address().text(), place);
}

TEST_F(SocketChardevTest, AClientWithNobodyToTalkToSaysSo) {
  const auto made = SocketChardev::create({.id = "com1"}, {.path = path("nobody")}, loop, {});
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().describe(), "chardev 'com1': connect to " + path("nobody") + ": No such file or directory");
  const std::string too_long(200, 'x');
  EXPECT_FALSE(SocketChardev::create({.id = "s"}, {.path = too_long}, loop, {}));
}

TEST_F(SocketChardevTest, AClientReconnects) {
  const auto client = create({.path = path("s"), .reconnect_ms = 10});
  ASSERT_NE(client, nullptr);
  TestFrontend frontend;
  frontend.connect_to(*client);
  turn();
  EXPECT_TRUE(frontend.events.empty());
  for (int round = 0; round < 2; ++round) {
    auto server = create({.path = path("s"), .server = true, .wait = false});
    TestFrontend other;
    other.connect_to(*server);
    ASSERT_TRUE(wait_for(frontend, CharEvent::kOpened));
    (void)client->write(bytes_of("again"));
    EXPECT_TRUE(turn_until([&] { return other.received == "again"; }));
    server.reset();
    ASSERT_TRUE(wait_for(frontend, CharEvent::kClosed));
  }
}

TEST_F(SocketChardevTest, UsesADescriptorItIsGiven) {
  std::array<int, 2> ends{};
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
  UniqueFd peer(ends[0]);
  ASSERT_TRUE(set_nonblocking(peer.get(), true));
  const auto chardev = create({.fd = ends[1]});
  ASSERT_NE(chardev, nullptr);
  TestFrontend frontend;
  frontend.room = 2;
  frontend.connect_to(*chardev);
  put(peer.get(), "abcd");
  EXPECT_TRUE(turn_until([&] { return frontend.received == "ab"; }));
  turn();
  frontend.room = 10;
  chardev->accept_input();
  EXPECT_TRUE(turn_until([&] { return frontend.received == "abcd"; }));
  peer.reset();
  EXPECT_TRUE(wait_for(frontend, CharEvent::kClosed));
  EXPECT_EQ(chardev->write(bytes_of("gone")), 4U);
}

TEST_F(SocketChardevTest, AVanishedReaderIsNoSignal) {
  std::array<int, 2> ends{};
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
  const auto chardev = create({.fd = ends[1]});  // no frontend: nobody reads, so only writing finds out
  UniqueFd(ends[0]).reset();
  (void)chardev->write(bytes_of("gone"));
  EXPECT_TRUE(turn_until([&] { return chardev->filename().starts_with("disconnected:"); }));
}

TEST_F(SocketChardevTest, SpeaksTelnet) {
  std::array<int, 2> ends{};
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
  const UniqueFd peer(ends[0]);
  ASSERT_TRUE(set_nonblocking(peer.get(), true));
  const auto chardev = create({.fd = ends[1], .telnet = true});
  TestFrontend frontend;
  frontend.connect_to(*chardev);
  const auto greeting = Telnet::greeting();
  EXPECT_TRUE(expect(peer.get(), {reinterpret_cast<const char*>(greeting.data()), greeting.size()}));
  using namespace std::string_view_literals;
  put(peer.get(),
      "a\xff\xfd\x01"
      "b\xff\xff\xff\xf3\xff\xfa\x1f\0\x50\xff\xf0"
      "c"sv);
  EXPECT_TRUE(turn_until([&] {
    return frontend.received ==
           "ab\xff"
           "c";
  }));
  EXPECT_EQ(frontend.events, (std::vector{CharEvent::kOpened, CharEvent::kBreak}));
  (void)chardev->write(bytes_of("x\xffy"));
  EXPECT_TRUE(expect(peer.get(), "x\xff\xffy"));

  const std::string big(300000, '\xff');
  std::string_view rest = big;
  std::size_t got = 0;
  EXPECT_TRUE(turn_until([&] {
    rest.remove_prefix(chardev->write(bytes_of(rest)));
    got += read_some(peer.get()).size();
    return got == 2 * big.size();
  }));
}

TEST(Telnet, CommandsMayBeCutAnywhere) {
  const std::string text = "a\xff\xff\xff\xfb\x03z\xff\xfa\x18\xff\xff\xff\xf0!";
  Telnet telnet;
  std::string plain;
  for (const char letter : text)
    for (const std::byte byte : telnet.decode(bytes_of({&letter, 1}), [] {})) plain += static_cast<char>(byte);
  EXPECT_EQ(plain, "a\xffz!");
}

TEST_F(ChardevTest, UdpCarriesDatagrams) {
  auto first =
      UdpChardev::create({.id = "a"}, {.host = "127.0.0.1", .port = "9", .local_address = "127.0.0.1"}, loop, {});
  ASSERT_TRUE(first) << first.error().describe();
  UniqueFd peer(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0));
  SocketAddress any = resolve({.host = "127.0.0.1", .port = "0", .type = SOCK_DGRAM})->front();
  ASSERT_EQ(bind(peer.get(), any.raw(), any.size), 0);
  const std::string place = local_address(peer.get()).text();

  auto second = UdpChardev::create(
      {.id = "b"}, {.host = "127.0.0.1", .port = place.substr(place.rfind(':') + 1), .local_address = "127.0.0.1"},
      loop, {});
  ASSERT_TRUE(second);
  TestFrontend frontend;
  frontend.room = 3;
  frontend.connect_to(**second);
  EXPECT_EQ((*second)->write(bytes_of("datagram")), 8U);
  std::string got;
  EXPECT_TRUE(turn_until([&] { return (got += read_some(peer.get())) == "datagram"; }));

  const SocketAddress back = static_cast<UdpChardev&>(**second).bound_address();
  ASSERT_EQ(sendto(peer.get(), "reply", 5, 0, back.raw(), back.size), 5);
  EXPECT_TRUE(turn_until([&] { return frontend.received == "rep"; }));
  turn();
  frontend.room = 100;
  (*second)->accept_input();
  EXPECT_TRUE(turn_until([&] { return frontend.received == "reply"; }));
  EXPECT_TRUE((*second)->filename().starts_with("udp:" + place));
  const auto unknown = UdpChardev::create({.id = "u"}, {.host = "127.0.0.1", .port = "no-such-service"}, loop, {});
  EXPECT_FALSE(unknown);
}

}  // namespace
}  // namespace doppel::chardev
