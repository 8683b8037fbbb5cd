// What -drive has besides an image: dotted options of its nodes, and filters on top.
#pragma once

#include "block/context.h"
#include "block/image/open_image.h"

namespace doppel::block {

/// Does OPTIONS say anything about nodes, so that the file name and format alone are not enough?
bool describes_nodes(const OptionTexts& options);

/// The image that OPTIONS describe; IMAGE is what follows from the rest of them.
Task<Result<NodePtr>> open_drive_image(Context& context, const DiskOptions& options, ImageOptions image);

/// NODE behind detect-zeroes, copy-on-read and throttling, as OPTIONS say. Needs their graph for the latter.
Result<NodePtr> add_drive_filters(const DiskOptions& options, NodePtr node);

}  // namespace doppel::block
