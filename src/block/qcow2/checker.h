// One pass over an image for Image::check().
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "block/node.h"
#include "block/qcow2/bitmap_directory.h"
#include "block/qcow2/check.h"
#include "block/qcow2/entry.h"
#include "block/qcow2/header.h"
#include "block/qcow2/refcounts.h"
#include "block/qcow2/snapshot_table.h"

namespace doppel::block::qcow2 {

/// Users of each cluster. Takes memory only for parts of the file that have any.
class UserCounts {
 public:
  void add(std::uint64_t cluster) { ++slot(cluster); }
  [[nodiscard]] std::uint32_t get(std::uint64_t cluster) const {
    const auto found = chunks_.find(cluster / kChunk);
    return found == chunks_.end() ? 0 : (*found->second)[cluster % kChunk];
  }
  /// Behind the last cluster that was ever added.
  [[nodiscard]] std::uint64_t end() const { return end_; }

 private:
  static constexpr std::uint64_t kChunk = 4096;
  using Chunk = std::array<std::uint32_t, kChunk>;

  std::uint32_t& slot(std::uint64_t cluster) {
    end_ = std::max(end_, cluster + 1);
    auto& chunk = chunks_[cluster / kChunk];
    if (!chunk) chunk = std::make_unique<Chunk>();
    return (*chunk)[cluster % kChunk];
  }

  std::unordered_map<std::uint64_t, std::unique_ptr<Chunk>> chunks_;
  std::uint64_t end_ = 0;
};

/// Reads the file itself: whoever asks has written all tables back.
class Checker {
 public:
  Checker(Node& file, Header& header, const std::vector<Snapshot>& snapshots, std::uint64_t snapshot_table_bytes);

  /// What it could not repair stays in the result's corruptions and leaks.
  Task<Result<CheckResult>> run(Repair repair);

 private:
  enum class Active : std::uint8_t { kNo, kYes };
  using Visit = std::function<Task<Result<>>(std::uint64_t& entry, const char* what, std::uint64_t cluster)>;

  Task<Result<>> count_users();
  [[nodiscard]] bool shared_too_often(std::uint64_t offset) const;
  Task<Result<>> count_l1(std::uint64_t offset, std::uint64_t entries, Active active);
  Task<Result<>> count_l2(std::uint64_t offset, Active active);
  void count_entry(const Entry& entry, Active active);
  Task<Result<>> count_bitmaps();
  Task<Result<>> count_refcount_structures();
  void count(std::string_view what, std::uint64_t offset, std::uint64_t bytes);
  Task<Result<>> compare();
  Task<Result<>> check_copied();
  Task<Result<>> rewrite_blocks();
  Task<Result<>> rebuild();
  Task<Result<>> repair_copied();
  Task<Result<>> visit_active(const Visit& visit);
  void corruption(std::string finding);
  void leak(std::string finding);
  void note(std::string finding);

  Node& file_;
  Header& header_;
  const Layout layout_;
  const std::vector<Snapshot>& snapshots_;
  const std::uint64_t snapshot_table_bytes_;
  std::unique_ptr<Refcounts> refcounts_;
  UserCounts users_;
  CheckResult result_;
  std::uint64_t file_clusters_ = 0;
  std::uint64_t count_errors_ = 0;     // of the corruptions, those that right refcounts mend
  std::uint64_t copied_errors_ = 0;    // and those that right flags mend
  std::uint64_t next_contiguous_ = 0;  // where the next data cluster is, if the disk is not fragmented
  std::vector<std::uint64_t> table_;   // the refcount table
};

}  // namespace doppel::block::qcow2
