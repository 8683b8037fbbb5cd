// A SCSI command on its way between an adapter, which knows the initiator, and a logical unit, which carries it out.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "base/error.h"
#include "block/disk.h"

namespace doppel::hw {

namespace scsi {

/// Status codes, SAM-5 section 5.3.1.
enum class Status : std::uint8_t { kGood = 0x00, kCheckCondition = 0x02 };

/// Sense key, additional sense code and its qualifier: SPC-4 section 4.5.
struct Sense {
  std::uint8_t key = 0;
  std::uint8_t code = 0;
  std::uint8_t qualifier = 0;
  bool operator==(const Sense&) const = default;
};

inline constexpr Sense kNoSense{};
inline constexpr Sense kNoMedium{0x02, 0x3a, 0x00};
inline constexpr Sense kReadError{0x03, 0x11, 0x00};
inline constexpr Sense kWriteError{0x03, 0x0c, 0x00};
inline constexpr Sense kNoMemory{0x04, 0x55, 0x00};  // system resource failure
inline constexpr Sense kInvalidOpcode{0x05, 0x20, 0x00};
inline constexpr Sense kOutOfRange{0x05, 0x21, 0x00};
inline constexpr Sense kInvalidField{0x05, 0x24, 0x00};
inline constexpr Sense kNoSuchUnit{0x05, 0x25, 0x00};
inline constexpr Sense kInvalidParameter{0x05, 0x26, 0x00};
inline constexpr Sense kShortParameters{0x05, 0x1a, 0x00};
inline constexpr Sense kWasReset{0x06, 0x29, 0x00};
inline constexpr Sense kWriteProtected{0x07, 0x27, 0x00};
inline constexpr Sense kNoSpace{0x07, 0x27, 0x07};

inline constexpr std::size_t kSenseSize = 18;
/// In the fixed format (SPC-4 section 4.5.3).
constexpr std::array<std::uint8_t, kSenseSize> fixed_format(const Sense& sense) {
  std::array<std::uint8_t, kSenseSize> bytes{};
  bytes[0] = 0x70;
  bytes[2] = sense.key;
  bytes[7] = kSenseSize - 8;
  bytes[12] = sense.code;
  bytes[13] = sense.qualifier;
  return bytes;
}

}  // namespace scsi

/// Guarded by the adapter's lock, under which all of it is called. Members that fail do so because the initiator's
/// memory is not there; whoever gets such an error passes it on at once.
class ScsiTask {
 public:
  using Begin = std::function<void(block::Done)>;
  using Handler = std::function<Result<>(const Result<>&)>;

  virtual ~ScsiTask() = default;

  /// The command, with zeroes behind it.
  [[nodiscard]] virtual const std::array<std::uint8_t, 16>& cdb() const = 0;
  /// Room for data to the initiator, and data from it, in bytes.
  [[nodiscard]] virtual std::uint64_t in_size() const = 0;
  [[nodiscard]] virtual std::uint64_t out_size() const = 0;
  virtual Result<> put(std::uint64_t offset, std::span<const std::byte> data) = 0;
  virtual Result<> get(std::uint64_t offset, std::span<std::byte> out) = 0;
  /// Memory of the initiator's that a disk itself fills with LENGTH bytes of data, or reads them from, until the end of
  /// what is begun next. Nothing: put() and get() are the way.
  virtual std::optional<block::Buffers> lend(std::uint64_t offset, std::size_t length, bool fills) = 0;

  /// BEGIN asks a disk for something, without the lock; HANDLER goes on from there, under the lock. It is dropped if
  /// the task is not wanted any more.
  virtual void begin(Begin begin, Handler handler) = 0;

  /// The end, with MOVED bytes through.
  virtual Result<> finish(scsi::Status status, const scsi::Sense& sense, std::uint64_t moved) = 0;
  /// The end of a command whose data has no room with the initiator.
  virtual Result<> overrun() = 0;

  Result<> good(std::uint64_t moved = 0) { return finish(scsi::Status::kGood, scsi::kNoSense, moved); }
  Result<> check(const scsi::Sense& sense) { return finish(scsi::Status::kCheckCondition, sense, 0); }
};
using ScsiTaskPtr = std::shared_ptr<ScsiTask>;

}  // namespace doppel::hw
