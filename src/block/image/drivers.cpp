#include "block/image/drivers.h"

#include <algorithm>
#include <array>
#include <vector>

#include "base/text.h"
#include "block/filters/blkdebug_node.h"
#include "block/filters/blkverify_node.h"
#include "block/filters/copy_on_read_node.h"
#include "block/filters/throttle_node.h"
#include "block/image/graph.h"
#include "block/image/remote_drivers.h"
#include "block/nbd/location.h"
#include "block/null_node.h"
#include "block/qcow2/image.h"
#include "block/qed/image.h"
#include "block/vmdk/image.h"

namespace doppel::block {
namespace {

using enum OptionType;
using Opened = Result<NodePtr>;

// ---- Protocols

constexpr auto kFileRows = std::to_array<NodeOptionRow>({
    {.name = "filename", .type = kText, .required = true},
    {.name = "aio", .type = kChoice, .choices = "threads native io_uring"},
    {.name = "locking", .type = kChoice, .choices = "auto on off"},
    // How QEMU asks the kernel; here they change nothing.
    {.name = "aio-max-batch", .type = kNumber},
    {.name = "drop-cache", .type = kBool},
    {.name = "x-check-cache-dropped", .type = kBool},
});

Task<Opened> open_file(Graph& graph, const Driver& driver, const NodeOptions& options, OpenRules rules) {
  std::string path = options.text_or("filename", "");
  if (path.starts_with(fmt::format("{}:", driver.name))) path = path.substr(driver.name.size() + 1);
  if (options.text_or("locking", "auto") == "off") rules.file.locking = FileLocking::kOff;
  DOPPEL_CO_ASSIGN(rules.file.engine, parse_engine(options.text_or("aio", "")));
  co_return FileNode::open(graph.context(), path, rules.file);
}

constexpr auto kNullRows = std::to_array<NodeOptionRow>({
    {.name = "filename", .type = kText},
    {.name = "size", .type = kSize},
    {.name = "latency-ns", .type = kNumber},
    {.name = "read-zeroes", .type = kBool},
});

Task<Opened> open_null(Graph& graph, const Driver& driver, const NodeOptions& options, OpenRules /*rules*/) {
  constexpr std::uint64_t kMostLatency = 3600ULL * 1'000'000'000;
  NullOptions null{.driver = std::string(driver.name)};
  null.size = options.size("size").value_or(null.size);
  const auto latency =
      options.text("latency-ns") ? parse_number(*options.text("latency-ns")) : Result<std::uint64_t>(0);
  if (!latency || *latency > kMostLatency || null.size > std::uint64_t{1} << 62)
    co_return fail(ErrorKind::kInvalidArgument, "size goes up to 4E, latency-ns to {}", kMostLatency);
  null.latency_ns = static_cast<std::int64_t>(*latency);
  co_return std::make_unique<NullNode>(graph.context().loop(), std::move(null));
}

// ---- Formats

/// The ones without a row of their own.
constexpr auto kFormatRows = std::to_array<NodeOptionRow>({
    {.name = "file", .type = kNode, .required = true},
    {.name = "backing", .type = kNodeOrNull},
});
constexpr auto kRawRows = std::to_array<NodeOptionRow>({
    {.name = "file", .type = kNode, .required = true},
    {.name = "offset", .type = kSize},
    {.name = "size", .type = kSize},
});
constexpr auto kLuksRows = std::to_array<NodeOptionRow>({
    {.name = "file", .type = kNode, .required = true},
    {.name = "key-secret", .type = kText},
});
constexpr auto kQcow2Rows = std::to_array<NodeOptionRow>({
    {.name = "file", .type = kNode, .required = true},
    {.name = "backing", .type = kNodeOrNull},
    {.name = "data-file", .type = kNode},
    {.name = "lazy-refcounts", .type = kBool},
    {.name = "encrypt.format", .type = kChoice, .choices = "luks aes"},
    {.name = "encrypt.key-secret", .type = kText},
    // How QEMU caches and checks; here they change nothing.
    {.name = "pass-discard-request", .type = kBool},
    {.name = "pass-discard-snapshot", .type = kBool},
    {.name = "pass-discard-other", .type = kBool},
    {.name = "discard-no-unref", .type = kBool},
    {.name = "overlap-check", .type = kMembers},
    {.name = "cache-size", .type = kSize},
    {.name = "l2-cache-size", .type = kSize},
    {.name = "l2-cache-entry-size", .type = kSize},
    {.name = "refcount-cache-size", .type = kSize},
    {.name = "cache-clean-interval", .type = kNumber},
});

/// The password that option NAME's secret has; none if there is no such option.
Result<std::optional<SecretBytes>> key_of(Graph& graph, const NodeOptions& options, std::string_view name) {
  const auto id = options.text(name);
  if (!id) return std::nullopt;
  DOPPEL_ASSIGN(SecretBytes key, graph.secrets().find(*id));
  return key;
}

/// The options of a backing node that only changes some of what the image says of it.
NodeOptions complete_backing(NodeOptions options, const NodeInfo& image) {
  if (image.backing_file.empty()) return options;
  if (!options.has("file") && !options.has("filename") && !options.has("file.filename") && !options.has_members("file"))
    options.set("file.filename", beside(image.filename, image.backing_file));
  if (!image.backing_format.empty()) options.set_default("driver", image.backing_format);
  return options;
}

Task<Opened> open_backing_option(Graph& graph, const NodeOptions& options, OpenRules rules, const NodeInfo& image) {
  rules.file.writable = rules.backing == Backing::kWritable;
  if (options.has("backing")) co_return co_await graph.open_child(options, "backing", rules);
  const std::string user = options.text_or("node-name", "an image");
  NodeOptions backing = complete_backing(options.members("backing"), image);
  rules.unmap = true;
  co_return co_await graph.open(std::move(backing), rules, user);
}

bool takes_backing(const Node& node) {
  return dynamic_cast<const qcow2::Image*>(&node) != nullptr || dynamic_cast<const qed::Image*>(&node) != nullptr ||
         dynamic_cast<const vmdk::Image*>(&node) != nullptr;
}

/// To one that takes_backing().
Result<> give_backing(Node& node, NodePtr backing) {
  if (auto* vmdk = dynamic_cast<vmdk::Image*>(&node)) return vmdk->set_backing(std::move(backing));
  if (auto* qed = dynamic_cast<qed::Image*>(&node)) qed->set_backing(std::move(backing));
  if (auto* qcow2 = dynamic_cast<qcow2::Image*>(&node)) qcow2->set_backing(std::move(backing));
  return {};
}

Task<Opened> open_format_node(Graph& graph, const Driver& driver, const NodeOptions& options, OpenRules rules) {
  DOPPEL_CO_ASSIGN(NodePtr file, co_await graph.open_child(options, "file", rules));
  ImageOptions image{.filename = file->info().filename, .format = std::string(driver.name), .file = rules.file};
  image.raw_offset = options.size("offset").value_or(0);
  image.raw_size = options.size("size");
  image.lazy_refcounts = options.flag("lazy-refcounts");
  image.metadata_only = rules.metadata_only;
  image.repairing = rules.repairing;
  image.graph = &graph;
  const bool names_backing = options.has("backing") || options.has_members("backing");
  image.backing = names_backing ? Backing::kNone : rules.backing;
  for (const std::string_view name : {"key-secret", "encrypt.key-secret"}) {
    if (!options.has(name)) continue;
    DOPPEL_CO_ASSIGN(image.key, key_of(graph, options, name));
  }
  NodePtr data;
  if (options.has("data-file") || options.has_members("data-file")) {
    DOPPEL_CO_ASSIGN(data, co_await graph.open_child(options, "data-file", rules));
  }
  DOPPEL_CO_ASSIGN(NodePtr node, co_await open_image_in(graph.context(), std::move(file), std::move(data), image));
  const bool wants_backing = names_backing && options.text_or("backing", "x") != "" && rules.backing != Backing::kNone;
  if (!wants_backing) co_return node;
  if (!takes_backing(*node))
    co_return fail(ErrorKind::kUnsupported, "images of format {} take no backing= option", node->info().format);
  DOPPEL_CO_ASSIGN(NodePtr backing, co_await open_backing_option(graph, options, rules, node->info()));
  DOPPEL_CO_TRY(give_backing(*node, std::move(backing)));
  co_return node;
}

// ---- Filters

constexpr auto kThrottleRows = std::to_array<NodeOptionRow>({
    {.name = "file", .type = kNode, .required = true},
    {.name = "throttle-group", .type = kText, .required = true},
});

Task<Opened> open_throttle(Graph& graph, const Driver& /*driver*/, const NodeOptions& options, OpenRules rules) {
  DOPPEL_CO_ASSIGN(auto group, graph.throttle_group(options.text_or("throttle-group", "")));
  DOPPEL_CO_ASSIGN(NodePtr file, co_await graph.open_child(options, "file", rules));
  co_return std::make_unique<ThrottleNode>(std::move(file), std::move(group));
}

constexpr auto kCopyOnReadRows = std::to_array<NodeOptionRow>({
    {.name = "file", .type = kNode, .required = true},
});

Task<Opened> open_copy_on_read(Graph& graph, const Driver& /*driver*/, const NodeOptions& options, OpenRules rules) {
  if (!rules.file.writable)
    co_return fail(ErrorKind::kInvalidArgument, "copy-on-read writes to its image, so it cannot be read-only");
  DOPPEL_CO_ASSIGN(NodePtr file, co_await graph.open_child(options, "file", rules));
  co_return std::make_unique<CopyOnReadNode>(std::move(file));
}

constexpr auto kBlkdebugRows = std::to_array<NodeOptionRow>({
    {.name = "image", .type = kNode, .required = true},
    {.name = "config", .type = kText},
    {.name = "inject-error", .type = kMembers},
    {.name = "set-state", .type = kMembers},
    {.name = "align", .type = kSize},
    {.name = "max-transfer", .type = kSize},
    {.name = "opt-write-zero", .type = kSize},
    {.name = "max-write-zero", .type = kSize},
    {.name = "opt-discard", .type = kSize},
    {.name = "max-discard", .type = kSize},
});

/// KIND.0.event=..., KIND.1.event=...
Result<> add_rules(BlkdebugRules& rules, std::string_view kind, const NodeOptions& options) {
  const NodeOptions list = options.members(kind);
  std::vector<std::string> elements;
  for (const auto& [name, value] : list.texts()) {
    const std::string element = name.substr(0, name.find('.'));
    if (element == name || element.find_first_not_of("0123456789") != std::string::npos)
      return fail(ErrorKind::kInvalidArgument, "'{}.{}' is not of the form {}.0.event=EVENT", kind, name, kind);
    if (elements.empty() || elements.back() != element) elements.push_back(element);
  }
  std::ranges::sort(elements, {}, [](const std::string& text) { return std::pair(text.size(), text); });
  for (const std::string& element : elements) DOPPEL_TRY(rules.add(kind, list.members(element).texts()));
  return {};
}

Task<Opened> open_blkdebug(Graph& graph, const Driver& /*driver*/, const NodeOptions& options, OpenRules rules) {
  BlkdebugRules faults;
  if (const auto path = options.text("config"); path && !path->empty()) DOPPEL_CO_TRY(faults.add_file(*path));
  for (const std::string_view kind : {"inject-error", "set-state"}) DOPPEL_CO_TRY(add_rules(faults, kind, options));
  const auto limit = [&](std::string_view name) { return options.size(name).value_or(0); };
  const BlkdebugLimits limits{.align = limit("align"),
                              .max_transfer = limit("max-transfer"),
                              .opt_write_zero = limit("opt-write-zero"),
                              .max_write_zero = limit("max-write-zero"),
                              .opt_discard = limit("opt-discard"),
                              .max_discard = limit("max-discard")};
  DOPPEL_CO_TRY(limits.check());
  DOPPEL_CO_ASSIGN(NodePtr image, co_await graph.open_child(options, "image", rules));
  co_return std::make_unique<BlkdebugNode>(std::move(image), std::move(faults), limits);
}

constexpr auto kBlkverifyRows = std::to_array<NodeOptionRow>({
    {.name = "test", .type = kNode, .required = true},
    {.name = "raw", .type = kNode, .required = true},
});

Task<Opened> open_blkverify(Graph& graph, const Driver& /*driver*/, const NodeOptions& options, OpenRules rules) {
  DOPPEL_CO_ASSIGN(NodePtr test, co_await graph.open_child(options, "test", rules));
  DOPPEL_CO_ASSIGN(NodePtr raw, co_await graph.open_child(options, "raw", rules));
  if (raw->size() < test->size())
    co_return fail(ErrorKind::kInvalidArgument, "blkverify's raw image has {} bytes, fewer than the {} of the other",
                   raw->size(), test->size());
  co_return std::make_unique<BlkverifyNode>(std::move(test), std::move(raw), graph.fatal());
}

constexpr auto kDrivers = std::to_array<Driver>({
    {"file", kFileRows, open_file},
    {"host_device", kFileRows, open_file},
    {"null-co", kNullRows, open_null},
    {"null-aio", kNullRows, open_null},
    {"raw", kRawRows, open_format_node},
    {"luks", kLuksRows, open_format_node},
    {"qcow2", kQcow2Rows, open_format_node},
    {"throttle", kThrottleRows, open_throttle},
    {"copy-on-read", kCopyOnReadRows, open_copy_on_read},
    {"blkdebug", kBlkdebugRows, open_blkdebug},
    {"blkverify", kBlkverifyRows, open_blkverify},
    {"", kQcow2Rows, open_format_node},
});

/// Formats that only open_image.h knows.
const std::vector<Driver>& other_formats() {
  static const std::vector<Driver> kOthers = [] {
    std::vector<Driver> list;
    for (const std::string_view format : image_formats())
      if (std::ranges::find(kDrivers, format, &Driver::name) == kDrivers.end())
        list.push_back({format, kFormatRows, open_format_node});
    return list;
  }();
  return kOthers;
}

}  // namespace

Result<const Driver*> find_driver(std::string_view name) {
  NearestName nearest(name);
  for (const std::span<const Driver> list :
       {std::span<const Driver>(kDrivers), remote_drivers(), std::span<const Driver>(other_formats())})
    for (const Driver& driver : list) {
      if (driver.name == name) return &driver;
      if (!driver.name.empty()) nearest.offer(driver.name);
    }
  return fail(ErrorKind::kUnsupported, "Doppel has no block driver '{}'{}", name, nearest.suggestion());
}

std::string_view driver_of_filename(std::string_view filename) {
  const std::size_t end = filename.find_first_of(":/");
  if (end == std::string_view::npos || filename[end] == '/') return "file";
  const std::string_view protocol = filename.substr(0, end);
  return nbd::is_nbd_protocol(protocol) ? "nbd" : protocol;  // also nbds, nbd+unix...
}

}  // namespace doppel::block
