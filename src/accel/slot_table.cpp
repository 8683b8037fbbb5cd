#include "accel/slot_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/bits.h"

namespace doppel::accel {

namespace {

constexpr memory::DirtyClient kClients[] = {memory::DirtyClient::kMigration, memory::DirtyClient::kDisplay};

IoEventSpec spec_of(const memory::IoEvent& event, SlotTable::Space space) {
  return {
      .address = event.address, .is_port = space == SlotTable::Space::kPorts, .size = event.size, .value = event.value};
}

}  // namespace

SlotTable::SlotTable(Vm& vm, const Options& options, FailureHandler on_failure)
    : vm_(vm), options_(options), on_failure_(std::move(on_failure)) {}

/// The whole pages of RANGE that the VM can map, cut where the accelerator's slots end.
std::vector<SlotTable::Piece> SlotTable::pieces_of(const memory::FlatRange& range) const {
  std::vector<Piece> pieces;
  const bool read_only = !range.writable_ram;
  if (options_.space == Space::kPorts || !range.readable_ram) return pieces;
  if (read_only && !options_.capabilities.read_only_memory) return pieces;
  const std::uint64_t start = align_up(range.start.value, memory::kPageSize);
  const std::uint64_t end = align_down(range.end().value, memory::kPageSize);
  const std::uint64_t skipped = start - range.start.value;
  if (end <= start || !is_aligned(range.ram_offset() + skipped, memory::kPageSize)) return pieces;
  for (std::uint64_t at = start; at < end;) {
    const std::uint64_t size = std::min(end - at, options_.largest_slot);
    const std::uint64_t offset = at - range.start.value;
    pieces.push_back({.start = {at},
                      .size = size,
                      .host = range.host() + offset,
                      .read_only = read_only,
                      .block = range.region->ram(),
                      .block_offset = range.ram_offset() + offset});
    at += size;
  }
  return pieces;
}

void SlotTable::range_removed(const memory::FlatRange& range) {
  std::ranges::move(pieces_of(range), std::back_inserter(removed_));
}

void SlotTable::range_added(const memory::FlatRange& range) {
  std::ranges::move(pieces_of(range), std::back_inserter(added_));
}

void SlotTable::commit() {
  const std::scoped_lock lock(mutex_);
  for (Piece& piece : std::exchange(removed_, {})) {
    if (const auto same = std::ranges::find(added_, piece); same != added_.end())
      added_.erase(same);
    else
      report(remove(piece), piece);
  }
  for (const Piece& piece : std::exchange(added_, {})) report(add(piece), piece);
}

Result<> SlotTable::add(const Piece& piece) {
  unsigned number = next_;
  if (!free_.empty())
    number = *free_.begin();
  else if (next_ == options_.capabilities.max_memory_slots)
    return fail(ErrorKind::kNoSpace, "all {} memory slots are taken", next_);
  const Slot slot{.number = number, .logging = piece.block->dirty().any_log() && !piece.read_only, .piece = piece};
  DOPPEL_TRY(apply(slot));
  if (free_.empty())
    ++next_;
  else
    free_.erase(free_.begin());
  const auto after =
      std::ranges::upper_bound(slots_, piece.start, {}, [](const Slot& other) { return other.piece.start; });
  slots_.insert(after, slot);
  return {};
}

Result<> SlotTable::remove(const Piece& piece) {
  const auto found = std::ranges::find(slots_, piece, &Slot::piece);
  if (found == slots_.end()) return {};  // it never got a slot, and that was reported
  const Slot slot = std::move(*found);
  slots_.erase(found);
  free_.insert(slot.number);
  if (slot.logging) DOPPEL_TRY(fetch_log(slot));  // the VM forgets it together with the slot
  return vm_.set_memory_slot(
      {.slot = slot.number, .address = piece.start, .size = 0, .host = piece.host, .flags = SlotFlags::kNone});
}

Result<> SlotTable::apply(const Slot& slot) {
  return vm_.set_memory_slot({
      .slot = slot.number,
      .address = slot.piece.start,
      .size = slot.piece.size,
      .host = slot.piece.host,
      .flags = (slot.logging ? SlotFlags::kLogDirty : SlotFlags::kNone) |
               (slot.piece.read_only ? SlotFlags::kReadOnly : SlotFlags::kNone),
      .dirty = &slot.piece.block->dirty(),
      .dirty_offset = slot.piece.block_offset,
  });
}

void SlotTable::report(const Result<>& result, const Piece& piece) const {
  if (result || !on_failure_) return;
  on_failure_(Error(result.error())
                  .wrap(fmt::format("cannot change guest memory {:#x}-{:#x} ('{}')", piece.start.value,
                                    piece.start.value + piece.size - 1, piece.block->name())));
}

Result<> SlotTable::update_dirty_logging() {
  const std::scoped_lock lock(mutex_);
  for (Slot& slot : slots_) {
    const bool wanted = slot.piece.block->dirty().any_log() && !slot.piece.read_only;
    if (slot.logging == wanted) continue;
    slot.logging = wanted;
    DOPPEL_TRY(apply(slot));
  }
  return {};
}

Result<> SlotTable::sync_dirty_log(const memory::RamBlock* block) {
  const std::scoped_lock lock(mutex_);
  for (const Slot& slot : slots_)
    if (slot.logging && (block == nullptr || block == slot.piece.block.get())) DOPPEL_TRY(fetch_log(slot));
  return {};
}

Result<> SlotTable::fetch_log(const Slot& slot) {
  DOPPEL_ASSIGN(const std::vector<std::uint64_t> words, vm_.take_dirty_log(slot.number));
  memory::DirtyBitmap& bitmap = slot.piece.block->dirty();
  for (const memory::DirtyClient client : kClients)
    if (bitmap.logging(client)) bitmap.merge(client, slot.piece.block_offset / memory::kPageSize, words);
  return {};
}

std::size_t SlotTable::slots_in_use() const {
  const std::scoped_lock lock(mutex_);
  return slots_.size();
}

// A doorbell that the accelerator cannot take is no loss: the address space signals it when the write arrives as an
// exit.

void SlotTable::io_event_added(const memory::IoEvent& event) {
  if (!options_.capabilities.ioeventfd || event.event == nullptr) return;
  if (vm_.attach_ioeventfd(spec_of(event, options_.space), *event.event)) attached_.push_back(event);
}

void SlotTable::io_event_removed(const memory::IoEvent& event) {
  const auto found = std::ranges::find(attached_, event);
  if (found == attached_.end()) return;
  if (const auto detached = vm_.detach_ioeventfd(spec_of(event, options_.space), *event.event);
      !detached && on_failure_)
    on_failure_(Error(detached.error()).wrap(fmt::format("cannot detach the doorbell at {}", event.address)));
  attached_.erase(found);
}

}  // namespace doppel::accel
