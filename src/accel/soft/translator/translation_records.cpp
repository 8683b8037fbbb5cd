#include "accel/soft/translator/translation_records.h"

#include <sys/mman.h>

#include <algorithm>
#include <cassert>
#include <memory>
#include <new>
#include <type_traits>

#include "base/bits.h"

namespace doppel::accel::soft {

namespace {

/// What is at work in the code memory has nothing to be destroyed.
static_assert(std::is_trivially_destructible_v<Translation>);

constexpr std::size_t kMostSites = 2 * std::size_t{kMostInstructions};
static_assert(sizeof(Translation) + kMostParts * sizeof(Translation::Part) + kMostLinks * sizeof(Translation::Link) +
                  kMostSites * sizeof(Translation::Site) + kMostGroups * sizeof(Translation::Leader) +
                  kMostInstructions * (sizeof(Translation::Mnemonic) + sizeof(Translation::Instruction)) <=
              TranslationRecords::kMost);

template <class T>
std::uint8_t put_list(std::byte*& at, const std::vector<T>& list) {
  assert(reinterpret_cast<std::uintptr_t>(at) % alignof(T) == 0);
  at = reinterpret_cast<std::byte*>(std::uninitialized_copy(list.begin(), list.end(), reinterpret_cast<T*>(at)));
  return static_cast<std::uint8_t>(list.size());
}

}  // namespace

TranslationRecords::TranslationRecords(std::size_t capacity) : capacity_(std::min(capacity, kMostCapacity)) {
  constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  void* const place = ::mmap(nullptr, capacity_, PROT_READ | PROT_WRITE, kFlags, -1, 0);
  if (place == MAP_FAILED) throw std::bad_alloc();
  memory_ = static_cast<std::byte*>(place);
}

TranslationRecords::~TranslationRecords() {
  ::munmap(memory_, capacity_);
}

Translation& TranslationRecords::put(const TranslationDraft& draft, std::size_t& cursor) {
  assert(draft.id == id_at(cursor) && cursor + kMost <= capacity_);
  const auto offset = [&](std::uint32_t position) {
    return static_cast<std::uint16_t>(position - draft.guarded_entry);
  };
  auto* const made = new (memory_ + cursor) Translation{.key = draft.key,
                                                        .id = draft.id,
                                                        .page_number = draft.page_number,
                                                        .second_page_number = draft.second_page_number,
                                                        .guarded_entry = draft.guarded_entry,
                                                        .entry_with_flags = draft.entry_with_flags,
                                                        .saved_flags_offset = offset(draft.saved_flags_entry),
                                                        .entry_offset = offset(draft.entry),
                                                        .end_of_last_offset = offset(draft.end_of_last),
                                                        .size = offset(draft.end),
                                                        .exists = true,
                                                        .falls_through = draft.falls_through};
  std::byte* at = memory_ + cursor + sizeof(Translation);
  made->part_count = put_list(at, draft.parts);
  made->link_count = put_list(at, draft.links);
  made->site_count = put_list(at, draft.sites);
  made->leader_count = put_list(at, draft.leaders);
  made->mnemonic_count = put_list(at, draft.mnemonics);
  made->instruction_count = put_list(at, draft.instructions);
  cursor += align_up(made->bytes(), kUnit);
  return *made;
}

}  // namespace doppel::accel::soft
