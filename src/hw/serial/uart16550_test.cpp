#include "hw/serial/uart16550.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/unique_fd.h"
#include "chardev/create.h"
#include "event/fake_clock.h"
#include "event/loop.h"

namespace doppel::hw {
namespace {

using namespace uart;

/// Takes what it is told to take and remembers it.
class FakeChardev final : public chardev::Chardev {
 public:
  [[nodiscard]] const std::string& id() const override { return id_; }
  [[nodiscard]] std::string filename() const override { return "fake"; }
  [[nodiscard]] std::size_t write(std::span<const std::byte> bytes) override {
    ++writes;
    const std::size_t taken = std::min(bytes.size(), room);
    for (const std::byte byte : bytes.first(taken)) output += static_cast<char>(byte);
    room -= taken;
    return taken;
  }
  void connect(Frontend wanted) override { frontend = std::move(wanted); }
  void accept_input() override { ++accepted; }

  /// Offers TEXT and returns what was taken.
  std::string type(std::string_view text) {
    const auto part = text.substr(0, frontend.can_receive());
    if (!part.empty()) frontend.receive(std::as_bytes(std::span(part)));
    return std::string(part);
  }

  Frontend frontend;
  std::string output;
  std::size_t room = 1000;
  int writes = 0;
  int accepted = 0;

 private:
  std::string id_ = "fake";
};

struct UartTest : testing::Test {
  event::FakeClock clock;
  FakeChardev chardev;
  bool irq_level = false;
  int edges = 0;
  IrqFunction sink{[this](unsigned, bool level) {
    if (level && !irq_level) ++edges;
    irq_level = level;
  }};
  Uart16550 uart{{&sink, 4}, clock, &chardev};

