// Hostile VHDX images, mostly with the right checksums, some with something in their log.
#include <cstring>

#include "block/vhdx/image.h"
#include "fuzz/image_target.h"

namespace {

using namespace doppel;
using namespace doppel::fuzz;
using namespace doppel::block::vhdx;

void sum_up(ImageBytes& image, std::size_t offset, std::size_t size) {
  if (image.size() < offset + size) return;
  const std::span<const std::byte> structure(image.data() + offset, size);
  store_le<std::uint32_t>(image.data() + offset + 4, checksum(structure));
}

/// One entry, which wants a sector of the input's bytes somewhere.
void add_log(FuzzInput& input, ImageBytes& image) {
  if (image.size() < kMiB + 8192) return;
  const Guid id{std::byte{1}};
  for (const std::size_t header : kHeaderOffsets) std::memcpy(image.data() + header + 48, id.data(), id.size());
  RawLogEntry head{};
  head.signature = RawLogEntry::kSignature;
  head.length = 8192;
  head.sequence = 1;
  head.descriptors = 1 + input.below(3);
  head.log = id;
  head.last_file_size = input.take<std::uint32_t>();
  RawLogDescriptor descriptor{};
  descriptor.signature = input.take_bool() ? RawLogDescriptor::kDataSignature : RawLogDescriptor::kZeroSignature;
  descriptor.leading = input.take<std::uint32_t>();
  descriptor.file_offset = std::uint64_t{input.take<std::uint16_t>()} * 4096;
  descriptor.sequence = 1;
  RawLogData sector{};
  sector.signature = RawLogData::kSignature;
  sector.sequence_low = 1;
  std::memcpy(image.data() + kMiB, &head, sizeof head);
  for (std::uint32_t i = 0; i < 3; ++i)
    std::memcpy(image.data() + kMiB + sizeof head + i * sizeof descriptor, &descriptor, sizeof descriptor);
  std::memcpy(image.data() + kMiB + 4096, &sector, sizeof sector);
  sum_up(image, kMiB, 8192);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr Range kRanges[] = {{64 * kKiB, 80}, {128 * kKiB, 80}, {192 * kKiB, 80},          {2 * kMiB, 200},
                               {3 * kMiB, 64},  {kMiB, 256},      {2 * kMiB + 64 * kKiB, 40}};
  static const Open open = open_as<Image>();
  static const CreateOptions options{.size = kFuzzDisk, .block_size = kMiB};
  static const ImageBytes image = sound_image([](Node& file) { return create(file, options); }, open);
  FuzzInput input(data, size);
  const bool logged = input.below(4) == 0;
  ImageBytes contents = image;
  if (logged) add_log(input, contents);
  contents = patched(input, std::move(contents), kRanges);
  if (input.below(8) != 0) {
    for (const std::size_t header : kHeaderOffsets) sum_up(contents, header, kHeaderSize);
    for (const std::size_t table : kRegionTableOffsets) sum_up(contents, table, kTableSize);
  }
  open_and_use(input, std::move(contents), open);
  return 0;
}
