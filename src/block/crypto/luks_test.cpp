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
