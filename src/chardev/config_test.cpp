#include "chardev/config.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "chardev/legacy.h"

namespace doppel::chardev {
namespace {

template <class T>
T backend_of(std::string_view text) {
  const auto config = parse_legacy_chardev(text, "serial0");
  EXPECT_TRUE(config) << text << ": " << config.error().describe();
  const T* backend = config ? std::get_if<T>(&config->backend) : nullptr;
  EXPECT_NE(backend, nullptr) << text;
  return backend != nullptr ? *backend : T{};
}

std::string error_of(std::string_view text) {
  const auto config = parse_legacy_chardev(text, "serial0");
  EXPECT_FALSE(config) << text;
  return config ? "" : config.error().describe();
}

TEST(ChardevTable, IsSortedAndComplete) {
  const auto backends = chardev_backends();
  EXPECT_TRUE(std::ranges::is_sorted(backends, {}, &ChardevBackendInfo::name));
  for (const auto& info : backends) {
    EXPECT_FALSE(info.help.empty());
    const auto config = make_chardev_config(info.name, "x");
    ASSERT_TRUE(config);
    EXPECT_EQ(backend_name(*config), info.name);
    for (const auto& option : info.options) EXPECT_FALSE(option.help.empty()) << option.name;
  }
}

TEST(ChardevTable, OptionsLandWhereTheyBelong) {
  auto config = make_chardev_config("socket", "c");
  ASSERT_TRUE(config);
  const std::pair<std::string_view, std::string_view> options[] = {
      {"host", "example"}, {"port", "23"},     {"server", "on"}, {"wait", "off"},    {"telnet", "yes"},
      {"to", "99"},        {"logfile", "log"}, {"mux", "on"},    {"logappend", "on"}};
  for (const auto& [name, text] : options) EXPECT_TRUE(set_chardev_option(*config, name, text)) << name;
  const auto& socket = std::get<SocketBackend>(config->backend);
  EXPECT_EQ(socket.host, "example");
  EXPECT_EQ(socket.port, "23");
  EXPECT_TRUE(socket.server && socket.telnet);
  EXPECT_EQ(socket.wait, false);
  EXPECT_EQ(socket.to, 99);
  EXPECT_TRUE(config->mux && config->logappend);
  EXPECT_EQ(config->logfile, "log");
  EXPECT_TRUE(set_chardev_option(*config, "reconnect", "3"));
  EXPECT_EQ(std::get<SocketBackend>(config->backend).reconnect_ms, 3000U);
}

TEST(ChardevTable, TypesAreNamed) {
  const auto config = make_chardev_config("ringbuf", "c");
  for (const auto& info : chardev_backends())
    for (const auto& option : info.options) {
      if (option.name == "size") {
        EXPECT_EQ(option.type, "size");
      } else if (option.name == "wait") {
        EXPECT_EQ(option.type, "bool");
      } else if (option.name == "fd" || option.name == "reconnect") {
        EXPECT_EQ(option.type, "number");
      }
    }
}

TEST(ChardevTable, MistakesGetOneSentence) {
  EXPECT_EQ(make_chardev_config("sokcet", "c").error().message(),
            "there is no chardev backend 'sokcet' (did you mean 'socket'?)");
  auto config = make_chardev_config("socket", "c");
  ASSERT_TRUE(config);
  EXPECT_EQ(set_chardev_option(*config, "prot", "1").error().message(),
            "chardev backend 'socket' has no option 'prot' (did you mean 'port'?)");
  EXPECT_EQ(set_chardev_option(*config, "server", "maybe").error().message(),
            "option 'server' expects 'on' or 'off', not 'maybe'");
  EXPECT_EQ(set_chardev_option(*config, "to", "70000").error().message(),
            "option 'to' expects a number up to 65535, not '70000'");
}

TEST(ChardevTable, ChecksWhatSingleOptionsCannot) {
  const auto check = [](Backend backend) {
    return check_chardev_config({.id = "c", .backend = std::move(backend)}).has_value();
  };
  EXPECT_FALSE(check(FileBackend{}));
  EXPECT_FALSE(check(PipeBackend{}));
  EXPECT_FALSE(check(SerialBackend{}));
  EXPECT_FALSE(check(UdpBackend{}));
  EXPECT_FALSE(check(SocketBackend{}));
  EXPECT_FALSE(check(SocketBackend{.path = "p", .port = "1"}));
  EXPECT_FALSE(check(SocketBackend{.host = "h"}));
  EXPECT_FALSE(check(SocketBackend{.path = "p", .wait = true}));
  EXPECT_FALSE(check(SocketBackend{.path = "p", .server = true, .reconnect_ms = 1}));
  EXPECT_FALSE(check(RingbufBackend{1000}));
  EXPECT_FALSE(check(RingbufBackend{0}));
  EXPECT_TRUE(check(RingbufBackend{1024}));
  EXPECT_TRUE(check(SocketBackend{.path = "p", .server = true, .wait = true}));
  EXPECT_TRUE(check(NullBackend{}));
}

TEST(LegacyChardev, Words) {
  backend_of<NoBackend>("none");
  backend_of<NullBackend>("null");
  backend_of<VcBackend>("vc");
  backend_of<VcBackend>("vc:80Cx24C");
  backend_of<PtyBackend>("pty");
  EXPECT_TRUE(backend_of<StdioBackend>("stdio").signal);
  EXPECT_FALSE(backend_of<StdioBackend>("stdio,signal=off").signal);
  EXPECT_EQ(backend_of<SerialBackend>("/dev/ttyS0").path, "/dev/ttyS0");
  EXPECT_EQ(backend_of<ExistingBackend>("chardev:com").id, "com");
}

TEST(LegacyChardev, MonitorOnTheSameTerminal) {
  const auto config = parse_legacy_chardev("mon:stdio", "serial0");
  ASSERT_TRUE(config);
  EXPECT_TRUE(config->mux && config->monitor);
  EXPECT_FALSE(std::get<StdioBackend>(config->backend).signal) << "Ctrl-C is for the guest";
  EXPECT_EQ(config->id, "serial0");
  const auto socket = parse_legacy_chardev("mon:unix:/tmp/s,server,nowait", "serial0");
  ASSERT_TRUE(socket);
  EXPECT_TRUE(socket->mux);
  EXPECT_EQ(std::get<SocketBackend>(socket->backend).path, "/tmp/s");
}

TEST(LegacyChardev, FilesAndPipes) {
  EXPECT_EQ(backend_of<FileBackend>("file:/tmp/a,b").path, "/tmp/a,b");
  EXPECT_EQ(backend_of<PipeBackend>("pipe:/tmp/p").path, "/tmp/p");
}

TEST(LegacyChardev, UnixSockets) {
  const auto old = backend_of<SocketBackend>("unix:/tmp/s,server,nowait");
  EXPECT_EQ(old.path, "/tmp/s");
  EXPECT_TRUE(old.server);
  EXPECT_EQ(old.wait, false);
  const auto now = backend_of<SocketBackend>("unix:/tmp/a,,b,server=on,wait=off,abstract=on");
  EXPECT_EQ(now.path, "/tmp/a,b");
  EXPECT_TRUE(now.server && now.abstract);
}

TEST(LegacyChardev, TcpAndTelnet) {
  const auto tcp = backend_of<SocketBackend>("tcp:host:4444,server=on,wait=off,nodelay");
  EXPECT_EQ(tcp.host, "host");
  EXPECT_EQ(tcp.port, "4444");
  EXPECT_TRUE(tcp.nodelay && tcp.server && !tcp.telnet);
  const auto telnet = backend_of<SocketBackend>("telnet::23,server");
  EXPECT_EQ(telnet.host, "");
  EXPECT_TRUE(telnet.telnet);
  EXPECT_FALSE(telnet.wait.has_value());
  EXPECT_EQ(backend_of<SocketBackend>("tcp:[::1]:9").host, "::1");
}

TEST(LegacyChardev, Udp) {
  const auto both = backend_of<UdpBackend>("udp:a:1@b:2");
  EXPECT_EQ(both.host + both.port + both.local_address + both.local_port, "a1b2");
  const auto brief = backend_of<UdpBackend>("udp::5@:6");
  EXPECT_EQ(brief.host, "localhost");
  EXPECT_EQ(brief.port, "5");
  EXPECT_EQ(brief.local_port, "6");
}

TEST(LegacyChardev, MistakesGetOneSentence) {
  EXPECT_EQ(error_of("stdoi"), "'stdoi' is not a character device (did you mean 'stdio'?)");
  EXPECT_EQ(error_of("tcp:4444"), "'tcp:' expects [HOST]:PORT, not '4444'");
  EXPECT_EQ(error_of("udp:x"), "'udp:' expects [HOST]:PORT[@[HOST]:PORT], not 'x'");
  EXPECT_EQ(error_of("mon:none"), "'mon:' needs a backend of its own, not 'none'");
  EXPECT_EQ(error_of("mon:mon:stdio"), "'mon:' may be written only once");
  EXPECT_EQ(error_of("file:"), "'file:' expects a name after the colon");
  EXPECT_EQ(error_of("unix:/tmp/s,sever"), "chardev backend 'socket' has no option 'sever' (did you mean 'server'?)");
  EXPECT_EQ(error_of("unix:/tmp/s,wait=on"), "'wait' is only for a socket chardev with server=on");
  error_of("");
  error_of("mon:");
  error_of(":");
  error_of("unix:");
}

}  // namespace
}  // namespace doppel::chardev
