// The disk images of a machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "block/context.h"
#include "block/disk.h"
#include "block/image/graph.h"
#include "block/policy_disk.h"
#include "vm/config.h"
#include "vm/disk_homes.h"
#include "vm/iothread_set.h"

namespace doppel::vm {

/// Of the main thread. Made, filled and destroyed while neither LOOP nor an iothread runs; the devices that claimed
/// disks are gone by then. Each disk lives in the loop of its home: there its nodes work, and there requests end.
class DiskSet {
 public:
  struct Events {
    /// Told on the main thread, while its loop runs, when a request is held because the host failed at it: one sentence
    /// that names the drive.
    std::function<void(const std::string& why)> stopped{};
    /// Told of what the machine cannot go on after, on the thread of the disk's home.
    std::function<void(const Error&)> fatal{};
  };

  explicit DiskSet(event::Loop& loop) : loop_(loop) {}
  DiskSet(event::Loop& loop, Events events) : loop_(loop), events_(std::move(events)) {}
  /// THREADS outlives it; HOMES names only those.
  DiskSet(event::Loop& loop, Events events, const IoThreadSet& threads, DiskHomes homes)
      : loop_(loop), events_(std::move(events)), threads_(&threads), homes_(std::move(homes)) {}

  /// Before the nodes and drives that refer to it.
  Result<> add_object(const BlockObjectConfig& config);
  /// All nodes of the machine, once, before drives. Errors name the node.
  Result<> open_nodes(const std::vector<NodeConfig>& nodes);
  /// Errors name the drive and say what would help.
  Result<> open(const DriveConfig& config);
  /// The disk of drive or node ID, for one caller, who works in the loop of iothread HOME; empty: the main thread. An
  /// unknown id is an error that names the nearest.
  Result<block::Disk*> claim(std::string_view id, std::string_view home = {});
  /// All that is on DISK, one of this set. Errors are the caller's, whatever the drive's rerror= says.
  Result<std::vector<std::byte>> read_all(const block::Disk& disk);

  // What to do about requests that are held, on the main thread. Done there at once, elsewhere before any request that
  // is begun from now on.
  void retry_requests();
  void abandon_requests();
  /// Is any disk at work, on guest memory perhaps?
  [[nodiscard]] bool busy() const;

 private:
  /// What the disks of one thread share. Made with the first of them: its threads and rings take time.
  struct Home {
    Home(std::string name, event::Loop& loop, unsigned workers, const block::Graph::Fatal& fatal)
        : id(std::move(name)), context(loop, block::EngineChoice::kBest, workers), graph(context, fatal) {}
    std::string id;  // the iothread's; empty: the main thread's
    block::Context context;
    block::Graph graph;
  };
  struct Entry {
    std::string id;
    std::string file;
    Home* home;
    std::shared_ptr<block::PolicyDisk> disk;  // weakly in what is posted to its loop
    bool claimed = false;
  };

  Home& home(std::string_view id);
  [[nodiscard]] Home* home_with_node(std::string_view id) const;
  void add(std::string id, std::string file, Home& home, std::unique_ptr<block::Disk> disk, block::ErrorPolicy policy);
  void tell_stopped(const std::string& why, std::uint64_t answers);
  void for_each_disk(void (block::PolicyDisk::*action)());

  event::Loop& loop_;
  const Events events_;
  const IoThreadSet* threads_ = nullptr;
  const DiskHomes homes_;
  std::uint64_t answers_ = 0;  // how often held requests were retried or abandoned
  const std::shared_ptr<const bool> alive_ = std::make_shared<const bool>(true);  // for what is posted to the loop
  std::vector<std::unique_ptr<Home>> in_use_;
  std::vector<Entry> disks_;
};

}  // namespace doppel::vm
