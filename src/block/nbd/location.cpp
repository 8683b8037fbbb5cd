#include "block/nbd/location.h"

#include <algorithm>

namespace doppel::block::nbd {
namespace {

constexpr std::string_view kProtocols[] = {"nbd", "nbds", "nbd+tcp", "nbds+tcp", "nbd+unix", "nbds+unix"};
constexpr std::string_view kOldPrefix = "nbd:";
constexpr std::string_view kUnixPrefix = "unix:";
constexpr std::string_view kExportKey = ":exportname=";
constexpr std::string_view kDefaultPort = "10809";

}  // namespace

bool is_nbd_protocol(std::string_view protocol) {
  return std::ranges::find(kProtocols, protocol) != std::end(kProtocols);
}

Result<Location> parse_location(const std::string& name) {
  const std::size_t slashes = name.find("://");
  if (slashes != std::string::npos && slashes == name.find(':')) {
    // QEMU also spells the transport that every URI without another has.
    std::string uri = name;
    if (const std::size_t tcp = uri.find("+tcp://"); tcp != std::string::npos && tcp < slashes) uri.erase(tcp, 4);
    return Location{.uri = std::move(uri)};
  }
  std::string_view rest = std::string_view(name).substr(kOldPrefix.size());
  Location location;
  if (const std::size_t key = rest.find(kExportKey); key != std::string_view::npos) {
    location.export_name = rest.substr(key + kExportKey.size());
    rest = rest.substr(0, key);
  }
  if (rest.starts_with(kUnixPrefix)) {
    location.socket_path = rest.substr(kUnixPrefix.size());
    if (location.socket_path.empty())
      return fail(ErrorKind::kInvalidArgument, "'{}' names no socket: expected nbd:unix:PATH", name);
    return location;
  }
  const bool bracketed = rest.starts_with('[');  // an IPv6 address
  const std::size_t colon = rest.rfind(':');
  const bool has_port = colon != std::string_view::npos && (!bracketed || rest[colon - 1] == ']');
  location.host = rest.substr(0, has_port ? colon : rest.size());
  location.port = has_port ? rest.substr(colon + 1) : kDefaultPort;
  if (bracketed && location.host.ends_with(']')) location.host = location.host.substr(1, location.host.size() - 2);
  if (location.host.empty() || location.port.empty())
    return fail(ErrorKind::kInvalidArgument, "'{}' names no server: expected nbd:HOST:PORT or nbd://HOST/EXPORT", name);
  return location;
}

}  // namespace doppel::block::nbd
