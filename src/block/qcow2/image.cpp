// Opening, reading, flushing and closing a qcow2 image.
#include "block/qcow2/image.h"

#include <algorithm>

#include "block/qcow2/check.h"
#include "block/qcow2/compression.h"

namespace doppel::block::qcow2 {

namespace {

constexpr std::size_t kManyRetired = 4096;

std::vector<FormatDetails> bitmap_details(const std::vector<BitmapInfo>& bitmaps) {
  std::vector<FormatDetails> list;
  for (const BitmapInfo& bitmap : bitmaps) {
    std::vector<std::string> flags;
    if (bitmap.in_use) flags.emplace_back("in-use");
    if (bitmap.enabled) flags.emplace_back("auto");
    list.push_back({{"flags", std::move(flags)}, {"name", bitmap.name}, {"granularity", bitmap.granularity}});
  }
  return list;
}

}  // namespace

Image::Image(Context& context, NodePtr file, NodePtr data, Header header, const OpenParameters& parameters)
    : context_(context),
      file_(std::move(file)),
      data_(std::move(data)),
      header_(std::move(header)),
      layout_(header_.layout()),
      refcounts_(*file_, header_),
      mapping_(*file_, header_, refcounts_, retired_),
      bitmaps_(*file_, header_, refcounts_,
               [this](std::uint64_t offset, std::uint64_t length) { return check_bitmap_place(offset, length); }),
      purpose_(parameters.purpose),
      lazy_(header_.version >= 3 &&
            parameters.lazy_refcounts.value_or((header_.compatible & Header::kLazyRefcounts) != 0)) {}

Task<Result<std::unique_ptr<Image>>> Image::open(Context& context, NodePtr file, NodePtr data,
                                                 OpenParameters parameters) {
  const Purpose purpose = parameters.purpose;
  DOPPEL_CO_ASSIGN(Header header, co_await read_header(*file));
  if ((header.incompatible & Header::kCorrupt) != 0 && !file->read_only() && purpose == Purpose::kUse)
    co_return fail(ErrorKind::kCorrupt, "the image is marked corrupt; check -r all repairs it, or open it read-only");
  if (header.version == 2 && parameters.lazy_refcounts.value_or(false))
    co_return fail(ErrorKind::kInvalidArgument, "lazy-refcounts=on needs an image of version 3 (compat=1.1)");
  std::unique_ptr<Image> image(new Image(context, std::move(file), std::move(data), std::move(header), parameters));
  DOPPEL_CO_TRY(co_await image->unlock(parameters));
  DOPPEL_CO_TRY(co_await image->refcounts_.load());
  DOPPEL_CO_TRY(co_await image->mapping_.load());
  DOPPEL_CO_ASSIGN(SnapshotTable table, co_await read_snapshots(*image->file_, image->header_));
  image->snapshots_ = std::move(table.snapshots);
  image->snapshot_table_bytes_ = table.bytes;
  if (purpose == Purpose::kRepair) co_return image;
  DOPPEL_CO_TRY(co_await image->begin_use());
  co_return image;
}

/// All that opening for writing changes, and the bitmaps.
Task<Result<>> Image::begin_use() {
  if (read_only()) co_return co_await bitmaps_.load();
  if ((header_.incompatible & Header::kDirty) != 0) {
    DOPPEL_CO_ASSIGN(const CheckResult repaired, co_await check(Repair::kAll));
    if (repaired.corruptions > repaired.broken_bitmaps)
      co_return fail(ErrorKind::kCorrupt, "the image was not closed and cannot be repaired");
  }
  // Nothing here keeps up what other autoclear bits promise.
  const std::uint64_t kept = Header::kRawExternalData | (header_.bitmaps ? Header::kBitmaps : 0);
  if ((header_.autoclear & ~kept) != 0) {
    header_.autoclear &= kept;
    DOPPEL_CO_TRY(co_await write_header_fields(*file_, header_));
  }
  DOPPEL_CO_TRY(co_await bitmaps_.load());
  co_return co_await bitmaps_.begin_recording();
}

Task<Result<LuksHeader>> Image::read_luks_header() {
  DOPPEL_CO_ASSIGN(LuksHeader luks, co_await read_luks(*file_, header_.luks_offset));
  if (luks.payload_bytes() > header_.luks_length)
    co_return fail(ErrorKind::kCorrupt, "its LUKS header is larger than its place");
  co_return luks;
}

Task<Result<>> Image::change_passwords(const std::optional<SecretBytes>& password, const LuksChange& change) {
  if (!header_.encrypted) co_return fail(ErrorKind::kUnsupported, "the image is not encrypted");
  DOPPEL_CO_ASSIGN(LuksHeader luks, co_await read_luks_header());
  DOPPEL_CO_TRY(co_await change_luks(*file_, header_.luks_offset, luks, password, change));
  luks_details_ = luks_details(luks);
  co_return Result<>{};
}

/// Sectors are numbered by where they are in their file.
Task<Result<>> Image::unlock(const OpenParameters& parameters) {
  if (!header_.encrypted) co_return Result<>{};
  DOPPEL_CO_ASSIGN(const LuksHeader luks, co_await read_luks_header());
  luks_details_ = luks_details(luks);
  std::optional<SectorCipher> cipher;
  if (parameters.key) {
    DOPPEL_CO_ASSIGN(cipher, co_await unlock_luks(*file_, header_.luks_offset, luks, *parameters.key));
  } else if (!parameters.metadata_only && parameters.purpose == Purpose::kUse) {
    co_return key_is_missing("encrypt.key-secret");
  }
  crypt_ = std::make_unique<CryptNode>(data(), 0, std::move(cipher));
  co_return Result<>{};
}

Result<> Image::check_range(std::uint64_t offset, std::uint64_t length) const {
  if (offset <= size() && length <= size() - offset) return {};
  return fail(ErrorKind::kOutOfRange, "{} bytes at offset {} go beyond the end of the disk of {} bytes", length, offset,
              size());
}

/// What ENTRY says of the bytes from OFFSET to the end of its subcluster, or of its cluster where that is compressed.
Image::Extent Image::extent_at(const Entry& entry, std::uint64_t offset) const {
  const std::uint64_t inside = layout_.in_cluster(offset);
  const auto subcluster = static_cast<unsigned>(inside / layout_.subcluster_size());
  Extent extent{.kind = entry.kind(subcluster)};
  if (entry.compressed) {
    extent.length = layout_.cluster_size() - inside;
    extent.compressed = *entry.compressed;
    return extent;
  }
  extent.length = layout_.subcluster_size() - inside % layout_.subcluster_size();
  extent.has_host = entry.host.has_value();
  extent.host = entry.host.value_or(0) + inside;
  extent.in_place = extent.kind == Kind::kData && entry.copied;
  return extent;
}

bool Image::continues(const Extent& first, const Extent& next) {
  if (first.kind != next.kind || first.kind == Kind::kCompressed || first.in_place != next.in_place) return false;
  return first.has_host == next.has_host && (!first.has_host || first.host + first.length == next.host);
}

/// As far as it is the same, at most LENGTH. Takes the metadata lock.
Task<Result<Image::Extent>> Image::look_up(std::uint64_t offset, std::uint64_t length) {
  const auto guard = co_await metadata_.lock();
  length = std::min(length, layout_.l2_coverage() - offset % layout_.l2_coverage());
  DOPPEL_CO_ASSIGN(const TablePtr table, co_await mapping_.table(offset));
  if (!table) co_return Extent{.length = length};
  Extent extent;
  while (extent.length < length) {
    const std::uint64_t at = offset + extent.length;
    DOPPEL_CO_ASSIGN(const Entry entry, mapping_.entry(*table, mapping_.index_in_table(at)));
    const Extent next = extent_at(entry, at);
    if (extent.length == 0)
      extent = next;
    else if (continues(extent, next))
      extent.length += next.length;
    else
      break;
  }
  extent.length = std::min(extent.length, length);
  co_return extent;
}

Task<Result<>> Image::read(std::uint64_t offset, IoView to) {
  DOPPEL_CO_TRY(check_range(offset, to.size()));
  const auto gate = co_await gate_.lock_shared();
  co_return co_await read_any(offset, to);
}

/// Where the range is one piece of data, here or in the backing node.
Task<bool> Image::splice(std::uint64_t offset, std::size_t length, int pipe) {
  if (!check_range(offset, length)) co_return false;
  const auto gate = co_await gate_.lock_shared();
  const auto extent = co_await look_up(offset, length);
  if (!extent || extent->length < length) co_return false;
  if (extent->kind == Kind::kData) co_return co_await data().splice(extent->host, length, pipe);
  const bool in_backing = extent->kind == Kind::kUnallocated && backing_ && offset + length <= backing_->size();
  if (in_backing) co_return co_await backing_->splice(offset, length, pipe);
  co_return false;
}

Task<Result<>> Image::read_any(std::uint64_t offset, IoView to) {
  for (std::size_t done = 0; done < to.size();) {
    DOPPEL_CO_ASSIGN(const Extent extent, co_await look_up(offset + done, to.size() - done));
    const auto length = static_cast<std::size_t>(extent.length);
    DOPPEL_CO_TRY(co_await read_extent(extent, offset + done, to.slice(done, length)));
    done += length;
  }
  co_return Result<>{};
}

Task<Result<>> Image::read_extent(const Extent& extent, std::uint64_t offset, IoView to) {
  switch (extent.kind) {
    case Kind::kData: file_->debug_event("read_aio"); co_return co_await data().read(extent.host, to);
    case Kind::kUnallocated: co_return co_await read_backing(offset, to);
    case Kind::kCompressed: co_return co_await read_compressed(extent.compressed, layout_.in_cluster(offset), to);
    case Kind::kZero: to.clear();
  }
  co_return Result<>{};
}

/// The backing node may be shorter than this one.
Task<Result<>> Image::read_backing(std::uint64_t offset, IoView to) {
  const std::uint64_t end = backing_ ? backing_->size() : 0;
  const auto inside = static_cast<std::size_t>(offset < end ? std::min<std::uint64_t>(to.size(), end - offset) : 0);
  to.slice(inside, to.size() - inside).clear();
  if (inside == 0) co_return Result<>{};
  file_->debug_event("read_backing_aio");
  co_return co_await backing_->read(offset, to.slice(0, inside));
}

Task<Result<>> Image::read_compressed(const CompressedPlace& place, std::uint64_t in_cluster, IoView to) {
  if (cached_.empty() || cached_place_ != place.offset) {
    std::vector<std::byte> packed(place.length);
    std::vector<std::byte> cluster(layout_.cluster_size());
    file_->debug_event("read_compressed");
    DOPPEL_CO_TRY(co_await file_->read(place.offset, std::span<std::byte>(packed)));
    std::function<Result<>()> work = [&] { return decompress(header_.compression, packed, cluster); };
    DOPPEL_CO_TRY(co_await in_worker(context_.compute_workers(), work));
    cached_ = std::move(cluster);
    cached_place_ = place.offset;
  }
  to.copy_from(cached_.data() + in_cluster);
  co_return Result<>{};
}

Task<Result<BlockStatus>> Image::block_status(std::uint64_t offset, std::uint64_t length) {
  DOPPEL_CO_TRY(check_range(offset, length));
  const auto gate = co_await gate_.lock_shared();
  DOPPEL_CO_ASSIGN(const Extent extent, co_await look_up(offset, length));
  BlockStatus status{.bytes = extent.length, .allocated = extent.kind != Kind::kUnallocated};
  status.zero = extent.kind == Kind::kZero;
  status.data = extent.kind == Kind::kData || extent.kind == Kind::kCompressed;
  status.compressed = extent.kind == Kind::kCompressed;
  if (extent.has_host && status.allocated) status.offset = extent.host;
  if (status.allocated) co_return status;
  const std::uint64_t backing_end = backing_ ? backing_->size() : 0;
  status.zero = offset >= backing_end;
  if (!status.zero) status.bytes = std::min(status.bytes, backing_end - offset);
  co_return status;
}

/// Lazily, unless they take up too much memory or the refcount table has moved.
Image::Counts Image::possible(Counts counts) const {
  const bool wait = lazy_ && counts == Counts::kMayWait && !refcounts_.crowded() && !refcounts_.moved();
  return wait ? Counts::kMayWait : Counts::kNow;
}

bool Image::to_commit(Counts counts) const {
  return mapping_.dirty() || (refcounts_.dirty() && possible(counts) == Counts::kNow);
}

/// Brings the tables to disk, in the order that the head of image.h gives. With the metadata lock.
Task<Result<>> Image::commit(Counts counts) {
  if (to_commit(counts)) DOPPEL_CO_TRY(co_await write_tables(possible(counts)));
  given_up_.insert(given_up_.end(), retired_.begin(), retired_.end());
  retired_.clear();
  co_return Result<>{};
}

Task<Result<>> Image::write_tables(Counts counts) {
  if (counts == Counts::kNow) {
    DOPPEL_CO_TRY(co_await refcounts_.write_blocks());
  } else if (refcounts_.dirty()) {
    DOPPEL_CO_TRY(co_await mark_dirty());
  }
  DOPPEL_CO_TRY(co_await mapping_.write_fresh());
  DOPPEL_CO_TRY(co_await flush_files());
  if (counts == Counts::kNow) DOPPEL_CO_TRY(co_await refcounts_.write_table());
  if (!mapping_.dirty()) co_return Result<>{};
  DOPPEL_CO_TRY(co_await mapping_.write_all());
  co_return co_await file_->flush();
}

Task<Result<>> Image::flush_files() {
  if (data_) DOPPEL_CO_TRY(co_await data_->flush());
  co_return co_await file_->flush();
}

/// From now on refcounts on disk may be behind.
Task<Result<>> Image::mark_dirty() {
  if ((header_.incompatible & Header::kDirty) != 0) co_return Result<>{};
  Header changed = header_;
  changed.incompatible |= Header::kDirty;
  DOPPEL_CO_TRY(co_await write_header_fields(*file_, changed));
  header_.incompatible = changed.incompatible;
  marked_dirty_ = true;
  co_return co_await file_->flush();
}

/// With the gate held alone, so that nobody is at work on these clusters, and the metadata lock.
Task<Result<>> Image::give_up_retired() {
  cached_.clear();
  compressed_end_ = 0;  // its cluster may be among those
  std::vector<std::uint64_t> list = std::exchange(given_up_, {});
  std::ranges::sort(list);
  std::uint64_t begin = 0;  // a run of clusters that nobody uses any more
  std::uint64_t end = 0;
  for (const std::uint64_t cluster : list) {
    DOPPEL_CO_ASSIGN(const std::uint64_t left, co_await refcounts_.decrement(cluster >> layout_.cluster_bits));
    if (refcounts_.crowded()) DOPPEL_CO_TRY(co_await refcounts_.write_blocks());
    if (left > 0) continue;
    if (cluster != end) {
      if (end > begin) DOPPEL_CO_TRY(co_await file_->discard(begin, end - begin));
      begin = cluster;
    }
    end = cluster + layout_.cluster_size();
  }
  if (end > begin) DOPPEL_CO_TRY(co_await file_->discard(begin, end - begin));
  co_return Result<>{};
}

/// Before a request that may retire clusters: keeps their list short.
Task<Result<>> Image::settle() {
  if (retired_.size() + given_up_.size() < kManyRetired) co_return Result<>{};
  const auto gate = co_await gate_.lock();
  const auto guard = co_await metadata_.lock();
  DOPPEL_CO_TRY(co_await commit(Counts::kMayWait));
  co_return co_await give_up_retired();
}

Task<Result<>> Image::flush() {
  if (read_only()) co_return Result<>{};
  if (!to_commit(Counts::kMayWait) && retired_.empty() && given_up_.empty()) co_return co_await flush_files();
  {
    const auto guard = co_await metadata_.lock();
    if (!to_commit(Counts::kMayWait)) DOPPEL_CO_TRY(co_await flush_files());
    DOPPEL_CO_TRY(co_await commit(Counts::kMayWait));
  }
  if (given_up_.empty()) co_return Result<>{};
  const auto gate = co_await gate_.lock();
  const auto guard = co_await metadata_.lock();
  co_return co_await give_up_retired();
}

/// All that was put off.
Task<Result<>> Image::finish() {
  DOPPEL_CO_TRY(co_await flush());
  DOPPEL_CO_TRY(co_await store_bitmaps());
  // What the first flush gave up changed refcounts.
  DOPPEL_CO_TRY(co_await flush());
  const auto guard = co_await metadata_.lock();
  DOPPEL_CO_TRY(co_await commit());
  if (!marked_dirty_) co_return Result<>{};
  header_.incompatible &= ~Header::kDirty;
  DOPPEL_CO_TRY(co_await write_header_fields(*file_, header_));
  co_return co_await file_->flush();
}

Task<Result<>> Image::close() {
  Result<> result;
  if (!read_only()) result = co_await finish();
  if (backing_) (void)co_await backing_->close();
  if (data_) (void)co_await data_->close();
  const Result<> closed = co_await file_->close();
  co_return result ? closed : result;
}

void Image::hurry() {
  for (Node* node : {file_.get(), data_.get(), backing_.get()})
    if (node != nullptr) node->hurry();
}

NodeInfo Image::info() const {
  NodeInfo info = file_->info();
  info.format = "qcow2";
  info.virtual_size = header_.size;
  info.cluster_size = layout_.cluster_size();
  info.dirty = (header_.incompatible & Header::kDirty) != 0;
  info.encrypted = header_.encrypted;
  info.backing_file = header_.backing_file;
  info.backing_format = header_.backing_format;
  for (const Snapshot& snapshot : snapshots_) info.snapshots.push_back(snapshot.info);
  auto& details = info.details;
  details.push_back({"compat", std::string(header_.version == 2 ? "0.10" : "1.1")});
  details.push_back({"compression type", std::string(header_.compression == Compression::kZstd ? "zstd" : "zlib")});
  if (header_.version >= 3) details.push_back({"lazy refcounts", (header_.compatible & Header::kLazyRefcounts) != 0});
  if (!bitmaps_.empty()) details.push_back({"bitmaps", bitmap_details(bitmaps_.list())});
  details.push_back({"refcount bits", std::uint64_t{layout_.refcount_bits()}});
  if (header_.encrypted) {
    FormatDetails luks = luks_details_;
    luks.insert(luks.begin(), FormatDetail{"format", std::string("luks")});
    details.push_back({"encrypt", std::move(luks)});
  }
  if (!header_.data_file.empty()) {
    details.push_back({"data file", header_.data_file});
    details.push_back({"data file raw", (header_.autoclear & Header::kRawExternalData) != 0});
  }
  if (header_.version >= 3) details.push_back({"corrupt", (header_.incompatible & Header::kCorrupt) != 0});
  if (header_.version >= 3) details.push_back({"extended l2", layout_.extended_l2});
  return info;
}

}  // namespace doppel::block::qcow2
