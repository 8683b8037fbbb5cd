// The device side of a PS/2 cable: what a keyboard and a mouse have in common.
#pragma once

#include <cstdint>
#include <deque>
#include <initializer_list>
#include <span>
#include <vector>

namespace doppel::hw {

namespace ps2 {
inline constexpr std::uint8_t kAck = 0xfa;
inline constexpr std::uint8_t kResend = 0xfe;
inline constexpr std::uint8_t kSelfTestPassed = 0xaa;
}  // namespace ps2

struct Ps2PortState {
  std::vector<std::uint8_t> replies;
  std::vector<std::uint8_t> events;
  std::uint8_t last_sent = 0;
  std::uint8_t pending_command = 0;
  void describe(auto& fields) {
    fields("replies", replies);
    fields("events", events);
    fields("last_sent", last_sent);
    fields("pending_command", pending_command);
  }
};

/// Two queues towards the controller: replies to commands go before events. No lock: the controller holds its own.
class Ps2Port {
 public:
  static constexpr std::size_t kMostReplies = 16;

  virtual ~Ps2Port() = default;

  /// A byte from the host.
  virtual void host_byte(std::uint8_t byte) = 0;

  [[nodiscard]] bool has_output() const { return !replies_.empty() || !events_.empty(); }
  /// The next byte for the controller; only while has_output().
  [[nodiscard]] std::uint8_t take();

 protected:
  void reply(std::initializer_list<std::uint8_t> bytes);
  void resend_last() { reply({last_sent_}); }
  /// All of BYTES, or none if the queue would grow beyond LIMIT.
  bool push_event(std::span<const std::uint8_t> bytes, std::size_t limit);
  [[nodiscard]] std::size_t queued_events() const { return events_.size(); }
  void clear_events() { events_.clear(); }
  void clear_output();
  /// A command that waits for its argument; 0 if none.
  [[nodiscard]] std::uint8_t pending_command() const { return pending_command_; }
  void expect_argument_of(std::uint8_t command) { pending_command_ = command; }

  [[nodiscard]] Ps2PortState save_port() const;
  /// Takes over at most EVENT_LIMIT events.
  void load_port(const Ps2PortState& state, std::size_t event_limit);

 private:
  std::deque<std::uint8_t> replies_;
  std::deque<std::uint8_t> events_;
  std::uint8_t last_sent_ = 0;
  std::uint8_t pending_command_ = 0;
};

}  // namespace doppel::hw
