#include "block/qcow2/snapshot_table.h"

#include <array>
#include <cstring>
#include <limits>
#include <span>

#include "base/bits.h"
#include "base/endian.h"

namespace doppel::block::qcow2 {
namespace {

/// The fixed part of an entry, as it lies in the file; extra data, id and name follow.
struct RawSnapshot {
  Be64 l1_offset;
  Be32 l1_entries;
  Be16 id_size;
  Be16 name_size;
  Be32 date_s;
  Be32 date_ns;
  Be64 vm_clock_ns;
  Be32 vm_state_size;
  Be32 extra_size;
};
static_assert(sizeof(RawSnapshot) == 40);

struct RawExtra {
  Be64 vm_state_size;
  Be64 disk_size;
  Be64 icount;
};
constexpr std::uint64_t kNoIcount = ~std::uint64_t{0};

Result<> check(const RawSnapshot& raw, const Layout& layout) {
  if (raw.extra_size > kMaxSnapshotExtraBytes)
    return fail(ErrorKind::kCorrupt, "a snapshot has {} bytes of extra data, more than the {} that are allowed",
                std::uint32_t{raw.extra_size}, kMaxSnapshotExtraBytes);
  const std::uint64_t bytes = std::uint64_t{raw.l1_entries} * 8;
  if (bytes > kMaxL1Bytes || layout.in_cluster(raw.l1_offset) != 0 || raw.l1_offset > kMaxHostOffset - bytes)
    return fail(ErrorKind::kCorrupt, "a snapshot's L1 table of {} bytes at offset {:#x} is not possible", bytes,
                std::uint64_t{raw.l1_offset});
  return {};
}

/// BYTES: extra data, id and name.
Snapshot decode(const RawSnapshot& raw, std::span<const std::byte> bytes, std::uint64_t disk_size) {
  Snapshot snapshot{.info = {}, .l1_offset = raw.l1_offset, .l1_entries = raw.l1_entries};
  SnapshotInfo& info = snapshot.info;
  info.date_s = raw.date_s;
  info.date_ns = raw.date_ns;
  info.vm_clock_ns = raw.vm_clock_ns;
  info.vm_state_size = raw.vm_state_size;
  info.disk_size = disk_size;  // where an old version has not stored it
  const auto extra = bytes.first(raw.extra_size);
  if (extra.size() >= 8) info.vm_state_size = load_be<std::uint64_t>(extra.data());
  if (extra.size() >= 16) info.disk_size = load_be<std::uint64_t>(extra.data() + 8);
  if (extra.size() >= 24)
    if (const auto icount = load_be<std::uint64_t>(extra.data() + 16); icount != kNoIcount) info.icount = icount;
  if (extra.size() > sizeof(RawExtra)) snapshot.unknown_extra.assign(extra.begin() + sizeof(RawExtra), extra.end());
  const auto* text = reinterpret_cast<const char*>(bytes.data()) + extra.size();
  info.id.assign(text, raw.id_size);
  info.name.assign(text + raw.id_size, raw.name_size);
  return snapshot;
}

template <class T>
void append(std::vector<std::byte>& to, const T& raw) {
  const auto bytes = std::as_bytes(std::span<const T>(&raw, 1));
  to.insert(to.end(), bytes.begin(), bytes.end());
}

void append(std::vector<std::byte>& to, const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  to.insert(to.end(), bytes.begin(), bytes.end());
}

}  // namespace

Task<Result<SnapshotTable>> read_snapshots(Node& file, const Header& header) {
  SnapshotTable table;
  const Layout layout = header.layout();
  for (std::uint32_t i = 0; i < header.snapshot_count; ++i) {
    RawSnapshot raw{};
    const std::uint64_t offset = header.snapshots_offset + table.bytes;
    if (offset >= file.size())
      co_return fail(ErrorKind::kCorrupt, "the snapshot table goes beyond the end of the file");
    DOPPEL_CO_TRY(co_await file.read(offset, std::as_writable_bytes(std::span<RawSnapshot>(&raw, 1))));
    DOPPEL_CO_TRY(check(raw, layout));
    std::vector<std::byte> rest(std::size_t{raw.extra_size} + raw.id_size + raw.name_size);
    DOPPEL_CO_TRY(co_await file.read(offset + sizeof raw, std::span<std::byte>(rest)));
    table.bytes += align_up(sizeof raw + rest.size(), 8);
    if (table.bytes > kMaxSnapshotTableBytes) co_return fail(ErrorKind::kCorrupt, "the snapshot table is too large");
    table.snapshots.push_back(decode(raw, rest, header.size));
  }
  co_return table;
}

Result<std::vector<std::byte>> encode_snapshots(const std::vector<Snapshot>& snapshots) {
  std::vector<std::byte> bytes;
  for (const Snapshot& snapshot : snapshots) {
    const SnapshotInfo& info = snapshot.info;
    RawSnapshot raw{};
    raw.l1_offset = snapshot.l1_offset;
    raw.l1_entries = snapshot.l1_entries;
    raw.id_size = static_cast<std::uint16_t>(info.id.size());
    raw.name_size = static_cast<std::uint16_t>(info.name.size());
    raw.date_s = static_cast<std::uint32_t>(info.date_s);
    raw.date_ns = info.date_ns;
    raw.vm_clock_ns = info.vm_clock_ns;
    const bool fits = info.vm_state_size <= std::numeric_limits<std::uint32_t>::max();
    raw.vm_state_size = fits ? static_cast<std::uint32_t>(info.vm_state_size) : 0;
    raw.extra_size = static_cast<std::uint32_t>(sizeof(RawExtra) + snapshot.unknown_extra.size());
    RawExtra extra{};
    extra.vm_state_size = info.vm_state_size;
    extra.disk_size = info.disk_size;
    extra.icount = info.icount.value_or(kNoIcount);
    append(bytes, raw);
    append(bytes, extra);
    bytes.insert(bytes.end(), snapshot.unknown_extra.begin(), snapshot.unknown_extra.end());
    append(bytes, info.id);
    append(bytes, info.name);
    bytes.resize(align_up(bytes.size(), 8));
  }
  if (bytes.size() > kMaxSnapshotTableBytes || snapshots.size() > kMaxSnapshots)
    return fail(ErrorKind::kNoSpace, "the image cannot hold more snapshots");
  return bytes;
}

}  // namespace doppel::block::qcow2
