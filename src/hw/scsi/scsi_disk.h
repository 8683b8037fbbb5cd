// Disks and CD-ROM drives as SCSI logical units: SPC-4, SBC-3 and what systems use of MMC-6.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/log.h"
#include "block/aligned_buffer.h"
#include "block/disk.h"
#include "hw/core/property.h"
#include "hw/scsi/scsi_task.h"

namespace doppel::hw {

enum class ScsiKind : std::uint8_t { kDisk = 0x00, kCdrom = 0x05 };  // peripheral device types

struct ScsiDiskConfig {
  std::string serial{};
  std::string vendor = "QEMU";
  std::string product{};  // empty: QEMU's names
  std::string ver = "2.5+";
  std::string device_id{};  // empty: the serial number
  std::uint64_t wwn = 0;
  std::uint32_t logical_block_size = 512;
  std::uint32_t physical_block_size = 512;
  std::uint16_t rotation_rate = 0;
  OnOffAuto write_cache = OnOffAuto::kAuto;
};

inline const PropertyTable<ScsiDiskConfig> kScsiDiskProperties = {
    {"serial", &ScsiDiskConfig::serial, "serial number, up to 36 characters"},
    {"vendor", &ScsiDiskConfig::vendor, "vendor, up to 8 characters"},
    {"product", &ScsiDiskConfig::product, "product, up to 16 characters"},
    {"ver", &ScsiDiskConfig::ver, "version, up to 4 characters"},
    {"device_id", &ScsiDiskConfig::device_id, "name in the identification page, up to 64 characters"},
    {"wwn", &ScsiDiskConfig::wwn, "world wide name; 0: none"},
    {"logical_block_size", &ScsiDiskConfig::logical_block_size, "the block size that the guest sees, in bytes"},
    {"physical_block_size", &ScsiDiskConfig::physical_block_size, "the block size that is best written whole"},
    {"rotation_rate", &ScsiDiskConfig::rotation_rate, "revolutions per minute; 1: does not rotate, 0: unknown"},
    {"write-cache", &ScsiDiskConfig::write_cache, "write cache; auto: as the image is opened"},
};

/// Does CONFIG make sense, whatever the disk?
Result<> check_config(const ScsiDiskConfig& config);

/// Guarded by its adapter's lock.
class ScsiDisk {
 public:
  /// Data of one command in host memory at most; longer ones go through in pieces.
  static constexpr std::size_t kLargestPiece = 2 << 20;
  static constexpr std::uint32_t kCdromBlock = 2048;

  /// DISK, which outlives it, may be null in a CD-ROM drive only.
  ScsiDisk(ScsiKind kind, block::Disk* disk, ScsiDiskConfig config, const Logger& log);

  /// An error is the initiator's memory that is not there.
  Result<> execute(const ScsiTaskPtr& task);
  /// LOGICAL UNIT RESET: the next command is told.
  void reset() { was_reset_ = true; }
  [[nodiscard]] bool was_reset() const { return was_reset_; }
  void set_was_reset(bool was_reset) { was_reset_ = was_reset; }
  [[nodiscard]] const block::Disk* disk() const { return disk_; }

  /// Gives the initiator BYTES, cut to the LIMIT that its command names and the room that there is.
  static Result<> reply(const ScsiTaskPtr& task, std::span<const std::byte> bytes, std::uint64_t limit);

 private:
  using Bytes = std::vector<std::byte>;
  struct Command;
  struct Transfer;
  using TransferPtr = std::shared_ptr<Transfer>;
  static std::span<const Command> commands();

  // One for each row of commands().
  Result<> succeed(const ScsiTaskPtr& task);
  Result<> request_sense(const ScsiTaskPtr& task);
  Result<> inquiry(const ScsiTaskPtr& task);
  Result<> mode_sense(const ScsiTaskPtr& task);
  Result<> read_capacity(const ScsiTaskPtr& task);
  Result<> service_action_in(const ScsiTaskPtr& task);
  Result<> read(const ScsiTaskPtr& task);
  Result<> write(const ScsiTaskPtr& task);
  Result<> verify(const ScsiTaskPtr& task);
  Result<> synchronize(const ScsiTaskPtr& task);
  Result<> write_same(const ScsiTaskPtr& task);
  Result<> unmap(const ScsiTaskPtr& task);
  Result<> read_toc(const ScsiTaskPtr& task);
  Result<> get_configuration(const ScsiTaskPtr& task);
  Result<> get_event_status(const ScsiTaskPtr& task);

  Result<> transfer(const ScsiTaskPtr& task, bool writes);
  Result<> next_piece(const TransferPtr& transfer);
  Result<> piece_done(const TransferPtr& transfer, const Result<>& result);
  Result<> flush_and_finish(const ScsiTaskPtr& task, std::uint64_t moved);
  Result<> fill(const ScsiTaskPtr& task, std::uint64_t first, std::uint64_t count, const Bytes& pattern);
  struct UnmapList;
  Result<> unmap_next(const ScsiTaskPtr& task, const std::shared_ptr<UnmapList>& list);
  Result<> failed(const ScsiTaskPtr& task, const Error& error, bool writes);

  [[nodiscard]] Bytes standard_inquiry() const;
  [[nodiscard]] Bytes vital_product_data(std::uint8_t page) const;
  [[nodiscard]] Bytes identification() const;
  [[nodiscard]] Bytes mode_pages(std::uint8_t page, bool changeable) const;
  [[nodiscard]] bool is_cdrom() const { return kind_ == ScsiKind::kCdrom; }
  [[nodiscard]] std::uint64_t blocks() const { return disk_ == nullptr ? 0 : disk_->size() / block_; }
  [[nodiscard]] bool is_in_disk(std::uint64_t first, std::uint64_t count) const {
    return first <= blocks() && count <= blocks() - first;
  }
  [[nodiscard]] bool can_write() const { return !is_cdrom() && !disk_->read_only(); }

  const ScsiKind kind_;
  block::Disk* const disk_;
  const ScsiDiskConfig config_;
  const std::uint32_t block_;
  const bool cache_;
  const Logger log_;
  bool was_reset_ = false;
  bool error_told_ = false;
};

}  // namespace doppel::hw
