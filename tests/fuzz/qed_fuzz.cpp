// Hostile QED images with small and large tables.
#include "block/qed/image.h"
#include "fuzz/image_target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace doppel;
  using namespace doppel::fuzz;
  static const Open open = open_as<block::qed::Image>();
  static const auto make = [](std::uint64_t cluster, std::uint64_t table) {
    const block::qed::CreateOptions options{.size = kFuzzDisk, .cluster_size = cluster, .table_size = table};
    return sound_image([&](Node& file) { return block::qed::create(file, options); }, open);
  };
  static const ImageBytes images[] = {make(4096, 1), make(4096, 4), make(65536, 2)};
  // Headers and both tables, for clusters of 4 and 64 KiB.
  constexpr Range kRanges[] = {{0, 80},      {4096, 32},  {8192, 1024}, {12288, 512},
                               {20480, 512}, {65536, 32}, {262144, 512}};
  FuzzInput input(data, size);
  const ImageBytes& image = images[input.below(3)];
  open_and_use(input, patched(input, image, kRanges), open);
  return 0;
}
