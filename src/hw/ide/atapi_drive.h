// A CD-ROM drive on an IDE cable: the PACKET feature set of ATA8-ACS, and MMC-6's commands in the packets.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "hw/core/property.h"
#include "hw/ide/ide_drive.h"
#include "hw/ide/identify_data.h"
#include "hw/ide/mmc_replies.h"

namespace doppel::hw {

/// As for disks, the names are QEMU's.
struct AtapiDriveConfig {
  std::string serial;
  std::string model = "QEMU DVD-ROM";
  std::string ver = "2.5+";
};

inline const PropertyTable<AtapiDriveConfig> kAtapiDriveProperties = {
    {"serial", &AtapiDriveConfig::serial, "serial number, up to 20 characters"},
    {"model", &AtapiDriveConfig::model, "model, up to 40 characters"},
    {"ver", &AtapiDriveConfig::ver, "firmware version, up to 8 characters"},
};

class AtapiDrive final : public IdeDrive {
 public:
  /// MEDIUM may be null: the drive is empty.
  AtapiDrive(IdeDriveHost& host, block::Disk* medium, AtapiDriveConfig config);

  [[nodiscard]] IdeKind kind() const override { return IdeKind::kCdrom; }

 protected:
  void execute(std::uint8_t command) override;
  void request_done(const IdeDiskRequest& request, const Result<>& result) override;
  void block_moved() override;
  void reset_settings() override;
  [[nodiscard]] std::uint16_t signature() const override { return 0xeb14; }
  [[nodiscard]] std::uint8_t status_after_reset() const override { return 0; }
  void save_own(IdeDriveState& state) const override;
  Result<> load_own(const IdeDriveState& state) override;

 private:
  struct Packet;
  static std::span<const Packet> packets();

  void abort() { fail(ata::error::kAbort); }
  void identify();
  void take_packet();
  void execute_packet();

  // One for each row of packets().
  void test_unit_ready() { packet_done(); }
  void request_sense();
  void inquiry();
  void mode_sense6() { mode_sense(packet_[4], 4); }
  void mode_sense10() { mode_sense(word(7), 8); }
  void start_stop_unit();
  void prevent_allow_removal();
  void read_capacity();
  void read10() { read_blocks(long_word(2), word(7)); }
  void read12() { read_blocks(long_word(2), long_word(6)); }
  void seek10();
  void read_toc();
  void get_configuration();
  void get_event_status();
  void read_disc_information();
  void mechanism_status();
  void read_cd();

  void mode_sense(std::size_t most, std::size_t header_size);
  void read_blocks(std::uint32_t first, std::uint32_t count);
  void read_chunk();
  /// Answers with at most MOST bytes of DATA.
  void reply(mmc::Reply data, std::size_t most);
  void offer_data(std::size_t begin);
  void packet_done();
  void packet_failed(const mmc::Sense& sense);

  [[nodiscard]] std::uint16_t word(unsigned at) const;
  [[nodiscard]] std::uint32_t long_word(unsigned at) const;
  [[nodiscard]] bool has_medium() const { return blocks() != 0; }
  [[nodiscard]] std::uint32_t blocks() const;
  [[nodiscard]] mmc::DriveView view() const;
  [[nodiscard]] IdentifyData describe() const;

  const AtapiDriveConfig config_;
  bool has_packet_ = false;  // of the PACKET command in progress; before, the guest is writing it
  bool uses_dma_ = false;
  std::array<std::uint8_t, mmc::kPacketSize> packet_{};
  std::uint16_t byte_limit_ = 0;  // of one data request, as the guest gave it
  mmc::Sense sense_;
  bool tray_open_ = false;
  bool locked_ = false;
  bool attention_ = false;  // the next command is to hear that the medium may have changed
  std::uint8_t media_event_ = mmc::kNoChange;
  std::uint64_t next_ = 0;  // the first block that is not in the buffer yet
  std::uint64_t rest_ = 0;  // how many from there are to come
};

}  // namespace doppel::hw
