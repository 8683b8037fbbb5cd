// The old spelling of character backends, as in `-serial mon:stdio` and `-monitor unix:/tmp/m,server,nowait`.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "chardev/config.h"

namespace doppel::chardev {

/// One of: none, null, vc, stdio, pty, mon:..., chardev:ID, file:PATH, pipe:PATH, unix:PATH[,options],
/// tcp:[HOST]:PORT[,options], telnet:[HOST]:PORT[,options], udp:[HOST]:PORT[@[HOST]:PORT], /dev/TTY.
Result<ChardevConfig> parse_legacy_chardev(std::string_view text, std::string id);

}  // namespace doppel::chardev
