// The formats that open_image() knows besides raw and qcow2.
#pragma once

#include <functional>
#include <string>

#include "block/context.h"
#include "block/image/open_image.h"

namespace doppel::block {

/// Opens the image that a header names as its backing file, by that name and format.
using OpenBacking = std::function<Task<Result<NodePtr>>(const std::string& name, const std::string& format)>;

/// FILE as an image of OPTIONS.format, one of vdi, vhdx, vmdk, vpc and qed, with what it stands on.
Task<Result<NodePtr>> open_format(Context& context, NodePtr file, const ImageOptions& options,
                                  const OpenBacking& open_backing);

}  // namespace doppel::block
