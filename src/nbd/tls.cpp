#include "nbd/tls.h"

#include <gnutls/gnutls.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace doppel::nbd {
namespace {

/// "NORMAL" is GnuTLS's own choice of algorithms; PSK adds the key exchanges that need no certificate.
constexpr const char* kDefaultPriority = "NORMAL";
constexpr std::string_view kPskExchanges = ":+ECDHE-PSK:+DHE-PSK:+PSK";
/// More than a record takes is not asked for at once, so that a repeated attempt names the same bytes.
constexpr std::size_t kMaxSend = 16 << 10;

std::unexpected<Error> tls_error(int code, std::string_view what) {
  return fail(ErrorKind::kInvalidArgument, "TLS: {}: {}", what, gnutls_strerror(code));
}

class TlsTransport final : public Transport {
 public:
  TlsTransport(UniqueFd fd, gnutls_session_t session) : fd_(std::move(fd)), session_(session) {
    gnutls_transport_set_int(session_, fd_.get());
  }
  ~TlsTransport() override {
    // A farewell, if there is room for it; nobody waits for the client's.
    if (established_) (void)gnutls_bye(session_, GNUTLS_SHUT_WR);
    gnutls_deinit(session_);
  }

  [[nodiscard]] int fd() const override { return fd_.get(); }

  Transfer handshake() {
    const int result = gnutls_handshake(session_);
    established_ = result == GNUTLS_E_SUCCESS;
    if (result == GNUTLS_E_WARNING_ALERT_RECEIVED) return wait();
    return outcome_of(result, established_ ? 1 : 0);
  }
  Transfer receive(std::span<std::byte> to) override {
    const ssize_t result = gnutls_record_recv(session_, to.data(), to.size());
    return outcome_of(result, result > 0 ? static_cast<std::size_t>(result) : 0);
  }
  Transfer send(std::span<const iovec> pieces) override {
    const iovec& first = pieces.front();
    const ssize_t result = gnutls_record_send(session_, first.iov_base, std::min(first.iov_len, kMaxSend));
    return outcome_of(result, result > 0 ? static_cast<std::size_t>(result) : 0);
  }
  void shut_down() override {
    established_ = false;
    ::shutdown(fd_.get(), SHUT_RDWR);
  }
  UniqueFd release() override { return std::move(fd_); }

 private:
  [[nodiscard]] Transfer wait() const {
    return {gnutls_record_get_direction(session_) == 0 ? Transfer::Outcome::kWaitReadable
                                                       : Transfer::Outcome::kWaitWritable};
  }
  [[nodiscard]] Transfer outcome_of(ssize_t result, std::size_t bytes) const {
    if (bytes > 0) return {Transfer::Outcome::kDone, bytes};
    if (result == GNUTLS_E_AGAIN || result == GNUTLS_E_INTERRUPTED) return wait();
    return {Transfer::Outcome::kClosed};
  }

  UniqueFd fd_;
  gnutls_session_t session_;
  bool established_ = false;
};

/// What certificates and keys have in common.
class Credentials : public TlsCredentials {
 public:
  explicit Credentials(std::string priority) : priority_(std::move(priority)) {}

  block::Task<bool> start(Channel& channel) override {
    gnutls_session_t session = nullptr;
    if (gnutls_init(&session, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL) != 0) co_return false;
    if (gnutls_priority_set_direct(session, priority_.c_str(), nullptr) != 0 || !give(session)) {
      gnutls_deinit(session);
      co_return false;
    }
    auto transport = std::make_unique<TlsTransport>(channel.transport().release(), session);
    TlsTransport& tls = *transport;
    channel.replace_transport(std::move(transport));
    for (;;) {
      const Transfer step = tls.handshake();
      if (step.outcome == Transfer::Outcome::kDone) co_return true;
      if (step.outcome == Transfer::Outcome::kClosed) co_return false;
      co_await channel.ready(step.outcome);
    }
  }

 protected:
  [[nodiscard]] virtual bool give(gnutls_session_t session) const = 0;

 private:
  const std::string priority_;
};

class X509Credentials final : public Credentials {
 public:
  X509Credentials(gnutls_certificate_credentials_t credentials, bool verify_peer, std::string priority)
      : Credentials(std::move(priority)), credentials_(credentials), verify_peer_(verify_peer) {}
  ~X509Credentials() override { gnutls_certificate_free_credentials(credentials_); }

