#include "block/qcow2/bitmaps.h"

#include <gmock/gmock.h>

#include <array>

#include "base/endian.h"
#include "block/qcow2/qcow2_rig.h"

namespace doppel::block::qcow2 {
namespace {

using Range = std::pair<std::uint64_t, std::uint64_t>;  // offset, length
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::uint64_t kDisk = 1 << 20;
constexpr std::size_t kExtensionAt = 112;  // of what Doppel has written

TEST(BitmapBits, AreSetInRunsAcrossPieces) {
  BitmapBits bits;
  bits.set(4090, 20);
  bits.set(100'000, 1);
  std::vector<std::byte> bytes(1024);
  bits.add_to(0, bytes);
  std::vector<Range> runs;
  for_each_run(bytes, 0, [&](std::uint64_t first, std::uint64_t count) { runs.emplace_back(first, count); });
  EXPECT_THAT(runs, ElementsAre(Range{4090, 20}));
  EXPECT_TRUE(bits.any(12'288, 512));
  EXPECT_FALSE(bits.any(1024, 4096));
  bits.truncate(4093);
  EXPECT_FALSE(bits.any(12'288, 512));
  std::ranges::fill(bytes, std::byte{0});
  bits.add_to(0, bytes);
  runs.clear();
  for_each_run(bytes, 7, [&](std::uint64_t first, std::uint64_t count) { runs.emplace_back(first, count); });
  EXPECT_THAT(runs, ElementsAre(Range{4097, 3}));
}

TEST(BitmapBits, RunsEndInTheMiddleOfBytes) {
  const std::array<std::byte, 3> bytes{std::byte{0b1000'0001}, std::byte{0xff}, std::byte{0b0101}};
  std::vector<Range> runs;
  for_each_run(bytes, 0, [&](std::uint64_t first, std::uint64_t count) { runs.emplace_back(first, count); });
  EXPECT_THAT(runs, ElementsAre(Range{0, 1}, Range{7, 10}, Range{18, 1}));
  auto cut = bytes;
  clear_from(cut, 10);
  EXPECT_EQ(cut[1], std::byte{3});
  EXPECT_EQ(cut[2], std::byte{0});
}

struct BitmapsTest : Qcow2Rig, testing::TestWithParam<std::uint64_t> {
  void make() { create({.size = kDisk, .cluster_size = GetParam()}); }
  std::vector<Range> dirty(const std::string& name) {
    std::vector<Range> ranges;
    const auto visited = run(image->visit_bitmap(
        name, [&](std::uint64_t offset, std::uint64_t length) { ranges.emplace_back(offset, length); }));
    EXPECT_TRUE(visited) << visited.error().describe();
    return ranges;
  }
  void expect_sound() {
    expect_clean();
    if (!have_qemu_img()) return;
    save(file->contents(), "bitmaps.qcow2");
    EXPECT_EQ(qemu_check("bitmaps.qcow2"), 0);
  }
};

INSTANTIATE_TEST_SUITE_P(ClusterSizes, BitmapsTest, testing::Values(512, 4096, 65536));

TEST_P(BitmapsTest, RecordWhatIsWrittenAndAreStored) {
  make();
  ASSERT_TRUE(run(image->add_bitmap("fine", 512, true)));
  ASSERT_TRUE(run(image->add_bitmap("coarse", 65536, true)));
  ASSERT_TRUE(run(image->add_bitmap("off", 512, false)));
  reopen();
  ASSERT_TRUE(write(*image, 1000, filled(100, 1)));
  ASSERT_TRUE(run(image->write_zeroes(500'000, 20'000, Unmap::kMayUnmap)));
  ASSERT_TRUE(run(image->discard(kDisk - 4096, 4096)));
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(dirty("fine"), ElementsAre(Range{512, 1024}, Range{499'712, 20'480}, Range{kDisk - 4096, 4096}));
    EXPECT_THAT(dirty("coarse"), ElementsAre(Range{0, 65536}, Range{458'752, 65536}, Range{kDisk - 65536, 65536}));
    EXPECT_THAT(dirty("off"), IsEmpty());
    reopen();
  }
  close();
  expect_sound();
  for (const BitmapInfo& bitmap : image->bitmaps()) EXPECT_FALSE(bitmap.in_use || bitmap.inconsistent) << bitmap.name;
}

TEST_P(BitmapsTest, AreClearedMergedAndSwitched) {
  make();
  ASSERT_TRUE(run(image->add_bitmap("a", 512, true)));
  ASSERT_TRUE(run(image->add_bitmap("b", 4096, false)));
  ASSERT_TRUE(write(*image, 0, filled(512, 1)));
  ASSERT_TRUE(write(*image, 4096 * 3 - 512, filled(1024, 1)));
  ASSERT_TRUE(run(image->merge_bitmap("b", *image, "a")));
  reopen();
  EXPECT_THAT(dirty("b"), ElementsAre(Range{0, 4096}, Range{8192, 8192}));
  ASSERT_TRUE(run(image->clear_bitmap("a")));
  ASSERT_TRUE(run(image->enable_bitmap("b", true)));
  ASSERT_TRUE(run(image->enable_bitmap("a", false)));
  ASSERT_TRUE(write(*image, 100'000, filled(1, 1)));
  reopen();
  EXPECT_THAT(dirty("a"), IsEmpty());
  EXPECT_THAT(dirty("b"), ElementsAre(Range{0, 4096}, Range{8192, 8192}, Range{98'304, 4096}));
  ASSERT_TRUE(run(image->remove_bitmap("a")));
  reopen();
  EXPECT_EQ(image->bitmaps().size(), 1U);
  expect_sound();
  ASSERT_TRUE(run(image->remove_bitmap("b")));
  close();
  expect_sound();
  EXPECT_FALSE(image->header().bitmaps);
  EXPECT_EQ(image->header().autoclear, 0U);
}

TEST_P(BitmapsTest, FollowTheDisksSize) {
  make();
  ASSERT_TRUE(run(image->add_bitmap("on", 512, true)));
  ASSERT_TRUE(run(image->add_bitmap("off", 512, true)));
  ASSERT_TRUE(write(*image, 0, filled(512, 1)));
  ASSERT_TRUE(write(*image, 700'000, filled(200'000, 1)));
  ASSERT_TRUE(run(image->enable_bitmap("off", false)));
  reopen();
  ASSERT_TRUE(run(image->resize(720'384, Preallocation::kOff)));
  ASSERT_TRUE(run(image->resize(5 * kDisk, Preallocation::kOff)));
  ASSERT_TRUE(write(*image, 4 * kDisk, filled(512, 1)));
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(dirty("on"), ElementsAre(Range{0, 512}, Range{699'904, 20'480}, Range{4 * kDisk, 512}));
    EXPECT_THAT(dirty("off"), ElementsAre(Range{0, 512}, Range{699'904, 20'480}));
    reopen();
  }
  ASSERT_TRUE(run(image->resize(512, Preallocation::kOff)));
  reopen();
  EXPECT_THAT(dirty("on"), ElementsAre(Range{0, 512}));
  expect_sound();
}

TEST_P(BitmapsTest, ThatNobodyStoredSaySo) {
  make();
  ASSERT_TRUE(run(image->add_bitmap("on", 512, true)));
  ASSERT_TRUE(run(image->add_bitmap("off", 512, false)));
  reopen();
  ASSERT_TRUE(write(*image, 0, filled(512, 1)));
  ASSERT_TRUE(run(image->flush()));
  auto killed = std::make_unique<MemoryNode>(file->contents());
  image.reset();
  open(std::move(killed));
  const std::vector<BitmapInfo> bitmaps = image->bitmaps();
  ASSERT_EQ(bitmaps.size(), 2U);
  EXPECT_TRUE(bitmaps[0].inconsistent);
  EXPECT_FALSE(bitmaps[1].inconsistent);
  for (const auto& refused : {run(image->clear_bitmap("on")), run(image->enable_bitmap("on", false)),
                              run(image->merge_bitmap("off", *image, "on"))}) {
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().describe(), HasSubstr("can only be removed"));
  }
  ASSERT_TRUE(run(image->resize(2 * kDisk, Preallocation::kOff)));
  reopen();  // and it stays so
  EXPECT_TRUE(image->bitmaps()[0].inconsistent);
  expect_sound();
  ASSERT_TRUE(run(image->remove_bitmap("on")));
  reopen();
  EXPECT_EQ(image->bitmaps().size(), 1U);
  expect_sound();
}

/// Every write of changes to the directory and of resizing, cut off behind it.
TEST_P(BitmapsTest, APowerCutWhileTheyChangeLeavesAWholeImage) {
  make();
  ASSERT_TRUE(write(*image, 0, filled(300'000, 1)));
  ASSERT_TRUE(run(image->add_bitmap("kept", 512, true)));
  ASSERT_TRUE(write(*image, 4096, filled(512, 1)));
  ASSERT_TRUE(run(image->enable_bitmap("kept", false)));
  std::vector<Bytes> states;  // behind each write
  const auto reopen_recorded = [&] {
    close();
    auto memory = std::make_unique<MemoryNode>(file->contents());
    image.reset();
    MemoryNode* node = memory.get();
    node->record([&states, node](const MemoryNode::Event& /*event*/) { states.push_back(node->contents()); });
    open(std::move(memory));
  };
  reopen_recorded();
  ASSERT_TRUE(run(image->add_bitmap("new", 512, true)));
  ASSERT_TRUE(write(*image, 200'000, filled(5000, 1)));
  reopen_recorded();
  ASSERT_TRUE(write(*image, 0, filled(100'000, 1)));
  ASSERT_TRUE(run(image->resize(9 * kDisk, Preallocation::kOff)));
  reopen_recorded();
  ASSERT_TRUE(run(image->clear_bitmap("new")));
  ASSERT_TRUE(run(image->resize(kDisk, Preallocation::kOff)));
  reopen_recorded();
  ASSERT_TRUE(run(image->remove_bitmap("new")));
  close();
  image.reset();
  ASSERT_GT(states.size(), 20U);
  const std::size_t qemu_step = states.size() / 20;
  for (std::size_t i = 0; i < states.size(); ++i) {
    open(std::make_unique<MemoryNode>(states[i]));
    ASSERT_FALSE(HasFatalFailure()) << "write " << i;
    const CheckResult result = check();
    ASSERT_EQ(result.corruptions, 0U) << result.findings[0] << ", write " << i;
    ASSERT_EQ(image->bitmaps().at(0).name, "kept") << "write " << i;
    if (!image->bitmaps()[0].inconsistent) {
      ASSERT_THAT(dirty("kept"), ElementsAre(Range{4096, 512})) << "write " << i;
    }
    if (!have_qemu_img() || i % qemu_step != 0) continue;
    save(states[i], "bitmaps-cut.qcow2");
    const int status = qemu_check("bitmaps-cut.qcow2");
    ASSERT_TRUE(status == 0 || status == 3) << "qemu-img check: " << status << ", write " << i;
  }
}

TEST(Bitmaps, RefuseWhatCannotBe) {
  Qcow2Rig rig;
  rig.create({.size = kDisk});
  const auto refusal = [&](const std::string& name, std::uint64_t granularity) {
    const auto added = rig.run(rig.image->add_bitmap(name, granularity, true));
    return added ? "" : added.error().describe();
  };
  EXPECT_EQ(refusal("a", 512), "");
  EXPECT_EQ(refusal("a", 512), "there is a bitmap 'a' already");
  EXPECT_EQ(refusal("b", 1000), "a bitmap's granularity is a power of two from 512 to 2G, not 1000");
  EXPECT_EQ(refusal("b", 256), "a bitmap's granularity is a power of two from 512 to 2G, not 256");
  EXPECT_EQ(refusal(std::string(1024, 'x'), 512), "a bitmap's name has 1 to 1023 bytes");
  EXPECT_EQ(rig.run(rig.image->remove_bitmap("b")).error().describe(), "there is no bitmap 'b'");
  EXPECT_EQ(rig.run(rig.image->resize(std::uint64_t{1} << 42, Preallocation::kOff)).error().describe(),
            "bitmap 'a' would become too large; remove it first");
  ASSERT_TRUE(rig.run(rig.image->create_snapshot("s")));
  EXPECT_THAT(rig.run(rig.image->apply_snapshot("s")).error().describe(), HasSubstr("the image has bitmaps"));
  Qcow2Rig old;
  old.create({.size = kDisk, .version = 2});
  EXPECT_THAT(old.run(old.image->add_bitmap("a", 512, true)).error().describe(), HasSubstr("version 2"));
}

/// An image with one bitmap, `one`, that records and has a bit set; where its directory is.
std::pair<Bytes, std::size_t> with_bitmap() {
  Qcow2Rig rig;
  rig.create({.size = kDisk, .cluster_size = 4096});
  EXPECT_TRUE(rig.run(rig.image->add_bitmap("one", 512, true)));
  EXPECT_TRUE(rig.write(*rig.image, 0, filled(512, 1)));
  rig.close();
  const Bytes contents = rig.file->contents();
  return {contents, static_cast<std::size_t>(load_be<std::uint64_t>(contents.data() + kExtensionAt + 24))};
}

std::string error_after(const std::function<void(Bytes&, std::size_t directory)>& change) {
  auto [contents, directory] = with_bitmap();
  change(contents, directory);
  Qcow2Rig rig;
  auto opened = rig.run(Image::open(rig.context, std::make_unique<MemoryNode>(std::move(contents)), nullptr));
  return opened ? "" : opened.error().describe();
}

template <class T>
auto put(std::size_t offset, T value) {
  return
      [offset, value](Bytes& bytes, std::size_t directory) { store_be<T>(bytes.data() + directory + offset, value); };
}
template <class T>
auto put_extension(std::size_t offset, T value) {
  return [offset, value](Bytes& bytes, std::size_t /*directory*/) {
    store_be<T>(bytes.data() + kExtensionAt + 8 + offset, value);
  };
}

TEST(BitmapDirectory, RefusesWhatNoImageHas) {
  EXPECT_EQ(error_after([](Bytes& /*bytes*/, std::size_t /*directory*/) {}), "");
  EXPECT_EQ(error_after(put_extension<std::uint32_t>(0, 0)), "the image claims 0 bitmaps, but 1 to 65535 are possible");
  EXPECT_EQ(error_after(put_extension<std::uint32_t>(0, 65536)),
            "the image claims 65536 bitmaps, but 1 to 65535 are possible");
  EXPECT_EQ(error_after(put_extension<std::uint32_t>(0, 2)),
            "a bitmap directory of 32 bytes for 2 bitmaps is not possible");
  EXPECT_EQ(error_after(put_extension<std::uint32_t>(4, 1)),
            "the bitmaps' header extension has a reserved field that is not zero");
  EXPECT_EQ(error_after(put_extension<std::uint64_t>(8, 1 << 30)),
            "a bitmap directory of 1073741824 bytes for 1 bitmaps is not possible");
  EXPECT_EQ(error_after(put_extension<std::uint64_t>(8, 40)), "8 bytes follow the bitmap directory's last entry");
  EXPECT_EQ(error_after(put_extension<std::uint64_t>(16, 100)), "the bitmap directory at offset 0x64 is not aligned");
  EXPECT_EQ(error_after(put_extension<std::uint64_t>(16, bit(40))),
            "the bitmap directory at offset 0x10000000000 goes beyond the end of the file");
  EXPECT_EQ(error_after(put<std::uint64_t>(0, 1)), "bitmap 'one' has a table at the impossible offset 0x1");
  EXPECT_EQ(error_after(put<std::uint64_t>(0, 0)), "bitmap 'one' has a table at the impossible offset 0x0");
  EXPECT_EQ(error_after(put<std::uint64_t>(0, bit(50))),
            "the table of bitmap 'one' at offset 0x4000000000000 goes beyond the end of the file; check -r all removes "
            "that bitmap");
  EXPECT_EQ(error_after(put<std::uint32_t>(8, 0)), "bitmap 'one' has a table of 0 entries, which is not possible");
  EXPECT_EQ(error_after(put<std::uint32_t>(8, 0x8000000)),
            "bitmap 'one' has a table of 134217728 entries, which is not possible");
  EXPECT_EQ(error_after(put<std::uint32_t>(8, 2)),
            "bitmap 'one' has a table of 2 entries, which is not for a disk of 1048576 bytes");
  EXPECT_EQ(error_after(put<std::uint32_t>(12, 0x12)), "bitmap 'one' has the unknown flags 0x12");
  EXPECT_EQ(error_after(put<std::uint8_t>(16, 2)), "bitmap 'one' has the unknown type 2");
  EXPECT_EQ(error_after(put<std::uint8_t>(17, 8)),
            "bitmap 'one' has a granularity of 2^8 bytes, but 2^9 to 2^31 are possible");
  EXPECT_EQ(error_after(put<std::uint8_t>(17, 255)),
            "bitmap 'one' has a granularity of 2^255 bytes, but 2^9 to 2^31 are possible");
  EXPECT_EQ(error_after(put<std::uint16_t>(18, 0)), "bitmap 0 has a name of 0 bytes, but 1 to 1023 are possible");
  EXPECT_EQ(error_after(put<std::uint16_t>(18, 9)), "the bitmap directory ends in its entry 0");
  EXPECT_EQ(error_after(put<std::uint32_t>(20, 0xffffffff)), "the bitmap directory ends in its entry 0");
  EXPECT_EQ(error_after(put<std::uint32_t>(20, 2)),
            "bitmap 'e?\?' has extra data that Doppel does not know and must not ignore");
  EXPECT_EQ(error_after([](Bytes& bytes, std::size_t directory) {
              const auto table = static_cast<std::size_t>(load_be<std::uint64_t>(bytes.data() + directory));
              store_be<std::uint64_t>(bytes.data() + table, 513);
            }),
            "the table of bitmap 'one' has the impossible entry 0x201; check -r all removes that bitmap");
  EXPECT_THAT(error_after([](Bytes& bytes, std::size_t /*directory*/) {
                store_be<std::uint64_t>(bytes.data() + kExtensionAt + 8 + 16, 4096);  // the refcount table
              }),
              HasSubstr("bitmap"));
}

TEST(BitmapDirectory, WithoutItsFeatureBitIsNotThere) {
  auto [contents, directory] = with_bitmap();
  store_be<std::uint64_t>(contents.data() + 88, 0);
  Qcow2Rig rig;
  rig.open(std::make_unique<MemoryNode>(contents));
  EXPECT_THAT(rig.image->bitmaps(), IsEmpty());
  EXPECT_EQ(rig.check().leaks, 3U);  // directory, table, bits
  ASSERT_TRUE(rig.run(rig.image->add_bitmap("one", 512, true)));
  rig.reopen();
  EXPECT_EQ(rig.image->bitmaps().size(), 1U);
  EXPECT_EQ(rig.check(Repair::kLeaks).leaks_fixed, 3U);
  rig.expect_clean();
}

TEST(BitmapDirectory, ThatIsBrokenIsRepairedAway) {
  for (const bool whole_directory : {false, true}) {
    auto [contents, directory] = with_bitmap();
    const auto table = static_cast<std::size_t>(load_be<std::uint64_t>(contents.data() + directory));
    store_be<std::uint64_t>(contents.data() + (whole_directory ? directory : table), 513);
    Qcow2Rig rig;
    auto memory = std::make_unique<MemoryNode>(contents);
    rig.file = memory.get();
    auto opened = rig.run(Image::open(rig.context, std::move(memory), nullptr, {.purpose = Purpose::kRepair}));
    ASSERT_TRUE(opened) << opened.error().describe();
    rig.image = std::move(*opened);
    EXPECT_EQ(rig.check().corruptions, 1U);
    const CheckResult repaired = rig.check(Repair::kAll);
    EXPECT_EQ(repaired.corruptions, 0U);
    EXPECT_EQ(repaired.corruptions_fixed, 1U);
    rig.reopen();
    rig.expect_clean();
    EXPECT_THAT(rig.image->bitmaps(), IsEmpty());
    EXPECT_EQ(rig.read(*rig.image, 0, 512), filled(512, 1));
  }
}

TEST(LazyRefcounts, ArePutOffUntilTheImageIsClosed) {
  Qcow2Rig rig;
  rig.create({.size = kDisk, .cluster_size = 4096, .lazy_refcounts = true});
  const Bytes before = rig.file->contents();
  ASSERT_TRUE(rig.write(*rig.image, 0, filled(50'000, 3)));
  EXPECT_FALSE(rig.image->info().dirty);  // nothing on disk names what was written
  ASSERT_TRUE(rig.run(rig.image->flush()));
  EXPECT_TRUE(rig.image->info().dirty);
  const Bytes killed = rig.file->contents();
  const auto block = static_cast<std::ptrdiff_t>(load_be<std::uint64_t>(before.data() + 4096));
  EXPECT_TRUE(std::equal(before.begin() + block, before.begin() + block + 4096, killed.begin() + block));
  rig.close();
  rig.expect_clean();
  EXPECT_EQ(load_be<std::uint64_t>(rig.file->contents().data() + 72), 0U);
  Qcow2Rig again;
  again.open(std::make_unique<MemoryNode>(killed));
  EXPECT_FALSE(again.image->info().dirty);
  again.expect_clean();
  EXPECT_EQ(again.read(*again.image, 0, 50'000), filled(50'000, 3));
}

TEST(LazyRefcounts, FollowTheOptionOfTheNode) {
  for (const bool lazy : {false, true}) {
    Qcow2Rig rig;
    MemoryNode made;
    ASSERT_TRUE(rig.run(create(made, {.size = kDisk, .lazy_refcounts = !lazy})));
    auto opened = rig.run(
        Image::open(rig.context, std::make_unique<MemoryNode>(made.contents()), nullptr, {.lazy_refcounts = lazy}));
    ASSERT_TRUE(opened);
    rig.image = std::move(*opened);
    ASSERT_TRUE(rig.write(*rig.image, 0, filled(512, 3)));
    ASSERT_TRUE(rig.run(rig.image->flush()));
    EXPECT_EQ(rig.image->info().dirty, lazy);
    rig.close();
    EXPECT_FALSE(rig.image->info().dirty);
  }
}

}  // namespace
}  // namespace doppel::block::qcow2
