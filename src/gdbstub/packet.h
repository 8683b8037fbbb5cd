// Packets of gdb's remote serial protocol: framing, checksums, escapes and hexadecimal text ("Debugging with GDB",
// appendix E.1). Pure functions of bytes; whatever arrives, memory stays bounded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace doppel::gdbstub {

/// The longest packet taken, in bytes between '$' and '#'; what qSupported announces.
inline constexpr std::size_t kMaxPacket = 16 * 1024;

/// "$PAYLOAD#checksum" with '$', '#', '}' and '*' in PAYLOAD escaped.
std::string frame_packet(std::string_view payload);

/// What the decoder finds in the stream, in order.
struct PacketEvents {
  std::function<void(std::string_view payload)> packet;  // unescaped; whole and with the right checksum
  std::function<void()> damaged;                         // wrong checksum, too long or badly escaped
  std::function<void()> ack;
  std::function<void()> nack;
  std::function<void()> interrupt;  // Ctrl-C, byte 3 between packets
};

class PacketDecoder {
 public:
  explicit PacketDecoder(PacketEvents events) : events_(std::move(events)) {}

  void feed(std::span<const std::byte> bytes);
  /// A new connection: forgets a packet begun.
  void reset() { state_ = State::kBetween; }
  /// With acknowledgements off, checksums are not looked at (QStartNoAckMode).
  void check_sums(bool check) { check_sums_ = check; }

 private:
  enum class State : std::uint8_t { kBetween, kPayload, kChecksumHigh, kChecksumLow };

  void take(char byte);
  void take_between(char byte);
  void take_payload(char byte);
  void finish(char low);

  PacketEvents events_;
  State state_ = State::kBetween;
  bool check_sums_ = true;
  bool too_long_ = false;
  std::string payload_;  // as received, escapes and all
  std::uint8_t sum_ = 0;
  char checksum_high_ = 0;
};

/// '}' takes the next byte XOR 0x20. Nothing if TEXT ends in a lone '}'.
std::optional<std::string> unescape(std::string_view text);

std::string to_hex(std::span<const std::byte> bytes);
std::string to_hex(std::string_view text);
/// Nothing unless TEXT is an even number of hexadecimal digits.
std::optional<std::vector<std::byte>> from_hex(std::string_view text);

/// A cursor over a packet's arguments. Each take_ function leaves the cursor alone if it finds nothing.
class Arguments {
 public:
  explicit Arguments(std::string_view text) : rest_(text) {}

  [[nodiscard]] bool empty() const { return rest_.empty(); }
  [[nodiscard]] std::string_view rest() const { return rest_; }
  bool take(char wanted);
  bool take(std::string_view wanted);
  /// An unsigned hexadecimal number of at most 64 bits.
  std::optional<std::uint64_t> take_number();
  /// Everything before SEPARATOR, which is dropped, or all there is.
  std::string_view take_until(char separator);

 private:
  std::string_view rest_;
};

}  // namespace doppel::gdbstub
