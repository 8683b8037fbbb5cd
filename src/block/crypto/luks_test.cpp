// Headers that were made here, and what hostile ones are refused for; other programs' images are tests/system's affair.
#include "block/crypto/luks.h"

#include "base/endian.h"
#include "block/crypto/crypt_node.h"
#include "block/memory_node.h"
#include "block/test_support.h"

namespace doppel::block {
namespace {

constexpr std::uint64_t kDisk = 64 * 1024;

struct LuksRig : BlockRig {
  /// A new image with the password "right".
  Bytes make() {
    MemoryNode file;
    const LuksOptions options{.cipher = "aes-128", .iteration_ms = 1};
    const auto header = run(create_luks(file, 0, options, SecretBytes("right")));
    EXPECT_TRUE(header) << header.error().describe();
    EXPECT_TRUE(run(file.resize(header->payload_bytes() + kDisk, Preallocation::kOff)));
    return file.contents();
  }
  Result<NodePtr> open(const Bytes& contents, const std::string& password) {
    return run(LuksNode::open(std::make_unique<MemoryNode>(contents), SecretBytes(password), false));
  }
  /// What opening says if the four bytes at OFFSET are VALUE.
  std::string error_with(Bytes contents, std::size_t offset, std::uint32_t value) {
    store_be(contents.data() + offset, value);
    const auto opened = open(contents, "right");
    return opened ? "" : opened.error().describe();
  }
};

TEST(Luks, GivesBackWhatWasWrittenAtAnyAlignment) {
  LuksRig rig;
  const auto node = rig.open(rig.make(), "right");
  ASSERT_TRUE(node) << node.error().describe();
  ASSERT_EQ((*node)->size(), kDisk);
  ASSERT_TRUE(rig.write(**node, 0, filled(kDisk, 1)));
  ASSERT_TRUE(rig.write(**node, 700, filled(1000, 2)));
  EXPECT_EQ(rig.read(**node, 0, 700), filled(700, 1));
  EXPECT_EQ(rig.read(**node, 701, 999), filled(999, 2));
  EXPECT_EQ(rig.read(**node, 1700, 5000), filled(5000, 1));
  EXPECT_FALSE(rig.write(**node, kDisk - 1, filled(2, 1)));
}

TEST(Luks, AWrongPasswordOpensNothing) {
  LuksRig rig;
  const Bytes contents = rig.make();
  const auto wrong = rig.open(contents, "wrong");
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().describe(), "the password is in none of the image's key slots");
  const auto none = rig.run(LuksNode::open(std::make_unique<MemoryNode>(contents), std::nullopt, true));
  ASSERT_TRUE(none);
  Bytes bytes = filled(512, 0);
  EXPECT_FALSE(rig.run((*none)->read(0, std::span<std::byte>(bytes))));
}

/// A change by PASSWORD, what it says, and what opens the image then.
struct LuksChangeTest : testing::Test {
  std::string change(const LuksChange& what, const std::optional<SecretBytes>& password = SecretBytes("right")) {
    MemoryNode file(contents);
    LuksHeader header = rig.run(read_luks(file, 0)).value();
    const auto done = rig.run(change_luks(file, 0, header, password, what));
    contents = file.contents();
    return done ? "" : done.error().describe();
  }
  std::string add(const std::string& password) {
    return change({.new_password = SecretBytes(password), .iteration_ms = 1});
  }
  std::string take(const std::string& password) {
    return change({.activate = false, .old_password = SecretBytes(password)}, {});
  }
  bool opens(const std::string& password) { return rig.open(contents, password).has_value(); }

