// The MSI-X capability: PCI Local Bus 3.0, section 6.8.2.
#pragma once

#include <cstdint>
#include <vector>

#include "hw/core/device.h"
#include "hw/pci/config_space.h"
#include "hw/pci/msi_output.h"
#include "memory/region.h"

namespace doppel::hw {

/// Where table and pending bits are: each in some BAR, at a multiple of 8.
struct MsixLayout {
  unsigned vectors = 1;  // 1..2048
  std::uint8_t table_bar = 0;
  std::uint32_t table_offset = 0;
  std::uint8_t pba_bar = 0;
  std::uint32_t pba_offset = 0;
};

/// The table and the pending bit array are regions that the function puts into its BARs. All members assume the
/// owner's lock, except that the regions' handlers take it.
class MsixCapability {
 public:
  static constexpr std::uint8_t kSize = 12;
  static constexpr unsigned kMaxVectors = 2048;
  static constexpr unsigned kEntrySize = 16;

  /// Defines the registers behind the capability header at OFFSET.
  MsixCapability(Device& owner, memory::Topology& topology, ConfigSpace& config, unsigned offset,
                 const MsixLayout& layout, MsiOutput& output);
  MsixCapability(const MsixCapability&) = delete;
  MsixCapability& operator=(const MsixCapability&) = delete;

  [[nodiscard]] const memory::RegionPtr& table_region() const { return table_region_; }
  [[nodiscard]] const memory::RegionPtr& pba_region() const { return pba_region_; }

  [[nodiscard]] unsigned vectors() const { return vectors_; }
  [[nodiscard]] bool enabled() const;
  /// By the function's mask or its own.
  [[nodiscard]] bool masked(unsigned vector) const;
  [[nodiscard]] bool pending(unsigned vector) const;
  [[nodiscard]] MsiMessage message(unsigned vector) const;

  /// Sends VECTOR, or keeps it pending while masked; nothing while disabled or beyond the table.
  void signal(unsigned vector);
  /// The guest wrote the control register: sends what is pending and no longer masked.
  void changed();
  void reset();

  [[nodiscard]] const std::vector<std::uint8_t>& table() const { return table_; }
  [[nodiscard]] const std::vector<std::uint8_t>& pending_bits() const { return pending_; }
  /// Takes over saved contents; an error if their sizes are not this table's.
  Result<> restore(std::vector<std::uint8_t> table, std::vector<std::uint8_t> pending);

 private:
  class TablePort final : public memory::IoHandler {
   public:
    explicit TablePort(MsixCapability& msix) : msix_(msix) {}
    [[nodiscard]] std::uint64_t read(std::uint64_t offset, unsigned size) override;
    void write(std::uint64_t offset, unsigned size, std::uint64_t value) override;

   private:
    MsixCapability& msix_;
  };
  class PendingPort final : public memory::IoHandler {
   public:
    explicit PendingPort(MsixCapability& msix) : msix_(msix) {}
    [[nodiscard]] std::uint64_t read(std::uint64_t offset, unsigned size) override;
    void write(std::uint64_t /*offset*/, unsigned /*size*/, std::uint64_t /*value*/) override {}

   private:
    MsixCapability& msix_;
  };

  [[nodiscard]] std::uint16_t control() const { return config_.get<std::uint16_t>(offset_ + 2); }
  void set_pending(unsigned vector, bool pending);
  void send_if_ready(unsigned vector);

  Device& owner_;
  ConfigSpace& config_;
  const unsigned offset_;
  const unsigned vectors_;
  MsiOutput& output_;
  std::vector<std::uint8_t> table_;
  std::vector<std::uint8_t> pending_;  // one bit per vector, in whole quadwords
  TablePort table_port_{*this};
  PendingPort pending_port_{*this};
  memory::RegionPtr table_region_;
  memory::RegionPtr pba_region_;
};

}  // namespace doppel::hw
