// Which thread works on which disk.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/error.h"
#include "vm/config.h"

namespace doppel::vm {

/// Drives, nodes and throttle groups have one home: the iothread that their device names by iothread=, or the main
/// thread. What refers to each other (a node to its backing node, drives to their throttle group) has the same home.
class DiskHomes {
 public:
  /// Reads the devices of CONFIG. Errors: there is no such iothread; things that belong together are wanted in two
  /// threads.
  static Result<DiskHomes> plan(const VmConfig& config);

  /// The iothread of drive or node ID; empty: the main thread.
  [[nodiscard]] const std::string& of(std::string_view id) const;

 private:
  std::map<std::string, std::string, std::less<>> homes_;
};

/// Is there an iothread ID? If not, the error says what ID is, or names the nearest.
Result<> check_iothread(const VmConfig& config, std::string_view id);

}  // namespace doppel::vm
