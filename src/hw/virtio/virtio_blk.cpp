#include "hw/virtio/virtio_blk.h"

#include <algorithm>
#include <bit>
#include <optional>
#include <utility>

#include "base/bits.h"
#include "base/endian.h"

namespace doppel::hw {

namespace {

constexpr std::uint64_t kSector = 512;
constexpr std::uint16_t kTransitionalId = 0x1001;
constexpr std::uint32_t kClass = 0x010000;  // storage, SCSI: as QEMU has it
constexpr std::size_t kSerialSize = 20;
constexpr std::size_t kBufferAlignment = 4096;

// Features, section 5.2.3, as masks.
constexpr std::uint64_t kOffersSegMax = 1U << 2U;
constexpr std::uint64_t kOffersGeometry = 1U << 4U;
constexpr std::uint64_t kOffersReadOnly = 1U << 5U;
constexpr std::uint64_t kOffersBlkSize = 1U << 6U;
constexpr std::uint64_t kOffersFlush = 1U << 9U;
constexpr std::uint64_t kOffersTopology = 1U << 10U;
constexpr std::uint64_t kOffersConfigWce = 1U << 11U;
constexpr std::uint64_t kOffersMultiQueue = 1U << 12U;
constexpr std::uint64_t kOffersDiscard = 1U << 13U;
constexpr std::uint64_t kOffersWriteZeroes = 1U << 14U;

/// Request types, section 5.2.6.
enum class Type : std::uint32_t {
  kRead = 0,
  kWrite = 1,
  kFlush = 4,
  kGetId = 8,
  kDiscard = 11,
  kWriteZeroes = 13,
};
constexpr std::uint32_t kBarrier = 0x8000'0000;  // of very old drivers; never offered, so without meaning

constexpr std::uint8_t kOk = 0;
constexpr std::uint8_t kIoError = 1;
constexpr std::uint8_t kUnsupported = 2;

/// The configuration structure, section 5.2.4.
struct ConfigLayout {
  Le64 capacity;
  Le32 size_max;
  Le32 seg_max;
  Le16 cylinders;
  std::uint8_t heads = 0;
  std::uint8_t sectors = 0;
  Le32 blk_size;
  std::uint8_t physical_block_exp = 0;
  std::uint8_t alignment_offset = 0;
  Le16 min_io_size;
  Le32 opt_io_size;
  std::uint8_t writeback = 0;
  std::uint8_t unused0 = 0;
  Le16 num_queues;
  Le32 max_discard_sectors;
  Le32 max_discard_seg;
  Le32 discard_sector_alignment;
  Le32 max_write_zeroes_sectors;
  Le32 max_write_zeroes_seg;
  std::uint8_t write_zeroes_may_unmap = 0;
  std::uint8_t unused1[3] = {};
};
static_assert(sizeof(ConfigLayout) == 60);
constexpr std::uint64_t kWritebackOffset = 32;

struct Header {
  Le32 type;
  Le32 reserved;
  Le64 sector;
};

/// A range of DISCARD or WRITE ZEROES. There is one in a request, as max_discard_seg says.
struct Range {
  Le64 sector;
  Le32 sectors;
  Le32 flags;
};
constexpr std::uint32_t kUnmap = 1;

}  // namespace

const PropertyTable<VirtioBlkConfig> kVirtioBlkProperties = [] {
  using Config = VirtioBlkConfig;
  std::vector<PropertyTable<Config>::Row> rows = {
      {"num-queues", &Config::num_queues, "queues; default: one for each CPU"},
      {"queue-size", &Config::queue_size, "descriptors of each queue, a power of two"},
      {"serial", &Config::serial, "serial number, up to 20 characters"},
      {"logical_block_size", &Config::logical_block_size, "the block size that the guest sees, in bytes"},
      {"physical_block_size", &Config::physical_block_size, "the block size that is best written whole, in bytes"},
      {"min_io_size", &Config::min_io_size, "the smallest request that is a good one, in bytes; 0: any"},
      {"opt_io_size", &Config::opt_io_size, "the best size of a request, in bytes; 0: any"},
      {"write-cache", &Config::write_cache, "write cache at power-on; auto: as the image is opened"},
      {"config-wce", &Config::config_wce, "the guest may switch the write cache"},
      {"discard", &Config::discard, "the guest may discard blocks"},
      {"write-zeroes", &Config::write_zeroes, "the guest may have zeroes written"},
      {"max-discard-sectors", &Config::max_discard_sectors, "most that one request discards"},
      {"iothread", &Config::iothread, "id of the -object iothread that works on it; empty: the main thread"},
      {"max-write-zeroes-sectors", &Config::max_write_zeroes_sectors, "most that one request fills with zeroes"},
  };
  std::ranges::copy(virtio_pci_rows<Config>(), std::back_inserter(rows));
  return PropertyTable<Config>(std::move(rows));
}();

Result<> check_config(const VirtioBlkConfig& config) {
  DOPPEL_TRY(VirtioPci::check(config));
  if (config.num_queues == 0 ||
      (config.num_queues != VirtioBlkConfig::kAutoQueues && config.num_queues > VirtioPci::kMostQueues))
    return fail(ErrorKind::kOutOfRange, "num-queues={}: a disk has 1 to {} queues", config.num_queues,
                VirtioPci::kMostQueues);
  if (config.queue_size < 4 || config.queue_size > Virtqueue::kMostSlots || !std::has_single_bit(config.queue_size))
    return fail(ErrorKind::kOutOfRange, "queue-size={}: write a power of two from 4 to {}", config.queue_size,
                Virtqueue::kMostSlots);
  if (config.serial.size() > kSerialSize)
    return fail(ErrorKind::kInvalidArgument, "serial={}: a serial number has up to {} characters", config.serial,
                kSerialSize);
  for (const std::uint32_t size : {config.logical_block_size, config.physical_block_size})
    if (size < kSector || size > 32768 || !std::has_single_bit(size))
      return fail(ErrorKind::kOutOfRange, "a block size is a power of two from 512 to 32768, not {}", size);
  if (config.physical_block_size < config.logical_block_size)
    return fail(ErrorKind::kInvalidArgument, "physical_block_size={} is less than logical_block_size={}",
                config.physical_block_size, config.logical_block_size);
  if (config.min_io_size % config.logical_block_size != 0 || config.opt_io_size % config.logical_block_size != 0 ||
      config.min_io_size / config.logical_block_size > 0xffff)
    return fail(ErrorKind::kInvalidArgument, "min_io_size and opt_io_size are whole blocks of {} bytes",
                config.logical_block_size);
  for (const std::uint32_t most : {config.max_discard_sectors, config.max_write_zeroes_sectors})
    if (most == 0 || most > VirtioBlkConfig::kMostSectors)
      return fail(ErrorKind::kOutOfRange, "a request discards or fills 1 to {} sectors, not {}",
                  VirtioBlkConfig::kMostSectors, most);
  return {};
}

Result<std::unique_ptr<VirtioPci>> create_virtio_blk(const PciServices& services, const VirtioPciParts& parts,
                                                     block::Disk& disk, VirtioBlkConfig config, std::size_t cpus) {
  DOPPEL_TRY(check_config(config));
  if (disk.size() < config.logical_block_size)
    return fail(ErrorKind::kInvalidArgument,
                "the image is smaller than a block; give it a size, as 'doppel-img create FILE SIZE' does");
  if (config.num_queues == VirtioBlkConfig::kAutoQueues)
    config.num_queues = static_cast<std::uint16_t>(std::clamp<std::size_t>(cpus, 1, VirtioPci::kMostQueues));
  const VirtioOptions options{.packed = config.packed,
                              .event_index = config.event_idx,
                              .indirect = config.indirect_desc,
                              .queues = config.num_queues,
                              .queue_size = config.queue_size};
  const VirtioPciType type{
      .name = "virtio-blk-pci", .device = virtio::kTypeBlock, .transitional_id = kTransitionalId, .class_code = kClass};
  return VirtioPci::create(services, parts, type, config, config.num_queues + 1U,
                           [&](VirtioHost& host) { return std::make_unique<VirtioBlk>(host, options, disk, config); });
}

/// A request, from the header in its chain to the status that ends it.
struct VirtioBlk::Request final : VirtioRequest {
  Type type{};
  std::uint64_t offset = 0;                          // in the disk, in bytes
  std::uint64_t length = 0;                          // of the data
  std::uint64_t position = 0;                        // of the next piece in the data
  std::size_t piece = 0;                             // bytes of the piece under way
  std::uint64_t writable = 0;                        // bytes of the chain, the status byte among them
  std::optional<memory::DmaMappings> lent;           // guest memory that the disk works on
  block::AlignedBuffer buffer{0, kBufferAlignment};  // instead
  std::size_t reserved = 0;                          // the buffer's share of data_

