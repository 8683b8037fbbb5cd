// Registers of the 16550A (National Semiconductor PC16550D data sheet, table II).
#pragma once

#include <cstdint>

namespace doppel::hw::uart {

/// Offsets. The first two are the divisor latch while LCR.DLAB is set.
enum class Register : std::uint8_t {
  kData = 0,  // receiver buffer when read, transmitter holding register when written
  kInterruptEnable = 1,
  kInterruptId = 2,  // FIFO control when written
  kLineControl = 3,
  kModemControl = 4,
  kLineStatus = 5,
  kModemStatus = 6,
  kScratch = 7,
};

namespace ier {
inline constexpr std::uint8_t kReceived = 0x01;
inline constexpr std::uint8_t kTransmitterEmpty = 0x02;
inline constexpr std::uint8_t kLineStatus = 0x04;
inline constexpr std::uint8_t kModemStatus = 0x08;
inline constexpr std::uint8_t kWritable = 0x0f;
}  // namespace ier

namespace iir {
inline constexpr std::uint8_t kModemStatus = 0x00;
inline constexpr std::uint8_t kNone = 0x01;
inline constexpr std::uint8_t kTransmitterEmpty = 0x02;
inline constexpr std::uint8_t kReceived = 0x04;
inline constexpr std::uint8_t kLineStatus = 0x06;
inline constexpr std::uint8_t kTimeout = 0x0c;
inline constexpr std::uint8_t kFifosEnabled = 0xc0;
}  // namespace iir

namespace fcr {
inline constexpr std::uint8_t kEnable = 0x01;
inline constexpr std::uint8_t kResetReceiver = 0x02;
inline constexpr std::uint8_t kResetTransmitter = 0x04;
inline constexpr std::uint8_t kDmaMode = 0x08;
inline constexpr unsigned kTriggerShift = 6;
}  // namespace fcr

namespace lcr {
inline constexpr std::uint8_t kWordLength = 0x03;
inline constexpr std::uint8_t kTwoStopBits = 0x04;
inline constexpr std::uint8_t kParity = 0x08;
inline constexpr std::uint8_t kBreak = 0x40;
inline constexpr std::uint8_t kDivisorLatch = 0x80;
}  // namespace lcr

namespace mcr {
inline constexpr std::uint8_t kDtr = 0x01;
inline constexpr std::uint8_t kRts = 0x02;
inline constexpr std::uint8_t kOut1 = 0x04;
inline constexpr std::uint8_t kOut2 = 0x08;
inline constexpr std::uint8_t kLoopback = 0x10;
inline constexpr std::uint8_t kWritable = 0x1f;
}  // namespace mcr

namespace lsr {
inline constexpr std::uint8_t kDataReady = 0x01;
inline constexpr std::uint8_t kOverrun = 0x02;
inline constexpr std::uint8_t kParityError = 0x04;
inline constexpr std::uint8_t kFramingError = 0x08;
inline constexpr std::uint8_t kBreak = 0x10;
inline constexpr std::uint8_t kHoldingEmpty = 0x20;
inline constexpr std::uint8_t kTransmitterEmpty = 0x40;
inline constexpr std::uint8_t kErrorInFifo = 0x80;
inline constexpr std::uint8_t kCharacterErrors = kParityError | kFramingError | kBreak;
inline constexpr std::uint8_t kErrors = kOverrun | kCharacterErrors;
}  // namespace lsr

namespace msr {
inline constexpr std::uint8_t kDeltaCts = 0x01;
inline constexpr std::uint8_t kDeltaDsr = 0x02;
inline constexpr std::uint8_t kTrailingRi = 0x04;
inline constexpr std::uint8_t kDeltaDcd = 0x08;
inline constexpr std::uint8_t kDeltas = 0x0f;
inline constexpr std::uint8_t kCts = 0x10;
inline constexpr std::uint8_t kDsr = 0x20;
inline constexpr std::uint8_t kRi = 0x40;
inline constexpr std::uint8_t kDcd = 0x80;
}  // namespace msr

/// Of the crystal on PC serial cards after its divider by 16: the rate at divisor 1.
inline constexpr std::uint32_t kBaudBase = 115'200;
inline constexpr std::size_t kFifoSize = 16;

}  // namespace doppel::hw::uart
