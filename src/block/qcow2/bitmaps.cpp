#include "block/qcow2/bitmaps.h"

#include <algorithm>
#include <array>
#include <bit>
#include <span>

#include "base/endian.h"
#include "base/text.h"
#include "block/qcow2/table_cache.h"

namespace doppel::block::qcow2 {

namespace {

/// What those that record may take in memory, all of them together, when all is dirty.
constexpr std::uint64_t kMaxRecordingBytes = 1 * kGiB;

}  // namespace

Bitmaps::Bitmaps(Node& file, Header& header, Refcounts& refcounts, CheckPlace check_place)
    : file_(file),
      header_(header),
      layout_(header.layout()),
      refcounts_(refcounts),
      check_place_(std::move(check_place)) {}

Task<Result<>> Bitmaps::load() {
  bitmaps_.clear();
  DOPPEL_CO_ASSIGN(std::vector<BitmapEntry> entries, co_await read_bitmap_directory(file_, header_));
  if (entries.empty()) co_return Result<>{};
  DOPPEL_CO_TRY(check_place_(header_.bitmaps->directory_offset, header_.bitmaps->directory_bytes));
  std::uint64_t place = header_.bitmaps->directory_offset;
  for (BitmapEntry& entry : entries) {
    Bitmap bitmap{.entry = std::move(entry), .flags_at = place + kBitmapFlagsOffset};
    bitmap.inconsistent = bitmap.entry.has(BitmapEntry::kInUse);
    bitmap.disk_table_entries = bitmap.entry.table_entries;
    place += directory_entry_bytes(bitmap.entry);
    bitmaps_.push_back(std::move(bitmap));
  }
  co_return Result<>{};
}

Result<> Bitmaps::check_memory() const {
  std::uint64_t bytes = 0;
  for (const Bitmap& bitmap : bitmaps_)
    if (!bitmap.inconsistent && bitmap.entry.has(BitmapEntry::kAuto)) bytes += bits(bitmap) / 8;
  if (bytes <= kMaxRecordingBytes) return {};
  return fail(ErrorKind::kUnsupported, "the bitmaps that record would take {}, more than the {} that are allowed",
              format_size(bytes), format_size(kMaxRecordingBytes));
}

Task<Result<>> Bitmaps::begin_recording() {
  DOPPEL_CO_TRY(check_memory());
  bool marked = false;
  for (Bitmap& bitmap : bitmaps_) {
    if (bitmap.inconsistent || !bitmap.entry.has(BitmapEntry::kAuto)) continue;
    if (auto known = co_await know_table(bitmap); !known) {
      if (known.error().kind() != ErrorKind::kCorrupt) co_return known;
      co_return fail(ErrorKind::kCorrupt, "{}; check -r all removes that bitmap", known.error().describe());
    }
    DOPPEL_CO_TRY(co_await write_flags(bitmap, bitmap.entry.flags | BitmapEntry::kInUse));
    bitmap.changed = true;
    marked = true;
  }
  if (marked) co_return co_await file_.flush();
  co_return Result<>{};
}

void Bitmaps::mark(std::uint64_t offset, std::uint64_t length) {
  if (length == 0) return;
  for (Bitmap& bitmap : bitmaps_) {
    if (bitmap.inconsistent || !bitmap.entry.has(BitmapEntry::kAuto)) continue;
    const unsigned shift = bitmap.entry.granularity_bits;
    const std::uint64_t first = offset >> shift;
    bitmap.added.set(first, ((offset + length - 1) >> shift) - first + 1);
  }
}

std::vector<BitmapInfo> Bitmaps::list() const {
  std::vector<BitmapInfo> infos;
  for (const Bitmap& bitmap : bitmaps_)
    infos.push_back({.name = bitmap.entry.name,
                     .granularity = std::uint64_t{1} << bitmap.entry.granularity_bits,
                     .enabled = bitmap.entry.has(BitmapEntry::kAuto),
                     .in_use = bitmap.entry.has(BitmapEntry::kInUse),
                     .inconsistent = bitmap.inconsistent});
  return infos;
}

Result<Bitmaps::Bitmap*> Bitmaps::find(const std::string& name) {
  for (Bitmap& bitmap : bitmaps_)
    if (bitmap.entry.name == name) return &bitmap;
  return fail(ErrorKind::kNotFound, "there is no bitmap '{}'", name);
}

Result<Bitmaps::Bitmap*> Bitmaps::find_usable(const std::string& name) {
  DOPPEL_ASSIGN(Bitmap * bitmap, find(name));
  if (!bitmap->inconsistent) return bitmap;
  return fail(ErrorKind::kCorrupt,
              "bitmap '{}' was not stored by the program that had the image last, so it says nothing and can only be "
              "removed",
              name);
}

// ---- Changes

Task<Result<>> Bitmaps::write_flags(Bitmap& bitmap, std::uint32_t flags) {
  if (bitmap.flags_at != 0 && flags != bitmap.entry.flags) {
    std::array<std::byte, 4> bytes;
    store_be(bytes.data(), flags);
    DOPPEL_CO_TRY(co_await file_.write(bitmap.flags_at, std::span<const std::byte>(bytes)));
  }
  bitmap.entry.flags = flags;
  co_return Result<>{};
}

/// It is about to differ from what is on disk.
Task<Result<>> Bitmaps::touch(Bitmap& bitmap) {
  DOPPEL_CO_TRY(co_await know_table(bitmap));
  bitmap.changed = true;
  if (bitmap.flags_at == 0 || bitmap.entry.has(BitmapEntry::kInUse)) co_return Result<>{};
  DOPPEL_CO_TRY(co_await write_flags(bitmap, bitmap.entry.flags | BitmapEntry::kInUse));
  co_return co_await file_.flush();
}

Task<Result<>> Bitmaps::know_table(Bitmap& bitmap) {
  if (bitmap.table_known) co_return Result<>{};
  if (bitmap.disk_table_entries > 0) {
    DOPPEL_CO_ASSIGN(bitmap.table, co_await read_bitmap_table(file_, layout_, bitmap.entry));
  }
  bitmap.table_known = true;
  co_return Result<>{};
}

Task<Result<>> Bitmaps::add(const std::string& name, std::uint64_t granularity, bool enabled) {
  if (header_.version < 3)
    co_return fail(ErrorKind::kUnsupported,
                   "version 2 images have no bitmaps; 'amend -o compat=1.1' makes it version 3");
  if (find(name)) co_return fail(ErrorKind::kInvalidArgument, "there is a bitmap '{}' already", name);
  if (name.empty() || name.size() > kMaxBitmapNameBytes)
    co_return fail(ErrorKind::kInvalidArgument, "a bitmap's name has 1 to {} bytes", kMaxBitmapNameBytes);
  if (!std::has_single_bit(granularity) || granularity < std::uint64_t{1} << kMinGranularityBits ||
      granularity > std::uint64_t{1} << kMaxGranularityBits)
    co_return fail(ErrorKind::kInvalidArgument, "a bitmap's granularity is a power of two from 512 to 2G, not {}",
                   granularity);
  if (bitmaps_.size() >= kMaxBitmaps)
    co_return fail(ErrorKind::kNoSpace, "the image has {} bitmaps, and more are not possible", kMaxBitmaps);
  if (header_.size == 0) co_return fail(ErrorKind::kUnsupported, "a disk of 0 bytes has no bitmaps");
  Bitmap bitmap;
  bitmap.changed = bitmap.table_known = true;
  bitmap.entry.name = name;
  bitmap.entry.granularity_bits = static_cast<unsigned>(std::countr_zero(granularity));
  bitmap.entry.flags = enabled ? BitmapEntry::kAuto : 0;
  if (bitmap_clusters(layout_, header_.size, bitmap.entry.granularity_bits) << layout_.cluster_bits > kMaxBitmapBytes)
    co_return fail(ErrorKind::kInvalidArgument, "a bitmap of this granularity would be too large; take a coarser one");
  std::uint64_t directory = directory_entry_bytes(bitmap.entry);
  for (const Bitmap& other : bitmaps_) directory += directory_entry_bytes(other.entry);
  if (directory > kMaxBitmapDirectoryBytes) co_return fail(ErrorKind::kNoSpace, "the bitmap directory is full");
  bitmaps_.push_back(std::move(bitmap));
  directory_changed_ = true;
  if (auto fits = check_memory(); !fits) {
    bitmaps_.pop_back();
    co_return fits;
  }
  co_return Result<>{};
}

Task<Result<>> Bitmaps::remove(const std::string& name) {
  DOPPEL_CO_ASSIGN(Bitmap * bitmap, find(name));
  // Of a damaged one the clusters leak, which a check mends.
  if (co_await know_table(*bitmap)) free_table(*bitmap);
  bitmaps_.erase(bitmaps_.begin() + (bitmap - bitmaps_.data()));
  directory_changed_ = true;
  co_return Result<>{};
}

Task<Result<>> Bitmaps::clear(const std::string& name) {
  DOPPEL_CO_ASSIGN(Bitmap * bitmap, find_usable(name));
  DOPPEL_CO_TRY(co_await touch(*bitmap));
  bitmap->emptied = true;
  bitmap->added.clear();
  co_return Result<>{};
}

Task<Result<>> Bitmaps::set_enabled(const std::string& name, bool enabled) {
  DOPPEL_CO_ASSIGN(Bitmap * bitmap, find_usable(name));
  if (bitmap->entry.has(BitmapEntry::kAuto) == enabled) co_return Result<>{};
  // The mark stays until what was recorded is stored; one that begins to record needs it from now on.
  DOPPEL_CO_TRY(co_await touch(*bitmap));
  DOPPEL_CO_TRY(co_await write_flags(*bitmap, bitmap->entry.flags ^ BitmapEntry::kAuto));
  co_return check_memory();
}

Task<Result<>> Bitmaps::begin_change(const std::string& name) {
  DOPPEL_CO_ASSIGN(Bitmap * bitmap, find_usable(name));
  co_return co_await touch(*bitmap);
}

Result<> Bitmaps::set_dirty(const std::string& name, std::uint64_t offset, std::uint64_t length) {
  DOPPEL_ASSIGN(Bitmap * bitmap, find_usable(name));
  if (length == 0 || offset >= header_.size) return {};
  const unsigned shift = bitmap->entry.granularity_bits;
  const std::uint64_t end = std::min(length, header_.size - offset) + offset;
  bitmap->added.set(offset >> shift, ((end - 1) >> shift) - (offset >> shift) + 1);
  return {};
}

Task<Result<>> Bitmaps::visit(const std::string& name, const VisitRange& visit) {
  DOPPEL_CO_ASSIGN(Bitmap * bitmap, find_usable(name));
  DOPPEL_CO_TRY(co_await know_table(*bitmap));
  const unsigned shift = bitmap->entry.granularity_bits;
  const std::uint64_t count = bitmap_clusters(layout_, header_.size, shift);
  const std::uint64_t cluster = layout_.cluster_size();
  std::vector<std::byte> chunk(cluster);
  for (std::uint64_t i = 0; i < count; ++i) {
    const bool stored = !bitmap->emptied && i < bitmap->table.size() && bitmap->table[i] != 0;
    if (!stored && !bitmap->added.any(i * cluster, cluster)) continue;
    DOPPEL_CO_TRY(co_await read_chunk(*bitmap, i, chunk));
    clear_from(chunk, bits(*bitmap) - std::min(bits(*bitmap), i * cluster * 8));
    for_each_run(chunk, i * cluster * 8, [&](std::uint64_t first, std::uint64_t length) {
      const std::uint64_t offset = first << shift;
      visit(offset, std::min(length << shift, header_.size - offset));
    });
  }
  co_return Result<>{};
}

Task<Result<>> Bitmaps::begin_resize() {
  for (Bitmap& bitmap : bitmaps_)
    if (!bitmap.inconsistent) {
      DOPPEL_CO_TRY(co_await touch(bitmap));
      keep_bits(bitmap);
    }
  co_return Result<>{};
}

void Bitmaps::end_resize() {
  for (Bitmap& bitmap : bitmaps_)
    if (!bitmap.inconsistent) {
      keep_bits(bitmap);
      bitmap.added.truncate(bits(bitmap));
    }
}

Task<Result<std::uint64_t>> Bitmaps::drop_broken() {
  const std::uint64_t announced = header_.bitmaps ? header_.bitmaps->count : 0;
  if (const auto loaded = co_await load(); !loaded) {
    directory_changed_ = true;
    header_.bitmaps.reset();
    header_.autoclear &= ~Header::kBitmaps;
    co_return std::max<std::uint64_t>(announced, 1);
  }
  std::uint64_t dropped = 0;
  for (std::size_t i = 0; i < bitmaps_.size();) {
    if (co_await know_table(bitmaps_[i])) {
      ++i;
      continue;
    }
    bitmaps_.erase(bitmaps_.begin() + static_cast<std::ptrdiff_t>(i));
    directory_changed_ = true;
    ++dropped;
  }
  co_return dropped;
}

// ---- Storing

bool Bitmaps::to_store() const {
  return directory_changed_ || std::ranges::any_of(bitmaps_, &Bitmap::changed);
}

void Bitmaps::free_clusters(std::uint64_t offset, std::uint64_t clusters) {
  for (std::uint64_t i = 0; i < clusters; ++i) freed_.push_back(offset + (i << layout_.cluster_bits));
}

void Bitmaps::free_table(const Bitmap& bitmap) {
  if (bitmap.disk_table_entries == 0) return;
  for (const std::uint64_t word : bitmap.table)
    if (word > kAllOnes) free_clusters(word, 1);
  free_clusters(bitmap.entry.table_offset, layout_.clusters(bitmap.disk_table_entries * 8));
}

/// Bits of table entry INDEX, in the file and added since.
Task<Result<>> Bitmaps::read_chunk(const Bitmap& bitmap, std::uint64_t index, std::vector<std::byte>& chunk) const {
  const std::uint64_t word = bitmap.emptied || index >= bitmap.table.size() ? 0 : bitmap.table[index];
  if (word > kAllOnes) {
    DOPPEL_CO_TRY(co_await file_.read(word, std::span<std::byte>(chunk)));
  } else {
    std::ranges::fill(chunk, word == kAllOnes ? std::byte{0xff} : std::byte{0});
  }
  const std::uint64_t before = index * layout_.cluster_size() * 8;
  clear_from(chunk, bitmap.kept_bits - std::min(bitmap.kept_bits, before));
  bitmap.added.add_to(index * layout_.cluster_size(), chunk);
  co_return Result<>{};
}

/// To its place, if it has one; nothing on disk depends on it while the bitmap is marked as in use.
Task<Result<>> Bitmaps::write_chunk(Bitmap& bitmap, std::uint64_t index) {
  std::vector<std::byte> chunk(layout_.cluster_size());
  DOPPEL_CO_TRY(co_await read_chunk(bitmap, index, chunk));
  const std::uint64_t before = index * layout_.cluster_size() * 8;
  clear_from(chunk, bits(bitmap) - std::min(bits(bitmap), before));
  std::uint64_t& word = bitmap.table[index];
  if (word > kAllOnes) {
    DOPPEL_CO_TRY(check_place_(word, chunk.size()));
  } else {
    DOPPEL_CO_ASSIGN(word, co_await refcounts_.allocate(1));
    if (refcounts_.crowded()) DOPPEL_CO_TRY(co_await refcounts_.write_blocks());
  }
  co_return co_await file_.write(word, std::span<const std::byte>(chunk));
}

Task<Result<>> Bitmaps::write_bits(Bitmap& bitmap) {
  const std::uint64_t count = bitmap_clusters(layout_, header_.size, bitmap.entry.granularity_bits);
  if (count << layout_.cluster_bits > kMaxBitmapBytes)
    co_return fail(ErrorKind::kNoSpace, "bitmap '{}' is too large for a disk of this size", bitmap.entry.name);
  const std::uint64_t per_cluster = layout_.cluster_size() * 8;
  if (bitmap.emptied) bitmap.kept_bits = 0;
  for (std::size_t i = 0; i < bitmap.table.size(); ++i) {
    if (i * per_cluster < bitmap.kept_bits) continue;
    if (bitmap.table[i] > kAllOnes) free_clusters(bitmap.table[i], 1);
    bitmap.table[i] = 0;
  }
  bitmap.table.resize(count);
  const std::uint64_t cut = bitmap.kept_bits / per_cluster;  // the cluster that only keeps some of its bits
  if (cut < count && bitmap.table[cut] != 0) DOPPEL_CO_TRY(co_await write_chunk(bitmap, cut));
  bitmap.emptied = false;
  bitmap.kept_bits = ~std::uint64_t{0};
  const std::uint64_t cluster = layout_.cluster_size();
  for (std::uint64_t at = bitmap.added.next(0); at / cluster < count; at = bitmap.added.next(at)) {
    const std::uint64_t index = at / cluster;
    if (bitmap.table[index] != kAllOnes) DOPPEL_CO_TRY(co_await write_chunk(bitmap, index));
    at = (index + 1) * cluster;
  }
  bitmap.added.clear();
  co_return Result<>{};
}

/// Bits in their places, tables and the directory at new ones where the old ones do not fit.
Task<Result<>> Bitmaps::write_new() {
  for (Bitmap& bitmap : bitmaps_) {
    if (!bitmap.changed) continue;
    DOPPEL_CO_TRY(co_await write_bits(bitmap));
    if (bitmap.table.size() == bitmap.disk_table_entries) continue;
    const std::uint64_t bytes = bitmap.table.size() * 8;
    if (bitmap.disk_table_entries > 0)
      free_clusters(bitmap.entry.table_offset, layout_.clusters(bitmap.disk_table_entries * 8));
    DOPPEL_CO_ASSIGN(bitmap.entry.table_offset, co_await refcounts_.allocate(layout_.clusters(bytes)));
    bitmap.entry.table_entries = static_cast<std::uint32_t>(bitmap.table.size());
    bitmap.disk_table_entries = 0;
    DOPPEL_CO_TRY(co_await write_numbers(file_, bitmap.entry.table_offset, bitmap.table));
    directory_changed_ = true;
  }
  if (!directory_changed_ || bitmaps_.empty()) co_return Result<>{};
  std::vector<BitmapEntry> entries;
  for (const Bitmap& bitmap : bitmaps_) {
    entries.push_back(bitmap.entry);
    if (bitmap.changed) entries.back().flags &= ~BitmapEntry::kInUse;
  }
  directory_bytes_ = encode_bitmap_directory(entries);
  DOPPEL_CO_ASSIGN(new_directory_, co_await refcounts_.allocate(layout_.clusters(directory_bytes_.size())));
  co_return co_await file_.write(new_directory_, std::span<const std::byte>(directory_bytes_));
}

Task<Result<>> Bitmaps::write_tables() {
  for (const Bitmap& bitmap : bitmaps_) {
    if (!bitmap.changed || bitmap.disk_table_entries == 0) continue;
    DOPPEL_CO_TRY(check_place_(bitmap.entry.table_offset, bitmap.table.size() * 8));
    DOPPEL_CO_TRY(co_await write_numbers(file_, bitmap.entry.table_offset, bitmap.table));
  }
  co_return co_await file_.flush();
}

Task<Result<>> Bitmaps::write_directory(std::vector<std::uint64_t>& freed) {
  if (directory_changed_) {
    Header changed = header_;
    changed.bitmaps.reset();
    changed.autoclear &= ~Header::kBitmaps;
    if (!bitmaps_.empty()) {
      changed.autoclear |= Header::kBitmaps;
      changed.bitmaps = Header::BitmapsPlace{.count = static_cast<std::uint32_t>(bitmaps_.size()),
                                             .directory_bytes = directory_bytes_.size(),
                                             .directory_offset = new_directory_};
    }
    DOPPEL_CO_TRY(co_await write_header(file_, changed));
    if (header_.bitmaps)
      free_clusters(header_.bitmaps->directory_offset, layout_.clusters(header_.bitmaps->directory_bytes));
    header_ = std::move(changed);
    std::uint64_t place = new_directory_;
    for (Bitmap& bitmap : bitmaps_) {
      bitmap.flags_at = place + kBitmapFlagsOffset;
      if (bitmap.changed) bitmap.entry.flags &= ~BitmapEntry::kInUse;
      place += directory_entry_bytes(bitmap.entry);
    }
  }
  for (Bitmap& bitmap : bitmaps_) {
    if (bitmap.changed) DOPPEL_CO_TRY(co_await write_flags(bitmap, bitmap.entry.flags & ~BitmapEntry::kInUse));
    bitmap.changed = false;
    bitmap.disk_table_entries = bitmap.entry.table_entries;
  }
  directory_changed_ = false;
  freed.insert(freed.end(), freed_.begin(), freed_.end());
  freed_.clear();
  co_return co_await file_.flush();
}

}  // namespace doppel::block::qcow2
