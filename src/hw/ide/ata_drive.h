// A hard disk on an IDE cable: ATA8-ACS, with what older systems use.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "hw/core/property.h"
#include "hw/ide/ide_drive.h"
#include "hw/ide/identify_data.h"

namespace doppel::hw {

/// Names default to QEMU's, so that a system moved here from there finds its disk under the same name.
struct AtaDriveConfig {
  std::string serial;  // empty: QM00001 to QM00004, by place
  std::string model = "QEMU HARDDISK";
  std::string ver = "2.5+";
  std::uint64_t wwn = 0;
  std::uint16_t rotation_rate = 0;
  OnOffAuto write_cache = OnOffAuto::kAuto;
};

inline const PropertyTable<AtaDriveConfig> kAtaDriveProperties = {
    {"serial", &AtaDriveConfig::serial, "serial number, up to 20 characters"},
    {"model", &AtaDriveConfig::model, "model, up to 40 characters"},
    {"ver", &AtaDriveConfig::ver, "firmware version, up to 8 characters"},
    {"wwn", &AtaDriveConfig::wwn, "world wide name; 0: none"},
    {"rotation_rate", &AtaDriveConfig::rotation_rate, "revolutions per minute; 1: not a rotating medium, 0: unknown"},
    {"write-cache", &AtaDriveConfig::write_cache, "write cache at power-on; auto: as the image is opened"},
};

/// The shape that a disk of SECTORS sectors tells of itself: 16 heads of 63 sectors, at most 16383 cylinders.
IdeGeometry default_geometry(std::uint64_t sectors);

class AtaDrive final : public IdeDrive {
 public:
  /// Sectors of a READ MULTIPLE's data request at most.
  static constexpr std::uint8_t kMostMultiple = 16;
  /// Blocks of ranges that DATA SET MANAGEMENT takes at most.
  static constexpr std::uint16_t kMostTrimBlocks = 8;
  /// What 28 bits can address.
  static constexpr std::uint64_t kMostSectors28 = 0x0fffffff;

  AtaDrive(IdeDriveHost& host, block::Disk& disk, AtaDriveConfig config);

  [[nodiscard]] IdeKind kind() const override { return IdeKind::kDisk; }

  // For AtaNcq, which carries out this drive's queued commands.
  [[nodiscard]] std::uint64_t sectors() const { return disk()->size() / ata::kSectorSize; }
  [[nodiscard]] block::Disk& medium() const { return *disk(); }
  /// Is a write to be followed by a flush, FUA aside?
  [[nodiscard]] bool writes_through() const { return !write_cache_ && disk()->has_write_cache(); }
  void note_queued_error(const NcqErrorLog& error) { queued_error_ = error; }
  [[nodiscard]] const NcqErrorLog& queued_error() const { return queued_error_; }

 protected:
  void execute(std::uint8_t command) override;
  void request_done(const IdeDiskRequest& request, const Result<>& result) override;
  void block_moved() override;
  void reset_settings() override;
  [[nodiscard]] std::uint16_t signature() const override { return 0; }
  [[nodiscard]] std::uint8_t status_after_reset() const override {
    return ata::status::kReady | ata::status::kSeekComplete;
  }
  void save_own(IdeDriveState& state) const override;
  Result<> load_own(const IdeDriveState& state) override;

 private:
  struct Command;
  struct MediaCommand;
  static std::span<const Command> commands();
  static std::span<const MediaCommand> media_commands();
  static const MediaCommand* find_media_command(std::uint8_t opcode);

  // One for each row of commands().
  void abort();
  void succeed() { complete(); }
  void identify();
  void set_features();
  void set_multiple();
  void initialize_parameters();
  void read_native_max();
  void read_native_max_ext();
  void check_power_mode();
  void standby();
  void idle();
  void flush();
  void data_set_management();
  void smart();
  void read_log();

  // Reading, writing and verifying sectors.
  void begin_media(const MediaCommand& command);
  [[nodiscard]] std::uint64_t first_sector(bool ext) const;
  void next_chunk(const MediaCommand& command);
  void chunk_done(const MediaCommand& command);
  void offer_block(const MediaCommand& command, std::size_t begin);
  [[nodiscard]] std::size_t block_size(const MediaCommand& command) const;
  void media_failed(const MediaCommand& command, const Error& error);
  void report_sector(std::uint64_t sector, bool ext);

  void discard_next();
  [[nodiscard]] IdentifyData describe() const;
  static void describe_serial(IdentifyData& data);

  const AtaDriveConfig config_;
  const IdeGeometry geometry_;
  IdeGeometry addressing_;  // what INITIALIZE DEVICE PARAMETERS made of it
  std::uint8_t multiple_ = 0;
  std::uint8_t power_mode_ = 0;
  bool write_cache_ = false;
  bool read_ahead_ = true;
  bool smart_ = true;
  NcqErrorLog queued_error_;
  std::uint64_t next_ = 0;   // first sector of the chunk in progress, or of what follows
  std::uint64_t rest_ = 0;   // sectors from there to the end of the command
  std::uint64_t chunk_ = 0;  // sectors of them that the buffer is for
};

}  // namespace doppel::hw
