// The header of a QED image.
#pragma once

#include <cstdint>
#include <string>

#include "base/bits.h"
#include "block/node.h"

namespace doppel::block::qed {

struct Header {
  static constexpr std::uint64_t kBackingFile = 1U << 0;
  static constexpr std::uint64_t kNeedCheck = 1U << 1;  // tables may be wrong: it was not closed
  static constexpr std::uint64_t kBackingIsRaw = 1U << 2;

  std::uint32_t cluster_size = 65536;
  std::uint32_t table_clusters = 4;  // of the L1 table and of each L2 table
  std::uint32_t header_clusters = 1;
  std::uint64_t features = 0;
  std::uint64_t compatible = 0;
  std::uint64_t autoclear = 0;
  std::uint64_t l1_offset = 0;
  std::uint64_t size = 0;
  std::string backing_file{};

  [[nodiscard]] std::uint64_t table_bytes() const { return std::uint64_t{cluster_size} * table_clusters; }
  [[nodiscard]] std::uint64_t table_entries() const { return table_bytes() / 8; }
  [[nodiscard]] std::uint64_t header_bytes() const { return std::uint64_t{cluster_size} * header_clusters; }
};

inline constexpr std::uint32_t kMinClusterSize = 4096;
inline constexpr std::uint32_t kMaxClusterSize = 64 * kMiB;
inline constexpr std::uint32_t kMaxTableClusters = 16;
inline constexpr std::size_t kMaxBackingName = 1023;

/// The largest disk that such tables map; kept within what a file offset can say.
std::uint64_t max_size(const Header& header);

/// Reads and checks every field.
Task<Result<Header>> read_header(Node& file);
Task<Result<>> write_header(Node& file, const Header& header);

}  // namespace doppel::block::qed
