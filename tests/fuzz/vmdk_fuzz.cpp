// Hostile VMDK images: sparse and stream-optimized extents, and descriptors whose extents are such files.
#include "block/vmdk/create.h"
#include "block/vmdk/image.h"
#include "fuzz/image_target.h"

namespace {

using namespace doppel;
using namespace doppel::fuzz;

ImageBytes make(block::vmdk::Subformat subformat, const Open& open) {
  const block::vmdk::CreateOptions options{.size = kFuzzDisk,
                                           .subformat = subformat,
                                           .zeroed_grain = subformat == block::vmdk::Subformat::kMonolithicSparse};
  const block::vmdk::CreateFile none = [](const std::string&) { return NodePtr(); };
  return sound_image([&](Node& file) { return block::vmdk::create(file, "x", none, options); }, open);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzInput input(data, size);
  ImageBytes extent;
  const Open open = [&](Context& context, NodePtr file) -> Task<Result<NodePtr>> {
    const block::vmdk::OpenFile open_file = [&](const std::string&, block::vmdk::Access) -> Result<NodePtr> {
      return std::make_unique<MemoryNode>(extent);
    };
    DOPPEL_CO_ASSIGN(auto image, co_await block::vmdk::Image::open(context, std::move(file), open_file));
    co_return NodePtr(std::move(image));
  };
  static const ImageBytes images[] = {make(block::vmdk::Subformat::kMonolithicSparse, open),
                                      make(block::vmdk::Subformat::kStreamOptimized, open)};
  constexpr Range kRanges[] = {{0, 80},       {512, 400},     {21 * 512, 8}, {22 * 512, 2048},
                               {26 * 512, 8}, {27 * 512, 64}, {65536, 64}};
  const ImageBytes& image = images[input.below(2)];
  ImageBytes contents = patched(input, image, kRanges);
  if (input.below(3) == 0) {  // a descriptor over it
    extent = std::move(contents);
    const auto text = input.take_text(input.below(512));
    const std::string descriptor = "# Disk DescriptorFile\nversion=1\nRW 100 SPARSE \"x\"\n" + std::string(text);
    const auto bytes = std::as_bytes(std::span(descriptor));
    contents.assign(bytes.begin(), bytes.end());
  }
  open_and_use(input, std::move(contents), open);
  return 0;
}
