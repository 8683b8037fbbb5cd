// Commands and sense codes of CD-ROM drives: SPC-3, MMC-6.
#pragma once

#include <cstdint>

namespace doppel::hw::mmc {

inline constexpr unsigned kBlockSize = 2048;
inline constexpr unsigned kPacketSize = 12;

namespace opcode {
inline constexpr std::uint8_t kTestUnitReady = 0x00;
inline constexpr std::uint8_t kRequestSense = 0x03;
inline constexpr std::uint8_t kInquiry = 0x12;
inline constexpr std::uint8_t kModeSense6 = 0x1a;
inline constexpr std::uint8_t kStartStopUnit = 0x1b;
inline constexpr std::uint8_t kPreventAllowRemoval = 0x1e;
inline constexpr std::uint8_t kReadCapacity = 0x25;
inline constexpr std::uint8_t kRead10 = 0x28;
inline constexpr std::uint8_t kSeek10 = 0x2b;
inline constexpr std::uint8_t kReadToc = 0x43;
inline constexpr std::uint8_t kGetConfiguration = 0x46;
inline constexpr std::uint8_t kGetEventStatus = 0x4a;
inline constexpr std::uint8_t kReadDiscInformation = 0x51;
inline constexpr std::uint8_t kModeSense10 = 0x5a;
inline constexpr std::uint8_t kRead12 = 0xa8;
inline constexpr std::uint8_t kSetCdSpeed = 0xbb;
inline constexpr std::uint8_t kMechanismStatus = 0xbd;
inline constexpr std::uint8_t kReadCd = 0xbe;
}  // namespace opcode

/// Sense key, additional sense code and its qualifier.
struct Sense {
  std::uint8_t key = 0;
  std::uint16_t code = 0;  // 0xAAQQ
  bool operator==(const Sense&) const = default;
};

inline constexpr std::uint8_t kNotReady = 0x02;
inline constexpr std::uint8_t kMediumError = 0x03;
inline constexpr std::uint8_t kIllegalRequest = 0x05;
inline constexpr std::uint8_t kUnitAttention = 0x06;

inline constexpr Sense kNoSense{};
inline constexpr Sense kNoMedium{kNotReady, 0x3a00};
inline constexpr Sense kNoMediumTrayOpen{kNotReady, 0x3a02};
inline constexpr Sense kReadError{kMediumError, 0x1100};
inline constexpr Sense kInvalidCommand{kIllegalRequest, 0x2000};
inline constexpr Sense kOutOfRange{kIllegalRequest, 0x2100};
inline constexpr Sense kInvalidField{kIllegalRequest, 0x2400};
inline constexpr Sense kCannotSave{kIllegalRequest, 0x3900};
inline constexpr Sense kRemovalPrevented{kIllegalRequest, 0x5302};
inline constexpr Sense kMediumMayHaveChanged{kUnitAttention, 0x2800};

/// GET EVENT STATUS NOTIFICATION's media events.
inline constexpr std::uint8_t kNoChange = 0;
inline constexpr std::uint8_t kNewMedia = 2;
inline constexpr std::uint8_t kMediaRemoval = 3;

}  // namespace doppel::hw::mmc
