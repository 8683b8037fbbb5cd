// Internal snapshots of a qcow2 image: more than one L1 table over the same clusters.
#include <algorithm>
#include <chrono>

#include "block/qcow2/check.h"
#include "block/qcow2/checker.h"
#include "block/qcow2/image.h"

namespace doppel::block::qcow2 {

/// One user more of all that L1 names; all of it or, on an error, nothing.
Task<Result<>> Image::add_references(const std::vector<std::uint64_t>& l1) {
  std::uint64_t added = 0;
  const Visit add = [&](std::uint64_t cluster) -> Task<Result<>> {
    DOPPEL_CO_TRY(co_await refcounts_.increment(cluster >> layout_.cluster_bits));
    ++added;
    if (refcounts_.crowded()) co_return co_await refcounts_.write_blocks();
    co_return Result<>{};
  };
  const auto result = co_await visit_references(l1, add);
  if (result) co_return result;
  const Visit take_back = [&](std::uint64_t cluster) -> Task<Result<>> {
    if (added == 0) co_return Result<>{};
    --added;
    retire_clusters(cluster, 1);
    co_return Result<>{};
  };
  DOPPEL_CO_TRY(co_await visit_references(l1, take_back));
  co_return result;
}

/// And one less, once that is safe.
Task<Result<>> Image::drop_references(const std::vector<std::uint64_t>& l1) {
  const Visit drop = [this](std::uint64_t cluster) -> Task<Result<>> {
    retire_clusters(cluster, 1);
    co_return Result<>{};
  };
  co_return co_await visit_references(l1, drop);
}

/// Calls VISIT with the offset of each cluster that L1 names, as often as it does. The tables are read from the file.
Task<Result<>> Image::visit_references(const std::vector<std::uint64_t>& l1, const Visit& visit) {
  std::vector<std::byte> table(layout_.cluster_size());
  for (const std::uint64_t l1_entry : l1) {
    const std::uint64_t l2 = l1_entry & kOffsetMask;
    if (l2 == 0) continue;
    if (layout_.in_cluster(l2) != 0)
      co_return fail(ErrorKind::kCorrupt, "the L2 table at offset {:#x} is not aligned", l2);
    DOPPEL_CO_TRY(co_await file_->read(l2, std::span<std::byte>(table)));
    for (std::size_t i = 0; i < layout_.l2_entries(); ++i) {
      DOPPEL_CO_ASSIGN(const Entry entry, decode_entry(layout_, table.data() + i * layout_.l2_entry_size()));
      if (entry.compressed) {
        const std::uint64_t end = entry.compressed->offset + entry.compressed->length;
        std::uint64_t cluster = align_down(entry.compressed->offset, layout_.cluster_size());
        for (; cluster < end; cluster += layout_.cluster_size()) DOPPEL_CO_TRY(co_await visit(cluster));
      } else if (entry.host && !data_) {
        DOPPEL_CO_TRY(co_await visit(*entry.host));
      }
    }
    DOPPEL_CO_TRY(co_await visit(l2));
  }
  co_return Result<>{};
}

/// In the active tables, by the refcounts as they are.
Task<Result<>> Image::set_copied_flags() {
  for (std::uint64_t& l1_entry : mapping_.l1()) {
    const std::uint64_t l2 = l1_entry & kOffsetMask;
    if (l2 == 0) continue;
    DOPPEL_CO_ASSIGN(const std::uint64_t users, co_await refcounts_.get(l2 >> layout_.cluster_bits));
    l1_entry = users == 1 ? l1_entry | kCopiedFlag : l1_entry & ~kCopiedFlag;
    DOPPEL_CO_ASSIGN(const TablePtr table, co_await mapping_.tables().load(l2));
    DOPPEL_CO_TRY(co_await set_copied_flags_of(*table));
    if (mapping_.crowded()) DOPPEL_CO_TRY(co_await commit());
  }
  mapping_.mark_l1_dirty();
  co_return Result<>{};
}

Task<Result<>> Image::set_copied_flags_of(Table& table) {
  if (data_) co_return Result<>{};  // its clusters are not counted
  for (std::size_t i = 0; i < layout_.l2_entries(); ++i) {
    DOPPEL_CO_ASSIGN(Entry entry, mapping_.entry(table, i));
    if (!entry.host) continue;
    DOPPEL_CO_ASSIGN(const std::uint64_t users, co_await refcounts_.get(*entry.host >> layout_.cluster_bits));
    if ((users == 1) == entry.copied) continue;
    entry.copied = users == 1;
    mapping_.set_entry(table, i, entry);
  }
  co_return Result<>{};
}

/// Commits everything else first; the header names the new table when that is durable.
Task<Result<>> Image::replace_snapshot_table(std::vector<Snapshot> snapshots) {
  DOPPEL_CO_ASSIGN(const std::vector<std::byte> bytes, encode_snapshots(snapshots));
  std::uint64_t place = 0;
  if (!bytes.empty()) {
    DOPPEL_CO_ASSIGN(place, co_await refcounts_.allocate(layout_.clusters(bytes.size())));
    DOPPEL_CO_TRY(co_await file_->write(place, std::span<const std::byte>(bytes)));
  }
  DOPPEL_CO_TRY(co_await file_->flush());
  DOPPEL_CO_TRY(co_await commit());
  const std::uint64_t old_place = std::exchange(header_.snapshots_offset, place);
  const std::uint64_t old_bytes = std::exchange(snapshot_table_bytes_, bytes.size());
  header_.snapshot_count = static_cast<std::uint32_t>(snapshots.size());
  snapshots_ = std::move(snapshots);
  DOPPEL_CO_TRY(co_await write_header_fields(*file_, header_));
  DOPPEL_CO_TRY(co_await file_->flush());
  retire_clusters(old_place, layout_.clusters(old_bytes));
  co_return Result<>{};
}

/// As QEMU looks for one: an id goes before a name.
Result<std::size_t> Image::find_snapshot(const std::string& wanted) const {
  for (std::size_t i = 0; i < snapshots_.size(); ++i)
    if (snapshots_[i].info.id == wanted) return i;
  for (std::size_t i = 0; i < snapshots_.size(); ++i)
    if (snapshots_[i].info.name == wanted) return i;
  return fail(ErrorKind::kNotFound, "there is no snapshot '{}'", wanted);
}

Task<Result<>> Image::view_snapshot(const std::string& wanted) {
  if (!read_only()) co_return fail(ErrorKind::kInternal, "only an image that is open for reading shows a snapshot");
  const auto gate = co_await gate_.lock();
  const auto guard = co_await metadata_.lock();
  DOPPEL_CO_ASSIGN(const std::size_t index, find_snapshot(wanted));
  DOPPEL_CO_ASSIGN(mapping_.l1(),
                   co_await read_numbers(*file_, snapshots_[index].l1_offset, snapshots_[index].l1_entries));
  header_.size = snapshots_[index].info.disk_size;
  co_return Result<>{};
}

Task<Result<>> Image::create_snapshot(const std::string& name) {
  if (data_) co_return fail(ErrorKind::kUnsupported, "an image with an external data file cannot have snapshots");
  if (name.size() > 0xffff) co_return fail(ErrorKind::kInvalidArgument, "the snapshot's name is too long");
  const auto gate = co_await gate_.lock();
  const auto guard = co_await metadata_.lock();
  DOPPEL_CO_TRY(co_await commit());
  DOPPEL_CO_TRY(co_await give_up_retired());
  DOPPEL_CO_TRY(co_await commit());
  std::uint64_t id = 0;
  for (const Snapshot& snapshot : snapshots_)
    id = std::max<std::uint64_t>(id, std::strtoull(snapshot.info.id.c_str(), nullptr, 10));

  std::vector<std::uint64_t> l1 = mapping_.l1();
  DOPPEL_CO_TRY(co_await add_references(l1));
  for (std::uint64_t& entry : l1) entry &= ~kCopiedFlag;
  DOPPEL_CO_ASSIGN(const std::uint64_t place, co_await write_l1_copy(l1));
  DOPPEL_CO_TRY(co_await set_copied_flags());

  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now);
  Snapshot snapshot{.info = {}, .l1_offset = place, .l1_entries = static_cast<std::uint32_t>(l1.size())};
  snapshot.info.id = std::to_string(id + 1);
  snapshot.info.name = name;
  snapshot.info.date_s = static_cast<std::uint64_t>(seconds.count());
  snapshot.info.date_ns = static_cast<std::uint32_t>(std::chrono::nanoseconds(now - seconds).count());
  snapshot.info.disk_size = header_.size;
  std::vector<Snapshot> snapshots = snapshots_;
  snapshots.push_back(std::move(snapshot));
  co_return co_await replace_snapshot_table(std::move(snapshots));
}

