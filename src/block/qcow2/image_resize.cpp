// Changing a qcow2 image's size, allocating ahead, and emptying it.
#include <algorithm>
#include <bit>

#include "block/qcow2/image.h"

namespace doppel::block::qcow2 {

namespace {

Result<> check_bitmaps_fit(const std::vector<BitmapInfo>& bitmaps, const Layout& layout, std::uint64_t new_size) {
  for (const BitmapInfo& bitmap : bitmaps) {
    const auto granularity_bits = static_cast<unsigned>(std::countr_zero(bitmap.granularity));
    const std::uint64_t clusters = bitmap_clusters(layout, new_size, granularity_bits);
    if (!bitmap.inconsistent && clusters > kMaxBitmapBytes >> layout.cluster_bits)
      return fail(ErrorKind::kInvalidArgument, "bitmap '{}' would become too large; remove it first", bitmap.name);
  }
  return {};
}

}  // namespace

Task<Result<>> Image::resize(std::uint64_t new_size, Preallocation preallocation) {
  if (new_size == size()) co_return Result<>{};
  if (!snapshots_.empty() && layout_.version == 2)
    co_return fail(ErrorKind::kUnsupported, "a version 2 image with snapshots cannot be resized");
  if (new_size < size()) {
    if (preallocation != Preallocation::kOff)
      co_return fail(ErrorKind::kInvalidArgument, "preallocation cannot be used for shrinking");
    co_return co_await shrink(new_size);
  }
  if (preallocation != Preallocation::kOff && backing_)
    co_return fail(ErrorKind::kUnsupported, "preallocation and a backing file do not go together");
  const std::uint64_t old_size = size();
  {
    const auto gate = co_await gate_.lock();
    const auto guard = co_await metadata_.lock();
    const std::uint64_t entries = layout_.l1_entries(new_size);
    if (new_size > std::uint64_t{1} << 62 || entries * 8 > kMaxL1Bytes)
      co_return fail(ErrorKind::kInvalidArgument, "{} bytes are too many for clusters of {} bytes", new_size,
                     layout_.cluster_size());
    DOPPEL_CO_TRY(check_bitmaps_fit(bitmaps_.list(), layout_, new_size));
    DOPPEL_CO_TRY(co_await commit());
    DOPPEL_CO_TRY(co_await bitmaps_.begin_resize());
    if (entries > header_.l1_entries) DOPPEL_CO_TRY(co_await grow_l1(entries));
    header_.size = new_size;
    DOPPEL_CO_TRY(co_await write_header_fields(*file_, header_));
    DOPPEL_CO_TRY(co_await file_->flush());
    bitmaps_.end_resize();
  }
  if (data_ && data_->size() < new_size) DOPPEL_CO_TRY(co_await data_->resize(new_size, Preallocation::kOff));
  // What the last cluster or the backing node has behind the old end must not come to light.
  const std::uint64_t backing_end = backing_ ? backing_->size() : 0;
  const std::uint64_t hide_end = std::min(new_size, std::max(backing_end, align_up(old_size, layout_.cluster_size())));
  if (hide_end > old_size) DOPPEL_CO_TRY(co_await zero_unrecorded(old_size, hide_end - old_size, Unmap::kMayUnmap));
  if (preallocation == Preallocation::kOff) co_return Result<>{};
  co_return co_await preallocate(old_size, new_size - old_size, preallocation);
}

/// With gate and metadata lock, and nothing dirty. The header names the new table when that is durable.
Task<Result<>> Image::grow_l1(std::uint64_t entries) {
  mapping_.l1().resize(entries);
  DOPPEL_CO_ASSIGN(const std::uint64_t place, co_await write_l1_copy(mapping_.l1()));
  DOPPEL_CO_TRY(co_await commit());
  const std::uint64_t old_place = header_.l1_offset;
  const std::uint64_t old_clusters = layout_.clusters(std::uint64_t{header_.l1_entries} * 8);
  header_.l1_offset = place;
  header_.l1_entries = static_cast<std::uint32_t>(entries);
  DOPPEL_CO_TRY(co_await write_header_fields(*file_, header_));
  DOPPEL_CO_TRY(co_await file_->flush());
  retire_clusters(old_place, old_clusters);
  co_return Result<>{};
}

/// Into clusters of its own, which it gives; not yet durable.
Task<Result<std::uint64_t>> Image::write_l1_copy(const std::vector<std::uint64_t>& l1) {
  std::vector<std::uint64_t> padded = l1;
  padded.resize(align_up(std::max<std::uint64_t>(l1.size(), 1), layout_.cluster_size() / 8));
  DOPPEL_CO_ASSIGN(const std::uint64_t place, co_await refcounts_.allocate(layout_.clusters(padded.size() * 8)));
  DOPPEL_CO_TRY(co_await write_numbers(*file_, place, padded));
  co_return place;
}

Task<Result<>> Image::shrink(std::uint64_t new_size) {
  const std::uint64_t old_end = align_up(size(), layout_.cluster_size());
  const std::uint64_t new_end = align_up(new_size, layout_.cluster_size());
  {
    const auto gate = co_await gate_.lock();
    const auto guard = co_await metadata_.lock();
    DOPPEL_CO_TRY(co_await commit());
    DOPPEL_CO_TRY(co_await bitmaps_.begin_resize());
    header_.size = new_size;
    DOPPEL_CO_TRY(co_await write_header_fields(*file_, header_));
    DOPPEL_CO_TRY(co_await file_->flush());
    bitmaps_.end_resize();
  }
  {
    const auto gate = co_await gate_.lock_shared();
    const Replace drop = [](const Entry& old) { return old.unused() ? std::nullopt : std::optional(Entry{}); };
    if (old_end > new_end) DOPPEL_CO_TRY(co_await replace_entries(new_end, old_end - new_end, drop));
  }
  if (data_) DOPPEL_CO_TRY(co_await data_->resize(new_size, Preallocation::kOff));
  co_return co_await flush();
}

Task<Result<>> Image::make_empty() {
  {
    const auto gate = co_await gate_.lock_shared();
    const Replace drop = [](const Entry& old) { return old.unused() ? std::nullopt : std::optional(Entry{}); };
    DOPPEL_CO_TRY(co_await replace_entries(0, align_up(size(), layout_.cluster_size()), drop));
  }
  co_return co_await flush();
}

Task<Result<>> Image::preallocate(std::uint64_t offset, std::uint64_t length, Preallocation how) {
  DOPPEL_CO_TRY(co_await map_all(offset, length));
  if (how == Preallocation::kFalloc) co_return co_await data().resize(data().size(), Preallocation::kFalloc);
  if (how == Preallocation::kFull) co_return co_await write_zero_data(offset, length);
  co_return Result<>{};
}

Task<Result<>> Image::write_zero_data(std::uint64_t offset, std::uint64_t length) {
  const std::vector<std::byte> zeroes(std::min<std::uint64_t>(length, kMiB));
  while (length > 0) {
    const auto part = static_cast<std::size_t>(std::min<std::uint64_t>(length, zeroes.size()));
    const std::span<const std::byte> bytes(zeroes.data(), part);
    DOPPEL_CO_TRY(co_await write_unrecorded(offset, bytes));
    offset += part;
    length -= part;
  }
  co_return Result<>{};
}

/// Gives each cluster a place that reads as zeroes.
Task<Result<>> Image::map_all(std::uint64_t offset, std::uint64_t length) {
  const auto gate = co_await gate_.lock_shared();
  const std::uint64_t end = offset + length;
  while (offset < end) {
    const std::uint64_t to_table_end = layout_.l2_coverage() - offset % layout_.l2_coverage();
    const std::uint64_t most = std::min(end - offset, to_table_end);
    const auto range = co_await ranges_.lock(offset >> layout_.cluster_bits, layout_.clusters(offset + most));
    DOPPEL_CO_ASSIGN(const Extent extent, co_await look_up(offset, most));
    std::uint64_t done = extent.length;
    if (!extent.in_place) {
      DOPPEL_CO_ASSIGN(const Allocation place, co_await allocate_for(offset, most));
      done = place.length;
      if (!data_ && !place.zero) {
        const std::uint64_t bytes = place.clusters << layout_.cluster_bits;
        DOPPEL_CO_TRY(co_await file_->write_zeroes(place.host, bytes, Unmap::kKeep));
      }
      const std::uint64_t host_end = place.host + (place.clusters << layout_.cluster_bits);
      if (!data_ && file_->size() < host_end) DOPPEL_CO_TRY(co_await file_->resize(host_end, Preallocation::kOff));
      DOPPEL_CO_TRY(co_await enter(place, offset, place.length));
    }
    offset += done;
  }
  co_return Result<>{};
}

Task<Result<>> Image::upgrade() {
  const auto gate = co_await gate_.lock();
  const auto guard = co_await metadata_.lock();
  if (header_.version == 3) co_return Result<>{};
  if (!snapshots_.empty())
    co_return fail(ErrorKind::kUnsupported, "an image with snapshots keeps its version; delete them first");
  DOPPEL_CO_TRY(co_await commit());
  Header changed = header_;
  changed.version = 3;
  DOPPEL_CO_TRY(co_await write_header(*file_, changed));
  header_ = std::move(changed);
  co_return co_await file_->flush();
}

Task<Result<>> Image::set_lazy_refcounts(bool lazy) {
  const auto gate = co_await gate_.lock();
  const auto guard = co_await metadata_.lock();
  if (header_.version == 2 && !lazy) co_return Result<>{};
  if (header_.version == 2)
    co_return fail(ErrorKind::kInvalidArgument, "lazy_refcounts needs version 3; add compat=1.1");
  Header changed = header_;
  changed.compatible &= ~Header::kLazyRefcounts;
  if (lazy) changed.compatible |= Header::kLazyRefcounts;
  DOPPEL_CO_TRY(co_await write_header_fields(*file_, changed));
  header_ = std::move(changed);
  co_return co_await file_->flush();
}

Task<Result<>> Image::change_backing(const std::string& file, const std::string& format) {
  const auto gate = co_await gate_.lock();
  const auto guard = co_await metadata_.lock();
  DOPPEL_CO_TRY(co_await commit());
  if (file.size() > kMaxBackingNameBytes)
    co_return fail(ErrorKind::kInvalidArgument, "the backing file's name has more than {} bytes", kMaxBackingNameBytes);
  Header changed = header_;
  changed.backing_file = file;
  changed.backing_format = file.empty() ? "" : format;
  DOPPEL_CO_TRY(co_await write_header(*file_, changed));
  header_ = std::move(changed);
  co_return co_await file_->flush();
}

}  // namespace doppel::block::qcow2
