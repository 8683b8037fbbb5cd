#include "block/vmdk/sparse_extent.h"

#include <algorithm>
#include <cstring>

#include "base/bits.h"
#include "block/vmdk/compression.h"

namespace doppel::block::vmdk {
namespace {

constexpr std::uint32_t kUnallocated = 0;
constexpr std::uint32_t kZeroGrain = 1;

}  // namespace

SparseExtent::SparseExtent(Context& context, NodePtr file, const SparseHeader& header)
    : SparseNode(context, std::move(file),
                 {.size = header.size, .block_size = header.grain_size, .may_have_backing = true}),
      header_(header) {}

Task<Result<std::unique_ptr<SparseExtent>>> SparseExtent::open(Context& context, NodePtr file) {
  DOPPEL_CO_ASSIGN(const SparseHeader header, co_await read_sparse_header(*file));
  co_return std::unique_ptr<SparseExtent>(new SparseExtent(context, std::move(file), header));
}

Task<Result<BlockEntry>> SparseExtent::entry(std::uint64_t grain) {
  const std::uint64_t index = grain % header_.entries_per_table;
  const std::uint64_t directory_entry = header_.directory + grain / header_.entries_per_table * 4;
  DOPPEL_CO_ASSIGN(const auto table_sector, co_await load_le_at<std::uint32_t>(tables(), directory_entry));
  if (table_sector == 0) co_return BlockEntry{.run = header_.entries_per_table - index};
  const std::uint64_t table = table_sector * kSector;
  if (table >= file().size()) co_return fail(ErrorKind::kCorrupt, "a grain table lies behind the end of the file");
  DOPPEL_CO_ASSIGN(const auto sector, co_await load_le_at<std::uint32_t>(tables(), table + index * 4));
  const bool zero = sector == kZeroGrain && header_.zero_grains;
  if (sector != kUnallocated && !zero) {
    const auto kind = header_.compressed ? BlockKind::kCompressed : BlockKind::kData;
    co_return BlockEntry{.kind = kind, .host = sector * kSector};
  }
  BlockEntry found{.kind = zero ? BlockKind::kZero : BlockKind::kUnallocated};
  while (index + found.run < header_.entries_per_table) {
    const std::byte* next = tables().peek(table + (index + found.run) * 4, 4);
    if (next == nullptr || load_le<std::uint32_t>(next) != sector) break;
    ++found.run;
  }
  co_return found;
}

Task<Result<>> SparseExtent::begin_writing() {
  if (header_.version == 3 && !header_.compressed)
    co_return fail(ErrorKind::kUnsupported, "VMDK images of version 3 can only be read");
  co_return Result<>{};
}

Task<Result<std::uint64_t>> SparseExtent::new_place() {
  const std::uint64_t place = align_up(file().size(), header_.grain_size);
  if ((place + header_.grain_size) / kSector > 0xffffffff)
    co_return fail(ErrorKind::kNoSpace, "the extent has no room for another grain");
  DOPPEL_CO_TRY(co_await file().resize(place + header_.grain_size, Preallocation::kOff));
  co_return place;
}

/// In the tables under DIRECTORY, with a new one where there is none.
Task<Result<>> SparseExtent::enter_in(std::uint64_t directory, std::uint64_t grain, std::uint32_t sector) {
  const std::uint64_t directory_entry = directory + grain / header_.entries_per_table * 4;
  DOPPEL_CO_ASSIGN(auto table, co_await load_le_at<std::uint32_t>(tables(), directory_entry));
  if (table == 0) {
    const std::uint64_t place = align_up(file().size(), kSector);
    if (place / kSector > 0xffffffff) co_return fail(ErrorKind::kNoSpace, "the extent has no room for another table");
    DOPPEL_CO_TRY(
        co_await file().resize(place + align_up(header_.entries_per_table * 4, kSector), Preallocation::kOff));
    table = static_cast<std::uint32_t>(place / kSector);
    DOPPEL_CO_TRY(co_await store_le_at<std::uint32_t>(tables(), directory_entry, table, WriteOrder::kSecond));
  }
  const std::uint64_t place = table * kSector + grain % header_.entries_per_table * 4;
  co_return co_await store_le_at<std::uint32_t>(tables(), place, sector, WriteOrder::kFirst);
}

Task<Result<>> SparseExtent::enter(std::uint64_t grain, std::uint64_t host) {
  const auto sector = static_cast<std::uint32_t>(host / kSector);
  if (header_.redundant_directory != 0) DOPPEL_CO_TRY(co_await enter_in(header_.redundant_directory, grain, sector));
  co_return co_await enter_in(header_.directory, grain, sector);
}

Task<Result<>> SparseExtent::read_packed(std::uint64_t host, std::uint64_t in_grain, IoView to) {
  if (cached_.empty() || cached_place_ != host) {
    std::uint64_t place = host;
    std::uint64_t size = header_.grain_size;
    if (header_.markers) {
      RawGrainMarker marker;
      const std::span<std::byte> bytes = std::as_writable_bytes(std::span(&marker, 1));
      DOPPEL_CO_TRY(co_await file().read(place, bytes));
      place += sizeof marker;
      size = marker.size;
      if (size == 0 || size > 2 * header_.grain_size)
        co_return fail(ErrorKind::kCorrupt, "a compressed grain at {:#x} claims {} bytes", host, size);
    }
    std::vector<std::byte> packed(size);
    std::vector<std::byte> grain(header_.grain_size);
    const std::span<std::byte> all(packed);
    DOPPEL_CO_TRY(co_await file().read(place, all));
    std::function<Result<>()> work = [&] { return inflate_grain(packed, grain); };
    DOPPEL_CO_TRY(co_await in_worker(context().compute_workers(), work));
    cached_ = std::move(grain);
    cached_place_ = host;
  }
  to.copy_from(cached_.data() + in_grain);
  co_return Result<>{};
}

Task<Result<>> SparseExtent::write(std::uint64_t offset, IoView from) {
  if (header_.compressed)
    co_return fail(ErrorKind::kUnsupported, "a stream-optimized image is written once, by convert, and not changed");
  co_return co_await SparseNode::write(offset, from);
}

Task<Result<CompressedTarget::Packed>> SparseExtent::pack(IoView from) {
  if (!header_.compressed || !header_.markers)
    co_return fail(ErrorKind::kUnsupported, "only stream-optimized images take compressed grains");
  if (from.size() > header_.grain_size)
    co_return fail(ErrorKind::kInvalidArgument, "compressed grains are written one by one");
  std::vector<std::byte> grain(header_.grain_size);
  from.copy_to(grain.data());
  std::function<Result<CompressedTarget::Packed>()> work = [&] { return deflate_grain(grain); };
  co_return co_await in_worker(context().compute_workers(), work);
}

Task<Result<>> SparseExtent::write_packed(std::uint64_t offset, const CompressedTarget::Packed& packed) {
  if (offset % header_.grain_size != 0)
    co_return fail(ErrorKind::kInvalidArgument, "compressed grains are written one by one");
  DOPPEL_CO_TRY(co_await prepare_writing());
  const auto gate = co_await gate_.lock();
  const auto guard = co_await tables_lock_.lock();
  const std::uint64_t number = offset / header_.grain_size;
  DOPPEL_CO_ASSIGN(const BlockEntry old, co_await entry(number));
  if (old.kind != BlockKind::kUnallocated)
    co_return fail(ErrorKind::kUnsupported, "a compressed grain cannot be written again");
  RawGrainMarker marker{};
  marker.sector = offset / kSector;
  marker.size = static_cast<std::uint32_t>(packed->size());
  const std::uint64_t place = align_up(file().size(), kSector);
  std::vector<std::byte> bytes(align_up(sizeof marker + packed->size(), kSector));
  std::memcpy(bytes.data(), &marker, sizeof marker);
  std::ranges::copy(*packed, bytes.begin() + sizeof marker);
  if ((place + bytes.size()) / kSector > 0xffffffff)
    co_return fail(ErrorKind::kNoSpace, "the extent has no room for another grain");
  const std::span<const std::byte> all(bytes);
  DOPPEL_CO_TRY(co_await file().write(place, all));
  DOPPEL_CO_TRY(co_await enter(number, place));
  if (tables().crowded()) DOPPEL_CO_TRY(co_await tables().commit());
  co_return Result<>{};
}

Task<Result<>> SparseExtent::check(CheckResult& result) {
  const auto guard = co_await tables_lock_.lock();
  const std::uint64_t end = file().size();
  for (std::uint64_t grain = 0; grain < blocks();) {
    auto found = co_await entry(grain);
    if (!found) {
      result.corruption(fmt::format("ERROR: grain {}: {}", grain, found.error().describe()));
      grain += header_.entries_per_table - grain % header_.entries_per_table;
      continue;
    }
    const bool placed = found->kind == BlockKind::kData || found->kind == BlockKind::kCompressed;
    if (placed && found->host >= end)
      result.corruption(
          fmt::format("ERROR: grain {} is said to be at {:#x}, behind the end of the file", grain, found->host));
    grain += found->run;
  }
  co_return Result<>{};
}

NodeInfo SparseExtent::info() const {
  NodeInfo info = file().info();
  info.format = "vmdk";
  info.virtual_size = size();
  info.cluster_size = header_.grain_size;
  return info;
}

}  // namespace doppel::block::vmdk
