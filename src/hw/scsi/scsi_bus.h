// The logical units behind an adapter: SAM-5 section 4.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "hw/scsi/scsi_disk.h"

namespace doppel::hw {

struct ScsiAddress {
  std::uint8_t target = 0;
  std::uint16_t lun = 0;
  auto operator<=>(const ScsiAddress&) const = default;
};

/// Units are added before the machine runs; then guarded by the adapter's lock.
class ScsiBus {
 public:
  static constexpr unsigned kTargets = 256;
  static constexpr unsigned kLuns = 16384;

  Result<> add(ScsiAddress address, std::unique_ptr<ScsiDisk> unit);
  /// The first target without a unit 0; kTargets if there is none.
  [[nodiscard]] unsigned free_target() const;
  [[nodiscard]] bool has_target(std::uint8_t target) const;
  /// nullptr if there is none.
  [[nodiscard]] ScsiDisk* find(ScsiAddress address) const;
  [[nodiscard]] const std::map<ScsiAddress, std::unique_ptr<ScsiDisk>>& units() const { return units_; }

  /// Carries out TASK at ADDRESS, whose target exists.
  Result<> execute(ScsiAddress address, const ScsiTaskPtr& task);

 private:
  Result<> report_luns(std::uint8_t target, const ScsiTaskPtr& task) const;
  static Result<> answer_for_nobody(const ScsiTaskPtr& task);

  std::map<ScsiAddress, std::unique_ptr<ScsiDisk>> units_;
};

}  // namespace doppel::hw
