#include "vm/disk_homes.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "base/text.h"

namespace doppel::vm {

namespace {

/// PROPERTY of DEVICE: its own, or else by -global; empty if neither says anything.
std::string property_of(const VmConfig& config, const DeviceConfig& device, std::string_view property) {
  std::string value;
  for (const GlobalConfig& global : config.globals)
    if (global.driver == device.driver && global.property == property) value = global.value;
  for (const auto& [name, text] : device.properties)
    if (name == property) value = text;
  return value;
}

std::string_view last_part(std::string_view key) {
  return key.substr(key.rfind('.') + 1);
}

/// Drives and nodes by their names, throttle groups by a name that no node can have.
std::string group_name(std::string_view group) {
  return fmt::format("throttle group {}", group);
}

std::string describe(const std::string& home) {
  return home.empty() ? "the main thread" : fmt::format("iothread '{}'", home);
}

/// Sets of things that belong together.
class Clusters {
 public:
  void add(const std::string& name) { parents_.try_emplace(name, name); }
  [[nodiscard]] bool has(const std::string& name) const { return parents_.contains(name); }
  [[nodiscard]] const std::string& root(const std::string& name) {
    std::string& parent = parents_.at(name);
    if (parent == name) return parent;
    return parent = root(parent);
  }
  void join(const std::string& a, const std::string& b) {
    add(a);
    add(b);
    parents_[root(a)] = root(b);
  }
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const auto& [name, parent] : parents_) all.push_back(name);
    return all;
  }

 private:
  std::map<std::string, std::string> parents_;
};

void add_names(Clusters& clusters, const KeyValues& options) {
  for (const auto& [key, value] : options)
    if (last_part(key) == "node-name") clusters.add(value);
}

/// NAME's OPTIONS name other nodes, and groups.
void add_references(Clusters& clusters, const std::string& name, const KeyValues& options) {
  for (const auto& [key, value] : options) {
    const std::string_view part = last_part(key);
    if (part == "throttle-group" || key == "throttling.group") {
      clusters.join(name, group_name(value));
    } else if (part == "node-name" || (part != "filename" && clusters.has(value))) {
      clusters.join(name, value);
    }
  }
}

Clusters find_clusters(const VmConfig& config) {
  Clusters clusters;
  for (const NodeConfig& node : config.nodes) add_names(clusters, node.options);
  for (const DriveConfig& drive : config.drives) {
    clusters.add(drive.id);
    add_names(clusters, drive.options);
  }
  for (const NodeConfig& node : config.nodes)
    for (const auto& [key, value] : node.options)
      if (key == "node-name") add_references(clusters, value, node.options);
  for (const DriveConfig& drive : config.drives) {
    add_references(clusters, drive.id, drive.options);
    // Limits without a group's name make one that is called after the drive.
    const auto has = [&drive](auto wanted) { return std::ranges::any_of(drive.options, wanted); };
    if (has([](const auto& pair) { return pair.first.starts_with("throttling."); }) &&
        !has([](const auto& pair) { return pair.first == "throttling.group"; }))
      clusters.join(drive.id, group_name(drive.id));
  }
  return clusters;
}

/// A device in HOME works on drive or node NAME.
struct Use {
  std::string name;
  std::string home;
};

/// The SCSI adapters so far, and where they are worked on: devices name them by bus=.
class ScsiAdapters {
 public:
  void add(const std::string& id, std::string home) {
    const std::string bus = id.empty() ? fmt::format("scsi.{}", homes_.size()) : fmt::format("{}.0", id);
    homes_.emplace_back(bus, std::move(home));
  }
  /// An unknown bus is reported when the device is made.
  [[nodiscard]] std::string home_of(const std::string& bus) const {
    for (const auto& [name, home] : homes_)
      if (bus.empty() || name == bus) return home;
    return {};
  }

 private:
  std::vector<std::pair<std::string, std::string>> homes_;
};

Result<std::vector<Use>> find_uses(const VmConfig& config) {
  std::vector<Use> uses;
  for (const auto& [name, value] : config.machine.properties)
    if (name == "pflash0" || name == "pflash1") uses.push_back({value, ""});
  ScsiAdapters adapters;
  for (const DeviceConfig& device : config.devices) {
    const std::string drive = property_of(config, device, "drive");
    std::string home;
    if (device.driver == "virtio-blk-pci" || device.driver == "virtio-scsi-pci") {
      home = property_of(config, device, "iothread");
      if (auto known = check_iothread(config, home); !known)
        return std::unexpected(std::move(known).error().wrap(fmt::format("-device {}", device.driver)));
    }
    if (device.driver == "virtio-scsi-pci") adapters.add(property_of(config, device, "id"), home);
    if (device.driver == "scsi-hd" || device.driver == "scsi-cd")
      home = adapters.home_of(property_of(config, device, "bus"));
    if (!drive.empty()) uses.push_back({drive, std::move(home)});
  }
  return uses;
}

}  // namespace

Result<> check_iothread(const VmConfig& config, std::string_view id) {
  if (id.empty()) return {};
  NearestName nearest(id);
  for (const IoThreadConfig& thread : config.iothreads) {
    if (thread.id == id) return {};
    nearest.offer(thread.id);
  }
  for (const BlockObjectConfig& object : config.block_objects)
    if (object.id == id) return fail(ErrorKind::kInvalidArgument, "'{}' is a {}, not an iothread", id, object.type);
  for (const MemoryBackendConfig& object : config.memory_backends)
    if (object.id == id) return fail(ErrorKind::kInvalidArgument, "'{}' is a memory backend, not an iothread", id);
  return fail(ErrorKind::kNotFound, "there is no iothread '{}'{}; add '-object iothread,id={}'", id,
              nearest.suggestion(), id);
}

Result<DiskHomes> DiskHomes::plan(const VmConfig& config) {
  DOPPEL_ASSIGN(const std::vector<Use> uses, find_uses(config));
  Clusters clusters = find_clusters(config);
  std::map<std::string, Use> first;  // use of each cluster
  std::set<std::string> drives;      // that a device has already
  for (const Use& use : uses) {
    if (!clusters.has(use.name)) continue;  // reported when the device is made
    // One drive in two devices is a mistake of its own.
    const bool is_drive = std::ranges::find(config.drives, use.name, &DriveConfig::id) != config.drives.end();
    if (is_drive && !drives.insert(use.name).second) continue;
    const auto [known, is_first] = first.try_emplace(clusters.root(use.name), use);
    const Use& other = known->second;
    if (is_first || other.home == use.home) continue;
    if (other.name == use.name)
      return fail(ErrorKind::kInvalidArgument,
                  "'{}' is wanted in {} and in {}; its devices must have the same iothread=", use.name,
                  describe(other.home), describe(use.home));
    return fail(
        ErrorKind::kInvalidArgument,
        "'{}' of {} and '{}' of {} share a node or a throttle group; their devices must have the same iothread=",
        other.name, describe(other.home), use.name, describe(use.home));
  }
  DiskHomes homes;
  for (const std::string& name : clusters.names())
    if (const auto found = first.find(clusters.root(name)); found != first.end() && !found->second.home.empty())
      homes.homes_[name] = found->second.home;
  return homes;
}

const std::string& DiskHomes::of(std::string_view id) const {
  static const std::string kMain;
  const auto found = homes_.find(id);
  return found == homes_.end() ? kMain : found->second;
}

}  // namespace doppel::vm
