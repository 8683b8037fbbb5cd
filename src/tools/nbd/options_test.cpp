#include "tools/nbd/options.h"

#include <gtest/gtest.h>

namespace doppel::nbd {
namespace {

Result<Options> parse(const std::vector<std::string>& words) {
  return parse_options(words);
}

TEST(NbdOptions, AreQemus) {
  const auto options = parse({"-p",
                              "1234",
                              "-b",
                              "::1",
                              "-e",
                              "5",
                              "-t",
                              "-r",
                              "-x",
                              "disk",
                              "-D",
                              "text",
                              "-f",
                              "raw",
                              "--cache=none",
                              "--aio=threads",
                              "--discard=unmap",
                              "-o",
                              "1M",
                              "-A",
                              "a.img"});
  ASSERT_TRUE(options) << options.error().describe();
  EXPECT_EQ(options->port, "1234");
  EXPECT_EQ(options->most_clients, 5U);
  EXPECT_TRUE(options->persistent);
  EXPECT_EQ(options->engine, block::EngineChoice::kThreads);
  ASSERT_EQ(options->exports.size(), 1U);
  const ExportOptions& disk = options->exports[0];
  EXPECT_EQ(disk.filename, "a.img");
  EXPECT_EQ(disk.name, "disk");
  EXPECT_EQ(disk.offset, 1U << 20);
  EXPECT_EQ(disk.cache, block::CacheMode::kNone);
  EXPECT_TRUE(disk.read_only && disk.discard && disk.allocation_depth);
}

TEST(NbdOptions, SeveralExportsBeginWithWhatIsSaidForAll) {
  const auto options =
      parse({"-f", "qcow2", "--export", "name=a,file=a.q", "--export", "name=b,file=b,format=raw,read-only=on"});
  ASSERT_TRUE(options) << options.error().describe();
  ASSERT_EQ(options->exports.size(), 2U);
  EXPECT_EQ(options->exports[0].format, "qcow2");
  EXPECT_EQ(options->exports[1].format, "raw");
  EXPECT_TRUE(options->exports[1].read_only);
}

TEST(NbdOptions, CredentialsAreFoundById) {
  const auto options =
      parse({"--object", "tls-creds-x509,id=t,dir=/d,endpoint=server,verify-peer=off", "--tls-creds", "t", "a"});
  ASSERT_TRUE(options) << options.error().describe();
  EXPECT_EQ(options->tls->directory, "/d");
  EXPECT_FALSE(options->tls->verify_peer);
  EXPECT_FALSE(parse({"--object", "tls-creds-x509,id=t,dir=/d", "--tls-creds", "t", "a"}));  // a client's
}

TEST(NbdOptions, TheKernelsDevices) {
  const auto attach = parse({"-c", "/dev/nbd0", "a"});
  ASSERT_TRUE(attach) << attach.error().describe();
  EXPECT_EQ(attach->device, "/dev/nbd0");
  EXPECT_TRUE(attach->fork);
  EXPECT_FALSE(parse({"-c", "/dev/nbd0", "-v", "a"})->fork);
  const auto detach = parse({"-d", "/dev/nbd0"});
  ASSERT_TRUE(detach) << detach.error().describe();
  EXPECT_EQ(detach->action, Options::Action::kDisconnect);
  EXPECT_EQ(detach->device, "/dev/nbd0");
}

TEST(NbdOptions, MistakesAreRefused) {
  for (const auto& words : std::vector<std::vector<std::string>>{{},
                                                                 {"-p", "70000", "a"},
                                                                 {"-k", "s", "-p", "1", "a"},
                                                                 {"-e", "-1", "a"},
                                                                 {"--cache=x", "a"},
                                                                 {"-c", "/dev/nbd0", "-p", "1", "a"},
                                                                 {"-c", "/dev/nbd0", "--export", "file=a", "b"},
                                                                 {"-d"},
                                                                 {"--export", "name=a"},
                                                                 {"--object", "secret,data=x", "a"},
                                                                 {"--object", "secrets,id=s", "a"},
                                                                 {"--image-opts", "-f", "raw", "driver=raw"},
                                                                 {"--detect-zeroes=maybe", "a"},
                                                                 {"--detect-zeroes=unmap", "a"},
                                                                 {"-L", "a"}})
    EXPECT_FALSE(parse(words));
}

}  // namespace
}  // namespace doppel::nbd
