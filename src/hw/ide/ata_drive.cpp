#include "hw/ide/ata_drive.h"

#include <algorithm>
#include <utility>

#include "base/bits.h"
#include "base/endian.h"
#include "hw/ide/ata_smart.h"

namespace doppel::hw {

namespace command = ata::command;
namespace feature = ata::feature;
using ata::kSectorSize;
using Kind = IdeDiskRequest::Kind;

namespace {

constexpr std::uint8_t kUltraDma5 = 0x45;
constexpr std::uint8_t kPowerActive = 0xff;  // CHECK POWER MODE's answers
constexpr std::uint8_t kPowerIdle = 0x80;
constexpr std::uint8_t kPowerStandby = 0x00;
constexpr std::size_t kTrimEntrySize = 8;

}  // namespace

struct AtaDrive::Command {
  std::uint8_t first;
  std::uint8_t last;
  void (AtaDrive::*run)();
};

std::span<const AtaDrive::Command> AtaDrive::commands() {
  static constexpr Command kCommands[] = {
      {command::kDataSetManagement, command::kDataSetManagement, &AtaDrive::data_set_management},
      {command::kRecalibrate, command::kRecalibrate | 0x0f, &AtaDrive::succeed},
      {command::kReadNativeMaxExt, command::kReadNativeMaxExt, &AtaDrive::read_native_max_ext},
      {command::kReadLogExt, command::kReadLogExt, &AtaDrive::read_log},
      {command::kSeek, command::kSeek | 0x0f, &AtaDrive::succeed},
      {command::kInitializeParameters, command::kInitializeParameters, &AtaDrive::initialize_parameters},
      {command::kSmart, command::kSmart, &AtaDrive::smart},
      {command::kSetMultiple, command::kSetMultiple, &AtaDrive::set_multiple},
      {command::kStandbyImmediate, command::kStandbyImmediate, &AtaDrive::standby},
      {command::kIdleImmediate, command::kIdleImmediate, &AtaDrive::idle},
      {command::kStandby, command::kStandby, &AtaDrive::standby},
      {command::kIdle, command::kIdle, &AtaDrive::idle},
      {command::kCheckPowerMode, command::kCheckPowerMode, &AtaDrive::check_power_mode},
      {command::kSleep, command::kSleep, &AtaDrive::standby},
      {command::kFlushCache, command::kFlushCache, &AtaDrive::flush},
      {command::kFlushCacheExt, command::kFlushCacheExt, &AtaDrive::flush},
      {command::kIdentifyDevice, command::kIdentifyDevice, &AtaDrive::identify},
      {command::kSetFeatures, command::kSetFeatures, &AtaDrive::set_features},
      {command::kReadNativeMax, command::kReadNativeMax, &AtaDrive::read_native_max},
  };
  return kCommands;
}

namespace {

enum class Direction : std::uint8_t { kRead, kWrite, kVerify };
enum class Protocol : std::uint8_t { kPio, kMultiple, kDma, kNone };
enum class Addressing : std::uint8_t { k28, k48 };
enum class Durable : std::uint8_t { kNo, kYes };

}  // namespace

/// A command that goes through sectors of the medium.
struct AtaDrive::MediaCommand {
  std::uint8_t opcode;
  Direction direction;
  Protocol protocol;
  Addressing addressing;
  Durable durable = Durable::kNo;  // FUA
  [[nodiscard]] bool ext() const { return addressing == Addressing::k48; }
};

std::span<const AtaDrive::MediaCommand> AtaDrive::media_commands() {
  static constexpr MediaCommand kCommands[] = {
      {command::kReadSectors, Direction::kRead, Protocol::kPio, Addressing::k28},
      {command::kReadSectorsNoRetry, Direction::kRead, Protocol::kPio, Addressing::k28},
      {command::kReadSectorsExt, Direction::kRead, Protocol::kPio, Addressing::k48},
      {command::kReadMultiple, Direction::kRead, Protocol::kMultiple, Addressing::k28},
      {command::kReadMultipleExt, Direction::kRead, Protocol::kMultiple, Addressing::k48},
      {command::kReadDma, Direction::kRead, Protocol::kDma, Addressing::k28},
      {command::kReadDmaNoRetry, Direction::kRead, Protocol::kDma, Addressing::k28},
      {command::kReadDmaExt, Direction::kRead, Protocol::kDma, Addressing::k48},
      {command::kWriteSectors, Direction::kWrite, Protocol::kPio, Addressing::k28},
      {command::kWriteSectorsNoRetry, Direction::kWrite, Protocol::kPio, Addressing::k28},
      {command::kWriteSectorsExt, Direction::kWrite, Protocol::kPio, Addressing::k48},
      {command::kWriteMultiple, Direction::kWrite, Protocol::kMultiple, Addressing::k28},
      {command::kWriteMultipleExt, Direction::kWrite, Protocol::kMultiple, Addressing::k48},
      {command::kWriteMultipleFuaExt, Direction::kWrite, Protocol::kMultiple, Addressing::k48, Durable::kYes},
      {command::kWriteDma, Direction::kWrite, Protocol::kDma, Addressing::k28},
      {command::kWriteDmaNoRetry, Direction::kWrite, Protocol::kDma, Addressing::k28},
      {command::kWriteDmaExt, Direction::kWrite, Protocol::kDma, Addressing::k48},
      {command::kWriteDmaFuaExt, Direction::kWrite, Protocol::kDma, Addressing::k48, Durable::kYes},
      {command::kVerify, Direction::kVerify, Protocol::kNone, Addressing::k28},
      {command::kVerifyNoRetry, Direction::kVerify, Protocol::kNone, Addressing::k28},
      {command::kVerifyExt, Direction::kVerify, Protocol::kNone, Addressing::k48},
  };
  return kCommands;
}

const AtaDrive::MediaCommand* AtaDrive::find_media_command(std::uint8_t opcode) {
  const auto rows = media_commands();
  const auto row = std::ranges::find(rows, opcode, &MediaCommand::opcode);
  return row == rows.end() ? nullptr : &*row;
}

IdeGeometry default_geometry(std::uint64_t sectors) {
  constexpr std::uint32_t kHeads = 16;
  constexpr std::uint32_t kSectors = 63;
  constexpr std::uint64_t kMostCylinders = 16383;
  const std::uint64_t cylinders = std::clamp<std::uint64_t>(sectors / (kHeads * kSectors), 1, kMostCylinders);
  return {.cylinders = static_cast<std::uint32_t>(cylinders), .heads = kHeads, .sectors = kSectors};
}

AtaDrive::AtaDrive(IdeDriveHost& host, block::Disk& disk, AtaDriveConfig config)
    : IdeDrive(host, &disk), config_(std::move(config)), geometry_(default_geometry(disk.size() / kSectorSize)) {
  power_on();
}

void AtaDrive::reset_settings() {
  addressing_ = geometry_;
  multiple_ = 0;
  power_mode_ = kPowerActive;
  write_cache_ =
      config_.write_cache == OnOffAuto::kAuto ? disk()->has_write_cache() : config_.write_cache == OnOffAuto::kOn;
  read_ahead_ = true;
  smart_ = true;
  queued_error_ = {};
  transfer_mode_ = kUltraDma5;
  next_ = rest_ = chunk_ = 0;
}

void AtaDrive::execute(std::uint8_t opcode) {
  next_ = rest_ = chunk_ = 0;
  if (const MediaCommand* media = find_media_command(opcode)) return begin_media(*media);
  for (const Command& row : commands())
    if (opcode >= row.first && opcode <= row.last) return (this->*row.run)();
  abort();
}

void AtaDrive::abort() {
  fail(ata::error::kAbort);
}

// ---- Reading, writing and verifying

/// By LBA, or by cylinder, head and sector; sector numbers begin at 1. No sector at all is one beyond every disk.
std::uint64_t AtaDrive::first_sector(bool ext) const {
  constexpr std::uint64_t kNowhere = ~std::uint64_t{0};
  if (ext) return task_.lba48();
  if ((task_.device & ata::device::kLba) != 0) return task_.lba28();
  const std::uint64_t sector = task_.parameter(ata::Register::kLbaLow);
  const std::uint64_t head = task_.head();
  if (sector == 0 || sector > addressing_.sectors || head >= addressing_.heads) return kNowhere;
  return (task_.lba_mid_high() * std::uint64_t{addressing_.heads} + head) * addressing_.sectors + sector - 1;
}

void AtaDrive::begin_media(const MediaCommand& media) {
  if (media.protocol == Protocol::kMultiple && multiple_ == 0) return abort();
  if (media.direction == Direction::kWrite && disk()->read_only()) return abort();
  next_ = first_sector(media.ext());
  rest_ = task_.sectors(media.ext());
  power_mode_ = kPowerActive;
  if (next_ > sectors() || rest_ > sectors() - next_) {
    rest_ = 0;
    return fail(ata::error::kNotFound);
  }
  next_chunk(media);
}

/// A data request's length.
std::size_t AtaDrive::block_size(const MediaCommand& media) const {
  switch (media.protocol) {
    case Protocol::kPio: return kSectorSize;
    case Protocol::kMultiple: return std::size_t{multiple_} * kSectorSize;
    case Protocol::kDma:
    case Protocol::kNone: break;
  }
  return kChunkSize;
}

void AtaDrive::next_chunk(const MediaCommand& media) {
  const bool writes = media.direction == Direction::kWrite;
  const std::size_t most = writes ? block_size(media) : kChunkSize;
  chunk_ = std::min<std::uint64_t>(rest_, most / kSectorSize);
  const auto size = static_cast<std::size_t>(chunk_ * kSectorSize);
  buffer().resize(size);
  if (writes)
    offer(media.protocol == Protocol::kDma ? IdePhase::kDmaOut : IdePhase::kPioOut, 0, size);
  else
    request(Kind::kRead, next_ * kSectorSize, size);
}

void AtaDrive::offer_block(const MediaCommand& media, std::size_t begin) {
  const std::size_t end = std::min(begin + block_size(media), buffer().size());
  if (media.protocol == Protocol::kDma) return offer(IdePhase::kDmaIn, begin, end);
  offer(IdePhase::kPioIn, begin, end);
  raise_interrupt();
}

void AtaDrive::block_moved() {
  const MediaCommand* media = find_media_command(command_);
  if (command_ == command::kDataSetManagement) return discard_next();
  if (media == nullptr) return;  // IDENTIFY and SMART end with their data
  if (media->direction == Direction::kWrite) return request(Kind::kWrite, next_ * kSectorSize, buffer().size());
  if (position() < buffer().size()) return offer_block(*media, position());
  chunk_done(*media);
}

void AtaDrive::chunk_done(const MediaCommand& media) {
  next_ += chunk_;
  rest_ -= chunk_;
  if (rest_ != 0) {
    next_chunk(media);
    if (media.direction == Direction::kWrite && media.protocol != Protocol::kDma) raise_interrupt();
    return;
  }
  const bool cached = write_cache_ && media.durable == Durable::kNo;
  if (media.direction == Direction::kWrite && !cached && disk()->has_write_cache()) {
    chunk_ = 0;
    buffer().clear();
    return request(Kind::kFlush, 0, 0);
  }
  // The last block that PIO reads was announced before it was read.
  if (media.direction != Direction::kRead || media.protocol == Protocol::kDma) complete();
}

void AtaDrive::request_done(const IdeDiskRequest& request, const Result<>& result) {
  const MediaCommand* media = find_media_command(command_);
  if (media == nullptr) {  // FLUSH CACHE, DATA SET MANAGEMENT
    if (!result) return abort();
    return request.kind == Kind::kDiscard ? discard_next() : complete();
  }
  if (!result) return media_failed(*media, result.error());
  if (request.kind == Kind::kFlush) return complete();
  if (media->direction == Direction::kRead) return offer_block(*media, 0);
  chunk_done(*media);
}

/// The registers tell of the first sector that was not transferred.
void AtaDrive::media_failed(const MediaCommand& media, const Error& error) {
  report_sector(next_, media.ext());
  if (error.kind() == ErrorKind::kOutOfRange) return fail(ata::error::kNotFound);
  fail(media.direction == Direction::kWrite ? ata::error::kAbort : ata::error::kUncorrectable);
}

void AtaDrive::report_sector(std::uint64_t sector, bool ext) {
  if (ext) return task_.set_lba48(sector);
  if ((task_.device & ata::device::kLba) != 0) return task_.set_lba28(sector);
  const std::uint64_t track = sector / addressing_.sectors;
  task_.now[2] = static_cast<std::uint8_t>(sector % addressing_.sectors + 1);
  task_.set_lba_mid_high(static_cast<std::uint16_t>(track / addressing_.heads));
  task_.set_head(static_cast<unsigned>(track % addressing_.heads));
}

void AtaDrive::flush() {
  request(Kind::kFlush, 0, 0);
}

// ---- DATA SET MANAGEMENT: section 7.5

void AtaDrive::data_set_management() {
  constexpr std::uint8_t kTrim = 0x01;
  const std::uint32_t blocks = task_.sectors(true);
  if ((task_.features() & kTrim) == 0 || blocks > kMostTrimBlocks || disk()->read_only()) return abort();
  next_ = 0;
  buffer().resize(std::size_t{blocks} * kSectorSize);
  offer(IdePhase::kDmaOut, 0, buffer().size());
}

/// Each of the buffer's entries is a range: 48 bits of LBA, 16 bits of length; no length is no range. next_ is the
/// entry.
void AtaDrive::discard_next() {
  while (next_ < buffer().size() / kTrimEntrySize) {
    const auto entry = load_le<std::uint64_t>(buffer().data() + next_++ * kTrimEntrySize);
    const std::uint64_t first = entry & low_mask(48);
    const std::uint64_t count = entry >> 48U;
    if (count == 0) continue;
    if (first > sectors() || count > sectors() - first) return fail(ata::error::kNotFound);
    return request(Kind::kDiscard, first * kSectorSize, count * kSectorSize);
  }
  complete();
}

// ---- Everything else

void AtaDrive::set_multiple() {
  const std::uint8_t count = task_.count();
  const bool power_of_two = (count & (count - 1U)) == 0;
  if (count > kMostMultiple || !power_of_two) return abort();
  multiple_ = count;
  complete();
}

void AtaDrive::initialize_parameters() {
  const std::uint32_t heads = task_.head() + 1U;
  const std::uint32_t per_track = task_.count();
  if (per_track == 0) return abort();
  addressing_ = {.cylinders = static_cast<std::uint32_t>(
                     std::clamp<std::uint64_t>(sectors() / (std::uint64_t{heads} * per_track), 1, 0xffff)),
                 .heads = heads,
                 .sectors = per_track};
  complete();
}

void AtaDrive::read_native_max() {
  task_.set_lba28(std::min(sectors() - 1, kMostSectors28 - 1));
  complete();
}

void AtaDrive::read_native_max_ext() {
  task_.set_lba48(sectors() - 1);
  complete();
}

void AtaDrive::check_power_mode() {
  task_.set_count(power_mode_);
  complete();
}

void AtaDrive::standby() {
  power_mode_ = kPowerStandby;
  complete();
}

void AtaDrive::idle() {
  power_mode_ = kPowerIdle;
  complete();
}

void AtaDrive::set_features() {
  switch (task_.features()) {
    case feature::kEnableWriteCache: write_cache_ = true; break;
    case feature::kDisableWriteCache:
      // What lies in the cache must not be lost by this.
      write_cache_ = false;
      return flush();
    case feature::kEnableReadAhead: read_ahead_ = true; break;
    case feature::kDisableReadAhead: read_ahead_ = false; break;
    case feature::kTransferMode:
      if (!set_transfer_mode(task_.count())) return abort();
      break;
    case feature::kKeepSettings:
    case feature::kRevertSettings: break;  // a software reset changes none
    default: return abort();
  }
  complete();
}

void AtaDrive::smart() {
  if (task_.lba_mid_high() != smart::kKey) return abort();
  const std::uint8_t function = task_.features();
  if (!smart_ && function != smart::kEnable) return abort();
  switch (function) {
    case smart::kReadData:
    case smart::kReadThresholds:
      offer_bytes(IdePhase::kPioIn, function == smart::kReadData ? smart::data() : smart::thresholds());
      return raise_interrupt();
    case smart::kAutosave: break;
    case smart::kEnable: smart_ = true; break;
    case smart::kDisable: smart_ = false; break;
    case smart::kReturnStatus: break;  // the key stays in its registers: no threshold is exceeded
    default: return abort();
  }
  complete();
}

/// READ LOG EXT: the directory, and what a queued command failed at (ATA8-ACS sections 7.25 and A.10).
void AtaDrive::read_log() {
  constexpr std::uint8_t kDirectory = 0x00;
  constexpr std::uint8_t kQueuedError = 0x10;
  const std::uint8_t log = task_.parameter(ata::Register::kLbaLow);
  const bool known = log == kDirectory || log == kQueuedError;
  if (transport() != AtaTransport::kSerial || !known || task_.sectors(true) != 1 || task_.lba_mid_high() != 0)
    return abort();
  std::array<std::byte, kSectorSize> page{};
  if (log == kDirectory) {
    page[0] = std::byte{1};                 // version
    page[2 * kQueuedError] = std::byte{1};  // one page of it
  } else {
    page = queued_error_.page();
  }
  offer_bytes(IdePhase::kPioIn, page);
  raise_interrupt();
}

// ---- Saving

void AtaDrive::save_own(IdeDriveState& state) const {
  AtaDriveState& saved = state.disk;
  saved.next = next_;
  saved.rest = rest_;
  saved.chunk = chunk_;
  saved.multiple = multiple_;
  saved.power_mode = power_mode_;
  saved.heads = static_cast<std::uint16_t>(addressing_.heads);
  saved.sectors = static_cast<std::uint16_t>(addressing_.sectors);
  saved.write_cache = write_cache_;
  saved.read_ahead = read_ahead_;
  saved.smart = smart_;
}

Result<> AtaDrive::load_own(const IdeDriveState& state) {
  const AtaDriveState& saved = state.disk;
  const MediaCommand* media = state.in_progress() ? find_media_command(state.command) : nullptr;
  const bool media_good = saved.next <= sectors() && saved.rest <= sectors() - saved.next &&
                          saved.chunk <= saved.rest && saved.chunk * kSectorSize == state.buffer.size() &&
                          (media == nullptr || media->protocol != Protocol::kMultiple || saved.multiple != 0);
  const bool trim_good = saved.next <= state.buffer.size() / kTrimEntrySize;
  const bool settings_good = saved.multiple <= kMostMultiple && (saved.multiple & (saved.multiple - 1U)) == 0 &&
                             saved.heads >= 1 && saved.heads <= 16 && saved.sectors >= 1 && saved.sectors <= 0xff;
  if ((media != nullptr ? !media_good : state.in_progress() && !trim_good) || !settings_good)
    return doppel::fail(ErrorKind::kCorrupt, "the saved state of an IDE disk is damaged");
  next_ = saved.next;
  rest_ = saved.rest;
  chunk_ = saved.chunk;
  multiple_ = saved.multiple;
  power_mode_ = saved.power_mode;
  const std::uint64_t track = std::uint64_t{saved.heads} * saved.sectors;
  addressing_ = {.cylinders = static_cast<std::uint32_t>(std::clamp<std::uint64_t>(sectors() / track, 1, 0xffff)),
                 .heads = saved.heads,
                 .sectors = saved.sectors};
  write_cache_ = saved.write_cache;
  read_ahead_ = saved.read_ahead;
  smart_ = saved.smart;
  return {};
}

}  // namespace doppel::hw
