#include "hw/pci/msix.h"

#include <algorithm>
#include <utility>

#include "base/bits.h"
#include "base/endian.h"

namespace doppel::hw {

namespace {

constexpr std::uint16_t kFunctionMask = 0x4000;
constexpr std::uint16_t kEnable = 0x8000;
constexpr unsigned kVectorControl = 12;  // offset in an entry; bit 0 masks
constexpr unsigned kControlMask = 0x01;

/// The SIZE bytes at OFFSET of BYTES; ones beyond the end.
std::uint64_t read_bytes(const std::vector<std::uint8_t>& bytes, std::uint64_t offset, unsigned size) {
  if (offset > bytes.size() || bytes.size() - offset < size) return low_mask(8 * size);
  return load_le_sized(bytes.data() + offset, size);
}

}  // namespace

MsixCapability::MsixCapability(Device& owner, memory::Topology& topology, ConfigSpace& config, unsigned offset,
                               const MsixLayout& layout, MsiOutput& output)
    : owner_(owner),
      config_(config),
      offset_(offset),
      vectors_(layout.vectors),
      output_(output),
      table_(std::size_t{layout.vectors} * kEntrySize),
      pending_(align_up(layout.vectors, 64U) / 8),
      table_region_(topology.io("msix-table", table_.size(), table_port_)),
      pba_region_(topology.io("msix-pba", pending_.size(), pending_port_)) {
  config.define<std::uint16_t>(offset + 2, static_cast<std::uint16_t>(layout.vectors - 1), kEnable | kFunctionMask);
  config.define<std::uint32_t>(offset + 4, layout.table_offset | layout.table_bar);
  config.define<std::uint32_t>(offset + 8, layout.pba_offset | layout.pba_bar);
  reset();
}

bool MsixCapability::enabled() const {
  return (control() & kEnable) != 0;
}

bool MsixCapability::masked(unsigned vector) const {
  return (control() & kFunctionMask) != 0 ||
         (table_[std::size_t{vector} * kEntrySize + kVectorControl] & kControlMask) != 0;
}

bool MsixCapability::pending(unsigned vector) const {
  return test_bit(pending_[vector / 8], vector % 8);
}

MsiMessage MsixCapability::message(unsigned vector) const {
  const std::uint8_t* entry = table_.data() + std::size_t{vector} * kEntrySize;
  return {load_le<std::uint64_t>(entry) & ~std::uint64_t{3}, load_le<std::uint32_t>(entry + 8)};
}

void MsixCapability::signal(unsigned vector) {
  if (!enabled() || vector >= vectors_) return;
  set_pending(vector, true);
  send_if_ready(vector);
}

void MsixCapability::changed() {
  for (unsigned vector = 0; vector < vectors_; ++vector) send_if_ready(vector);
}

void MsixCapability::reset() {
  std::fill(table_.begin(), table_.end(), std::uint8_t{0});
  std::fill(pending_.begin(), pending_.end(), std::uint8_t{0});
  for (std::size_t entry = 0; entry < table_.size(); entry += kEntrySize) table_[entry + kVectorControl] = kControlMask;
}

Result<> MsixCapability::restore(std::vector<std::uint8_t> table, std::vector<std::uint8_t> pending) {
  if (table.size() != table_.size() || pending.size() != pending_.size())
    return fail(ErrorKind::kCorrupt, "the saved MSI-X table has {} entries, this one {}", table.size() / kEntrySize,
                vectors_);
  table_ = std::move(table);
  pending_ = std::move(pending);
  return {};
}

void MsixCapability::set_pending(unsigned vector, bool pending) {
  pending_[vector / 8] = with_bit(pending_[vector / 8], vector % 8, pending);
}

void MsixCapability::send_if_ready(unsigned vector) {
  if (!enabled() || !pending(vector) || masked(vector)) return;
  set_pending(vector, false);
  output_.send(message(vector));
}

std::uint64_t MsixCapability::TablePort::read(std::uint64_t offset, unsigned size) {
  const DeviceGuard guard(msix_.owner_);
  return read_bytes(msix_.table_, offset, size);
}

void MsixCapability::TablePort::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
  const DeviceGuard guard(msix_.owner_);
  std::vector<std::uint8_t>& table = msix_.table_;
  if (offset > table.size() || table.size() - offset < size) return;
  store_le_sized(table.data() + offset, size, value);
  msix_.send_if_ready(static_cast<unsigned>(offset / kEntrySize));
}

std::uint64_t MsixCapability::PendingPort::read(std::uint64_t offset, unsigned size) {
  const DeviceGuard guard(msix_.owner_);
  return read_bytes(msix_.pending_, offset, size);
}

}  // namespace doppel::hw
