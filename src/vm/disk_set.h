// The disk images of a machine.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "block/context.h"
#include "block/disk.h"
#include "vm/config.h"

namespace doppel::vm {

/// Made, used and destroyed on LOOP's thread while LOOP does not run; the devices that claimed disks are gone by then.
class DiskSet {
 public:
  explicit DiskSet(event::Loop& loop) : loop_(loop) {}

  /// Errors name the drive and say what would help.
  Result<> open(const DriveConfig& config);
  /// The disk of drive ID, for one caller. An unknown id is an error that names the nearest.
  Result<block::Disk*> claim(std::string_view id);

 private:
  struct Entry {
    std::string id;
    std::string file;
    std::unique_ptr<block::Disk> disk;
    bool claimed = false;
  };

  event::Loop& loop_;
  std::optional<block::Context> context_;  // made with the first disk: its threads and rings take time
  std::vector<Entry> disks_;
};

}  // namespace doppel::vm
