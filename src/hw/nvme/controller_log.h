// GET LOG PAGE: what a controller remembers of errors and of its work (NVM Express base specification 1.4, section
// 5.14.1).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <string_view>
#include <vector>

#include "hw/nvme/nvme_commands.h"

namespace doppel::hw::nvme {

enum class LogPageId : std::uint8_t { kErrors = 0x01, kHealth = 0x02, kFirmware = 0x03, kCommands = 0x05 };

struct ErrorEntry {
  std::uint64_t number = 0;  // counted from 1
  std::uint16_t queue = 0;
  std::uint16_t command_id = 0;
  std::uint16_t status = 0;  // as in the completion, without the phase
  std::uint64_t block = 0;
  std::uint32_t namespace_id = 0;
  void describe(auto& fields) {
    fields("number", number);
    fields("queue", queue);
    fields("command_id", command_id);
    fields("status", status);
    fields("block", block);
    fields("namespace_id", namespace_id);
  }
};

struct ControllerLogState {
  std::vector<ErrorEntry> errors{};  // the latest first
  std::uint64_t error_count = 0;
  std::uint64_t reads = 0;
  std::uint64_t writes = 0;
  std::uint64_t bytes_read = 0;
  std::uint64_t bytes_written = 0;
  std::uint64_t media_errors = 0;
  void describe(auto& fields) {
    fields("errors", errors);
    fields("error_count", error_count);
    fields("reads", reads);
    fields("writes", writes);
    fields("bytes_read", bytes_read);
    fields("bytes_written", bytes_written);
    fields("media_errors", media_errors);
  }
};

class ControllerLog {
 public:
  static constexpr std::size_t kErrorEntries = 32;
  static constexpr unsigned kTemperature = 323;  // Kelvin: 50 degrees Celsius

  void note_error(ErrorEntry entry);
  void note_read(std::uint64_t bytes);
  void note_write(std::uint64_t bytes);
  void note_media_error() { ++state_.media_errors; }

  /// The whole page.
  [[nodiscard]] std::expected<std::vector<std::byte>, Status> page(LogPageId id) const;

  void reset() { state_ = {}; }
  [[nodiscard]] const ControllerLogState& save() const { return state_; }
  [[nodiscard]] bool load(const ControllerLogState& saved);

 private:
  [[nodiscard]] std::vector<std::byte> errors() const;
  [[nodiscard]] std::vector<std::byte> health() const;
  [[nodiscard]] static std::vector<std::byte> firmware();
  [[nodiscard]] static std::vector<std::byte> commands();

  ControllerLogState state_;
};

/// As IDENTIFY and the firmware page tell it: 8 characters.
inline constexpr std::string_view kFirmwareRevision = "1.0     ";

}  // namespace doppel::hw::nvme
