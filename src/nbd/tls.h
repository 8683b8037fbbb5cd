// TLS for NBD, by GnuTLS.
#pragma once

#include <memory>
#include <string>

#include "base/error.h"
#include "block/task.h"
#include "nbd/channel.h"

namespace doppel::nbd {

/// The server's side of certificates or shared keys. Shared by its clients; outlives them.
class TlsCredentials {
 public:
  virtual ~TlsCredentials() = default;
  /// The TLS handshake on CHANNEL, which afterwards speaks TLS. False: the client must be dropped.
  virtual block::Task<bool> start(Channel& channel) = 0;
};

/// ca-cert.pem, server-cert.pem, server-key.pem and, if it is there, ca-crl.pem in DIRECTORY, as QEMU's
/// tls-creds-x509 names them. With VERIFY_PEER clients must show a certificate of that authority.
Result<std::unique_ptr<TlsCredentials>> load_x509(const std::string& directory, bool verify_peer,
                                                  const std::string& priority);
/// keys.psk in DIRECTORY, a line of user:hexadecimal key for each user, as QEMU's tls-creds-psk.
Result<std::unique_ptr<TlsCredentials>> load_psk(const std::string& directory, const std::string& priority);

}  // namespace doppel::nbd
