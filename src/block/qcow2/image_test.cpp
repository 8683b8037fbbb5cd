#include "block/qcow2/image.h"

#include <random>

#include "base/test_seed.h"
#include "block/qcow2/qcow2_rig.h"

namespace doppel::block::qcow2 {
namespace {

constexpr std::size_t kMaxDisk = 3'000'000;

struct Variant {
  std::string name;
  CreateOptions options;
  bool backing = false;
};

Variant variant(std::string name, std::uint64_t cluster_size, unsigned version = 3, unsigned refcount_bits = 16) {
  CreateOptions options{.size = kMaxDisk / 512 * 512, .version = version, .cluster_size = cluster_size};
  options.refcount_bits = refcount_bits;
  return {std::move(name), options};
}

std::vector<Variant> variants() {
  std::vector<Variant> list{variant("small_clusters", 512),
                            variant("version2", 4096, 2),
                            variant("default", 65536),
                            variant("largest_clusters", 2 * kMiB),
                            variant("one_bit_refcounts", 512, 3, 1),
                            variant("two_bit_refcounts", 1024, 3, 2),
                            variant("wide_refcounts", 512, 3, 64),
                            variant("byte_refcounts", 4096, 3, 8)};
  list.push_back(variant("subclusters", 65536));
  list.back().options.extended_l2 = true;
  list.push_back(variant("zstd", 16384));
  list.back().options.compression = Compression::kZstd;
  for (const std::string base : {"version2", "default", "subclusters", "small_clusters"}) {
    list.push_back(*std::ranges::find(list, base, &Variant::name));
    list.back().name += "_on_backing";
    list.back().backing = true;
    list.back().options.backing_file = "base.img";
    list.back().options.backing_format = "raw";
  }
  return list;
}

/// Random requests against an image and against plain bytes.
class RandomRequests : public Qcow2Rig, public testing::TestWithParam<Variant> {
 protected:
  void SetUp() override {
    seed_ = static_cast<unsigned>(test_seed(1));
    random_.seed(seed_);
    create(GetParam().options);
    model_ = filled(image->size(), 0);
    if (!GetParam().backing) return;
    base_ = filled(image->size() * 3 / 4, 0xb5);
    for (std::size_t i = 0; i < base_.size(); i += 1000) base_[i] = static_cast<std::byte>(i);
    std::ranges::copy(base_, model_.begin());
    image->set_backing(backing());
  }
  NodePtr backing() const { return base_.empty() ? nullptr : std::make_unique<MemoryNode>(base_); }

