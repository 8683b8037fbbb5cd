#include "hw/ide/atapi_drive.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/endian.h"

namespace doppel::hw {

namespace command = ata::command;
namespace opcode = mmc::opcode;
namespace reason = ata::reason;

namespace {

constexpr std::uint8_t kUltraDma2 = 0x42;

enum class Medium : std::uint8_t { kAny, kNeeded };
/// Whether a command is carried out, rather than told of, when the medium may have changed.
enum class Attention : std::uint8_t { kTold, kNotTold };

}  // namespace

struct AtapiDrive::Packet {
  std::uint8_t code;
  void (AtapiDrive::*run)();
  Medium medium = Medium::kAny;
  Attention attention = Attention::kTold;
};

std::span<const AtapiDrive::Packet> AtapiDrive::packets() {
  static constexpr Packet kPackets[] = {
      {opcode::kTestUnitReady, &AtapiDrive::test_unit_ready, Medium::kNeeded},
      {opcode::kRequestSense, &AtapiDrive::request_sense, Medium::kAny, Attention::kNotTold},
      {opcode::kInquiry, &AtapiDrive::inquiry, Medium::kAny, Attention::kNotTold},
      {opcode::kModeSense6, &AtapiDrive::mode_sense6},
      {opcode::kStartStopUnit, &AtapiDrive::start_stop_unit},
      {opcode::kPreventAllowRemoval, &AtapiDrive::prevent_allow_removal},
      {opcode::kReadCapacity, &AtapiDrive::read_capacity, Medium::kNeeded},
      {opcode::kRead10, &AtapiDrive::read10, Medium::kNeeded},
      {opcode::kSeek10, &AtapiDrive::seek10, Medium::kNeeded},
      {opcode::kReadToc, &AtapiDrive::read_toc, Medium::kNeeded},
      {opcode::kGetConfiguration, &AtapiDrive::get_configuration, Medium::kAny, Attention::kNotTold},
      {opcode::kGetEventStatus, &AtapiDrive::get_event_status, Medium::kAny, Attention::kNotTold},
      {opcode::kReadDiscInformation, &AtapiDrive::read_disc_information, Medium::kNeeded},
      {opcode::kModeSense10, &AtapiDrive::mode_sense10},
      {opcode::kRead12, &AtapiDrive::read12, Medium::kNeeded},
      {opcode::kSetCdSpeed, &AtapiDrive::packet_done},
      {opcode::kMechanismStatus, &AtapiDrive::mechanism_status},
      {opcode::kReadCd, &AtapiDrive::read_cd, Medium::kNeeded},
  };
  return kPackets;
}

AtapiDrive::AtapiDrive(IdeDriveHost& host, block::Disk* medium, AtapiDriveConfig config)
    : IdeDrive(host, medium), config_(std::move(config)) {
  power_on();
}

void AtapiDrive::reset_settings() {
  has_packet_ = uses_dma_ = false;
  packet_ = {};
  byte_limit_ = 0;
  sense_ = mmc::kNoSense;
  tray_open_ = locked_ = attention_ = false;
  media_event_ = mmc::kNoChange;
  next_ = rest_ = 0;
  transfer_mode_ = kUltraDma2;
}

std::uint32_t AtapiDrive::blocks() const {
  if (disk() == nullptr || tray_open_) return 0;
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint32_t>::max();
  return static_cast<std::uint32_t>(std::min(disk()->size() / mmc::kBlockSize, kMost));
}

mmc::DriveView AtapiDrive::view() const {
  return {
      .tray_open = tray_open_, .locked = locked_, .blocks = blocks(), .product = config_.model, .version = config_.ver};
}

std::uint16_t AtapiDrive::word(unsigned at) const {
  return load_be<std::uint16_t>(packet_.data() + at);
}

std::uint32_t AtapiDrive::long_word(unsigned at) const {
  return load_be<std::uint32_t>(packet_.data() + at);
}

// ---- ATA's commands

void AtapiDrive::execute(std::uint8_t opcode) {
  switch (opcode) {
    case command::kDeviceReset: return reset();  // without an interrupt
    case command::kPacket: return take_packet();
    case command::kIdentifyPacketDevice: return identify();
    case command::kIdentifyDevice:
    case command::kReadSectors:
      // The signature tells a driver what this is (ATA/ATAPI-7 volume 1, section 6.11).
      put_signature();
      return abort();
    case command::kSetFeatures:
      if (task_.features() != ata::feature::kTransferMode || !set_transfer_mode(task_.count())) return abort();
      return complete();
    case command::kCheckPowerMode: task_.set_count(0xff); return complete();
    case command::kStandbyImmediate:
    case command::kIdleImmediate:
    case command::kSleep: return complete();
    default: return abort();
  }
}

void AtapiDrive::take_packet() {
  constexpr std::uint8_t kDma = 0x01;
  constexpr std::uint8_t kOverlapped = 0x02;
  if ((task_.features() & kOverlapped) != 0) return abort();
  uses_dma_ = (task_.features() & kDma) != 0;
  byte_limit_ = task_.lba_mid_high();
  has_packet_ = false;
  next_ = rest_ = 0;
  task_.set_count(reason::kCommand);
  buffer().assign(mmc::kPacketSize, std::byte{0});
  offer(IdePhase::kPioOut, 0, mmc::kPacketSize);
}

void AtapiDrive::block_moved() {
  if (command_ != command::kPacket) return;  // IDENTIFY PACKET DEVICE ends with its data
  if (!has_packet_) return execute_packet();
  if (position() < buffer().size()) return offer_data(position());
  if (rest_ != 0) return read_chunk();
  packet_done();
}

void AtapiDrive::execute_packet() {
  std::ranges::transform(buffer(), packet_.begin(), [](std::byte byte) { return std::to_integer<std::uint8_t>(byte); });
  has_packet_ = true;
  const auto rows = packets();
  const auto row = std::ranges::find(rows, packet_[0], &Packet::code);
  if (row == rows.end()) return packet_failed(mmc::kInvalidCommand);
  if (row->attention == Attention::kTold && std::exchange(attention_, false))
    return packet_failed(mmc::kMediumMayHaveChanged);
  if (row->medium == Medium::kNeeded && !has_medium())
    return packet_failed(tray_open_ ? mmc::kNoMediumTrayOpen : mmc::kNoMedium);
  (this->*row->run)();
}

// ---- How a packet's data and status travel: ATA/ATAPI-7 volume 2, section 11.9

void AtapiDrive::reply(mmc::Reply data, std::size_t most) {
  data.resize(std::min(data.size(), most));
  if (data.empty()) return packet_done();
  buffer().assign(data.begin(), data.end());
  offer_data(0);
}

/// By PIO, in pieces of at most the byte count that the guest named; all but the last have an even length.
void AtapiDrive::offer_data(std::size_t begin) {
  const std::size_t rest = buffer().size() - begin;
  if (uses_dma_) return offer(IdePhase::kDmaIn, begin, buffer().size());
  constexpr std::size_t kMost = 0xfffe;
  const std::size_t limit = byte_limit_ == 0 ? kMost : std::min<std::size_t>(byte_limit_, kMost);
  const std::size_t piece = rest <= limit ? rest : std::max<std::size_t>(limit & ~std::size_t{1}, 2);
  task_.set_lba_mid_high(static_cast<std::uint16_t>(piece));
  task_.set_count(reason::kToHost);
  offer(IdePhase::kPioIn, begin, begin + piece);
  raise_interrupt();
}

void AtapiDrive::packet_done() {
  sense_ = mmc::kNoSense;
  task_.set_count(reason::kCommand | reason::kToHost);
  complete();
}

void AtapiDrive::packet_failed(const mmc::Sense& sense) {
  sense_ = sense;
  task_.set_count(reason::kCommand | reason::kToHost);
  fail(static_cast<std::uint8_t>(sense.key << 4U | ata::error::kAbort));
}

// ---- Reading

void AtapiDrive::read_blocks(std::uint32_t first, std::uint32_t count) {
  if (first > blocks() || count > blocks() - first) return packet_failed(mmc::kOutOfRange);
  if (count == 0) return packet_done();
  next_ = first;
  rest_ = count;
  read_chunk();
}

void AtapiDrive::read_chunk() {
  const std::uint64_t count = std::min<std::uint64_t>(rest_, kChunkSize / mmc::kBlockSize);
  const std::uint64_t size = count * mmc::kBlockSize;
  buffer().resize(static_cast<std::size_t>(size));
  request(IdeDiskRequest::Kind::kRead, next_ * mmc::kBlockSize, size);
  next_ += count;
  rest_ -= count;
}

void AtapiDrive::request_done(const IdeDiskRequest& /*request*/, const Result<>& result) {
  if (!result) return packet_failed(mmc::kReadError);
  offer_data(0);
}

/// Of the ways to read a sector only that of the user data alone is there; no data at all is a seek.
void AtapiDrive::read_cd() {
  constexpr std::uint8_t kUserData = 0x10;
  const std::uint32_t count = long_word(5) & 0xffffffU;
  const std::uint8_t parts = packet_[9] & 0xf8U;
  if (count == 0 || parts == 0) return packet_done();
  if (parts != kUserData) return packet_failed(mmc::kInvalidField);
  read_blocks(long_word(2), count);
}

void AtapiDrive::seek10() {
  if (long_word(2) >= blocks()) return packet_failed(mmc::kOutOfRange);
  packet_done();
}

// ---- The drive and its medium

void AtapiDrive::start_stop_unit() {
  constexpr std::uint8_t kLoadOrEject = 0x02;
  constexpr std::uint8_t kStart = 0x01;
  if ((packet_[4] & kLoadOrEject) == 0) return packet_done();
  const bool open = (packet_[4] & kStart) == 0;
  if (open && locked_) return packet_failed(mmc::kRemovalPrevented);
  if (open != tray_open_) {
    tray_open_ = open;
    attention_ = has_medium();
    media_event_ = open ? mmc::kMediaRemoval : has_medium() ? mmc::kNewMedia : mmc::kNoChange;
  }
  packet_done();
}

void AtapiDrive::prevent_allow_removal() {
  locked_ = (packet_[4] & 1U) != 0;
  packet_done();
}

void AtapiDrive::request_sense() {
  const mmc::Sense sense = std::exchange(sense_, mmc::kNoSense);
  reply(mmc::sense_data(sense), packet_[4]);
}

void AtapiDrive::inquiry() {
  constexpr std::uint8_t kVitalProductData = 0x01;
  if ((packet_[1] & kVitalProductData) != 0 || packet_[2] != 0) return packet_failed(mmc::kInvalidField);
  reply(mmc::inquiry(view()), word(3));
}

void AtapiDrive::mode_sense(std::size_t most, std::size_t header_size) {
  constexpr unsigned kSavedValues = 3;
  const unsigned control = packet_[2] >> 6U;
  if (control == kSavedValues) return packet_failed(mmc::kCannotSave);
  auto pages = mmc::mode_pages(view(), packet_[2] & 0x3fU, header_size);
  if (!pages) return packet_failed(mmc::kInvalidField);
  reply(std::move(*pages), most);
}

void AtapiDrive::read_capacity() {
  reply(mmc::capacity(view()), std::numeric_limits<std::size_t>::max());
}

void AtapiDrive::read_toc() {
  const auto form = (packet_[1] & 0x02U) != 0 ? mmc::AddressForm::kMinuteSecondFrame : mmc::AddressForm::kBlock;
  // Drives older than MMC took the format from the last byte.
  const unsigned format = (packet_[2] & 0x0fU) != 0 ? packet_[2] & 0x0fU : packet_[9] >> 6U;
  auto table = mmc::table_of_contents(view(), format, form, packet_[6]);
  if (!table) return packet_failed(mmc::kInvalidField);
  reply(std::move(*table), word(7));
}

void AtapiDrive::get_configuration() {
  const unsigned selection = packet_[1] & 3U;
  if (selection > 2) return packet_failed(mmc::kInvalidField);
  reply(mmc::configuration(view(), static_cast<mmc::FeatureSelection>(selection), word(2)), word(7));
}

void AtapiDrive::get_event_status() {
  constexpr std::uint8_t kPolled = 0x01;
  constexpr std::uint8_t kMedia = 0x10;
  if ((packet_[1] & kPolled) == 0) return packet_failed(mmc::kInvalidField);
  const bool tells = (packet_[4] & kMedia) != 0;
  const std::uint8_t event = tells ? std::exchange(media_event_, mmc::kNoChange) : mmc::kNoChange;
  reply(mmc::event_status(view(), packet_[4], event), word(7));
}

void AtapiDrive::read_disc_information() {
  if ((packet_[1] & 0x07U) != 0) return packet_failed(mmc::kInvalidField);
  reply(mmc::disc_information(), word(7));
}

void AtapiDrive::mechanism_status() {
  reply(mmc::mechanism_status(view()), word(8));
}

void AtapiDrive::identify() {
  offer_bytes(IdePhase::kPioIn, describe().bytes());
  raise_interrupt();
}

IdentifyData AtapiDrive::describe() const {
  IdentifyData data;
  data.set(0, 0x85c0);  // ATAPI, CD-ROM, removable, DRQ at once, packets of 12 bytes
  data.set_text(10, 10, config_.serial);
  data.set_text(23, 4, config_.ver);
  data.set_text(27, 20, config_.model);
  data.set(49, 0x0b00);  // IORDY, LBA, DMA
  data.set(53, 0x0007);
  data.set_dma_modes(transfer_mode_);
  data.set(64, 0x0003);
  for (unsigned word = 65; word <= 68; ++word) data.set(word, 120);
  data.set(80, 0x01f0);  // ATA/ATAPI-4 to ATA8-ACS
  data.set(82, 0x0210);  // DEVICE RESET, PACKET
  data.set(83, 0x4000);
  data.set(84, 0x4000);
  data.set(85, 0x0210);
  data.set(87, 0x4000);
  data.set(93, 0x6001);  // an 80-conductor cable
  return data;
}

// ---- Saving

void AtapiDrive::save_own(IdeDriveState& state) const {
  state.cdrom = {.next = next_,
                 .rest = rest_,
                 .has_packet = has_packet_,
                 .uses_dma = uses_dma_,
                 .packet = packet_,
                 .byte_limit = byte_limit_,
                 .sense_key = sense_.key,
                 .sense_code = sense_.code,
                 .tray_open = tray_open_,
                 .locked = locked_,
                 .attention = attention_,
                 .media_event = media_event_};
}

Result<> AtapiDrive::load_own(const IdeDriveState& state) {
  const AtapiDriveState& saved = state.cdrom;
  const std::uint64_t all = disk() != nullptr ? disk()->size() / mmc::kBlockSize : 0;
  const bool takes_packet = state.in_progress() && state.command == command::kPacket && !saved.has_packet;
  const bool good =
      saved.rest <= all && saved.next <= all - saved.rest && (!takes_packet || state.buffer.size() == mmc::kPacketSize);
  if (!good) return doppel::fail(ErrorKind::kCorrupt, "the saved state of a CD-ROM drive is damaged");
  next_ = saved.next;
  rest_ = saved.rest;
  has_packet_ = saved.has_packet;
  uses_dma_ = saved.uses_dma;
  packet_ = saved.packet;
  byte_limit_ = saved.byte_limit;
  sense_ = {.key = saved.sense_key, .code = saved.sense_code};
  tray_open_ = saved.tray_open;
  locked_ = saved.locked;
  attention_ = saved.attention;
  media_event_ = saved.media_event;
  return {};
}

}  // namespace doppel::hw
