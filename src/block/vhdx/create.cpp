// Creating VHDX images: headers and region tables in the first MiB, log, metadata, block table.
#include <bit>
#include <cstring>

#include "base/text.h"
#include "block/vhdx/image.h"

namespace doppel::block::vhdx {
namespace {

constexpr std::uint64_t kLogOffset = kMiB;
constexpr std::uint64_t kMetadataSize = kMiB;
constexpr std::string_view kCreator = "Doppel";

std::uint64_t block_size_for(const CreateOptions& options) {
  if (options.block_size != 0) return options.block_size;
  if (options.size > 32 * kTiB) return 64 * kMiB;
  if (options.size > 100 * kGiB) return 32 * kMiB;
  return options.size > kGiB ? 16 * kMiB : 8 * kMiB;
}

struct Plan {
  Metadata metadata;
  Region log;
  Region metadata_region;
  std::uint64_t data = 0;  // where blocks begin
};

Plan make_plan(const CreateOptions& options) {
  Plan plan;
  plan.metadata = {.block_size = block_size_for(options), .disk_size = options.size};
  plan.log = {kLogOffset, align_up(options.log_size, kMiB)};
  plan.metadata_region = {plan.log.offset + plan.log.length, kMetadataSize};
  const std::uint64_t blocks = plan.metadata.blocks();
  const std::uint64_t entries = blocks == 0 ? 1 : plan.metadata.bat_index(blocks - 1) + 1;
  plan.metadata.bat = {plan.metadata_region.offset + kMetadataSize, align_up(entries * 8, kMiB)};
  plan.data = plan.metadata.bat.offset + plan.metadata.bat.length;
  return plan;
}

template <class T>
void put(std::vector<std::byte>& bytes, std::size_t offset, const T& structure) {
  std::memcpy(bytes.data() + offset, &structure, sizeof structure);
}

Task<Result<>> write_file_mark(Node& file) {
  std::vector<std::byte> bytes(512 + 8);
  std::memcpy(bytes.data(), kFileMark.data(), kFileMark.size());
  for (std::size_t i = 0; i < kCreator.size(); ++i)  // UTF-16
    store_le<std::uint16_t>(bytes.data() + kFileMark.size() + 2 * i, static_cast<unsigned char>(kCreator[i]));
  const std::span<const std::byte> all(bytes);
  co_return co_await file.write(0, all);
}

Task<Result<>> write_headers(Node& file, const Plan& plan) {
  Header header{.index = 1};
  header.raw.signature = RawHeader::kSignature;
  header.raw.file_write = random_uuid(UuidOrder::kLittle);
  header.raw.data_write = random_uuid(UuidOrder::kLittle);
  header.raw.version = 1;
  header.raw.log_length = static_cast<std::uint32_t>(plan.log.length);
  header.raw.log_offset = plan.log.offset;
  for (int i = 0; i < 2; ++i) DOPPEL_CO_TRY(co_await write_next_header(file, header));
  co_return Result<>{};
}

Task<Result<>> write_region_tables(Node& file, const Plan& plan) {
  std::vector<std::byte> bytes(kTableSize);
  RawRegionTable head{};
  head.signature = RawRegionTable::kSignature;
  head.entries = 2;
  const auto region = [](const Guid& id, const Region& place) {
    RawRegion raw{};
    raw.id = id;
    raw.offset = place.offset;
    raw.length = static_cast<std::uint32_t>(place.length);
    raw.flags = 1;
    return raw;
  };
  put(bytes, 0, head);
  put(bytes, sizeof head, region(kBatRegion, plan.metadata.bat));
  put(bytes, sizeof head + sizeof(RawRegion), region(kMetadataRegion, plan.metadata_region));
  head.checksum = checksum(bytes);
  put(bytes, 0, head);
  const std::span<const std::byte> all(bytes);
  for (const std::uint64_t offset : kRegionTableOffsets) DOPPEL_CO_TRY(co_await file.write(offset, all));
  co_return Result<>{};
}

/// Builds the table and its items side by side.
class MetadataWriter {
 public:
  void add(const Guid& id, std::uint32_t flags, std::span<const std::byte> value) {
    RawMetadataEntry entry{};
    entry.id = id;
    entry.offset = static_cast<std::uint32_t>(bytes_.size());
    entry.length = static_cast<std::uint32_t>(value.size());
    entry.flags = flags | RawMetadataEntry::kRequired;
    put(bytes_, sizeof(RawMetadataTable) + entries_ * sizeof entry, entry);
    bytes_.insert(bytes_.end(), value.begin(), value.end());
    ++entries_;
  }
  std::vector<std::byte> finish() {
    RawMetadataTable head{};
    std::memcpy(head.signature, RawMetadataTable::kSignature.data(), sizeof head.signature);
    head.entries = static_cast<std::uint16_t>(entries_);
    put(bytes_, 0, head);
    return std::move(bytes_);
  }

