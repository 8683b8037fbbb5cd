// The registers of an ATA device, their bits, and the commands: ATA/ATAPI-7 volume 1 chapter 6 and ATA8-ACS.
#pragma once

#include <cstdint>

namespace doppel::hw::ata {

inline constexpr unsigned kSectorSize = 512;

/// The command block, at 1F0h or 170h: written on the left, read on the right.
enum class Register : std::uint8_t {
  kData = 0,
  kFeatures = 1,
  kError = 1,
  kCount = 2,  // ATAPI: interrupt reason
  kLbaLow = 3,
  kLbaMid = 4,   // ATAPI: byte count, low
  kLbaHigh = 5,  // ATAPI: byte count, high
  kDevice = 6,
  kCommand = 7,
  kStatus = 7,
};

namespace status {
inline constexpr std::uint8_t kBusy = 0x80;          // BSY
inline constexpr std::uint8_t kReady = 0x40;         // DRDY
inline constexpr std::uint8_t kSeekComplete = 0x10;  // DSC
inline constexpr std::uint8_t kDataRequest = 0x08;   // DRQ
inline constexpr std::uint8_t kError = 0x01;         // ERR; ATAPI: CHK
}  // namespace status

namespace error {
inline constexpr std::uint8_t kAbort = 0x04;          // ABRT
inline constexpr std::uint8_t kNotFound = 0x10;       // IDNF
inline constexpr std::uint8_t kUncorrectable = 0x40;  // UNC
inline constexpr std::uint8_t kDiagnosticsPassed = 0x01;
}  // namespace error

namespace device {
inline constexpr std::uint8_t kSelect = 0x10;    // DEV
inline constexpr std::uint8_t kLba = 0x40;       // else cylinder, head, sector
inline constexpr std::uint8_t kObsolete = 0xa0;  // always ones, since the first drives
inline constexpr std::uint8_t kHead = 0x0f;
}  // namespace device

/// Device control, at 3F6h or 376h.
namespace control {
inline constexpr std::uint8_t kNoInterrupt = 0x02;    // nIEN
inline constexpr std::uint8_t kSoftReset = 0x04;      // SRST
inline constexpr std::uint8_t kHighOrderByte = 0x80;  // HOB
}  // namespace control

/// Interrupt reason, ATAPI's use of the count register.
namespace reason {
inline constexpr std::uint8_t kCommand = 0x01;  // CoD: the packet, not data
inline constexpr std::uint8_t kToHost = 0x02;   // IO
}  // namespace reason

namespace command {
inline constexpr std::uint8_t kNop = 0x00;
inline constexpr std::uint8_t kDataSetManagement = 0x06;
inline constexpr std::uint8_t kDeviceReset = 0x08;
inline constexpr std::uint8_t kRecalibrate = 0x10;
inline constexpr std::uint8_t kReadSectors = 0x20;
inline constexpr std::uint8_t kReadSectorsNoRetry = 0x21;
inline constexpr std::uint8_t kReadSectorsExt = 0x24;
inline constexpr std::uint8_t kReadDmaExt = 0x25;
inline constexpr std::uint8_t kReadNativeMaxExt = 0x27;
inline constexpr std::uint8_t kReadMultipleExt = 0x29;
inline constexpr std::uint8_t kReadLogExt = 0x2f;
inline constexpr std::uint8_t kWriteSectors = 0x30;
inline constexpr std::uint8_t kWriteSectorsNoRetry = 0x31;
inline constexpr std::uint8_t kWriteSectorsExt = 0x34;
inline constexpr std::uint8_t kWriteDmaExt = 0x35;
inline constexpr std::uint8_t kWriteMultipleExt = 0x39;
inline constexpr std::uint8_t kWriteDmaFuaExt = 0x3d;
inline constexpr std::uint8_t kVerify = 0x40;
inline constexpr std::uint8_t kVerifyNoRetry = 0x41;
inline constexpr std::uint8_t kVerifyExt = 0x42;
inline constexpr std::uint8_t kReadQueued = 0x60;   // READ FPDMA QUEUED
inline constexpr std::uint8_t kWriteQueued = 0x61;  // WRITE FPDMA QUEUED
inline constexpr std::uint8_t kSeek = 0x70;
inline constexpr std::uint8_t kExecuteDiagnostic = 0x90;
inline constexpr std::uint8_t kInitializeParameters = 0x91;
inline constexpr std::uint8_t kPacket = 0xa0;
inline constexpr std::uint8_t kIdentifyPacketDevice = 0xa1;
inline constexpr std::uint8_t kSmart = 0xb0;
inline constexpr std::uint8_t kReadMultiple = 0xc4;
inline constexpr std::uint8_t kWriteMultiple = 0xc5;
inline constexpr std::uint8_t kSetMultiple = 0xc6;
inline constexpr std::uint8_t kReadDma = 0xc8;
inline constexpr std::uint8_t kReadDmaNoRetry = 0xc9;
inline constexpr std::uint8_t kWriteDma = 0xca;
inline constexpr std::uint8_t kWriteDmaNoRetry = 0xcb;
inline constexpr std::uint8_t kWriteMultipleFuaExt = 0xce;
inline constexpr std::uint8_t kStandbyImmediate = 0xe0;
inline constexpr std::uint8_t kIdleImmediate = 0xe1;
inline constexpr std::uint8_t kStandby = 0xe2;
inline constexpr std::uint8_t kIdle = 0xe3;
inline constexpr std::uint8_t kCheckPowerMode = 0xe5;
inline constexpr std::uint8_t kSleep = 0xe6;
inline constexpr std::uint8_t kFlushCache = 0xe7;
inline constexpr std::uint8_t kFlushCacheExt = 0xea;
inline constexpr std::uint8_t kIdentifyDevice = 0xec;
inline constexpr std::uint8_t kSetFeatures = 0xef;
inline constexpr std::uint8_t kReadNativeMax = 0xf8;
}  // namespace command

/// SET FEATURES, by the features register: ATA8-ACS section 7.45.
namespace feature {
inline constexpr std::uint8_t kEnableWriteCache = 0x02;
inline constexpr std::uint8_t kTransferMode = 0x03;
inline constexpr std::uint8_t kDisableReadAhead = 0x55;
inline constexpr std::uint8_t kKeepSettings = 0x66;  // over a software reset
inline constexpr std::uint8_t kDisableWriteCache = 0x82;
inline constexpr std::uint8_t kEnableReadAhead = 0xaa;
inline constexpr std::uint8_t kRevertSettings = 0xcc;
}  // namespace feature

}  // namespace doppel::hw::ata
