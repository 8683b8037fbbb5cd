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
#include <string_view>
#include <vector>

#include "base/error.h"
#include "block/disk.h"
#include "hw/ide/disk_queue.h"
#include "hw/ide/task_file.h"

namespace doppel::hw {

enum class IdeKind : std::uint8_t { kNone, kDisk, kCdrom };

/// Who is to move data now, and where to.
enum class IdePhase : std::uint8_t { kIdle, kPioIn, kPioOut, kDmaIn, kDmaOut };

struct IdeDiskRequest {
  enum class Kind : std::uint8_t { kNone, kRead, kWrite, kFlush, kDiscard };
  Kind kind = Kind::kNone;
  std::uint64_t offset = 0;  // bytes on the disk; reads and writes are at the start of the buffer
  std::uint64_t length = 0;
  void describe(auto& fields) {
    fields("kind", kind);
    fields("offset", offset);
    fields("length", length);
  }
};

/// Everything that drives save. What is one kind's alone is zero in the other.
struct IdeDriveState {
  IdeKind kind = IdeKind::kNone;
  TaskFile task{};
  std::uint8_t command = 0;
  bool interrupt = false;
  IdePhase phase = IdePhase::kIdle;
  std::uint64_t position = 0;
  std::uint64_t limit = 0;
  std::vector<std::uint8_t> buffer{};
  IdeDiskRequest request{};
  std::uint64_t next = 0;   // the first sector or block that is not in the buffer yet, or not on the disk yet
  std::uint64_t rest = 0;   // how many
  std::uint64_t chunk = 0;  // how many the buffer holds
  std::uint8_t transfer_mode = 0;
  // Disks
  std::uint8_t multiple = 0;
  std::uint8_t power_mode = 0;
  std::uint16_t heads = 0;
  std::uint16_t sectors = 0;
  bool write_cache = false;
  bool read_ahead = false;
  bool smart = false;
  // CD-ROM drives
  std::vector<std::uint8_t> packet{};
  std::uint16_t byte_limit = 0;
  std::uint8_t sense_key = 0;
  std::uint16_t sense_code = 0;
  bool tray_open = false;
  bool locked = false;
  bool attention = false;
  std::uint8_t media_event = 0;
  void describe(auto& fields) {
    fields("kind", kind);
    fields("task", task);
    fields("command", command);
    fields("interrupt", interrupt);
    fields("phase", phase);
    fields("position", position);
    fields("limit", limit);
    fields("buffer", buffer);
    fields("request", request);
    fields("next", next);
    fields("rest", rest);
    fields("chunk", chunk);
    fields("transfer_mode", transfer_mode);
    fields("multiple", multiple);
    fields("power_mode", power_mode);
    fields("heads", heads);
    fields("sectors", sectors);
    fields("write_cache", write_cache);
    fields("read_ahead", read_ahead);
    fields("smart", smart);
    fields("packet", packet);
    fields("byte_limit", byte_limit);
    fields("sense_key", sense_key);
    fields("sense_code", sense_code);
    fields("tray_open", tray_open);
    fields("locked", locked);
    fields("attention", attention);
    fields("media_event", media_event);
  }
};

/// The cable's end of a drive: begins disk requests once the lock is released, and looks after the interrupt line and
/// the bus master when DONE has run.
class IdeDriveHost {
 public:
  virtual ~IdeDriveHost() = default;
  virtual void submit(DiskQueue::Begin begin, DiskQueue::Handler done) = 0;
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
  virtual void save_own(IdeDriveState& saved) const = 0;
  virtual Result<> load_own(const IdeDriveState& saved) = 0;

  [[nodiscard]] bool busy() const { return in_flight_ || request_.kind != IdeDiskRequest::Kind::kNone; }
  [[nodiscard]] block::Disk* disk() const { return disk_; }
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
