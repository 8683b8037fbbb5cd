// Creating images of the formats besides raw and qcow2.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "block/image/create_image.h"
#include "block/image/image_options.h"

namespace doppel::block {

struct CreateFormat {
  std::string_view name;
  std::span<const OptionRow> options;
  /// What QEMU tells of the options before it begins; the size stands before it.
  Result<std::string> (*describe)(const CreateImage& request);
  Task<Result<>> (*create)(Context& context, const CreateImage& request);
  bool has_backing;
};

/// vdi, vhdx, vmdk, vpc and qed, in a table.
std::span<const CreateFormat> create_formats();
/// Null: none of them.
const CreateFormat* find_create_format(std::string_view name);

}  // namespace doppel::block
