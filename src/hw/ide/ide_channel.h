// An IDE cable with its two drives, as the guest sees it through the command and control blocks.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "base/log.h"
#include "hw/core/irq_line.h"
#include "hw/disk/disk_queue.h"
#include "hw/ide/ata_drive.h"
#include "hw/ide/atapi_drive.h"
#include "hw/ide/bus_master.h"
#include "hw/pci/io_function.h"

namespace doppel::hw {

/// Handlers: any thread, without the lock; add_disk() and add_cdrom(): before the machine runs; everything else under
/// the lock of the function that owns the channel.
class IdeChannel final : public IdeDriveHost {
 public:
  static constexpr unsigned kDrives = 2;
  static constexpr unsigned kCommandPorts = 8;
  /// The data register is accessed by words and double words, the others by bytes.
  static constexpr memory::IoSizes kCommandSizes{.min = 1, .max = 4};

  IdeChannel(Device& owner, DiskQueue& queue, IrqPin irq, BusMaster::Dma dma, const Logger& log);

  /// UNIT 0 is the master. DISK outlives the channel; MEDIUM too, or is null.
  Result<> add_disk(unsigned unit, block::Disk& disk, AtaDriveConfig config);
  Result<> add_cdrom(unsigned unit, block::Disk* medium, AtapiDriveConfig config);
  [[nodiscard]] bool has_drive(unsigned unit) const { return unit < kDrives && drives_[unit] != nullptr; }

  /// Ports 1F0-1F7 and 3F6, or 170-177 and 376.
  [[nodiscard]] memory::IoHandler& command_block() { return command_block_; }
  [[nodiscard]] memory::IoHandler& control_block() { return control_block_; }
  [[nodiscard]] std::uint8_t read_bus_master(unsigned offset) const { return bus_master_.read(offset); }
  void write_bus_master(unsigned offset, std::uint8_t value);

  void submit(DiskQueue::Begin begin, DiskQueue::Handler done) override;

  void reset();
  [[nodiscard]] IdeChannelState save() const;
  Result<> load(const IdeChannelState& saved);

 private:
  [[nodiscard]] std::uint64_t read_command_block(std::uint64_t offset, unsigned size);
  void write_command_block(std::uint64_t offset, unsigned size, std::uint64_t value);
  [[nodiscard]] std::uint8_t read_register(ata::Register reg);
  void write_register(ata::Register reg, std::uint8_t value);
  void write_control(std::uint8_t value);
  /// What follows from what has just happened: data moves, the interrupt line changes.
  void settle();

  [[nodiscard]] IdeDrive* selected() const { return drives_[(device_ & ata::device::kSelect) != 0 ? 1 : 0].get(); }
  [[nodiscard]] bool in_reset() const { return (control_ & ata::control::kSoftReset) != 0; }
  [[nodiscard]] std::uint8_t status() const;

  DiskQueue& queue_;
  const Logger log_;
  IrqLine irq_;
  BusMaster bus_master_;
  std::array<std::unique_ptr<IdeDrive>, kDrives> drives_;
  std::uint8_t device_ = 0;  // the device register as last written: both drives see which is selected
  std::uint8_t control_ = 0;
  bool error_told_ = false;  // a guest that tries again and again is not to fill the log
  IoFunction command_block_;
  IoFunction control_block_;
};

}  // namespace doppel::hw