  void write(Register which, unsigned value) { uart.write(static_cast<std::uint64_t>(which), 1, value); }
  unsigned read(Register which) { return static_cast<unsigned>(uart.read(static_cast<std::uint64_t>(which), 1)); }
  void enable_fifos(unsigned trigger = 3) {
    write(Register::kInterruptId, fcr::kEnable | trigger << fcr::kTriggerShift);
  }
  unsigned cause() { return read(Register::kInterruptId) & 0x0fU; }
  /// 115200 baud, 8N1: ten bits.
  void set_speed() {
    write(Register::kLineControl, lcr::kDivisorLatch | 3U);
    write(Register::kData, 1);
    write(Register::kInterruptEnable, 0);
    write(Register::kLineControl, 3);
  }
  static constexpr std::int64_t kCharacterNs = 10 * event::kNsPerSecond / kBaudBase;
};

TEST_F(UartTest, ResetsAsTheDataSheetSays) {
  EXPECT_EQ(read(Register::kInterruptEnable), 0U);
  EXPECT_EQ(read(Register::kInterruptId), iir::kNone);
  EXPECT_EQ(read(Register::kLineStatus), lsr::kHoldingEmpty | lsr::kTransmitterEmpty);
  EXPECT_EQ(read(Register::kModemStatus), msr::kCts | msr::kDsr | msr::kDcd);
  EXPECT_FALSE(irq_level);
}

TEST_F(UartTest, ScratchAndDivisorLatchHoldTheirValues) {
  write(Register::kScratch, 0xa5);
  EXPECT_EQ(read(Register::kScratch), 0xa5U);
  write(Register::kLineControl, lcr::kDivisorLatch);
  write(Register::kData, 0x34);
  write(Register::kInterruptEnable, 0x12);
  EXPECT_EQ(read(Register::kData), 0x34U);
  EXPECT_EQ(read(Register::kInterruptEnable), 0x12U);
  write(Register::kLineControl, 3);
  EXPECT_EQ(read(Register::kInterruptEnable), 0U);
  EXPECT_TRUE(chardev.output.empty());
}

TEST_F(UartTest, SendsAtOnce) {
  for (const char letter : std::string("hello")) write(Register::kData, static_cast<unsigned char>(letter));
  EXPECT_EQ(chardev.output, "hello");
  EXPECT_EQ(read(Register::kLineStatus) & lsr::kHoldingEmpty, lsr::kHoldingEmpty);
}

TEST_F(UartTest, UpperInterruptEnableBitsReadZero) {
  write(Register::kInterruptEnable, 0xf0);
  EXPECT_EQ(read(Register::kInterruptEnable), 0U);
}

TEST_F(UartTest, EnablingTheEmptyInterruptRaisesIt) {
  write(Register::kInterruptEnable, ier::kTransmitterEmpty);
  EXPECT_TRUE(irq_level);
  EXPECT_EQ(cause(), iir::kTransmitterEmpty);
  EXPECT_FALSE(irq_level) << "reading IIR acknowledges it";
  EXPECT_EQ(cause(), iir::kNone);
  write(Register::kInterruptEnable, 0);
  write(Register::kInterruptEnable, ier::kTransmitterEmpty);
  EXPECT_TRUE(irq_level) << "and enabling it again raises it again";
}

TEST_F(UartTest, EachByteSentMakesAnEdge) {
  write(Register::kInterruptEnable, ier::kTransmitterEmpty);
  for (int i = 0; i < 3; ++i) write(Register::kData, 'x');
  EXPECT_EQ(edges, 4);
  EXPECT_TRUE(irq_level);
}

TEST_F(UartTest, OtherCausesDoNotAcknowledgeTheEmptyInterrupt) {
  write(Register::kInterruptEnable, ier::kTransmitterEmpty | ier::kReceived);
  chardev.type("a");
  EXPECT_EQ(cause(), iir::kReceived);
  EXPECT_EQ(read(Register::kData), 'a');
  EXPECT_EQ(cause(), iir::kTransmitterEmpty);
}

TEST_F(UartTest, AFullChardevHoldsBytesBack) {
  enable_fifos();
  chardev.room = 2;
  write(Register::kInterruptEnable, ier::kTransmitterEmpty);
  (void)cause();
  for (const char letter : std::string("abcd")) write(Register::kData, static_cast<unsigned char>(letter));
  EXPECT_EQ(chardev.output, "ab");
  EXPECT_EQ(read(Register::kLineStatus) & (lsr::kHoldingEmpty | lsr::kTransmitterEmpty), 0U);
  EXPECT_FALSE(irq_level);

  chardev.room = 100;
  chardev.writes = 0;
  chardev.frontend.can_write();
  EXPECT_EQ(chardev.output, "abcd");
  EXPECT_EQ(chardev.writes, 1) << "all that waited goes in one piece";
  EXPECT_TRUE(irq_level);
}

TEST_F(UartTest, OverfillingTheTransmitterLosesTheNewest) {
  enable_fifos();
  chardev.room = 0;
  for (unsigned i = 0; i < 1000; ++i) write(Register::kData, 'a' + i % 26);
  chardev.room = 1000;
  chardev.frontend.can_write();
  EXPECT_EQ(chardev.output, "abcdefghijklmnop");
}

TEST_F(UartTest, ResettingTheTransmitterDropsWhatWaits) {
  enable_fifos();
  chardev.room = 0;
  write(Register::kData, 'x');
  write(Register::kInterruptId, fcr::kEnable | fcr::kResetTransmitter);
  EXPECT_NE(read(Register::kLineStatus) & lsr::kTransmitterEmpty, 0U);
  chardev.room = 1000;
  chardev.frontend.can_write();
  EXPECT_EQ(chardev.output, "");
}

TEST_F(UartTest, WithoutFifosTakesOneByteAtATime) {
  EXPECT_EQ(chardev.type("ab"), "a");
  EXPECT_NE(read(Register::kLineStatus) & lsr::kDataReady, 0U);
  EXPECT_EQ(chardev.type("b"), "");
  const int before = chardev.accepted;
  EXPECT_EQ(read(Register::kData), 'a');
  EXPECT_GT(chardev.accepted, before);
  EXPECT_EQ(read(Register::kLineStatus) & lsr::kDataReady, 0U);
  EXPECT_EQ(read(Register::kData), 'a') << "an empty receiver repeats itself";
  EXPECT_EQ(chardev.type("b"), "b");
}

TEST_F(UartTest, FifoInterruptsAtItsTriggerLevel) {
  set_speed();
  enable_fifos(2);  // 8
  write(Register::kInterruptEnable, ier::kReceived);
  chardev.type("1234567");
  EXPECT_FALSE(irq_level);
  chardev.type("8");
  EXPECT_TRUE(irq_level);
  EXPECT_EQ(read(Register::kInterruptId), iir::kReceived | iir::kFifosEnabled);
  EXPECT_EQ(read(Register::kData), '1');
  EXPECT_FALSE(irq_level);
}

TEST_F(UartTest, FifoTakesWhatItsTriggerLevelAsksFor) {
  const std::string text = "0123456789abcdefXYZ";
  for (const auto& [trigger, taken] : {std::pair{0U, 1U}, {1U, 4U}, {2U, 8U}, {3U, 14U}}) {
    enable_fifos(trigger);
    EXPECT_EQ(chardev.type(text), text.substr(0, taken));
    EXPECT_EQ(chardev.type(text), "") << "the rest waits outside";
    const int before = chardev.accepted;
    for (unsigned i = 0; i < taken; ++i) EXPECT_EQ(read(Register::kData), static_cast<unsigned char>(text[i]));
    EXPECT_GT(chardev.accepted, before);
  }
}

TEST_F(UartTest, TimeoutTellsOfTheLastFewBytes) {
  set_speed();
  enable_fifos(3);  // 14
  write(Register::kInterruptEnable, ier::kReceived);
  chardev.type("ab");
  clock.advance(4 * kCharacterNs - 1000);
  EXPECT_FALSE(irq_level);
  clock.advance(2000);
  EXPECT_TRUE(irq_level);
  EXPECT_EQ(cause(), iir::kTimeout);
  EXPECT_TRUE(irq_level) << "only reading data ends it";
  EXPECT_EQ(read(Register::kData), 'a');
  EXPECT_FALSE(irq_level);
  clock.advance(5 * kCharacterNs);
  EXPECT_TRUE(irq_level) << "the second byte has its own";
  EXPECT_EQ(read(Register::kData), 'b');
  clock.advance(5 * kCharacterNs);
  EXPECT_FALSE(irq_level);
}

TEST_F(UartTest, EachCharacterPutsTheTimeoutOff) {
  set_speed();
  enable_fifos(3);
  write(Register::kInterruptEnable, ier::kReceived);
  for (int i = 0; i < 5; ++i) {
    chardev.type("x");
    clock.advance(3 * kCharacterNs);
    EXPECT_FALSE(irq_level);
  }
  clock.advance(2 * kCharacterNs);
  EXPECT_TRUE(irq_level);
}

TEST_F(UartTest, TimeoutWithADivisorOfZero) {
  write(Register::kLineControl, lcr::kDivisorLatch);
  write(Register::kData, 0);
  write(Register::kInterruptEnable, 0);
  write(Register::kLineControl, 3);
  enable_fifos(3);
  write(Register::kInterruptEnable, ier::kReceived);
  chardev.type("x");
  clock.advance(event::kNsPerSecond);
  EXPECT_TRUE(irq_level);
}

TEST_F(UartTest, BreakShowsWithItsCharacter) {
  enable_fifos();
  write(Register::kInterruptEnable, ier::kLineStatus | ier::kReceived);
  chardev.type("a");
  chardev.frontend.event(chardev::CharEvent::kBreak);
  unsigned status = read(Register::kLineStatus);
  EXPECT_EQ(status & lsr::kBreak, 0U) << "it is not at the top yet";
  EXPECT_NE(status & lsr::kErrorInFifo, 0U);
  EXPECT_EQ(read(Register::kData), 'a');
  EXPECT_EQ(cause(), iir::kLineStatus);
  status = read(Register::kLineStatus);
  EXPECT_EQ(status & (lsr::kBreak | lsr::kFramingError), lsr::kBreak | lsr::kFramingError);
  EXPECT_EQ(read(Register::kLineStatus) & (lsr::kErrors | lsr::kErrorInFifo), 0U);
  EXPECT_EQ(read(Register::kData), 0U);
}

TEST_F(UartTest, LoopbackReturnsBytesAndKeepsThePinsQuiet) {
  enable_fifos(0);
  write(Register::kModemControl, mcr::kLoopback | mcr::kOut2);
  write(Register::kInterruptEnable, ier::kReceived);
  write(Register::kData, 0x5a);
  EXPECT_TRUE(irq_level);
  EXPECT_EQ(read(Register::kData), 0x5aU);
  EXPECT_EQ(chardev.output, "");
  EXPECT_EQ(chardev.type("x"), "") << "the receiver is cut off from its pin";
  const int before = chardev.accepted;
  write(Register::kModemControl, mcr::kOut2);
  EXPECT_GT(chardev.accepted, before);
  EXPECT_EQ(chardev.type("x"), "x");
}

TEST_F(UartTest, LoopbackTakesWhatWaitsForTheChardev) {
  chardev.room = 0;
  write(Register::kData, 'x');
  EXPECT_EQ(read(Register::kLineStatus) & lsr::kTransmitterEmpty, 0U);
  write(Register::kModemControl, mcr::kLoopback);
  EXPECT_NE(read(Register::kLineStatus) & lsr::kTransmitterEmpty, 0U);
  EXPECT_EQ(read(Register::kData), static_cast<unsigned>('x'));
  EXPECT_EQ(chardev.output, "");
}

TEST_F(UartTest, LoopbackOverruns) {
  write(Register::kModemControl, mcr::kLoopback);
  write(Register::kData, 'a');
  write(Register::kData, 'b');
  EXPECT_NE(read(Register::kLineStatus) & lsr::kOverrun, 0U);
  EXPECT_EQ(read(Register::kLineStatus) & lsr::kOverrun, 0U);
  EXPECT_EQ(read(Register::kData), 'b');

  enable_fifos();
  for (unsigned i = 0; i < 17; ++i) write(Register::kData, i);
  EXPECT_NE(read(Register::kLineStatus) & lsr::kOverrun, 0U);
  EXPECT_EQ(read(Register::kData), 0U) << "a full FIFO keeps what it has";
}

TEST_F(UartTest, LoopbackWiresModemOutputsToInputs) {
  (void)read(Register::kModemStatus);
  write(Register::kModemControl, mcr::kLoopback);
  EXPECT_EQ(read(Register::kModemStatus), msr::kDeltaCts | msr::kDeltaDsr | msr::kDeltaDcd);
  write(Register::kModemControl, mcr::kLoopback | mcr::kRts | mcr::kOut1);
  EXPECT_EQ(read(Register::kModemStatus), msr::kCts | msr::kRi | msr::kDeltaCts);
  write(Register::kModemControl, mcr::kLoopback | mcr::kDtr | mcr::kOut2);
  EXPECT_EQ(read(Register::kModemStatus),
            msr::kDsr | msr::kDcd | msr::kDeltaCts | msr::kDeltaDsr | msr::kTrailingRi | msr::kDeltaDcd);
}

TEST_F(UartTest, ModemLinesInterrupt) {
  write(Register::kInterruptEnable, ier::kModemStatus);
  uart.set_modem_lines(msr::kCts);
  EXPECT_TRUE(irq_level);
  EXPECT_EQ(cause(), iir::kModemStatus);
  EXPECT_EQ(read(Register::kModemStatus), msr::kCts | msr::kDeltaDsr | msr::kDeltaDcd);
  EXPECT_FALSE(irq_level);
}

TEST_F(UartTest, Out2GatesTheInterrupt) {
  write(Register::kModemControl, 0);
  write(Register::kInterruptEnable, ier::kTransmitterEmpty);
  EXPECT_FALSE(irq_level);
  write(Register::kModemControl, mcr::kOut2);
  EXPECT_TRUE(irq_level);
}

TEST_F(UartTest, DisablingFifosEmptiesThem) {
  enable_fifos();
  chardev.type("abc");
  write(Register::kInterruptId, 0);
  EXPECT_EQ(read(Register::kLineStatus) & lsr::kDataReady, 0U);
  EXPECT_EQ(read(Register::kInterruptId) & iir::kFifosEnabled, 0U);
}

TEST_F(UartTest, SurvivesNonsense) {
  unsigned seed = 1;
  chardev.room = 100;
  for (int i = 0; i < 20000; ++i) {
    seed = seed * 1103515245 + 12345;
    const auto offset = (seed >> 16) & 0xff;
    if ((seed & 0x100) != 0)
      uart.write(offset, 8, seed >> 8);
    else
      (void)uart.read(offset, 8);
    if (i % 7 == 0) chardev.type("some input that is long enough");
    if (i % 11 == 0) chardev.room = seed >> 28;
    if (i % 13 == 0) clock.advance(seed >> 12);
    if (i % 17 == 0) chardev.frontend.can_write();
  }
}

TEST_F(UartTest, SavedStateGoesOn) {
  set_speed();
  enable_fifos(3);
  write(Register::kInterruptEnable, ier::kReceived);
  write(Register::kScratch, 7);
  chardev.type("xyz");
  chardev.room = 0;
  write(Register::kData, 'q');
  state::Writer writer;
  uart.save(writer);

  FakeChardev other;
  bool level = false;
  IrqFunction pin([&](unsigned, bool on) { level = on; });
  Uart16550 copy({&pin, 4}, clock, &other);
  state::Reader reader(writer.bytes());
  ASSERT_TRUE(copy.load(reader));
  EXPECT_EQ(other.output, "q");
  EXPECT_EQ(copy.read(7, 1), 7U);
  EXPECT_FALSE(level);
  clock.advance(5 * kCharacterNs);
  EXPECT_TRUE(level);
  for (const char letter : std::string("xyz")) EXPECT_EQ(copy.read(0, 1), static_cast<unsigned char>(letter));
  copy.reset();
  EXPECT_FALSE(level);
}

TEST_F(UartTest, RefusesADamagedState) {
  state::Writer writer;
  state::save(writer, Uart16550State{.receive_fifo = std::vector<std::uint16_t>(17), .transmit_fifo = {}});
  state::Reader reader(writer.bytes());
  EXPECT_EQ(uart.load(reader).error().kind(), ErrorKind::kCorrupt);
}

TEST(Uart16550, WorksWithoutAChardev) {
  event::FakeClock clock;
  Uart16550 uart({}, clock, nullptr);
  uart.write(0, 1, 'x');
  EXPECT_EQ(uart.read(5, 1), lsr::kHoldingEmpty | lsr::kTransmitterEmpty);
  uart.reset();
}

TEST(Uart16550, TalksOverASocketFromAnotherThread) {
  std::array<int, 2> ends{};
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends.data()), 0);
  const UniqueFd peer(ends[0]);
  event::Loop loop;
  chardev::SocketBackend backend;
  backend.fd = ends[1];
  const auto socket = chardev::create_chardev({.id = "com1", .backend = backend}, loop, {});
  ASSERT_TRUE(socket);
  Uart16550 uart({}, loop.virtual_clock(), socket->get());
  constexpr unsigned kBytes = 5000;

