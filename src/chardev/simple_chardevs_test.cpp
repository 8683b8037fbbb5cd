#include "chardev/simple_chardevs.h"

#include <fcntl.h>
#include <pty.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <csignal>

#include "chardev/chardev_test_support.h"
#include "chardev/create.h"
#include "chardev/ringbuf_chardev.h"

namespace doppel::chardev {
namespace {

class SimpleChardevTest : public ChardevTest {
 protected:
  std::unique_ptr<Chardev> create(ChardevConfig config) {
    auto made = create_chardev(config, loop, {});
    EXPECT_TRUE(made) << made.error().describe();
    return made ? std::move(*made) : nullptr;
  }
};

TEST_F(SimpleChardevTest, NullTakesEverything) {
  const auto null = create({.id = "n", .backend = NullBackend{}});
  TestFrontend frontend;
  frontend.connect_to(*null);
  turn();
  EXPECT_EQ(frontend.events, std::vector{CharEvent::kOpened});
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(null->write(bytes_of(std::string(4096, 'x'))), 4096U);
    turn();
  }
  EXPECT_EQ(null->filename(), "null");
  EXPECT_EQ(null->id(), "n");
  EXPECT_EQ(create({.id = "v", .backend = VcBackend{}})->filename(), "vc");
}

TEST_F(SimpleChardevTest, FileGetsTheOutput) {
  fill(path("out"), "old");
  {
    const auto file = create({.id = "f", .backend = FileBackend{.path = path("out")}});
    EXPECT_EQ(file->write(bytes_of("one ")), 4U);
    EXPECT_EQ(file->write(bytes_of("two")), 3U);
    EXPECT_TRUE(turn_until([&] { return contents(path("out")) == "one two"; }));
  }
  const auto more = create({.id = "f", .backend = FileBackend{.path = path("out"), .append = true}});
  (void)more->write(bytes_of(" three"));
  EXPECT_TRUE(turn_until([&] { return contents(path("out")) == "one two three"; }));
}

TEST_F(SimpleChardevTest, TheLastWordsGetOut) {
  auto file = create({.id = "f", .backend = FileBackend{.path = path("out")}});
  (void)file->write(bytes_of("bye"));
  file.reset();
  EXPECT_EQ(contents(path("out")), "bye");
}

TEST_F(SimpleChardevTest, FileGivesItsInputAsTheFrontendTakesIt) {
  fill(path("in"), "0123456789");
  const auto file = create({.id = "f", .backend = FileBackend{.path = path("out"), .input_path = path("in")}});
  TestFrontend frontend;
  frontend.room = 4;
  frontend.connect_to(*file);
  EXPECT_TRUE(turn_until([&] { return frontend.received.size() == 4; }));
  turn();
  EXPECT_EQ(frontend.received, "0123");
  frontend.room = 100;
  file->accept_input();
  EXPECT_TRUE(turn_until([&] { return frontend.received == "0123456789"; }));
}

TEST_F(SimpleChardevTest, AFileThatCannotBeOpenedIsNamed) {
  const auto made = create_chardev({.id = "f", .backend = FileBackend{.path = path("no/such")}}, loop, {});
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().kind(), ErrorKind::kNotFound);
  EXPECT_NE(made.error().describe().find("no/such"), std::string::npos);
}

TEST_F(SimpleChardevTest, LogFileKeepsACopy) {
  fill(path("log"), "before ");
  {
    const auto null = create({.id = "n", .backend = NullBackend{}, .logfile = path("log"), .logappend = true});
    (void)null->write(bytes_of("copied"));
    EXPECT_TRUE(turn_until([&] { return contents(path("log")) == "before copied"; }));
  }
  const auto again = create({.id = "n", .backend = NullBackend{}, .logfile = path("log")});
  EXPECT_EQ(contents(path("log")), "");
  EXPECT_FALSE(create_chardev({.id = "n", .backend = NullBackend{}, .logfile = path("no/log")}, loop, {}));
}

TEST_F(SimpleChardevTest, PipesGoBothWays) {
  ASSERT_EQ(mkfifo(path("p.in").c_str(), 0600), 0);
  ASSERT_EQ(mkfifo(path("p.out").c_str(), 0600), 0);
  const auto pipe = create({.id = "p", .backend = PipeBackend{path("p")}});
  TestFrontend frontend;
  frontend.connect_to(*pipe);
  const UniqueFd writer(open(path("p.in").c_str(), O_WRONLY | O_NONBLOCK));
  UniqueFd reader(open(path("p.out").c_str(), O_RDONLY | O_NONBLOCK));
  put(writer.get(), "to guest");
  EXPECT_TRUE(turn_until([&] { return frontend.received == "to guest"; }));
  (void)pipe->write(bytes_of("from guest"));
  std::string got;
  EXPECT_TRUE(turn_until([&] { return (got += read_some(reader.get())) == "from guest"; }));
}