  [[nodiscard]] bool is_read() const { return type == Type::kRead; }
};

VirtioBlk::VirtioBlk(VirtioHost& host, const VirtioOptions& options, block::Disk& disk, VirtioBlkConfig config)
    : VirtioDevice(host, options),
      disk_(disk),
      settings_(std::move(config)),
      cache_at_reset_(settings_.write_cache == OnOffAuto::kAuto ? disk.has_write_cache()
                                                                : settings_.write_cache == OnOffAuto::kOn),
      cache_(cache_at_reset_) {}

// ---- What the driver is told

std::uint64_t VirtioBlk::own_features() const {
  std::uint64_t features = kOffersSegMax | kOffersGeometry | kOffersBlkSize | kOffersFlush | kOffersTopology;
  if (settings_.config_wce) features |= kOffersConfigWce;
  if (options().queues > 1) features |= kOffersMultiQueue;
  if (disk_.read_only()) return features | kOffersReadOnly;
  if (settings_.discard) features |= kOffersDiscard;
  if (settings_.write_zeroes) features |= kOffersWriteZeroes;
  return features;
}

std::size_t VirtioBlk::config_size() const {
  return sizeof(ConfigLayout);
}

std::vector<std::byte> VirtioBlk::config() const {
  constexpr std::uint64_t kHeads = 16;
  constexpr std::uint64_t kSectorsPerTrack = 63;
  const std::uint64_t sectors = disk_.size() / kSector;
  const std::uint32_t block = settings_.logical_block_size;
  ConfigLayout layout;
  layout.capacity = align_down(sectors, block / kSector);
  // A header and a status go with the data, and indirect tables may be absent.
  layout.seg_max = options().queue_size - 2U;
  layout.cylinders =
      static_cast<std::uint16_t>(std::clamp<std::uint64_t>(sectors / (kHeads * kSectorsPerTrack), 2, 16383));
  layout.heads = kHeads;
  layout.sectors = kSectorsPerTrack;
  layout.blk_size = block;
  layout.physical_block_exp = static_cast<std::uint8_t>(std::countr_zero(settings_.physical_block_size / block));
  layout.min_io_size = static_cast<std::uint16_t>(settings_.min_io_size / block);
  layout.opt_io_size = settings_.opt_io_size / block;
  layout.writeback = cache_ ? 1 : 0;
  layout.num_queues = options().queues;
  layout.max_discard_sectors = settings_.max_discard_sectors;
  layout.max_discard_seg = std::uint32_t{1};
  layout.discard_sector_alignment = static_cast<std::uint32_t>(block / kSector);
  layout.max_write_zeroes_sectors = settings_.max_write_zeroes_sectors;
  layout.max_write_zeroes_seg = std::uint32_t{1};
  layout.write_zeroes_may_unmap = 1;
  const auto bytes = std::as_bytes(std::span(&layout, 1));
  return {bytes.begin(), bytes.end()};
}

/// The write cache's switch is all that can be written.
void VirtioBlk::write_config(std::uint64_t offset, unsigned size, std::uint64_t value) {
  if (!driver_has(kOffersConfigWce) || offset > kWritebackOffset || offset + size <= kWritebackOffset) return;
  cache_ = (value >> 8 * (kWritebackOffset - offset) & 1U) != 0;
}

void VirtioBlk::reset_own() {
  cache_ = cache_at_reset_;
  flushes_ = true;
}

/// Section 5.2.5.2: a driver that knows nothing of caches shall find its writes durable.
void VirtioBlk::driver_ready() {
  flushes_ = driver_has(kOffersFlush) || driver_has(kOffersConfigWce);
}

bool VirtioBlk::writes_are_durable() const {
  return !cache_ || !flushes_;
}

// ---- Requests

bool VirtioBlk::has_room(unsigned /*queue*/) const {
  return data_ < kMostData;
}

bool VirtioBlk::is_in_disk(std::uint64_t sector, std::uint64_t length) const {
  const std::uint64_t sectors = disk_.size() / kSector;
  const std::uint64_t block = settings_.logical_block_size;
  return sector <= sectors && length <= (sectors - sector) * kSector && sector * kSector % block == 0 &&
         length % block == 0;
}

Result<> VirtioBlk::take(unsigned queue, Chain chain) {
  auto request = std::make_shared<Request>();
  request->writable = total_size(chain.writable);
  const std::uint64_t readable = total_size(chain.readable);
  if (readable < sizeof(Header) || request->writable == 0)
    return fail(ErrorKind::kInvalidArgument, "a request of {} and {} bytes has no room for header and status", readable,
                request->writable);
  Header header;
  DOPPEL_ASSIGN(const auto guest, memory());
  DOPPEL_TRY(read_segments(guest, chain.readable, 0, std::as_writable_bytes(std::span(&header, 1))));
  request->type = static_cast<Type>(header.type & ~kBarrier);
  request->length = request->is_read() ? request->writable - 1 : readable - sizeof header;
  request->offset = header.sector;
  begin(request, queue, std::move(chain));
  auto started = start(request);
  if (!started) give_up(request);
  return started;
}

/// The driver broke the rules with it: it has no end that could be told.
void VirtioBlk::give_up(const RequestPtr& request) {
  release(request);
  abandon(request);
}

Result<> VirtioBlk::start(const RequestPtr& request) {
  switch (request->type) {
    case Type::kRead:
    case Type::kWrite:
      if (!is_in_disk(request->offset, request->length) || (disk_.read_only() && !request->is_read()))
        return finish(request, kIoError);
      request->offset *= kSector;
      if (request->length == 0) return finish(request, kOk);
      return next_piece(request);
    case Type::kFlush: return flush(request);
    case Type::kGetId: return give_serial(request);
    case Type::kDiscard:
    case Type::kWriteZeroes: return change_ranges(request);
  }
  return finish(request, kUnsupported);
}

Result<> VirtioBlk::next_piece(const RequestPtr& request) {
  request->piece =
      static_cast<std::size_t>(std::min<std::uint64_t>(request->length - request->position, kLargestPiece));
  if (lend_piece(request)) return {};
  return buffer_piece(request);
}

/// False: it is a matter for a buffer.
bool VirtioBlk::lend_piece(const RequestPtr& request) {
  const Chain& chain = request->chain;
  request->lent = request->is_read()
                      ? lend_memory(chain.writable, request->position, request->piece, memory::DmaSpace::Access::kWrite)
                      : lend_memory(chain.readable, sizeof(Header) + request->position, request->piece,
                                    memory::DmaSpace::Access::kRead);
  if (!request->lent) return false;
  begin_piece(request, request->lent->pieces());
  return true;
}

Result<> VirtioBlk::buffer_piece(const RequestPtr& request) {
  if (request->reserved < request->piece) {
    data_ += request->piece - std::exchange(request->reserved, request->piece);
    request->buffer = block::AlignedBuffer(request->piece, kBufferAlignment);
  }
  if (request->buffer.data() == nullptr) return finish(request, kIoError);
  if (!request->is_read()) {
    DOPPEL_ASSIGN(const auto guest, memory());
    DOPPEL_TRY(read_segments(guest, request->chain.readable, sizeof(Header) + request->position,
                             request->buffer.first(request->piece)));
  }
  begin_piece(request, {{.iov_base = request->buffer.data(), .iov_len = request->piece}});
  return {};
}

void VirtioBlk::begin_piece(const RequestPtr& request, block::Buffers buffers) {
  begin_later([this, request, buffers = std::move(buffers),
               done = under_lock([this, request](const Result<>& result) { piece_done(request, result); })] {
    const std::uint64_t at = request->offset + request->position;
    if (request->is_read())
      disk_.read(at, buffers, done);
    else
      disk_.write(at, buffers, done);
  });
}

void VirtioBlk::piece_done(const RequestPtr& request, const Result<>& result) {
  if (request->lent && request->is_read()) request->lent->mark_dirty();
  if (is_stale(*request)) return give_up(request);
  Result<> moved;
  if (result) {
    moved = piece_moved(request);
  } else {
    note_failure(result.error());
    moved = finish(request, kIoError);
  }
  if (moved) return;
  driver_failed(moved.error());
  give_up(request);
}

Result<> VirtioBlk::piece_moved(const RequestPtr& request) {
  if (request->is_read() && !request->lent) {
    DOPPEL_ASSIGN(const auto guest, memory());
    DOPPEL_TRY(
        write_segments(guest, request->chain.writable, request->position, request->buffer.first(request->piece)));
  }
  request->position += request->piece;
  if (request->position < request->length) return next_piece(request);
  if (!request->is_read() && writes_are_durable()) return flush(request);
  return finish(request, kOk);
}

Result<> VirtioBlk::give_serial(const RequestPtr& request) {
  std::array<std::byte, kSerialSize> serial{};
  std::ranges::copy(std::as_bytes(std::span(settings_.serial)), serial.begin());
  const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(request->writable - 1, kSerialSize));
  DOPPEL_ASSIGN(const auto guest, memory());
  DOPPEL_TRY(write_segments(guest, request->chain.writable, 0, std::span(serial).first(size)));
  return finish(request, kOk);
}

