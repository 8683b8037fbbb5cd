// Bytes as UDP datagrams.
#pragma once

#include <memory>

#include "chardev/chardev_base.h"
#include "chardev/socket_address.h"

namespace doppel::chardev {

/// Sends to one remote address and takes what arrives from there. What does not fit is lost, as datagrams are.
class UdpChardev final : public ChardevBase {
 public:
  static Result<std::unique_ptr<ChardevBase>> create(const ChardevConfig& config, const UdpBackend& backend,
                                                     event::Loop& loop, Logger log);
  ~UdpChardev() override;
  [[nodiscard]] std::string filename() const override { return filename_; }
  [[nodiscard]] SocketAddress bound_address() const { return local_address(socket_.get()); }

 private:
  using ChardevBase::ChardevBase;
  Result<> open(const UdpBackend& backend);
  Result<UniqueFd> try_open(const UdpBackend& backend, const SocketAddress& remote) const;
  void receive();
  void deliver_received();
  std::size_t transmit(std::span<const std::byte> bytes) override;
  void resume_input() override { deliver_received(); }

  UniqueFd socket_;
  std::string filename_;
  std::vector<std::byte> received_;  // of one datagram, not yet delivered
  std::unique_ptr<event::FdWatch> read_watch_;
  std::unique_ptr<event::FdWatch> write_watch_;
};

}  // namespace doppel::chardev
