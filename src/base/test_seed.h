// The seed of a random test.
#pragma once

#include <cstdint>
#include <cstdlib>

namespace doppel {

/// DOPPEL_TEST_SEED's, for who wants to see a test's failure again; else FALLBACK.
inline std::uint64_t test_seed(std::uint64_t fallback) {
  const char* const wanted = std::getenv("DOPPEL_TEST_SEED");
  return wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : fallback;
}

}  // namespace doppel
