#include "block/image/open_image.h"

#include "block/test_support.h"

namespace doppel::block {
namespace {

TEST(OpenDisk, ReadsAndWritesARawFile) {
  const TemporaryFile file(1 << 20);
  for (const char* cache : {"writeback", "none", "writethrough", "directsync", "unsafe"}) {
    BlockRig rig;
    const DiskOptions options{.filename = file.path(), .format = "raw", .cache = parse_cache_mode(cache).value()};
    const auto disk = open_disk(rig.context, options);
    ASSERT_TRUE(disk) << disk.error().describe();
    EXPECT_EQ((*disk)->size(), 1U << 20);
    EXPECT_FALSE((*disk)->read_only());
    Bytes bytes = filled(1024, cache[0]);
    ASSERT_TRUE(rig.wait([&](Done done) { (*disk)->write(512, {{bytes.data(), 1024}}, std::move(done)); }));
    Bytes back = filled(1024, 0);
    ASSERT_TRUE(rig.wait([&](Done done) { (*disk)->read(512, {{back.data(), 1024}}, std::move(done)); }));
    EXPECT_EQ(back, bytes);
  }
}

TEST(OpenDisk, RefusesInOneSentence) {
  const TemporaryFile file(4096);
  BlockRig rig;
  const auto error = [&](const DiskOptions& options) {
    const auto disk = open_disk(rig.context, options);
    EXPECT_FALSE(disk);
    return disk ? "" : disk.error().describe();
  };
  EXPECT_EQ(error({.filename = "missing.img"}), "cannot open 'missing.img': No such file or directory");
  EXPECT_EQ(error({.filename = file.path(), .format = "rawr"}),
            fmt::format("'{}': Doppel does not read the format 'rawr' (did you mean 'raw'?)", file.path()));
  EXPECT_EQ(error({.filename = "http://example.org/x"}),
            "Doppel does not know the protocol 'http' of 'http://example.org/x'");
  EXPECT_EQ(error({.filename = file.path(), .format = "raw", .raw_offset = 5000}),
            fmt::format("'{}': offset 5000 lies behind the end of the file, which has 4096 bytes", file.path()));
}

}  // namespace
}  // namespace doppel::block
