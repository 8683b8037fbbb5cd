// What a walk through the page tables finds out about a page.
#pragma once

#include <cstdint>

#include "accel/soft/runtime/guest_ram.h"

namespace doppel::accel::soft {

/// What a view may do with a page.
struct PageRights {
  bool read = false;
  bool write = false;  // and the page-table entry is marked dirty already
  bool fetch = false;
  bool operator==(const PageRights&) const = default;
};

struct TlbInfo {
  static constexpr std::uint64_t kNone = ~std::uint64_t{0};
  std::uint64_t linear = kNone;  // of the page; kNone: nothing here
  std::uint64_t gpa = 0;         // of the page
  RamSlot* slot = nullptr;       // null: no RAM there
  PageRights rights;
  bool global = false;
  std::uint8_t size_shift = 12;     // of the mapping that it is part of
  std::uint8_t protection_key = 0;  // which RIGHTS follow
};

}  // namespace doppel::accel::soft
