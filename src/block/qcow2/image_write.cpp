// Writing a qcow2 image: in place where a cluster is ours alone, else to a new place with what is not written copied.
#include <algorithm>

#include "block/qcow2/compression.h"
#include "block/qcow2/image.h"

namespace doppel::block::qcow2 {

namespace {

constexpr std::size_t kZeroBuffer = 64 * kKiB;

bool overlap(std::uint64_t a, std::uint64_t a_length, std::uint64_t b, std::uint64_t b_length) {
  return a < b + b_length && b < a + a_length;
}

}  // namespace

Task<Result<>> Image::write(std::uint64_t offset, IoView from) {
  DOPPEL_CO_TRY(check_range(offset, from.size()));
  bitmaps_.mark(offset, from.size());
  co_return co_await write_unrecorded(offset, from);
}

Task<Result<>> Image::write_unrecorded(std::uint64_t offset, IoView from) {
  DOPPEL_CO_TRY(co_await settle());
  const auto gate = co_await gate_.lock_shared();
  co_return co_await write_any(offset, from);
}

Task<Result<>> Image::write_any(std::uint64_t offset, IoView from) {
  for (std::size_t done = 0; done < from.size();) {
    DOPPEL_CO_ASSIGN(const Extent extent, co_await look_up(offset + done, from.size() - done));
    const auto length = static_cast<std::size_t>(extent.length);
    if (extent.in_place) {
      DOPPEL_CO_TRY(check_old_place(extent.host, length));
      file_->debug_event("write_aio");
      DOPPEL_CO_TRY(co_await data().write(extent.host, from.slice(done, length)));
      done += length;
    } else {
      const std::uint64_t to_table_end = layout_.l2_coverage() - (offset + done) % layout_.l2_coverage();
      const auto most = static_cast<std::size_t>(std::min<std::uint64_t>(from.size() - done, to_table_end));
      DOPPEL_CO_ASSIGN(const std::uint64_t written, co_await write_elsewhere(offset + done, from.slice(done, most)));
      done += written;
    }
  }
  co_return Result<>{};
}

bool Image::over_tables(std::uint64_t host, std::uint64_t length) const {
  return overlap(host, length, 0, layout_.cluster_size()) ||
         overlap(host, length, header_.luks_offset, header_.luks_length) ||
         overlap(host, length, header_.l1_offset, std::uint64_t{header_.l1_entries} * 8) ||
         overlap(host, length, header_.refcount_table_offset,
                 header_.refcount_table_clusters * layout_.cluster_size()) ||
         overlap(host, length, header_.snapshots_offset, snapshot_table_bytes_);
}

/// In a sound image no data cluster lies over a table; in a hostile one this keeps the guest from writing tables.
bool Image::unwritable_place(std::uint64_t host, std::uint64_t length) const {
  if (data_) return false;
  const bool over_directory =
      header_.bitmaps && overlap(host, length, header_.bitmaps->directory_offset, header_.bitmaps->directory_bytes);
  return over_directory || over_tables(host, length);
}

/// What an entry of the image says of its place is not taken on trust: neither tables nor a file of exabytes.
Result<> Image::check_old_place(std::uint64_t host, std::uint64_t length) const {
  if (unwritable_place(host, length))
    return fail(ErrorKind::kCorrupt, "guest data at offset {:#x} lies over the image's own tables", host);
  if (!data_ && host + length > align_up(file_->size(), layout_.cluster_size()))
    return fail(ErrorKind::kCorrupt, "guest data at offset {:#x} lies behind the end of the file", host);
  return {};
}

/// How much was written: none if somebody else has made the clusters writable in place meanwhile.
Task<Result<std::uint64_t>> Image::write_elsewhere(std::uint64_t offset, IoView from) {
  const std::uint64_t first = offset >> layout_.cluster_bits;
  const auto range = co_await ranges_.lock(first, layout_.clusters(offset + from.size()));
  DOPPEL_CO_ASSIGN(const Allocation place, co_await allocate_for(offset, from.size()));
  if (place.length == 0) co_return std::uint64_t{0};
  const auto filled = co_await fill(place, offset, from.slice(0, static_cast<std::size_t>(place.length)));
  if (!filled) {
    if (!place.reuses_host && !data_) retire_clusters(place.host, place.clusters);
    co_return std::unexpected(filled.error());
  }
  DOPPEL_CO_TRY(co_await enter(place, offset, place.length));
  co_return place.length;
}

Task<Result<Image::Allocation>> Image::allocate_for(std::uint64_t offset, std::uint64_t length) {
  const auto guard = co_await metadata_.lock();
  DOPPEL_CO_ASSIGN(const TablePtr table, co_await mapping_.table_to_change(offset));
  DOPPEL_CO_ASSIGN(const Entry entry, mapping_.entry(*table, mapping_.index_in_table(offset)));
  if (extent_at(entry, offset).in_place) co_return Allocation{};
  if (entry.host && entry.copied) co_return reuse_host(*table, offset, length);
  co_return co_await allocate_new(*table, offset, length);
}

/// For a cluster that has its place already, but not the data there: up to the next subcluster that has.
Result<Image::Allocation> Image::reuse_host(const Table& table, std::uint64_t offset, std::uint64_t length) const {
  DOPPEL_ASSIGN(const Entry entry, mapping_.entry(table, mapping_.index_in_table(offset)));
  const std::uint64_t guest = align_down(offset, layout_.cluster_size());
  std::uint64_t end = offset;
  while (end < guest + layout_.cluster_size()) {
    const Extent next = extent_at(entry, end);
    if (next.kind == Kind::kData) break;
    end += next.length;
  }
  DOPPEL_TRY(check_old_place(*entry.host, layout_.cluster_size()));
  return Allocation{.guest = guest,
                    .host = *entry.host,
                    .clusters = 1,
                    .length = std::min(length, end - offset),
                    .copy_unit = layout_.subcluster_size(),
                    .reuses_host = true};
}

/// For as many clusters in a row as need a new place and find one in a row.
Task<Result<Image::Allocation>> Image::allocate_new(const Table& table, std::uint64_t offset, std::uint64_t length) {
  const std::uint64_t guest = align_down(offset, layout_.cluster_size());
  const std::uint64_t wanted = layout_.clusters(offset + length) - (guest >> layout_.cluster_bits);
  const std::size_t first = mapping_.index_in_table(offset);
  std::uint64_t clusters = 0;
  bool unused = true;
  for (; clusters < wanted; ++clusters) {
    DOPPEL_CO_ASSIGN(const Entry entry, mapping_.entry(table, first + static_cast<std::size_t>(clusters)));
    if (entry.host && entry.copied) break;
    unused = unused && entry.unused();
  }
  Allocation place{.guest = guest, .host = guest, .clusters = clusters};
  const std::uint64_t file_end = file_->size();
  if (!data_) {
    DOPPEL_CO_ASSIGN(const Refcounts::Run run, co_await refcounts_.allocate_run(clusters));
    place.host = run.offset;
    place.clusters = run.clusters;
    place.zero = unused && !backing_ && !crypt_ && run.offset >= file_end;
  }
  if (unwritable_place(place.host, place.clusters << layout_.cluster_bits))
    co_return fail(ErrorKind::kCorrupt, "the refcounts say that the image's own tables at offset {:#x} are free",
                   place.host);
  place.length = std::min(length, guest + (place.clusters << layout_.cluster_bits) - offset);
  // Subclusters that are not written stay unallocated, unless something is to be taken along from the old place.
  place.copy_unit = unused ? layout_.subcluster_size() : layout_.cluster_size();
  co_return place;
}

/// Writes FROM to its new place in one go, with copies of what lies around it.
Task<Result<>> Image::fill(const Allocation& place, std::uint64_t offset, IoView from) {
  const std::uint64_t end = offset + from.size();
  const std::uint64_t begin = align_down(offset, place.copy_unit);
  const std::uint64_t host = place.host + (offset - place.guest);
  if (place.zero || (begin == offset && is_aligned(end, place.copy_unit))) {
    file_->debug_event("write_aio");
    co_return co_await data().write(host, from);
  }
  file_->debug_event("cow_read");
  std::vector<std::byte> head(offset - begin);
  std::vector<std::byte> tail(align_up(end, place.copy_unit) - end);
  DOPPEL_CO_TRY(co_await read_any(begin, std::span<std::byte>(head)));
  DOPPEL_CO_TRY(co_await read_any(end, std::span<std::byte>(tail)));
  std::vector<iovec> pieces = from.pieces();
  pieces.insert(pieces.begin(), {head.data(), head.size()});
  pieces.push_back({tail.data(), tail.size()});
  const IoView all{std::span<const iovec>(pieces)};
  file_->debug_event("cow_write");
  co_return co_await data().write(host - head.size(), all);
}

Task<Result<>> Image::enter(const Allocation& place, std::uint64_t offset, std::uint64_t length) {
  const auto guard = co_await metadata_.lock();
  DOPPEL_CO_ASSIGN(const TablePtr table, co_await mapping_.table_to_change(offset));
  const std::uint64_t begin = align_down(offset, place.copy_unit);
  const std::uint64_t end = align_up(offset + length, place.copy_unit);
  for (std::uint64_t i = 0; i < place.clusters; ++i) {
    const std::uint64_t guest = place.guest + (i << layout_.cluster_bits);
    const std::size_t index = mapping_.index_in_table(guest);
    DOPPEL_CO_ASSIGN(const Entry old, mapping_.entry(*table, index));
    const auto first = static_cast<unsigned>((std::max(begin, guest) - guest) / layout_.subcluster_size());
    const auto last =
        static_cast<unsigned>((std::min(end - guest, layout_.cluster_size()) - 1) / layout_.subcluster_size());
    const auto written = static_cast<std::uint32_t>(low_mask(last - first + 1) << first);
    Entry entry{.host = place.host + (i << layout_.cluster_bits), .copied = true, .allocated = written};
    if (place.reuses_host) {
      entry.allocated |= old.allocated;
      entry.zero = old.zero & ~written;
    } else {
      retire(old);
    }
    mapping_.set_entry(*table, index, entry);
  }
  if (mapping_.crowded() || refcounts_.crowded()) co_return co_await commit(Counts::kMayWait);
  co_return Result<>{};
}

void Image::retire(const Entry& entry) {
  if (entry.compressed) {
    const std::uint64_t begin = align_down(entry.compressed->offset, layout_.cluster_size());
    retire_clusters(begin, layout_.clusters(entry.compressed->offset + entry.compressed->length - begin));
  } else if (entry.host && !data_) {
    retire_clusters(*entry.host, 1);
  }
}

void Image::retire_clusters(std::uint64_t host, std::uint64_t clusters) {
  for (std::uint64_t i = 0; i < clusters; ++i) retired_.push_back(host + (i << layout_.cluster_bits));
}

Task<Result<>> Image::write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap unmap) {
  DOPPEL_CO_TRY(check_range(offset, length));
  bitmaps_.mark(offset, length);
  co_return co_await zero_unrecorded(offset, length, unmap);
}

