// From a tree of regions to the flat view of it.
#pragma once

#include <vector>

#include "memory/flat_view.h"
#include "memory/region.h"

namespace doppel::memory {

/// Resolves priorities, overlaps and aliases. Used under the topology's mutex.
class Flattener {
 public:
  /// The ranges that an address space rooted at ROOT consists of.
  [[nodiscard]] static std::vector<FlatRange> flatten(const RegionPtr& root);

 private:
  // Addresses here may lie outside of 64 bits: an alias can put its target's start below 0.
  using Address = __int128;
  struct Window {
    Address start;
    Address end;
    [[nodiscard]] bool empty() const { return start >= end; }
  };

  /// Shows REGION, whose offset 0 lies at BASE, where it falls into WINDOW and nothing is shown yet.
  void render(const RegionPtr& region, Address base, Window window, bool read_only);
  void render_inside(const RegionPtr& region, Address base, Window window, bool read_only);
  void render_leaf(const RegionPtr& region, Address base, Window window, bool read_only);
  [[nodiscard]] std::vector<FlatRange> merged() const;

  std::vector<FlatRange> ranges_;    // by address
  std::vector<const Region*> path_;  // from the root to the region being rendered
};

}  // namespace doppel::memory
