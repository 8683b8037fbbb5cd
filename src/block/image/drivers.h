// The drivers of nodes, a row each: their options, and how they are opened.
#pragma once

#include <span>
#include <string_view>

#include "block/image/node_options.h"
#include "block/node.h"

namespace doppel::block {

class Graph;
struct OpenRules;

struct Driver {
  std::string_view name;
  std::span<const NodeOptionRow> rows;
  Task<Result<NodePtr>> (*open)(Graph& graph, const Driver& driver, const NodeOptions& options, OpenRules rules);
};

/// By QEMU's name; "": a format that its file's first bytes tell. An unknown name is an error that names the nearest.
Result<const Driver*> find_driver(std::string_view name);

/// "nbd" of nbd://..., "file" of a path.
std::string_view driver_of_filename(std::string_view filename);

}  // namespace doppel::block
