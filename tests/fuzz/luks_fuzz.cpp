// Hostile LUKS headers, opened by the right password and by none, and passwords changed in them.
#include "base/endian.h"
#include "block/crypto/crypt_node.h"
#include "fuzz/image_target.h"

namespace doppel::fuzz {
namespace {

constexpr std::uint32_t kMostIterations = 4096;  // each is honest work, of which more finds nothing
constexpr std::size_t kDigestIterations = 164;   // the specification's figure 1
constexpr std::size_t kSlots = 208;
constexpr std::size_t kSlotSize = 48;

Open open_by(const std::optional<block::SecretBytes>& password) {
  return [password](Context& /*context*/, NodePtr file) {
    return block::LuksNode::open(std::move(file), password, !password.has_value());
  };
}

Task<Result<>> create(Node& file) {
  const block::LuksOptions options{.cipher = "aes-128", .iteration_ms = 1};
  DOPPEL_CO_ASSIGN(const auto header, co_await block::create_luks(file, 0, options, block::SecretBytes("right")));
  co_return co_await file.resize(header.payload_bytes() + kFuzzDisk, block::Preallocation::kOff);
}

void limit_iterations(ImageBytes& image) {
  const auto limit = [&image](std::size_t at) {
    if (at + 4 > image.size()) return;
    const auto iterations = load_be<std::uint32_t>(image.data() + at);
    store_be(image.data() + at, iterations % kMostIterations);
  };
  limit(kDigestIterations);
  for (std::size_t i = 0; i < block::LuksHeader::kSlots; ++i) limit(kSlots + i * kSlotSize + 4);
}

void change_passwords(FuzzInput& input, const ImageBytes& contents) {
  event::Loop loop;
  Context context(loop, block::EngineChoice::kThreads);
  auto image = run_to_end(loop, open_by({})(context, std::make_unique<MemoryNode>(contents)));
  if (!image) return;
  block::LuksChange change{.activate = input.take_bool(), .iteration_ms = 0, .force = input.take_bool()};
  if (input.take_bool()) change.slot = input.below(9);
  if (change.activate) {
    change.new_password = block::SecretBytes("new");
  } else {
    change.iteration_ms.reset();
    if (input.take_bool()) change.old_password = block::SecretBytes("right");
  }
  auto& holder = dynamic_cast<block::PasswordHolder&>(**image);
  (void)run_to_end(loop, holder.change_passwords(block::SecretBytes("right"), change));
}

}  // namespace
}  // namespace doppel::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace doppel::fuzz;
  static const Open open = open_by(doppel::block::SecretBytes("right"));
  static const ImageBytes sound = sound_image(create, open);
  // The header's fields, its slots, the first slot's material and the first data.
  constexpr Range kRanges[] = {{0, kSlots}, {kSlots, 8 * kSlotSize}, {4096, 256}, {1 << 20, 1024}};
  FuzzInput input(data, size);
  ImageBytes image = patched(input, sound, kRanges);
  limit_iterations(image);
  switch (input.below(3)) {
    case 0: open_and_use(input, std::move(image), open_by({})); break;
    case 1: change_passwords(input, image); break;
    default: open_and_use(input, std::move(image), open);
  }
  return 0;
}
