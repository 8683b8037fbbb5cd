#include "vm/disk_set.h"

#include <algorithm>
#include <map>
#include <optional>

#include "base/text.h"
#include "block/image/open_image.h"
#include "block/node_disk.h"

namespace doppel::vm {

namespace {

/// What to do about an image that cannot be opened; empty if the error says it all.
std::string_view advice(const Error& error, const DriveConfig& config) {
  switch (error.kind()) {
    case ErrorKind::kNotFound: return config.read_only ? "" : "; 'doppel-img create FILE SIZE' makes one";
    case ErrorKind::kPermissionDenied:
      return config.read_only ? "" : "; to read it only, add readonly=on to its -drive";
    default: return "";
  }
}

block::OptionTexts texts_of(const KeyValues& pairs) {
  block::OptionTexts texts;
  for (const auto& [key, value] : pairs) texts[key] = value;
  return texts;
}

}  // namespace

DiskSet::Home& DiskSet::home(std::string_view id) {
  const auto found = std::ranges::find(in_use_, id, [](const auto& home) -> std::string_view { return home->id; });
  if (found != in_use_.end()) return **found;
  event::Loop* loop = &loop_;
  unsigned workers = 0;
  if (!id.empty() && threads_ != nullptr)
    for (const IoThreadSet::Entry& entry : threads_->entries()) {
      if (entry.config.id != id) continue;
      loop = &entry.thread->loop();
      workers = entry.config.workers;
    }
  if (workers == 0) workers = block::Context::kWorkers;
  Home& made = *in_use_.emplace_back(std::make_unique<Home>(std::string(id), *loop, workers, events_.fatal));
  // Objects went to the main thread's home, which then came first.
  if (in_use_.front()->id.empty() && !id.empty()) made.graph.copy_objects(in_use_.front()->graph);
  return made;
}

DiskSet::Home* DiskSet::home_with_node(std::string_view id) const {
  for (const auto& home : in_use_)
    if (home->graph.has_node(id)) return home.get();
  return nullptr;
}

Result<> DiskSet::add_object(const BlockObjectConfig& config) {
  auto added = home("").graph.add_object(config.type, config.id, texts_of(config.options));
  if (!added) return std::unexpected(std::move(added).error().wrap(fmt::format("-object {}", config.type)));
  return added;
}

Result<> DiskSet::open_nodes(const std::vector<NodeConfig>& nodes) {
  std::map<std::string, std::vector<block::NodeOptions>> lists;  // by home
  for (const NodeConfig& node : nodes) {
    block::NodeOptions options(texts_of(node.options));
    lists[homes_.of(options.text_or("node-name", ""))].push_back(std::move(options));
  }
  for (auto& [id, list] : lists) {
    Home& place = home(id);
    DOPPEL_TRY(block::run_to_end(place.context.loop(), place.graph.open_all(std::move(list))));
  }
  return {};
}

Result<> DiskSet::open(const DriveConfig& config) {
  if (std::ranges::find(disks_, config.id, &Entry::id) != disks_.end())
    return fail(ErrorKind::kAlreadyExists, "there are two drives '{}'; give one of them another id=", config.id);
  if (home_with_node(config.id) != nullptr)
    return fail(ErrorKind::kAlreadyExists, "the id '{}' of a drive is the node-name of a -blockdev, too", config.id);
  Home& place = home(homes_.of(config.id));
  block::DiskOptions options{.filename = config.file,
                             .format = config.format,
                             .read_only = config.read_only,
                             .snapshot = config.snapshot,
                             .discard = config.discard,
                             .options = texts_of(config.options),
                             .id = config.id,
                             .graph = &place.graph};
  DOPPEL_ASSIGN(options.cache, block::parse_cache_mode(config.cache));
  block::ErrorPolicy policy;
  DOPPEL_ASSIGN(policy.writes, block::parse_error_action("werror", config.write_error));
  DOPPEL_ASSIGN(policy.reads, block::parse_error_action("rerror", config.read_error));
  auto disk = block::open_disk(place.context, options);
  const auto twin = std::ranges::find(disks_, config.file, &Entry::file);
  if (!disk && disk.error().kind() == ErrorKind::kBusy && twin != disks_.end())
    return fail(ErrorKind::kBusy, "drives '{}' and '{}' have the same image, '{}', which only one can write to",
                twin->id, config.id, config.file);
  if (!disk)
    return fail(disk.error().kind(), "drive '{}': {}{}", config.id, disk.error().describe(),
                advice(disk.error(), config));
  add(config.id, config.file, place, std::move(*disk), policy);
  return {};
}

void DiskSet::add(std::string id, std::string file, Home& home, std::unique_ptr<block::Disk> disk,
                  block::ErrorPolicy policy) {
  const auto stopped = [this, id](const Error& error, std::uint64_t answers) {
    tell_stopped(fmt::format("drive '{}': {}", id, error.describe()), answers);
  };
  auto guarded = std::make_shared<block::PolicyDisk>(std::move(disk), policy, stopped);
  disks_.push_back({.id = std::move(id), .file = std::move(file), .home = &home, .disk = std::move(guarded)});
}

/// On the thread of the disk's home, whose disks have had ANSWERS so far.
void DiskSet::tell_stopped(const std::string& why, std::uint64_t answers) {
  if (!events_.stopped) return;
  if (loop_.is_loop_thread()) return events_.stopped(why);
  // The main thread may have answered something else, by a reset even: that is on its way and takes care of this, too.
  loop_.post([this, alive = std::weak_ptr(alive_), answers, why] {
    if (!alive.expired() && answers == answers_) events_.stopped(why);
  });
}

Result<block::Disk*> DiskSet::claim(std::string_view id, std::string_view home) {
  const auto check_home = [id, home](const Home& place) -> Result<> {
    if (place.id == home) return {};
    return fail(ErrorKind::kInternal, "'{}' lives in another thread than its device", id);
  };
  NearestName nearest(id);
  for (Entry& entry : disks_) {
    nearest.offer(entry.id);
    if (entry.id != id) continue;
    if (std::exchange(entry.claimed, true))
      return fail(ErrorKind::kAlreadyExists, "drive '{}' is in another device already", id);
    DOPPEL_TRY(check_home(*entry.home));
    return entry.disk.get();
  }
  if (Home* const place = home_with_node(id); place != nullptr) {
    DOPPEL_TRY(check_home(*place));
    DOPPEL_ASSIGN(block::NodePtr node, place->graph.claim(id, "a device"));
    auto disk =
        std::make_unique<block::NodeDisk>(place->context, std::move(node), block::NodeDiskOptions{.discard = true});
    add(std::string(id), "", *place, std::move(disk), block::ErrorPolicy{});
    disks_.back().claimed = true;
    return disks_.back().disk.get();
  }
  for (const auto& place : in_use_) place->graph.offer_names(nearest);
  return fail(ErrorKind::kNotFound, "there is no drive '{}'{}; add '-drive if=none,id={},file=FILE'", id,
              nearest.suggestion(), id);
}

Result<std::vector<std::byte>> DiskSet::read_all(const block::Disk& disk) {
  const auto entry =
      std::ranges::find(disks_, &disk, [](const Entry& e) -> const block::Disk* { return e.disk.get(); });
  if (entry == disks_.end()) return fail(ErrorKind::kInternal, "the disk is none of this machine's");
  std::vector<std::byte> bytes(disk.size());
  std::optional<Result<>> finished;
  event::Loop& loop = entry->home->context.loop();
  entry->disk->underlying().read(0, {{.iov_base = bytes.data(), .iov_len = bytes.size()}}, [&](Result<> result) {
    finished.emplace(std::move(result));
    loop.quit();
  });
  do loop.run();
  while (!finished);
  if (!*finished) return std::unexpected(std::move(*finished).error().wrap(fmt::format("drive '{}'", entry->id)));
  return bytes;
}

void DiskSet::for_each_disk(void (block::PolicyDisk::*action)()) {
  ++answers_;
  for (const Entry& entry : disks_) {
    if (entry.home->id.empty()) {
      (entry.disk.get()->*action)();
      continue;
    }
    // Requests pass through the same queue of the loop, behind this.
    entry.home->context.loop().post([weak = std::weak_ptr(entry.disk), action] {
      if (const auto disk = weak.lock()) (disk.get()->*action)();
    });
  }
}

void DiskSet::retry_requests() {
  for_each_disk(&block::PolicyDisk::retry);
}

void DiskSet::abandon_requests() {
  for_each_disk(&block::PolicyDisk::abandon);
}

bool DiskSet::busy() const {
  return std::ranges::any_of(disks_, [](const Entry& entry) { return entry.disk->busy(); });
}

}  // namespace doppel::vm