  LuksRig rig;
  Bytes contents = rig.make();
};

TEST_F(LuksChangeTest, AddsAndTakesPasswords) {
  EXPECT_EQ(add("other"), "");
  EXPECT_TRUE(opens("right"));
  EXPECT_TRUE(opens("other"));
  EXPECT_EQ(take("right"), "");
  EXPECT_FALSE(opens("right"));
  EXPECT_TRUE(opens("other"));
  EXPECT_EQ(change({.new_password = SecretBytes("third"), .slot = 7, .iteration_ms = 1}, SecretBytes("other")), "");
  EXPECT_EQ(change({.activate = false, .slot = 1}, {}), "");
  EXPECT_FALSE(opens("other"));
  EXPECT_TRUE(opens("third"));
}

TEST_F(LuksChangeTest, NoTraceOfATakenPasswordIsLeft) {
  const Bytes before = contents;
  ASSERT_EQ(add("other"), "");
  ASSERT_EQ(take("right"), "");
  // The header of before would still find the key's material.
  std::copy_n(before.begin(), 4096, contents.begin());
  EXPECT_FALSE(opens("right"));
}

TEST_F(LuksChangeTest, RefusesInOneSentence) {
  const SecretBytes any("any");
  EXPECT_THAT(change({}), testing::HasSubstr("needs new-secret="));
  EXPECT_THAT(change({.new_password = any}, {}), testing::HasSubstr("needs one that the image has already"));
  EXPECT_THAT(change({.new_password = any}, any), testing::HasSubstr("in none of the image's key slots"));
  EXPECT_THAT(change({.new_password = any, .slot = 8}), testing::HasSubstr("there is no key slot 8"));
  EXPECT_THAT(change({.new_password = any, .slot = 0}), testing::HasSubstr("key slot 0 is in use"));
  EXPECT_THAT(change({.activate = false}), testing::HasSubstr("needs keyslot="));
  EXPECT_THAT(change({.activate = false, .slot = 3}), testing::HasSubstr("key slot 3 is not in use"));
  EXPECT_THAT(change({.activate = false, .old_password = any, .slot = 0}), testing::HasSubstr("has another password"));
  EXPECT_THAT(take("wrong"), testing::HasSubstr("in none of the image's key slots"));
  EXPECT_THAT(take("right"), testing::HasSubstr("no password would be left"));
  for (int i = 1; i < 8; ++i) EXPECT_EQ(add("more"), "");
  EXPECT_THAT(add("more"), testing::HasSubstr("all key slots are in use"));
  EXPECT_TRUE(opens("right"));
}

TEST_F(LuksChangeTest, ForceDoesItNevertheless) {
  EXPECT_EQ(change({.new_password = SecretBytes("other"), .slot = 0, .iteration_ms = 1, .force = true}), "");
  EXPECT_FALSE(opens("right"));
  EXPECT_TRUE(opens("other"));
  EXPECT_EQ(change({.activate = false, .slot = 0, .force = true}, {}), "");
  EXPECT_FALSE(opens("other"));
}

TEST(Luks, HostileHeadersAreRefused) {
  LuksRig rig;
  const Bytes contents = rig.make();
  EXPECT_EQ(rig.error_with(contents, 0, 0), "it does not begin with LUKS's mark");
  EXPECT_EQ(rig.error_with(contents, 4, 0xbabe0002), "LUKS version 2 is not known, only 1");
  EXPECT_THAT(rig.error_with(contents, 108, 0xffffffff), testing::HasSubstr("is not possible"));
  EXPECT_THAT(rig.error_with(contents, 108, 0), testing::HasSubstr("a LUKS key of 0 bytes"));
  EXPECT_THAT(rig.error_with(contents, 164, 0xffffffff), testing::HasSubstr("iterations of the LUKS key's digest"));
  EXPECT_THAT(rig.error_with(contents, 208 + 4, 0xffffffff), testing::HasSubstr("iterations in LUKS key slot 0"));
  EXPECT_THAT(rig.error_with(contents, 208 + 40, 0xffffffff),
              testing::HasSubstr("not between the header and the data"));
  EXPECT_THAT(rig.error_with(contents, 208 + 44, 1), testing::HasSubstr("has 1 stripes, not 4000"));
  EXPECT_THAT(rig.error_with(contents, 8, 0x78787878), testing::HasSubstr("the cipher 'xxxx' is not known"));
  EXPECT_FALSE(rig.open(Bytes(contents.begin(), contents.begin() + 300), "right"));
}

TEST(Secret, RefusesInOneSentence) {
  SecretSet secrets;
  const auto error = [&](const OptionTexts& options) {
    const auto added = secrets.add("s", options);
    return added ? "" : added.error().describe();
  };
  EXPECT_EQ(error({}), "secret 's' needs either data or file");
  EXPECT_EQ(error({{"dat", "x"}}), "a secret has no option 'dat' (did you mean 'data'?)");
  EXPECT_EQ(error({{"data", "x"}, {"format", "hex"}}), "a secret's format is raw or base64, not 'hex'");
  EXPECT_EQ(error({{"data", "?"}, {"format", "base64"}}), "secret 's': its data is not valid base64");
  EXPECT_EQ(error({{"data", "MTIz"}, {"format", "base64"}}), "");
  EXPECT_EQ(secrets.find("s")->bytes(), "123");
}

}  // namespace
}  // namespace doppel::block