Task<Result<>> Image::zero_unrecorded(std::uint64_t offset, std::uint64_t length, Unmap unmap) {
  DOPPEL_CO_TRY(co_await settle());
  const auto gate = co_await gate_.lock_shared();
  const std::uint64_t end = offset + length;
  const std::uint64_t whole_begin = align_up(offset, layout_.cluster_size());
  const std::uint64_t whole_end =
      end == size() ? align_up(end, layout_.cluster_size()) : align_down(end, layout_.cluster_size());
  // Version 2 has no flag for zeroes, only the absence of a cluster.
  if (whole_begin >= whole_end || (layout_.version == 2 && backing_))
    co_return co_await write_zero_bytes(offset, length);
  DOPPEL_CO_TRY(co_await write_zero_bytes(offset, whole_begin - offset));
  if (header_.autoclear & Header::kRawExternalData)
    DOPPEL_CO_TRY(co_await data_->write_zeroes(whole_begin, std::min(whole_end, size()) - whole_begin, unmap));
  const Replace replace = [&](const Entry& old) { return zeroed(old, unmap); };
  DOPPEL_CO_TRY(co_await replace_entries(whole_begin, whole_end - whole_begin, replace));
  if (whole_end < end) co_return co_await write_zero_bytes(whole_end, end - whole_end);
  co_return Result<>{};
}

