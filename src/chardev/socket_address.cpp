#include "chardev/socket_address.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <memory>

namespace doppel::chardev {
namespace {

int wanted_family(const InternetName& name) {
  if (name.ipv4 == name.ipv6) return AF_UNSPEC;
  return name.ipv4 ? AF_INET : AF_INET6;
}

}  // namespace

std::string SocketAddress::text() const {
  std::array<char, NI_MAXHOST> host{};
  std::array<char, NI_MAXSERV> port{};
  const int code =
      getnameinfo(raw(), size, host.data(), host.size(), port.data(), port.size(), NI_NUMERICHOST | NI_NUMERICSERV);
  if (code != 0) return "unknown";
  return family() == AF_INET6 ? fmt::format("[{}]:{}", host.data(), port.data())
                              : fmt::format("{}:{}", host.data(), port.data());
}

Result<std::vector<SocketAddress>> resolve(const InternetName& name) {
  addrinfo hints{};
  hints.ai_family = wanted_family(name);
  hints.ai_socktype = name.type;
  hints.ai_flags = name.listen ? AI_PASSIVE : AI_ADDRCONFIG;
  addrinfo* list = nullptr;
  const int code = getaddrinfo(name.host.empty() ? nullptr : name.host.c_str(), name.port.c_str(), &hints, &list);
  if (code != 0)
    return fail(ErrorKind::kNotFound, "find the address of '{}:{}': {}", name.host, name.port, gai_strerror(code));
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(list, &freeaddrinfo);
  std::vector<SocketAddress> addresses;
  for (; list != nullptr; list = list->ai_next) {
    SocketAddress& address = addresses.emplace_back();
    std::memcpy(&address.storage, list->ai_addr, list->ai_addrlen);
    address.size = list->ai_addrlen;
  }
  return addresses;
}

Result<SocketAddress> unix_address(const std::string& path, bool abstract, bool tight) {
  sockaddr_un raw{};
  raw.sun_family = AF_UNIX;
  const std::size_t offset = abstract ? 1 : 0;
  const std::size_t limit = sizeof raw.sun_path - 1;
  if (path.size() + offset > limit)
    return fail(ErrorKind::kInvalidArgument, "the socket path '{}' is longer than {} bytes", path, limit);
  std::memcpy(raw.sun_path + offset, path.data(), path.size());
  const std::size_t used = abstract && !tight ? sizeof raw.sun_path : offset + path.size() + (abstract ? 0 : 1);
  SocketAddress address;
  std::memcpy(&address.storage, &raw, sizeof raw);
  address.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + used);
  return address;
}

Result<UniqueFd> open_socket(const SocketAddress& address, int type) {
  UniqueFd fd(socket(address.family(), type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return fail_errno("open a socket");
  return fd;
}

SocketAddress local_address(int fd) {
  SocketAddress address;
  address.size = sizeof address.storage;
  if (getsockname(fd, address.raw(), &address.size) != 0) address.size = 0;
  return address;
}

SocketAddress peer_address(int fd) {
  SocketAddress address;
  address.size = sizeof address.storage;
  if (getpeername(fd, address.raw(), &address.size) != 0) address.size = 0;
  return address;
}

}  // namespace doppel::chardev
