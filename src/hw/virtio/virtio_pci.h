// Virtio over PCI: Virtual I/O Device 1.2, section 4.1. Transitional unless told otherwise: the legacy registers in an
// I/O BAR, and the capabilities of version 1 in a memory BAR, laid out as QEMU has them.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "event/loop.h"
#include "hw/core/property.h"
#include "hw/pci/io_function.h"
#include "hw/pci/pci_function.h"
#include "hw/virtio/virtio_device.h"

namespace doppel::hw {

/// Properties of QEMU's that all virtio functions on PCI have.
struct VirtioPciConfig {
  bool disable_modern = false;
  OnOffAuto disable_legacy = OnOffAuto::kAuto;
  std::uint32_t vectors = kDefaultVectors;
  bool ioeventfd = true;
  bool packed = false;
  bool event_idx = true;
  bool indirect_desc = true;
  bool iommu_platform = false;
  std::string iothread;  // of disks; whoever makes the function gives it that thread's loop

  static constexpr std::uint32_t kDefaultVectors = 0xffff'ffff;
};

/// Rows for the property table of a CONFIG that is derived from VirtioPciConfig, or contains the same members.
template <class Config>
std::vector<typename PropertyTable<Config>::Row> virtio_pci_rows();

/// What kind of device sits behind the function.
struct VirtioPciType {
  std::string_view name;
  std::uint16_t device = 0;       // of section 5
  std::uint16_t transitional_id;  // PCI device id with the legacy interface
  std::uint32_t class_code = 0;
};

/// What the board gives besides PciServices.
struct VirtioPciParts {
  event::Loop& loop;                      // of the thread that works on the queues
  memory::AddressSpace* ports = nullptr;  // for doorbells of the legacy interface; may be null
};

class VirtioPci final : public PciFunction, private VirtioHost {
 public:
  using MakeDevice = std::function<std::unique_ptr<VirtioDevice>(VirtioHost& host)>;

  /// QUEUES is how many the device will have; errors name the property that is to blame.
  static Result<std::unique_ptr<VirtioPci>> create(const PciServices& services, const VirtioPciParts& parts,
                                                   const VirtioPciType& type, const VirtioPciConfig& config,
                                                   std::uint32_t default_vectors, const MakeDevice& make_device);
  /// Is CONFIG possible at all?
  static Result<> check(const VirtioPciConfig& config);
  ~VirtioPci() override;

  [[nodiscard]] std::string_view name() const override { return type_.name; }
  void save(state::Writer& writer) override;
  Result<> load(state::Reader& reader) override;

  // The memory BAR.
  static constexpr unsigned kLegacyBar = 0;
  static constexpr unsigned kMsixBar = 1;
  static constexpr unsigned kModernBar = 4;
  static constexpr std::uint32_t kCommonOffset = 0x0000;
  static constexpr std::uint32_t kIsrOffset = 0x1000;
  static constexpr std::uint32_t kDeviceOffset = 0x2000;
  static constexpr std::uint32_t kNotifyOffset = 0x3000;
  static constexpr std::uint32_t kBlockSize = 0x1000;  // of each of the four
  static constexpr std::uint32_t kNotifyMultiplier = 4;
  static constexpr unsigned kMostQueues = kBlockSize / kNotifyMultiplier;

 protected:
  void reset_chip() override;
  void decoding_changed() override;

 private:
  VirtioPci(const PciIdentity& identity, const PciServices& services, const VirtioPciParts& parts,
            const VirtioPciType& type, const VirtioPciConfig& config);
  [[nodiscard]] static PciIdentity identity(const VirtioPciType& type, const VirtioPciConfig& config);
  [[nodiscard]] static bool has_legacy(const VirtioPciConfig& config);
  Result<> build(std::uint32_t default_vectors);
  Result<> add_modern();
  Result<> add_legacy();
  Result<> add_modern_capability(std::uint8_t type, std::uint32_t offset, std::uint32_t size);
  Result<> add_access_capability();

  // VirtioHost.
  [[nodiscard]] Device& owner() override { return *this; }
  [[nodiscard]] event::Loop& loop() override { return parts_.loop; }
  [[nodiscard]] const Logger& device_log() const override { return log(); }
  [[nodiscard]] Result<memory::DmaSpace> device_memory() const override { return dma(); }
  void interrupt_queue(unsigned queue) override;
  void interrupt_config() override;

  // All under the lock.
  void interrupt(std::uint16_t vector, std::uint8_t isr);
  [[nodiscard]] std::uint8_t read_isr();
  void write_status(std::uint8_t status);
  [[nodiscard]] std::uint16_t accept_vector(std::uint64_t vector);
  [[nodiscard]] std::uint64_t transport_features() const;

  [[nodiscard]] std::uint64_t read_modern(std::uint64_t offset, unsigned size);
  void write_modern(std::uint64_t offset, unsigned size, std::uint64_t value);
  [[nodiscard]] std::uint64_t read_common(std::uint64_t offset, unsigned size);
  void write_common(std::uint64_t offset, unsigned size, std::uint64_t value);
  [[nodiscard]] std::uint64_t common(virtio::Common reg);
  void set_common(virtio::Common reg, std::uint64_t value);
  void access_window_read();
  void access_window_written();

  [[nodiscard]] std::uint64_t read_legacy(std::uint64_t offset, unsigned size);
  void write_legacy(std::uint64_t offset, unsigned size, std::uint64_t value);
  [[nodiscard]] unsigned legacy_header();
  [[nodiscard]] std::uint64_t legacy(virtio::Legacy reg);
  void set_legacy(virtio::Legacy reg, std::uint64_t value);
  void set_legacy_address(std::uint32_t page);

  void kick(std::uint64_t queue);
  void place_doorbells();
  void add_doorbells(memory::AddressSpace* space, std::optional<std::uint64_t> at, bool is_legacy);
  void remove_doorbells();

  const VirtioPciParts parts_;
  const VirtioPciType type_;
  const VirtioPciConfig settings_;
  memory::AddressSpace* const memory_space_;
  std::unique_ptr<VirtioDevice> device_;
  IoFunction modern_port_;
  IoFunction legacy_port_;
  unsigned access_offset_ = 0;  // of the capability for access by configuration space; 0 without
  struct Doorbell {
    memory::AddressSpace* space;
    memory::IoEvent event;
  };
  std::vector<Doorbell> doorbells_;
  std::optional<std::uint64_t> modern_doorbells_at_;
  std::optional<std::uint64_t> legacy_doorbells_at_;

  std::uint8_t isr_ = 0;
  std::uint16_t config_vector_ = virtio::kNoVector;
  std::uint16_t queue_select_ = 0;
  std::uint32_t device_feature_select_ = 0;
  std::uint32_t driver_feature_select_ = 0;
};

template <class Config>
std::vector<typename PropertyTable<Config>::Row> virtio_pci_rows() {
  return {
      {"disable-legacy", &Config::disable_legacy, "no registers of before version 1; auto: off"},
      {"disable-modern", &Config::disable_modern, "no registers of version 1"},
      {"vectors", &Config::vectors, "MSI-X vectors; 0: none, default: one for each queue and one more"},
      {"ioeventfd", &Config::ioeventfd, "the accelerator passes notifications on without leaving the guest for long"},
      {"packed", &Config::packed, "offer packed queues"},
      {"event_idx", &Config::event_idx, "offer notification at an index"},
      {"indirect_desc", &Config::indirect_desc, "offer indirect descriptors"},
      {"iommu_platform", &Config::iommu_platform, "addresses of an IOMMU; there is none"},
  };
}

}  // namespace doppel::hw
