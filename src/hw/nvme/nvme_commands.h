// Commands, completions, opcodes and status codes: NVM Express base specification 1.4, chapters 4 to 6.
#pragma once

#include <cstdint>

#include "base/endian.h"

namespace doppel::hw::nvme {

/// A submission queue entry: section 4.2.
struct Command {
  std::uint8_t opcode = 0;
  std::uint8_t flags = 0;  // FUSE, PSDT
  Le16 id{};
  Le32 namespace_id{};
  Le32 dword2{};
  Le32 dword3{};
  Le64 metadata{};
  Le64 data1{};  // PRP1, or the first half of an SGL descriptor
  Le64 data2{};
  Le32 dword10{};
  Le32 dword11{};
  Le32 dword12{};
  Le32 dword13{};
  Le32 dword14{};
  Le32 dword15{};

  [[nodiscard]] unsigned fused() const { return flags & 3U; }
  [[nodiscard]] unsigned data_kind() const { return flags >> 6U; }
};
inline constexpr unsigned kCommandShift = 6;
static_assert(sizeof(Command) == 1U << kCommandShift);

/// A completion queue entry: section 4.6.
struct Completion {
  Le32 result{};
  Le32 reserved{};
  Le16 queue_head{};
  Le16 queue_id{};
  Le16 command_id{};
  Le16 status{};  // bit 0 is the phase
};
inline constexpr unsigned kCompletionShift = 4;
static_assert(sizeof(Completion) == 1U << kCompletionShift);

inline constexpr std::uint32_t kAllNamespaces = 0xffff'ffff;

/// Status code type in bits 10 to 8, status code below; kNoRetry beside them: section 4.6.1.
enum class Status : std::uint16_t {
  kSuccess = 0x000,
  kInvalidOpcode = 0x001,
  kInvalidField = 0x002,
  kDataTransferError = 0x004,
  kInternalError = 0x006,
  kAbortedByQueueDeletion = 0x008,
  kInvalidNamespace = 0x00b,
  kInvalidSglSegment = 0x00d,
  kInvalidSglCount = 0x00e,
  kInvalidSglLength = 0x00f,
  kInvalidSglType = 0x011,
  kInvalidPrpOffset = 0x013,
  kWriteProtected = 0x020,
  kLbaOutOfRange = 0x080,
  kCapacityExceeded = 0x081,
  kInvalidCompletionQueue = 0x100,
  kInvalidQueueId = 0x101,
  kInvalidQueueSize = 0x102,
  kTooManyEventRequests = 0x105,
  kInvalidVector = 0x108,
  kInvalidLogPage = 0x109,
  kInvalidQueueDeletion = 0x10c,
  kFeatureNotSaveable = 0x10d,
  kFeatureNotChangeable = 0x10e,
  kFeatureNotPerNamespace = 0x10f,
  kWriteFault = 0x280,
  kReadError = 0x281,
  kCompareFailure = 0x285,
};
/// Would the same command fail again?
[[nodiscard]] constexpr bool is_permanent(Status status) {
  switch (status) {
    case Status::kSuccess:
    case Status::kDataTransferError:
    case Status::kInternalError:
    case Status::kAbortedByQueueDeletion:
    case Status::kWriteFault:
    case Status::kReadError: return false;
    default: return true;
  }
}
/// Bits 15 to 1 of a completion's status field.
[[nodiscard]] constexpr std::uint16_t status_field(Status status) {
  constexpr unsigned kNoRetry = 0x4000;
  return static_cast<std::uint16_t>((static_cast<unsigned>(status) | (is_permanent(status) ? kNoRetry : 0U)) << 1U);
}

enum class AdminOpcode : std::uint8_t {
  kDeleteSubmissionQueue = 0x00,
  kCreateSubmissionQueue = 0x01,
  kGetLogPage = 0x02,
  kDeleteCompletionQueue = 0x04,
  kCreateCompletionQueue = 0x05,
  kIdentify = 0x06,
  kAbort = 0x08,
  kSetFeatures = 0x09,
  kGetFeatures = 0x0a,
  kAsyncEventRequest = 0x0c,
  kDoorbellBuffers = 0x7c,
};

enum class IoOpcode : std::uint8_t {
  kFlush = 0x00,
  kWrite = 0x01,
  kRead = 0x02,
  kCompare = 0x05,
  kWriteZeroes = 0x08,
  kDatasetManagement = 0x09,
  kVerify = 0x0c,
};

}  // namespace doppel::hw::nvme
