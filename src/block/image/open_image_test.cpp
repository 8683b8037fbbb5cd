#include "block/image/open_image.h"

#include "block/qcow2/create.h"
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
  EXPECT_EQ(error({.filename = "gopher://example.org/x"}),
            "Doppel does not know the protocol 'gopher' of 'gopher://example.org/x'");
  EXPECT_EQ(error({.filename = "http://example.org/x"}),
            "cannot open 'http://example.org/x' for writing: files on web servers are read-only");
  EXPECT_EQ(error({.filename = file.path(), .format = "raw", .raw_offset = 5000}),
            fmt::format("'{}': offset 5000 lies behind the end of the file, which has 4096 bytes", file.path()));
}

void make_qcow2(BlockRig& rig, const std::string& path, const qcow2::CreateOptions& options) {
  auto file = open_protocol(rig.context, path, {.writable = true});
  ASSERT_TRUE(file);
  const auto made = rig.run(qcow2::create(**file, options));
  ASSERT_TRUE(made) << made.error().describe();
}

Result<> write_disk(BlockRig& rig, Disk& disk, Bytes bytes) {
  return rig.wait([&](Done done) { disk.write(0, {{bytes.data(), bytes.size()}}, std::move(done)); });
}

Bytes read_disk(BlockRig& rig, Disk& disk, std::size_t size) {
  Bytes bytes = filled(size, 0xee);
  EXPECT_TRUE(rig.wait([&](Done done) { disk.read(0, {{bytes.data(), size}}, std::move(done)); }));
  return bytes;
}

TEST(OpenDisk, WritesToAnOverlayAndNotToItsBackingFile) {
  const TemporaryFile base(1 << 20);
  const TemporaryFile overlay;
  BlockRig rig;
  make_qcow2(rig, overlay.path(), {.size = 1 << 20, .backing_file = base.path(), .backing_format = "raw"});
  {
    const auto disk = open_disk(rig.context, {.filename = overlay.path()});
    ASSERT_TRUE(disk) << disk.error().describe();
    ASSERT_TRUE(write_disk(rig, **disk, filled(4096, 5)));
    EXPECT_EQ(read_disk(rig, **disk, 4096), filled(4096, 5));
  }
  const auto disk = open_disk(rig.context, {.filename = overlay.path(), .read_only = true});
  ASSERT_TRUE(disk);
  EXPECT_EQ(read_disk(rig, **disk, 4096), filled(4096, 5));
  const auto refused = write_disk(rig, **disk, filled(512, 6));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::kPermissionDenied);
  EXPECT_EQ(base.contents(), std::string(1 << 20, '\0'));
}

TEST(OpenDisk, SnapshotForgetsWhatIsWritten) {
  const TemporaryFile file(1 << 20);
  BlockRig rig;
  {
    const auto disk = open_disk(rig.context, {.filename = file.path(), .format = "raw", .snapshot = true});
    ASSERT_TRUE(disk) << disk.error().describe();
    ASSERT_TRUE(write_disk(rig, **disk, filled(4096, 5)));
    EXPECT_EQ(read_disk(rig, **disk, 4096), filled(4096, 5));
  }
  EXPECT_EQ(file.contents(), std::string(1 << 20, '\0'));
}

TEST(OpenDisk, ABackingChainThatNeverEndsIsRefused) {
  const TemporaryFile file;
  BlockRig rig;
  make_qcow2(rig, file.path(), {.size = 1 << 20, .backing_file = file.path(), .backing_format = "qcow2"});
  const auto disk = open_disk(rig.context, {.filename = file.path(), .read_only = true});
  ASSERT_FALSE(disk);
  EXPECT_THAT(disk.error().describe(), testing::HasSubstr("the chain of backing files never ends"));
}

}  // namespace
}  // namespace doppel::block
