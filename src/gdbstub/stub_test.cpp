#include "gdbstub/stub.h"

#include <gtest/gtest.h>

#include "gdbstub/fake_target.h"

namespace doppel::gdbstub {
namespace {

/// Takes at most `room` bytes.
class FakeChardev : public chardev::Chardev {
 public:
  const std::string& id() const override { return id_; }
  std::string filename() const override { return "fake"; }
  std::size_t write(std::span<const std::byte> bytes) override {
    const std::size_t taken = std::min(room, bytes.size());
    for (const std::byte byte : bytes.first(taken)) output += static_cast<char>(byte);
    room -= taken;
    return taken;
  }
  void connect(Frontend wanted) override { frontend = std::move(wanted); }
  void accept_input() override { ++accepts; }

  void type(std::string_view text) { frontend.receive(std::as_bytes(std::span(text))); }
  std::string take() { return std::exchange(output, {}); }

  Frontend frontend;
  std::size_t room = 1 << 20;
  std::string output;
  int accepts = 0;

 private:
  const std::string id_ = "fake";
};

class ConnectionTest : public testing::Test {
 protected:
  ConnectionTest() { chardev.frontend.event(chardev::CharEvent::kOpened); }

  FakeChardev chardev;
  FakeTarget target;
  std::optional<Connection> connection{std::in_place, chardev, target, Logger()};
};

TEST_F(ConnectionTest, AcknowledgesAndAnswers) {
  chardev.type("+$qC#b4");
  EXPECT_EQ(chardev.take(), "+$QC01#f5");
}

TEST_F(ConnectionTest, AsksForDamagedPacketsAgain) {
  chardev.type("$qC#b5");
  EXPECT_EQ(chardev.take(), "-");
}

TEST_F(ConnectionTest, SendsAgainWhatArrivedDamaged) {
  chardev.type("$qC#b4");
  chardev.take();
  chardev.type("-");
  EXPECT_EQ(chardev.take(), "$QC01#f5");
}

TEST_F(ConnectionTest, NoAcknowledgements) {
  chardev.type(frame_packet("QStartNoAckMode"));
  EXPECT_EQ(chardev.take(), "+$OK#9a");
  chardev.type("+$qC#00-$qC#b4");
  EXPECT_EQ(chardev.take(), "$QC01#f5$QC01#f5");
}

TEST_F(ConnectionTest, ANewClientStartsAfresh) {
  chardev.type(frame_packet("QStartNoAckMode"));
  chardev.type("$m10");
  chardev.frontend.event(chardev::CharEvent::kClosed);
  chardev.frontend.event(chardev::CharEvent::kOpened);
  chardev.take();
  chardev.type("$qC#b4");
  EXPECT_EQ(chardev.take(), "+$QC01#f5");
}

TEST_F(ConnectionTest, CtrlCInterrupts) {
  chardev.type(frame_packet("c"));
  EXPECT_EQ(target.run_state, vm::RunState::kRunning);
  chardev.type("\x03");
  EXPECT_EQ(target.run_state, vm::RunState::kPaused);
  EXPECT_EQ(chardev.take(), "+" + frame_packet("T02thread:01;"));
}

TEST_F(ConnectionTest, WaitsForASlowClient) {
  chardev.room = 3;
  EXPECT_NE(chardev.frontend.can_receive(), 0U);
  chardev.type("$qC#b4");
  EXPECT_EQ(chardev.output, "+$Q");
  EXPECT_EQ(chardev.frontend.can_receive(), 0U);
  chardev.room = 100;
  chardev.frontend.can_write();
  EXPECT_EQ(chardev.take(), "+$QC01#f5");
  EXPECT_EQ(chardev.accepts, 1);
  EXPECT_NE(chardev.frontend.can_receive(), 0U);
}

TEST_F(ConnectionTest, EndsWithAnExitStatus) {
  connection.reset();
  EXPECT_EQ(chardev.take(), "$W00#b7");
}

TEST_F(ConnectionTest, NobodyThereNothingSaid) {
  chardev.frontend.event(chardev::CharEvent::kClosed);
  connection.reset();
  EXPECT_EQ(chardev.take(), "");
}

}  // namespace
}  // namespace doppel::gdbstub