  uart.write(2, 1, fcr::kEnable);  // empties the FIFO, so before any byte can come

  // The guest echoes; small buffers on the way make both directions stall at times.
  std::atomic<bool> stop{false};
  std::thread vcpu([&] {
    for (unsigned echoed = 0; echoed < kBytes && !stop;) {
      if ((uart.read(5, 1) & lsr::kDataReady) == 0) {
        std::this_thread::yield();
        continue;
      }
      const auto byte = uart.read(0, 1);
      while ((uart.read(5, 1) & lsr::kHoldingEmpty) == 0 && !stop) std::this_thread::yield();
      uart.write(0, 1, byte);
      ++echoed;
    }
  });
  std::string sent(kBytes, '\0');
  for (unsigned i = 0; i < kBytes; ++i) sent[i] = static_cast<char>('a' + i % 26);
  std::string_view rest = sent;
  std::string got;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (got.size() < kBytes && std::chrono::steady_clock::now() < deadline) {
    const ssize_t put = ::write(peer.get(), rest.data(), rest.size());
    if (put > 0) rest.remove_prefix(static_cast<std::size_t>(put));
    loop.run_ready();
    std::array<char, 4096> buffer;
    const ssize_t count = ::read(peer.get(), buffer.data(), buffer.size());
    if (count > 0) got.append(buffer.data(), static_cast<std::size_t>(count));
  }
  EXPECT_TRUE(got == sent) << got.size() << " bytes came back";
  stop = true;
  vcpu.join();
}

TEST(IsaSerial, PortsFollowFromTheIndex) {
  const auto second = resolve_isa_serial({}, 1);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->iobase, 0x2f8U);
  EXPECT_EQ(second->irq, 3U);
  IsaSerialConfig own;
  ASSERT_TRUE(kIsaSerialProperties.set(own, "iobase", "0x5000"));
  ASSERT_TRUE(kIsaSerialProperties.set(own, "index", "2"));
  const auto third = resolve_isa_serial(own, 0);
  ASSERT_TRUE(third);
  EXPECT_EQ(third->iobase, 0x5000U);
  EXPECT_EQ(third->irq, 4U);
}

TEST(IsaSerial, RefusesWhatDoesNotExist) {
  EXPECT_FALSE(resolve_isa_serial({}, 4));
  EXPECT_FALSE(resolve_isa_serial({.index = 0, .iobase = 0x10000, .chardev = ""}, 0));
  EXPECT_FALSE(resolve_isa_serial({.index = 0, .irq = 16, .chardev = ""}, 0));
}

}  // namespace
}  // namespace doppel::hw
