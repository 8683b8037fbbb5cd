#include "hw/nvme/data_map.h"

#include <algorithm>
#include <array>

namespace doppel::hw::nvme {

namespace {

constexpr std::uint64_t kPrpSize = 8;
constexpr std::uint64_t kListPiece = 64;  // entries read at a time

/// PSDT: how the two data words are to be read.
constexpr unsigned kPrp = 0;
constexpr unsigned kSglSegmentMetadata = 2;  // as 1, and MPTR, which nobody looks at here, is an SGL too

constexpr std::size_t kMostDescriptors = 4096;
constexpr unsigned kMostSegments = 256;

/// An SGL descriptor: section 4.4.1.
struct Descriptor {
  Le64 address{};
  Le32 length{};
  std::uint8_t reserved[3] = {};
  std::uint8_t identifier = 0;

  [[nodiscard]] unsigned type() const { return identifier >> 4U; }
  [[nodiscard]] unsigned subtype() const { return identifier & 0xfU; }
};
static_assert(sizeof(Descriptor) == 16);

constexpr unsigned kDataBlock = 0;
constexpr unsigned kBitBucket = 1;
constexpr unsigned kSegment = 2;
constexpr unsigned kLastSegment = 3;

}  // namespace

std::expected<DataMap, Status> DataMap::create(const memory::DmaSpace& memory, const Command& command,
                                               std::uint64_t length, unsigned page_shift) {
  DataMap map;
  map.length_ = length;
  Status status = Status::kInvalidField;
  if (command.data_kind() == kPrp)
    status = map.add_prps(memory, command, page_shift);
  else if (command.data_kind() <= kSglSegmentMetadata)
    status = map.add_sgl(memory, command);
  if (status != Status::kSuccess) return std::unexpected(status);
  return map;
}

void DataMap::add(const Piece& piece) {
  found_ += piece.size;
  if (!pieces_.empty()) {
    Piece& last = pieces_.back();
    if (last.discarded == piece.discarded && last.address + last.size == piece.address) {
      last.size += piece.size;
      return;
    }
  }
  pieces_.push_back(piece);
}

Status DataMap::add_prps(const memory::DmaSpace& memory, const Command& command, unsigned page_shift) {
  const std::uint64_t page = std::uint64_t{1} << page_shift;
  const std::uint64_t first = command.data1;
  const std::uint64_t second = command.data2;
  if (length_ == 0) return Status::kSuccess;
  if (first % 4 != 0) return Status::kInvalidPrpOffset;
  add({.address = first, .size = std::min(length_, page - first % page)});
  if (missing() == 0) return Status::kSuccess;
  if (missing() > page) return add_prp_list(memory, second, page);
  if (second % page != 0) return Status::kInvalidPrpOffset;
  add({.address = second, .size = missing()});
  return Status::kSuccess;
}

/// A list fills its page to the end; if that is not enough its last entry points to the next list, which begins with
/// its page: so each list but the first brings data.
Status DataMap::add_prp_list(const memory::DmaSpace& memory, std::uint64_t list, std::uint64_t page) {
  if (list % kPrpSize != 0) return Status::kInvalidPrpOffset;
  std::array<Le64, kListPiece> entries;
  while (missing() != 0) {
    const std::uint64_t in_page = (page - list % page) / kPrpSize;
    const std::uint64_t needed = (missing() + page - 1) / page;
    const std::uint64_t count = std::min({in_page, needed, kListPiece});
    if (!memory.read({list}, std::as_writable_bytes(std::span(entries).first(count))))
      return Status::kDataTransferError;
    const bool chains = count == in_page && needed > in_page;
    for (std::uint64_t i = 0; i < count; ++i) {
      if (entries[i] % page != 0) return Status::kInvalidPrpOffset;
      if (chains && i + 1 == count) continue;
      add({.address = entries[i], .size = std::min(missing(), page)});
    }
    list = chains ? std::uint64_t{entries[count - 1]} : list + count * kPrpSize;
  }
  return Status::kSuccess;
}

/// Goes through segments, one descriptor after another.
class DataMap::SglReader {
 public:
  SglReader(DataMap& map, const memory::DmaSpace& memory) : map_(map), memory_(memory) {}

