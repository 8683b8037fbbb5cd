// Metadata tables of one cluster each, L2 tables or refcount blocks, kept in memory and written back in batches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "block/node.h"

namespace doppel::block::qcow2 {

struct Table {
  std::uint64_t offset;  // in the file
  std::vector<std::byte> bytes;
  bool dirty = false;
  bool fresh = false;  // nothing on disk points here yet, so it may be written at any time
  std::uint64_t last_use = 0;
};
using TablePtr = std::shared_ptr<Table>;

/// ENTRIES big-endian numbers at OFFSET of FILE, and back; for tables that are kept as a whole.
Task<Result<std::vector<std::uint64_t>>> read_numbers(Node& file, std::uint64_t offset, std::uint64_t entries);
Task<Result<>> write_numbers(Node& file, std::uint64_t offset, std::span<const std::uint64_t> numbers);

/// What Node::debug_event() is told before tables are read and written.
struct TableEvents {
  std::string_view load;
  std::string_view update;
};

/// Whoever holds the image's metadata lock may call; a TablePtr is good until that is let go.
class TableCache {
 public:
  TableCache(Node& file, std::size_t table_size, std::size_t budget_bytes, TableEvents events);

  Task<Result<TablePtr>> load(std::uint64_t offset);
  /// All zeroes, dirty and fresh.
  TablePtr create(std::uint64_t offset);
  void mark_dirty(Table& table);
  /// So that nothing of it is written any more.
  void forget(std::uint64_t offset);
  void clear();

  [[nodiscard]] bool dirty() const { return dirty_ > 0; }
  /// Time to write back, so that clean tables can make room.
  [[nodiscard]] bool crowded() const { return dirty_ > max_tables_ / 2; }
  Task<Result<>> write_fresh() {
    return write([](const Table& table) { return table.fresh; });
  }
  Task<Result<>> write_all() {
    return write([](const Table& /*table*/) { return true; });
  }

 private:
  Task<Result<>> write(bool (*wanted)(const Table&));
  void make_room();

  Node& file_;
  const std::size_t table_size_;
  const TableEvents events_;
  const std::size_t max_tables_;
  std::unordered_map<std::uint64_t, TablePtr> tables_;
  std::size_t dirty_ = 0;
  std::uint64_t uses_ = 0;
};

}  // namespace doppel::block::qcow2
