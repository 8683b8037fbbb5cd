#include "memory/ram_block.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/bits.h"
#include "memory/address.h"
#include "memory/host_mapping.h"

namespace doppel::memory {
namespace {

using ::testing::HasSubstr;

class RamBlockTest : public ::testing::Test {
 protected:
  RamBlockTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "doppel-ram-test-XXXXXX").string();
    directory_ = ::mkdtemp(pattern.data());
  }
  ~RamBlockTest() override { std::filesystem::remove_all(directory_); }

  [[nodiscard]] std::string path(const std::string& name) const { return (directory_ / name).string(); }

  std::filesystem::path directory_;
};

std::string error_of(RamOptions options) {
  const auto block = RamBlock::create(std::move(options));
  return block ? "created" : block.error().message();
}

/// How many pages of BLOCK the host has given.
std::size_t resident_pages(const RamBlock& block) {
  std::vector<unsigned char> pages((block.size() + kPageSize - 1) / kPageSize);
  EXPECT_EQ(::mincore(block.host(), block.size(), pages.data()), 0);
  return static_cast<std::size_t>(std::ranges::count_if(pages, [](unsigned char page) { return (page & 1) != 0; }));
}

TEST_F(RamBlockTest, AnonymousMemoryIsZeroAndWritable) {
  const auto block = RamBlock::create({.name = "pc.ram", .size = 8 * kMiB});
  ASSERT_TRUE(block) << block.error().describe();
  EXPECT_EQ((*block)->size(), 8 * kMiB);
  EXPECT_EQ((*block)->page_size(), kPageSize);
  EXPECT_EQ((*block)->fd(), -1);
  EXPECT_TRUE(std::ranges::all_of((*block)->bytes(), [](std::byte byte) { return byte == std::byte{0}; }));
  (*block)->host()[8 * kMiB - 1] = std::byte{1};
}

TEST_F(RamBlockTest, LargeMemoryIsAlignedForHugePages) {
  for (const auto kind : {RamKind::kAnonymous, RamKind::kMemfd}) {
    const auto block = RamBlock::create({.size = 5 * kMiB, .kind = kind});
    ASSERT_TRUE(block) << block.error().describe();
    EXPECT_TRUE(is_aligned(reinterpret_cast<std::uintptr_t>((*block)->host()), 2 * kMiB));
  }
}

TEST_F(RamBlockTest, SizeNeedNotBeWholePages) {
  const auto block = RamBlock::create({.size = 3 * 512});
  ASSERT_TRUE(block);
  EXPECT_EQ((*block)->bytes().size(), 3U * 512);
}

TEST_F(RamBlockTest, MoreThanTheHostHasIsMappedLazily) {
  const auto block = RamBlock::create({.size = 256 * kGiB});
  ASSERT_TRUE(block) << block.error().describe();
  (*block)->host()[200 * kGiB] = std::byte{1};
}

TEST_F(RamBlockTest, AbsurdSizesAreErrors) {
  EXPECT_EQ(error_of({.size = 0}), "memory 'ram' has no size; write one such as 512M");
  EXPECT_EQ(error_of({.size = ~std::uint64_t{0}}), "memory 'ram' is larger than any PC can address; write at most 4P");
  EXPECT_THAT(error_of({.size = std::uint64_t{1} << 52U}), HasSubstr("cannot map 4 PiB for memory 'ram'"));
}

TEST_F(RamBlockTest, MemfdIsSharedThroughItsDescriptor) {
  const auto block = RamBlock::create({.size = kMiB, .kind = RamKind::kMemfd, .shared = true});
  ASSERT_TRUE(block) << block.error().describe();
  (*block)->host()[kPageSize] = std::byte{0x5a};
  unsigned char byte = 0;
  ASSERT_EQ(::pread((*block)->fd(), &byte, 1, kPageSize), 1);
  EXPECT_EQ(byte, 0x5a);
  EXPECT_NE(::ftruncate((*block)->fd(), 0), 0);  // nobody shrinks it under the guest
}

