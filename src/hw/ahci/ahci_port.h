// A port of an AHCI adapter with its drive: Serial ATA AHCI 1.3.1, sections 3.3 and 5.
//
// The drive is one of hw/ide's, whose task file is filled from a frame instead of register by register; the port moves
// its data, whatever the protocol, through the command's descriptors, and tells of its status by frames. Queued
// commands go to AtaNcq beside it.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "base/log.h"
#include "hw/ahci/ahci_registers.h"
#include "hw/ahci/ahci_state.h"
#include "hw/disk/disk_queue.h"
#include "hw/ide/ata_drive.h"
#include "hw/ide/ata_ncq.h"
#include "hw/ide/atapi_drive.h"
#include "memory/dma.h"

namespace doppel::hw {

/// add_disk() and add_cdrom(): before the machine runs; everything else under the lock of the adapter.
class AhciPort final : public IdeDriveHost, public AtaNcqHost {
 public:
  /// Guest memory, while the adapter may be a bus master.
  using Dma = std::function<Result<memory::DmaSpace>()>;
  /// CHANGED: interrupt_pending() may have.
  AhciPort(DiskQueue& queue, Dma dma, std::function<void()> changed, Logger log);

  /// DISK outlives the port; MEDIUM too, or is null.
  Result<> add_disk(block::Disk& disk, AtaDriveConfig config);
  Result<> add_cdrom(block::Disk* medium, AtapiDriveConfig config);
  [[nodiscard]] bool has_drive() const { return drive_ != nullptr; }

  [[nodiscard]] std::uint32_t read(std::uint32_t offset) const;
  void write(std::uint32_t offset, std::uint32_t value);
  [[nodiscard]] bool interrupt_pending() const { return (interrupts_ & enabled_) != 0; }
  /// HBA reset and power-on: all registers but where lists are, which only the latter clears.
  void reset();
  void power_on();

  [[nodiscard]] AhciPortState save() const;
  Result<> load(const AhciPortState& saved);

  void submit(DiskQueue::Begin begin, DiskQueue::Handler done) override;
  [[nodiscard]] AtaTransport transport() const override { return AtaTransport::kSerial; }
  void submit_queued(DiskQueue::Begin begin, DiskQueue::Handler done) override;
  bool move_queued(unsigned tag, std::span<std::byte> bytes, bool to_memory) override;
  void queued_done(unsigned tag) override;
  void queued_failed(unsigned tag, std::uint8_t error) override;

 private:
  void write_command(std::uint32_t value);
  void write_sata_control(std::uint32_t value);
  void reset_drive(bool hard);
  /// What the drive shows after a reset: its registers and their signature.
  void take_signature();
  void stop();

  // Commands.
  void settle();
  [[nodiscard]] bool may_issue() const;
  [[nodiscard]] std::optional<unsigned> next_slot() const;
  void issue(unsigned slot);
  void control_frame(std::span<const std::uint8_t> frame);
  void begin_command(unsigned slot, std::span<const std::uint8_t> frame);
  void run_command();
  Result<> move_window();
  void take_packet(std::span<std::byte> window);
  void finish_command();

  // Data.
  Result<> move(AhciCursor& cursor, std::span<std::byte> bytes, bool to_memory);
  Result<> next_descriptor(AhciCursor& cursor, const memory::DmaSpace& memory);
  void halt(const Error& error);

  // Frames.
  void send_register(std::uint8_t flags);
  void send_pio_setup(std::uint8_t status_before, std::size_t size, bool to_memory, bool interrupts);
  void send_device_bits(std::uint32_t done, std::uint8_t error);
  void receive(std::uint64_t offset, std::span<const std::byte> frame);
  void raise(std::uint32_t bits);
  void set_task_file(std::uint8_t status, std::uint8_t error);
  [[nodiscard]] std::uint16_t task_file() const;
  [[nodiscard]] bool started() const { return (command_ & ahci::command::kStart) != 0; }

  DiskQueue& queue_;
  const Dma dma_;
  const std::function<void()> changed_;
  const Logger log_;
  std::unique_ptr<IdeDrive> drive_;
  std::unique_ptr<AtaNcq> ncq_;  // of a disk
  bool error_told_ = false;      // a guest that tries again and again is not to fill the log

  std::uint64_t list_ = 0;
  std::uint64_t received_ = 0;
  std::uint32_t interrupts_ = 0;
  std::uint32_t enabled_ = 0;
  std::uint32_t command_ = 0;
  std::uint16_t task_file_ = 0;
  std::uint32_t signature_ = 0;
  std::uint32_t sata_status_ = 0;
  std::uint32_t sata_control_ = 0;
  std::uint32_t sata_active_ = 0;
  std::uint32_t issued_ = 0;
  unsigned last_slot_ = 0;                 // that was issued
  bool executing_ = false;                 // the command of last_slot_, which is not a queued one
  bool halted_ = false;                    // after an error, until the guest stops the port
  bool soft_reset_ = false;                // SRST is set
  IdePhase last_phase_ = IdePhase::kIdle;  // how the command's last data travelled
  std::array<AhciCursor, ahci::kSlots> cursors_{};
};

}  // namespace doppel::hw
