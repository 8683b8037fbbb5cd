// A stream socket: Unix or TCP, listening or connecting, plain or telnet.
#pragma once

#include <memory>
#include <vector>

#include "chardev/fd_chardev.h"
#include "chardev/socket_address.h"
#include "chardev/telnet.h"

namespace doppel::chardev {

/// A server talks to one client at a time; the next waits in the listen queue. A client whose connection ends tries
/// again if told so (`reconnect`). Names are looked up once, at the start.
class SocketChardev final : public FdChardev {
 public:
  /// A server with wait=on (the default) returns only once a client is there; a client without reconnect only once it
  /// is connected.
  static Result<std::unique_ptr<ChardevBase>> create(const ChardevConfig& config, const SocketBackend& backend,
                                                     event::Loop& loop, Logger log);
  ~SocketChardev() override;
  [[nodiscard]] std::string filename() const override;

  /// What a server listens on; the port is the one really taken.
  [[nodiscard]] SocketAddress listening_address() const { return local_address(listener_.get()); }

 private:
  SocketChardev(const ChardevConfig& config, const SocketBackend& backend, event::Loop& loop, Logger log);
  Result<> start();
  Result<> find_addresses();

  Result<> start_server();
  Result<> listen_on_any();
  Result<UniqueFd> try_listen(SocketAddress address) const;
  Result<> wait_for_client();
  void watch_listener();
  bool accept_client();

  Result<> start_client();
  Result<UniqueFd> begin_connect(const SocketAddress& address, bool& pending) const;
  [[nodiscard]] std::string target(const SocketAddress& address) const;
  void try_connect();
  void finish_connect();
  void retry_later();

  bool adopt(UniqueFd fd);
  void on_connection(UniqueFd in, UniqueFd out);
  void lose_connection();
  bool flush_telnet();
  std::size_t transmit(std::span<const std::byte> bytes) override;
  void on_writable() override;
  void on_input(std::span<const std::byte> bytes) override;
  void on_end_of_input() override { lose_connection(); }
  void on_output_failed() override { lose_connection(); }

  const SocketBackend backend_;
  std::vector<SocketAddress> addresses_;
  std::string description_;  // while connected over TCP
  std::string unlink_path_;

  UniqueFd listener_;
  std::unique_ptr<event::FdWatch> listener_watch_;

  UniqueFd connecting_;
  std::unique_ptr<event::FdWatch> connecting_watch_;
  std::size_t next_address_ = 0;
  bool complained_ = false;
  std::unique_ptr<event::Timer> retry_timer_;

  Telnet telnet_;
  std::vector<std::byte> telnet_unsent_;  // coded bytes that transmit() has already counted as sent
};

}  // namespace doppel::chardev
