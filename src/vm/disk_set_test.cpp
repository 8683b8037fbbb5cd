#include "vm/disk_set.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>

namespace doppel::vm {
namespace {

struct DiskSetTest : testing::Test {
  DiskSetTest() {
    const int fd = ::mkstemp(path.data());
    EXPECT_GE(fd, 0);
    EXPECT_EQ(::ftruncate(fd, 1 << 20), 0);
    ::close(fd);
  }
  ~DiskSetTest() override { ::unlink(path.c_str()); }

  std::string path = testing::TempDir() + "doppel-disk-set-XXXXXX";
  event::Loop loop;
  DiskSet disks{loop};
};

TEST_F(DiskSetTest, OpensAndHandsOutEachDiskOnce) {
  ASSERT_TRUE(disks.open({.id = "a", .file = path, .format = "raw"}));
  const auto disk = disks.claim("a");
  ASSERT_TRUE(disk);
  EXPECT_EQ((*disk)->size(), 1U << 20U);
  EXPECT_EQ(disks.claim("a").error().describe(), "drive 'a' is in another device already");
  EXPECT_EQ(disks.claim("b").error().describe(),
            "there is no drive 'b' (did you mean 'a'?); add '-drive if=none,id=b,file=FILE'");
}

TEST_F(DiskSetTest, ErrorsNameTheDriveAndAdvise) {
  EXPECT_EQ(disks.open({.id = "a", .file = "/does/not/exist"}).error().describe(),
            "drive 'a': cannot open '/does/not/exist': No such file or directory; 'doppel-img create FILE SIZE' "
            "makes one");
  EXPECT_NE(disks.open({.id = "a", .file = path, .format = "rwa"}).error().describe().find("did you mean 'raw'?"),
            std::string::npos);
  ASSERT_TRUE(disks.open({.id = "a", .file = path, .format = "raw"}));
  EXPECT_EQ(disks.open({.id = "a", .file = path}).error().describe(),
            "there are two drives 'a'; give one of them another id=");
  EXPECT_EQ(disks.open({.id = "b", .file = path}).error().describe(),
            "drives 'a' and 'b' have the same image, '" + path + "', which only one can write to");
}

}  // namespace
}  // namespace doppel::vm