TEST_F(RamBlockTest, FileIsCreatedOrGrownAndKeepsItsBytes) {
  std::ofstream(path("small")) << "hello";
  for (const auto* name : {"small", "new"}) {
    const auto block = RamBlock::create({.size = kMiB, .kind = RamKind::kFile, .path = path(name), .shared = true});
    ASSERT_TRUE(block) << block.error().describe();
    (*block)->host()[100] = std::byte{'!'};
    EXPECT_EQ(std::filesystem::file_size(path(name)), kMiB);
  }
  char text[101] = {};
  std::ifstream(path("small")).read(text, sizeof text);
  EXPECT_STREQ(text, "hello");
  EXPECT_EQ(text[100], '!');
}

TEST_F(RamBlockTest, PrivateFileKeepsWritesToItself) {
  std::ofstream(path("file")) << std::string(kPageSize, 'a');
  {
    const auto block = RamBlock::create({.size = kPageSize, .kind = RamKind::kFile, .path = path("file")});
    ASSERT_TRUE(block) << block.error().describe();
    (*block)->host()[0] = std::byte{'b'};
  }
  EXPECT_EQ(std::ifstream(path("file")).get(), 'a');
}

TEST_F(RamBlockTest, FileOffsetSelectsAPart) {
  std::ofstream(path("file")) << std::string(kPageSize, 'a') << std::string(kPageSize, 'b');
  RamOptions options{.size = kPageSize, .kind = RamKind::kFile, .path = path("file"), .file_offset = kPageSize};
  const auto block = RamBlock::create(options);
  ASSERT_TRUE(block) << block.error().describe();
  EXPECT_EQ((*block)->host()[0], std::byte{'b'});
  options.file_offset = 5000;
  EXPECT_EQ(error_of(options), "the file offset of memory 'ram', 5000, is no multiple of the page size; write 4096");
}

TEST_F(RamBlockTest, DirectoryGetsANamelessFile) {
  const auto block =
      RamBlock::create({.name = "a/b", .size = kMiB, .kind = RamKind::kFile, .path = directory_.string()});
  ASSERT_TRUE(block) << block.error().describe();
  EXPECT_GE((*block)->fd(), 0);
  EXPECT_TRUE(std::filesystem::is_empty(directory_));
}

TEST_F(RamBlockTest, ReadOnlyFileMustBeLongEnough) {
  std::ofstream(path("short")) << "abc";
  EXPECT_EQ(
      error_of({.size = kPageSize, .kind = RamKind::kFile, .path = path("short"), .read_only = true}),
      "the file '" + path("short") + "' holds 3 bytes, memory 'ram' needs 4096; give a smaller size, or readonly=off");
  const auto block = RamBlock::create({.size = 3, .kind = RamKind::kFile, .path = path("short"), .read_only = true});
  ASSERT_TRUE(block) << block.error().describe();
  EXPECT_EQ(std::memcmp((*block)->host(), "abc", 3), 0);
}

TEST_F(RamBlockTest, BadPathsSayWhatToGiveInstead) {
  RamOptions options{.name = "m0", .size = kMiB, .kind = RamKind::kFile};
  EXPECT_EQ(error_of(options), "memory 'm0' has no path; give a file, or a directory to make one in");
  options.path = path("missing/ram");
  EXPECT_EQ(error_of(options), "cannot open '" + options.path +
                                   "' for memory 'm0': No such file or directory; give a file in a directory that "
                                   "exists, or such a directory");
  options.path = "/proc";  // a directory that takes no files, even from root
  EXPECT_THAT(error_of(options), HasSubstr("cannot make a file in '/proc' for memory 'm0': "));
  options.path = "/proc/doppel";
  EXPECT_THAT(error_of(options), HasSubstr("cannot open '/proc/doppel' for memory 'm0': "));
  options.path = "/dev/null";
  EXPECT_THAT(error_of(options), HasSubstr("cannot map '/dev/null' for memory 'm0': "));
}

TEST_F(RamBlockTest, HugePagesComeOrAreRefusedClearly) {
  RamOptions options{.size = 4 * kMiB,
                     .kind = RamKind::kMemfd,
                     .shared = true,
                     .hugetlb = true,
                     .huge_page_size = 2 * kMiB,
                     .prealloc = true};
  const auto block = RamBlock::create(options);
  if (block) {
    EXPECT_EQ((*block)->page_size(), 2 * kMiB);
  } else {
    EXPECT_THAT(block.error().message(), ::testing::AnyOf(HasSubstr("huge page"), HasSubstr("hugetlb=on")));
  }
  options.size = 3 * kMiB;
  EXPECT_THAT(error_of(options),
              ::testing::AnyOf("the size of memory 'ram', 3 MiB, is no multiple of its 2 MiB huge pages; write 4M",
                               HasSubstr("hugetlb=on")));
  options.huge_page_size = 3'000'000;
  EXPECT_EQ(error_of(options), "memory 'ram': there are no huge pages of 3000000 bytes; write 2M or 1G");
  options.huge_page_size = 512;
  EXPECT_THAT(error_of(options), HasSubstr("cannot create a memfd for memory 'ram': "));
}