Task<Result<>> Image::delete_snapshot(const std::string& wanted) {
  const auto gate = co_await gate_.lock();
  const auto guard = co_await metadata_.lock();
  DOPPEL_CO_TRY(co_await commit());
  DOPPEL_CO_ASSIGN(const std::size_t index, find_snapshot(wanted));
  const Snapshot gone = snapshots_[index];
  DOPPEL_CO_ASSIGN(const std::vector<std::uint64_t> l1, co_await read_numbers(*file_, gone.l1_offset, gone.l1_entries));
  std::vector<Snapshot> snapshots = snapshots_;
  snapshots.erase(snapshots.begin() + static_cast<std::ptrdiff_t>(index));
  DOPPEL_CO_TRY(co_await replace_snapshot_table(std::move(snapshots)));
  DOPPEL_CO_TRY(co_await drop_references(l1));
  retire_clusters(gone.l1_offset, layout_.clusters(std::max<std::uint64_t>(gone.l1_entries, 1) * 8));
  given_up_.insert(given_up_.end(), retired_.begin(), retired_.end());
  retired_.clear();
  DOPPEL_CO_TRY(co_await give_up_retired());
  DOPPEL_CO_TRY(co_await set_copied_flags());
  co_return co_await commit();
}

Task<Result<>> Image::apply_snapshot(const std::string& wanted) {
  const auto gate = co_await gate_.lock();
  const auto guard = co_await metadata_.lock();
  DOPPEL_CO_TRY(co_await commit());
  DOPPEL_CO_ASSIGN(const std::size_t index, find_snapshot(wanted));
  if (!bitmaps_.empty())
    co_return fail(ErrorKind::kUnsupported,
                   "the image has bitmaps, which do not know what another state has changed; remove them first");
  const Snapshot& snapshot = snapshots_[index];
  const std::vector<std::uint64_t> old_l1 = mapping_.l1();
  DOPPEL_CO_ASSIGN(std::vector<std::uint64_t> l1,
                   co_await read_numbers(*file_, snapshot.l1_offset, snapshot.l1_entries));
  l1.resize(std::max<std::size_t>(l1.size(), layout_.l1_entries(snapshot.info.disk_size)));
  if (l1.size() * 8 > kMaxL1Bytes) co_return fail(ErrorKind::kCorrupt, "the snapshot's disk is too large");
  DOPPEL_CO_TRY(co_await add_references(l1));
  for (std::uint64_t& entry : l1) entry &= ~kCopiedFlag;
  DOPPEL_CO_ASSIGN(const std::uint64_t place, co_await write_l1_copy(l1));
  DOPPEL_CO_TRY(co_await file_->flush());
  DOPPEL_CO_TRY(co_await commit());

  const std::uint64_t old_clusters = layout_.clusters(std::uint64_t{header_.l1_entries} * 8);
  const std::uint64_t old_place = std::exchange(header_.l1_offset, place);
  header_.l1_entries = static_cast<std::uint32_t>(l1.size());
  header_.size = snapshot.info.disk_size;
  DOPPEL_CO_TRY(co_await write_header_fields(*file_, header_));
  DOPPEL_CO_TRY(co_await file_->flush());
  mapping_.l1() = std::move(l1);
  mapping_.forget_tables();

  DOPPEL_CO_TRY(co_await drop_references(old_l1));
  retire_clusters(old_place, old_clusters);
  given_up_.insert(given_up_.end(), retired_.begin(), retired_.end());
  retired_.clear();
  DOPPEL_CO_TRY(co_await give_up_retired());
  DOPPEL_CO_TRY(co_await set_copied_flags());
  co_return co_await commit();
}

Task<Result<CheckResult>> Image::check(Repair repair) {
  const auto gate = co_await gate_.lock();
  const auto guard = co_await metadata_.lock();
  DOPPEL_CO_TRY(co_await commit());
  if (!read_only()) {
    DOPPEL_CO_TRY(co_await give_up_retired());
    DOPPEL_CO_TRY(co_await commit());
  }
  Checker checker(*file_, header_, snapshots_, snapshot_table_bytes_);
  auto result = co_await checker.run(repair);
  if (repair != Repair::kNone) {
    mapping_.forget_tables();
    DOPPEL_CO_TRY(co_await mapping_.load());
    DOPPEL_CO_TRY(co_await refcounts_.load());
  }
  if (!result || repair != Repair::kAll || purpose_ != Purpose::kRepair || result->broken_bitmaps == 0)
    co_return result;
  DOPPEL_CO_TRY(co_await drop_broken_bitmaps());
  result->corruptions -= result->broken_bitmaps;
  result->corruptions_fixed += std::exchange(result->broken_bitmaps, 0);
  co_return result;
}

}  // namespace doppel::block::qcow2
