#include "block/probe.h"

#include <cstring>

namespace doppel::block {
namespace {

using namespace std::string_view_literals;

struct Mark {
  std::string_view format;
  std::size_t offset;
  std::string_view bytes;
};

// Also formats that Doppel does not read: a guest that writes such a mark must not have its disk taken for one of them
// by anybody's tools.
constexpr Mark kMarks[] = {
    {"qcow", 0, "QFI\xfb\0\0\0\1"sv},
    {"qcow2", 0, "QFI\xfb"sv},  // versions 2, 3 and whatever follows
    {"qed", 0, "QED\0"sv},
    {"luks", 0, "LUKS\xba\xbe"sv},
    {"vmdk", 0, "KDMV"sv},
    {"vmdk", 0, "COWD"sv},
    {"vmdk", 0, "# Disk DescriptorFile"sv},
    {"vhdx", 0, "vhdxfile"sv},
    {"vpc", 0, "conectix"sv},
    {"vdi", 64, "\x7f\x10\xda\xbe"sv},
    {"parallels", 0, "WithoutFreeSpace"sv},
    {"parallels", 0, "WithouFreSpacExt"sv},
    {"bochs", 0, "Bochs Virtual HD Image"sv},
    {"cloop", 0, "#!/bin/sh\n#V2.0 Format\nmodprobe cloop"sv},
};

}  // namespace

std::string_view probe_format(std::span<const std::byte> head) {
  for (const auto& [format, offset, bytes] : kMarks)
    if (head.size() >= offset + bytes.size() && std::memcmp(head.data() + offset, bytes.data(), bytes.size()) == 0)
      return format;
  return "raw";
}

}  // namespace doppel::block