  /// Mostly short, sometimes long, often on a border of something.
  std::pair<std::size_t, std::size_t> random_range() {
    std::size_t offset = random_() % model_.size();
    std::size_t length = random_() % 3 == 0 ? random_() % 300'000 : random_() % 5000;
    if (random_() % 2 == 0) {
      offset = offset / 4096 * 4096;
      length = (length + 4095) / 4096 * 4096;
    }
    return {offset, std::min(length, model_.size() - offset)};
  }
  void write() {
    const auto [offset, length] = random_range();
    Bytes bytes(length);
    const auto tag = random_();
    for (std::size_t i = 0; i < length; ++i) bytes[i] = static_cast<std::byte>((i / 64 * 7 + tag) & 0xff);
    const auto result = Qcow2Rig::write(*image, offset, bytes);
    ASSERT_TRUE(result) << result.error().describe();
    std::ranges::copy(bytes, model_.begin() + static_cast<std::ptrdiff_t>(offset));
  }
  void write_zeroes() {
    const auto [offset, length] = random_range();
    const Unmap unmap = random_() % 2 == 0 ? Unmap::kKeep : Unmap::kMayUnmap;
    const auto result = run(image->write_zeroes(offset, length, unmap));
    ASSERT_TRUE(result) << result.error().describe();
    std::fill_n(model_.begin() + static_cast<std::ptrdiff_t>(offset), length, std::byte{0});
  }
  void discard() {
    const auto [offset, length] = random_range();
    ASSERT_TRUE(run(image->discard(offset, length)));
    // A hint: what it did, it may do, but only within its range and only to zeroes.
    const Bytes now = Qcow2Rig::read(*image, offset, length);
    for (std::size_t i = 0; i < length; ++i)
      ASSERT_TRUE(now[i] == model_[offset + i] || now[i] == std::byte{0}) << "at " << offset + i;
    std::ranges::copy(now, model_.begin() + static_cast<std::ptrdiff_t>(offset));
  }
  void write_compressed() {
    const std::size_t cluster = GetParam().options.cluster_size;
    const std::size_t offset = random_() % model_.size() / cluster * cluster;
    const std::size_t length = std::min(cluster, model_.size() - offset);
    Bytes bytes(length);
    const auto tag = random_();
    for (std::size_t i = 0; i < length; ++i) bytes[i] = static_cast<std::byte>(i % (1 + tag % 97));
    const std::size_t half = random_() % 2 == 0 ? length / 2 : 0;  // in two pieces of memory, or in one
    const iovec pieces[] = {{bytes.data(), half}, {bytes.data() + half, length - half}};
    const auto result = run(image->write_compressed(offset, IoView(pieces)));
    ASSERT_TRUE(result) << result.error().describe();
    std::ranges::copy(bytes, model_.begin() + static_cast<std::ptrdiff_t>(offset));
  }
  void read() {
    const auto [offset, length] = random_range();
    const auto first = model_.begin() + static_cast<std::ptrdiff_t>(offset);
    ASSERT_EQ(Qcow2Rig::read(*image, offset, length), Bytes(first, first + static_cast<std::ptrdiff_t>(length)));
  }
  void any_request() {
    switch (random_() % 10) {
      case 0:
      case 1:
      case 2:
      case 3: return write();
      case 4: return write_zeroes();
      case 5: return discard();
      case 6: return write_compressed();
      case 7: ASSERT_TRUE(run(image->flush())); return;
      default: return read();
    }
  }
  void expect_model() { ASSERT_EQ(Qcow2Rig::read(*image, 0, model_.size()), model_) << "seed " << seed_; }
  /// QEMU finds nothing to complain about, and the same bytes.
  void expect_qemu_agrees() {
    if (!have_qemu_img()) return;
    save(file->contents(), "image.qcow2");
    save(base_, "base.img");
    save(model_, "model.raw");
    EXPECT_EQ(qemu_check("image.qcow2"), 0) << "seed " << seed_;
    EXPECT_EQ(std::system("qemu-img compare -q -f qcow2 -F raw image.qcow2 model.raw"), 0) << "seed " << seed_;
  }

