// Guest RAM: one host mapping and how it was made.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "memory/dirty_bitmap.h"

namespace doppel::memory {

enum class RamKind : std::uint8_t { kAnonymous, kMemfd, kFile };

/// The host's NUMA policies, as in mbind(2).
enum class NumaPolicy : std::uint8_t { kDefault, kPreferred, kBind, kInterleave };

/// What `-object memory-backend-*`, `-m` and `-mem-path` say about a block.
struct RamOptions {
  std::string name = "ram";  // shown in errors and in /proc/PID/maps where the kernel can
  std::uint64_t size = 0;    // bytes; with huge pages a multiple of their size
  RamKind kind = RamKind::kAnonymous;
  std::string path = {};          // kFile: a file, or a directory (such as a hugetlbfs mount) to make one in
  std::uint64_t file_offset = 0;  // bytes
  bool shared = false;            // MAP_SHARED
  bool hugetlb = false;           // kMemfd: huge pages of HUGE_PAGE_SIZE bytes (0: the host's default)
  std::uint64_t huge_page_size = 0;
  bool prealloc = false;  // fault every page in now; failing is an error, not a later SIGBUS
  unsigned prealloc_threads = 1;
  bool merge = true;          // MADV_MERGEABLE
  bool dump = true;           // false: MADV_DONTDUMP
  bool discard_data = false;  // kFile: throw the contents away at exit
  bool read_only = false;
  NumaPolicy policy = NumaPolicy::kDefault;
  std::vector<unsigned> host_nodes = {};
};

/// Owns the mapping; unmapped when destroyed. The pointer never changes. Any thread may touch the bytes, with the
/// guest's own rules about races.
class RamBlock {
 public:
  static Result<std::shared_ptr<RamBlock>> create(RamOptions options);
  ~RamBlock();
  RamBlock(const RamBlock&) = delete;
  RamBlock& operator=(const RamBlock&) = delete;

  [[nodiscard]] const std::string& name() const { return options_.name; }
  [[nodiscard]] const RamOptions& options() const { return options_; }
  [[nodiscard]] std::uint64_t size() const { return options_.size; }
  [[nodiscard]] std::byte* host() const { return host_; }
  [[nodiscard]] std::span<std::byte> bytes() const { return {host_, options_.size}; }
  /// The memfd or file behind the block, or -1; for vhost-user and migration.
  [[nodiscard]] int fd() const { return fd_.get(); }
  /// The host page size behind the mapping, in bytes.
  [[nodiscard]] std::uint64_t page_size() const { return page_size_; }

  /// Marked by everything on our side that writes guest memory (DMA, the soft MMU). KVM's own log is merged on reading.
  [[nodiscard]] DirtyBitmap& dirty() { return dirty_; }

 private:
  RamBlock(RamOptions options, UniqueFd fd, std::byte* host, std::uint64_t page_size);
  [[nodiscard]] std::uint64_t mapped_size() const;

  RamOptions options_;
  UniqueFd fd_;
  std::byte* host_;
  std::uint64_t page_size_;
  DirtyBitmap dirty_;
};

}  // namespace doppel::memory
