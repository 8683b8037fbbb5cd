#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "accel/kvm/kvm.h"
#include "accel/kvm/kvm_abi.h"
#include "accel/kvm/system_info.h"

namespace doppel::accel::kvm {
namespace {

using testing::HasSubstr;

/// A file of its own for each test.
class SystemTest : public testing::Test {
 protected:
  SystemTest() {
    char name[] = "/tmp/doppel-kvm-XXXXXX";
    const int fd = ::mkstemp(name);
    if (fd >= 0) ::close(fd);
    path_ = name;
  }
  ~SystemTest() override { ::unlink(path_.c_str()); }

  static Error error_of(const std::string& path) {
    auto opened = open({.path = path, .log = {}});
    return opened ? Error(ErrorKind::kInternal, "it opened") : opened.error();
  }

  std::string path_;
};

TEST_F(SystemTest, NoDevice) {
  const Error error = error_of("/nonexistent/kvm");
  EXPECT_EQ(error.kind(), ErrorKind::kNotFound);
  EXPECT_THAT(error.describe(), HasSubstr("there is no /nonexistent/kvm"));
  EXPECT_THAT(error.describe(), HasSubstr("load the module kvm_intel or kvm_amd"));
}

TEST_F(SystemTest, SomeOtherFile) {
  const Error error = error_of(path_);
  EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
  EXPECT_THAT(error.describe(), HasSubstr(path_ + " is not the kernel's KVM device"));
}

TEST_F(SystemTest, SomeOtherDevice) {
  EXPECT_EQ(error_of("/dev/null").kind(), ErrorKind::kUnsupported);
}

/// The error's sentence as an unprivileged user meets it, who is a process of his own.
std::string sentence_of_nobody(const std::string& path) {
  constexpr uid_t kNobody = 65534;
  int pipes[2];
  if (::pipe(pipes) != 0) return "no pipe";
  const pid_t child = ::fork();
  if (child == 0) {
    std::string text = "cannot become another user";
    if (::geteuid() != 0 || (::setegid(kNobody) == 0 && ::seteuid(kNobody) == 0)) {
      const auto opened = open({.path = path, .log = {}});
      text = opened ? "it opened" : opened.error().describe();
    }
    const bool written = ::write(pipes[1], text.data(), text.size()) == static_cast<ssize_t>(text.size());
    ::_exit(written ? 0 : 1);
  }
  ::close(pipes[1]);
  std::string text(4096, '\0');
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(::read(pipes[0], text.data(), text.size()), 0)));
  ::close(pipes[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  return text;
}

TEST_F(SystemTest, NoPermissionNamesTheGroup) {
  ASSERT_EQ(::chmod(path_.c_str(), 0060), 0);
  if (::geteuid() != 0) GTEST_SKIP() << "skipped: needs root, to make a file that another user may not open";
  const std::string sentence = sentence_of_nobody(path_);
  EXPECT_THAT(sentence, HasSubstr("no permission to open " + path_));
  EXPECT_THAT(sentence, HasSubstr("members of the group 'root'"));
  EXPECT_THAT(sentence, HasSubstr("usermod -aG root $USER"));
}

TEST_F(SystemTest, NoPermissionForAnyGroup) {
  ASSERT_EQ(::chmod(path_.c_str(), 0), 0);
  if (::geteuid() != 0) GTEST_SKIP() << "skipped: needs root, to make a file that another user may not open";
  const std::string sentence = sentence_of_nobody(path_);
  EXPECT_THAT(sentence, HasSubstr("only its owner may"));
  EXPECT_THAT(sentence, HasSubstr("chgrp kvm"));
}

TEST(SystemInfoTest, OnlyVersionTwelve) {
  EXPECT_TRUE(check_version(12));
  const auto old = check_version(10);
  ASSERT_FALSE(old);
  EXPECT_EQ(old.error().describe(), "the kernel speaks version 10 of the KVM interface; Doppel needs version 12");
}

TEST(SystemInfoTest, EveryRequiredCapabilityIsNamedWhenMissing) {
  // Record what is asked for, then take each away in turn.
  std::set<unsigned long> asked;
  ASSERT_TRUE(check_required([&](unsigned long capability) {
    asked.insert(capability);
    return 1;
  }));
  EXPECT_TRUE(asked.contains(KVM_CAP_USER_MEMORY));
  EXPECT_TRUE(asked.contains(KVM_CAP_IMMEDIATE_EXIT));
  std::set<std::string> sentences;
  for (const unsigned long missing : asked) {
    const auto result = check_required([&](unsigned long capability) { return capability == missing ? 0 : 1; });
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().kind(), ErrorKind::kUnsupported);
    EXPECT_THAT(result.error().describe(), HasSubstr("lacks KVM_CAP_"));
    sentences.insert(result.error().describe());
  }
  EXPECT_EQ(sentences.size(), asked.size());
}

TEST(SystemInfoTest, OptionalCapabilitiesMayAllBeMissing) {
  const SystemInfo info = read_optional([](unsigned long) { return 0; });
  EXPECT_FALSE(info.capabilities.irqchip);
  EXPECT_FALSE(info.capabilities.ioeventfd);
  EXPECT_FALSE(info.capabilities.msr_filter);
  EXPECT_EQ(info.sync_registers, 0U);
  EXPECT_EQ(info.capabilities.max_vcpus, 4U);
  EXPECT_EQ(info.capabilities.max_memory_slots, 32U);
}

TEST(SystemInfoTest, ErrorsCountAsMissing) {
  const SystemInfo info = read_optional([](unsigned long) { return -1; });
  EXPECT_FALSE(info.capabilities.irqchip);
  EXPECT_EQ(info.quirks, 0U);
  EXPECT_EQ(info.coalesced_ring_page, 0U);
}

}  // namespace
}  // namespace doppel::accel::kvm
