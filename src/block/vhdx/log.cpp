#include "block/vhdx/log.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <optional>

#include "block/vhdx/crc32c.h"

namespace doppel::block::vhdx {
namespace {

/// Logs of this size and less are replayed; Windows and QEMU make them of 1 MiB.
constexpr std::uint64_t kMaxLogSize = 16 * kMiB;
constexpr std::uint64_t kMaxOffset = std::uint64_t{1} << 62;

template <class T>
T load(std::span<const std::byte> from) {
  T structure;
  std::memcpy(&structure, from.data(), sizeof structure);
  return structure;
}

/// The log's bytes, a ring.
class Ring {
 public:
  explicit Ring(std::vector<std::byte> bytes) : bytes_(std::move(bytes)) {}

  [[nodiscard]] std::uint64_t size() const { return bytes_.size(); }
  [[nodiscard]] std::span<const std::byte> sector(std::uint64_t offset) const {
    return std::span(bytes_).subspan(offset % size(), kLogSector);
  }

 private:
  std::vector<std::byte> bytes_;
};

std::uint64_t descriptor_sectors(const RawLogEntry& head) {
  return (sizeof(RawLogEntry) + std::uint64_t{head.descriptors} * sizeof(RawLogDescriptor) + kLogSector - 1) /
         kLogSector;
}

/// What there is in a log, each entry's checksum looked at once.
class Entries {
 public:
  Entries(const Ring& ring, const Guid& log) : ring_(ring), log_(log) {}

  /// The head of the entry at OFFSET, if there is a whole one of this log.
  const RawLogEntry* at(std::uint64_t offset) {
    const auto [known, fresh] = known_.try_emplace(offset);
    if (fresh) known->second = look(offset);
    return known->second ? &*known->second : nullptr;
  }
  /// Entries overlap each other so much that nobody can have written them.
  [[nodiscard]] bool absurd() const { return summed_ > 4 * ring_.size(); }

 private:
  std::optional<RawLogEntry> look(std::uint64_t offset) {
    const auto head = load<RawLogEntry>(ring_.sector(offset));
    if (head.signature != RawLogEntry::kSignature || head.log != log_ || head.sequence == 0) return std::nullopt;
    if (!is_aligned<std::uint32_t>(head.length, kLogSector) || head.length == 0 || head.length > ring_.size() ||
        !is_aligned<std::uint32_t>(head.tail, kLogSector) || head.tail >= ring_.size())
      return std::nullopt;
    if (descriptor_sectors(head) > head.length / kLogSector || absurd()) return std::nullopt;
    summed_ += head.length;
    return sum(offset, head.length) == head.checksum ? std::optional(head) : std::nullopt;
  }

  [[nodiscard]] std::uint32_t sum(std::uint64_t offset, std::uint64_t length) const {
    constexpr std::array<std::byte, 4> kNothing{};
    const auto first = ring_.sector(offset);
    std::uint32_t crc = crc32c(first.subspan(8), crc32c(kNothing, crc32c(first.first(4))));
    for (std::uint64_t done = kLogSector; done < length; done += kLogSector)
      crc = crc32c(ring_.sector(offset + done), crc);
    return crc;
  }