  unsigned seed_ = 0;
  std::mt19937 random_;
  Bytes model_;
  Bytes base_;
};

INSTANTIATE_TEST_SUITE_P(Variants, RandomRequests, testing::ValuesIn(variants()),
                         [](const auto& setup) { return setup.param.name; });

TEST_P(RandomRequests, KeepTheDisksContents) {
  for (int i = 0; i < 150 && !HasFatalFailure(); ++i) any_request();
  expect_model();
  reopen(backing());
  expect_model();
  for (int i = 0; i < 50 && !HasFatalFailure(); ++i) any_request();
  expect_model();
  close();
  expect_clean();
  expect_qemu_agrees();
}

TEST_P(RandomRequests, WhatIsSplicedIsTheDisks) {
  for (int i = 0; i < 100 && !HasFatalFailure(); ++i) any_request();
  int spliced_ranges = 0;
  for (int i = 0; i < 200; ++i) {
    const std::size_t offset = random_() % model_.size();
    const std::size_t size = 1 + random_() % std::min<std::size_t>(model_.size() - offset, 3000);
    const Bytes got = spliced(*image, offset, size);
    if (got.empty()) continue;
    ++spliced_ranges;
    const auto begin = model_.begin() + static_cast<std::ptrdiff_t>(offset);
    ASSERT_EQ(got, Bytes(begin, begin + static_cast<std::ptrdiff_t>(size)));
  }
  EXPECT_GT(spliced_ranges, 0);
}

TEST_P(RandomRequests, ManyAtOnceDoNotLoseEachOther) {
  // Pieces of the disk that border on each other, each with one writer at a time.
  constexpr std::size_t kPiece = 3 * 512;
  constexpr std::size_t kRounds = 4;
  std::vector<Bytes> data;
  const std::size_t pieces = std::min<std::size_t>(model_.size() / kPiece, 400);
  for (std::size_t round = 0; round < kRounds; ++round) {
    std::size_t left = pieces;
    for (std::size_t i = 0; i < pieces; ++i) {
      data.push_back(filled(kPiece, static_cast<int>(random_() & 0xff)));
      std::ranges::copy(data.back(), model_.begin() + static_cast<std::ptrdiff_t>(i * kPiece));
    }
    for (std::size_t i = 0; i < pieces; ++i)
      spawn(image->write(i * kPiece, std::span<const std::byte>(data[round * pieces + i])),
            [&](const Result<>& result) {
              EXPECT_TRUE(result);
              if (--left == 0) loop.quit();
            });
    loop.run();
    ASSERT_TRUE(run(image->flush()));
  }
  expect_model();
  close();
  expect_clean();
}

TEST_P(RandomRequests, SnapshotsKeepWhatWasThere) {
  if (GetParam().options.refcount_bits <= 2) {
    for (int i = 0; i < 10; ++i) any_request();
    bool failed = false;  // there is no counting beyond 1 or 3 users
    for (int i = 0; i < 4; ++i) failed = !run(image->create_snapshot(fmt::format("s{}", i))) || failed;
    EXPECT_TRUE(failed);
    close();
    expect_model();
    expect_clean();
    return expect_qemu_agrees();
  }
  std::map<std::string, Bytes> kept;
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 25 && !HasFatalFailure(); ++i) any_request();
    const std::string name = fmt::format("snap{}", round);
    const auto created = run(image->create_snapshot(name));
    ASSERT_TRUE(created) << created.error().describe();
    kept[name] = model_;
  }
  for (int i = 0; i < 25 && !HasFatalFailure(); ++i) any_request();
  expect_clean();
  expect_qemu_agrees();
  const auto deleted = run(image->delete_snapshot("snap1"));
  ASSERT_TRUE(deleted) << deleted.error().describe();
  expect_model();
  expect_clean();
  for (const char* name : {"snap2", "snap0"}) {
    const auto applied = run(image->apply_snapshot(name));
    ASSERT_TRUE(applied) << applied.error().describe();
    model_ = kept[name];
    expect_model();
    for (int i = 0; i < 10 && !HasFatalFailure(); ++i) any_request();
    expect_model();
  }
  reopen(backing());
  expect_model();
  expect_clean();
  expect_qemu_agrees();
  EXPECT_FALSE(run(image->delete_snapshot("snap1")));
  ASSERT_TRUE(run(image->delete_snapshot("1")));
  ASSERT_TRUE(run(image->delete_snapshot("snap2")));
  close();
  expect_clean();
  expect_qemu_agrees();
}

TEST_P(RandomRequests, Resizing) {
  for (const std::size_t size : {kMaxDisk * 2, kMaxDisk / 3, kMaxDisk / 2, kMaxDisk}) {
    for (int i = 0; i < 10 && !HasFatalFailure(); ++i) any_request();
    const std::size_t rounded = size / 512 * 512;
    const auto resized = run(image->resize(rounded, Preallocation::kOff));
    ASSERT_TRUE(resized) << resized.error().describe();
    model_.resize(rounded);
    expect_model();
  }
  for (int i = 0; i < 10 && !HasFatalFailure(); ++i) any_request();
  close();
  expect_clean();
  expect_qemu_agrees();
}

TEST_P(RandomRequests, Preallocating) {
  if (GetParam().backing) GTEST_SKIP() << "not over a backing file";
  ASSERT_TRUE(run(image->preallocate(0, image->size(), Preallocation::kMetadata)));
  expect_model();
  const auto allocated = check().allocated_clusters;
  EXPECT_EQ(allocated, image->header().layout().clusters(image->size()));
  for (int i = 0; i < 20 && !HasFatalFailure(); ++i) write();
  EXPECT_EQ(check().allocated_clusters, allocated);
  close();
  expect_qemu_agrees();
}

