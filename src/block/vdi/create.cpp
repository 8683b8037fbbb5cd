// Creating VDI images: header, block map, and a static one's data.
#include <cstring>

#include "base/bits.h"
#include "base/text.h"
#include "block/vdi/image.h"

namespace doppel::block::vdi {
namespace {

constexpr std::string_view kText = "<<< Doppel VM Virtual Disk Image >>>\n";

RawHeader make_header(const CreateOptions& options) {
  const auto blocks = static_cast<std::uint32_t>((options.size + kBlockSize - 1) / kBlockSize);
  RawHeader raw{};
  std::memcpy(raw.text, kText.data(), kText.size());
  raw.signature = RawHeader::kSignature;
  raw.version = RawHeader::kVersion;
  raw.header_size = kHeaderSize;
  raw.type = static_cast<std::uint32_t>(options.is_static ? ImageType::kStatic : ImageType::kDynamic);
  raw.map_offset = sizeof(RawHeader);
  raw.data_offset = static_cast<std::uint32_t>(sizeof(RawHeader) + align_up(blocks * 4, 512));
  raw.sector_size = 512;
  raw.disk_size = options.size;
  raw.block_size = static_cast<std::uint32_t>(kBlockSize);
  raw.blocks = blocks;
  raw.allocated_blocks = options.is_static ? blocks : 0;
  raw.image = random_uuid(UuidOrder::kLittle);
  raw.last_snapshot = random_uuid(UuidOrder::kLittle);
  return raw;
}

}  // namespace

Result<> check_options(const CreateOptions& options) {
  if (options.size > kMaxBlocks * kBlockSize)
    return fail(ErrorKind::kInvalidArgument, "{} are more than the 512 TiB that a VDI image can have",
                format_size(options.size));
  return {};
}

Task<Result<>> create(Node& file, const CreateOptions& options) {
  DOPPEL_CO_TRY(check_options(options));
  const RawHeader raw = make_header(options);
  DOPPEL_CO_TRY(co_await file.resize(0, Preallocation::kOff));
  const std::span<const std::byte> bytes = std::as_bytes(std::span(&raw, 1));
  DOPPEL_CO_TRY(co_await file.write(0, bytes));
  constexpr std::uint32_t kAtOnce = 1 << 16;
  for (std::uint32_t block = 0; block < raw.blocks; block += kAtOnce) {
    const std::uint32_t count = std::min(kAtOnce, raw.blocks - block);
    std::vector<std::byte> map(align_up(count * 4, 512));
    for (std::uint32_t i = 0; i < count; ++i)
      store_le<std::uint32_t>(map.data() + std::size_t{i} * 4, options.is_static ? block + i : kUnallocated);
    const std::span<const std::byte> part(map);
    DOPPEL_CO_TRY(co_await file.write(sizeof(RawHeader) + std::uint64_t{block} * 4, part));
  }
  const std::uint64_t data = options.is_static ? raw.blocks * kBlockSize : 0;
  DOPPEL_CO_TRY(co_await file.resize(raw.data_offset + data, Preallocation::kOff));
  co_return co_await file.flush();
}

}  // namespace doppel::block::vdi