TEST_F(SimpleChardevTest, AFullPipePushesBackAndLosesNothing) {
  ASSERT_EQ(mkfifo(path("p.in").c_str(), 0600), 0);
  ASSERT_EQ(mkfifo(path("p.out").c_str(), 0600), 0);
  const auto pipe = create({.id = "p", .backend = PipeBackend{path("p")}});
  TestFrontend frontend;
  frontend.connect_to(*pipe);
  const UniqueFd reader(open(path("p.out").c_str(), O_RDONLY | O_NONBLOCK));
  std::string sent;
  char next = 0;
  for (;;) {
    std::string block(1000, '\0');
    for (char& byte : block) byte = next++;
    const std::size_t taken = pipe->write(bytes_of(block));
    sent += block.substr(0, taken);
    turn();
    if (taken < block.size()) break;
    ASSERT_LT(sent.size(), 10U << 20U) << "it never pushes back";
  }
  EXPECT_EQ(pipe->write(bytes_of("x")), 0U);
  EXPECT_EQ(frontend.can_writes, 0);
  std::string got;
  EXPECT_TRUE(turn_until([&] { return (got += read_some(reader.get())).size() >= sent.size(); }));
  EXPECT_EQ(got, sent);
  EXPECT_EQ(frontend.can_writes, 1);
  EXPECT_EQ(pipe->write(bytes_of("x")), 1U);
}

TEST_F(SimpleChardevTest, WritesFromAnotherThreadKeepTheirOrder) {
  const auto file = create({.id = "f", .backend = FileBackend{.path = path("out")}});
  std::string expected;
  for (int i = 0; i < 20000; ++i) expected += static_cast<char>('a' + i % 26);
  std::thread vcpu([&] {
    for (std::size_t i = 0; i < expected.size();) i += file->write(bytes_of(std::string_view(expected).substr(i, 1)));
  });
  EXPECT_TRUE(turn_until([&] { return contents(path("out")).size() == expected.size(); }));
  vcpu.join();
  EXPECT_EQ(contents(path("out")), expected);
}

TEST_F(SimpleChardevTest, SerialIsATerminalDevice) {
  int master = -1;
  int slave = -1;
  std::array<char, 128> name{};
  ASSERT_EQ(openpty(&master, &slave, name.data(), nullptr, nullptr), 0);
  const UniqueFd other(master);
  const UniqueFd keep(slave);
  const auto serial = create({.id = "s", .backend = SerialBackend{name.data()}});
  TestFrontend frontend;
  frontend.connect_to(*serial);
  put(other.get(), "a\r\x03");
  EXPECT_TRUE(turn_until([&] { return frontend.received == "a\r\x03"; }));
  EXPECT_FALSE(create_chardev({.id = "s", .backend = SerialBackend{"/dev/null"}}, loop, {}));
}

TEST_F(SimpleChardevTest, RingbufKeepsTheLastBytes) {
  RingbufChardev ring({.id = "r"}, RingbufBackend{8}, loop, {});
  (void)ring.write(bytes_of("0123456789"));
  EXPECT_EQ(ring.size(), 8U);
  EXPECT_EQ(ring.read(3), "234");
  (void)ring.write(bytes_of("ab"));
  EXPECT_EQ(ring.read(100), "56789ab");
  EXPECT_EQ(ring.read(100), "");
  TestFrontend frontend;
  frontend.room = 3;
  frontend.connect_to(ring);
  turn();
  EXPECT_EQ(ring.inject("hello"), 3U);
  EXPECT_EQ(frontend.received, "hel");
}

struct Terminal {
  Terminal() {
    int a = -1;
    int b = -1;
    EXPECT_EQ(openpty(&a, &b, nullptr, nullptr, nullptr), 0);
    master.reset(a);
    slave.reset(b);
    fcntl(a, F_SETFL, O_NONBLOCK);
  }
  [[nodiscard]] tcflag_t local_flags() const {
    termios mode{};
    EXPECT_EQ(tcgetattr(slave.get(), &mode), 0);
    return mode.c_lflag;
  }
  UniqueFd master;
  UniqueFd slave;
};

TEST_F(SimpleChardevTest, StdioMakesTheTerminalRawAndGivesItBack) {
  Terminal terminal;
  const tcflag_t before = terminal.local_flags();
  ASSERT_NE(before & (ICANON | ECHO | ISIG), 0U);
  {
    auto stdio =
        StdioChardev::create({.id = "c"}, {.signal = true}, loop, {}, terminal.slave.get(), terminal.slave.get());
    ASSERT_TRUE(stdio);
    EXPECT_EQ(terminal.local_flags() & (ICANON | ECHO), 0U);
    EXPECT_NE(terminal.local_flags() & ISIG, 0U);
    TestFrontend frontend;
    frontend.connect_to(**stdio);
    put(terminal.master.get(), "k");
    EXPECT_TRUE(turn_until([&] { return frontend.received == "k"; }));
    (void)(*stdio)->write(bytes_of("out"));
    std::string got;
    EXPECT_TRUE(turn_until([&] { return (got += read_some(terminal.master.get())) == "out"; }));
  }
  EXPECT_EQ(terminal.local_flags(), before);
  EXPECT_EQ(fcntl(terminal.slave.get(), F_GETFL) & O_NONBLOCK, 0);
}