 private:
  [[nodiscard]] bool give(gnutls_session_t session) const override {
    if (gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials_) != 0) return false;
    if (!verify_peer_) return true;
    gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUIRE);
    gnutls_session_set_verify_cert(session, nullptr, 0);  // the handshake fails with a certificate not trusted
    return true;
  }

  gnutls_certificate_credentials_t credentials_;
  const bool verify_peer_;
};

class PskCredentials final : public Credentials {
 public:
  PskCredentials(gnutls_psk_server_credentials_t credentials, std::string priority)
      : Credentials(std::move(priority)), credentials_(credentials) {}
  ~PskCredentials() override { gnutls_psk_free_server_credentials(credentials_); }

 private:
  [[nodiscard]] bool give(gnutls_session_t session) const override {
    return gnutls_credentials_set(session, GNUTLS_CRD_PSK, credentials_) == 0;
  }

  gnutls_psk_server_credentials_t credentials_;
};

Result<> check_priority(const std::string& priority) {
  gnutls_priority_t parsed = nullptr;
  const char* mistake = nullptr;
  if (const int code = gnutls_priority_init(&parsed, priority.c_str(), &mistake); code != 0)
    return fail(ErrorKind::kInvalidArgument, "TLS: GnuTLS does not understand the priority from '{}' on",
                mistake != nullptr ? mistake : priority);
  gnutls_priority_deinit(parsed);
  return {};
}

}  // namespace

Result<std::unique_ptr<TlsCredentials>> load_x509(const std::string& directory, bool verify_peer,
                                                  const std::string& priority) {
  const std::string algorithms = priority.empty() ? kDefaultPriority : priority;
  DOPPEL_TRY(check_priority(algorithms));
  gnutls_certificate_credentials_t raw = nullptr;
  if (const int code = gnutls_certificate_allocate_credentials(&raw); code != 0)
    return tls_error(code, "cannot make credentials");
  auto credentials = std::make_unique<X509Credentials>(raw, verify_peer, algorithms);
  const std::string ca = directory + "/ca-cert.pem";
  const std::string crl = directory + "/ca-crl.pem";
  const std::string certificate = directory + "/server-cert.pem";
  const std::string key = directory + "/server-key.pem";
  if (::access(ca.c_str(), R_OK) == 0 || verify_peer) {
    const int count = gnutls_certificate_set_x509_trust_file(raw, ca.c_str(), GNUTLS_X509_FMT_PEM);
    if (count < 0) return tls_error(count, fmt::format("cannot load '{}'", ca));
  }
  if (::access(crl.c_str(), R_OK) == 0) {
    const int count = gnutls_certificate_set_x509_crl_file(raw, crl.c_str(), GNUTLS_X509_FMT_PEM);
    if (count < 0) return tls_error(count, fmt::format("cannot load '{}'", crl));
  }
  const int code = gnutls_certificate_set_x509_key_file(raw, certificate.c_str(), key.c_str(), GNUTLS_X509_FMT_PEM);
  if (code < 0) return tls_error(code, fmt::format("cannot load '{}' and '{}'", certificate, key));
  return credentials;
}

Result<std::unique_ptr<TlsCredentials>> load_psk(const std::string& directory, const std::string& priority) {
  const std::string algorithms = (priority.empty() ? kDefaultPriority : priority) + std::string(kPskExchanges);
  DOPPEL_TRY(check_priority(algorithms));
  gnutls_psk_server_credentials_t raw = nullptr;
  if (const int code = gnutls_psk_allocate_server_credentials(&raw); code != 0)
    return tls_error(code, "cannot make credentials");
  auto credentials = std::make_unique<PskCredentials>(raw, algorithms);
  const std::string keys = directory + "/keys.psk";
  if (::access(keys.c_str(), R_OK) != 0) return fail_errno("TLS: cannot read '{}'", keys);
  if (const int code = gnutls_psk_set_server_credentials_file(raw, keys.c_str()); code < 0)
    return tls_error(code, fmt::format("cannot load '{}'", keys));
  return credentials;
}

}  // namespace doppel::nbd
