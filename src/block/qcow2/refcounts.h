// How many users each cluster of the file has, and finding clusters without any. qcow2's specification, "Host cluster
// management".
#pragma once

#include <cstdint>
#include <vector>

#include "block/node.h"
#include "block/qcow2/header.h"
#include "block/qcow2/layout.h"
#include "block/qcow2/table_cache.h"

namespace doppel::block::qcow2 {

/// The refcount of place INDEX in BLOCK, for refcounts of 2^ORDER bits.
std::uint64_t load_refcount(const std::byte* block, std::uint64_t index, unsigned order);
void store_refcount(std::byte* block, std::uint64_t index, unsigned order, std::uint64_t value);

/// A table of refcount blocks. Whoever holds the image's metadata lock may call.
class Refcounts {
 public:
  struct Run {
    std::uint64_t offset = 0;
    std::uint64_t clusters = 0;
  };

  /// HEADER's fields for the refcount table follow when it moves.
  Refcounts(Node& file, Header& header);

  Task<Result<>> load();

  Task<Result<std::uint64_t>> get(std::uint64_t cluster);
  /// One user more or less.
  Task<Result<>> increment(std::uint64_t cluster);
  Task<Result<std::uint64_t>> decrement(std::uint64_t cluster);  // gives what is left

  /// CLUSTERS in a row, for one user each. Their contents are anything.
  Task<Result<std::uint64_t>> allocate(std::uint64_t clusters);
  /// The first free cluster, and what is free behind it, up to MOST.
  Task<Result<Run>> allocate_run(std::uint64_t most);

  [[nodiscard]] bool dirty() const { return blocks_.dirty() || table_dirty() || moved(); }
  /// The table has a new place that the header on disk does not name yet.
  [[nodiscard]] bool moved() const { return old_table_.clusters > 0; }
  [[nodiscard]] bool crowded() const { return blocks_.crowded(); }
  Task<Result<>> write_blocks() { return blocks_.write_all(); }
  /// After a flush of the blocks. What is written is durable on return.
  Task<Result<>> write_table();

 private:
  [[nodiscard]] bool table_dirty() const { return dirty_begin_ < dirty_end_; }
  Task<Result<TablePtr>> block(std::uint64_t index);
  Result<TablePtr> create_block(std::uint64_t index, std::uint64_t cluster);
  Task<Result<>> grow_table(std::uint64_t index);
  Task<Result<Run>> find_run(std::uint64_t least, std::uint64_t most);
  Task<Result<>> change(std::uint64_t cluster, std::uint64_t from_most, std::int64_t by, std::uint64_t& result);
  void mark_entry_dirty(std::uint64_t index);

  Node& file_;
  Header& header_;
  const Layout layout_;
  TableCache blocks_;
  std::vector<std::uint64_t> table_;
  std::uint64_t dirty_begin_ = 0;  // entries of the table that changed since it was written
  std::uint64_t dirty_end_ = 0;
  Run old_table_{};         // given up for a larger one that is not on disk yet
  std::uint64_t hint_ = 1;  // no cluster below is free
};

}  // namespace doppel::block::qcow2
