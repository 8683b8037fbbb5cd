#include "base/error.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <set>

#include "base/unique_fd.h"

namespace doppel {
namespace {

TEST(Error, KindsHaveDistinctNames) {
  std::set<std::string_view> names;
  for (int i = 0; i <= static_cast<int>(ErrorKind::kInternal); ++i) names.insert(to_string(static_cast<ErrorKind>(i)));
  EXPECT_EQ(names.size(), static_cast<std::size_t>(ErrorKind::kInternal) + 1);
  EXPECT_FALSE(names.contains("unknown"));
}

TEST(Error, ErrnoGivesKindAndReason) {
  const Error error = Error::from_errno(ENOENT, "cannot open 'x'");
  EXPECT_EQ(error.kind(), ErrorKind::kNotFound);
  EXPECT_EQ(error.message(), "cannot open 'x': No such file or directory");
  EXPECT_EQ(Error::from_errno(EACCES, "").kind(), ErrorKind::kPermissionDenied);
  EXPECT_EQ(Error::from_errno(ENOSPC, "").kind(), ErrorKind::kNoSpace);
  EXPECT_EQ(Error::from_errno(EIO, "").kind(), ErrorKind::kIo);
}

TEST(Error, WrappingKeepsTheKindAndTheChain) {
  Error inner(ErrorKind::kCorrupt, "bad magic");
  const Error outer = std::move(inner).wrap("cannot read the header").wrap("cannot open 'disk.qcow2'");
  EXPECT_EQ(outer.kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(outer.message(), "cannot open 'disk.qcow2'");
  EXPECT_EQ(outer.describe(), "cannot open 'disk.qcow2': cannot read the header: bad magic");
  ASSERT_NE(outer.cause(), nullptr);
  EXPECT_EQ(outer.cause()->cause()->cause(), nullptr);
}

TEST(Error, StaysOnOneLineWhateverIsInIt) {
  const Error error = Error(ErrorKind::kNotFound, "no 'a\nb\x1b[31m'").wrap("in 'c\r\x7f'");
  EXPECT_EQ(error.describe(), "in 'c\?\?': no 'a?b?[31m'");
}

TEST(Error, FailErrnoReadsErrno) {
  const auto open_missing = []() -> Result<int> {
    const int fd = ::open("/nonexistent/file", O_RDONLY);
    if (fd < 0) return fail_errno("cannot open '{}'", "/nonexistent/file");
    return fd;
  };
  EXPECT_EQ(open_missing().error().message(), "cannot open '/nonexistent/file': No such file or directory");
}

Result<std::unique_ptr<int>> make(bool works) {
  if (!works) return fail(ErrorKind::kBusy, "number {} is busy", 7);
  return std::make_unique<int>(7);
}

Result<> pass_on(bool works) {
  DOPPEL_TRY(make(works));
  return {};
}

Result<int> take(bool works) {
  DOPPEL_ASSIGN(const auto value, make(works));
  return *value + 1;
}

TEST(Error, TryAndAssignReturnTheError) {
  EXPECT_TRUE(pass_on(true));
  EXPECT_EQ(pass_on(false).error().message(), "number 7 is busy");
  EXPECT_EQ(*take(true), 8);
  EXPECT_EQ(take(false).error().kind(), ErrorKind::kBusy);
}

TEST(UniqueFd, ClosesWhatItOwns) {
  UniqueFd first(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(first.valid());
  const int number = first.get();
  UniqueFd second = std::move(first);
  EXPECT_EQ(second.get(), number);
  const int kept = second.release();
  EXPECT_FALSE(second.valid());
  EXPECT_GE(::fcntl(kept, F_GETFD), 0);
  second.reset(kept);
  second = UniqueFd();
  EXPECT_EQ(::fcntl(number, F_GETFD), -1);
}

}  // namespace
}  // namespace doppel
