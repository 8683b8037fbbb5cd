// How bytes reach a client: through a socket as they are, or encrypted (tls.h).
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "base/unique_fd.h"

namespace doppel::nbd {

/// What became of an attempt: BYTES went through, or it must be repeated when the descriptor is ready, or nothing will
/// go through any more.
struct Transfer {
  enum class Outcome : std::uint8_t { kDone, kWaitReadable, kWaitWritable, kClosed };
  Outcome outcome = Outcome::kClosed;
  std::size_t bytes = 0;  // at least 1 with kDone
};

/// Never blocks. An attempt to send that must wait is repeated with the same bytes.
class Transport {
 public:
  Transport() = default;
  virtual ~Transport() = default;
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  [[nodiscard]] virtual int fd() const = 0;
  virtual Transfer receive(std::span<std::byte> to) = 0;
  virtual Transfer send(std::span<const iovec> pieces) = 0;
  /// Can it send what is in pipes?
  [[nodiscard]] virtual bool takes_pipes() const { return false; }
  /// Up to BYTES out of PIPE.
  virtual Transfer send_from(int /*pipe*/, std::size_t /*bytes*/) { return {}; }
  /// Ends both directions: attempts now and later give kClosed, and who waits is woken.
  virtual void shut_down() = 0;
  /// Gives up the socket, for a transport that goes on above it. This one can only be destroyed afterwards.
  virtual UniqueFd release() = 0;
};

/// FD: a non-blocking stream socket.
std::unique_ptr<Transport> plain_transport(UniqueFd fd);

}  // namespace doppel::nbd
