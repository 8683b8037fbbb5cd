#include "nbd/server.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace doppel::nbd {

namespace {

/// For -e 0: what bounds the memory of all clients together.
constexpr unsigned kMostClients = 128;
constexpr std::int64_t kPauseNs = 100 * event::kNsPerMillisecond;

Result<> set_nonblocking(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0)
    return fail_errno("cannot make a socket non-blocking");
  return {};
}

void tune(int fd) {
  const int on = 1;
  // A socket of another family than TCP has neither.
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  (void)::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

}  // namespace

Server::Server(event::Loop& loop, Offer offer, ServerOptions options)
    : loop_(loop),
      offer_(std::move(offer)),
      options_(std::move(options)),
      pause_(loop.realtime_clock().create_timer([this] { watch_listeners(); })) {}

Server::~Server() = default;

Result<> Server::listen(UniqueFd listener) {
  DOPPEL_TRY(set_nonblocking(listener.get()));
  listeners_.push_back({std::move(listener)});
  watch_listeners();
  return {};
}

/// Where there is no room for another client, those who come wait in the kernel's queue.
void Server::watch_listeners() {
  const unsigned most = options_.most_clients == 0 ? kMostClients : std::min(options_.most_clients, kMostClients);
  const bool room = clients_.size() < most && stopped_ == nullptr && !pause_->armed();
  for (Listener& listener : listeners_) {
    if (!room)
      listener.watch.reset();
    else if (listener.watch == nullptr)
      listener.watch =
          loop_.watch_fd(listener.fd.get(), event::FdReady::kReadable, [this, &listener] { accept_from(listener); });
  }
}

void Server::accept_from(Listener& listener) {
  UniqueFd client(::accept4(listener.fd.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (client.valid()) {
    (void)adopt(std::move(client));  // one that is not adopted is gone
    return;
  }
  const bool momentary = errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR || errno == ECONNABORTED;
  if (momentary) return;
  pause_->arm(loop_.realtime_clock().now_ns() + kPauseNs);
  watch_listeners();
}

Result<> Server::adopt(UniqueFd client) {
  DOPPEL_TRY(set_nonblocking(client.get()));
  tune(client.get());
  clients_.push_back({.session = std::make_unique<Session>(loop_, offer_, plain_transport(std::move(client)), pipes_),
                      .deadline = nullptr});
  const auto position = std::prev(clients_.end());
  Session& session = *position->session;
  position->deadline = loop_.realtime_clock().create_timer([&session] {
    if (!session.negotiated()) session.drop();
  });
  position->deadline->arm(loop_.realtime_clock().now_ns() + options_.negotiation_seconds * event::kNsPerSecond);
  watch_listeners();
  block::spawn(session.run(), [this, position](bool negotiated) {
    negotiated_ = negotiated_ || negotiated;
    gone(position);
  });
  return {};
}

void Server::gone(ClientPosition client) {
  clients_.erase(client);
  if (stopped_ != nullptr) {
    if (clients_.empty()) std::exchange(stopped_, nullptr)->complete(true);
    return;
  }
  watch_listeners();
  if (clients_.empty() && negotiated_ && options_.deserted) options_.deserted();
}

block::Task<bool> Server::stop() {
  listeners_.clear();
  block::Completion<bool> stopped;
  if (clients_.empty()) co_return true;
  stopped_ = &stopped;
  for (const Client& client : clients_) client.session->drop();
  co_return co_await stopped;
}

}  // namespace doppel::nbd
