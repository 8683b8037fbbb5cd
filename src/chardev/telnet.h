// The telnet protocol (RFC 854), as far as a console needs it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace doppel::chardev {

/// Takes the commands out of what a telnet client sends, and makes plain bytes fit for it. Not thread-safe.
class Telnet {
 public:
  /// What to send first: we echo, both sides suppress go-ahead and send all eight bits.
  static std::span<const std::byte> greeting();

  /// The plain bytes of INPUT, which may end in the midst of a command; ON_BREAK is called for each BRK.
  std::vector<std::byte> decode(std::span<const std::byte> input, const std::function<void()>& on_break);
  /// BYTES with each 0xff doubled.
  static std::vector<std::byte> encode(std::span<const std::byte> bytes);
  /// Forgets a command begun; for a new connection.
  void reset() { state_ = State::kData; }

 private:
  enum class State : std::uint8_t { kData, kCommand, kOption, kSub, kSubCommand };
  State state_ = State::kData;
};

}  // namespace doppel::chardev
