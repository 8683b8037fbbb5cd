#include "hw/virtio/chain.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "hw/virtio/virtio_registers.h"

namespace doppel::hw {

namespace {

constexpr std::uint64_t kLongestChain = std::uint64_t{1} << 32U;  // bytes: section 2.6.1.1

/// Calls MOVE(address, offset in the bytes, length) for each run of memory until COUNT bytes are through.
Result<> for_each_run(std::span<const Segment> segments, std::uint64_t offset, std::size_t count, auto move) {
  std::size_t done = 0;
  for (const Segment& segment : segments) {
    if (done == count) break;
    if (offset >= segment.length) {
      offset -= segment.length;
      continue;
    }
    const auto length = static_cast<std::size_t>(std::min<std::uint64_t>(segment.length - offset, count - done));
    DOPPEL_TRY(move(memory::GuestPhysAddr{segment.address + offset}, done, length));
    done += length;
    offset = 0;
  }
  if (done == count) return {};
  return fail(ErrorKind::kOutOfRange, "a buffer ends {} bytes too early", count - done);
}

}  // namespace

std::uint64_t total_size(std::span<const Segment> segments) {
  std::uint64_t size = 0;
  for (const Segment& segment : segments) size += segment.length;
  return size;
}

Result<> ChainBuilder::add(std::uint64_t address, std::uint32_t length, bool writable) {
  if (++descriptors_ > kMostDescriptors)
    return fail(ErrorKind::kOutOfRange, "a chain has more than {} descriptors, or leads back to itself",
                kMostDescriptors);
  if (length == 0) return {};
  if (address > std::numeric_limits<std::uint64_t>::max() - length)
    return fail(ErrorKind::kOutOfRange, "{} bytes at {:#x} go beyond the end of memory", length, address);
  size_ += length;
  if (size_ > kLongestChain) return fail(ErrorKind::kOutOfRange, "a chain is longer than 4 GiB");
  if (!writable && !chain_.writable.empty())
    return fail(ErrorKind::kInvalidArgument, "a chain has something to read behind something to write");
  (writable ? chain_.writable : chain_.readable).push_back({address, length});
  return {};
}

Result<std::uint32_t> ChainBuilder::indirect_count(std::uint32_t size) {
  if (size == 0 || size % virtio::descriptor::kSize != 0)
    return fail(ErrorKind::kInvalidArgument, "an indirect table of {} bytes does not hold whole descriptors", size);
  return size / virtio::descriptor::kSize;
}

Chain ChainBuilder::take(std::uint16_t id, std::uint16_t slots) && {
  chain_.id = id;
  chain_.slots = slots;
  return std::move(chain_);
}

Result<memory::DmaMappings> map_segments(const memory::DmaSpace& memory, std::span<const Segment> segments,
                                         std::uint64_t offset, std::size_t length, memory::DmaSpace::Access access) {
  memory::DmaMappings mapped;
  DOPPEL_TRY(for_each_run(segments, offset, length, [&](auto address, std::size_t /*at*/, std::size_t size) {
    return mapped.add(memory, address, size, access);
  }));
  return mapped;
}

Result<> read_segments(const memory::DmaSpace& memory, std::span<const Segment> segments, std::uint64_t offset,
                       std::span<std::byte> out) {
  return for_each_run(segments, offset, out.size(), [&](auto address, std::size_t at, std::size_t length) {
    return memory.read(address, out.subspan(at, length));
  });
}

Result<> write_segments(const memory::DmaSpace& memory, std::span<const Segment> segments, std::uint64_t offset,
                        std::span<const std::byte> data) {
  return for_each_run(segments, offset, data.size(), [&](auto address, std::size_t at, std::size_t length) {
    return memory.write(address, data.subspan(at, length));
  });
}

}  // namespace doppel::hw
