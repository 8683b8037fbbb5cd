#include "hw/floppy/floppy_format.h"

namespace doppel::hw {

namespace {

using enum FloppyDrive;

/// By QEMU's order: of two formats with the same size the first counts.
constexpr FloppyFormat kFormats[] = {
    {18, 80, 2, 0, k1440K}, {20, 80, 2, 0, k1440K}, {21, 80, 2, 0, k1440K}, {21, 82, 2, 0, k1440K},
    {21, 83, 2, 0, k1440K}, {22, 80, 2, 0, k1440K}, {23, 80, 2, 0, k1440K}, {24, 80, 2, 0, k1440K},
    {36, 80, 2, 3, k2880K}, {39, 80, 2, 3, k2880K}, {40, 80, 2, 3, k2880K}, {44, 80, 2, 3, k2880K},
    {48, 80, 2, 3, k2880K}, {9, 80, 2, 2, k1440K},  {10, 80, 2, 2, k1440K}, {10, 82, 2, 2, k1440K},
    {10, 83, 2, 2, k1440K}, {13, 80, 2, 2, k1440K}, {14, 80, 2, 2, k1440K}, {15, 80, 2, 0, k1200K},
    {18, 82, 2, 0, k1200K}, {18, 83, 2, 0, k1200K}, {11, 80, 2, 2, k1200K}, {9, 40, 2, 1, k1200K},
    {9, 40, 1, 1, k1200K},  {10, 41, 2, 1, k1200K}, {10, 42, 2, 1, k1200K}, {8, 40, 2, 2, k1200K},
    {8, 40, 1, 2, k1200K},  {9, 80, 1, 2, k1440K},
};

constexpr FloppyFormat k1440{18, 80, 2, 0, k1440K};
constexpr FloppyFormat k2880{36, 80, 2, 3, k2880K};

}  // namespace

FloppyFormat floppy_format(std::uint64_t sectors) {
  if (sectors == 0) return {};
  for (const FloppyFormat& format : kFormats)
    if (format.total() == sectors) return format;
  return sectors < k1440.total() ? k1440 : k2880;
}

}  // namespace doppel::hw
