#include "block/qcow2/mapping.h"

#include <algorithm>

namespace doppel::block::qcow2 {

namespace {

constexpr std::size_t kCacheBytes = 8 * kMiB;

}  // namespace

Mapping::Mapping(Node& file, const Header& header, Refcounts& refcounts, std::vector<std::uint64_t>& retired)
    : file_(file),
      header_(header),
      layout_(header.layout()),
      refcounts_(refcounts),
      retired_(retired),
      tables_(file, layout_.cluster_size(), kCacheBytes, {"l2_load", "l2_update"}) {}

Task<Result<>> Mapping::load() {
  DOPPEL_CO_ASSIGN(l1_, co_await read_numbers(file_, header_.l1_offset, header_.l1_entries));
  dirty_begin_ = dirty_end_ = 0;
  co_return Result<>{};
}

Task<Result<TablePtr>> Mapping::table(std::uint64_t offset) {
  const std::uint64_t index = offset / layout_.l2_coverage();
  if (index >= l1_.size()) co_return TablePtr{};
  const std::uint64_t place = l1_[index] & kOffsetMask;
  if (place == 0) co_return TablePtr{};
  if (layout_.in_cluster(place) != 0)
    co_return fail(ErrorKind::kCorrupt, "the L2 table at offset {:#x} is not aligned", place);
  co_return co_await tables_.load(place);
}

Task<Result<TablePtr>> Mapping::table_to_change(std::uint64_t offset) {
  DOPPEL_CO_ASSIGN(const TablePtr old, co_await table(offset));
  const auto index = static_cast<std::size_t>(offset / layout_.l2_coverage());
  if (index >= l1_.size()) co_return fail(ErrorKind::kInternal, "the L1 table ends before offset {:#x}", offset);
  if (old && (l1_[index] & kCopiedFlag) != 0) co_return old;
  DOPPEL_CO_ASSIGN(const std::uint64_t place, co_await refcounts_.allocate(1));
  file_.debug_event("l2_alloc_write");
  const TablePtr table = tables_.create(place);
  if (old) {
    table->bytes = old->bytes;
    retired_.push_back(old->offset);
  }
  set_l1(index, place | kCopiedFlag);
  co_return table;
}

void Mapping::set_l1(std::size_t index, std::uint64_t value) {
  l1_[index] = value;
  if (dirty_begin_ >= dirty_end_) dirty_begin_ = dirty_end_ = index;
  dirty_begin_ = std::min(dirty_begin_, index);
  dirty_end_ = std::max(dirty_end_, index + 1);
}

void Mapping::mark_l1_dirty() {
  dirty_begin_ = 0;
  dirty_end_ = l1_.size();
}

Task<Result<>> Mapping::write_all() {
  DOPPEL_CO_TRY(co_await tables_.write_all());
  if (dirty_begin_ >= dirty_end_) co_return Result<>{};
  const std::span<const std::uint64_t> changed(l1_.data() + dirty_begin_, dirty_end_ - dirty_begin_);
  file_.debug_event("l1_update");
  DOPPEL_CO_TRY(co_await write_numbers(file_, header_.l1_offset + dirty_begin_ * 8, changed));
  dirty_begin_ = dirty_end_ = 0;
  co_return Result<>{};
}

}  // namespace doppel::block::qcow2
