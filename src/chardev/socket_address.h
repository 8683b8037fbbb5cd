// Addresses of sockets: from a user's words to what the kernel takes, and to what it is shown as.
#pragma once

#include <sys/socket.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"

namespace doppel::chardev {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;

  [[nodiscard]] int family() const { return storage.ss_family; }
  [[nodiscard]] const sockaddr* raw() const { return reinterpret_cast<const sockaddr*>(&storage); }
  [[nodiscard]] sockaddr* raw() { return reinterpret_cast<sockaddr*>(&storage); }
  /// "127.0.0.1:4444", "[::1]:4444".
  [[nodiscard]] std::string text() const;
};

struct InternetName {
  std::string host;  // empty: this host, or any address if listening
  std::string port;
  bool ipv4 = false;
  bool ipv6 = false;
  bool listen = false;
  int type = SOCK_STREAM;
};

/// May ask a name server, and wait for it. Never an empty list.
Result<std::vector<SocketAddress>> resolve(const InternetName& name);
/// A name of the abstract namespace has no file; unless TIGHT it is padded with zeroes.
Result<SocketAddress> unix_address(const std::string& path, bool abstract, bool tight);

/// A non-blocking socket for ADDRESS's family.
Result<UniqueFd> open_socket(const SocketAddress& address, int type);
[[nodiscard]] SocketAddress local_address(int fd);
[[nodiscard]] SocketAddress peer_address(int fd);

}  // namespace doppel::chardev
