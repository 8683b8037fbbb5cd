// One bit per 4 KiB guest page and client, set by writers, fetched and cleared by readers, without locks.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace doppel::memory {

/// Who wants to know; each sees every write once, on its own. kCode, of accelerators that remember decoded code, hears
/// of the host's writes alone; the others log the guest's too.
enum class DirtyClient : std::uint8_t { kMigration, kDisplay, kCode };
inline constexpr unsigned kDirtyClients = 3;

/// All members may be called from any thread. Nothing is allocated until a client starts logging.
class DirtyBitmap {
 public:
  /// COVERED_BYTES of memory, rounded up to whole pages.
  explicit DirtyBitmap(std::uint64_t covered_bytes);
  ~DirtyBitmap();
  DirtyBitmap(const DirtyBitmap&) = delete;
  DirtyBitmap& operator=(const DirtyBitmap&) = delete;

  /// With every page clean, unless CLIENT logs already.
  void start(DirtyClient client);
  void stop(DirtyClient client);
  [[nodiscard]] bool logging(DirtyClient client) const;
  /// Is any client logging? One relaxed load: writers ask this first.
  [[nodiscard]] bool any() const { return clients_.load(std::memory_order_relaxed) != 0; }

  /// Is any client logging that hears of the guest's writes?
  [[nodiscard]] bool any_log() const;

  /// Marks every page that the LENGTH bytes at OFFSET touch, for every client that logs. Bytes outside are ignored.
  void mark(std::uint64_t offset, std::uint64_t length);
  /// Takes over a bitmap (bit 0 = page FIRST_PAGE), such as KVM's, for CLIENT.
  void merge(DirtyClient client, std::uint64_t first_page, std::span<const std::uint64_t> words);
  /// Fetches and clears PAGES bits from FIRST_PAGE for CLIENT: bit 0 of the first word is FIRST_PAGE. Pages beyond
  /// the end are left out.
  [[nodiscard]] std::vector<std::uint64_t> take(DirtyClient client, std::uint64_t first_page, std::uint64_t pages);
  [[nodiscard]] bool test(DirtyClient client, std::uint64_t page) const;
  /// Counts the calls of mark() that found a page clean for CLIENT.
  [[nodiscard]] std::uint64_t first_marks(DirtyClient client) const {
    return first_marks_[static_cast<unsigned>(client)].load(std::memory_order_acquire);
  }
  /// The word with PAGE's bit (page % 64), for who asks all the time. CLIENT has started once; valid as long as this.
  [[nodiscard]] const std::atomic<std::uint64_t>& word_of(DirtyClient client, std::uint64_t page) const {
    return words(client)[page / 64];
  }

 private:
  [[nodiscard]] std::uint64_t word_count() const;
  [[nodiscard]] std::atomic<std::uint64_t>* words(DirtyClient client) const;

  const std::uint64_t pages_;
  std::atomic<std::uint8_t> clients_{0};
  std::atomic<std::uint64_t> first_marks_[kDirtyClients] = {};
  std::atomic<std::atomic<std::uint64_t>*> words_[kDirtyClients] = {};  // owned; made by the first start()
};

}  // namespace doppel::memory
