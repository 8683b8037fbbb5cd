#include "chardev/socket_chardev.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/text.h"
#include "chardev/fd_util.h"

namespace doppel::chardev {
namespace {

constexpr int kListenQueue = 1;

void set_flag(int fd, int level, int option) {
  const int on = 1;
  setsockopt(fd, level, option, &on, sizeof on);
}

void set_port(SocketAddress& address, std::uint16_t port) {
  // sin_port and sin6_port share their place.
  reinterpret_cast<sockaddr_in&>(address.storage).sin_port = htons(port);
}

std::uint16_t get_port(const SocketAddress& address) {
  return ntohs(reinterpret_cast<const sockaddr_in&>(address.storage).sin_port);
}

/// Left over from an earlier run. Anything else than a socket is the user's own.
void remove_stale_socket(const std::string& path) {
  struct stat info{};
  if (lstat(path.c_str(), &info) == 0 && S_ISSOCK(info.st_mode)) unlink(path.c_str());
}

}  // namespace

Result<std::unique_ptr<ChardevBase>> SocketChardev::create(const ChardevConfig& config, const SocketBackend& backend,
                                                           event::Loop& loop, Logger log) {
  std::unique_ptr<SocketChardev> made(new SocketChardev(config, backend, loop, std::move(log)));
  if (auto started = made->start(); !started)
    return std::unexpected(std::move(started).error().wrap(fmt::format("chardev '{}'", config.id)));
  return made;
}

SocketChardev::SocketChardev(const ChardevConfig& config, const SocketBackend& backend, event::Loop& loop, Logger log)
    : FdChardev(config.id, loop, std::move(log)),
      backend_(backend),
      retry_timer_(this->loop().realtime_clock().create_timer([this] { try_connect(); })) {}

SocketChardev::~SocketChardev() {
  connect({});
  flush();
  if (!unlink_path_.empty()) unlink(unlink_path_.c_str());
}

Result<> SocketChardev::start() {
  if (backend_.fd < 0) DOPPEL_TRY(find_addresses());
  return backend_.server ? start_server() : start_client();
}

Result<> SocketChardev::find_addresses() {
  if (!backend_.path.empty()) {
    DOPPEL_ASSIGN(auto address, unix_address(backend_.path, backend_.abstract, backend_.tight));
    addresses_.push_back(address);
    return {};
  }
  DOPPEL_ASSIGN(addresses_, resolve({.host = backend_.host,
                                     .port = backend_.port,
                                     .ipv4 = backend_.ipv4,
                                     .ipv6 = backend_.ipv6,
                                     .listen = backend_.server}));
  return {};
}

std::string SocketChardev::filename() const {
  if (is_open() && !description_.empty()) return description_;
  const std::string_view prefix = is_open() ? "" : "disconnected:";
  const std::string_view server = backend_.server ? ",server=on" : "";
  if (backend_.fd >= 0) return fmt::format("{}fd:{}{}", prefix, backend_.fd, server);
  if (!backend_.path.empty())
    return fmt::format("{}unix:{}{}{}", prefix, backend_.path, backend_.abstract ? ",abstract=on" : "", server);
  const std::string place =
      listener_.valid() ? listening_address().text() : fmt::format("{}:{}", backend_.host, backend_.port);
  return fmt::format("{}{}:{}{}", prefix, backend_.telnet ? "telnet" : "tcp", place, server);
}

// The server.

Result<> SocketChardev::start_server() {
  if (backend_.fd >= 0) {
    listener_.reset(backend_.fd);
    DOPPEL_TRY(set_nonblocking(listener_.get(), true));
  } else {
    DOPPEL_TRY(listen_on_any());
  }
  if (backend_.wait.value_or(true)) return wait_for_client();
  watch_listener();
  return {};
}

Result<> SocketChardev::listen_on_any() {
  const bool internet = backend_.path.empty();
  const std::uint16_t first = internet ? get_port(addresses_[0]) : 0;
  const std::uint16_t last = internet ? std::max(first, backend_.to) : 0;
  Error error(ErrorKind::kInternal, "no address to listen on");
  for (unsigned port = first; port <= last; ++port)
    for (SocketAddress address : addresses_) {
      if (internet) set_port(address, static_cast<std::uint16_t>(port));
      auto fd = try_listen(address);
      if (fd) {
        listener_ = std::move(*fd);
        if (!internet && !backend_.abstract) unlink_path_ = backend_.path;
        return {};
      }
      error = std::move(fd).error();
    }
  return std::unexpected(std::move(error));
}

Result<UniqueFd> SocketChardev::try_listen(SocketAddress address) const {
  DOPPEL_ASSIGN(UniqueFd fd, open_socket(address, SOCK_STREAM));
  const bool internet = backend_.path.empty();
  if (internet)
    set_flag(fd.get(), SOL_SOCKET, SO_REUSEADDR);
  else if (!backend_.abstract)
    remove_stale_socket(backend_.path);
  if (bind(fd.get(), address.raw(), address.size) != 0 || listen(fd.get(), kListenQueue) != 0)
    return fail_errno("listen on {}", target(address));
  return fd;
}

Result<> SocketChardev::wait_for_client() {
  log().info("waiting for a connection on {}", filename());
  while (!accept_client()) {
    pollfd entry{.fd = listener_.get(), .events = POLLIN, .revents = 0};
    if (poll(&entry, 1, -1) < 0) return fail_errno("wait for a connection");
  }
  return {};
}

void SocketChardev::watch_listener() {
  listener_watch_ = loop().watch_fd(listener_.get(), event::FdReady::kReadable, [this] { accept_client(); });
}

bool SocketChardev::accept_client() {
  UniqueFd client(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  return client.valid() && adopt(std::move(client));
}

// The client.

Result<> SocketChardev::start_client() {
  if (backend_.fd >= 0) {
    UniqueFd fd(backend_.fd);
    DOPPEL_TRY(set_nonblocking(fd.get(), true));
    if (!adopt(std::move(fd))) return fail(ErrorKind::kIo, "cannot use descriptor {}", backend_.fd);
    return {};
  }
  if (backend_.reconnect_ms != 0) {
    try_connect();
    return {};
  }
  Error error(ErrorKind::kInternal, "no address to connect to");
  for (const SocketAddress& address : addresses_) {
    bool pending = false;
    auto fd = begin_connect(address, pending);
    if (fd && pending) {
      pollfd entry{.fd = fd->get(), .events = POLLOUT, .revents = 0};
      int code = 0;
      socklen_t size = sizeof code;
      if (poll(&entry, 1, -1) < 0 || getsockopt(fd->get(), SOL_SOCKET, SO_ERROR, &code, &size) != 0) code = errno;
      if (code != 0) fd = std::unexpected(Error::from_errno(code, fmt::format("connect to {}", target(address))));
    }
    if (fd && adopt(std::move(*fd))) return {};
    if (!fd) error = std::move(fd).error();
  }
  return std::unexpected(std::move(error));
}

std::string SocketChardev::target(const SocketAddress& address) const {
  return backend_.path.empty() ? address.text() : backend_.path;
}

Result<UniqueFd> SocketChardev::begin_connect(const SocketAddress& address, bool& pending) const {
  DOPPEL_ASSIGN(UniqueFd fd, open_socket(address, SOCK_STREAM));
  const bool done = ::connect(fd.get(), address.raw(), address.size) == 0;
  pending = !done && errno == EINPROGRESS;
  if (!done && !pending) return fail_errno("connect to {}", target(address));
  return fd;
}

void SocketChardev::try_connect() {
  const SocketAddress& address = addresses_[next_address_++ % addresses_.size()];
  bool pending = false;
  auto fd = begin_connect(address, pending);
  if (!fd) {
    if (!complained_) log().warn("chardev '{}': {}; trying again", id(), fd.error().describe());
    complained_ = true;
    return retry_later();
  }
  if (!pending) {
    adopt(std::move(*fd));
    return;
  }
  connecting_ = std::move(*fd);
  connecting_watch_ = loop().watch_fd(connecting_.get(), event::FdReady::kWritable, [this] { finish_connect(); });
}

void SocketChardev::finish_connect() {
  connecting_watch_.reset();
  UniqueFd fd = std::move(connecting_);
  int code = 0;
  socklen_t size = sizeof code;
  getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &code, &size);
  if (code == 0) {
    adopt(std::move(fd));
    return;
  }
  if (!complained_) log().warn("chardev '{}': {}; trying again", id(), Error::from_errno(code, "connect").describe());
  complained_ = true;
  retry_later();
}

void SocketChardev::retry_later() {
  retry_timer_->arm(loop().realtime_clock().now_ns() + backend_.reconnect_ms * event::kNsPerMillisecond);
}

// A connection.

bool SocketChardev::adopt(UniqueFd fd) {
  auto out = duplicate(fd.get());
  if (!out) {
    log().error("chardev '{}': {}", id(), out.error().describe());
    return false;
  }
  on_connection(std::move(fd), std::move(*out));
  return true;
}

void SocketChardev::on_connection(UniqueFd in, UniqueFd out) {
  listener_watch_.reset();
  complained_ = false;
  telnet_.reset();
  telnet_unsent_.clear();
  const SocketAddress local = local_address(in.get());
  description_.clear();
  if (local.family() != AF_UNIX) {
    if (backend_.nodelay || backend_.telnet) set_flag(in.get(), IPPROTO_TCP, TCP_NODELAY);
    description_ = fmt::format("{}:{}{} <-> {}", backend_.telnet ? "telnet" : "tcp", local.text(),
                               backend_.server ? ",server=on" : "", peer_address(in.get()).text());
  }
  attach(std::move(in), std::move(out));
  if (backend_.telnet) telnet_unsent_.assign(Telnet::greeting().begin(), Telnet::greeting().end());
  set_open(true);
  flush_telnet();
}

void SocketChardev::lose_connection() {
  detach();
  telnet_unsent_.clear();
  set_open(false);
  if (listener_.valid())
    watch_listener();
  else if (backend_.reconnect_ms != 0)
    retry_later();
}

/// Coded bytes are kept here until they are out, so that no doubled byte is ever cut in two.
bool SocketChardev::flush_telnet() {
  while (!telnet_unsent_.empty()) {
    const std::size_t taken = FdChardev::transmit(telnet_unsent_);
    if (telnet_unsent_.empty() || taken == 0) break;
    telnet_unsent_.erase(telnet_unsent_.begin(), telnet_unsent_.begin() + static_cast<std::ptrdiff_t>(taken));
  }
  return telnet_unsent_.empty();
}

std::size_t SocketChardev::transmit(std::span<const std::byte> bytes) {
  if (!backend_.telnet) return FdChardev::transmit(bytes);
  if (!flush_telnet()) return 0;
  telnet_unsent_ = Telnet::encode(bytes);
  flush_telnet();
  return bytes.size();
}

void SocketChardev::on_writable() {
  if (flush_telnet()) flush();
}

void SocketChardev::on_input(std::span<const std::byte> bytes) {
  if (!backend_.telnet) return deliver(bytes);
  deliver(telnet_.decode(bytes, [this] { send_event(CharEvent::kBreak); }));
}

}  // namespace doppel::chardev