TEST(Image, AGuestCannotWriteWhereAHostileEntryPoints) {
  struct Place {
    std::uint64_t host;
    std::string complaint;
  };
  const Place places[] = {{65536, "lies over the image's own tables"},      // the refcount table
                          {3 * 65536, "lies over the image's own tables"},  // the L1 table
                          {std::uint64_t{1} << 50, "lies behind the end of the file"}};
  for (const auto& [host, complaint] : places) {
    Qcow2Rig rig;
    rig.create({.size = 1 << 20});
    ASSERT_TRUE(rig.write(*rig.image, 0, filled(512, 7)));
    rig.close();
    Bytes contents = rig.file->contents();
    const auto l2 = static_cast<std::size_t>(load_be<std::uint64_t>(contents.data() + 3 * 65536) & kOffsetMask);
    store_be<std::uint64_t>(contents.data() + l2, host | kCopiedFlag);
    rig.image.reset();
    rig.open(std::make_unique<MemoryNode>(contents));
    const auto written = rig.write(*rig.image, 0, filled(512, 8));
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().kind(), ErrorKind::kCorrupt);
    EXPECT_THAT(written.error().message(), testing::HasSubstr(complaint));
  }
}

TEST(Image, CheckingTablesThatAllAreOneTakesNoTime) {
  Qcow2Rig rig;
  rig.create({.size = std::uint64_t{1} << 46, .cluster_size = 2 * kMiB});
  ASSERT_TRUE(rig.write(*rig.image, 0, filled(512, 7)));
  rig.close();
  Bytes contents = rig.file->contents();
  const std::size_t table = 2 * kMiB;
  const std::size_t l1 = static_cast<std::size_t>(load_be<std::uint64_t>(contents.data() + 40));
  for (std::size_t i = 1; i < 128; ++i)
    std::copy_n(contents.begin() + static_cast<std::ptrdiff_t>(l1), 8,
                contents.begin() + static_cast<std::ptrdiff_t>(l1 + i * 8));
  for (std::size_t i = 1; i < 2 * kMiB / 8; ++i)
    std::copy_n(contents.begin() + static_cast<std::ptrdiff_t>(table), 8,
                contents.begin() + static_cast<std::ptrdiff_t>(table + i * 8));
  rig.image.reset();
  rig.open(std::make_unique<MemoryNode>(contents));
  EXPECT_GT(rig.check().corruptions, 100'000U);
  const auto full = rig.run(rig.image->resize(std::uint64_t{1} << 47, Preallocation::kOff));
  EXPECT_TRUE(full || full.error().kind() == ErrorKind::kCorrupt);
}

TEST(Image, RepairsLeaksAndWrongCounts) {
  for (const Repair repair : {Repair::kLeaks, Repair::kAll}) {
    Qcow2Rig rig;
    rig.create({.size = 1 << 20, .cluster_size = 4096});
    ASSERT_TRUE(rig.write(*rig.image, 0, filled(100'000, 7)));
    rig.close();
    Bytes contents = rig.file->contents();
    const auto block = static_cast<std::size_t>(load_be<std::uint64_t>(contents.data() + 4096));
    store_be<std::uint16_t>(contents.data() + block + 2 * 100, 1);  // a leak
    if (repair == Repair::kAll) store_be<std::uint16_t>(contents.data() + block + 2 * 6, 0);
    rig.image.reset();
    rig.open(std::make_unique<MemoryNode>(contents));
    const CheckResult before = rig.check();
    EXPECT_EQ(before.leaks, 1U);
    EXPECT_EQ(before.corruptions > 0, repair == Repair::kAll);
    const CheckResult repaired = rig.check(repair);
    EXPECT_EQ(repaired.leaks, 0U);
    EXPECT_EQ(repaired.corruptions, 0U);
    EXPECT_EQ(repaired.leaks_fixed, 1U);
    rig.expect_clean();
    EXPECT_EQ(rig.read(*rig.image, 0, 100'000), filled(100'000, 7));
    ASSERT_TRUE(rig.write(*rig.image, 500'000, filled(100'000, 8)));
    rig.close();
    rig.expect_clean();
    if (!have_qemu_img()) continue;
    save(rig.file->contents(), "repaired.qcow2");
    EXPECT_EQ(qemu_check("repaired.qcow2"), 0);
  }
}

}  // namespace
}  // namespace doppel::block::qcow2
