// Creates images: from QEMU's option names to files.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "block/context.h"
#include "block/node.h"
#include "block/option_texts.h"

namespace doppel::block {

class Graph;

struct CreateImage {
  std::string filename;
  std::string format = "raw";
  OptionTexts options{};
  std::optional<std::uint64_t> size{};  // unset: the backing file's
  bool check_backing = true;            // false: the backing file need not exist
  Graph* graph = nullptr;               // where secrets are
};

/// "name=value,name=value"; two commas stand for one in a value. An unknown name is left for create_image() to refuse.
Result<OptionTexts> parse_options(std::string_view text);
/// A line for each option that FORMAT has.
Result<std::string> describe_options(std::string_view format);

/// What QEMU tells before it begins: "cluster_size=65536 ...".
Result<std::string> describe_creation(const CreateImage& request);
/// What the LUKS header of an image as REQUEST describes it takes up, in bytes; 0: it is not encrypted.
Result<std::uint64_t> luks_header_size(const CreateImage& request);
/// An existing file of that name loses its contents.
Task<Result<>> create_image(Context& context, CreateImage request);
/// Fills in the size from the backing file, and checks that there is one. Before describe_creation().
Task<Result<>> complete_request(Context& context, CreateImage& request);

/// Opened for writing and truncated, or made anew.
Result<NodePtr> create_file(Context& context, const std::string& filename);

}  // namespace doppel::block
