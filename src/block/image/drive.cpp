#include "block/image/drive.h"

#include <array>
#include <optional>

#include "base/text.h"
#include "block/filters/access_node.h"
#include "block/filters/copy_on_read_node.h"
#include "block/filters/throttle_node.h"
#include "block/image/graph.h"

namespace doppel::block {
namespace {

constexpr std::string_view kThrottling = "throttling.";

/// Options that are no node's.
bool is_of_drive(std::string_view name) {
  return name == "copy-on-read" || name == "detect-zeroes" || name == "aio" || name.starts_with(kThrottling);
}

/// The options of the topmost node: what is said of it, and of the file under it.
NodeOptions node_options(const DiskOptions& options) {
  NodeOptions nodes;
  for (const auto& [name, value] : options.options)
    if (!is_of_drive(name)) nodes.set(name, value);
  if (!options.format.empty()) nodes.set_default("driver", options.format);
  if (!options.filename.empty() && !nodes.has("file")) nodes.set_default("file.filename", options.filename);
  return nodes;
}

Result<DetectZeroes> parse_detect_zeroes(const std::string& text) {
  if (text == "off") return DetectZeroes::kOff;
  if (text == "on") return DetectZeroes::kOn;
  if (text == "unmap") return DetectZeroes::kUnmap;
  return fail(ErrorKind::kInvalidArgument, "detect-zeroes= expects off, on or unmap, not '{}'", text);
}

Result<NodePtr> throttle(const DiskOptions& options, NodePtr node) {
  OptionTexts limits;
  std::string group = options.id;
  for (const auto& [name, value] : options.options) {
    if (!name.starts_with(kThrottling)) continue;
    if (name == "throttling.group")
      group = value;
    else
      limits[name.substr(kThrottling.size())] = value;
  }
  DOPPEL_ASSIGN(const ThrottleLimits parsed, parse_throttle_limits(limits, "throttling"));
  const bool named = options.options.contains("throttling.group");
  if (!parsed.any() && !named) return node;
  if (options.graph == nullptr) return fail(ErrorKind::kInternal, "a throttled drive needs a graph");
  DOPPEL_ASSIGN(auto shared, options.graph->drive_throttle_group(group, parsed));
  return std::make_unique<ThrottleNode>(std::move(node), std::move(shared));
}

}  // namespace

bool describes_nodes(const OptionTexts& options) {
  for (const auto& [name, value] : options)
    if (!is_of_drive(name)) return true;
  return false;
}

Task<Result<NodePtr>> open_drive_image(Context& context, const DiskOptions& options, ImageOptions image) {
  if (const auto aio = options.options.find("aio"); aio != options.options.end()) {
    DOPPEL_CO_ASSIGN(image.file.engine, parse_engine(aio->second));
  }
  if (!describes_nodes(options.options)) co_return co_await open_image(context, std::move(image));
  if (options.filename.starts_with("json:"))
    co_return fail(ErrorKind::kInvalidArgument, "a json: file name and other options of nodes exclude each other");
  std::optional<Graph> none;
  Graph& graph = options.graph != nullptr ? *options.graph : none.emplace(context);
  const OpenRules rules{.file = image.file};
  NodeOptions nodes = node_options(options);
  const std::string user = options.id;
  co_return co_await graph.open(std::move(nodes), rules, user);
}

Result<NodePtr> add_drive_filters(const DiskOptions& options, NodePtr node) {
  const NodeOptions texts(options.options);
  DOPPEL_ASSIGN(const DetectZeroes detect, parse_detect_zeroes(texts.text_or("detect-zeroes", "off")));
  if (detect == DetectZeroes::kUnmap && !options.discard)
    return fail(ErrorKind::kInvalidArgument, "detect-zeroes=unmap needs discard=unmap");
  if (detect != DetectZeroes::kOff)
    node = std::make_unique<AccessNode>(std::move(node), AccessRules{.detect_zeroes = detect});
  if (texts.has("copy-on-read") && !texts.flag("copy-on-read"))
    return fail(ErrorKind::kInvalidArgument, "copy-on-read= expects 'on' or 'off', not '{}'",
                texts.text_or("copy-on-read", ""));
  if (texts.flag("copy-on-read").value_or(false)) {
    if (node->read_only())
      return fail(ErrorKind::kInvalidArgument, "copy-on-read writes to its image, so it cannot be read-only");
    node = std::make_unique<CopyOnReadNode>(std::move(node));
  }
  return throttle(options, std::move(node));
}

}  // namespace doppel::block