Result<> VirtioBlk::change_ranges(const RequestPtr& request) {
  const bool zeroes = request->type == Type::kWriteZeroes;
  if (!driver_has(zeroes ? kOffersWriteZeroes : kOffersDiscard)) return finish(request, kUnsupported);
  if (request->length != sizeof(Range)) return finish(request, kUnsupported);
  Range range;
  DOPPEL_ASSIGN(const auto guest, memory());
  DOPPEL_TRY(
      read_segments(guest, request->chain.readable, sizeof(Header), std::as_writable_bytes(std::span(&range, 1))));
  // Section 5.2.6.2: flags that make no sense here are not supported.
  if ((range.flags & ~(zeroes ? kUnmap : 0U)) != 0) return finish(request, kUnsupported);
  const std::uint64_t length = range.sectors * kSector;
  const std::uint32_t most = zeroes ? settings_.max_write_zeroes_sectors : settings_.max_discard_sectors;
  if (range.sectors > most || !is_in_disk(range.sector, length)) return finish(request, kIoError);
  if (length == 0) return finish(request, kOk);
  const std::uint64_t offset = range.sector * kSector;
  const bool may_unmap = (range.flags & kUnmap) != 0;
  begin_later([this, zeroes, offset, length, may_unmap,
               done = under_lock([this, request](const Result<>& result) { piece_done(request, result); })] {
    if (zeroes)
      disk_.write_zeroes(offset, length, may_unmap, done);
    else
      disk_.discard(offset, length, done);
  });
  request->position = request->length;
  return {};
}

