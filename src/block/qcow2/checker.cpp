#include "block/qcow2/checker.h"

#include <algorithm>

#include "base/endian.h"

namespace doppel::block::qcow2 {

namespace {

constexpr std::uint64_t kRefcountTableMask = ~low_mask(9);

}  // namespace

Checker::Checker(Node& file, Header& header, const std::vector<Snapshot>& snapshots, std::uint64_t snapshot_table_bytes)
    : file_(file),
      header_(header),
      layout_(header.layout()),
      snapshots_(snapshots),
      snapshot_table_bytes_(snapshot_table_bytes) {}

void Checker::note(std::string finding) {
  if (result_.findings.size() < CheckResult::kMaxFindings) result_.findings.push_back(std::move(finding));
}
void Checker::corruption(std::string finding) {
  ++result_.corruptions;
  note("ERROR " + std::move(finding));
}
void Checker::leak(std::string finding) {
  ++result_.leaks;
  note("Leaked " + std::move(finding));
}

Task<Result<CheckResult>> Checker::run(Repair repair) {
  file_clusters_ = layout_.clusters(file_.size());
  refcounts_ = std::make_unique<Refcounts>(file_, header_);
  DOPPEL_CO_TRY(co_await refcounts_->load());
  DOPPEL_CO_TRY(co_await count_users());
  DOPPEL_CO_TRY(co_await count_refcount_structures());
  DOPPEL_CO_TRY(co_await compare());
  DOPPEL_CO_TRY(co_await check_copied());
  result_.image_end_offset = users_.end() << layout_.cluster_bits;
  result_.total_clusters = layout_.clusters(header_.size);

  if (repair == Repair::kAll && count_errors_ > 0) {
    DOPPEL_CO_TRY(co_await rebuild());
    result_.corruptions_fixed += count_errors_;
    result_.leaks_fixed = std::exchange(result_.leaks, 0);
  } else if (repair != Repair::kNone && result_.leaks > 0) {
    DOPPEL_CO_TRY(co_await rewrite_blocks());
    result_.leaks_fixed = std::exchange(result_.leaks, 0);
  }
  if (repair == Repair::kAll && (count_errors_ > 0 || copied_errors_ > 0)) {
    DOPPEL_CO_TRY(co_await repair_copied());
    result_.corruptions_fixed += copied_errors_;
  }
  result_.corruptions -= result_.corruptions_fixed;
  const std::uint64_t marks = Header::kDirty | Header::kCorrupt;
  if (repair == Repair::kAll && result_.corruptions == result_.broken_bitmaps && (header_.incompatible & marks) != 0) {
    header_.incompatible &= ~marks;
    DOPPEL_CO_TRY(co_await file_.flush());
    DOPPEL_CO_TRY(co_await write_header_fields(file_, header_));
  }
  if (repair != Repair::kNone) DOPPEL_CO_TRY(co_await file_.flush());
  co_return std::move(result_);
}

/// One user of all clusters that [OFFSET, OFFSET + BYTES) touches.
void Checker::count(std::string_view what, std::uint64_t offset, std::uint64_t bytes) {
  if (bytes == 0) return;
  const std::uint64_t end = layout_.clusters(offset + bytes);
  if (end > file_clusters_ + 1) {
    corruption(fmt::format("{} at offset {:#x} lies behind the end of the file", what, offset));
    return;
  }
  for (std::uint64_t cluster = offset >> layout_.cluster_bits; cluster < end; ++cluster) users_.add(cluster);
}

/// All but the refcount structures themselves.
Task<Result<>> Checker::count_users() {
  count("the header", 0, layout_.cluster_size());
  count("the LUKS header", header_.luks_offset, header_.luks_length);
  DOPPEL_CO_TRY(co_await count_l1(header_.l1_offset, header_.l1_entries, Active::kYes));
  for (const Snapshot& snapshot : snapshots_)
    DOPPEL_CO_TRY(co_await count_l1(snapshot.l1_offset, snapshot.l1_entries, Active::kNo));
  count("the snapshot table", header_.snapshots_offset, snapshot_table_bytes_);
  co_return co_await count_bitmaps();
}

Task<Result<>> Checker::count_bitmaps() {
  if (!header_.bitmaps) co_return Result<>{};
  const auto broken = [this](const Error& error) {
    corruption(error.describe());
    ++result_.broken_bitmaps;
  };
  const auto entries = co_await read_bitmap_directory(file_, header_);
  if (!entries) {
    if (entries.error().kind() != ErrorKind::kCorrupt) co_return std::unexpected(entries.error());
    broken(entries.error());
    co_return Result<>{};
  }
  count("the bitmap directory", header_.bitmaps->directory_offset, header_.bitmaps->directory_bytes);
  for (const BitmapEntry& entry : *entries) {
    const auto table = co_await read_bitmap_table(file_, layout_, entry);
    if (!table) {
      if (table.error().kind() != ErrorKind::kCorrupt) co_return std::unexpected(table.error());
      broken(table.error());
      continue;
    }
    count("a bitmap's table", entry.table_offset, table->size() * 8);
    // What many entries of a hostile directory name is looked at once.
    if (users_.get(entry.table_offset >> layout_.cluster_bits) > 1) {
      corruption(fmt::format("the bitmap's table at offset {:#x} is used more than once", entry.table_offset));
      continue;
    }
    for (const std::uint64_t word : *table)
      if (word > kAllOnes) count("a bitmap", word, layout_.cluster_size());
  }
  co_return Result<>{};
}

/// A cluster has one user in each L1 table at most. So what many entries of a hostile image name is looked at once.
bool Checker::shared_too_often(std::uint64_t offset) const {
  return users_.get(offset >> layout_.cluster_bits) > 1 + snapshots_.size();
}

Task<Result<>> Checker::count_l1(std::uint64_t offset, std::uint64_t entries, Active active) {
  count("an L1 table", offset, entries * 8);
  if (offset > file_.size()) co_return Result<>{};
  DOPPEL_CO_ASSIGN(const auto l1, co_await read_numbers(file_, offset, entries));
  for (const std::uint64_t entry : l1) {
    const std::uint64_t l2 = entry & kOffsetMask;
    if (l2 == 0) continue;
    if (layout_.in_cluster(l2) != 0) {
      corruption(fmt::format("an L2 table at offset {:#x} is not aligned", l2));
      continue;
    }
    count("an L2 table", l2, layout_.cluster_size());
    if (shared_too_often(l2)) {
      corruption(fmt::format("the L2 table at offset {:#x} is used more than once by one L1 table", l2));
      continue;
    }
    if (l2 < file_.size()) DOPPEL_CO_TRY(co_await count_l2(l2, active));
  }
  co_return Result<>{};
}

Task<Result<>> Checker::count_l2(std::uint64_t offset, Active active) {
  std::vector<std::byte> table(layout_.cluster_size());
  DOPPEL_CO_TRY(co_await file_.read(offset, std::span<std::byte>(table)));
  for (std::size_t i = 0; i < layout_.l2_entries(); ++i) {
    const auto entry = decode_entry(layout_, table.data() + i * layout_.l2_entry_size());
    if (entry)
      count_entry(*entry, active);
    else
      corruption(entry.error().message());
  }
  co_return Result<>{};
}

void Checker::count_entry(const Entry& entry, Active active) {
  const bool active_data = active == Active::kYes && (entry.compressed || entry.host);
  if (active_data) ++result_.allocated_clusters;
  if (entry.compressed) {
    const std::uint64_t begin = align_down(entry.compressed->offset, kSector);
    count("a compressed cluster", begin, entry.compressed->offset + entry.compressed->length - begin);
    // A compressed cluster never has its neighbour right behind it.
    if (active_data) {
      ++result_.compressed_clusters;
      ++result_.fragmented_clusters;
    }
    return;
  }
  if (!entry.host) return;
  if (active_data) {
    if (next_contiguous_ != 0 && *entry.host != next_contiguous_) ++result_.fragmented_clusters;
    next_contiguous_ = *entry.host + layout_.cluster_size();
  }
  if (!layout_.external_data) count("a data cluster", *entry.host, layout_.cluster_size());
}

Task<Result<>> Checker::count_refcount_structures() {
  const std::uint64_t bytes = header_.refcount_table_clusters * layout_.cluster_size();
  count("the refcount table", header_.refcount_table_offset, bytes);
  DOPPEL_CO_ASSIGN(table_, co_await read_numbers(file_, header_.refcount_table_offset, bytes / 8));
  for (std::size_t i = 0; i < table_.size(); ++i) {
    std::uint64_t& block = table_[i];
    block &= kRefcountTableMask;
    if (block == 0) continue;
    if (layout_.in_cluster(block) == 0 && block < file_.size()) {
      count("a refcount block", block, layout_.cluster_size());
      if (users_.get(block >> layout_.cluster_bits) == 1) continue;
    }
    corruption(fmt::format("refcount block {} cannot be at offset {:#x}", i, block));
    ++count_errors_;
    block = 0;
  }
  co_return Result<>{};
}

/// The image's own counts against ours.
Task<Result<>> Checker::compare() {
  const std::uint64_t per_block = layout_.refcounts_per_block();
  std::vector<std::byte> block(layout_.cluster_size());
  for (std::uint64_t index = 0; index < table_.size() || index * per_block < users_.end(); ++index) {
    const bool present = index < table_.size() && table_[index] != 0;
    if (!present && index * per_block >= users_.end()) continue;
    if (present) {
      DOPPEL_CO_TRY(co_await file_.read(table_[index], std::span<std::byte>(block)));
    } else {
      std::ranges::fill(block, std::byte{0});
    }
    for (std::uint64_t i = 0; i < per_block; ++i) {
      const std::uint64_t cluster = index * per_block + i;
      const std::uint64_t stored = load_refcount(block.data(), i, layout_.refcount_order);
      const std::uint64_t counted = users_.get(cluster);
      if (stored == counted) continue;
      std::string finding = fmt::format("cluster {} refcount={} reference={}", cluster, stored, counted);
      if (stored > counted) {
        leak(std::move(finding));
      } else {
        corruption(std::move(finding));
        ++count_errors_;
      }
    }
  }
  co_return Result<>{};
}

/// Calls VISIT for each L1 and L2 entry of the active tables that names a cluster of its own, with that cluster; what
/// it changes is written back.
Task<Result<>> Checker::visit_active(const Visit& visit) {
  DOPPEL_CO_ASSIGN(auto l1, co_await read_numbers(file_, header_.l1_offset, header_.l1_entries));
  const std::uint64_t file_end = file_.size();
  bool l1_changed = false;
  for (std::uint64_t& l1_entry : l1) {
    const std::uint64_t offset = l1_entry & kOffsetMask;
    if (offset == 0 || layout_.in_cluster(offset) != 0 || offset >= file_end || shared_too_often(offset)) continue;
    const std::uint64_t before = l1_entry;
    DOPPEL_CO_TRY(co_await visit(l1_entry, "an L2 table", offset >> layout_.cluster_bits));
    l1_changed = l1_changed || l1_entry != before;
    DOPPEL_CO_ASSIGN(auto words, co_await read_numbers(file_, offset, layout_.cluster_size() / 8));
    const auto words_before = words;
    for (std::size_t i = 0; i < words.size(); i += layout_.l2_entry_size() / 8) {
      const std::uint64_t host = words[i] & kOffsetMask;
      const bool counted = (words[i] & kCompressedFlag) == 0 && !layout_.external_data && host != 0 && host < file_end;
      if (counted) DOPPEL_CO_TRY(co_await visit(words[i], "a data cluster", host >> layout_.cluster_bits));
    }
    if (words != words_before) DOPPEL_CO_TRY(co_await write_numbers(file_, offset, words));
  }
  if (l1_changed) DOPPEL_CO_TRY(co_await write_numbers(file_, header_.l1_offset, l1));
  co_return Result<>{};
}

/// The flag "copied" must say whether the image's own refcount is one.
Task<Result<>> Checker::check_copied() {
  const Visit check = [this](std::uint64_t& entry, const char* what, std::uint64_t cluster) -> Task<Result<>> {
    const auto stored = co_await refcounts_->get(cluster);
    const bool copied = (entry & kCopiedFlag) != 0;
    if (!stored || (*stored == 1) == copied) co_return Result<>{};  // an unreadable block was told of before
    corruption(fmt::format("{} in cluster {} with refcount {} is marked as having {}", what, cluster, *stored,
                           copied ? "one user" : "several users"));
    ++copied_errors_;
    co_return Result<>{};
  };
  co_return co_await visit_active(check);
}

Task<Result<>> Checker::repair_copied() {
  const Visit mend = [this](std::uint64_t& entry, const char* /*what*/, std::uint64_t cluster) -> Task<Result<>> {
    entry = users_.get(cluster) == 1 ? entry | kCopiedFlag : entry & ~kCopiedFlag;
    co_return Result<>{};
  };
  co_return co_await visit_active(mend);
}

/// All refcount blocks as counted; each cluster in use has one.
Task<Result<>> Checker::rewrite_blocks() {
  const std::uint64_t per_block = layout_.refcounts_per_block();
  for (std::uint64_t index = 0; index < table_.size(); ++index) {
    if (table_[index] == 0) continue;
    std::vector<std::byte> block(layout_.cluster_size());
    for (std::uint64_t i = 0; i < per_block; ++i) {
      const std::uint64_t count = std::min<std::uint64_t>(users_.get(index * per_block + i), layout_.max_refcount());
      store_refcount(block.data(), i, layout_.refcount_order, count);
    }
    DOPPEL_CO_TRY(co_await file_.write(table_[index], std::span<const std::byte>(block)));
  }
  co_return Result<>{};
}

/// New refcount table and blocks behind everything; the header names them when they are on disk.
Task<Result<>> Checker::rebuild() {
  const std::uint64_t used_end = std::max(users_.end(), file_clusters_);
  // Counted again without the old structures, which are free from now on.
  CheckResult found = std::move(result_);
  users_ = UserCounts{};
  DOPPEL_CO_TRY(co_await count_users());
  result_ = std::move(found);

  const std::uint64_t per_block = layout_.refcounts_per_block();
  const std::uint64_t per_cluster = layout_.cluster_size() / 8;
  std::uint64_t blocks = 0;
  std::uint64_t table_clusters = 0;
  for (;;) {  // until what counts also counts itself
    const std::uint64_t end = used_end + blocks + table_clusters;
    const std::uint64_t need_blocks = (end + per_block - 1) / per_block;
    const std::uint64_t need_table = (need_blocks + per_cluster - 1) / per_cluster;
    if (need_blocks == blocks && need_table == table_clusters) break;
    blocks = need_blocks;
    table_clusters = need_table;
  }
  if (table_clusters * layout_.cluster_size() > kMaxRefcountTableBytes)
    co_return fail(ErrorKind::kNoSpace, "a new refcount table would be too large");
  for (std::uint64_t i = 0; i < blocks + table_clusters; ++i) users_.add(used_end + i);
  table_.assign(table_clusters * per_cluster, 0);
  for (std::uint64_t i = 0; i < blocks; ++i) table_[i] = (used_end + i) << layout_.cluster_bits;
  DOPPEL_CO_TRY(co_await rewrite_blocks());
  const std::uint64_t offset = (used_end + blocks) << layout_.cluster_bits;
  DOPPEL_CO_TRY(co_await write_numbers(file_, offset, table_));
  DOPPEL_CO_TRY(co_await file_.flush());
  header_.refcount_table_offset = offset;
  header_.refcount_table_clusters = static_cast<std::uint32_t>(table_clusters);
  co_return co_await write_header_fields(file_, header_);
}

}  // namespace doppel::block::qcow2
