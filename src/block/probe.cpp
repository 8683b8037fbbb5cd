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
    {"vhdx", 0, "vhdxfile"sv},
    {"vpc", 0, "conectix"sv},
    {"vdi", 64, "\x7f\x10\xda\xbe"sv},
    {"parallels", 0, "WithoutFreeSpace"sv},
    {"parallels", 0, "WithouFreSpacExt"sv},
    {"bochs", 0, "Bochs Virtual HD Image"sv},
    {"cloop", 0, "#!/bin/sh\n#V2.0 Format\nmodprobe cloop"sv},
};

/// A VMDK descriptor, by QEMU's rule: behind comments and lines of spaces, "version=" and a number from 1 to 3.
bool is_vmdk_descriptor(std::string_view head) {
  while (!head.empty()) {
    const std::size_t end = head.find('\n');
    if (end == std::string_view::npos) return false;
    const std::string_view line = head.substr(0, end);
    head.remove_prefix(end + 1);
    const bool blank = line.starts_with(' ') && line.find_first_not_of(" \r") == std::string_view::npos;
    if (line.starts_with('#') || blank) continue;
    for (const std::string_view version : {"version=1", "version=2", "version=3"})
      if (line == version || (line.starts_with(version) && line.substr(version.size()) == "\r")) return true;
    return false;
  }
  return false;
}

}  // namespace

std::string_view probe_format(std::span<const std::byte> head) {
  for (const auto& [format, offset, bytes] : kMarks)
    if (head.size() >= offset + bytes.size() && std::memcmp(head.data() + offset, bytes.data(), bytes.size()) == 0)
      return format;
  if (is_vmdk_descriptor({reinterpret_cast<const char*>(head.data()), head.size()})) return "vmdk";
  return "raw";
}

}  // namespace doppel::block
