#include "hw/scsi/scsi_disk.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/bits.h"
#include "base/endian.h"
#include "hw/scsi/scsi_opcodes.h"

namespace doppel::hw {

namespace {

constexpr std::size_t kBufferAlignment = 4096;
constexpr std::uint8_t kForceUnitAccess = 0x08;

struct Extent {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
};

/// The blocks that a command names: the format is in the opcode's group (SPC-4 section 4.2.5.1).
Extent extent_of(const std::array<std::uint8_t, 16>& cdb) {
  switch (cdb[0] >> 5U) {
    case 0: {
      // Of six bytes, with a count of which 0 stands for 256.
      const std::uint32_t first = load_be<std::uint32_t>(cdb.data()) & 0x1fffffU;
      return {first, cdb[4] == 0 ? 256U : cdb[4]};
    }
    case 1:
    case 2: return {load_be<std::uint32_t>(cdb.data() + 2), load_be<std::uint16_t>(cdb.data() + 7)};
    case 4: return {load_be<std::uint64_t>(cdb.data() + 2), load_be<std::uint32_t>(cdb.data() + 10)};
    default: return {load_be<std::uint32_t>(cdb.data() + 2), load_be<std::uint32_t>(cdb.data() + 6)};
  }
}

}  // namespace

Result<> check_config(const ScsiDiskConfig& config) {
  struct Text {
    std::string_view name;
    std::string_view value;
    std::size_t most;
  };
  for (const Text& text :
       {Text{"serial", config.serial, 36}, Text{"vendor", config.vendor, 8}, Text{"product", config.product, 16},
        Text{"ver", config.ver, 4}, Text{"device_id", config.device_id, 64}})
    if (text.value.size() > text.most)
      return fail(ErrorKind::kInvalidArgument, "{}={}: it has up to {} characters", text.name, text.value, text.most);
  for (const std::uint32_t size : {config.logical_block_size, config.physical_block_size})
    if (size < 512 || size > 32768 || !std::has_single_bit(size))
      return fail(ErrorKind::kOutOfRange, "a block size is a power of two from 512 to 32768, not {}", size);
  if (config.physical_block_size < config.logical_block_size)
    return fail(ErrorKind::kInvalidArgument, "physical_block_size={} is less than logical_block_size={}",
                config.physical_block_size, config.logical_block_size);
  return {};
}

/// Which units have the command, and what it needs.
struct ScsiDisk::Command {
  std::uint8_t opcode;
  enum Needs : std::uint8_t { kNothing, kMedium } needs;
  enum On : std::uint8_t { kAny, kDiskOnly, kCdromOnly } on;
  Result<> (ScsiDisk::*execute)(const ScsiTaskPtr& task);
};

std::span<const ScsiDisk::Command> ScsiDisk::commands() {
  using enum Command::Needs;
  using enum Command::On;
  static constexpr Command kCommands[] = {
      {scsi::kTestUnitReady, kMedium, kAny, &ScsiDisk::succeed},
      {scsi::kRequestSense, kNothing, kAny, &ScsiDisk::request_sense},
      {scsi::kRead6, kMedium, kAny, &ScsiDisk::read},
      {scsi::kWrite6, kMedium, kDiskOnly, &ScsiDisk::write},
      {scsi::kInquiry, kNothing, kAny, &ScsiDisk::inquiry},
      {scsi::kReserve6, kNothing, kAny, &ScsiDisk::succeed},
      {scsi::kRelease6, kNothing, kAny, &ScsiDisk::succeed},
      {scsi::kModeSense6, kNothing, kAny, &ScsiDisk::mode_sense},
      {scsi::kStartStopUnit, kNothing, kAny, &ScsiDisk::succeed},
      {scsi::kPreventRemoval, kNothing, kAny, &ScsiDisk::succeed},
      {scsi::kReadCapacity10, kMedium, kAny, &ScsiDisk::read_capacity},
      {scsi::kRead10, kMedium, kAny, &ScsiDisk::read},
      {scsi::kWrite10, kMedium, kDiskOnly, &ScsiDisk::write},
      {scsi::kVerify10, kMedium, kAny, &ScsiDisk::verify},
      {scsi::kSynchronizeCache10, kMedium, kAny, &ScsiDisk::synchronize},
      {scsi::kWriteSame10, kMedium, kDiskOnly, &ScsiDisk::write_same},
      {scsi::kUnmap, kMedium, kDiskOnly, &ScsiDisk::unmap},
      {scsi::kReadToc, kMedium, kCdromOnly, &ScsiDisk::read_toc},
      {scsi::kGetConfiguration, kNothing, kCdromOnly, &ScsiDisk::get_configuration},
      {scsi::kGetEventStatus, kNothing, kCdromOnly, &ScsiDisk::get_event_status},
      {scsi::kModeSense10, kNothing, kAny, &ScsiDisk::mode_sense},
      {scsi::kRead16, kMedium, kDiskOnly, &ScsiDisk::read},
      {scsi::kWrite16, kMedium, kDiskOnly, &ScsiDisk::write},
      {scsi::kVerify16, kMedium, kDiskOnly, &ScsiDisk::verify},
      {scsi::kSynchronizeCache16, kMedium, kDiskOnly, &ScsiDisk::synchronize},
      {scsi::kWriteSame16, kMedium, kDiskOnly, &ScsiDisk::write_same},
      {scsi::kServiceActionIn16, kMedium, kDiskOnly, &ScsiDisk::service_action_in},
      {scsi::kRead12, kMedium, kAny, &ScsiDisk::read},
      {scsi::kWrite12, kMedium, kDiskOnly, &ScsiDisk::write},
  };
  return kCommands;
}

ScsiDisk::ScsiDisk(ScsiKind kind, block::Disk* disk, ScsiDiskConfig config, const Logger& log)
    : kind_(kind),
      disk_(disk),
      config_(std::move(config)),
      block_(kind == ScsiKind::kCdrom ? kCdromBlock : config_.logical_block_size),
      cache_(config_.write_cache == OnOffAuto::kAuto ? disk != nullptr && disk->has_write_cache()
                                                     : config_.write_cache == OnOffAuto::kOn),
      log_(log) {}

Result<> ScsiDisk::execute(const ScsiTaskPtr& task) {
  const std::uint8_t opcode = task->cdb()[0];
  const auto commands = ScsiDisk::commands();
  const auto row = std::ranges::find(commands, opcode, &Command::opcode);
  const Command::On other = is_cdrom() ? Command::kDiskOnly : Command::kCdromOnly;
  if (row == commands.end() || row->on == other) return task->check(scsi::kInvalidOpcode);
  // SAM-5 section 5.14: these two leave a unit attention as it is.
  const bool tells = opcode != scsi::kInquiry && opcode != scsi::kRequestSense;
  if (tells && std::exchange(was_reset_, false)) return task->check(scsi::kWasReset);
  if (row->needs == Command::kMedium && disk_ == nullptr) return task->check(scsi::kNoMedium);
  return (this->*row->execute)(task);
}

Result<> ScsiDisk::reply(const ScsiTaskPtr& task, std::span<const std::byte> bytes, std::uint64_t limit) {
  const auto size = static_cast<std::size_t>(std::min<std::uint64_t>({bytes.size(), limit, task->in_size()}));
  DOPPEL_TRY(task->put(0, bytes.first(size)));
  return task->good(size);
}

Result<> ScsiDisk::succeed(const ScsiTaskPtr& task) {
  return task->good();
}

/// Sense data goes with the status; what is left to ask for is a unit attention.
Result<> ScsiDisk::request_sense(const ScsiTaskPtr& task) {
  const auto sense = scsi::fixed_format(std::exchange(was_reset_, false) ? scsi::kWasReset : scsi::kNoSense);
  return reply(task, std::as_bytes(std::span(sense)), task->cdb()[4]);
}

// ---- Moving blocks

/// A READ or WRITE, piece by piece.
struct ScsiDisk::Transfer {
  ScsiTaskPtr task;
  bool writes = false;
  bool durable = false;
  std::uint64_t offset = 0;  // in the disk, in bytes
  std::uint64_t length = 0;
  std::uint64_t position = 0;
  std::size_t piece = 0;
  bool lent = false;                                 // the initiator's memory
  block::AlignedBuffer buffer{0, kBufferAlignment};  // instead
};

Result<> ScsiDisk::read(const ScsiTaskPtr& task) {
  return transfer(task, false);
}

Result<> ScsiDisk::write(const ScsiTaskPtr& task) {
  if (!can_write()) return task->check(scsi::kWriteProtected);
  return transfer(task, true);
}

Result<> ScsiDisk::transfer(const ScsiTaskPtr& task, bool writes) {
  const Extent extent = extent_of(task->cdb());
  if (!is_in_disk(extent.first, extent.count)) return task->check(scsi::kOutOfRange);
  const std::uint64_t length = extent.count * block_;
  if (length > (writes ? task->out_size() : task->in_size())) return task->overrun();
  if (length == 0) return task->good();
  const bool is_short = task->cdb()[0] >> 5U == 0;
  auto state =
      std::make_shared<Transfer>(Transfer{.task = task,
                                          .writes = writes,
                                          .durable = !cache_ || (!is_short && (task->cdb()[1] & kForceUnitAccess) != 0),
                                          .offset = extent.first * block_,
                                          .length = length});
  return next_piece(state);
}

Result<> ScsiDisk::next_piece(const TransferPtr& transfer) {
  transfer->piece =
      static_cast<std::size_t>(std::min<std::uint64_t>(transfer->length - transfer->position, kLargestPiece));
  auto buffers = transfer->task->lend(transfer->position, transfer->piece, !transfer->writes);
  transfer->lent = buffers.has_value();
  if (!buffers) {
    if (transfer->buffer.size() < transfer->piece)
      transfer->buffer = block::AlignedBuffer(transfer->piece, kBufferAlignment);
    if (transfer->buffer.data() == nullptr) return transfer->task->check(scsi::kNoMemory);
    if (transfer->writes) DOPPEL_TRY(transfer->task->get(transfer->position, transfer->buffer.first(transfer->piece)));
    buffers = {{.iov_base = transfer->buffer.data(), .iov_len = transfer->piece}};
  }
  transfer->task->begin(
      [disk = disk_, transfer, buffers = std::move(*buffers)](block::Done done) {
        const std::uint64_t at = transfer->offset + transfer->position;
        if (transfer->writes)
          disk->write(at, buffers, std::move(done));
        else
          disk->read(at, buffers, std::move(done));
      },
      [this, transfer](const Result<>& result) { return piece_done(transfer, result); });
  return {};
}

Result<> ScsiDisk::piece_done(const TransferPtr& transfer, const Result<>& result) {
  if (!result) return failed(transfer->task, result.error(), transfer->writes);
  if (!transfer->writes && !transfer->lent)
    DOPPEL_TRY(transfer->task->put(transfer->position, transfer->buffer.first(transfer->piece)));
  transfer->position += transfer->piece;
  if (transfer->position < transfer->length) return next_piece(transfer);
  if (transfer->writes && transfer->durable) return flush_and_finish(transfer->task, transfer->length);
  return transfer->task->good(transfer->length);
}

Result<> ScsiDisk::flush_and_finish(const ScsiTaskPtr& task, std::uint64_t moved) {
  task->begin([disk = disk_](block::Done done) { disk->flush(std::move(done)); },
              [this, task, moved](const Result<>& result) {
                return result ? task->good(moved) : failed(task, result.error(), true);
              });
  return {};
}

Result<> ScsiDisk::failed(const ScsiTaskPtr& task, const Error& error, bool writes) {
  if (!std::exchange(error_told_, true))
    log_.warn("a disk fails, and the guest is told: {}; further failures are not noted", error.describe());
  if (error.kind() == ErrorKind::kNoSpace) return task->check(scsi::kNoSpace);
  if (error.kind() == ErrorKind::kPermissionDenied) return task->check(scsi::kWriteProtected);
  return task->check(writes ? scsi::kWriteError : scsi::kReadError);
}

/// Without a comparison (BYTCHK 0) there is nothing to do but look whether the blocks are there.
Result<> ScsiDisk::verify(const ScsiTaskPtr& task) {
  if ((task->cdb()[1] & 0x06U) != 0) return task->check(scsi::kInvalidField);
  const Extent extent = extent_of(task->cdb());
  return is_in_disk(extent.first, extent.count) ? task->good() : task->check(scsi::kOutOfRange);
}

Result<> ScsiDisk::synchronize(const ScsiTaskPtr& task) {
  const Extent extent = extent_of(task->cdb());
  if (!is_in_disk(extent.first, extent.count)) return task->check(scsi::kOutOfRange);
  return flush_and_finish(task, 0);
}

// ---- WRITE SAME and UNMAP: SBC-3 sections 5.45 to 5.47 and 5.28

Result<> ScsiDisk::write_same(const ScsiTaskPtr& task) {
  constexpr std::uint8_t kAnchorOrLogical = 0x16;
  constexpr std::uint8_t kUnmapBit = 0x08;
  constexpr std::uint8_t kNoData = 0x01;
  if (!can_write()) return task->check(scsi::kWriteProtected);
  const auto& cdb = task->cdb();
  Extent extent = extent_of(cdb);
  const bool no_data = cdb[0] == scsi::kWriteSame16 && (cdb[1] & kNoData) != 0;
  if ((cdb[1] & kAnchorOrLogical) != 0) return task->check(scsi::kInvalidField);
  if (extent.first > blocks()) return task->check(scsi::kOutOfRange);
  if (extent.count == 0) extent.count = blocks() - extent.first;  // all that follow
  if (!is_in_disk(extent.first, extent.count)) return task->check(scsi::kOutOfRange);
  if (extent.count == 0) return task->good();
  Bytes pattern(block_);
  if (!no_data) {
    if (task->out_size() < block_) return task->overrun();
    DOPPEL_TRY(task->get(0, pattern));
  }
  const bool zeroes = std::ranges::all_of(pattern, [](std::byte byte) { return byte == std::byte{}; });
  if (!zeroes) return fill(task, extent.first, extent.count, pattern);
  const bool may_unmap = (cdb[1] & kUnmapBit) != 0;
  const std::uint64_t moved = no_data ? 0 : block_;
  task->begin([disk = disk_, at = extent.first * block_, length = extent.count * block_,
               may_unmap](block::Done done) { disk->write_zeroes(at, length, may_unmap, std::move(done)); },
              [this, task, moved](const Result<>& result) {
                if (!result) return failed(task, result.error(), true);
                return cache_ ? task->good(moved) : flush_and_finish(task, moved);
              });
  return {};
}

/// COUNT blocks of PATTERN from FIRST on; more than fit a piece are refused. The same host memory is written again and
/// again, so that a short command cannot have much of it.
Result<> ScsiDisk::fill(const ScsiTaskPtr& task, std::uint64_t first, std::uint64_t count, const Bytes& pattern) {
  constexpr std::size_t kLargestTile = 64 << 10;
  if (count > kLargestPiece / block_) return task->check(scsi::kInvalidField);
  const auto length = static_cast<std::size_t>(count * block_);
  const std::size_t tile = std::min(length, kLargestTile);
  const auto buffer = std::make_shared<block::AlignedBuffer>(tile, kBufferAlignment);
  if (buffer->data() == nullptr) return task->check(scsi::kNoMemory);
  for (std::size_t at = 0; at < tile; at += pattern.size()) std::ranges::copy(pattern, buffer->data() + at);
  task->begin(
      [disk = disk_, at = first * block_, buffer, length, tile](block::Done done) {
        block::Buffers tiles;
        for (std::size_t written = 0; written < length; written += tile)
          tiles.push_back({.iov_base = buffer->data(), .iov_len = std::min(tile, length - written)});
        disk->write(at, std::move(tiles), std::move(done));
      },
      [this, task, buffer](const Result<>& result) {
        if (!result) return failed(task, result.error(), true);
        return cache_ ? task->good(block_) : flush_and_finish(task, block_);
      });
  return {};
}

struct ScsiDisk::UnmapList {
  std::vector<Extent> extents;  // the last comes first
  std::uint64_t size = 0;       // of the parameter list
};

Result<> ScsiDisk::unmap(const ScsiTaskPtr& task) {
  constexpr std::size_t kHeader = 8;
  constexpr std::size_t kEntry = 16;
  if (!can_write()) return task->check(scsi::kWriteProtected);
  const std::size_t size = load_be<std::uint16_t>(task->cdb().data() + 7);
  if (size == 0) return task->good();
  if ((task->cdb()[1] & 0x01U) != 0) return task->check(scsi::kInvalidField);
  if (size < kHeader || task->out_size() < size) return task->check(scsi::kShortParameters);
  Bytes parameters(size);
  DOPPEL_TRY(task->get(0, parameters));
  const std::size_t entries = load_be<std::uint16_t>(parameters.data() + 2) / kEntry;
  if (kHeader + entries * kEntry > size) return task->check(scsi::kInvalidParameter);
  auto list = std::make_shared<UnmapList>();
  list->size = size;
  for (std::size_t i = entries; i > 0; --i) {
    const std::byte* entry = parameters.data() + kHeader + (i - 1) * kEntry;
    const Extent extent{load_be<std::uint64_t>(entry), load_be<std::uint32_t>(entry + 8)};
    if (!is_in_disk(extent.first, extent.count)) return task->check(scsi::kOutOfRange);
    if (extent.count != 0) list->extents.push_back(extent);
  }
  return unmap_next(task, list);
}

Result<> ScsiDisk::unmap_next(const ScsiTaskPtr& task, const std::shared_ptr<UnmapList>& list) {
  if (list->extents.empty()) return task->good(list->size);
  const Extent extent = list->extents.back();
  list->extents.pop_back();
  task->begin([disk = disk_, at = extent.first * block_,
               length = extent.count * block_](block::Done done) { disk->discard(at, length, std::move(done)); },
              [this, task, list](const Result<>& result) {
                return result ? unmap_next(task, list) : failed(task, result.error(), true);
              });
  return {};
}

}  // namespace doppel::hw