std::optional<Entry> Image::zeroed(const Entry& old, Unmap unmap) const {
  if (old.unused() && !backing_) return std::nullopt;
  if (layout_.version == 2) return Entry{};
  Entry entry{.zero = layout_.all_subclusters()};
  const bool raw_data = (header_.autoclear & Header::kRawExternalData) != 0;
  if (old.host && old.copied && (unmap == Unmap::kKeep || raw_data)) {
    entry.host = old.host;
    entry.copied = true;
  }
  return entry;
}

/// What reads as zeroes already is left alone.
Task<Result<>> Image::write_zero_bytes(std::uint64_t offset, std::uint64_t length) {
  const std::vector<std::byte> zeroes(std::min<std::uint64_t>(length, kZeroBuffer));
  while (length > 0) {
    DOPPEL_CO_ASSIGN(const Extent extent, co_await look_up(offset, std::min<std::uint64_t>(length, zeroes.size())));
    const bool zero = extent.kind == Kind::kZero || (extent.kind == Kind::kUnallocated && !backing_);
    const IoView part = IoView(std::span<const std::byte>(zeroes)).slice(0, static_cast<std::size_t>(extent.length));
    if (!zero) DOPPEL_CO_TRY(co_await write_any(offset, part));
    offset += extent.length;
    length -= extent.length;
  }
  co_return Result<>{};
}

