#include "chardev/telnet.h"

#include <array>

namespace doppel::chardev {
namespace {

enum : std::uint8_t {
  kSe = 240,
  kBrk = 243,
  kSb = 250,
  kWill = 251,
  kDo = 253,
  kDont = 254,
  kIac = 255,
};
enum : std::uint8_t { kOptionBinary = 0, kOptionEcho = 1, kOptionSuppressGoAhead = 3 };

constexpr std::array<std::byte, 12> kGreeting = {
    std::byte{kIac}, std::byte{kWill}, std::byte{kOptionEcho},
    std::byte{kIac}, std::byte{kWill}, std::byte{kOptionSuppressGoAhead},
    std::byte{kIac}, std::byte{kWill}, std::byte{kOptionBinary},
    std::byte{kIac}, std::byte{kDo},   std::byte{kOptionBinary},
};

}  // namespace

std::span<const std::byte> Telnet::greeting() {
  return kGreeting;
}

std::vector<std::byte> Telnet::decode(std::span<const std::byte> input, const std::function<void()>& on_break) {
  std::vector<std::byte> plain;
  for (const std::byte byte : input) {
    const auto code = static_cast<std::uint8_t>(byte);
    switch (state_) {
      case State::kData:
        if (code == kIac)
          state_ = State::kCommand;
        else
          plain.push_back(byte);
        break;
      case State::kCommand:
        state_ = State::kData;
        if (code == kIac)
          plain.push_back(byte);
        else if (code == kBrk)
          on_break();
        else if (code == kSb)
          state_ = State::kSub;
        else if (code >= kWill && code <= kDont)
          state_ = State::kOption;
        break;
      case State::kOption: state_ = State::kData; break;
      case State::kSub:
        if (code == kIac) state_ = State::kSubCommand;
        break;
      case State::kSubCommand: state_ = code == kSe ? State::kData : State::kSub; break;
    }
  }
  return plain;
}

std::vector<std::byte> Telnet::encode(std::span<const std::byte> bytes) {
  std::vector<std::byte> coded;
  coded.reserve(bytes.size());
  for (const std::byte byte : bytes) {
    coded.push_back(byte);
    if (byte == std::byte{kIac}) coded.push_back(byte);
  }
  return coded;
}

}  // namespace doppel::chardev