  /// A data block or a bit bucket.
  Status take(const Descriptor& descriptor) {
    if (descriptor.subtype() != 0 || (descriptor.type() != kDataBlock && descriptor.type() != kBitBucket))
      return Status::kInvalidSglType;
    const std::uint64_t size = std::min<std::uint64_t>(descriptor.length, map_.missing());
    if (size != 0)
      map_.add({.address = descriptor.address, .size = size, .discarded = descriptor.type() == kBitBucket});
    return Status::kSuccess;
  }
  /// The descriptors that SEGMENT points to; its last may lead to another segment, which SEGMENT then becomes.
  Status take_segment(Descriptor& segment, bool& more) {
    const std::uint64_t count = segment.length / sizeof(Descriptor);
    const bool is_last = segment.type() == kLastSegment;
    more = false;
    if (count == 0 || segment.length % sizeof(Descriptor) != 0) return Status::kInvalidSglSegment;
    descriptors_ += count;
    if (++segments_ > kMostSegments || descriptors_ > kMostDescriptors) return Status::kInvalidSglCount;
    for (std::uint64_t i = 0; i < count; ++i) {
      const auto descriptor = memory_.read<Descriptor>({segment.address + i * sizeof(Descriptor)});
      if (!descriptor) return Status::kDataTransferError;
      if (i + 1 == count && !is_last && is_segment(*descriptor)) {
        segment = *descriptor;
        more = true;
        return Status::kSuccess;
      }
      if (const Status status = take(*descriptor); status != Status::kSuccess) return status;
    }
    return is_last ? Status::kSuccess : Status::kInvalidSglSegment;
  }
  static bool is_segment(const Descriptor& descriptor) {
    return descriptor.subtype() == 0 && (descriptor.type() == kSegment || descriptor.type() == kLastSegment);
  }

 private:
  DataMap& map_;
  const memory::DmaSpace& memory_;
  std::uint64_t descriptors_ = 0;
  unsigned segments_ = 0;
};

Status DataMap::add_sgl(const memory::DmaSpace& memory, const Command& command) {
  Descriptor descriptor;
  descriptor.address = command.data1;
  const std::uint64_t rest = command.data2;
  descriptor.length = static_cast<std::uint32_t>(rest);
  descriptor.identifier = static_cast<std::uint8_t>(rest >> 56U);
  SglReader reader(*this, memory);
  if (SglReader::is_segment(descriptor)) {
    for (bool more = true; more;)
      if (const Status status = reader.take_segment(descriptor, more); status != Status::kSuccess) return status;
  } else if (const Status status = reader.take(descriptor); status != Status::kSuccess) {
    return status;
  }
  return missing() == 0 ? Status::kSuccess : Status::kInvalidSglLength;
}

Result<> DataMap::to_guest(const memory::DmaSpace& memory, std::span<const std::byte> data) const {
  for (const Piece& piece : pieces_) {
    const auto part = data.first(static_cast<std::size_t>(piece.size));
    data = data.subspan(part.size());
    if (!piece.discarded) DOPPEL_TRY(memory.write({piece.address}, part));
  }
  return {};
}

std::shared_ptr<const memory::DmaMappings> DataMap::lend(const memory::DmaSpace& memory,
                                                         memory::DmaSpace::Access access) const {
  auto mappings = std::make_shared<memory::DmaMappings>();
  for (const Piece& piece : pieces_)
    if (piece.discarded || !mappings->add(memory, {piece.address}, piece.size, access)) return nullptr;
  return mappings;
}

Result<> DataMap::from_guest(const memory::DmaSpace& memory, std::span<std::byte> data) const {
  for (const Piece& piece : pieces_) {
    const auto part = data.first(static_cast<std::size_t>(piece.size));
    data = data.subspan(part.size());
    if (piece.discarded)
      std::ranges::fill(part, std::byte{0});
    else
      DOPPEL_TRY(memory.read({piece.address}, part));
  }
  return {};
}

}  // namespace doppel::hw::nvme
