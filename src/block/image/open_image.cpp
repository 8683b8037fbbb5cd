#include "block/image/open_image.h"

#include <array>
#include <string_view>

#include "base/text.h"
#include "block/node_disk.h"
#include "block/null_node.h"
#include "block/probe.h"
#include "block/raw_node.h"

namespace doppel::block {
namespace {

constexpr std::string_view kFormats[] = {"raw"};

/// The scheme of a NAME like scheme:rest; empty for a plain path, which may have a colon behind its first slash.
std::string_view protocol_of(std::string_view name) {
  const std::size_t end = name.find_first_of(":/");
  return end == std::string_view::npos || name[end] == '/' ? std::string_view{} : name.substr(0, end);
}

Result<> check_format(std::string_view format) {
  NearestName nearest(format);
  for (const std::string_view known : kFormats) {
    if (format == known) return {};
    nearest.offer(known);
  }
  return fail(ErrorKind::kUnsupported, "Doppel does not read the format '{}'{}", format, nearest.suggestion());
}

Task<Result<std::string>> find_format(Node& file) {
  std::array<std::byte, kProbeSize> head;
  DOPPEL_CO_TRY(co_await file.read(0, std::span<std::byte>(head)));
  co_return std::string(probe_format(head));
}

Error in_image(Error error, const std::string& filename) {
  return std::move(error).wrap(fmt::format("'{}'", filename));
}

}  // namespace

Result<NodePtr> open_protocol(Context& context, const std::string& filename, FileOptions options) {
  const std::string_view protocol = protocol_of(filename);
  if (protocol.empty()) return FileNode::open(context, filename, options);
  const std::string rest = filename.substr(protocol.size() + 1);
  if (protocol == "file" || protocol == "host_device") return FileNode::open(context, rest, options);
  if (protocol == "null-co") return std::make_unique<NullNode>(std::uint64_t{1} << 30);  // QEMU's default size
  return fail(ErrorKind::kUnsupported, "Doppel does not know the protocol '{}' of '{}'", protocol, filename);
}

Task<Result<NodePtr>> open_image(Context& context, ImageOptions options) {
  DOPPEL_CO_ASSIGN(NodePtr file, open_protocol(context, options.filename, options.file));
  const bool probed = options.format.empty();
  if (probed) {
    DOPPEL_CO_ASSIGN(options.format, co_await find_format(*file));
  }
  if (auto known = check_format(options.format); !known)
    co_return std::unexpected(in_image(std::move(known).error(), options.filename));
  const RawOptions raw{.offset = options.raw_offset, .size = options.raw_size, .probed = probed};
  auto node = RawNode::create(std::move(file), raw);
  if (!node) co_return std::unexpected(in_image(std::move(node).error(), options.filename));
  co_return std::move(*node);
}

Result<CacheMode> parse_cache_mode(std::string_view name) {
  constexpr std::pair<std::string_view, CacheMode> kModes[] = {
      {"writeback", CacheMode::kWriteback},
      {"none", CacheMode::kNone},
      {"off", CacheMode::kNone},
      {"writethrough", CacheMode::kWritethrough},
      {"directsync", CacheMode::kDirectsync},
      {"unsafe", CacheMode::kUnsafe},
  };
  NearestName nearest(name);
  for (const auto& [known, mode] : kModes) {
    if (name == known) return mode;
    nearest.offer(known);
  }
  return fail(ErrorKind::kInvalidArgument, "'{}' is no cache mode{}", name, nearest.suggestion());
}

FileOptions file_options(CacheMode cache, bool writable) {
  return {.writable = writable,
          .direct = cache == CacheMode::kNone || cache == CacheMode::kDirectsync,
          .skip_flush = cache == CacheMode::kUnsafe};
}

Result<std::unique_ptr<Disk>> open_disk(Context& context, const DiskOptions& options) {
  if (options.snapshot) return fail(ErrorKind::kUnsupported, "snapshot=on needs qcow2, which is not there yet");
  ImageOptions image{.filename = options.filename,
                     .format = options.format,
                     .file = file_options(options.cache, !options.read_only),
                     .raw_offset = options.raw_offset,
                     .raw_size = options.raw_size};
  image.file.locking = options.locking;
  DOPPEL_ASSIGN(NodePtr node, run_to_end(context.loop(), open_image(context, std::move(image))));
  const bool write_through = options.cache == CacheMode::kWritethrough || options.cache == CacheMode::kDirectsync;
  return std::make_unique<NodeDisk>(context, std::move(node),
                                    NodeDiskOptions{.write_cache = !write_through, .discard = options.discard});
}

}  // namespace doppel::block
