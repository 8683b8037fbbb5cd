// What disks and CD-ROM drives on an IDE cable have in common: registers, the buffer that data passes through, the disk
// behind, interrupts.
//
// A command is a sequence of steps. request() asks the disk for something and the drive is busy until request_done();
// offer() lets the guest (by the data port) or the bus master move a piece of the buffer, and then comes block_moved().
// What comes next a drive decides from its command alone, so that a command in progress can be saved.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/error.h"
#include "block/disk.h"
#include "hw/disk/disk_queue.h"
#include "hw/ide/ide_state.h"

namespace doppel::hw {

/// IDENTIFY tells of it, and not all commands are there on both.
enum class AtaTransport : std::uint8_t { kParallel, kSerial };

/// The cable's end of a drive: begins disk requests once the lock is released, and looks after the interrupt line and
/// the bus master when DONE has run.
class IdeDriveHost {
 public:
  virtual ~IdeDriveHost() = default;
  virtual void submit(DiskQueue::Begin begin, DiskQueue::Handler done) = 0;
  [[nodiscard]] virtual AtaTransport transport() const { return AtaTransport::kParallel; }
};

/// Guarded by its function's lock throughout.
class IdeDrive {
 public:
  virtual ~IdeDrive() = default;
  IdeDrive(const IdeDrive&) = delete;
  IdeDrive& operator=(const IdeDrive&) = delete;

  [[nodiscard]] virtual IdeKind kind() const = 0;

  // The registers, as the guest sees them. Data aside, what is written to a drive that is busy or moves data is lost.
  [[nodiscard]] std::uint8_t status() const { return busy() ? ata::status::kBusy : task_.status; }
  [[nodiscard]] std::uint8_t read_register(ata::Register reg, bool high_order) const;
  void write_register(ata::Register reg, std::uint8_t value);
  void write_command(std::uint8_t command);
  [[nodiscard]] std::uint32_t read_data(unsigned size);
  void write_data(unsigned size, std::uint32_t value);

  /// All at once, as a Register FIS brings them. Not while status() is busy.
  void set_task(const TaskFile::Parameters& now, const TaskFile::Parameters& before, std::uint8_t device);
  [[nodiscard]] const TaskFile& task() const { return task_; }

  /// INTRQ, before nIEN.
  [[nodiscard]] bool interrupt() const { return interrupt_; }
  void acknowledge_interrupt() { interrupt_ = false; }

  /// SRST, and with power_on() also all settings. A disk request under way is no more heeded, but until it has ended
  /// the drive is busy: no later write may overtake it.
  void reset();
  void power_on();
  /// EXECUTE DEVICE DIAGNOSTIC, which both drives of a cable carry out.
  void diagnose();

  /// What the bus master may move now; empty if nothing.
  [[nodiscard]] std::span<std::byte> dma_window();
  [[nodiscard]] bool dma_to_memory() const { return phase_ == IdePhase::kDmaIn; }
  /// The same with a host that moves all data, whatever the protocol.
  [[nodiscard]] std::span<std::byte> data_window();
  [[nodiscard]] IdePhase phase() const { return phase_; }
  /// The window's first SIZE bytes were moved.
  void dma_moved(std::size_t size) { moved(size); }

  [[nodiscard]] IdeDriveState save() const;
  /// Takes back what save() gave, believing none of it; a disk request that was under way begins again.
  Result<> load(const IdeDriveState& saved);

 protected:
  /// Data passes in pieces of at most this many bytes.
  static constexpr std::size_t kChunkSize = 512 * 1024;

  /// DISK outlives the drive; without one there is no medium.
  IdeDrive(IdeDriveHost& host, block::Disk* disk) : host_(host), disk_(disk) {}

  virtual void execute(std::uint8_t command) = 0;
  virtual void request_done(const IdeDiskRequest& request, const Result<>& result) = 0;
  virtual void block_moved() = 0;
  virtual void reset_settings() = 0;
  /// What the registers show of the drive's kind after a reset: LBA mid and high, and the status.
  [[nodiscard]] virtual std::uint16_t signature() const = 0;
  [[nodiscard]] virtual std::uint8_t status_after_reset() const = 0;
  virtual void save_own(IdeDriveState& state) const = 0;
  virtual Result<> load_own(const IdeDriveState& state) = 0;

  [[nodiscard]] bool busy() const { return in_flight_ || request_.kind != IdeDiskRequest::Kind::kNone; }
  [[nodiscard]] block::Disk* disk() const { return disk_; }
  [[nodiscard]] AtaTransport transport() const { return host_.transport(); }
  [[nodiscard]] std::vector<std::byte>& buffer() { return *buffer_; }
  [[nodiscard]] std::size_t position() const { return position_; }

  void request(IdeDiskRequest::Kind kind, std::uint64_t offset, std::uint64_t length);
  /// Offers the buffer's bytes from BEGIN to END, which is after BEGIN.
  void offer(IdePhase phase, std::size_t begin, std::size_t end);
  /// BYTES as the whole buffer, to be read by the guest.
  void offer_bytes(IdePhase phase, std::span<const std::byte> bytes);
  void raise_interrupt() { interrupt_ = true; }
  /// The command has ended: status without error and an interrupt.
  void complete();
  void fail(std::uint8_t error);
  void cancel();
  void put_signature();
  /// SET FEATURES 03h with MODE from the count register: ATA8-ACS section 7.45.8.
  [[nodiscard]] bool set_transfer_mode(std::uint8_t mode);

  TaskFile task_;
  std::uint8_t command_ = 0;
  std::uint8_t transfer_mode_ = 0;

 private:
  void moved(std::size_t size);
  void begin_request();
  void answered(std::uint64_t ticket, const Result<>& result);
  [[nodiscard]] Result<> check(const IdeDriveState& saved) const;

  IdeDriveHost& host_;
  block::Disk* const disk_;
  bool interrupt_ = false;
  IdePhase phase_ = IdePhase::kIdle;
  std::size_t position_ = 0;
  std::size_t limit_ = 0;
  /// Shared with a request under way, so that it outlives the drive if it must.
  std::shared_ptr<std::vector<std::byte>> buffer_ = std::make_shared<std::vector<std::byte>>();
  IdeDiskRequest request_;
  bool in_flight_ = false;    // the disk has not answered yet
  std::uint64_t ticket_ = 0;  // of what is in flight; it moves on when that is no more wanted
};

}  // namespace doppel::hw
