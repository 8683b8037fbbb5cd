#include "block/image/open_image.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "base/text.h"
#include "block/crypto/crypt_node.h"
#include "block/http/http_node.h"
#include "block/image/drive.h"
#include "block/image/graph.h"
#include "block/image/open_formats.h"
#include "block/nbd/nbd_node.h"
#include "block/node_disk.h"
#include "block/null_node.h"
#include "block/probe.h"
#include "block/qcow2/create.h"
#include "block/qcow2/image.h"
#include "block/raw_node.h"

namespace doppel::block {
namespace {

constexpr std::string_view kFormats[] = {"raw", "qcow2", "luks", "qed", "vdi", "vhdx", "vmdk", "vpc"};

/// More is a mistake, or an attack.
constexpr std::size_t kMaxChain = 200;

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

/// As open_protocol(), and servers too, which take a while to answer.
Task<Result<NodePtr>> open_lowest(Context& context, std::string filename, FileOptions options) {
  const std::string_view protocol = protocol_of(filename);
  if (http::is_http_protocol(protocol)) co_return co_await http::HttpNode::open(context, std::move(filename), options);
  if (nbd::is_nbd_protocol(protocol)) co_return co_await nbd::NbdNode::open(context, std::move(filename), options);
  co_return open_protocol(context, filename, options);
}

/// CHAIN: the images whose backing file this is, topmost first.
Task<Result<NodePtr>> open_in_chain(Context& context, ImageOptions options, std::vector<std::string>& chain);

/// NAME and FORMAT as OVERLAY's header has them.
Task<Result<NodePtr>> open_backing(Context& context, const ImageOptions& overlay, const std::string& name,
                                   const std::string& format, std::vector<std::string>& chain) {
  ImageOptions options{.filename = beside(overlay.filename, name), .format = format, .file = overlay.file};
  options.graph = overlay.graph;
  options.file.writable = overlay.backing == Backing::kWritable;
  co_return co_await open_in_chain(context, std::move(options), chain);
}

/// The external data file, where HEADER asks for one; else null.
Result<NodePtr> open_data_file(Context& context, const ImageOptions& options, const qcow2::Header& header) {
  if (!header.layout().external_data) return NodePtr{};
  if (header.data_file.empty()) return fail(ErrorKind::kCorrupt, "it does not name its external data file");
  return open_protocol(context, beside(options.filename, header.data_file), options.file);
}

Task<Result<NodePtr>> open_qcow2(Context& context, NodePtr file, NodePtr data, const ImageOptions& options,
                                 std::vector<std::string>& chain) {
  DOPPEL_CO_ASSIGN(const qcow2::Header header, co_await qcow2::read_header(*file));
  if (!data) {
    DOPPEL_CO_ASSIGN(data, open_data_file(context, options, header));
  }
  const qcow2::OpenParameters parameters{.purpose = options.repairing ? qcow2::Purpose::kRepair : qcow2::Purpose::kUse,
                                         .key = options.key,
                                         .lazy_refcounts = options.lazy_refcounts,
                                         .metadata_only = options.metadata_only};
  DOPPEL_CO_ASSIGN(auto image, co_await qcow2::Image::open(context, std::move(file), std::move(data), parameters));
  if (!header.backing_file.empty() && options.backing != Backing::kNone) {
    DOPPEL_CO_ASSIGN(NodePtr backing,
                     co_await open_backing(context, options, header.backing_file, header.backing_format, chain));
    image->set_backing(std::move(backing));
  }
  co_return image;
}

Task<Result<NodePtr>> open_format_in_chain(Context& context, NodePtr file, NodePtr data, ImageOptions options,
                                           std::vector<std::string>& chain) {
  const bool probed = options.format.empty();
  if (probed) {
    DOPPEL_CO_ASSIGN(options.format, co_await find_format(*file));
  }
  if (auto known = check_format(options.format); !known)
    co_return std::unexpected(in_image(std::move(known).error(), options.filename));
  Result<NodePtr> node;
  if (options.format == "raw") {
    const RawOptions raw{.offset = options.raw_offset, .size = options.raw_size, .probed = probed};
    node = RawNode::create(std::move(file), raw);
  } else if (options.format == "luks") {
    node = co_await LuksNode::open(std::move(file), options.key, options.metadata_only);
  } else if (options.format == "qcow2") {
    node = co_await open_qcow2(context, std::move(file), std::move(data), options, chain);
  } else {
    const OpenBacking backing = [&](const std::string& name, const std::string& format) {
      return open_backing(context, options, name, format, chain);
    };
    node = co_await open_format(context, std::move(file), options, backing);
  }
  if (!node) co_return std::unexpected(in_image(std::move(node).error(), options.filename));
  co_return std::move(*node);
}

/// json:{...}: the name is a whole graph. What the options of the image say is what its nodes begin with.
Task<Result<NodePtr>> open_json(Context& context, ImageOptions options) {
  DOPPEL_CO_ASSIGN(NodeOptions nodes, NodeOptions::parse_json_name(options.filename));
  if (!options.format.empty()) nodes.set_default("driver", options.format);
  if (nodes.text_or("driver", options.format) != options.format && !options.format.empty())
    co_return fail(ErrorKind::kInvalidArgument, "'{}' is of format {}, not {}", options.filename,
                   nodes.text_or("driver", ""), options.format);
  std::optional<Graph> none;
  Graph& graph = options.graph != nullptr ? *options.graph : none.emplace(context);
  const OpenRules rules{.file = options.file,
                        .metadata_only = options.metadata_only,
                        .repairing = options.repairing,
                        .backing = options.backing};
  const std::string user = options.filename;
  co_return co_await graph.open(std::move(nodes), rules, user);
}

Task<Result<NodePtr>> open_in_chain(Context& context, ImageOptions options, std::vector<std::string>& chain) {
  if (std::ranges::find(chain, options.filename) != chain.end() || chain.size() >= kMaxChain)
    co_return fail(ErrorKind::kCorrupt, "the chain of backing files never ends: it comes back to '{}'",
                   options.filename);
  chain.push_back(options.filename);
  if (options.filename.starts_with("json:")) co_return co_await open_json(context, std::move(options));
  DOPPEL_CO_ASSIGN(NodePtr file, co_await open_lowest(context, options.filename, options.file));
  co_return co_await open_format_in_chain(context, std::move(file), nullptr, std::move(options), chain);
}

}  // namespace

Task<Result<NodePtr>> temporary_overlay(Context& context, NodePtr base) {
  const char* directory = std::getenv("TMPDIR");
  const std::string place = directory != nullptr ? directory : "/var/tmp";
  UniqueFd fd(::open(place.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!fd.valid()) co_return fail_errno("cannot create a temporary file in '{}'", place);
  const FileOptions options{.writable = true, .skip_flush = true};
  DOPPEL_CO_ASSIGN(NodePtr file, FileNode::adopt(context, std::move(fd), place, options));
  qcow2::CreateOptions create;
  create.size = base->size();
  DOPPEL_CO_TRY(co_await qcow2::create(*file, create));
  DOPPEL_CO_ASSIGN(auto overlay, co_await qcow2::Image::open(context, std::move(file), nullptr));
  overlay->set_backing(std::move(base));
  co_return overlay;
}

bool is_remote(std::string_view filename) {
  const std::string_view protocol = protocol_of(filename);
  return nbd::is_nbd_protocol(protocol) || http::is_http_protocol(protocol);
}

std::span<const std::string_view> image_formats() {
  return kFormats;
}

Result<NodePtr> open_protocol(Context& context, const std::string& filename, FileOptions options) {
  const std::string_view protocol = protocol_of(filename);
  if (protocol.empty()) return FileNode::open(context, filename, options);
  const std::string rest = filename.substr(protocol.size() + 1);
  if (protocol == "file" || protocol == "host_device") return FileNode::open(context, rest, options);
  if (protocol == "null-co" || protocol == "null-aio")
    return std::make_unique<NullNode>(context.loop(), NullOptions{.driver = std::string(protocol)});
  if (is_remote(filename))
    return fail(ErrorKind::kUnsupported, "'{}' cannot be used here: only a file of this host can", filename);
  return fail(ErrorKind::kUnsupported, "Doppel does not know the protocol '{}' of '{}'", protocol, filename);
}

std::string beside(const std::string& image, const std::string& name) {
  const std::size_t slash = image.rfind('/');
  const bool relative = !name.empty() && name[0] != '/' && protocol_of(name).empty();
  return relative && slash != std::string::npos ? image.substr(0, slash + 1) + name : name;
}

Task<Result<NodePtr>> open_image(Context& context, ImageOptions options) {
  std::vector<std::string> chain;
  co_return co_await open_in_chain(context, std::move(options), chain);
}

Task<Result<NodePtr>> open_image_in(Context& context, NodePtr file, NodePtr data, ImageOptions options) {
  std::vector<std::string> chain{options.filename};
  co_return co_await open_format_in_chain(context, std::move(file), std::move(data), std::move(options), chain);
}

Result<EngineChoice> parse_engine(std::string_view name) {
  if (name.empty() || name == "native") return EngineChoice::kBest;
  if (name == "threads") return EngineChoice::kThreads;
  if (name == "io_uring") return EngineChoice::kUring;
  return fail(ErrorKind::kInvalidArgument, "aio= expects threads or native or io_uring, not '{}'", name);
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
  ImageOptions image{.filename = options.filename,
                     .format = options.format,
                     .file = file_options(options.cache, !options.read_only && !options.snapshot),
                     .raw_offset = options.raw_offset,
                     .raw_size = options.raw_size};
  image.file.locking = options.locking;
  image.graph = options.graph;
  DOPPEL_ASSIGN(NodePtr node, run_to_end(context.loop(), open_drive_image(context, options, std::move(image))));
  if (options.snapshot) {
    DOPPEL_ASSIGN(node, run_to_end(context.loop(), temporary_overlay(context, std::move(node))));
  }
  DOPPEL_ASSIGN(node, add_drive_filters(options, std::move(node)));
  const bool write_through = options.cache == CacheMode::kWritethrough || options.cache == CacheMode::kDirectsync;
  return std::make_unique<NodeDisk>(context, std::move(node),
                                    NodeDiskOptions{.write_cache = !write_through, .discard = options.discard});
}

}  // namespace doppel::block
