#include <gtest/gtest.h>

#include "cli/cli_test_support.h"

namespace doppel::cli {
namespace {

std::string error(const std::string& value) {
  return error_of({"-object", value}).substr(("-object " + value).size());
}

TEST(IoThreadOption, FillsTheConfig) {
  const auto threads = parse_config({"-object", "iothread,id=io0,poll-max-ns=0", "-object",
                                     R"({"qom-type":"iothread","id":"io1","thread-pool-max":8})"})
                           .iothreads;
  ASSERT_EQ(threads.size(), 2U);
  EXPECT_EQ(threads[0].id, "io0");
  EXPECT_EQ(threads[0].workers, 0U);
  EXPECT_EQ(threads[1].id, "io1");
  EXPECT_EQ(threads[1].workers, 8U);
}

TEST(IoThreadOption, Errors) {
  EXPECT_EQ(error("iothread"), ": id= is missing, such as id=io0");
  EXPECT_EQ(error("iothread,id=a,poll-max-ns=32768"),
            ": poll-max-ns=32768: the thread sleeps when there is no work; write poll-max-ns=0 or leave it away");
  EXPECT_EQ(error("iothread,id=a,poll-grow=2"),
            ": poll-grow=2: the thread does not poll; write poll-grow=0 or leave it away");
  EXPECT_EQ(error("iothread,id=a,thread-pool-max=0"), ": thread-pool-max= expects a number of at least 1, not '0'");
  EXPECT_EQ(error("iothread,id=a,thread-pool-max=5000"), ": thread-pool-max=5000: there are at most 1024 helpers");
  EXPECT_EQ(error("iothread,id=a,poll-max-n=0"), ": there is no key 'poll-max-n' (did you mean 'poll-max-ns'?)");
  EXPECT_EQ(error("iothred,id=a"),
            ": there is no object type 'iothred' (did you mean 'iothread'?); '-object help' lists them");
}

TEST(IoThreadOption, ObjectsShareTheirIds) {
  const std::string thread = "iothread,id=a";
  for (const std::string other : {"iothread,id=a", "secret,id=a,data=x", "memory-backend-ram,id=a,size=1M"}) {
    EXPECT_EQ(error_of({"-object", thread, "-object", other}),
              "-object " + other + ": the id 'a' is taken by another object");
    EXPECT_EQ(error_of({"-object", other, "-object", thread}),
              "-object " + thread + ": the id 'a' is taken by another object");
  }
}

TEST(IoThreadOption, Help) {
  const std::string text = printout_of({"-object", "iothread,help"}).text;
  EXPECT_TRUE(text.starts_with("iothread options:\n  aio-max-batch=<int>")) << text;
  EXPECT_NE(text.find("\n  thread-pool-max=<int>"), std::string::npos);
  EXPECT_NE(printout_of({"-object", "help"}).text.find("\n  iothread\n"), std::string::npos);
}

}  // namespace
}  // namespace doppel::cli
