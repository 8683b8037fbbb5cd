#include "gdbstub/packet.h"

#include <gtest/gtest.h>

namespace doppel::gdbstub {
namespace {

/// Writes down what the decoder finds.
class Recorder {
 public:
  void feed(std::string_view text) { decoder.feed(std::as_bytes(std::span(text))); }
  std::vector<std::string> take() { return std::exchange(found_, {}); }

 private:
  std::vector<std::string> found_;

 public:
  PacketDecoder decoder{PacketEvents{
      .packet = [this](std::string_view payload) { found_.push_back("packet " + std::string(payload)); },
      .damaged = [this] { found_.emplace_back("damaged"); },
      .ack = [this] { found_.emplace_back("ack"); },
      .nack = [this] { found_.emplace_back("nack"); },
      .interrupt = [this] { found_.emplace_back("interrupt"); },
  }};
};

using Found = std::vector<std::string>;

TEST(Packet, FramesWithChecksumAndEscapes) {
  EXPECT_EQ(frame_packet(""), "$#00");
  EXPECT_EQ(frame_packet("OK"), "$OK#9a");
  EXPECT_EQ(frame_packet("a#$}*"), "$a}\x03}\x04}]}\x0a#c3");
}

TEST(Packet, FramedPacketsAreDecoded) {
  Recorder recorder;
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  recorder.feed(frame_packet(all));
  EXPECT_EQ(recorder.take(), Found{"packet " + all});
}

TEST(Packet, ArrivesByteByByte) {
  Recorder recorder;
  for (const char c : std::string_view("+$qC#b4-\x03")) recorder.feed({&c, 1});
  EXPECT_EQ(recorder.take(), (Found{"ack", "packet qC", "nack", "interrupt"}));
}

TEST(Packet, SeveralAtOnceAndNoiseBetween) {
  Recorder recorder;
  recorder.feed("xx$g#67\r\n$?#3f");
  EXPECT_EQ(recorder.take(), (Found{"packet g", "packet ?"}));
}

TEST(Packet, WrongChecksumIsDamage) {
  Recorder recorder;
  recorder.feed("$g#68$g#zz$g#67");
  EXPECT_EQ(recorder.take(), (Found{"damaged", "damaged", "packet g"}));
}

TEST(Packet, ChecksumsDoNotMatterWithoutAcknowledgements) {
  Recorder recorder;
  recorder.decoder.check_sums(false);
  recorder.feed("$g#00");
  EXPECT_EQ(recorder.take(), Found{"packet g"});
}

TEST(Packet, ADollarInsideBeginsANewPacket) {
  Recorder recorder;
  recorder.feed("$m1000,$g#67");
  EXPECT_EQ(recorder.take(), Found{"packet g"});
}

TEST(Packet, InterruptByteInsideAPacketIsPayload) {
  Recorder recorder;
  recorder.feed(frame_packet("X0,1:\x03"));
  EXPECT_EQ(recorder.take(), Found{"packet X0,1:\x03"});
}

TEST(Packet, LongestPacketPassesAndLongerIsDamage) {
  Recorder recorder;
  const std::string longest(kMaxPacket, 'a');
  recorder.feed(frame_packet(longest));
  EXPECT_EQ(recorder.take(), Found{"packet " + longest});
  recorder.feed(frame_packet(longest + 'a'));
  recorder.feed("$g#67");
  EXPECT_EQ(recorder.take(), (Found{"damaged", "packet g"}));
}

TEST(Packet, EscapeAtTheEndIsDamage) {
  Recorder recorder;
  recorder.feed("$a}#de");
  EXPECT_EQ(recorder.take(), Found{"damaged"});
}

TEST(Packet, ResetForgetsAPacketBegun) {
  Recorder recorder;
  recorder.feed("$m10");
  recorder.decoder.reset();
  recorder.feed("00#00$g#67");
  EXPECT_EQ(recorder.take(), Found{"packet g"});
}

TEST(Hex, BothWays) {
  EXPECT_EQ(to_hex("\x01\xfeZ"), "01fe5a");
  EXPECT_EQ(from_hex("01FEfe"), (std::vector{std::byte{1}, std::byte{0xfe}, std::byte{0xfe}}));
  EXPECT_EQ(from_hex(""), std::vector<std::byte>{});
  EXPECT_FALSE(from_hex("123"));
  EXPECT_FALSE(from_hex("1g"));
  EXPECT_FALSE(from_hex("-1"));
}

TEST(Arguments, Numbers) {
  Arguments arguments("fFf,10:ffffffffffffffff;0");
  EXPECT_EQ(arguments.take_number(), 0xfffU);
  EXPECT_FALSE(arguments.take_number());
  EXPECT_TRUE(arguments.take(','));
  EXPECT_EQ(arguments.take_number(), 0x10U);
  EXPECT_FALSE(arguments.take(','));
  EXPECT_TRUE(arguments.take(':'));
  EXPECT_EQ(arguments.take_number(), ~std::uint64_t{0});
  EXPECT_EQ(arguments.rest(), ";0");
}

TEST(Arguments, NumbersBeyond64BitsAreNone) {
  Arguments arguments("10000000000000000");
  EXPECT_FALSE(arguments.take_number());
  EXPECT_EQ(arguments.rest().size(), 17U);
}

TEST(Arguments, Words) {
  Arguments arguments("Cont;c:1;s");
  EXPECT_FALSE(arguments.take("Cont?"));
  EXPECT_TRUE(arguments.take("Cont"));
  EXPECT_TRUE(arguments.take(';'));
  EXPECT_EQ(arguments.take_until(';'), "c:1");
  EXPECT_EQ(arguments.take_until(';'), "s");
  EXPECT_TRUE(arguments.empty());
  EXPECT_EQ(arguments.take_until(';'), "");
}

}  // namespace
}  // namespace doppel::gdbstub
