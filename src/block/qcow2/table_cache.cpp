#include "block/qcow2/table_cache.h"

#include <algorithm>

#include "base/endian.h"

namespace doppel::block::qcow2 {

namespace {

constexpr std::size_t kMinTables = 4;
constexpr std::size_t kMaxTables = 1024;  // make_room() looks at all of them

}  // namespace

Task<Result<std::vector<std::uint64_t>>> read_numbers(Node& file, std::uint64_t offset, std::uint64_t entries) {
  std::vector<std::uint64_t> numbers(entries);  // converted in place: an L1 table may have 32 MiB
  DOPPEL_CO_TRY(co_await file.read(offset, std::as_writable_bytes(std::span<std::uint64_t>(numbers))));
  for (std::uint64_t& number : numbers) number = to_big(number);
  co_return numbers;
}

Task<Result<>> write_numbers(Node& file, std::uint64_t offset, std::span<const std::uint64_t> numbers) {
  std::vector<std::uint64_t> bytes(numbers.begin(), numbers.end());
  for (std::uint64_t& number : bytes) number = to_big(number);
  co_return co_await file.write(offset, std::as_bytes(std::span<const std::uint64_t>(bytes)));
}

TableCache::TableCache(Node& file, std::size_t table_size, std::size_t budget_bytes, TableEvents events)
    : file_(file),
      table_size_(table_size),
      events_(events),
      max_tables_(std::clamp(budget_bytes / table_size, kMinTables, kMaxTables)) {}

Task<Result<TablePtr>> TableCache::load(std::uint64_t offset) {
  if (const auto found = tables_.find(offset); found != tables_.end()) {
    found->second->last_use = ++uses_;
    co_return found->second;
  }
  make_room();
  auto table = std::make_shared<Table>(Table{.offset = offset, .bytes = std::vector<std::byte>(table_size_)});
  file_.debug_event(events_.load);
  DOPPEL_CO_TRY(co_await file_.read(offset, std::span<std::byte>(table->bytes)));
  table->last_use = ++uses_;
  tables_.emplace(offset, table);
  co_return table;
}

TablePtr TableCache::create(std::uint64_t offset) {
  forget(offset);
  make_room();
  auto table = std::make_shared<Table>(Table{.offset = offset, .bytes = std::vector<std::byte>(table_size_)});
  table->fresh = true;
  table->last_use = ++uses_;
  tables_.emplace(offset, table);
  mark_dirty(*table);
  return table;
}

void TableCache::mark_dirty(Table& table) {
  if (!std::exchange(table.dirty, true)) ++dirty_;
}

void TableCache::forget(std::uint64_t offset) {
  const auto found = tables_.find(offset);
  if (found == tables_.end()) return;
  if (found->second->dirty) --dirty_;
  tables_.erase(found);
}

void TableCache::clear() {
  tables_.clear();
  dirty_ = 0;
}

/// The clean table used longest ago goes, unless somebody is at work on it.
void TableCache::make_room() {
  if (tables_.size() < max_tables_) return;
  auto oldest = tables_.end();
  for (auto it = tables_.begin(); it != tables_.end(); ++it) {
    const Table& table = *it->second;
    if (table.dirty || it->second.use_count() > 1) continue;
    if (oldest == tables_.end() || table.last_use < oldest->second->last_use) oldest = it;
  }
  if (oldest != tables_.end()) tables_.erase(oldest);
}

Task<Result<>> TableCache::write(bool (*wanted)(const Table&)) {
  std::vector<TablePtr> list;
  for (const auto& [offset, table] : tables_)
    if (table->dirty && wanted(*table)) list.push_back(table);
  std::ranges::sort(list, {}, &Table::offset);
  for (const TablePtr& table : list) {
    file_.debug_event(events_.update);
    DOPPEL_CO_TRY(co_await file_.write(table->offset, std::span<const std::byte>(table->bytes)));
    table->dirty = false;
    table->fresh = false;
    --dirty_;
  }
  co_return Result<>{};
}

}  // namespace doppel::block::qcow2
