#include "block/node_disk.h"

#include <thread>

#include "block/memory_node.h"
#include "block/test_support.h"

namespace doppel::block {
namespace {

constexpr std::uint64_t kSize = 1 << 20;

struct DiskRig : BlockRig {
  explicit DiskRig(NodeDiskOptions options = {}) {
    auto memory = std::make_unique<MemoryNode>(filled(kSize, 0));
    node = memory.get();
    node->record([this](const MemoryNode::Event& event) { log += event.bytes.empty() ? 'f' : 'w'; });
    disk = std::make_unique<NodeDisk>(context, std::move(memory), options);
  }
  Result<> write(std::uint64_t offset, Bytes& bytes) {
    return wait([&](Done done) { disk->write(offset, {{bytes.data(), bytes.size()}}, std::move(done)); });
  }

  MemoryNode* node;
  std::string log;
  std::unique_ptr<NodeDisk> disk;
};

TEST(NodeDisk, ScattersAndGathers) {
  DiskRig rig;
  Bytes a = filled(300, 1);
  Bytes b = filled(724, 2);
  ASSERT_TRUE(rig.wait([&](Done done) {
    rig.disk->write(512, {{a.data(), a.size()}, {nullptr, 0}, {b.data(), b.size()}}, std::move(done));
  }));
  Bytes c = filled(1000, 0);
  Bytes d = filled(24, 0);
  ASSERT_TRUE(
      rig.wait([&](Done done) { rig.disk->read(512, {{c.data(), c.size()}, {d.data(), d.size()}}, std::move(done)); }));
  EXPECT_EQ(c[299], std::byte{1});
  EXPECT_EQ(c[300], std::byte{2});
  EXPECT_EQ(d, filled(24, 2));
}

TEST(NodeDisk, RefusesWhatIsNotThere) {
  DiskRig rig;
  Bytes bytes = filled(1024, 1);
  for (const std::uint64_t offset : {kSize, kSize - 512, ~std::uint64_t{511}, std::uint64_t{1}}) {
    const auto result = rig.write(offset, bytes);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().kind(), ErrorKind::kOutOfRange);
  }
  EXPECT_FALSE(rig.wait([&](Done done) { rig.disk->discard(512, ~std::uint64_t{511}, std::move(done)); }));
  EXPECT_EQ(rig.log, "");
}

TEST(NodeDisk, WithoutAWriteCacheEveryWriteIsFlushed) {
  DiskRig through({.write_cache = false});
  Bytes bytes = filled(512, 1);
  ASSERT_TRUE(through.write(0, bytes));
  EXPECT_EQ(through.log, "wf");
  DiskRig back;
  ASSERT_TRUE(back.write(0, bytes));
  EXPECT_EQ(back.log, "w");
  ASSERT_TRUE(back.wait([&](Done done) { back.disk->flush(std::move(done)); }));
  EXPECT_EQ(back.log, "wf");
}

TEST(NodeDisk, DiscardsOnlyWhenAskedTo) {
  for (const bool discard : {false, true}) {
    DiskRig rig({.discard = discard});
    Bytes bytes = filled(512, 1);
    ASSERT_TRUE(rig.write(0, bytes));
    ASSERT_TRUE(rig.wait([&](Done done) { rig.disk->discard(0, 512, std::move(done)); }));
    EXPECT_EQ(rig.node->contents()[0], std::byte{discard ? std::uint8_t{0} : std::uint8_t{1}});
  }
}

TEST(NodeDisk, TakesRequestsFromManyThreads) {
  constexpr int kThreads = 4;
  constexpr int kRequests = 200;
  DiskRig rig;
  std::vector<Bytes> data;
  for (int i = 0; i < kThreads; ++i) data.push_back(filled(512, i + 1));
  std::atomic<int> done{0};
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      for (std::size_t i = 0; i < kRequests; ++i)
        rig.disk->write((i * kThreads + t) * 512, {{data[t].data(), 512}}, [&](const Result<>& result) {
          EXPECT_TRUE(result);
          EXPECT_TRUE(rig.loop.is_loop_thread());
          if (++done == kThreads * kRequests) rig.loop.quit();
        });
    });
  rig.loop.run();
  for (auto& thread : threads) thread.join();
  for (std::size_t i = 0; i < kThreads * kRequests; ++i)
    ASSERT_EQ(rig.node->contents()[i * 512], static_cast<std::byte>(i % kThreads + 1));
}

TEST(NodeDisk, DestructionWaitsForWhatIsUnderWay) {
  DiskRig rig;
  Bytes bytes = filled(512, 1);
  int done = 0;
  for (int i = 0; i < 3; ++i) rig.disk->write(0, {{bytes.data(), 512}}, [&](const Result<>&) { ++done; });
  rig.disk.reset();
  EXPECT_EQ(done, 3);
}

}  // namespace
}  // namespace doppel::block
