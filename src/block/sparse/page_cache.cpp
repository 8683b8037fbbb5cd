#include "block/sparse/page_cache.h"

#include <algorithm>
#include <cstring>

#include "base/bits.h"

namespace doppel::block {

const std::byte* PageCache::peek(std::uint64_t offset, std::size_t size) const {
  const std::size_t inside = offset % kPageSize;
  if (inside + size > kPageSize) return nullptr;
  const auto found = pages_.find(offset / kPageSize);
  return found == pages_.end() ? nullptr : found->second->bytes.data() + inside;
}

/// Forgets what is not changed.
void PageCache::make_room() {
  if (pages_.size() < kMaxPages) return;
  std::erase_if(pages_, [](const auto& entry) { return entry.second->dirty == 0; });
}

Task<Result<PageCache::Page*>> PageCache::page(std::uint64_t number) {
  if (const auto found = pages_.find(number); found != pages_.end()) co_return found->second.get();
  make_room();
  auto fresh = std::make_unique<Page>();
  const std::span<std::byte> bytes(fresh->bytes);
  DOPPEL_CO_TRY(co_await file_.read(number * kPageSize, bytes));
  auto& slot = pages_[number];
  slot = std::move(fresh);
  co_return slot.get();
}

Task<Result<>> PageCache::read(std::uint64_t offset, std::span<std::byte> to) {
  while (!to.empty()) {
    const std::size_t inside = offset % kPageSize;
    const std::size_t length = std::min(to.size(), kPageSize - inside);
    DOPPEL_CO_ASSIGN(const Page* found, co_await page(offset / kPageSize));
    std::memcpy(to.data(), found->bytes.data() + inside, length);
    to = to.subspan(length);
    offset += length;
  }
  co_return Result<>{};
}

Task<Result<>> PageCache::write(std::uint64_t offset, std::span<const std::byte> from, WriteOrder order) {
  while (!from.empty()) {
    const std::size_t inside = offset % kPageSize;
    const std::size_t length = std::min(from.size(), kPageSize - inside);
    DOPPEL_CO_ASSIGN(Page * found, co_await page(offset / kPageSize));
    std::memcpy(found->bytes.data() + inside, from.data(), length);
    // A page with tables of both kinds goes with the later: what it points to is durable then.
    found->order = found->dirty != 0 ? std::max(found->order, order) : order;
    if (found->dirty == 0) ++dirty_pages_;
    for (std::size_t sector = inside / kSectorSize; sector * kSectorSize < inside + length; ++sector)
      found->dirty = with_bit(found->dirty, static_cast<unsigned>(sector), true);
    from = from.subspan(length);
    offset += length;
  }
  co_return Result<>{};
}

/// What changed of a page, in as few pieces as there are.
Task<Result<>> PageCache::write_page(std::uint64_t offset, Page& page) {
  const std::span<const std::byte> bytes(page.bytes);
  for (unsigned begin = 0; begin < kSectors; ++begin) {
    unsigned end = begin;
    while (end < kSectors && test_bit(page.dirty, end)) ++end;
    if (end == begin) continue;
    const auto piece = bytes.subspan(begin * kSectorSize, (end - begin) * kSectorSize);
    DOPPEL_CO_TRY(co_await file_.write(offset + begin * kSectorSize, piece));
    begin = end;
  }
  page.dirty = 0;
  --dirty_pages_;
  co_return Result<>{};
}

/// Tells whether there were any.
Task<Result<bool>> PageCache::write_pages(WriteOrder order) {
  bool any = false;
  for (auto& [number, page] : pages_) {
    if (page->dirty == 0 || page->order != order) continue;
    DOPPEL_CO_TRY(co_await write_page(number * kPageSize, *page));
    any = true;
  }
  co_return any;
}

Task<Result<>> PageCache::commit() {
  DOPPEL_CO_TRY(co_await file_.flush());
  for (const WriteOrder order : {WriteOrder::kFirst, WriteOrder::kSecond}) {
    DOPPEL_CO_ASSIGN(const bool any, co_await write_pages(order));
    if (any) DOPPEL_CO_TRY(co_await file_.flush());
  }
  co_return Result<>{};
}

}  // namespace doppel::block
