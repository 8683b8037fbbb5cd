// What the command line has for the block graph: -blockdev, the dotted keys of -drive, and the objects that both name.
#pragma once

#include <span>
#include <string_view>

#include "cli/command_line.h"
#include "cli/key_values.h"

namespace doppel::cli {

/// `-blockdev`.
Result<> apply_blockdev(CommandLine& line, std::string_view value);

/// Takes what -drive has for the image's nodes and the filters on top: "driver", "file.driver",
/// "backing.file.filename", "throttling.bps-total" and its older spellings, "copy-on-read", "detect-zeroes", "aio"...
Result<> take_node_options(KeyValueReader& reader, vm::KeyValues& options);
/// Do OPTIONS alone say which image it is?
bool describes_image(const vm::KeyValues& options);

/// secret and throttle-group.
std::span<const std::string_view> block_object_types();
bool is_block_object(const KeyValueReader& reader);
Result<> add_block_object(CommandLine& line, KeyValueReader& reader);

}  // namespace doppel::cli
