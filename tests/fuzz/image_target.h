// What the targets for disk image formats share: a sound image in memory, patched, opened, and put to all uses.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "block/check.h"
#include "block/compressed_target.h"
#include "block/context.h"
#include "block/memory_node.h"
#include "fuzz/fuzz_input.h"

namespace doppel::fuzz {

using block::Context;
using block::MemoryNode;
using block::Node;
using block::NodePtr;
using block::Task;
using ImageBytes = std::vector<std::byte>;
using Open = std::function<Task<Result<NodePtr>>(Context&, NodePtr)>;

inline constexpr std::uint64_t kFuzzDisk = 256 * 1024;
inline constexpr std::size_t kMaxRequest = 8192;

/// A place where what is interesting lies in an image.
struct Range {
  std::size_t begin;
  std::size_t size;
};

/// What CREATE makes, opened by OPEN and written to.
inline ImageBytes sound_image(const std::function<Task<Result<>>(Node&)>& create, const Open& open) {
  event::Loop loop;
  Context context(loop, block::EngineChoice::kThreads);
  MemoryNode empty;
  require(run_to_end(loop, create(empty)).has_value(), "an image is created");
  auto memory = std::make_unique<MemoryNode>(empty.contents());
  const MemoryNode* file = memory.get();
  auto image = run_to_end(loop, open(context, std::move(memory)));
  require(image.has_value(), "an image that was created opens");
  const ImageBytes bytes(3000, std::byte{0x5a});
  const std::span<const std::byte> all(bytes);
  if (auto* packed = dynamic_cast<block::CompressedTarget*>(image->get());
      packed != nullptr && packed->compressed_only())
    require(run_to_end(loop, packed->write_compressed(65536, all)).has_value(), "an image takes compressed bytes");
  else
    require(run_to_end(loop, (*image)->write(70000, all)).has_value(), "an image takes bytes");
  require(run_to_end(loop, (*image)->flush()).has_value(), "an image is flushed");
  const ImageBytes contents = file->contents();
  require(run_to_end(loop, (*image)->close()).has_value(), "an image is closed");
  return contents;
}

/// IMAGE with bytes of RANGES changed, or cut off, or the input itself.
inline ImageBytes patched(FuzzInput& input, ImageBytes image, std::span<const Range> ranges) {
  const unsigned kind = input.below(32);
  if (kind == 0) {
    const auto rest = input.take_bytes(2048);
    return {rest.begin(), rest.end()};
  }
  if (kind == 1) image.resize(input.below(image.size()));
  for (unsigned patches = input.below(12); patches > 0; --patches) {
    const Range range = ranges[input.below(ranges.size())];
    const std::size_t at = range.begin + input.below(range.size);
    if (at < image.size()) image[at] = static_cast<std::byte>(input.take<std::uint8_t>());
  }
  return image;
}

inline void use(event::Loop& loop, Node& image, FuzzInput& input) {
  ImageBytes bytes(kMaxRequest);
  (void)image.info();
  for (int i = 0; i < 10; ++i) {
    const std::uint64_t offset = image.size() == 0 ? 0 : input.take<std::uint32_t>() % image.size();
    const auto length = static_cast<std::size_t>(
        std::min<std::uint64_t>(1 + input.take<std::uint16_t>() % kMaxRequest, image.size() - offset));
    const std::span<std::byte> part(bytes.data(), length);
    switch (input.below(7)) {
      case 0:
      case 1: (void)run_to_end(loop, image.read(offset, part)); break;
      case 2: (void)run_to_end(loop, image.write(offset, std::span<const std::byte>(part))); break;
      case 3: (void)run_to_end(loop, image.write_zeroes(offset, length, block::Unmap::kMayUnmap)); break;
      case 4: (void)run_to_end(loop, image.discard(offset, length)); break;
      case 5: (void)run_to_end(loop, image.flush()); break;
      default:
        if (length > 0) {
          const auto status = run_to_end(loop, image.block_status(offset, length));
          require(!status || (status->bytes > 0 && status->bytes <= length), "a status is of some of the bytes");
        }
    }
  }
}

/// The whole target: CONTENTS, opened for reading and writing, checked before and after.
inline void open_and_use(FuzzInput& input, ImageBytes contents, const Open& open) {
  event::Loop loop;
  Context context(loop, block::EngineChoice::kThreads);
  auto image = run_to_end(loop, open(context, std::make_unique<MemoryNode>(std::move(contents))));
  if (!image) return;
  auto* checkable = dynamic_cast<block::Checkable*>(image->get());
  if (checkable != nullptr && input.take_bool()) (void)run_to_end(loop, checkable->check(block::Repair::kNone));
  use(loop, **image, input);
  if (checkable != nullptr) (void)run_to_end(loop, checkable->check(block::Repair::kNone));
  (void)run_to_end(loop, (*image)->close());
}

/// OPEN of a format whose open() gives its own class.
template <class Image>
Open open_as() {
  return [](Context& context, NodePtr file) -> Task<Result<NodePtr>> {
    DOPPEL_CO_ASSIGN(std::unique_ptr<Image> image, co_await Image::open(context, std::move(file)));
    co_return NodePtr(std::move(image));
  };
}

}  // namespace doppel::fuzz
