// The SCSI host device: Virtual I/O Device 1.2, section 5.6.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "hw/scsi/scsi_bus.h"
#include "hw/virtio/virtio_device.h"
#include "hw/virtio/virtio_pci.h"

namespace doppel::hw {

struct VirtioScsiConfig : VirtioPciConfig {
  std::uint16_t num_queues = kAutoQueues;
  std::uint16_t queue_size = 256;
  std::uint32_t max_sectors = 0xffff;
  std::uint32_t cmd_per_lun = 128;

  static constexpr std::uint16_t kAutoQueues = 0xffff;
};

extern const PropertyTable<VirtioScsiConfig> kVirtioScsiProperties;

Result<> check_config(const VirtioScsiConfig& config);

/// The function virtio-scsi-pci over BUS, which outlives it. CPUS is how many request queues it has if nobody says.
Result<std::unique_ptr<VirtioPci>> create_virtio_scsi(const PciServices& services, const VirtioPciParts& parts,
                                                      ScsiBus& bus, VirtioScsiConfig config, std::size_t cpus);

class VirtioScsi final : public VirtioDevice {
 public:
  static constexpr unsigned kControlQueue = 0;
  static constexpr unsigned kEventQueue = 1;
  static constexpr unsigned kFixedQueues = 2;
  /// Data of commands under way that is kept in host memory, at most; one more may begin below that.
  static constexpr std::size_t kMostData = 32 << 20;

  VirtioScsi(VirtioHost& host, const VirtioOptions& options, ScsiBus& bus, const VirtioScsiConfig& config);

  [[nodiscard]] std::size_t config_size() const override;
  void write_config(std::uint64_t offset, unsigned size, std::uint64_t value) override;

 protected:
  [[nodiscard]] std::uint64_t own_features() const override { return 0; }
  [[nodiscard]] std::vector<std::byte> config() const override;
  Result<> take(unsigned queue, Chain chain) override;
  [[nodiscard]] bool has_room(unsigned queue) const override;
  void reset_own() override;
  [[nodiscard]] std::vector<std::uint8_t> save_own() const override;
  Result<> load_own(const std::vector<std::uint8_t>& saved) override;

 private:
  class Task;
  struct Management;
  using TaskPtr = std::shared_ptr<Task>;
  using ManagementPtr = std::shared_ptr<Management>;

  Result<> take_command(unsigned queue, Chain chain);
  Result<> take_control(Chain chain);
  Result<> manage_tasks(const ManagementPtr& management);
  Result<> end_management(const ManagementPtr& management);
  Result<> respond(const TaskPtr& task, std::uint8_t response, scsi::Status status, const scsi::Sense& sense,
                   std::uint64_t moved);
  void step_done(const TaskPtr& task, const ScsiTask::Handler& handler, const Result<>& result);
  void task_ended(Task& task);
  void give_up(const TaskPtr& task);

  ScsiBus& bus_;
  const VirtioScsiConfig settings_;
  std::uint32_t sense_size_;
  std::uint32_t cdb_size_;
  std::vector<TaskPtr> tasks_;  // under way, since the last reset
  std::size_t data_ = 0;        // bytes of host memory that commands under way may have
};

}  // namespace doppel::hw
