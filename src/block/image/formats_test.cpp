// The formats besides raw and qcow2, in memory: random requests against plain bytes, and power cuts.
#include <random>

#include "block/compressed_target.h"
#include "block/memory_node.h"
#include "block/qed/image.h"
#include "block/test_support.h"
#include "block/vdi/image.h"
#include "block/vhdx/image.h"
#include "block/vmdk/create.h"
#include "block/vmdk/image.h"
#include "block/vpc/image.h"

namespace doppel::block {
namespace {

constexpr std::uint64_t kDisk = 3 * 1024 * 1024 + 512;

struct Format {
  const char* name;
  std::function<Task<Result<>>(Node&)> create;
  std::function<Task<Result<NodePtr>>(Context&, NodePtr)> open;
};

template <class Image>
Task<Result<NodePtr>> open_as(Context& context, NodePtr file) {
  DOPPEL_CO_ASSIGN(std::unique_ptr<Image> image, co_await Image::open(context, std::move(file)));
  co_return NodePtr(std::move(image));
}

Task<Result<NodePtr>> open_vmdk(Context& context, NodePtr file) {
  const vmdk::OpenFile none = [](const std::string&, vmdk::Access) { return fail(ErrorKind::kNotFound, "none"); };
  DOPPEL_CO_ASSIGN(std::unique_ptr<vmdk::Image> image, co_await vmdk::Image::open(context, std::move(file), none));
  co_return NodePtr(std::move(image));
}

Task<Result<>> create_vmdk(Node& file) {
  const vmdk::CreateFile none = [](const std::string&) { return fail(ErrorKind::kNotFound, "none"); };
  const vmdk::CreateOptions options{.size = kDisk};
  co_return co_await vmdk::create(file, "disk.vmdk", none, options);
}

Task<Result<>> create_vhdx(Node& file) {
  const vhdx::CreateOptions options{.size = kDisk, .block_size = kMiB};
  co_return co_await vhdx::create(file, options);
}

Task<Result<>> create_qed(Node& file) {
  const qed::CreateOptions options{.size = kDisk, .cluster_size = 4096, .table_size = 2};
  co_return co_await qed::create(file, options);
}

Task<Result<>> create_vdi(Node& file) {
  const vdi::CreateOptions options{.size = kDisk};
  co_return co_await vdi::create(file, options);
}

Task<Result<>> create_vpc(Node& file) {
  const vpc::CreateOptions options{.size = kDisk, .force_size = true};
  co_return co_await vpc::create(file, options);
}

class Formats : public ::testing::TestWithParam<Format> {
 protected:
  std::unique_ptr<MemoryNode> created() {
    auto memory = std::make_unique<MemoryNode>();
    const auto result = rig.run(GetParam().create(*memory));
    EXPECT_TRUE(result) << result.error().describe();
    return memory;
  }
  NodePtr opened(std::vector<std::byte> contents) {
    auto image = rig.run(GetParam().open(rig.context, std::make_unique<MemoryNode>(std::move(contents))));
    EXPECT_TRUE(image) << image.error().describe();
    return std::move(*image);
  }
  void expect_sound(Node& image) {
    auto* checkable = dynamic_cast<Checkable*>(&image);
    if (checkable == nullptr) return;
    const auto result = rig.run(checkable->check(Repair::kNone));
    ASSERT_TRUE(result) << result.error().describe();
    EXPECT_EQ(result->corruptions, 0U) << result->findings.at(0);
  }

  BlockRig rig;
};

TEST_P(Formats, AreWhatWasWrittenToThem) {
  std::mt19937 random(1);
  auto memory = created();
  const MemoryNode* file = memory.get();
  auto image = rig.run(GetParam().open(rig.context, std::move(memory))).value();
  ASSERT_EQ(image->size(), kDisk);
  Bytes disk = filled(kDisk, 0);
  for (int i = 0; i < 300; ++i) {
    const std::size_t offset = random() % kDisk;
    const std::size_t length = std::min<std::size_t>(1 + random() % 20000, kDisk - offset);
    const auto part = std::span(disk).subspan(offset, length);
    switch (random() % 5) {
      case 0:
      case 1:
        std::ranges::fill(part, static_cast<std::byte>(random()));
        ASSERT_TRUE(rig.write(*image, offset, Bytes(part.begin(), part.end())));
        break;
      case 2:
        std::ranges::fill(part, std::byte{0});
        ASSERT_TRUE(rig.run(image->write_zeroes(offset, length, Unmap::kMayUnmap)));
        break;
      case 3: ASSERT_EQ(rig.read(*image, offset, length), Bytes(part.begin(), part.end())); break;
      default: {
        const auto status = rig.run(image->block_status(offset, length));
        ASSERT_TRUE(status && status->bytes > 0 && status->bytes <= length);
        const bool zero = std::ranges::all_of(part.first(status->bytes), [](std::byte b) { return b == std::byte{0}; });
        EXPECT_TRUE(zero || !status->zero);
      }
    }
    if (i % 50 == 0) {
      ASSERT_TRUE(rig.run(image->flush()));
    }
  }
  EXPECT_FALSE(rig.write(*image, kDisk - 1, filled(2, 1)));
  ASSERT_TRUE(rig.run(image->flush()));
  const auto again = opened(file->contents());
  EXPECT_EQ(rig.read(*again, 0, kDisk), disk);
  expect_sound(*again);
  (void)rig.run(again->close());
  (void)rig.run(image->close());
}

/// After any prefix of what is written, the image opens, is sound, and has what was flushed.
TEST_P(Formats, SurviveAPowerCut) {
  auto memory = created();
  MemoryNode after(memory->contents());
  std::vector<MemoryNode::Event> events;
  memory->record([&](const MemoryNode::Event& event) { events.push_back(event); });
  auto image = rig.run(GetParam().open(rig.context, std::move(memory))).value();
  ASSERT_TRUE(rig.write(*image, 5000, filled(3000, 0x11)));
  ASSERT_TRUE(rig.run(image->flush()));
  const std::size_t flushed = events.size();
  ASSERT_TRUE(rig.write(*image, 2 * kMiB + 70000, filled(100, 0x22)));
  ASSERT_TRUE(rig.run(image->flush()));
  (void)rig.run(image->close());
  for (std::size_t i = 0; i < events.size(); ++i) {
    if (events[i].size) (void)rig.run(after.resize(*events[i].size, Preallocation::kOff));
    if (!events[i].bytes.empty())
      (void)rig.run(after.write(events[i].offset, std::span<const std::byte>(events[i].bytes)));
    const auto cut = opened(after.contents());
    ASSERT_TRUE(cut);
    const Bytes found = rig.read(*cut, 5000, 3000);
    EXPECT_TRUE(i < flushed || found == filled(3000, 0x11)) << "after write " << i;
    if (std::string_view(GetParam().name) != "vdi") expect_sound(*cut);  // its header counts blocks, in another sector
    (void)rig.run(cut->close());
  }
}

INSTANTIATE_TEST_SUITE_P(All, Formats,
                         ::testing::Values(Format{"vdi", create_vdi, open_as<vdi::Image>},
                                           Format{"vhdx", create_vhdx, open_as<vhdx::Image>},
                                           Format{"vmdk", create_vmdk, open_vmdk}, Format{"vpc", create_vpc, vpc::open},
                                           Format{"qed", create_qed, open_as<qed::Image>}),
                         [](const auto& param) { return std::string(param.param.name); });

}  // namespace
}  // namespace doppel::block
