#include "tools/io/report.h"

#include <gtest/gtest.h>

namespace doppel::io {
namespace {

using std::chrono::milliseconds;

TEST(Report, IsQemus) {
  EXPECT_EQ(report_text({"wrote", 4096, 5632, milliseconds(500)}, false),
            "wrote 5632/5632 bytes at offset 4096\n5.500 KiB, 1 ops; 00.50 sec (11 KiB/sec and 2.0000 ops/sec)\n");
  EXPECT_EQ(report_text({"read", 0, 1024, milliseconds(61'500)}, false),
            "read 1024/1024 bytes at offset 0\n1 KiB, 1 ops; 01:01.50 (16.650 bytes/sec and 0.0163 ops/sec)\n");
  EXPECT_EQ(report_text({"read", 0, 512, milliseconds(1000)}, true), "512,1,0:00:01.00,512.000,1.000\n");
}

TEST(Report, DumpsSixteenBytesALine) {
  std::vector<std::byte> bytes(17, std::byte{'a'});
  bytes[1] = std::byte{0};
  EXPECT_EQ(dump_text(bytes, 256),
            "00000100:  61 00 61 61 61 61 61 61 61 61 61 61 61 61 61 61  a.aaaaaaaaaaaaaa\n00000110:  61  a\n");
}

}  // namespace
}  // namespace doppel::io
