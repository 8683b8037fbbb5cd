// GET FEATURES and SET FEATURES: NVM Express base specification 1.4, sections 5.14 and 5.21.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <vector>

#include "hw/nvme/nvme_commands.h"

namespace doppel::hw::nvme {

enum class FeatureId : std::uint8_t {
  kArbitration = 0x01,
  kPowerManagement = 0x02,
  kTemperatureThreshold = 0x04,
  kErrorRecovery = 0x05,
  kWriteCache = 0x06,
  kQueues = 0x07,
  kInterruptCoalescing = 0x08,
  kInterruptVector = 0x09,
  kWriteAtomicity = 0x0a,
  kAsyncEvents = 0x0b,
};

struct FeatureState {
  std::array<std::uint32_t, 12> values{};       // by feature
  std::array<std::uint32_t, 2> temperatures{};  // over and under
  std::vector<std::uint16_t> uncoalesced{};     // vectors
  void describe(auto& fields) {
    fields("values", values);
    fields("temperatures", temperatures);
    fields("uncoalesced", uncoalesced);
  }
};

/// The values. None steers anything by itself but the write cache; whoever needs one asks.
class Features {
 public:
  struct Limits {
    std::uint32_t queue_pairs = 1;
    std::uint32_t vectors = 1;
    bool write_cache = false;
  };
  explicit Features(const Limits& limits) : limits_(limits) { reset(); }

  /// The result in dword 0.
  [[nodiscard]] std::expected<std::uint32_t, Status> get(const Command& command) const;
  [[nodiscard]] std::expected<std::uint32_t, Status> set(const Command& command);

  /// There is a disk whose write cache can be switched. Before the machine runs.
  void offer_write_cache() {
    limits_.write_cache = true;
    reset();
  }
  [[nodiscard]] bool has_write_cache() const { return limits_.write_cache; }
  [[nodiscard]] bool write_cache() const { return value(FeatureId::kWriteCache) != 0; }
  void reset();
  [[nodiscard]] const FeatureState& save() const { return state_; }
  [[nodiscard]] bool load(const FeatureState& saved);

 private:
  struct Row;
  static const Row* find(std::uint8_t id);
  [[nodiscard]] std::uint32_t queues() const {
    const std::uint32_t most = limits_.queue_pairs - 1;
    return most | most << 16U;
  }
  [[nodiscard]] std::uint32_t value(FeatureId id) const { return state_.values.at(static_cast<std::size_t>(id)); }
  [[nodiscard]] std::expected<std::uint32_t, Status> default_of(const Row& row, const Command& command) const;

  Limits limits_;
  FeatureState state_;
};

}  // namespace doppel::hw::nvme
