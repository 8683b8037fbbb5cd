#include "cli/options_blockdev.h"

#include <algorithm>
#include <array>

#include "block/image/drivers.h"
#include "block/image/graph.h"
#include "cli/options.h"
#include "cli/options_iothread.h"

namespace doppel::cli {

namespace {

constexpr auto kObjectTypes = std::to_array<std::string_view>({"secret", "throttle-group"});

/// Keys of -drive that belong to a node or filter, by their beginning.
constexpr auto kNodeKeys =
    std::to_array<std::string_view>({"file.", "backing.", "data-file.", "throttling.", "inject-error.", "set-state.",
                                     "image.", "test.", "raw.", "encrypt.", "cache.", "overlap-check."});
/// And by their whole name.
constexpr auto kNodeNames = std::to_array<std::string_view>({"driver",
                                                             "node-name",
                                                             "backing",
                                                             "data-file",
                                                             "image",
                                                             "test",
                                                             "raw",
                                                             "config",
                                                             "throttle-group",
                                                             "key-secret",
                                                             "offset",
                                                             "size",
                                                             "aio",
                                                             "copy-on-read",
                                                             "detect-zeroes",
                                                             "force-share",
                                                             "auto-read-only",
                                                             "lazy-refcounts",
                                                             "l2-cache-size",
                                                             "refcount-cache-size",
                                                             "cache-size",
                                                             "cache-clean-interval",
                                                             "overlap-check",
                                                             "locking",
                                                             "latency-ns",
                                                             "read-zeroes"});

/// Limits as QEMU 1.1 spelt them: bps_rd_max, iops...
std::string modern_limit(std::string_view key) {
  const bool bytes = key.starts_with("bps");
  if (key == "iops_size") return "iops-size";
  if (!bytes && !key.starts_with("iops")) return {};
  std::string name = bytes ? "bps" : "iops";
  std::string_view rest = key.substr(name.size());
  std::string_view direction = "-total";
  if (rest.starts_with("_rd")) direction = "-read";
  if (rest.starts_with("_wr")) direction = "-write";
  if (direction != "-total") rest.remove_prefix(3);
  name += direction;
  if (rest.empty()) return name;
  if (rest == "_max") return name + "-max";
  if (rest == "_max_length") return name + "-max-length";
  return {};
}

bool is_node_key(std::string_view key) {
  if (std::ranges::find(kNodeNames, key) != kNodeNames.end() || key == "group" || !modern_limit(key).empty())
    return true;
  return std::ranges::any_of(kNodeKeys, [&](std::string_view prefix) { return key.starts_with(prefix); });
}

}  // namespace

Result<> take_node_options(KeyValueReader& reader, vm::KeyValues& options) {
  options = reader.take_if(is_node_key);
  for (auto& [key, value] : options) {
    if (const std::string limit = modern_limit(key); !limit.empty()) key = "throttling." + limit;
    if (key == "group") key = "throttling.group";
    if (key == "aio") DOPPEL_TRY(block::parse_engine(value));
    if (key == "driver") DOPPEL_TRY(block::find_driver(value));
  }
  return {};
}

bool describes_image(const vm::KeyValues& options) {
  return std::ranges::any_of(options, [](const auto& pair) {
    return pair.first.starts_with("file.") || pair.first == "driver" || pair.first == "image" ||
           pair.first.starts_with("image.");
  });
}

Result<> apply_blockdev(CommandLine& line, std::string_view value) {
  DOPPEL_ASSIGN(const block::NodeOptions options, block::NodeOptions::parse(value));
  DOPPEL_TRY(block::Graph::check(options));
  const std::string name = options.text_or("node-name", "");
  for (const vm::NodeConfig& other : line.vm.nodes)
    if (std::ranges::find(other.options, std::pair<std::string, std::string>("node-name", name)) != other.options.end())
      return fail(ErrorKind::kAlreadyExists, "there are two nodes '{}'; give one of them another node-name=", name);
  line.vm.nodes.push_back({.options = {options.texts().begin(), options.texts().end()}});
  return {};
}

std::span<const std::string_view> block_object_types() {
  return kObjectTypes;
}

bool is_block_object(const KeyValueReader& reader) {
  return block::Graph::has_object_type(reader.peek("qom-type").value_or(""));
}

Result<> add_block_object(CommandLine& line, KeyValueReader& reader) {
  vm::BlockObjectConfig object;
  object.type = reader.take("qom-type").value_or("");
  if (reader.take_help())
    return print(line, object.type == "secret"
                           ? "secret options:\n  data=<str>             - the secret itself\n"
                             "  file=<str>             - a file that has it\n"
                             "  format=<str>           - raw or base64 (default: raw)\n"
                             "  iv=<str>               - of an encrypted one, in base64\n"
                             "  keyid=<str>            - the secret that an encrypted one is encrypted with\n"
                           : "throttle-group options:\n  limits.bps-total=<int> - bytes a second; and so on: bps-read, "
                             "bps-write, iops-total, iops-read, iops-write,\n"
                             "                           each with -max and -max-length, and iops-size\n");
  object.id = reader.take("id").value_or("");
  if (object.id.empty())
    return fail(ErrorKind::kInvalidArgument, "id= is missing, such as id={}0", object.type.substr(0, 3));
  DOPPEL_TRY(check_object_id(line.vm, object.id));
  object.options = std::move(reader).rest();
  line.vm.block_objects.push_back(std::move(object));
  return {};
}

}  // namespace doppel::cli
