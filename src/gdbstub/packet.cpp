#include "gdbstub/packet.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

namespace doppel::gdbstub {

namespace {

constexpr char kInterruptByte = 3;
constexpr char kEscape = '}';
constexpr char kEscapeXor = 0x20;

std::optional<std::uint8_t> digit(char c) {
  if (c >= '0' && c <= '9') return static_cast<std::uint8_t>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<std::uint8_t>(c - 'a' + 10);
  if (c >= 'A' && c <= 'F') return static_cast<std::uint8_t>(c - 'A' + 10);
  return std::nullopt;
}

}  // namespace

std::string frame_packet(std::string_view payload) {
  std::string framed = "$";
  framed.reserve(payload.size() + 8);
  for (const char c : payload) {
    if (c == '$' || c == '#' || c == kEscape || c == '*') {
      framed += kEscape;
      framed += static_cast<char>(c ^ kEscapeXor);
    } else {
      framed += c;
    }
  }
  const auto add = [](unsigned sum, char c) { return sum + static_cast<std::uint8_t>(c); };
  const unsigned sum = std::accumulate(framed.begin() + 1, framed.end(), 0U, add);
  framed += fmt::format("#{:02x}", sum & 0xff);
  return framed;
}

void PacketDecoder::feed(std::span<const std::byte> bytes) {
  for (const std::byte byte : bytes) take(static_cast<char>(byte));
}

void PacketDecoder::take(char byte) {
  switch (state_) {
    case State::kBetween: take_between(byte); break;
    case State::kPayload: take_payload(byte); break;
    case State::kChecksumHigh:
      checksum_high_ = byte;
      state_ = State::kChecksumLow;
      break;
    case State::kChecksumLow: finish(byte); break;
  }
}

void PacketDecoder::take_between(char byte) {
  switch (byte) {
    case '$':
      payload_.clear();
      sum_ = 0;
      too_long_ = false;
      state_ = State::kPayload;
      break;
    case '+': events_.ack(); break;
    case '-': events_.nack(); break;
    case kInterruptByte: events_.interrupt(); break;
    default: break;  // noise on the line
  }
}

void PacketDecoder::take_payload(char byte) {
  if (byte == '#') {
    state_ = State::kChecksumHigh;
    return;
  }
  if (byte == '$') {  // the end of the last packet got lost: this begins another
    state_ = State::kBetween;
    take_between(byte);
    return;
  }
  sum_ = static_cast<std::uint8_t>(sum_ + static_cast<std::uint8_t>(byte));
  if (payload_.size() < kMaxPacket)
    payload_ += byte;
  else
    too_long_ = true;
}

void PacketDecoder::finish(char low) {
  state_ = State::kBetween;
  const auto high_digit = digit(checksum_high_);
  const auto low_digit = digit(low);
  const bool right = !check_sums_ || (high_digit && low_digit && sum_ == *high_digit * 16 + *low_digit);
  auto payload = right && !too_long_ ? unescape(payload_) : std::nullopt;
  if (payload)
    events_.packet(*payload);
  else
    events_.damaged();
}

std::optional<std::string> unescape(std::string_view text) {
  std::string plain;
  plain.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != kEscape) {
      plain += text[i];
    } else if (++i < text.size()) {
      plain += static_cast<char>(text[i] ^ kEscapeXor);
    } else {
      return std::nullopt;
    }
  }
  return plain;
}

std::string to_hex(std::span<const std::byte> bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const std::byte byte : bytes) {
    text += kDigits[std::to_integer<std::size_t>(byte >> 4U)];
    text += kDigits[std::to_integer<std::size_t>(byte & std::byte{0xf})];
  }
  return text;
}

std::string to_hex(std::string_view text) {
  return to_hex(std::as_bytes(std::span(text)));
}

std::optional<std::vector<std::byte>> from_hex(std::string_view text) {
  if (text.size() % 2 != 0) return std::nullopt;
  std::vector<std::byte> bytes;
  bytes.reserve(text.size() / 2);
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const auto high = digit(text[i]);
    const auto low = digit(text[i + 1]);
    if (!high || !low) return std::nullopt;
    bytes.push_back(static_cast<std::byte>(*high * 16 + *low));
  }
  return bytes;
}

bool Arguments::take(char wanted) {
  if (!rest_.starts_with(wanted)) return false;
  rest_.remove_prefix(1);
  return true;
}

bool Arguments::take(std::string_view wanted) {
  if (!rest_.starts_with(wanted)) return false;
  rest_.remove_prefix(wanted.size());
  return true;
}

std::optional<std::uint64_t> Arguments::take_number() {
  std::uint64_t value = 0;
  std::size_t length = 0;
  while (length < rest_.size()) {
    const auto next = digit(rest_[length]);
    if (!next) break;
    if (value >> 60U != 0) return std::nullopt;
    value = value << 4U | *next;
    ++length;
  }
  if (length == 0) return std::nullopt;
  rest_.remove_prefix(length);
  return value;
}

std::string_view Arguments::take_until(char separator) {
  const std::size_t end = std::min(rest_.find(separator), rest_.size());
  const std::string_view taken = rest_.substr(0, end);
  rest_.remove_prefix(std::min(end + 1, rest_.size()));
  return taken;
}

}  // namespace doppel::gdbstub
