#include "random.h"

namespace doppel::oracle {

namespace {

constexpr std::array<std::uint64_t, 22> kIntegers = {
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0x8000,
    0xffff,
    0x7fffffff,
    0x80000000,
    0xffffffff,
    0x7fffffffffffffff,
    0x8000000000000000,
    0xffffffffffffffff,
    0xfffffffffffffffe,
    0xffffffff80000000,
    0xffffffff7fffffff,
    0x100000000,
    0xffffffffffff8000,
    0xffffffffffffff80,
    0x8080808080808080,
    0x7f7f7f7f7f7f7f7f,
};

// Zero, one, two, half; greatest and least normal and denormal; infinity, quiet and signalling NaN; halves of integers'
// ends. The sign is put on afterwards.
constexpr std::array<std::uint16_t, 14> kHalves = {0x0000, 0x3c00, 0x4000, 0x3800, 0x7bff, 0x0400, 0x03ff,
                                                   0x0001, 0x7c00, 0x7e00, 0x7c01, 0x7dff, 0x3e00, 0x5bff};
constexpr std::array<std::uint32_t, 20> kSingles = {0x00000000, 0x3f800000, 0x40000000, 0x3f000000, 0x7f7fffff,
                                                    0x00800000, 0x007fffff, 0x00000001, 0x7f800000, 0x7fc00000,
                                                    0x7f800001, 0x7fbfffff, 0x4f000000, 0x4effffff, 0x4f800000,
                                                    0x5f000000, 0x3fc00000, 0x33800000, 0x47000000, 0x7fc12345};
constexpr std::array<std::uint64_t, 20> kDoubles = {
    0x0000000000000000, 0x3ff0000000000000, 0x4000000000000000, 0x3fe0000000000000, 0x7fefffffffffffff,
    0x0010000000000000, 0x000fffffffffffff, 0x0000000000000001, 0x7ff0000000000000, 0x7ff8000000000000,
    0x7ff0000000000001, 0x7ff7ffffffffffff, 0x41e0000000000000, 0x41dfffffffc00000, 0x43e0000000000000,
    0x43dfffffffffffff, 0x47efffffe0000000, 0x3810000000000000, 0x36a0000000000000, 0x3ff8000000000000};
constexpr std::array<std::uint16_t, 12> kExponents = {0x0000, 0x0001, 0x3fff, 0x4000, 0x3ffe, 0x7ffe,
                                                      0x7fff, 0x3fbf, 0x403e, 0x401e, 0x3c00, 0x43ff};
constexpr std::array<std::uint64_t, 8> kSignificands = {0x8000000000000000, 0xffffffffffffffff, 0xc000000000000000,
                                                        0x8000000000000001, 0x0000000000000000, 0x0000000000000001,
                                                        0x7fffffffffffffff, 0xa000000000000000};

}  // namespace

std::uint64_t Random::integer() {
  switch (below(8)) {
    case 0: return choose(kIntegers);
    case 1: return choose(kIntegers) + below(16) - 8;
    case 2: return below(256);
    case 3: return std::uint64_t{1} << below(64);
    case 4: return static_cast<std::uint64_t>(static_cast<std::int64_t>(next()) >> below(64));
    default: return next();
  }
}

std::uint64_t Random::element() {
  const std::uint64_t random = next();
  switch (below(10)) {
    case 0: return choose(kDoubles) | (random & 0x8000000000000000);
    case 1: return (choose(kDoubles) ^ (random & 0x8000000000000003)) + (random >> 8 & 1);
    case 2:
    case 3: {
      const auto low = choose(kSingles) | (static_cast<std::uint32_t>(random) & 0x80000000U);
      const auto high = choose(kSingles) | (static_cast<std::uint32_t>(random >> 8U) & 0x80000000U);
      return std::uint64_t{high} << 32U | low;
    }
    case 4: {
      std::uint64_t all = 0;
      for (unsigned i = 0; i < 4; ++i) all = all << 16U | (choose(kHalves) | (random >> i & 1U) << 15U);
      return all;
    }
    case 5: return integer();
    // Floats of middling size, of which sums and products are neither zero nor infinite.
    case 6: return (random & 0x800fffffffffffff) | (0x3f0 + below(32)) << 52U;
    case 7: return (random & 0x807fffff807fffff) | (0x70 + below(32)) << 23U | (0x70 + below(32)) << 55U;
    default: return random;
  }
}

Random::Extended Random::extended() {
  const std::uint64_t random = next();
  const auto sign = static_cast<std::uint16_t>(random & 0x8000);
  switch (below(6)) {
    case 0: return {choose(kSignificands), static_cast<std::uint16_t>(sign | choose(kExponents))};
    case 1: return {next(), static_cast<std::uint16_t>(sign | choose(kExponents))};
    case 2: return {next() | 1ULL << 63U, static_cast<std::uint16_t>(random)};
    default: return {next() | 1ULL << 63U, static_cast<std::uint16_t>(sign | (0x3fff - 40 + below(80)))};
  }
}

}  // namespace doppel::oracle
