#include "memory/flatten.h"

#include <algorithm>

namespace doppel::memory {

namespace {

/// Deeper trees than any machine has are an endless one.
constexpr std::size_t kMaxDepth = 64;

FlatRange make_range(const RegionPtr& region, bool read_only) {
  FlatRange range{.region = region};
  switch (region->kind()) {
    case RegionKind::kRam:
      range.readable_ram = true;
      range.writable_ram = !read_only && !region->ram()->options().read_only;
      break;
    case RegionKind::kRom: range.readable_ram = true; break;
    default: break;
  }
  return range;
}

/// Does B go on where A ends, with the same bytes and rules?
bool continues(const FlatRange& a, const FlatRange& b) {
  return a.end() == b.start && a.region == b.region && a.region_offset + a.size == b.region_offset &&
         a.readable_ram == b.readable_ram && a.writable_ram == b.writable_ram && a.rom_device == b.rom_device;
}

}  // namespace

std::vector<FlatRange> Flattener::flatten(const RegionPtr& root) {
  Flattener flattener;
  flattener.render(root, 0, {.start = 0, .end = Address{1} << 64U}, false);
  return flattener.merged();
}

void Flattener::render(const RegionPtr& region, Address base, Window window, bool read_only) {
  if (!region->enabled_ || path_.size() >= kMaxDepth) return;
  const bool whole_space = region->kind_ == RegionKind::kContainer && region->size_ == 0;
  const Address size = whole_space ? Address{1} << 64U : Address{region->size_};
  window = {.start = std::max(window.start, base), .end = std::min(window.end, base + size)};
  if (window.empty() || std::ranges::find(path_, region.get()) != path_.end()) return;
  path_.push_back(region.get());
  render_inside(region, base, window, read_only || region->read_only_);
  path_.pop_back();
}

void Flattener::render_inside(const RegionPtr& region, Address base, Window window, bool read_only) {
  switch (region->kind_) {
    case RegionKind::kContainer:
      for (const RegionPtr& child : region->children_) render(child, base + child->offset_, window, read_only);
      break;
    case RegionKind::kAlias: render(region->alias_target_, base - region->alias_offset_, window, read_only); break;
    default: render_leaf(region, base, window, read_only); break;
  }
}

void Flattener::render_leaf(const RegionPtr& region, Address base, Window window, bool read_only) {
  FlatRange range = make_range(region, read_only);
  if (region->kind_ == RegionKind::kRomDevice && region->rom_readable_) range.readable_ram = range.rom_device = true;

  const auto start_of = [](const FlatRange& shown) { return Address{shown.start.value}; };
  auto next = std::ranges::lower_bound(ranges_, window.start, {}, start_of);
  if (next != ranges_.begin()) {
    const FlatRange& before = *std::prev(next);
    window.start = std::max(window.start, start_of(before) + before.size);
  }
  while (!window.empty()) {
    const Address gap_end = next == ranges_.end() ? window.end : std::min(window.end, start_of(*next));
    if (gap_end > window.start) {
      range.start = {static_cast<std::uint64_t>(window.start)};
      range.size = static_cast<std::uint64_t>(gap_end - window.start);
      range.region_offset = static_cast<std::uint64_t>(window.start - base);
      next = std::next(ranges_.insert(next, range));
    }
    if (next == ranges_.end()) break;
    window.start = start_of(*next) + next->size;
    ++next;
  }
}

std::vector<FlatRange> Flattener::merged() const {
  std::vector<FlatRange> result;
  for (const FlatRange& range : ranges_) {
    if (!result.empty() && continues(result.back(), range))
      result.back().size += range.size;
    else
      result.push_back(range);
  }
  return result;
}

}  // namespace doppel::memory
