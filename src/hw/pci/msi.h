// The MSI capability: PCI Local Bus 3.0, section 6.8.1.
#pragma once

#include <cstdint>
#include <optional>

#include "hw/pci/config_space.h"
#include "hw/pci/msi_output.h"

namespace doppel::hw {

/// What the capability offers.
struct MsiOptions {
  unsigned vectors = 1;  // 1, 2, 4, 8, 16 or 32
  bool address_64 = true;
  bool per_vector_mask = false;
};

/// Lives in its function's configuration space, which holds all of its state. Guarded by the function's lock.
class MsiCapability {
 public:
  /// Bytes of configuration space.
  static std::uint8_t size(const MsiOptions& options);

  /// Defines the registers behind the capability header at OFFSET.
  MsiCapability(ConfigSpace& config, unsigned offset, const MsiOptions& options, MsiOutput& output);

  [[nodiscard]] bool enabled() const;
  /// How many messages the guest granted.
  [[nodiscard]] unsigned allocated() const;
  [[nodiscard]] bool pending(unsigned vector) const;
  /// The message of VECTOR, wrapped to those allocated.
  [[nodiscard]] MsiMessage message(unsigned vector) const;

  /// Sends VECTOR, or keeps it pending while masked; nothing while disabled.
  void signal(unsigned vector);
  /// The guest wrote the capability: sends what is pending and no longer masked.
  void changed();

 private:
  [[nodiscard]] unsigned mask_offset() const { return offset_ + (options_.address_64 ? 0x10U : 0x0cU); }
  [[nodiscard]] unsigned pending_offset() const { return mask_offset() + 4; }

  ConfigSpace& config_;
  const unsigned offset_;
  const MsiOptions options_;
  MsiOutput& output_;
};

}  // namespace doppel::hw
