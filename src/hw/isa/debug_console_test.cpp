#include "hw/isa/debug_console.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace doppel::hw {
namespace {

/// A backend with so much room.
class Backend final : public chardev::Chardev {
 public:
  [[nodiscard]] const std::string& id() const override { return id_; }
  [[nodiscard]] std::string filename() const override { return "test"; }
  [[nodiscard]] std::size_t write(std::span<const std::byte> bytes) override {
    const std::size_t taken = std::min(bytes.size(), room);
    for (const std::byte byte : bytes.first(taken)) text += static_cast<char>(byte);
    room -= taken;
    return taken;
  }
  void connect(Frontend wanted) override { frontend = std::move(wanted); }
  void accept_input() override {}

  std::size_t room = SIZE_MAX;
  std::string text;
  Frontend frontend;

 private:
  std::string id_ = "debug";
};

void print(DebugConsole& console, std::string_view text) {
  for (const char c : text) console.write(0, 1, static_cast<std::uint8_t>(c));
}

TEST(DebugConsole, PrintsAndIsThere) {
  Backend backend;
  DebugConsole console({}, &backend);
  EXPECT_EQ(console.port(), 0xe9U);
  EXPECT_EQ(console.read(0, 1), 0xe9U);
  print(console, "hello\n");
  EXPECT_EQ(backend.text, "hello\n");
}

TEST(DebugConsole, Properties) {
  DebugConsoleConfig config;
  ASSERT_TRUE(kDebugConsoleProperties.set(config, "iobase", "0x402"));
  ASSERT_TRUE(kDebugConsoleProperties.set(config, "readback", "0x55"));
  ASSERT_TRUE(kDebugConsoleProperties.set(config, "chardev", "log"));
  const DebugConsole console(config, nullptr);
  EXPECT_EQ(console.port(), 0x402U);
  EXPECT_EQ(config.chardev, "log");
}

TEST(DebugConsole, TextWaitsForRoom) {
  Backend backend;
  backend.room = 3;
  DebugConsole console({}, &backend);
  print(console, "abcdef");
  EXPECT_EQ(backend.text, "abc");
  backend.room = 2;
  backend.frontend.can_write();
  EXPECT_EQ(backend.text, "abcde");
  backend.room = SIZE_MAX;
  backend.frontend.can_write();
  print(console, "g");
  EXPECT_EQ(backend.text, "abcdefg");
}

TEST(DebugConsole, WhatWaitsIsBounded) {
  Backend backend;
  backend.room = 0;
  DebugConsole console({}, &backend);
  for (std::size_t i = 0; i < DebugConsole::kMaxPending + 100; ++i) console.write(0, 1, 'x');
  backend.room = SIZE_MAX;
  backend.frontend.can_write();
  EXPECT_EQ(backend.text.size(), DebugConsole::kMaxPending);
}

TEST(DebugConsole, LetsItsBackendGo) {
  Backend backend;
  {
    const DebugConsole console({}, &backend);
  }
  EXPECT_FALSE(backend.frontend.can_write);
}

TEST(DebugConsole, WithoutABackendTextIsDropped) {
  DebugConsole console({}, nullptr);
  print(console, "lost");
}

}  // namespace
}  // namespace doppel::hw
