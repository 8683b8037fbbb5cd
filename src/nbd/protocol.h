// Numbers of the NBD protocol, named as in its specification (doc/proto.md of the NBD project). All are big-endian on
// the wire.
#pragma once

#include <cstddef>
#include <cstdint>

namespace doppel::nbd {

inline constexpr std::uint64_t kServerMagic = 0x4e42444d41474943;  // "NBDMAGIC"
inline constexpr std::uint64_t kOptionMagic = 0x49484156454f5054;  // "IHAVEOPT"
inline constexpr std::uint64_t kOptionReplyMagic = 0x0003e889045565a9;
inline constexpr std::uint32_t kRequestMagic = 0x25609513;
inline constexpr std::uint32_t kSimpleReplyMagic = 0x67446698;
inline constexpr std::uint32_t kStructuredReplyMagic = 0x668e33ef;

// Flags of the handshake, the client's in 32 bits, the server's in 16.
inline constexpr std::uint16_t kFixedNewstyle = 1 << 0;
inline constexpr std::uint16_t kNoZeroes = 1 << 1;

enum class Option : std::uint32_t {
  kExportName = 1,
  kAbort = 2,
  kList = 3,
  kStartTls = 5,
  kInfo = 6,
  kGo = 7,
  kStructuredReply = 8,
  kListMetaContext = 9,
  kSetMetaContext = 10,
};

enum class OptionReply : std::uint32_t {
  kAck = 1,
  kServer = 2,
  kInfo = 3,
  kMetaContext = 4,
  kErrorUnsupported = 0x8000'0001,
  kErrorPolicy = 0x8000'0002,
  kErrorInvalid = 0x8000'0003,
  kErrorTlsRequired = 0x8000'0005,
  kErrorUnknown = 0x8000'0006,
  kErrorTooBig = 0x8000'0009,
};

enum class Info : std::uint16_t { kExport = 0, kName = 1, kDescription = 2, kBlockSize = 3 };

// Transmission flags: what an export can do.
inline constexpr std::uint16_t kHasFlags = 1 << 0;
inline constexpr std::uint16_t kReadOnly = 1 << 1;
inline constexpr std::uint16_t kSendFlush = 1 << 2;
inline constexpr std::uint16_t kSendFua = 1 << 3;
inline constexpr std::uint16_t kSendTrim = 1 << 5;
inline constexpr std::uint16_t kSendWriteZeroes = 1 << 6;
inline constexpr std::uint16_t kSendDf = 1 << 7;
inline constexpr std::uint16_t kCanMultiConn = 1 << 8;
inline constexpr std::uint16_t kSendCache = 1 << 10;
inline constexpr std::uint16_t kSendFastZero = 1 << 11;

enum class Command : std::uint16_t {
  kRead = 0,
  kWrite = 1,
  kDisconnect = 2,
  kFlush = 3,
  kTrim = 4,
  kCache = 5,
  kWriteZeroes = 6,
  kBlockStatus = 7,
};

// Flags of a request.
inline constexpr std::uint16_t kFua = 1 << 0;
inline constexpr std::uint16_t kNoHole = 1 << 1;
inline constexpr std::uint16_t kDontFragment = 1 << 2;
inline constexpr std::uint16_t kRequestOne = 1 << 3;
inline constexpr std::uint16_t kFastZero = 1 << 4;

// Structured replies.
inline constexpr std::uint16_t kChunkDone = 1 << 0;
enum class Chunk : std::uint16_t {
  kNone = 0,
  kOffsetData = 1,
  kOffsetHole = 2,
  kBlockStatus = 5,
  kError = 0x8001,
};

enum class WireError : std::uint32_t {
  kNone = 0,
  kPermission = 1,
  kIo = 5,
  kNoMemory = 12,
  kInvalid = 22,
  kNoSpace = 28,
  kUnsupported = 95,
};

// States in the context base:allocation.
inline constexpr std::uint32_t kStateHole = 1 << 0;
inline constexpr std::uint32_t kStateZero = 1 << 1;
// In qemu:dirty-bitmap:NAME.
inline constexpr std::uint32_t kStateDirty = 1;

inline constexpr std::size_t kRequestSize = 28;
inline constexpr std::size_t kSimpleReplySize = 16;
inline constexpr std::size_t kChunkSize = 20;
inline constexpr std::size_t kOptionSize = 16;

/// What clients may ask for at once if nothing else was agreed on, and what QEMU allows.
inline constexpr std::uint32_t kMaxPayload = 32U << 20;
inline constexpr std::size_t kMaxName = 4096;

}  // namespace doppel::nbd
