// What single accesses of translated code found in the TLB last: each asks its own site before it asks the TLB, which
// spares it the way to the entry. Sites belong to hot code alone; whoever has none asks the TLB each time.
//
// A site that is empty has the tag of a page without canonical addresses, and a result that makes a host address of
// such an address which is not canonical either, so the host refuses the access and the guest's #GP or #SS follows.
//
// Translated code reads and fills sites itself, at absolute addresses (runtime/low_memory.h).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

namespace doppel::accel::soft {

struct TlbSite {
  std::uint64_t tag;     // linear address of the page
  std::uint64_t result;  // TlbEntry::host or TlbEntry::addend
};

/// What is needed when a site misses.
struct TlbSiteMiss {
  enum class Result : std::uint8_t { kHost, kAddend };
  std::uint64_t resume;   // address of the code behind the lookup
  std::uint64_t limit;    // the highest offset in a page where the operand fits
  std::uint32_t exit_id;  // leaves translated code to interpret the instruction
  std::uint32_t budget;   // misses until it is asked whether the site is worth its while
  std::uint32_t asked;    // how often, if it is the first site of its translation
  Result result;          // which of the entry's
  bool listed;            // in TlbSites::filled()
};

/// One thread's, as the TLB that it belongs to.
class TlbSites {
 public:
  static constexpr std::uint32_t kSites = 16384;
  using Result = TlbSiteMiss::Result;

  TlbSites();
  /// The number of an empty site; none: all are in use.
  [[nodiscard]] std::optional<std::uint32_t> take(Result result);
  void give_back(std::uint32_t number);
  [[nodiscard]] bool are_taken() const { return free_.empty(); }
  [[nodiscard]] const TlbSite& site(std::uint32_t number) const { return sites_[number]; }
  [[nodiscard]] TlbSiteMiss& miss(std::uint32_t number) { return misses_[number]; }
  /// Empties all sites.
  void forget();

  // What code that fills sites needs to know.
  [[nodiscard]] const TlbSite& first() const { return sites_.front(); }
  [[nodiscard]] const TlbSiteMiss& first_miss() const { return misses_.front(); }
  [[nodiscard]] const std::uint32_t& filled() const { return filled_.front(); }
  [[nodiscard]] const std::uint32_t& filled_count() const { return filled_count_; }

 private:
  void empty(std::uint32_t number);

  std::array<TlbSite, kSites> sites_;
  std::array<TlbSiteMiss, kSites> misses_{};
  std::array<std::uint32_t, kSites> filled_{};  // their numbers
  std::uint32_t filled_count_ = 0;
  std::vector<std::uint32_t> free_;
};

}  // namespace doppel::accel::soft
