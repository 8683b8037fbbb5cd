// The NBD server: takes clients from listening sockets.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <vector>

#include "base/unique_fd.h"
#include "block/task.h"
#include "nbd/session.h"

namespace doppel::nbd {

struct ServerOptions {
  unsigned most_clients = 1;              // at a time; 0: as many as there is room for
  std::int64_t negotiation_seconds = 10;  // who has not chosen an export by then is dropped
  std::function<void()> deserted{};       // the last client is gone, and one at least had chosen an export
};

/// On the loop's thread. Every client's memory is bounded (session.h), and so is their number.
class Server {
 public:
  Server(event::Loop& loop, Offer offer, ServerOptions options);
  /// stop() comes before, unless there never was a client.
  ~Server();

  /// LISTENER: a stream socket that listens.
  Result<> listen(UniqueFd listener);
  /// CLIENT: a connected stream socket.
  Result<> adopt(UniqueFd client);
  /// Takes no more clients, drops those there are, and waits until nothing of them is under way.
  block::Task<bool> stop();

  [[nodiscard]] std::size_t clients() const { return clients_.size(); }

 private:
  struct Listener {
    UniqueFd fd;
    std::unique_ptr<event::FdWatch> watch{};
  };
  struct Client {
    std::unique_ptr<Session> session;
    std::unique_ptr<event::Timer> deadline;
  };
  using ClientPosition = std::list<Client>::iterator;

  void watch_listeners();
  void accept_from(Listener& listener);
  void gone(ClientPosition client);

  event::Loop& loop_;
  const Offer offer_;
  const ServerOptions options_;
  PipePool pipes_;
  std::list<Listener> listeners_;
  std::list<Client> clients_;
  std::unique_ptr<event::Timer> pause_;  // armed while the host has no descriptor left for another client
  bool negotiated_ = false;              // somebody has
  block::Completion<bool>* stopped_ = nullptr;
};

}  // namespace doppel::nbd