Task<Result<>> Image::discard(std::uint64_t offset, std::uint64_t length) {
  DOPPEL_CO_TRY(check_range(offset, length));
  bitmaps_.mark(offset, length);
  if (layout_.version == 2 && backing_) co_return Result<>{};  // old bytes of the backing node must not come back
  DOPPEL_CO_TRY(co_await settle());
  const auto gate = co_await gate_.lock_shared();
  const std::uint64_t end = offset + length;
  const std::uint64_t whole_begin = align_up(offset, layout_.cluster_size());
  const std::uint64_t whole_end =
      end == size() ? align_up(end, layout_.cluster_size()) : align_down(end, layout_.cluster_size());
  if (whole_begin >= whole_end) co_return Result<>{};
  const Replace replace = [this](const Entry& old) { return discarded(old); };
  DOPPEL_CO_TRY(co_await replace_entries(whole_begin, whole_end - whole_begin, replace));
  if (data_) co_return co_await data_->discard(whole_begin, whole_end - whole_begin);
  co_return Result<>{};
}

std::optional<Entry> Image::discarded(const Entry& old) const {
  if (!old.host && !old.compressed) return std::nullopt;
  if (!backing_) return Entry{};
  return Entry{.zero = layout_.all_subclusters()};
}

/// Of whole clusters; goes from L2 table to L2 table and skips what no table maps, unless a backing node shows there.
Task<Result<>> Image::replace_entries(std::uint64_t offset, std::uint64_t length, const Replace& replace) {
  const std::uint64_t end = offset + length;
  while (offset < end) {
    const std::uint64_t part_end = std::min(end, offset + layout_.l2_coverage() - offset % layout_.l2_coverage());
    const auto range = co_await ranges_.lock(offset >> layout_.cluster_bits, part_end >> layout_.cluster_bits);
    const auto guard = co_await metadata_.lock();
    DOPPEL_CO_ASSIGN(TablePtr table, co_await mapping_.table(offset));
    bool changing = false;
    for (; offset < part_end; offset += layout_.cluster_size()) {
      const std::size_t index = mapping_.index_in_table(offset);
      Entry old;
      if (table) {
        DOPPEL_CO_ASSIGN(old, mapping_.entry(*table, index));
      }
      const std::optional<Entry> entry = replace(old);
      if (!entry) continue;
      if (!std::exchange(changing, true)) {
        DOPPEL_CO_ASSIGN(table, co_await mapping_.table_to_change(offset));
      }
      if (entry->host != old.host || old.compressed) retire(old);
      mapping_.set_entry(*table, index, *entry);
    }
    if (mapping_.crowded() || refcounts_.crowded()) DOPPEL_CO_TRY(co_await commit(Counts::kMayWait));
  }
  co_return Result<>{};
}

