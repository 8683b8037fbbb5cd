#include "hw/ide/ata_smart.h"

#include "base/endian.h"

namespace doppel::hw::smart {

namespace {

/// A row of both pages. Values run from 100 (good) down to the threshold.
struct Attribute {
  std::uint8_t id;
  std::uint16_t flags;  // bit 0: tells of failure to come; bit 1: collected online
  std::uint8_t value;
  std::uint8_t threshold;
};

constexpr Attribute kAttributes[] = {
    {1, 0x0003, 100, 6},   // read errors
    {5, 0x0003, 100, 36},  // reallocated sectors
    {12, 0x0002, 100, 0},  // power cycles
};

constexpr std::uint16_t kRevision = 0x0010;
constexpr std::size_t kEntrySize = 12;

void put_checksum(Page& page) {
  unsigned sum = 0;
  for (const std::byte byte : page) sum += std::to_integer<unsigned>(byte);
  page.back() = static_cast<std::byte>(0x100 - (sum & 0xffU));
}

}  // namespace

Page data() {
  Page page{};
  store_le(page.data(), kRevision);
  std::byte* entry = page.data() + 2;
  for (const Attribute& attribute : kAttributes) {
    entry[0] = std::byte{attribute.id};
    store_le(entry + 1, attribute.flags);
    entry[3] = entry[4] = std::byte{attribute.value};  // now, and the worst ever
    entry += kEntrySize;
  }
  put_checksum(page);
  return page;
}

Page thresholds() {
  Page page{};
  store_le(page.data(), kRevision);
  std::byte* entry = page.data() + 2;
  for (const Attribute& attribute : kAttributes) {
    entry[0] = std::byte{attribute.id};
    entry[1] = std::byte{attribute.threshold};
    entry += kEntrySize;
  }
  put_checksum(page);
  return page;
}

}  // namespace doppel::hw::smart
