#include "block/qcow2/refcounts.h"

#include <algorithm>

#include "base/bits.h"
#include "base/endian.h"

namespace doppel::block::qcow2 {

namespace {

constexpr std::size_t kCacheBytes = 4 * kMiB;
constexpr std::uint64_t kEntryMask = ~low_mask(9);
/// What may be allocated and not yet written, behind the end of the file.
constexpr std::uint64_t kMaxClustersAhead = std::uint64_t{1} << 22;

}  // namespace

std::uint64_t load_refcount(const std::byte* block, std::uint64_t index, unsigned order) {
  switch (order) {
    case 3: return std::to_integer<std::uint64_t>(block[index]);
    case 4: return load_be<std::uint16_t>(block + index * 2);
    case 5: return load_be<std::uint32_t>(block + index * 4);
    case 6: return load_be<std::uint64_t>(block + index * 8);
    default: break;
  }
  // Several in a byte, the first one in its low bits.
  const unsigned width = 1U << order;
  const std::uint64_t per_byte = 8 / width;
  return (std::to_integer<std::uint64_t>(block[index / per_byte]) >> (index % per_byte * width)) & low_mask(width);
}

void store_refcount(std::byte* block, std::uint64_t index, unsigned order, std::uint64_t value) {
  switch (order) {
    case 3: block[index] = static_cast<std::byte>(value); return;
    case 4: store_be(block + index * 2, static_cast<std::uint16_t>(value)); return;
    case 5: store_be(block + index * 4, static_cast<std::uint32_t>(value)); return;
    case 6: store_be(block + index * 8, value); return;
    default: break;
  }
  const unsigned width = 1U << order;
  const std::uint64_t per_byte = 8 / width;
  const auto shift = static_cast<unsigned>(index % per_byte * width);
  const auto old = std::to_integer<unsigned>(block[index / per_byte]);
  const auto mask = static_cast<unsigned>(low_mask(width)) << shift;
  block[index / per_byte] = static_cast<std::byte>((old & ~mask) | static_cast<unsigned>(value) << shift);
}

Refcounts::Refcounts(Node& file, Header& header)
    : file_(file),
      header_(header),
      layout_(header.layout()),
      blocks_(file, layout_.cluster_size(), kCacheBytes, {"refblock_load", "refblock_update"}) {}

Task<Result<>> Refcounts::load() {
  const std::uint64_t entries = header_.refcount_table_clusters * layout_.cluster_size() / 8;
  file_.debug_event("reftable_load");
  DOPPEL_CO_ASSIGN(table_, co_await read_numbers(file_, header_.refcount_table_offset, entries));
  for (std::uint64_t& entry : table_) entry &= kEntryMask;
  blocks_.clear();
  dirty_begin_ = dirty_end_ = 0;
  hint_ = 1;
  co_return Result<>{};
}

/// The block with refcount table entry INDEX; null if there is none.
Task<Result<TablePtr>> Refcounts::block(std::uint64_t index) {
  if (index >= table_.size() || table_[index] == 0) co_return TablePtr{};
  const std::uint64_t offset = table_[index];
  if (layout_.in_cluster(offset) != 0 || offset >= kMaxHostOffset)
    co_return fail(ErrorKind::kCorrupt, "refcount block {} has the impossible offset {:#x}", index, offset);
  co_return co_await blocks_.load(offset);
}

Task<Result<std::uint64_t>> Refcounts::get(std::uint64_t cluster) {
  DOPPEL_CO_ASSIGN(const TablePtr found, co_await block(cluster / layout_.refcounts_per_block()));
  if (!found) co_return std::uint64_t{0};
  co_return load_refcount(found->bytes.data(), cluster % layout_.refcounts_per_block(), layout_.refcount_order);
}

Task<Result<>> Refcounts::increment(std::uint64_t cluster) {
  std::uint64_t ignored = 0;
  co_return co_await change(cluster, layout_.max_refcount() - 1, 1, ignored);
}

Task<Result<std::uint64_t>> Refcounts::decrement(std::uint64_t cluster) {
  std::uint64_t left = 0;
  DOPPEL_CO_TRY(co_await change(cluster, layout_.max_refcount(), -1, left));
  if (left == 0) hint_ = std::min(hint_, std::max<std::uint64_t>(cluster, 1));
  co_return left;
}

Task<Result<>> Refcounts::change(std::uint64_t cluster, std::uint64_t from_most, std::int64_t by,
                                 std::uint64_t& result) {
  DOPPEL_CO_ASSIGN(const TablePtr found, co_await block(cluster / layout_.refcounts_per_block()));
  const std::uint64_t place = cluster % layout_.refcounts_per_block();
  const std::uint64_t old = found ? load_refcount(found->bytes.data(), place, layout_.refcount_order) : 0;
  if (old == 0)
    co_return fail(ErrorKind::kCorrupt, "the cluster at offset {:#x} is in use, but its refcount is 0",
                   cluster << layout_.cluster_bits);
  if (old > from_most)
    co_return fail(ErrorKind::kUnsupported,
                   "a cluster would have more than {} users, which refcounts of {} bits cannot count",
                   layout_.max_refcount(), layout_.refcount_bits());
  result = old + static_cast<std::uint64_t>(by);
  store_refcount(found->bytes.data(), place, layout_.refcount_order, result);
  blocks_.mark_dirty(*found);
  co_return Result<>{};
}

Task<Result<std::uint64_t>> Refcounts::allocate(std::uint64_t clusters) {
  file_.debug_event("cluster_alloc");
  DOPPEL_CO_ASSIGN(const Run run, co_await find_run(clusters, clusters));
  co_return run.offset;
}

Task<Result<Refcounts::Run>> Refcounts::allocate_run(std::uint64_t most) {
  file_.debug_event("cluster_alloc");
  co_return co_await find_run(1, most);
}

/// The first free run of at least LEAST clusters, taken up to MOST of them. A cluster whose refcount block is missing
/// becomes that block: it then counts itself, and nothing else has to be allocated for it.
Task<Result<Refcounts::Run>> Refcounts::find_run(std::uint64_t least, std::uint64_t most) {
  const std::uint64_t per_block = layout_.refcounts_per_block();
  std::uint64_t first_free = 0;
  std::uint64_t begin = hint_;
  std::uint64_t end = hint_;
  while (end - begin < most) {
    if (end >= kMaxHostOffset >> layout_.cluster_bits)
      co_return fail(ErrorKind::kNoSpace, "the image has no room left");
    if (end > layout_.clusters(file_.size()) + kMaxClustersAhead)
      co_return fail(ErrorKind::kCorrupt, "the refcounts say that far more clusters are in use than the file has");
    const std::uint64_t index = end / per_block;
    if (index >= table_.size()) {
      if (end - begin >= least) break;
      DOPPEL_CO_TRY(co_await grow_table(index));
      begin = end = hint_;  // the new table may have taken what was counted so far
      first_free = 0;
      continue;
    }
    DOPPEL_CO_ASSIGN(TablePtr counts, co_await block(index));
    if (!counts) {
      if (end - begin >= least) break;
      DOPPEL_CO_ASSIGN(counts, create_block(index, end));
      begin = ++end;
      continue;
    }
    const std::uint64_t block_end = (index + 1) * per_block;
    for (; end < block_end && end - begin < most; ++end) {
      if (load_refcount(counts->bytes.data(), end % per_block, layout_.refcount_order) == 0) {
        if (first_free == 0) first_free = end;
        continue;
      }
      if (end - begin >= least) break;
      begin = end + 1;
    }
    if (end < block_end) break;  // somebody's cluster, or enough
  }
  for (std::uint64_t cluster = begin; cluster < end; ++cluster) {
    DOPPEL_CO_ASSIGN(const TablePtr counts, co_await block(cluster / per_block));
    store_refcount(counts->bytes.data(), cluster % per_block, layout_.refcount_order, 1);
    blocks_.mark_dirty(*counts);
  }
  hint_ = first_free == begin || first_free == 0 ? end : first_free;
  co_return Run{begin << layout_.cluster_bits, end - begin};
}

Result<TablePtr> Refcounts::create_block(std::uint64_t index, std::uint64_t cluster) {
  file_.debug_event("refblock_alloc");
  TablePtr counts = blocks_.create(cluster << layout_.cluster_bits);
  store_refcount(counts->bytes.data(), cluster % layout_.refcounts_per_block(), layout_.refcount_order, 1);
  table_[index] = counts->offset;
  mark_entry_dirty(index);
  return counts;
}

void Refcounts::mark_entry_dirty(std::uint64_t index) {
  if (!table_dirty()) dirty_begin_ = dirty_end_ = index;
  dirty_begin_ = std::min(dirty_begin_, index);
  dirty_end_ = std::max(dirty_end_, index + 1);
}

/// To half as much again, at a new place. The old one stays until the header on disk names the new one.
Task<Result<>> Refcounts::grow_table(std::uint64_t index) {
  if (moved()) {  // not twice without the disk having seen the first
    DOPPEL_CO_TRY(co_await write_blocks());
    DOPPEL_CO_TRY(co_await file_.flush());
    DOPPEL_CO_TRY(co_await write_table());
  }
  const std::uint64_t entries_per_cluster = layout_.cluster_size() / 8;
  const std::uint64_t wanted = std::max(index + 1, table_.size() + table_.size() / 2);
  const std::uint64_t clusters = (wanted + entries_per_cluster - 1) / entries_per_cluster;
  if (clusters * layout_.cluster_size() > kMaxRefcountTableBytes)
    co_return fail(ErrorKind::kNoSpace, "the image's refcount table cannot grow any further");
  table_.resize(clusters * entries_per_cluster);  // so that the new table's own clusters can be counted
  DOPPEL_CO_ASSIGN(const std::uint64_t offset, co_await allocate(clusters));
  old_table_ = {header_.refcount_table_offset, header_.refcount_table_clusters};
  header_.refcount_table_offset = offset;
  header_.refcount_table_clusters = static_cast<std::uint32_t>(clusters);
  co_return Result<>{};
}

Task<Result<>> Refcounts::write_table() {
  if (!table_dirty() && !moved()) co_return Result<>{};
  const std::uint64_t begin = moved() ? 0 : dirty_begin_;
  const std::uint64_t end = moved() ? table_.size() : dirty_end_;
  const std::span<const std::uint64_t> changed(table_.data() + begin, end - begin);
  file_.debug_event(moved() ? "refblock_alloc_write_table" : "refblock_alloc_hookup");
  DOPPEL_CO_TRY(co_await write_numbers(file_, header_.refcount_table_offset + begin * 8, changed));
  DOPPEL_CO_TRY(co_await file_.flush());
  dirty_begin_ = dirty_end_ = 0;
  if (!moved()) co_return Result<>{};
  file_.debug_event("refblock_alloc_switch_table");
  DOPPEL_CO_TRY(co_await write_header_fields(file_, header_));
  DOPPEL_CO_TRY(co_await file_.flush());
  const Run old = std::exchange(old_table_, {});
  for (std::uint64_t i = 0; i < old.clusters; ++i)
    DOPPEL_CO_TRY(co_await decrement((old.offset >> layout_.cluster_bits) + i));
  co_return Result<>{};
}

}  // namespace doppel::block::qcow2
