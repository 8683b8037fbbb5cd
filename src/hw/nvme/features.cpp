#include "hw/nvme/features.h"

#include <algorithm>

#include "base/bits.h"

namespace doppel::hw::nvme {

namespace {

enum class Changeable : std::uint8_t { kNo, kYes };

constexpr std::uint32_t kHotThreshold = 343;  // Kelvin
constexpr unsigned kDefault = 1;              // SEL of GET FEATURES
constexpr unsigned kSaved = 2;
constexpr unsigned kSupported = 3;
constexpr std::uint32_t kChangeableBit = 0x4;  // of what SEL 3 tells

unsigned threshold_kind(const Command& command) {
  return bits<std::uint32_t>(command.dword11, 21, 20);
}

}  // namespace

struct Features::Row {
  FeatureId id;
  std::uint32_t writable;
  std::uint32_t initial;
  Changeable changeable = Changeable::kYes;
};

const Features::Row* Features::find(std::uint8_t id) {
  static constexpr Row kRows[] = {
      {FeatureId::kArbitration, 0xffff'ff07, 0x07},
      {FeatureId::kPowerManagement, 0, 0},
      {FeatureId::kTemperatureThreshold, 0, 0},
      {FeatureId::kErrorRecovery, 0x0000'ffff, 0},
      {FeatureId::kWriteCache, 0x1, 1},
      {FeatureId::kQueues, 0, 0},
      {FeatureId::kInterruptCoalescing, 0x0000'ffff, 0},
      {FeatureId::kInterruptVector, 0, 0},
      {FeatureId::kWriteAtomicity, 0x1, 0},
      {FeatureId::kAsyncEvents, 0x0000'ffff, 0},
  };
  const auto* row = std::ranges::find(kRows, static_cast<FeatureId>(id), &Row::id);
  return row == std::end(kRows) ? nullptr : row;
}

void Features::reset() {
  state_ = {};
  for (std::uint8_t id = 0; id < state_.values.size(); ++id)
    if (const Row* row = find(id)) state_.values[id] = row->initial;
  if (!limits_.write_cache) state_.values[static_cast<std::size_t>(FeatureId::kWriteCache)] = 0;
  state_.temperatures = {kHotThreshold, 0};
}

std::expected<std::uint32_t, Status> Features::default_of(const Row& row, const Command& command) const {
  Features fresh(limits_);
  Command plain = command;
  plain.dword10 = static_cast<std::uint32_t>(row.id);
  return fresh.get(plain);
}

std::expected<std::uint32_t, Status> Features::get(const Command& command) const {
  const std::uint32_t dword10 = command.dword10;
  const Row* row = find(static_cast<std::uint8_t>(dword10));
  const unsigned selection = bits(dword10, 10, 8);
  if (row == nullptr || selection > kSupported) return std::unexpected(Status::kInvalidField);
  if (selection == kSupported) return row->changeable == Changeable::kYes ? kChangeableBit : 0;
  if (selection == kDefault || selection == kSaved) return default_of(*row, command);
  switch (row->id) {
    case FeatureId::kQueues: return queues();
    case FeatureId::kTemperatureThreshold: {
      const unsigned kind = threshold_kind(command);
      if (kind > 1 || bits<std::uint32_t>(command.dword11, 19, 16) != 0) return 0;
      return state_.temperatures.at(kind);
    }
    case FeatureId::kInterruptVector: {
      const auto vector = static_cast<std::uint16_t>(command.dword11);
      if (vector >= limits_.vectors) return std::unexpected(Status::kInvalidField);
      const bool uncoalesced = std::ranges::find(state_.uncoalesced, vector) != state_.uncoalesced.end();
      return vector | (uncoalesced || vector == 0 ? 0x1'0000U : 0U);
    }
    default: return value(row->id);
  }
}

std::expected<std::uint32_t, Status> Features::set(const Command& command) {
  constexpr std::uint32_t kSave = 0x8000'0000;
  const std::uint32_t dword10 = command.dword10;
  const std::uint32_t wanted = command.dword11;
  const Row* row = find(static_cast<std::uint8_t>(dword10));
  if (row == nullptr) return std::unexpected(Status::kInvalidField);
  if ((dword10 & kSave) != 0) return std::unexpected(Status::kFeatureNotSaveable);
  switch (row->id) {
    case FeatureId::kQueues:
      // As many as there are, whatever is asked for; 65535 (which would be 65536) is no number here.
      if ((wanted & 0xffffU) == 0xffff || wanted >> 16U == 0xffff) return std::unexpected(Status::kInvalidField);
      return queues();
    case FeatureId::kTemperatureThreshold: {
      const unsigned kind = threshold_kind(command);
      if (kind > 1) return std::unexpected(Status::kInvalidField);
      // There is one sensor, the composite one; a threshold for the others, or for all, is taken all the same.
      if (bits(wanted, 19, 16) == 0) state_.temperatures.at(kind) = wanted & 0xffffU;
      return 0;
    }
    case FeatureId::kInterruptVector: {
      const auto vector = static_cast<std::uint16_t>(wanted);
      if (vector >= limits_.vectors) return std::unexpected(Status::kInvalidField);
      std::erase(state_.uncoalesced, vector);
      if (test_bit(wanted, 16)) state_.uncoalesced.push_back(vector);
      return 0;
    }
    case FeatureId::kPowerManagement:
      // There is one power state, 0.
      return bits(wanted, 4, 0) == 0 ? std::expected<std::uint32_t, Status>(0) : std::unexpected(Status::kInvalidField);
    case FeatureId::kWriteCache:
      if (!limits_.write_cache && (wanted & 1U) != 0) return std::unexpected(Status::kInvalidField);
      break;
    default: break;
  }
  state_.values.at(static_cast<std::size_t>(row->id)) = wanted & row->writable;
  return 0;
}

bool Features::load(const FeatureState& saved) {
  const auto beyond = [this](std::uint16_t vector) { return vector >= limits_.vectors; };
  if (saved.uncoalesced.size() > limits_.vectors || std::ranges::any_of(saved.uncoalesced, beyond)) return false;
  for (std::uint8_t id = 0; id < saved.values.size(); ++id) {
    const Row* row = find(id);
    if ((saved.values[id] & ~(row == nullptr ? 0U : row->writable | row->initial)) != 0) return false;
  }
  state_ = saved;
  return true;
}

}  // namespace doppel::hw::nvme
