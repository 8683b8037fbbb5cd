#include "memory/bus_access.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace doppel::memory {
namespace {

/// Every byte reads as its own offset; calls are noted as "r4@8" and "w2@6=beef".
class Recorder final : public IoHandler {
 public:
  [[nodiscard]] std::uint64_t read(std::uint64_t offset, unsigned size) override {
    calls_ += fmt::format("{}r{}@{:x}", calls_.empty() ? "" : " ", size, offset);
    std::uint64_t value = ~std::uint64_t{0};  // with rubbish above what was asked for
    for (unsigned i = 0; i < size; ++i)
      value = (value & ~(std::uint64_t{0xff} << (8 * i))) | ((offset + i) & 0xff) << (8 * i);
    return value;
  }
  void write(std::uint64_t offset, unsigned size, std::uint64_t value) override {
    calls_ += fmt::format("{}w{}@{:x}={:x}", calls_.empty() ? "" : " ", size, offset, value);
  }
  [[nodiscard]] std::string take() { return std::exchange(calls_, {}); }

 private:
  std::string calls_;
};

struct Row {
  IoSizes sizes;
  std::uint64_t offset;
  unsigned size;
  std::string reads;
  std::string writes;  // of 0x8877665544332211, cut to size
};

TEST(BusAccess, SizesTable) {
  const IoSizes any{};
  const IoSizes byte{.min = 1, .max = 1};
  const IoSizes word{.min = 1, .max = 2};
  const IoSizes dword{.min = 4, .max = 4};
  const IoSizes dword_or_less{.min = 1, .max = 4};
  const IoSizes loose{.min = 1, .max = 4, .unaligned = true};
  const std::vector<Row> rows = {
      // Taken as they come.
      {any, 8, 1, "r1@8", "w1@8=11"},
      {any, 8, 2, "r2@8", "w2@8=2211"},
      {any, 8, 8, "r8@8", "w8@8=8877665544332211"},
      // Too large: split, lowest first.
      {byte, 4, 2, "r1@4 r1@5", "w1@4=11 w1@5=22"},
      {word, 4, 4, "r2@4 r2@6", "w2@4=2211 w2@6=4433"},
      {dword_or_less, 8, 8, "r4@8 r4@c", "w4@8=44332211 w4@c=88776655"},
      {dword, 8, 8, "r4@8 r4@c", "w4@8=44332211 w4@c=88776655"},
      // Too small: part of a wider one.
      {dword, 8, 1, "r4@8", "w4@8=11"},
      {dword, 9, 1, "r4@8", "w4@8=1100"},
      {dword, 10, 2, "r4@8", "w4@8=22110000"},
      {dword, 9, 2, "r4@8", "w4@8=221100"},
      // Unaligned: split into bytes, each of which may be too small again.
      {any, 1, 2, "r1@1 r1@2", "w1@1=11 w1@2=22"},
      {any, 6, 4, "r1@6 r1@7 r1@8 r1@9", "w1@6=11 w1@7=22 w1@8=33 w1@9=44"},
      {dword, 3, 2, "r4@0 r4@4", "w4@0=11000000 w4@4=22"},
      {dword, 6, 4, "r4@4 r4@4 r4@8 r4@8", "w4@4=110000 w4@4=22000000 w4@8=33 w4@8=4400"},
      // Unaligned and wanted so.
      {loose, 1, 2, "r2@1", "w2@1=2211"},
      {loose, 3, 4, "r4@3", "w4@3=44332211"},
      {loose, 3, 8, "r4@3 r4@7", "w4@3=44332211 w4@7=88776655"},
  };
  for (const Row& row : rows) {
    const auto what = fmt::format("min {} max {} unaligned {}: size {} at {}", row.sizes.min, row.sizes.max,
                                  row.sizes.unaligned, row.size, row.offset);
    Recorder device;
    std::uint64_t expected = 0;
    for (unsigned i = 0; i < row.size; ++i) expected |= (row.offset + i) << (8 * i);
    EXPECT_EQ(read_handler(device, row.sizes, row.offset, row.size), expected) << what;
    EXPECT_EQ(device.take(), row.reads) << what;
    write_handler(device, row.sizes, row.offset, row.size, 0x8877'6655'4433'2211);
    EXPECT_EQ(device.take(), row.writes) << what;
  }
}

TEST(BusAccess, EveryCallStaysInsideAndWithinTheSizesWanted) {
  class Checker final : public IoHandler {
   public:
    IoSizes sizes;
    [[nodiscard]] std::uint64_t read(std::uint64_t offset, unsigned size) override {
      check(offset, size);
      return 0;
    }
    void write(std::uint64_t offset, unsigned size, std::uint64_t) override { check(offset, size); }

   private:
    void check(std::uint64_t offset, unsigned size) const {
      EXPECT_GE(size, sizes.min);
      EXPECT_LE(size, sizes.max);
      EXPECT_LE(offset + size, 16U);
      if (!sizes.unaligned) {
        EXPECT_EQ(offset % size, 0U);
      }
    }
  };
  Checker device;
  for (unsigned min = 1; min <= 8; min *= 2)
    for (unsigned max = min; max <= 8; max *= 2)
      for (const bool unaligned : {false, true})
        for (unsigned size = 1; size <= 8; size *= 2)
          for (std::uint64_t offset = 0; offset + size <= 16; ++offset) {
            device.sizes = {.min = min, .max = max, .unaligned = unaligned};
            (void)read_handler(device, device.sizes, offset, size);
            write_handler(device, device.sizes, offset, size, 0);
          }
}

}  // namespace
}  // namespace doppel::memory
