// Hostile qcow2 images: opened, checked, read, written, snapshotted, repaired. The image is a sound one with the
// input's patches over it, so that more than the first check is reached.
#include <span>

#include "block/memory_node.h"
#include "block/qcow2/check.h"
#include "block/qcow2/create.h"
#include "block/qcow2/image.h"
#include "fuzz/fuzz_input.h"

namespace {

using namespace doppel;
using namespace doppel::block;

constexpr std::uint64_t kLargestFile = 1 << 20;

template <class T>
T run(event::Loop& loop, Task<T> task) {
  return run_to_end(loop, std::move(task));
}

std::vector<std::byte> sound_image(event::Loop& loop, Context& context, qcow2::CreateOptions options, bool bitmaps) {
  auto memory = std::make_unique<MemoryNode>();
  const MemoryNode* file = memory.get();
  (void)run(loop, qcow2::create(*memory, options));
  auto image = run(loop, qcow2::Image::open(context, std::move(memory), nullptr));
  const std::vector<std::byte> bytes(3000, std::byte{0x5a});
  (void)run(loop, (*image)->write(700, std::span<const std::byte>(bytes)));
  (void)run(loop, (*image)->write_compressed(8192, std::span<const std::byte>(bytes).first(512)));
  (void)run(loop, (*image)->create_snapshot("one"));
  if (bitmaps) {
    (void)run(loop, (*image)->add_bitmap("on", 512, true));
    (void)run(loop, (*image)->add_bitmap("off", 4096, false));
  }
  (void)run(loop, (*image)->write(0, std::span<const std::byte>(bytes)));
  (void)run(loop, (*image)->close());
  return file->contents();
}

void use(event::Loop& loop, qcow2::Image& image, fuzz::FuzzInput& input) {
  std::vector<std::byte> bytes(4096);
  for (int i = 0; i < 12; ++i) {
    const std::uint64_t offset = input.take<std::uint16_t>() % (image.size() + 1);
    const auto length = static_cast<std::size_t>(
        std::min<std::uint64_t>(input.take<std::uint16_t>() % bytes.size(), image.size() - offset));
    const std::span<std::byte> part(bytes.data(), length);
    switch (input.take<std::uint8_t>() % 13) {
      case 0: (void)run(loop, image.read(offset, part)); break;
      case 1: (void)run(loop, image.write(offset, std::span<const std::byte>(part))); break;
      case 2: (void)run(loop, image.write_zeroes(offset, length, Unmap::kMayUnmap)); break;
      case 3: (void)run(loop, image.discard(offset, length)); break;
      case 4: (void)run(loop, image.create_snapshot("two")); break;
      case 5: (void)run(loop, image.apply_snapshot("1")); break;
      case 6: (void)run(loop, image.delete_snapshot("1")); break;
      case 7: (void)run(loop, image.resize(offset + 65536, Preallocation::kOff)); break;
      case 8: (void)run(loop, image.merge_bitmap("off", image, "on")); break;
      case 9: (void)run(loop, image.clear_bitmap("on")); break;
      case 10: (void)run(loop, image.enable_bitmap("off", (length & 1) != 0)); break;
      case 11: (void)run(loop, image.remove_bitmap((length & 1) != 0 ? "on" : "off")); break;
      default: (void)run(loop, image.flush()); break;
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::FuzzInput input(data, size);
  event::Loop loop;
  Context context(loop, EngineChoice::kThreads);
  qcow2::CreateOptions options{.size = 65536, .cluster_size = std::uint64_t{512} << input.take<std::uint8_t>() % 6};
  options.refcount_bits = 1U << input.take<std::uint8_t>() % 7;
  options.lazy_refcounts = input.take_bool();
  options.extended_l2 = options.cluster_size >= 16384;
  std::vector<std::byte> contents = sound_image(loop, context, options, input.take_bool());
  for (int patches = input.take<std::uint8_t>() % 16; patches > 0; --patches) {
    const std::size_t at = input.take<std::uint16_t>() % contents.size();
    contents[at] = static_cast<std::byte>(input.take<std::uint8_t>());
  }
  if (contents.size() > kLargestFile) return 0;
  const auto purpose = input.take_bool() ? qcow2::Purpose::kUse : qcow2::Purpose::kRepair;
  auto image =
      run(loop, qcow2::Image::open(context, std::make_unique<MemoryNode>(contents), nullptr, {.purpose = purpose}));
  if (!image) return 0;
  if (purpose == qcow2::Purpose::kRepair) (void)run(loop, (*image)->check(qcow2::Repair::kAll));
  use(loop, **image, input);
  (void)run(loop, (*image)->check(qcow2::Repair::kNone));
  (void)run(loop, (*image)->close());
  return 0;
}
