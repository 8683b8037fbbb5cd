// Hostile VDI images, dynamic and static.
#include "block/vdi/image.h"
#include "fuzz/image_target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace doppel;
  using namespace doppel::fuzz;
  constexpr Range kRanges[] = {{0x40, 0x20}, {0x150, 0x90}, {0x200, 16}};
  static const Open open = open_as<block::vdi::Image>();
  static const auto make = [](bool is_static) {
    const block::vdi::CreateOptions options{.size = kFuzzDisk, .is_static = is_static};
    return sound_image([&](Node& file) { return block::vdi::create(file, options); }, open);
  };
  static const ImageBytes images[] = {make(false), make(true)};
  FuzzInput input(data, size);
  const ImageBytes& image = images[input.below(2)];
  open_and_use(input, patched(input, image, kRanges), open);
  return 0;
}
