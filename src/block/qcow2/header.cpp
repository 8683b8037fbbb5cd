#include "block/qcow2/header.h"

#include <array>
#include <cstring>
#include <span>
#include <string_view>

#include "base/endian.h"

namespace doppel::block::qcow2 {
namespace {

constexpr std::uint32_t kMagic = 0x514649fb;  // "QFI\xfb"
constexpr std::size_t kVersion2Size = 72;
constexpr std::size_t kVersion3Size = 112;  // with the compression type
constexpr std::size_t kVersion3MinSize = 104;

constexpr std::uint32_t kEndOfExtensions = 0;
constexpr std::uint32_t kBackingFormat = 0xe2792aca;
constexpr std::uint32_t kFeatureNames = 0x6803f857;
constexpr std::uint32_t kDataFileName = 0x44415441;
constexpr std::uint32_t kEncryptionHeader = 0x0537be77;
constexpr std::uint32_t kBitmapsExtension = 0x23852875;
constexpr std::uint32_t kLuks = 2;  // encryption method

/// As it lies in the file; qcow2's specification, "Header".
struct RawHeader {
  Be32 magic;
  Be32 version;
  Be64 backing_file_offset;
  Be32 backing_file_size;
  Be32 cluster_bits;
  Be64 size;
  Be32 crypt_method;
  Be32 l1_entries;
  Be64 l1_offset;
  Be64 refcount_table_offset;
  Be32 refcount_table_clusters;
  Be32 snapshot_count;
  Be64 snapshots_offset;
  // From version 3 on.
  Be64 incompatible;
  Be64 compatible;
  Be64 autoclear;
  Be32 refcount_order;
  Be32 header_length;
  std::uint8_t compression;
  std::uint8_t padding[7];
};
static_assert(sizeof(RawHeader) == kVersion3Size);

struct Feature {
  std::uint8_t kind;  // 0 incompatible, 1 compatible, 2 autoclear
  std::uint8_t bit;
  std::string_view name;
};

constexpr Feature kFeatures[] = {
    {0, 0, "dirty bit"},        {0, 1, "corrupt bit"},         {0, 2, "external data file"},
    {0, 3, "compression type"}, {0, 4, "extended L2 entries"}, {1, 0, "lazy refcounts"},
    {2, 0, "bitmaps"},          {2, 1, "raw external data"},
};
constexpr std::size_t kFeatureNameSize = 46;
constexpr std::size_t kFeatureEntrySize = 2 + kFeatureNameSize;

constexpr std::uint64_t kKnownIncompatible =
    Header::kDirty | Header::kCorrupt | Header::kExternalData | Header::kCompressionType | Header::kExtendedL2;

std::unexpected<Error> bad(std::string message) {
  return std::unexpected(Error(ErrorKind::kCorrupt, std::move(message)));
}

/// What the image itself calls its feature KIND, BIT; printable.
std::string feature_name(std::span<const std::byte> names, std::uint8_t kind, unsigned bit) {
  for (; names.size() >= kFeatureEntrySize; names = names.subspan(kFeatureEntrySize)) {
    if (std::to_integer<unsigned>(names[0]) != kind || std::to_integer<unsigned>(names[1]) != bit) continue;
    std::string name(reinterpret_cast<const char*>(names.data()) + 2, kFeatureNameSize);
    name.resize(std::min(name.size(), name.find('\0')));
    for (char& c : name)
      if (c < ' ' || c > '~') c = '?';
    return name;
  }
  return fmt::format("bit {}", bit);
}

Result<> check_features(std::uint64_t incompatible, std::span<const std::byte> names) {
  const std::uint64_t unknown = incompatible & ~kKnownIncompatible;
  if (unknown == 0) return {};
  std::string list;
  for (unsigned n = 0; n < 64; ++n)
    if (test_bit(unknown, n)) list += (list.empty() ? "'" : "', '") + feature_name(names, 0, n);
  return fail(ErrorKind::kUnsupported, "the image needs features that Doppel does not have: {}'", list);
}

Result<> check_table(std::string_view what, std::uint64_t offset, std::uint64_t bytes, std::uint64_t limit,
                     std::uint64_t alignment) {
  if (bytes > limit)
    return bad(fmt::format("the {} has {} bytes, more than the {} that are allowed", what, bytes, limit));
  if (!is_aligned(offset, alignment)) return bad(fmt::format("the {} at offset {:#x} is not aligned", what, offset));
  if (offset > kMaxHostOffset - bytes) return bad(fmt::format("the {} at offset {:#x} lies too high", what, offset));
  return {};
}

Result<> check_fields(const Header& header) {
  const Layout layout = header.layout();
  const std::uint64_t cluster = layout.cluster_size();
  DOPPEL_TRY(check_table("L1 table", header.l1_offset, std::uint64_t{header.l1_entries} * 8, kMaxL1Bytes, cluster));
  DOPPEL_TRY(check_table("refcount table", header.refcount_table_offset, header.refcount_table_clusters * cluster,
                         kMaxRefcountTableBytes, cluster));
  if (header.refcount_table_clusters == 0) return bad("the image has no refcount table");
  if (header.snapshot_count > kMaxSnapshots)
    return bad(fmt::format("the image claims {} snapshots, more than the {} that are allowed", header.snapshot_count,
                           kMaxSnapshots));
  DOPPEL_TRY(check_table("snapshot table", header.snapshots_offset, 0, 0, cluster));
  if (header.encrypted && header.luks_offset == 0) return bad("it is encrypted, but has no LUKS header");
  DOPPEL_TRY(check_table("LUKS header", header.luks_offset, header.luks_length, kMaxLuksBytes, cluster));
  if (header.size > std::uint64_t{1} << 62) return bad(fmt::format("the disk size {} is too large", header.size));
  if (layout.l1_entries(header.size) > header.l1_entries)
    return bad(
        fmt::format("an L1 table of {} entries is too small for a disk of {} bytes", header.l1_entries, header.size));
  if (layout.extended_l2 && header.cluster_bits < 14)
    return bad(fmt::format("clusters of {} bytes are too small for extended L2 entries", cluster));
  return {};
}

Result<Header> parse_fixed(const RawHeader& raw) {
  Header header;
  if (raw.magic != kMagic) return bad("it does not begin with qcow2's mark");
  header.version = raw.version;
  if (header.version < 2 || header.version > 3)
    return fail(ErrorKind::kUnsupported, "qcow2 version {} is not known, only 2 and 3", header.version);
  header.cluster_bits = raw.cluster_bits;
  if (header.cluster_bits < kMinClusterBits || header.cluster_bits > kMaxClusterBits)
    return bad(fmt::format("clusters of 2^{} bytes are not possible, only 2^{} to 2^{}", header.cluster_bits,
                           kMinClusterBits, kMaxClusterBits));
  if (raw.crypt_method == 1) return fail(ErrorKind::kUnsupported, "AES-encrypted qcow2 images are not supported");
  header.encrypted = raw.crypt_method == kLuks;
  if (raw.crypt_method != 0 && !header.encrypted)
    return bad(fmt::format("encryption method {} is not known", std::uint32_t{raw.crypt_method}));
  header.size = raw.size;
  header.l1_entries = raw.l1_entries;
  header.l1_offset = raw.l1_offset;
  header.refcount_table_offset = raw.refcount_table_offset;
  header.refcount_table_clusters = raw.refcount_table_clusters;
  header.snapshot_count = raw.snapshot_count;
  header.snapshots_offset = raw.snapshots_offset;
  if (header.version == 2) return header;
  header.incompatible = raw.incompatible;
  header.compatible = raw.compatible;
  header.autoclear = raw.autoclear;
  header.refcount_order = raw.refcount_order;
  if (header.refcount_order > 6)
    return bad(fmt::format("refcounts of 2^{} bits are not possible", header.refcount_order));
  return header;
}

Result<> parse_compression(Header& header, std::uint8_t type) {
  if (type > 1) return fail(ErrorKind::kUnsupported, "compression type {} is not known", type);
  header.compression = static_cast<Compression>(type);
  if ((type != 0) != ((header.incompatible & Header::kCompressionType) != 0))
    return bad("compression type and its feature bit contradict each other");
  return {};
}

/// Without the feature's bit, a program that does not know bitmaps has written, and what they say is no longer true.
Result<> parse_bitmaps(Header& header, std::span<const std::byte> data) {
  if (header.version < 3 || (header.autoclear & Header::kBitmaps) == 0) return {};
  if (data.size() != 24)
    return bad(fmt::format("the bitmaps' header extension has {} bytes instead of 24", data.size()));
  header.bitmaps = Header::BitmapsPlace{.count = load_be<std::uint32_t>(data.data()),
                                        .reserved = load_be<std::uint32_t>(data.data() + 4),
                                        .directory_bytes = load_be<std::uint64_t>(data.data() + 8),
                                        .directory_offset = load_be<std::uint64_t>(data.data() + 16)};
  return {};
}

/// EXTENSIONS: from behind the fixed fields to the backing file name, or the first cluster's end.
Result<> parse_extensions(Header& header, std::span<const std::byte> extensions) {
  std::span<const std::byte> feature_names;
  while (extensions.size() >= 8) {
    const auto type = load_be<std::uint32_t>(extensions.data());
    const auto length = load_be<std::uint32_t>(extensions.data() + 4);
    extensions = extensions.subspan(8);
    if (type == kEndOfExtensions) break;
    if (length > extensions.size())
      return bad(fmt::format("header extension {:#x} of {} bytes does not fit into its place", type, length));
    const auto data = extensions.first(length);
    extensions = extensions.subspan(std::min<std::size_t>(align_up(std::size_t{length}, 8), extensions.size()));
    const std::string text(reinterpret_cast<const char*>(data.data()), data.size());
    if (type == kBackingFormat)
      header.backing_format = text;
    else if (type == kDataFileName)
      header.data_file = text;
    else if (type == kBitmapsExtension)
      DOPPEL_TRY(parse_bitmaps(header, data));
    else if (type == kEncryptionHeader && header.encrypted && length == 16) {
      header.luks_offset = load_be<std::uint64_t>(data.data());
      header.luks_length = load_be<std::uint64_t>(data.data() + 8);
    } else if (type == kFeatureNames)
      feature_names = data;
    else
      header.unknown.push_back({type, {data.begin(), data.end()}});
  }
  return check_features(header.incompatible, feature_names);
}

RawHeader encode_fixed(const Header& header) {
  RawHeader raw{};
  raw.magic = kMagic;
  raw.version = header.version;
  raw.cluster_bits = header.cluster_bits;
  raw.size = header.size;
  raw.crypt_method = header.encrypted ? kLuks : 0;
  raw.l1_entries = header.l1_entries;
  raw.l1_offset = header.l1_offset;
  raw.refcount_table_offset = header.refcount_table_offset;
  raw.refcount_table_clusters = header.refcount_table_clusters;
  raw.snapshot_count = header.snapshot_count;
  raw.snapshots_offset = header.snapshots_offset;
  raw.incompatible = header.incompatible;
  raw.compatible = header.compatible;
  raw.autoclear = header.autoclear;
  raw.refcount_order = header.refcount_order;
  raw.header_length = kVersion3Size;
  raw.compression = static_cast<std::uint8_t>(header.compression);
  return raw;
}

std::vector<std::byte> feature_table() {
  std::vector<std::byte> table;
  for (const Feature& feature : kFeatures) {
    std::array<std::byte, kFeatureEntrySize> entry{};
    entry[0] = std::byte{feature.kind};
    entry[1] = std::byte{feature.bit};
    std::memcpy(entry.data() + 2, feature.name.data(), feature.name.size());
    table.insert(table.end(), entry.begin(), entry.end());
  }
  return table;
}

void append_extension(std::vector<std::byte>& to, std::uint32_t type, std::span<const std::byte> data) {
  std::array<std::byte, 8> head;
  store_be<std::uint32_t>(head.data(), type);
  store_be<std::uint32_t>(head.data() + 4, static_cast<std::uint32_t>(data.size()));
  to.insert(to.end(), head.begin(), head.end());
  to.insert(to.end(), data.begin(), data.end());
  to.resize(align_up(to.size(), 8));
}

std::size_t fixed_size(const Header& header) {
  return header.version == 2 ? kVersion2Size : kVersion3Size;
}

enum class FeatureNames : std::uint8_t { kWith, kWithout };

std::vector<std::byte> encode(const Header& header, FeatureNames names) {
  RawHeader raw = encode_fixed(header);
  std::vector<std::byte> bytes(fixed_size(header));
  const auto text = [](const std::string& string) { return std::as_bytes(std::span(string)); };
  if (header.bitmaps) {  // first, so that it is in one sector with the fixed fields
    std::array<std::byte, 24> place;
    store_be(place.data(), header.bitmaps->count);
    store_be(place.data() + 4, header.bitmaps->reserved);
    store_be(place.data() + 8, header.bitmaps->directory_bytes);
    store_be(place.data() + 16, header.bitmaps->directory_offset);
    append_extension(bytes, kBitmapsExtension, place);
  }
  if (!header.backing_format.empty()) append_extension(bytes, kBackingFormat, text(header.backing_format));
  if (!header.data_file.empty()) append_extension(bytes, kDataFileName, text(header.data_file));
  if (header.encrypted) {
    std::array<std::byte, 16> place;
    store_be(place.data(), header.luks_offset);
    store_be(place.data() + 8, header.luks_length);
    append_extension(bytes, kEncryptionHeader, place);
  }
  if (names == FeatureNames::kWith) append_extension(bytes, kFeatureNames, feature_table());
  for (const auto& [type, data] : header.unknown) append_extension(bytes, type, data);
  append_extension(bytes, kEndOfExtensions, {});
  if (!header.backing_file.empty()) {
    raw.backing_file_offset = bytes.size();
    raw.backing_file_size = static_cast<std::uint32_t>(header.backing_file.size());
    const auto name = text(header.backing_file);
    bytes.insert(bytes.end(), name.begin(), name.end());
  }
  std::memcpy(bytes.data(), &raw, fixed_size(header));
  return bytes;
}

/// The features' names, which are only there for messages, go first if there is no room.
Result<std::vector<std::byte>> encode(const Header& header) {
  const std::uint64_t room = header.layout().cluster_size();
  std::vector<std::byte> bytes = encode(header, header.version >= 3 ? FeatureNames::kWith : FeatureNames::kWithout);
  if (bytes.size() > room) bytes = encode(header, FeatureNames::kWithout);
  if (bytes.size() <= room) return bytes;
  return fail(ErrorKind::kNoSpace, "the header, with the backing file's name, does not fit into a cluster of {} bytes",
              room);
}

}  // namespace

Task<Result<Header>> read_header(Node& file) {
  RawHeader raw{};
  DOPPEL_CO_TRY(co_await file.read(0, std::as_writable_bytes(std::span<RawHeader>(&raw, 1))));
  DOPPEL_CO_ASSIGN(Header header, parse_fixed(raw));
  const std::uint64_t cluster = header.layout().cluster_size();
  const std::size_t length = header.version == 2 ? kVersion2Size : std::size_t{raw.header_length};
  if (length > cluster || (header.version == 3 && (length < kVersion3MinSize || length % 8 != 0)))
    co_return bad(fmt::format("a header of {} bytes is not possible", length));
  if (header.version == 3) DOPPEL_CO_TRY(parse_compression(header, length > kVersion3MinSize ? raw.compression : 0));

  std::vector<std::byte> first(cluster);
  DOPPEL_CO_TRY(co_await file.read(0, std::span<std::byte>(first)));
  const std::uint64_t name_offset = raw.backing_file_offset;
  const std::uint64_t name_size = raw.backing_file_size;
  if (name_offset != 0) {
    if (name_size > kMaxBackingNameBytes || name_offset < length || name_offset > cluster ||
        name_size > cluster - name_offset)
      co_return bad(
          fmt::format("a backing file name of {} bytes at offset {} is not possible", name_size, name_offset));
    header.backing_file.assign(reinterpret_cast<const char*>(first.data()) + name_offset, name_size);
  }
  const std::span<const std::byte> rest(first.data() + length, (name_offset != 0 ? name_offset : cluster) - length);
  DOPPEL_CO_TRY(parse_extensions(header, rest));
  DOPPEL_CO_TRY(check_fields(header));
  co_return header;
}

Task<Result<>> write_header(Node& file, const Header& header) {
  DOPPEL_CO_ASSIGN(const std::vector<std::byte> bytes, encode(header));
  co_return co_await file.write(0, std::span<const std::byte>(bytes));
}

Task<Result<>> write_header_fields(Node& file, const Header& header) {
  RawHeader raw = encode_fixed(header);
  RawHeader old{};
  DOPPEL_CO_TRY(co_await file.read(0, std::as_writable_bytes(std::span<RawHeader>(&old, 1))));
  raw.backing_file_offset = old.backing_file_offset;
  raw.backing_file_size = old.backing_file_size;
  raw.header_length = old.header_length;
  const std::size_t length = header.version == 2 ? kVersion2Size : kVersion3MinSize;
  co_return co_await file.write(0, std::as_bytes(std::span<const RawHeader>(&raw, 1)).first(length));
}

}  // namespace doppel::block::qcow2