Result<> VirtioBlk::flush(const RequestPtr& request) {
  begin_later([this, done = under_lock([this, request](const Result<>& result) { last_step_done(request, result); })] {
    disk_.flush(done);
  });
  return {};
}

void VirtioBlk::last_step_done(const RequestPtr& request, const Result<>& result) {
  if (is_stale(*request)) return give_up(request);
  if (!result) note_failure(result.error());
  if (const auto finished = finish(request, result ? kOk : kIoError); !finished) {
    driver_failed(finished.error());
    give_up(request);
  }
}

/// The status is the last byte of the chain.
Result<> VirtioBlk::finish(const RequestPtr& request, std::uint8_t status) {
  release(request);
  const std::byte byte{status};
  DOPPEL_ASSIGN(const auto guest, memory());
  DOPPEL_TRY(write_segments(guest, request->chain.writable, request->writable - 1, std::span(&byte, 1)));
  complete(request, request->writable);
  return {};
}

void VirtioBlk::release(const RequestPtr& request) {
  data_ -= std::exchange(request->reserved, 0);
  request->buffer = block::AlignedBuffer(0, kBufferAlignment);
  request->lent.reset();
}

void VirtioBlk::note_failure(const Error& error) {
  if (!std::exchange(error_told_, true))
    log().warn("the disk fails, and the guest is told: {}; further failures are not noted", error.describe());
}

// ---- Saving

std::vector<std::uint8_t> VirtioBlk::save_own() const {
  return {static_cast<std::uint8_t>(cache_ ? 1 : 0), static_cast<std::uint8_t>(flushes_ ? 1 : 0)};
}

Result<> VirtioBlk::load_own(const std::vector<std::uint8_t>& saved) {
  if (saved.size() != 2 || std::ranges::any_of(saved, [](std::uint8_t value) { return value > 1; }))
    return fail(ErrorKind::kCorrupt, "the saved disk's settings are damaged");
  cache_ = saved[0] != 0;
  flushes_ = saved[1] != 0;
  return {};
}

}  // namespace doppel::hw
