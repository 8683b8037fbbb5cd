#include "chardev/udp_chardev.h"

#include <netinet/in.h>

#include <algorithm>
#include <cerrno>

namespace doppel::chardev {
namespace {

/// Fits an Ethernet frame.
constexpr std::size_t kDatagramSize = 1400;
constexpr std::size_t kLargestDatagram = 65536;

}  // namespace

Result<std::unique_ptr<ChardevBase>> UdpChardev::create(const ChardevConfig& config, const UdpBackend& backend,
                                                        event::Loop& loop, Logger log) {
  std::unique_ptr<UdpChardev> udp(new UdpChardev(config.id, loop, std::move(log)));
  if (auto opened = udp->open(backend); !opened)
    return std::unexpected(std::move(opened).error().wrap(fmt::format("chardev '{}'", config.id)));
  return udp;
}

UdpChardev::~UdpChardev() {
  connect({});
  flush();
}

Result<> UdpChardev::open(const UdpBackend& backend) {
  DOPPEL_ASSIGN(const auto remotes, resolve({.host = backend.host,
                                             .port = backend.port,
                                             .ipv4 = backend.ipv4,
                                             .ipv6 = backend.ipv6,
                                             .type = SOCK_DGRAM}));
  Error error(ErrorKind::kInternal, "no address");
  for (const SocketAddress& remote : remotes) {
    auto fd = try_open(backend, remote);
    if (fd) {
      socket_ = std::move(*fd);
      filename_ = fmt::format("udp:{}@{}", remote.text(), local_address(socket_.get()).text());
      set_open(true);
      return {};
    }
    error = std::move(fd).error();
  }
  return std::unexpected(std::move(error));
}

Result<UniqueFd> UdpChardev::try_open(const UdpBackend& backend, const SocketAddress& remote) const {
  DOPPEL_ASSIGN(UniqueFd fd, open_socket(remote, SOCK_DGRAM));
  if (!backend.local_port.empty() || !backend.local_address.empty()) {
    DOPPEL_ASSIGN(const auto locals, resolve({.host = backend.local_address,
                                              .port = backend.local_port.empty() ? "0" : backend.local_port,
                                              .ipv4 = remote.family() == AF_INET,
                                              .ipv6 = remote.family() == AF_INET6,
                                              .listen = true,
                                              .type = SOCK_DGRAM}));
    if (bind(fd.get(), locals[0].raw(), locals[0].size) != 0) return fail_errno("bind to {}", locals[0].text());
  }
  if (::connect(fd.get(), remote.raw(), remote.size) != 0) return fail_errno("connect to {}", remote.text());
  return fd;
}

void UdpChardev::deliver_received() {
  while (!received_.empty()) {
    const std::size_t count = std::min(room(), received_.size());
    if (count == 0) return;
    const std::vector<std::byte> head(received_.begin(), received_.begin() + static_cast<std::ptrdiff_t>(count));
    received_.erase(received_.begin(), received_.begin() + static_cast<std::ptrdiff_t>(count));
    deliver(head);
  }
  if (!read_watch_ && room() != 0)
    read_watch_ = loop().watch_fd(socket_.get(), event::FdReady::kReadable, [this] { receive(); });
}

void UdpChardev::receive() {
  if (!received_.empty() || room() == 0) return read_watch_.reset();
  received_.resize(kLargestDatagram);
  const ssize_t got = recv(socket_.get(), received_.data(), received_.size(), 0);
  received_.resize(got > 0 ? static_cast<std::size_t>(got) : 0);  // ECONNREFUSED: nobody listens yet
  deliver_received();
}

std::size_t UdpChardev::transmit(std::span<const std::byte> bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const auto datagram = bytes.subspan(done, std::min(kDatagramSize, bytes.size() - done));
    if (send(socket_.get(), datagram.data(), datagram.size(), MSG_NOSIGNAL) < 0 && errno == EAGAIN) {
      if (!write_watch_)
        write_watch_ = loop().watch_fd(socket_.get(), event::FdReady::kWritable, [this] {
          UdpChardev* self = this;  // the watch takes this closure with it
          self->write_watch_.reset();
          self->flush();
        });
      return done;
    }
    done += datagram.size();
  }
  return done;
}

}  // namespace doppel::chardev