TEST_F(SimpleChardevTest, WithoutSignalsCtrlCIsTyped) {
  Terminal terminal;
  const auto stdio =
      StdioChardev::create({.id = "c"}, {.signal = false}, loop, {}, terminal.slave.get(), terminal.slave.get());
  ASSERT_TRUE(stdio);
  EXPECT_EQ(terminal.local_flags() & ISIG, 0U);
}

TEST_F(SimpleChardevTest, AContinuedProcessTakesTheTerminalAgain) {
  Terminal terminal;
  const tcflag_t before = terminal.local_flags();
  RawTerminal raw(loop, terminal.slave.get(), false);
  raw.leave();  // as the shell does while the process is stopped
  EXPECT_EQ(terminal.local_flags(), before);
  ASSERT_EQ(kill(getpid(), SIGCONT), 0);
  EXPECT_TRUE(turn_until([&] { return (terminal.local_flags() & ICANON) == 0; }));
}

TEST_F(SimpleChardevTest, AStoppedProcessGivesTheTerminalBack) {
  Terminal terminal;
  const tcflag_t before = terminal.local_flags();
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    event::Loop own_loop;
    const RawTerminal raw(own_loop, terminal.slave.get(), false);
    kill(getpid(), SIGTSTP);
    for (;;) own_loop.run_ready();
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, WUNTRACED), child);
  EXPECT_TRUE(WIFSTOPPED(status));
  EXPECT_EQ(terminal.local_flags(), before);
  kill(child, SIGCONT);
  EXPECT_TRUE(turn_until([&] { return (terminal.local_flags() & ICANON) == 0; }));
  kill(child, SIGKILL);
  EXPECT_EQ(waitpid(child, &status, 0), child);
}

TEST_F(SimpleChardevTest, StdioFromAFileAndToAPipe) {
  fill(path("in"), "script");
  const UniqueFd in(open(path("in").c_str(), O_RDONLY));
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe(ends.data()), 0);
  const UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  const auto stdio = StdioChardev::create({.id = "c"}, {}, loop, {}, in.get(), writer.get());
  ASSERT_TRUE(stdio);
  TestFrontend frontend;
  frontend.connect_to(**stdio);
  EXPECT_TRUE(turn_until([&] { return !frontend.events.empty() && frontend.events.back() == CharEvent::kClosed; }));
  EXPECT_EQ(frontend.received, "script");
  (void)(*stdio)->write(bytes_of("still there"));
  turn();
  EXPECT_EQ(read_some(reader.get()), "still there");
}

TEST_F(SimpleChardevTest, PlaceholdersCannotBeMade) {
  EXPECT_FALSE(create_chardev({.id = "x", .backend = NoBackend{}}, loop, {}));
  EXPECT_FALSE(create_chardev({.id = "x", .backend = ExistingBackend{"y"}}, loop, {}));
}

TEST_F(SimpleChardevTest, ADisconnectedFrontendHearsNothing) {
  const auto file = create({.id = "f", .backend = FileBackend{.path = path("out")}});
  TestFrontend frontend;
  frontend.connect_to(*file);
  file->connect({});
  turn();
  EXPECT_TRUE(frontend.events.empty());
}

TEST_F(SimpleChardevTest, SetKnowsWhoUsesWhat) {
  ChardevSet set(loop, {});
  ASSERT_TRUE(set.add({.id = "one", .backend = NullBackend{}}));
  EXPECT_EQ(set.add({.id = "one", .backend = NullBackend{}}).error().kind(), ErrorKind::kAlreadyExists);
  ASSERT_TRUE(set.add({.id = "many", .backend = NullBackend{}, .mux = true}));
  EXPECT_EQ(set.claim("oen").error().message(), "there is no chardev 'oen' (did you mean 'one'?)");
  ASSERT_TRUE(set.claim("one"));
  EXPECT_EQ(set.claim("one").error().message(), "chardev 'one' is in use; with mux=on several can share it");
  EXPECT_EQ(set.remove("one").error().kind(), ErrorKind::kBusy);
  set.release("one");
  EXPECT_TRUE(set.claim("one"));
  const auto first = set.claim("many");
  const auto second = set.claim("many");
  ASSERT_TRUE(first && second);
  EXPECT_NE(*first, *second);
  const auto infos = set.list();
  ASSERT_EQ(infos.size(), 2U);
  EXPECT_EQ(infos[0].id, "many");
  EXPECT_EQ(infos[1].filename, "null");
  set.release("one");
  EXPECT_TRUE(set.remove("one"));
  EXPECT_EQ(set.find("one"), nullptr);
}

}  // namespace
}  // namespace doppel::chardev
