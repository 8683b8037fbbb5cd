#include "memory/dirty_bitmap.h"

#include <algorithm>

#include "base/bits.h"
#include "memory/address.h"

namespace doppel::memory {

namespace {

constexpr std::uint64_t kBitsPerWord = 64;

std::uint8_t mask(DirtyClient client) {
  return static_cast<std::uint8_t>(1U << static_cast<unsigned>(client));
}

}  // namespace

DirtyBitmap::DirtyBitmap(std::uint64_t covered_bytes)
    : pages_(covered_bytes / kPageSize + (covered_bytes % kPageSize != 0 ? 1 : 0)) {}

DirtyBitmap::~DirtyBitmap() {
  for (auto& words : words_) delete[] words.load(std::memory_order_relaxed);
}

std::uint64_t DirtyBitmap::word_count() const {
  return (pages_ + kBitsPerWord - 1) / kBitsPerWord;
}

std::atomic<std::uint64_t>* DirtyBitmap::words(DirtyClient client) const {
  return words_[static_cast<unsigned>(client)].load(std::memory_order_acquire);
}

void DirtyBitmap::start(DirtyClient client) {
  if (words(client) == nullptr) {
    std::atomic<std::uint64_t>* none = nullptr;
    auto* fresh = new std::atomic<std::uint64_t>[word_count()]();
    // Kept until the end, since a writer may hold it: logging starts seldom and mostly again.
    if (!words_[static_cast<unsigned>(client)].compare_exchange_strong(none, fresh, std::memory_order_acq_rel))
      delete[] fresh;
  } else if (!logging(client)) {
    for (std::uint64_t i = 0; i < word_count(); ++i) words(client)[i].store(0, std::memory_order_relaxed);
  }
  clients_.fetch_or(mask(client), std::memory_order_release);
}

void DirtyBitmap::stop(DirtyClient client) {
  clients_.fetch_and(static_cast<std::uint8_t>(~mask(client)), std::memory_order_release);
}

bool DirtyBitmap::logging(DirtyClient client) const {
  return (clients_.load(std::memory_order_acquire) & mask(client)) != 0;
}

bool DirtyBitmap::any_log() const {
  return (clients_.load(std::memory_order_acquire) & ~mask(DirtyClient::kCode)) != 0;
}

namespace {

/// Calls FUNCTION(word index, bits of that word) for the pages in [FIRST_PAGE, END_PAGE).
template <class Function>
void for_each_word(std::uint64_t first_page, std::uint64_t end_page, Function function) {
  for (std::uint64_t page = first_page; page < end_page;) {
    const std::uint64_t word = page / kBitsPerWord;
    const std::uint64_t word_end = std::min((word + 1) * kBitsPerWord, end_page);
    const auto shift = static_cast<unsigned>(page % kBitsPerWord);
    function(word, low_mask(static_cast<unsigned>(word_end - page)) << shift);
    page = word_end;
  }
}

}  // namespace

void DirtyBitmap::mark(std::uint64_t offset, std::uint64_t length) {
  if (length == 0 || !any()) return;
  const std::uint64_t first = offset >> kPageShift;
  if (first >= pages_) return;
  const std::uint64_t last = length - 1 > ~offset ? ~std::uint64_t{0} : offset + length - 1;
  const std::uint64_t end = std::min((last >> kPageShift) + 1, pages_);
  for (unsigned i = 0; i < kDirtyClients; ++i) {
    const auto client = static_cast<DirtyClient>(i);
    if (!logging(client)) continue;
    std::atomic<std::uint64_t>* const bitmap = words(client);
    // Never only a look whether the bits are set: a load may overtake the store of the data that it is to announce.
    bool found_clean = false;
    for_each_word(first, end, [&](std::uint64_t word, std::uint64_t bits) {
      found_clean |= (~bitmap[word].fetch_or(bits, std::memory_order_acq_rel) & bits) != 0;
    });
    if (found_clean) first_marks_[i].fetch_add(1, std::memory_order_acq_rel);
  }
}

void DirtyBitmap::merge(DirtyClient client, std::uint64_t first_page, std::span<const std::uint64_t> words_in) {
  if (!logging(client)) return;
  std::atomic<std::uint64_t>* const bitmap = words(client);
  const auto shift = static_cast<unsigned>(first_page % kBitsPerWord);
  const auto put = [&](std::uint64_t word, std::uint64_t bits) {
    if (word >= word_count()) return;
    if (word == word_count() - 1 && pages_ % kBitsPerWord != 0)
      bits &= low_mask(static_cast<unsigned>(pages_ % kBitsPerWord));
    if (bits != 0) bitmap[word].fetch_or(bits, std::memory_order_release);
  };
  std::uint64_t word = first_page / kBitsPerWord;
  for (const std::uint64_t bits : words_in) {
    if (word >= word_count()) return;
    put(word, bits << shift);
    ++word;
    if (shift != 0) put(word, bits >> (kBitsPerWord - shift));
  }
}

std::vector<std::uint64_t> DirtyBitmap::take(DirtyClient client, std::uint64_t first_page, std::uint64_t pages) {
  first_page = std::min(first_page, pages_);
  pages = std::min(pages, pages_ - first_page);
  std::vector<std::uint64_t> taken(static_cast<std::size_t>((pages + kBitsPerWord - 1) / kBitsPerWord));
  std::atomic<std::uint64_t>* const bitmap = words(client);
  if (bitmap == nullptr) return taken;
  const auto shift = static_cast<unsigned>(first_page % kBitsPerWord);
  const std::uint64_t first_word = first_page / kBitsPerWord;
  for_each_word(first_page, first_page + pages, [&](std::uint64_t word, std::uint64_t bits) {
    if ((bitmap[word].load(std::memory_order_relaxed) & bits) == 0) return;
    const std::uint64_t found = bitmap[word].fetch_and(~bits, std::memory_order_acq_rel) & bits;
    const auto index = static_cast<std::size_t>(word - first_word);
    if (index < taken.size()) taken[index] |= found >> shift;
    if (shift != 0 && index > 0) taken[index - 1] |= found << (kBitsPerWord - shift);
  });
  return taken;
}

bool DirtyBitmap::test(DirtyClient client, std::uint64_t page) const {
  const std::atomic<std::uint64_t>* const bitmap = words(client);
  if (bitmap == nullptr || page >= pages_) return false;
  return ((bitmap[page / kBitsPerWord].load(std::memory_order_acquire) >> (page % kBitsPerWord)) & 1) != 0;
}

}  // namespace doppel::memory
