#include "block/nbd/location.h"

#include <gtest/gtest.h>

namespace doppel::block::nbd {
namespace {

TEST(NbdLocation, TakesQemusOldSpellingApart) {
  const auto tcp = parse_location("nbd:example.org:1234:exportname=a:b");
  ASSERT_TRUE(tcp);
  EXPECT_EQ(tcp->host, "example.org");
  EXPECT_EQ(tcp->port, "1234");
  EXPECT_EQ(tcp->export_name, "a:b");
  const auto socket = parse_location("nbd:unix:/run/s:exportname=d");
  ASSERT_TRUE(socket);
  EXPECT_EQ(socket->socket_path, "/run/s");
  EXPECT_EQ(socket->export_name, "d");
  const auto v6 = parse_location("nbd:[::1]:1");
  ASSERT_TRUE(v6);
  EXPECT_EQ(v6->host, "::1");
  EXPECT_EQ(parse_location("nbd:[::1]")->port, "10809");
  EXPECT_EQ(parse_location("nbd:host")->port, "10809");
}

TEST(NbdLocation, LeavesUrisToLibnbd) {
  EXPECT_EQ(parse_location("nbd://h:1/e")->uri, "nbd://h:1/e");
  EXPECT_EQ(parse_location("nbd+tcp://h/e")->uri, "nbd://h/e");
  EXPECT_EQ(parse_location("nbd+unix:///e?socket=s")->uri, "nbd+unix:///e?socket=s");
}

TEST(NbdLocation, NamesWhatIsMissing) {
  for (const char* name : {"nbd:", "nbd::1", "nbd:unix:", "nbd:host:"}) EXPECT_FALSE(parse_location(name)) << name;
}

TEST(NbdLocation, KnowsItsProtocols) {
  EXPECT_TRUE(is_nbd_protocol("nbds+unix"));
  EXPECT_FALSE(is_nbd_protocol("nbdx"));
}

}  // namespace
}  // namespace doppel::block::nbd