TEST_F(RamBlockTest, PreallocationFaultsEveryPageIn) {
  const auto lazy = RamBlock::create({.size = kMiB});
  ASSERT_TRUE(lazy);
  EXPECT_EQ(resident_pages(**lazy), 0U);
  for (const unsigned threads : {0U, 1U, 3U, 1000U}) {
    const auto block = RamBlock::create({.size = 8 * kMiB + kPageSize, .prealloc = true, .prealloc_threads = threads});
    ASSERT_TRUE(block) << block.error().describe();
    EXPECT_EQ(resident_pages(**block), 8 * kMiB / kPageSize + 1);
  }
  std::ofstream(path("file")) << std::string(2 * kPageSize, 'a');
  const auto file = RamBlock::create(
      {.size = 2 * kPageSize, .kind = RamKind::kFile, .path = path("file"), .prealloc = true, .read_only = true});
  ASSERT_TRUE(file) << file.error().describe();
}

TEST_F(RamBlockTest, TouchingFaultsInWithoutChanging) {
  const auto block = RamBlock::create({.size = kMiB});
  ASSERT_TRUE(block);
  (*block)->host()[3 * kPageSize] = std::byte{7};
  EXPECT_EQ(detail::touch_pages((*block)->bytes(), kPageSize), 0);
  EXPECT_EQ(resident_pages(**block), kMiB / kPageSize);
  EXPECT_EQ((*block)->host()[3 * kPageSize], std::byte{7});
}

TEST_F(RamBlockTest, PageThatCannotBeHadIsAnErrorNotASignal) {
  const auto block =
      RamBlock::create({.size = 4 * kPageSize, .kind = RamKind::kFile, .path = path("cut"), .shared = true});
  ASSERT_TRUE(block);
  ASSERT_EQ(::ftruncate((*block)->fd(), kPageSize), 0);  // touching the second page now raises SIGBUS
  EXPECT_EQ(detail::touch_pages((*block)->bytes(), kPageSize), EFAULT);
  const auto result = preallocate((*block)->options(), (*block)->bytes(), kPageSize);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message(),
            "the host cannot give memory 'ram' all of its 16 KiB now; give a smaller size, or leave out prealloc=on");
}

TEST_F(RamBlockTest, NumaPoliciesAreChecked) {
  RamOptions options{.size = kMiB, .host_nodes = {0}};
  EXPECT_EQ(error_of(options), "memory 'ram' names host nodes but no policy; add policy=bind, preferred or interleave");
  options.policy = NumaPolicy::kBind;
  const std::string bound = error_of(options);
  EXPECT_THAT(bound, ::testing::AnyOf("created", HasSubstr("leave out host-nodes")));
  options.host_nodes = {1023};
  EXPECT_THAT(error_of(options), HasSubstr("give nodes that 'ls /sys/devices/system/node' shows"));
  options.host_nodes = {1024};
  EXPECT_EQ(error_of(options), "memory 'ram': host node 1024 is too high; the highest is 1023");
  options.host_nodes = {};
  EXPECT_EQ(error_of(options), "memory 'ram' has a NUMA policy but no nodes; add host-nodes=0, for example");
}

TEST_F(RamBlockTest, DiscardedDataIsGoneAtExit) {
  std::ofstream(path("file")) << std::string(kPageSize, 'a');
  {
    ASSERT_TRUE(RamBlock::create({.size = kPageSize,
                                  .kind = RamKind::kFile,
                                  .path = path("file"),
                                  .shared = true,
                                  .dump = false,
                                  .discard_data = true}));
  }
  EXPECT_EQ(std::ifstream(path("file")).get(), 0);
}

}  // namespace
}  // namespace doppel::memory