Task<Result<CompressedTarget::Packed>> Image::pack(IoView from) {
  if (from.size() > layout_.cluster_size())
    co_return fail(ErrorKind::kInvalidArgument, "only whole clusters can be written compressed");
  if (data_)
    co_return fail(ErrorKind::kUnsupported, "an image with an external data file cannot hold compressed clusters");
  if (crypt_) co_return fail(ErrorKind::kUnsupported, "an encrypted image cannot hold compressed clusters");
  std::function<Packed()> work = [&] {
    if (const auto run = from.run(); run.size() == layout_.cluster_size()) return compress(header_.compression, run);
    std::vector<std::byte> cluster(layout_.cluster_size());
    from.copy_to(cluster.data());
    return compress(header_.compression, cluster);
  };
  co_return co_await in_worker(context_.compute_workers(), work);
}

Task<Result<>> Image::write_packed(std::uint64_t offset, IoView from, Packed packed) {
  DOPPEL_CO_TRY(check_range(offset, from.size()));
  bitmaps_.mark(offset, from.size());
  if (layout_.in_cluster(offset) != 0)
    co_return fail(ErrorKind::kInvalidArgument, "only whole clusters can be written compressed");
  if (!packed) co_return co_await write_unrecorded(offset, from);

  DOPPEL_CO_TRY(co_await settle());
  const auto gate = co_await gate_.lock_shared();
  const auto range = co_await ranges_.lock(offset >> layout_.cluster_bits, (offset >> layout_.cluster_bits) + 1);
  std::uint64_t place = 0;
  {
    const auto guard = co_await metadata_.lock();
    DOPPEL_CO_ASSIGN(place, co_await allocate_compressed(packed->size()));
  }
  file_->debug_event("write_compressed");
  DOPPEL_CO_TRY(co_await file_->write(place, std::span<const std::byte>(*packed)));
  const auto guard = co_await metadata_.lock();
  DOPPEL_CO_ASSIGN(const TablePtr table, co_await mapping_.table_to_change(offset));
  const std::size_t index = mapping_.index_in_table(offset);
  DOPPEL_CO_ASSIGN(const Entry old, mapping_.entry(*table, index));
  retire(old);
  mapping_.set_entry(*table, index, Entry{.compressed = CompressedPlace{place, packed->size()}});
  if (mapping_.crowded() || refcounts_.crowded()) co_return co_await commit(Counts::kMayWait);
  co_return Result<>{};
}

/// Behind the last compressed cluster, if it fits into the same cluster or the next one happens to be free; else in a
/// new one. Each compressed cluster is one user of every host cluster that it touches.
Task<Result<std::uint64_t>> Image::allocate_compressed(std::uint64_t length) {
  const std::uint64_t used = layout_.in_cluster(compressed_end_);
  const std::uint64_t current = compressed_end_ >> layout_.cluster_bits;
  bool shareable = used != 0;
  if (shareable) {
    DOPPEL_CO_ASSIGN(const std::uint64_t users, co_await refcounts_.get(current));
    shareable = users > 0 && users < layout_.max_refcount();
  }
  std::uint64_t place = compressed_end_;
  if (!shareable || used + length > layout_.cluster_size()) {
    DOPPEL_CO_ASSIGN(const std::uint64_t next, co_await refcounts_.allocate(1));
    shareable = shareable && next == (current + 1) << layout_.cluster_bits;
    if (!shareable) place = next;
  }
  if (shareable) DOPPEL_CO_TRY(co_await refcounts_.increment(current));
  compressed_end_ = place + length;
  co_return place;
}

}  // namespace doppel::block::qcow2
