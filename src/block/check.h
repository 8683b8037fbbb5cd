// Checking images: what a format that can be checked offers, and what comes of it.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "block/task.h"

namespace doppel::block {

enum class Repair : std::uint8_t { kNone, kLeaks, kAll };

/// As `doppel-img check` tells it, by QEMU's names.
struct CheckResult {
  std::uint64_t corruptions = 0;
  std::uint64_t leaks = 0;
  std::uint64_t corruptions_fixed = 0;
  std::uint64_t leaks_fixed = 0;
  std::uint64_t image_end_offset = 0;  // 0: the format does not tell
  std::uint64_t total_clusters = 0;
  std::uint64_t allocated_clusters = 0;
  std::uint64_t fragmented_clusters = 0;
  std::uint64_t compressed_clusters = 0;
  std::uint64_t broken_bitmaps = 0;     // of the corruptions: bitmaps that nobody can read
  std::vector<std::string> findings{};  // a line each; at most kMaxFindings
  static constexpr std::size_t kMaxFindings = 1000;

  void corruption(std::string finding) {
    ++corruptions;
    if (findings.size() < kMaxFindings) findings.push_back(std::move(finding));
  }
};

/// An image whose own books can be wrong.
class Checkable {
 public:
  virtual ~Checkable() = default;
  /// Without repair nothing is changed. A format that cannot repair refuses what is not kNone.
  virtual Task<Result<CheckResult>> check(Repair repair) = 0;
};

}  // namespace doppel::block
