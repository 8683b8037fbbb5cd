// From guest clusters to L2 entries: the active L1 table and the L2 tables under it.
#pragma once

#include <cstdint>
#include <vector>

#include "block/node.h"
#include "block/qcow2/entry.h"
#include "block/qcow2/header.h"
#include "block/qcow2/refcounts.h"
#include "block/qcow2/table_cache.h"

namespace doppel::block::qcow2 {

/// Whoever holds the image's metadata lock may call.
class Mapping {
 public:
  Mapping(Node& file, const Header& header, Refcounts& refcounts, std::vector<std::uint64_t>& retired);

  Task<Result<>> load();

  /// The L2 table for guest offset OFFSET; null where there is none.
  Task<Result<TablePtr>> table(std::uint64_t offset);
  /// Likewise one that may be changed: a new one, or a copy of one that a snapshot also uses, where needed.
  Task<Result<TablePtr>> table_to_change(std::uint64_t offset);

  [[nodiscard]] std::size_t index_in_table(std::uint64_t offset) const {
    return static_cast<std::size_t>((offset >> layout_.cluster_bits) % layout_.l2_entries());
  }
  [[nodiscard]] Result<Entry> entry(const Table& table, std::size_t index) const {
    return decode_entry(layout_, table.bytes.data() + index * layout_.l2_entry_size());
  }
  void set_entry(Table& table, std::size_t index, const Entry& entry) {
    encode_entry(layout_, entry, table.bytes.data() + index * layout_.l2_entry_size());
    tables_.mark_dirty(table);
  }

  [[nodiscard]] bool dirty() const { return tables_.dirty() || dirty_begin_ < dirty_end_; }
  [[nodiscard]] bool crowded() const { return tables_.crowded(); }
  /// Tables that nothing on disk points to.
  Task<Result<>> write_fresh() { return tables_.write_fresh(); }
  /// Everything; what it points to must be durable.
  Task<Result<>> write_all();

  /// The active L1 table, for who replaces or copies it as a whole.
  [[nodiscard]] std::vector<std::uint64_t>& l1() { return l1_; }
  /// So that all L1 entries are written at the header's L1 offset next time.
  void mark_l1_dirty();
  void forget_tables() { tables_.clear(); }
  TableCache& tables() { return tables_; }

 private:
  void set_l1(std::size_t index, std::uint64_t value);

  Node& file_;
  const Header& header_;
  const Layout layout_;
  Refcounts& refcounts_;
  std::vector<std::uint64_t>& retired_;
  TableCache tables_;
  std::vector<std::uint64_t> l1_;
  std::size_t dirty_begin_ = 0;  // L1 entries that changed since they were written
  std::size_t dirty_end_ = 0;
};

}  // namespace doppel::block::qcow2
