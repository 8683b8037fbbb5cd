#include "block/vmdk/create.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/bits.h"
#include "base/text.h"
#include "block/sparse/random_id.h"
#include "block/vmdk/sparse_header.h"

namespace doppel::block::vmdk {
namespace {

constexpr std::uint64_t kSplitBytes = 2 * kGiB;
constexpr std::uint64_t kGrainSectors = 128;
constexpr std::uint64_t kTableEntries = 512;
constexpr std::uint64_t kTableSectors = kTableEntries * 4 / kSector;
constexpr std::uint64_t kDescriptorSector = 1;
constexpr std::uint64_t kDescriptorSectors = 20;
constexpr std::uint64_t kMaxSize = 62 * kTiB;  // VMware's
constexpr std::string_view kAdapters[] = {"ide", "buslogic", "lsilogic", "legacyESX"};

struct SubformatRow {
  std::string_view name;
  Subformat subformat;
};
constexpr SubformatRow kSubformats[] = {
    {"monolithicSparse", Subformat::kMonolithicSparse}, {"monolithicFlat", Subformat::kMonolithicFlat},
    {"twoGbMaxExtentSparse", Subformat::kSplitSparse},  {"twoGbMaxExtentFlat", Subformat::kSplitFlat},
    {"streamOptimized", Subformat::kStreamOptimized},
};

bool is_flat(Subformat subformat) {
  return subformat == Subformat::kMonolithicFlat || subformat == Subformat::kSplitFlat;
}

bool is_split(Subformat subformat) {
  return subformat == Subformat::kSplitFlat || subformat == Subformat::kSplitSparse;
}

bool has_own_descriptor(Subformat subformat) {
  return is_flat(subformat) || is_split(subformat);
}

std::uint64_t divide_up(std::uint64_t a, std::uint64_t b) {
  return (a + b - 1) / b;
}

/// "disk.vmdk" with "-flat" becomes "disk-flat.vmdk".
std::string extent_name(const std::string& name, const std::string& suffix) {
  const std::string_view kEnding = ".vmdk";
  const bool ends = name.ends_with(kEnding);
  const std::string stem = ends ? name.substr(0, name.size() - kEnding.size()) : name;
  return stem + suffix + (ends ? std::string(kEnding) : "");
}

struct ExtentPlan {
  std::string filename;
  std::uint64_t bytes;
};

std::vector<ExtentPlan> plan_extents(const std::string& name, const CreateOptions& options) {
  if (!has_own_descriptor(options.subformat)) return {{name, options.size}};
  if (!is_split(options.subformat)) return {{extent_name(name, "-flat"), options.size}};
  std::vector<ExtentPlan> extents;
  for (std::uint64_t begin = 0; begin < options.size; begin += kSplitBytes) {
    const std::string suffix = fmt::format("-{}{:03}", is_flat(options.subformat) ? 'f' : 's', extents.size() + 1);
    extents.push_back({extent_name(name, suffix), std::min(kSplitBytes, options.size - begin)});
  }
  return extents;
}

std::string make_descriptor(const std::vector<ExtentPlan>& extents, const CreateOptions& options) {
  const auto row = std::ranges::find(kSubformats, options.subformat, &SubformatRow::subformat);
  const std::uint64_t heads = options.adapter_type == "ide" ? 16 : 255;
  std::string text = "# Disk DescriptorFile\nversion=1\n";
  text +=
      fmt::format("CID={}\nparentCID={}\n", format_cid(random_number() & 0x7fffffffU), format_cid(options.parent_cid));
  text += fmt::format("createType=\"{}\"\n", row->name);
  if (!options.parent.empty()) text += fmt::format("parentFileNameHint=\"{}\"\n", options.parent);
  text += "\n# Extent description\n";
  for (const ExtentPlan& extent : extents)
    text += fmt::format("RW {} {} \"{}\"{}\n", extent.bytes / kSector, is_flat(options.subformat) ? "FLAT" : "SPARSE",
                        extent.filename, is_flat(options.subformat) ? " 0" : "");
  text += fmt::format("\n# The Disk Data Base\n#DDB\n\nddb.virtualHWVersion = \"{}\"\n", options.hardware_version);
  text += fmt::format("ddb.geometry.cylinders = \"{}\"\nddb.geometry.heads = \"{}\"\nddb.geometry.sectors = \"63\"\n",
                      options.size / (63 * heads * kSector), heads);
  text +=
      fmt::format("ddb.adapterType = \"{}\"\nddb.toolsVersion = \"{}\"\n", options.adapter_type, options.tools_version);
  return text;
}

Task<Result<>> write_bytes(Node& file, std::uint64_t offset, std::span<const std::byte> bytes) {
  co_return co_await file.write(offset, bytes);
}

/// A directory at sector DIRECTORY whose tables follow it.
Task<Result<>> write_directory(Node& file, std::uint64_t directory, std::uint64_t tables) {
  const std::uint64_t first = directory + divide_up(tables * 4, kSector);
  std::vector<std::byte> bytes(tables * 4);
  for (std::uint64_t i = 0; i < tables; ++i)
    store_le<std::uint32_t>(bytes.data() + i * 4, static_cast<std::uint32_t>(first + i * kTableSectors));
  co_return co_await write_bytes(file, directory * kSector, bytes);
}

/// Header, redundant tables, tables; room for a descriptor behind the header.
Task<Result<>> write_sparse_extent(Node& file, std::uint64_t bytes, const CreateOptions& options) {
  const bool stream = options.subformat == Subformat::kStreamOptimized;
  const bool descriptor = !has_own_descriptor(options.subformat);
  const std::uint64_t tables = divide_up(bytes / kSector, kGrainSectors * kTableEntries);
  const std::uint64_t directory_sectors = divide_up(tables * 4, kSector) + tables * kTableSectors;
  RawSparseHeader raw{};
  raw.magic = RawSparseHeader::kMagic;
  raw.version = stream ? 3U : options.zeroed_grain ? 2U : 1U;
  raw.flags = RawSparseHeader::kValidNewline | RawSparseHeader::kRedundantTable |
              (stream ? RawSparseHeader::kCompressed | RawSparseHeader::kMarkers : 0U) |
              (options.zeroed_grain ? RawSparseHeader::kZeroGrains : 0U);
  raw.capacity = bytes / kSector;
  raw.grain = kGrainSectors;
  raw.descriptor_offset = descriptor ? kDescriptorSector : 0;
  raw.descriptor_size = descriptor ? kDescriptorSectors : 0;
  raw.entries_per_table = static_cast<std::uint32_t>(kTableEntries);
  raw.redundant_directory = kDescriptorSector + kDescriptorSectors;
  raw.directory = raw.redundant_directory + directory_sectors;
  raw.overhead = divide_up(raw.directory + directory_sectors, kGrainSectors) * kGrainSectors;
  std::memcpy(raw.newlines, kNewlines, sizeof kNewlines);
  raw.compression = stream ? std::uint16_t{1} : std::uint16_t{0};
  DOPPEL_CO_TRY(co_await file.resize(0, Preallocation::kOff));
  DOPPEL_CO_TRY(co_await file.resize(raw.overhead * kSector, Preallocation::kOff));
  DOPPEL_CO_TRY(co_await write_bytes(file, 0, std::as_bytes(std::span(&raw, 1))));
  DOPPEL_CO_TRY(co_await write_directory(file, raw.redundant_directory, tables));
  co_return co_await write_directory(file, raw.directory, tables);
}

Task<Result<>> create_extent(const CreateFile& create_file, const ExtentPlan& extent, const CreateOptions& options) {
  DOPPEL_CO_ASSIGN(const NodePtr file, create_file(extent.filename));
  Result<> result;
  if (is_flat(options.subformat))
    result = co_await file->resize(extent.bytes, Preallocation::kOff);
  else
    result = co_await write_sparse_extent(*file, extent.bytes, options);
  const Result<> closed = co_await file->close();
  co_return result ? closed : result;
}

}  // namespace

Result<Subformat> parse_subformat(std::string_view name) {
  NearestName nearest(name);
  for (const auto& [known, subformat] : kSubformats) {
    if (name == known) return subformat;
    nearest.offer(known);
  }
  return fail(ErrorKind::kInvalidArgument, "'{}' is no subformat of VMDK{}", name, nearest.suggestion());
}

Result<> check_options(const CreateOptions& options) {
  const auto wrong = [](std::string text) {
    return std::unexpected(Error(ErrorKind::kInvalidArgument, std::move(text)));
  };
  if (options.size > kMaxSize)
    return wrong(fmt::format("{} are more than the 62 TiB that a VMDK image can have", format_size(options.size)));
  if (options.size == 0) return wrong("a VMDK image cannot be empty");
  if (std::ranges::find(kAdapters, options.adapter_type) == std::end(kAdapters))
    return wrong(fmt::format("adapter_type is ide, buslogic, lsilogic or legacyESX, not '{}'", options.adapter_type));
  if (is_flat(options.subformat) && !options.parent.empty()) return wrong("a flat image cannot have a backing file");
  if (is_flat(options.subformat) && options.zeroed_grain) return wrong("a flat image has no zeroed grains");
  for (const std::string* text : {&options.parent, &options.hardware_version, &options.tools_version})
    if (text->find_first_of("\"\n") != std::string::npos || text->size() > 4096)
      return wrong("a descriptor cannot hold quotes, line ends or very long names");
  return {};
}

Task<Result<>> create(Node& file, std::string name, const CreateFile& create_file, const CreateOptions& options) {
  DOPPEL_CO_TRY(check_options(options));
  if (name.find_first_of("\"\n") != std::string::npos)
    co_return fail(ErrorKind::kInvalidArgument, "a VMDK image's name cannot have quotes or line ends");
  const std::vector<ExtentPlan> extents = plan_extents(name, options);
  const std::string text = make_descriptor(extents, options);
  const std::span<const std::byte> bytes = std::as_bytes(std::span(text));
  if (!has_own_descriptor(options.subformat)) {
    DOPPEL_CO_TRY(co_await write_sparse_extent(file, options.size, options));
    if (bytes.size() > kDescriptorSectors * kSector)
      co_return fail(ErrorKind::kInvalidArgument, "the descriptor does not fit into its place");
    DOPPEL_CO_TRY(co_await write_bytes(file, kDescriptorSector * kSector, bytes));
    co_return co_await file.flush();
  }
  for (const ExtentPlan& extent : extents) DOPPEL_CO_TRY(co_await create_extent(create_file, extent, options));
  DOPPEL_CO_TRY(co_await file.resize(0, Preallocation::kOff));
  DOPPEL_CO_TRY(co_await write_bytes(file, 0, bytes));
  co_return co_await file.flush();
}

}  // namespace doppel::block::vmdk
