// A namespace: a disk that an NVMe controller shows, in blocks.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/error.h"
#include "block/disk.h"
#include "hw/nvme/nvme_config.h"

namespace doppel::hw::nvme {

inline constexpr std::size_t kIdentifySize = 4096;
using IdentifyPage = std::array<std::byte, kIdentifySize>;

class Namespace {
 public:
  static constexpr std::uint32_t kMostNamespaces = 256;

  /// DISK outlives it. CONFIG.nsid is 1 to kMostNamespaces.
  static Result<Namespace> create(const NvmeNamespaceConfig& config, block::Disk& disk);

  [[nodiscard]] std::uint32_t id() const { return config_.nsid; }
  [[nodiscard]] block::Disk& disk() const { return *disk_; }
  /// Whole blocks; what is behind them of the disk nobody sees.
  [[nodiscard]] std::uint64_t blocks() const { return blocks_; }
  [[nodiscard]] std::uint64_t bytes(std::uint64_t blocks) const { return blocks << block_shift_; }
  [[nodiscard]] bool contains(std::uint64_t first, std::uint64_t count) const {
    return first <= blocks_ && count <= blocks_ - first;
  }
  /// IDENTIFY's data structures for it: section 5.15.2.1, and the list of its names in 5.15.2.4.
  [[nodiscard]] IdentifyPage describe() const;
  [[nodiscard]] IdentifyPage describe_names() const;

 private:
  using Uuid = std::array<std::byte, 16>;
  Namespace(const NvmeNamespaceConfig& config, block::Disk& disk, std::optional<Uuid> uuid);

  NvmeNamespaceConfig config_;
  block::Disk* disk_;
  unsigned block_shift_;
  std::uint64_t blocks_;
  std::optional<Uuid> uuid_;
};

}  // namespace doppel::hw::nvme
