// An image's tables in memory: pages of its file, changed here and written in batches.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <span>

#include "base/endian.h"
#include "block/node.h"

namespace doppel::block {

/// Which tables must be durable before which: those of kFirst are written, and flushed, before those of kSecond, which
/// point to them.
enum class WriteOrder : std::uint8_t { kFirst, kSecond };

/// Whoever holds the lock of the image's tables may call. Holds kMaxPages pages, and more only of changed ones. What is
/// changed goes to the file in sectors of 512 bytes: those must not have anything else in them than tables.
class PageCache {
 public:
  static constexpr std::size_t kPageSize = 4096;

  explicit PageCache(Node& file) : file_(file) {}

  /// Behind the end of the file: zeroes.
  Task<Result<>> read(std::uint64_t offset, std::span<std::byte> to);
  /// In memory, until commit().
  Task<Result<>> write(std::uint64_t offset, std::span<const std::byte> from, WriteOrder order);

  /// The SIZE bytes at OFFSET if they are in memory and within one page; else null. Valid until the next other call.
  [[nodiscard]] const std::byte* peek(std::uint64_t offset, std::size_t size) const;

  [[nodiscard]] bool dirty() const { return dirty_pages_ > 0; }
  /// So much is changed that it should be committed soon.
  [[nodiscard]] bool crowded() const { return dirty_pages_ >= kMaxPages / 2; }
  /// Flushes what tables point to, writes all that changed, in order, and flushes again.
  Task<Result<>> commit();

 private:
  struct Page {
    std::array<std::byte, kPageSize> bytes;
    std::uint8_t dirty = 0;  // a bit for each sector
    WriteOrder order = WriteOrder::kFirst;
  };
  static constexpr std::size_t kMaxPages = 1024;
  static constexpr std::size_t kSectorSize = 512;
  static constexpr unsigned kSectors = kPageSize / kSectorSize;

  Task<Result<Page*>> page(std::uint64_t number);
  Task<Result<bool>> write_pages(WriteOrder order);
  Task<Result<>> write_page(std::uint64_t offset, Page& page);
  void make_room();

  Node& file_;
  std::map<std::uint64_t, std::unique_ptr<Page>> pages_;  // by offset / kPageSize
  std::size_t dirty_pages_ = 0;
};

/// The little-endian T at OFFSET.
template <class T>
Task<Result<T>> load_le_at(PageCache& cache, std::uint64_t offset) {
  if (const std::byte* bytes = cache.peek(offset, sizeof(T))) co_return load_le<T>(bytes);
  std::array<std::byte, sizeof(T)> bytes;
  const std::span<std::byte> all(bytes);
  DOPPEL_CO_TRY(co_await cache.read(offset, all));
  co_return load_le<T>(bytes.data());
}

template <class T>
Task<Result<>> store_le_at(PageCache& cache, std::uint64_t offset, T value, WriteOrder order) {
  std::array<std::byte, sizeof(T)> bytes;
  store_le<T>(bytes.data(), value);
  const std::span<const std::byte> all(bytes);
  co_return co_await cache.write(offset, all, order);
}

}  // namespace doppel::block
