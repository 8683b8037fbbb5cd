// The header of a VDI image (VirtualBox), and where its block map and data are.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/endian.h"
#include "block/node.h"
#include "block/sparse/random_id.h"

namespace doppel::block::vdi {

inline constexpr std::uint64_t kBlockSize = 1 << 20;  // the only one in use
/// QEMU's limit, 512 TiB.
inline constexpr std::uint64_t kMaxBlocks = 0x1fffffff;
inline constexpr std::uint32_t kUnallocated = 0xffffffff;
inline constexpr std::uint32_t kDiscarded = 0xfffffffe;  // and every number above reads as zeroes

enum class ImageType : std::uint32_t { kDynamic = 1, kStatic = 2 };

/// As it lies in the file.
struct RawHeader {
  static constexpr std::uint32_t kSignature = 0xbeda107f;
  static constexpr std::uint32_t kVersion = 0x00010001;

  char text[64];
  Le32 signature;
  Le32 version;
  Le32 header_size;  // from here on
  Le32 type;
  Le32 flags;
  char description[256];
  Le32 map_offset;
  Le32 data_offset;
  Le32 cylinders;
  Le32 heads;
  Le32 sectors;
  Le32 sector_size;
  Le32 reserved;
  Le64 disk_size;
  Le32 block_size;
  Le32 block_extra;
  Le32 blocks;
  Le32 allocated_blocks;
  Uuid image;
  Uuid last_snapshot;
  Uuid link;
  Uuid parent;
  char padding[56];
};
static_assert(sizeof(RawHeader) == 512);
inline constexpr std::uint32_t kHeaderSize = 0x180;

struct Header {
  ImageType type = ImageType::kDynamic;
  std::uint64_t disk_size = 0;
  std::uint32_t map_offset = 0;
  std::uint32_t data_offset = 0;
  std::uint32_t blocks = 0;
  std::uint32_t allocated_blocks = 0;
};

/// Reads and checks every field.
Task<Result<Header>> read_header(Node& file);

}  // namespace doppel::block::vdi
