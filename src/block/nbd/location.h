// Where an NBD export is.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace doppel::block::nbd {

/// Either a URI, which libnbd understands, or QEMU's older spelling taken apart.
struct Location {
  std::string uri{};
  std::string host{};
  std::string port{};
  std::string socket_path{};
  std::string export_name{};
};

/// Is PROTOCOL, the part of a file name in front of its first colon, one of NBD's?
bool is_nbd_protocol(std::string_view protocol);

/// nbd://HOST[:PORT]/EXPORT, nbd+unix:///EXPORT?socket=PATH, nbds:// and nbds+unix:// with TLS;
/// nbd:HOST:PORT[:exportname=EXPORT], nbd:unix:PATH[:exportname=EXPORT].
Result<Location> parse_location(const std::string& name);

}  // namespace doppel::block::nbd
