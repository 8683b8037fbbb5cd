// What the tests of the backends share: a frontend that remembers, a loop to turn, a place for files.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "base/unique_fd.h"
#include "chardev/chardev.h"
#include "event/loop.h"

namespace doppel::chardev {

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

/// Takes at most `room` bytes and keeps them.
struct TestFrontend {
  void connect_to(Chardev& chardev) {
    chardev.connect({
        .can_receive = [this] { return room; },
        .receive =
            [this](std::span<const std::byte> bytes) {
              ASSERT_LE(bytes.size(), room);
              room -= bytes.size();
              for (const std::byte byte : bytes) received += static_cast<char>(byte);
            },
        .can_write = [this] { ++can_writes; },
        .event = [this](CharEvent event) { events.push_back(event); },
    });
  }
  std::size_t room = 1 << 20;
  std::string received;
  int can_writes = 0;
  std::vector<CharEvent> events;
};

class ChardevTest : public testing::Test {
 protected:
  ChardevTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "doppel-chardev-XXXXXX").string();
    directory_ = mkdtemp(pattern.data());
  }
  ~ChardevTest() override { std::filesystem::remove_all(directory_); }

  [[nodiscard]] std::string path(std::string_view name) const { return (directory_ / name).string(); }
  static std::string contents(const std::string& file) {
    std::ifstream stream(file);
    return {std::istreambuf_iterator<char>(stream), {}};
  }
  static void fill(const std::string& file, std::string_view text) { std::ofstream(file) << text; }

  /// Turns the loop until DONE; false after five seconds.
  bool turn_until(const std::function<bool()>& done) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    while (!done()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      loop.run_ready();
      std::this_thread::yield();
    }
    return true;
  }
  void turn() {
    for (int i = 0; i < 20; ++i) loop.run_ready();
  }

  event::Loop loop;

 private:
  std::filesystem::path directory_;
};

/// Up to 64 KiB that can be read now.
inline std::string read_some(int fd) {
  std::array<char, 65536> buffer;
  const ssize_t got = ::read(fd, buffer.data(), buffer.size());
  return got > 0 ? std::string(buffer.data(), static_cast<std::size_t>(got)) : std::string();
}

inline void put(int fd, std::string_view text) {
  ASSERT_EQ(::write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
}

}  // namespace doppel::chardev
