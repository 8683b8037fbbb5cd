// The header of a qcow2 image: what its first cluster holds.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "block/node.h"
#include "block/qcow2/layout.h"

namespace doppel::block::qcow2 {

enum class Compression : std::uint8_t { kZlib = 0, kZstd = 1 };

struct Header {
  // Incompatible features: who does not know one must not touch the image.
  static constexpr std::uint64_t kDirty = 1U << 0;  // refcounts may be wrong
  static constexpr std::uint64_t kCorrupt = 1U << 1;
  static constexpr std::uint64_t kExternalData = 1U << 2;
  static constexpr std::uint64_t kCompressionType = 1U << 3;
  static constexpr std::uint64_t kExtendedL2 = 1U << 4;
  // Compatible features: who does not know one need not care.
  static constexpr std::uint64_t kLazyRefcounts = 1U << 0;
  // Autoclear features: who writes without knowing one clears its bit.
  static constexpr std::uint64_t kBitmaps = 1U << 0;
  static constexpr std::uint64_t kRawExternalData = 1U << 1;

  struct Extension {
    std::uint32_t type;
    std::vector<std::byte> data;
  };

  /// Where the bitmap directory is; nothing of it is checked.
  struct BitmapsPlace {
    std::uint32_t count = 0;
    std::uint32_t reserved = 0;
    std::uint64_t directory_bytes = 0;
    std::uint64_t directory_offset = 0;
  };

  unsigned version = 3;
  unsigned cluster_bits = 16;
  unsigned refcount_order = 4;
  std::uint64_t size = 0;
  std::uint32_t l1_entries = 0;
  std::uint64_t l1_offset = 0;
  std::uint64_t refcount_table_offset = 0;
  std::uint32_t refcount_table_clusters = 0;
  std::uint32_t snapshot_count = 0;
  std::uint64_t snapshots_offset = 0;
  std::uint64_t incompatible = 0;
  std::uint64_t compatible = 0;
  std::uint64_t autoclear = 0;
  Compression compression = Compression::kZlib;
  std::string backing_file{};
  std::string backing_format{};
  std::string data_file{};  // the external data file's name, where it is stored
  bool encrypted = false;   // by LUKS, whose header and key slots are in clusters of the image
  std::uint64_t luks_offset = 0;
  std::uint64_t luks_length = 0;
  std::optional<BitmapsPlace> bitmaps{};  // unset as well where somebody who does not know bitmaps has written
  std::vector<Extension> unknown{};       // extensions that are kept as they are

  [[nodiscard]] Layout layout() const {
    return {.version = version,
            .cluster_bits = cluster_bits,
            .refcount_order = refcount_order,
            .extended_l2 = (incompatible & kExtendedL2) != 0,
            .external_data = (incompatible & kExternalData) != 0};
  }
};

/// Reads and checks every field; the first sentence that applies is the error.
Task<Result<Header>> read_header(Node& file);
/// Replaces the whole header, extensions and backing file name among it.
Task<Result<>> write_header(Node& file, const Header& header);
/// Replaces the fixed fields alone, which one sector holds: either the old ones or the new ones survive a power cut.
Task<Result<>> write_header_fields(Node& file, const Header& header);

}  // namespace doppel::block::qcow2