 private:
  std::vector<std::byte> bytes_ = std::vector<std::byte>(kTableSize);
  std::size_t entries_ = 0;
};

Task<Result<>> write_metadata(Node& file, const Plan& plan, bool fixed) {
  constexpr std::uint32_t kDisk = RawMetadataEntry::kVirtualDisk;
  MetadataWriter writer;
  RawFileParameters parameters{};
  parameters.block_size = static_cast<std::uint32_t>(plan.metadata.block_size);
  parameters.flags = fixed ? RawFileParameters::kLeaveAllocated : 0U;
  const Le64 size = plan.metadata.disk_size;
  const Guid id = random_uuid(UuidOrder::kLittle);
  const Le32 sector = 512;
  writer.add(kFileParameters, 0, std::as_bytes(std::span(&parameters, 1)));
  writer.add(kVirtualDiskSize, kDisk, std::as_bytes(std::span(&size, 1)));
  writer.add(kVirtualDiskId, kDisk, id);
  writer.add(kLogicalSectorSize, kDisk, std::as_bytes(std::span(&sector, 1)));
  writer.add(kPhysicalSectorSize, kDisk, std::as_bytes(std::span(&sector, 1)));
  const std::vector<std::byte> bytes = writer.finish();
  const std::span<const std::byte> all(bytes);
  co_return co_await file.write(plan.metadata_region.offset, all);
}

Task<Result<>> write_block_table(Node& file, const Plan& plan, const CreateOptions& options) {
  constexpr std::uint64_t kAtOnce = 8192;
  const Metadata& metadata = plan.metadata;
  const auto empty = static_cast<std::uint64_t>(options.zero_state ? BatState::kZero : BatState::kNotPresent);
  const auto present = static_cast<std::uint64_t>(BatState::kFullyPresent);
  if (!options.fixed && empty == 0) co_return Result<>{};
  for (std::uint64_t first = 0; first < metadata.blocks(); first += kAtOnce) {
    const std::uint64_t count = std::min(kAtOnce, metadata.blocks() - first);
    const std::uint64_t index = metadata.bat_index(first);
    std::vector<std::byte> bytes((metadata.bat_index(first + count - 1) - index + 1) * 8);
    for (std::uint64_t block = first; block < first + count; ++block) {
      const std::uint64_t place = plan.data + block * metadata.block_size;
      store_le<std::uint64_t>(bytes.data() + (metadata.bat_index(block) - index) * 8,
                              options.fixed ? place | present : empty);
    }
    const std::span<const std::byte> all(bytes);
    DOPPEL_CO_TRY(co_await file.write(metadata.bat.offset + index * 8, all));
  }
  co_return Result<>{};
}

}  // namespace

Result<> check_options(const CreateOptions& options) {
  const auto wrong = [](std::string text) {
    return std::unexpected(Error(ErrorKind::kInvalidArgument, std::move(text)));
  };
  const std::uint64_t block = block_size_for(options);
  if (options.size > kMaxDiskSize)
    return wrong(fmt::format("{} are more than the 64 TiB that a VHDX image can have", format_size(options.size)));
  if (!std::has_single_bit(block) || block < kMinBlockSize || block > kMaxBlockSize)
    return wrong("block_size must be a power of two between 1M and 256M");
  if (options.log_size < kMiB || !is_aligned(options.log_size, kMiB) || options.log_size >= 4 * kGiB)
    return wrong("log_size must be a multiple of 1M, at least 1M and below 4G");
  return {};
}

Task<Result<>> create(Node& file, const CreateOptions& options) {
  DOPPEL_CO_TRY(check_options(options));
  const Plan plan = make_plan(options);
  const std::uint64_t blocks = options.fixed ? plan.metadata.blocks() * plan.metadata.block_size : 0;
  DOPPEL_CO_TRY(co_await file.resize(0, Preallocation::kOff));
  DOPPEL_CO_TRY(co_await file.resize(plan.data + blocks, Preallocation::kOff));
  DOPPEL_CO_TRY(co_await write_file_mark(file));
  DOPPEL_CO_TRY(co_await write_region_tables(file, plan));
  DOPPEL_CO_TRY(co_await write_metadata(file, plan, options.fixed));
  DOPPEL_CO_TRY(co_await write_block_table(file, plan, options));
  co_return co_await write_headers(file, plan);
}

}  // namespace doppel::block::vhdx
