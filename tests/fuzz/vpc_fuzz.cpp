// Hostile VHD images, dynamic and fixed, mostly with the right checksums.
#include <cstring>

#include "block/vpc/image.h"
#include "fuzz/image_target.h"

namespace {

using namespace doppel;
using namespace doppel::fuzz;

template <class T>
void sum_up(ImageBytes& image, std::size_t offset) {
  if (image.size() < offset + sizeof(T)) return;
  T structure;
  std::memcpy(&structure, image.data() + offset, sizeof structure);
  structure.checksum = block::vpc::checksum(structure);
  std::memcpy(image.data() + offset, &structure, sizeof structure);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Open open = block::vpc::open;
  static const auto make = [](bool fixed) {
    const block::vpc::CreateOptions options{.size = kFuzzDisk, .fixed = fixed};
    return sound_image([&](Node& file) { return block::vpc::create(file, options); }, open);
  };
  static const ImageBytes images[] = {make(false), make(true)};
  FuzzInput input(data, size);
  const ImageBytes& image = images[input.below(2)];
  const Range ranges[] = {{0, 90}, {512, 48}, {1536, 16}, {image.size() - 512, 90}};
  ImageBytes contents = patched(input, image, ranges);
  if (input.below(8) != 0) {
    sum_up<block::vpc::RawFooter>(contents, 0);
    sum_up<block::vpc::RawDynamicHeader>(contents, 512);
    sum_up<block::vpc::RawFooter>(contents, contents.size() - std::min<std::size_t>(contents.size(), 512));
  }
  open_and_use(input, std::move(contents), open);
  return 0;
}
