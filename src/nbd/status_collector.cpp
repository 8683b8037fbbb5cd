#include "nbd/status_collector.h"

#include <algorithm>

#include "block/chain_status.h"
#include "nbd/protocol.h"
#include "nbd/wire.h"

namespace doppel::nbd {
namespace {

/// A disk in many small pieces that look the same is not looked at for longer than this.
constexpr unsigned kMaxSteps = 16384;
constexpr unsigned kStepsPerTurn = 256;

struct Dirt {
  bool dirty = false;
  std::uint64_t bytes = 0;
};

/// What RANGES say of the LENGTH bytes at OFFSET, as far as it is the same.
Dirt dirt_at(const DirtyRanges& bitmap, std::uint64_t offset, std::uint64_t length) {
  const auto next = std::ranges::upper_bound(bitmap.ranges, offset, {}, [](const auto& range) { return range.second; });
  if (next == bitmap.ranges.end()) return {.dirty = false, .bytes = length};
  if (next->first > offset) return {.dirty = false, .bytes = std::min(length, next->first - offset)};
  return {.dirty = true, .bytes = std::min(length, next->second - offset)};
}

std::uint32_t state_of(Context context, const block::ChainStatus& found, bool dirty) {
  if (context == Context::kDirtyBitmap) return dirty ? kStateDirty : 0;
  const block::BlockStatus& status = found.status;
  if (context == Context::kAllocationDepth) return status.allocated ? found.depth + 1 : 0;
  std::uint32_t state = 0;
  if (!status.data) state |= kStateHole;
  if (status.zero || !status.allocated) state |= kStateZero;
  return state;
}

}  // namespace

block::Task<Result<>> StatusCollector::collect(std::uint64_t offset, std::uint32_t length, std::size_t most) {
  for (unsigned step = 0; length > 0 && step < kMaxSteps; ++step) {
    if (step % kStepsPerTurn == kStepsPerTurn - 1) co_await block::LoopTurn(loop_);
    DOPPEL_CO_ASSIGN(const block::ChainStatus found,
                     co_await block::chain_status(*disk_.node, nullptr, offset, length));
    const std::uint64_t same = std::min<std::uint64_t>(found.status.bytes, length);
    const bool asks_bitmap = disk_.bitmap && std::ranges::find(contexts_, Context::kDirtyBitmap) != contexts_.end();
    const Dirt dirt = asks_bitmap ? dirt_at(*disk_.bitmap, offset, same) : Dirt{.bytes = same};
    const auto bytes = static_cast<std::uint32_t>(dirt.bytes);
    bool full = false;
    for (std::size_t i = 0; i < contexts_.size(); ++i) {
      const std::uint32_t state = state_of(contexts_[i], found, dirt.dirty);
      full = full || (extents_[i].size() == most && extents_[i].back().state != state);
    }
    if (full) break;
    for (std::size_t i = 0; i < contexts_.size(); ++i) {
      const std::uint32_t state = state_of(contexts_[i], found, dirt.dirty);
      if (!extents_[i].empty() && extents_[i].back().state == state)
        extents_[i].back().length += bytes;
      else
        extents_[i].push_back({bytes, state});
    }
    offset += bytes;
    length -= bytes;
  }
  co_return Result<>{};
}

std::vector<std::byte> StatusCollector::description(std::size_t index) const {
  WireWriter fields;
  fields.put(static_cast<std::uint32_t>(contexts_[index]));
  for (const Extent& extent : extents_[index]) fields.put(extent.length).put(extent.state);
  return std::move(fields).take();
}

}  // namespace doppel::nbd
