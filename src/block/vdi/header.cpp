#include "block/vdi/header.h"

#include <algorithm>

#include "base/bits.h"

namespace doppel::block::vdi {
namespace {

std::unexpected<Error> bad(std::string message) {
  return std::unexpected(Error(ErrorKind::kCorrupt, std::move(message)));
}

bool is_null(const Uuid& uuid) {
  return std::ranges::all_of(uuid, [](std::byte b) { return b == std::byte{0}; });
}

Result<Header> parse(const RawHeader& raw, std::uint64_t file_size) {
  if (raw.signature != RawHeader::kSignature) return bad("it does not have VDI's mark");
  if (raw.version != RawHeader::kVersion)
    return fail(ErrorKind::kUnsupported, "VDI version {}.{} is not known, only 1.1", raw.version >> 16,
                raw.version & 0xffffU);
  if (raw.type != 1 && raw.type != 2)
    return fail(ErrorKind::kUnsupported, "VDI images of type {} are not supported, only dynamic and static ones",
                std::uint32_t{raw.type});
  if (!is_null(raw.link) || !is_null(raw.parent))
    return fail(ErrorKind::kUnsupported, "it is a snapshot on top of another VDI image, which is not supported");
  Header header{.type = static_cast<ImageType>(std::uint32_t{raw.type}),
                .disk_size = raw.disk_size,
                .map_offset = raw.map_offset,
                .data_offset = raw.data_offset,
                .blocks = raw.blocks,
                .allocated_blocks = raw.allocated_blocks};
  if (raw.sector_size != 512)
    return bad(fmt::format("sectors of {} bytes are not possible", std::uint32_t{raw.sector_size}));
  if (raw.block_size != kBlockSize)
    return fail(ErrorKind::kUnsupported, "blocks of {} bytes are not supported, only of 1 MiB",
                std::uint32_t{raw.block_size});
  if (!is_aligned(header.map_offset, 512) || !is_aligned(header.data_offset, 512))
    return bad("block map or data are not aligned to sectors");
  if (header.blocks > kMaxBlocks) return bad(fmt::format("{} blocks are more than an image can have", header.blocks));
  if (header.disk_size > header.blocks * kBlockSize)
    return bad(fmt::format("a disk of {} bytes does not fit into {} blocks", header.disk_size, header.blocks));
  const std::uint64_t map_end = std::uint64_t{header.map_offset} + std::uint64_t{header.blocks} * 4;
  if (header.map_offset < sizeof(RawHeader) || map_end > file_size)
    return bad(fmt::format("the block map of {} entries at offset {:#x} is not within the file of {} bytes",
                           header.blocks, header.map_offset, file_size));
  if (header.data_offset < map_end) return bad("block map and data overlap");
  header.disk_size = align_up(header.disk_size, 512);  // VirtualBox makes disks of any size
  return header;
}

}  // namespace

Task<Result<Header>> read_header(Node& file) {
  RawHeader raw;
  const std::span<std::byte> bytes = std::as_writable_bytes(std::span(&raw, 1));
  DOPPEL_CO_TRY(co_await file.read(0, bytes));
  co_return parse(raw, file.size());
}

}  // namespace doppel::block::vdi