  const Ring& ring_;
  const Guid log_;
  std::map<std::uint64_t, std::optional<RawLogEntry>> known_;
  std::uint64_t summed_ = 0;  // bytes that checksums were made of
};

struct Sequence {
  std::vector<std::uint64_t> entries{};  // their offsets, oldest first
  std::uint64_t newest = 0;              // the last one's sequence number
};

/// The sequence whose newest entry is at OFFSET: from where that says that it begins, numbers rising by one.
std::optional<Sequence> sequence_ending_at(Entries& entries, std::uint64_t ring_size, std::uint64_t offset) {
  const RawLogEntry* last = entries.at(offset);
  if (last == nullptr) return std::nullopt;
  Sequence found{.newest = last->sequence};
  std::uint64_t total = 0;
  std::uint64_t previous = 0;
  for (std::uint64_t at = last->tail;;) {
    const RawLogEntry* entry = entries.at(at);
    if (entry == nullptr || (!found.entries.empty() && entry->sequence != previous + 1)) return std::nullopt;
    total += entry->length;
    if (total > ring_size) return std::nullopt;
    found.entries.push_back(at);
    previous = entry->sequence;
    if (at == offset) return found;
    at = (at + entry->length) % ring_size;
  }
}

/// The one with the highest number that is whole.
Result<std::optional<Sequence>> newest_sequence(const Ring& ring, const Guid& log) {
  Entries entries(ring, log);
  std::vector<std::pair<std::uint64_t, std::uint64_t>> by_age;  // sequence number, offset
  for (std::uint64_t offset = 0; offset < ring.size(); offset += kLogSector)
    if (const RawLogEntry* entry = entries.at(offset)) by_age.emplace_back(entry->sequence, offset);
  if (entries.absurd()) return fail(ErrorKind::kCorrupt, "the log's entries overlap");
  std::ranges::sort(by_age, std::greater<>());
  constexpr std::size_t kTries = 64;
  for (std::size_t i = 0; i < std::min(by_age.size(), kTries); ++i)
    if (auto found = sequence_ending_at(entries, ring.size(), by_age[i].second)) return found;
  return std::nullopt;
}

Result<> take_entry(const Ring& ring, std::uint64_t offset, LogContents& contents) {
  const auto head = load<RawLogEntry>(ring.sector(offset));
  std::uint64_t data = offset + descriptor_sectors(head) * kLogSector;
  const std::uint64_t end = offset + head.length;
  for (std::uint32_t i = 0; i < head.descriptors; ++i) {
    const std::uint64_t at = sizeof(RawLogEntry) + std::uint64_t{i} * sizeof(RawLogDescriptor);
    const auto descriptor =
        load<RawLogDescriptor>(ring.sector(offset + align_down(at, kLogSector)).subspan(at % kLogSector));
    const bool zero = descriptor.signature == RawLogDescriptor::kZeroSignature;
    if ((!zero && descriptor.signature != RawLogDescriptor::kDataSignature) || descriptor.sequence != head.sequence ||
        !is_aligned<std::uint64_t>(descriptor.file_offset, kLogSector) || descriptor.file_offset > kMaxOffset)
      return fail(ErrorKind::kCorrupt, "the log has a damaged descriptor");
    if (zero) {
      if (!is_aligned<std::uint64_t>(descriptor.leading, kLogSector) || descriptor.leading > kMaxOffset)
        return fail(ErrorKind::kCorrupt, "the log has a damaged descriptor");
      contents.put_zeroes(descriptor.file_offset, descriptor.leading);
      continue;
    }
    if (data >= end) return fail(ErrorKind::kCorrupt, "the log has fewer sectors than descriptors");
    const auto sector = load<RawLogData>(ring.sector(data));
    data += kLogSector;
    if (sector.signature != RawLogData::kSignature || sector.sequence_high != head.sequence >> 32 ||
        sector.sequence_low != (head.sequence & 0xffffffffU))
      return fail(ErrorKind::kCorrupt, "the log has a damaged sector");
    LogContents::Sector bytes;
    store_le<std::uint64_t>(bytes.data(), descriptor.leading);
    std::ranges::copy(sector.bytes, bytes.begin() + 8);
    store_le<std::uint32_t>(bytes.data() + 8 + sector.bytes.size(), descriptor.trailing);
    contents.put(descriptor.file_offset, bytes);
  }
  contents.set_file_size(
      std::min<std::uint64_t>(std::max<std::uint64_t>(contents.file_size(), head.last_file_size), kMaxOffset));
  return {};
}

std::unexpected<Error> read_only_error() {
  return fail(ErrorKind::kPermissionDenied, "the image is open for reading alone");
}

}  // namespace

void LogContents::put_zeroes(std::uint64_t offset, std::uint64_t length) {
  sectors_.erase(sectors_.lower_bound(offset), sectors_.lower_bound(offset + length));
  auto& known = zeroes_[offset];
  known = std::max(known, length);
}

void LogContents::patch(std::uint64_t offset, IoView to) const {
  const std::uint64_t end = offset + to.size();
  for (const auto& [begin, length] : zeroes_) {
    const std::uint64_t first = std::max(begin, offset);
    const std::uint64_t last = std::min(begin + length, end);
    if (first < last) to.slice(first - offset, last - first).clear();
  }
  for (auto at = sectors_.lower_bound(align_down(offset, kLogSector)); at != sectors_.end() && at->first < end; ++at) {
    const std::uint64_t first = std::max(at->first, offset);
    const std::uint64_t last = std::min(at->first + kLogSector, end);
    to.slice(first - offset, last - first).copy_from(at->second->data() + (first - at->first));
  }
}

Task<Result<>> LogContents::write_to(Node& file) const {
  if (file.size() < file_size_) DOPPEL_CO_TRY(co_await file.resize(file_size_, Preallocation::kOff));
  for (const auto& [offset, length] : zeroes_)
    DOPPEL_CO_TRY(co_await file.write_zeroes(offset, length, Unmap::kMayUnmap));
  for (const auto& [offset, sector] : sectors_) {
    const std::span<const std::byte> bytes(*sector);
    DOPPEL_CO_TRY(co_await file.write(offset, bytes));
  }
  co_return co_await file.flush();
}

Task<Result<LogContents>> read_log(Node& file, const RawHeader& header) {
  LogContents contents;
  if (header.log == Guid{}) co_return contents;
  const Region region{header.log_offset, header.log_length};
  DOPPEL_CO_TRY(check_region("log", region, file.size()));
  if (header.log_version != 0)
    co_return fail(ErrorKind::kUnsupported, "a log of version {} is not known, only 0",
                   std::uint16_t{header.log_version});
  if (region.length > kMaxLogSize)
    co_return fail(ErrorKind::kUnsupported, "a log of {} bytes cannot be replayed, only up to 16 MiB", region.length);
  std::vector<std::byte> bytes(region.length);
  const std::span<std::byte> all(bytes);
  DOPPEL_CO_TRY(co_await file.read(region.offset, all));
  const Ring ring(std::move(bytes));
  DOPPEL_CO_ASSIGN(const auto newest, newest_sequence(ring, header.log));
  if (!newest) co_return contents;
  for (const std::uint64_t offset : newest->entries) DOPPEL_CO_TRY(take_entry(ring, offset, contents));
  co_return contents;
}

Task<Result<>> ReplayedFile::read(std::uint64_t offset, IoView to) {
  DOPPEL_CO_TRY(co_await file_->read(offset, to));
  log_.patch(offset, to);
  co_return Result<>{};
}

Task<Result<>> ReplayedFile::write(std::uint64_t /*offset*/, IoView /*from*/) {
  co_return read_only_error();
}
Task<Result<>> ReplayedFile::write_zeroes(std::uint64_t /*offset*/, std::uint64_t /*length*/, Unmap /*unmap*/) {
  co_return read_only_error();
}
Task<Result<>> ReplayedFile::discard(std::uint64_t /*offset*/, std::uint64_t /*length*/) {
  co_return read_only_error();
}
Task<Result<>> ReplayedFile::resize(std::uint64_t /*size*/, Preallocation /*preallocation*/) {
  co_return read_only_error();
}

Task<Result<BlockStatus>> ReplayedFile::block_status(std::uint64_t offset, std::uint64_t length) {
  co_return BlockStatus{.bytes = length, .allocated = true, .data = true, .offset = offset};
}

}  // namespace doppel::block::vhdx
