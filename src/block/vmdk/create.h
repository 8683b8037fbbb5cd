// Creating VMDK images: descriptor and extents.
#pragma once

#include <functional>
#include <string>

#include "block/node.h"
#include "block/vmdk/descriptor.h"

namespace doppel::block::vmdk {

enum class Subformat : std::uint8_t {
  kMonolithicSparse,
  kMonolithicFlat,
  kSplitSparse,  // twoGbMaxExtentSparse
  kSplitFlat,    // twoGbMaxExtentFlat
  kStreamOptimized,
};

struct CreateOptions {
  std::uint64_t size = 0;
  Subformat subformat = Subformat::kMonolithicSparse;
  std::string adapter_type = "ide";
  std::string hardware_version = "4";
  std::string tools_version = "2147483647";
  bool zeroed_grain = false;
  std::string parent{};  // its name; empty: none
  std::uint32_t parent_cid = kNoParent;
};

/// By QEMU's name.
Result<Subformat> parse_subformat(std::string_view name);
/// The sentence that tells what does not fit together, if anything.
Result<> check_options(const CreateOptions& options);

/// Makes a new file beside the image, or empties the one that is there.
using CreateFile = std::function<Result<NodePtr>(const std::string& name)>;
/// Writes an empty image into FILE, named NAME without its folder, whose old contents are lost; CREATE_FILE makes the
/// extents that have files of their own.
Task<Result<>> create(Node& file, std::string name, const CreateFile& create_file, const CreateOptions& options);

}  // namespace doppel::block::vmdk
