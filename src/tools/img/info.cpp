// info: what an image is.
#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "tools/common/format.h"
#include "tools/img/command.h"

namespace doppel::img {
namespace {

using block::FormatDetail;
using block::FormatDetails;
using block::NodeInfo;
using block::SnapshotInfo;
using nlohmann::ordered_json;

constexpr OptionRow kOptions[] = {
    {'f', "", true},
    {0, "output", true},
    {0, "backing-chain", false},
    {'U', "force-share", false},
};

void print_human(const NodeInfo& info, const std::string& filename) {
  fmt::print("image: {}\nfile format: {}\nvirtual size: {} ({} bytes)\ndisk size: {}\n", filename, info.format,
             tools::short_size(info.virtual_size), info.virtual_size,
             info.disk_size_known ? tools::short_size(info.disk_size) : "unavailable");
  if (info.encrypted) fmt::print("encrypted: yes\n");
  if (info.cluster_size != 0) fmt::print("cluster_size: {}\n", info.cluster_size);
  if (info.dirty) fmt::print("cleanly shut down: no\n");
  if (!info.backing_file.empty()) {
    const std::string full = block::beside(filename, info.backing_file);
    fmt::print("backing file: {}", info.backing_file);
    if (full != info.backing_file) fmt::print(" (actual path: {})", full);
    fmt::print("\n");
    if (!info.backing_format.empty()) fmt::print("backing file format: {}\n", info.backing_format);
  }
  if (!info.snapshots.empty()) fmt::print("Snapshot list:\n{}", tools::snapshot_list(info.snapshots));
  if (info.details.empty()) return;
  fmt::print("Format specific information:\n");
  tools::print_details(info.details, 4);
}

ordered_json snapshot_json(const SnapshotInfo& snapshot) {
  constexpr std::uint64_t kSecond = 1'000'000'000;
  ordered_json json{{"id", snapshot.id},
                    {"name", snapshot.name},
                    {"vm-state-size", snapshot.vm_state_size},
                    {"date-sec", snapshot.date_s},
                    {"date-nsec", snapshot.date_ns},
                    {"vm-clock-sec", snapshot.vm_clock_ns / kSecond},
                    {"vm-clock-nsec", snapshot.vm_clock_ns % kSecond}};
  if (snapshot.icount) json["icount"] = *snapshot.icount;
  return json;
}

ordered_json details_json(const FormatDetails& details);

struct ToJson {
  ordered_json operator()(bool value) const { return value; }
  ordered_json operator()(std::uint64_t value) const { return value; }
  ordered_json operator()(const std::string& value) const { return value; }
  ordered_json operator()(const FormatDetails& members) const { return details_json(members); }
  ordered_json operator()(const std::vector<FormatDetails>& list) const {
    ordered_json array = ordered_json::array();
    for (const FormatDetails& details : list) array.push_back(details_json(details));
    return array;
  }
  ordered_json operator()(const std::vector<std::string>& list) const { return list; }
};

ordered_json details_json(const FormatDetails& details) {
  ordered_json data;
  for (const FormatDetail& detail : details) {
    std::string key = detail.name;
    std::ranges::replace(key, ' ', '-');
    data[key] = std::visit(ToJson{}, detail.value);
  }
  return data;
}

ordered_json to_json(const NodeInfo& info, const std::string& filename) {
  ordered_json json{{"virtual-size", info.virtual_size}, {"filename", filename}};
  if (info.cluster_size != 0) json["cluster-size"] = info.cluster_size;
  json["format"] = info.format;
  if (info.disk_size_known) json["actual-size"] = info.disk_size;
  if (info.encrypted) json["encrypted"] = true;
  if (!info.backing_file.empty()) {
    json["backing-filename"] = info.backing_file;
    json["full-backing-filename"] = block::beside(filename, info.backing_file);
    if (!info.backing_format.empty()) json["backing-filename-format"] = info.backing_format;
  }
  for (const SnapshotInfo& snapshot : info.snapshots) json["snapshots"].push_back(snapshot_json(snapshot));
  if (!info.details.empty()) {
    json["format-specific"] = {{"type", info.format}, {"data", details_json(info.details)}};
  }
  json["dirty-flag"] = info.dirty;
  return json;
}

Result<int> run(Session& session, const Arguments& arguments) {
  DOPPEL_ASSIGN(const std::string first, only_filename(arguments));
  DOPPEL_ASSIGN(OpenRequest options, image_options(arguments, first, false));
  options.backing = block::Backing::kNone;
  options.metadata_only = true;
  const bool as_json = arguments.value_or("output", "human") == "json";
  const bool chain = arguments.has("backing-chain");
  std::vector<std::string> seen;
  ordered_json list = ordered_json::array();
  for (;;) {
    if (std::ranges::find(seen, options.filename) != seen.end())
      return fail(ErrorKind::kCorrupt, "the chain of backing files never ends: it comes back to '{}'",
                  options.filename);
    DOPPEL_ASSIGN(const OpenImage image, OpenImage::open(session, options));
    const NodeInfo info = image.node().info();
    if (as_json) {
      list.push_back(to_json(info, options.filename));
    } else {
      if (!seen.empty()) fmt::print("\n");
      print_human(info, options.filename);
    }
    seen.push_back(options.filename);
    if (!chain || info.backing_file.empty()) break;
    options.filename = block::beside(info.filename, info.backing_file);
    options.nodes.reset();
    options.format = info.backing_format;
  }
  if (as_json) fmt::print("{}\n", (chain ? list : list[0]).dump(4, ' ', false, ordered_json::error_handler_t::replace));
  return 0;
}

}  // namespace

const Command kInfo{"info", "[-f FMT] [--output=human|json] [--backing-chain] [-U] FILE", kOptions, run};

}  // namespace doppel::img
