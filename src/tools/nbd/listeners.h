// The sockets that doppel-nbd listens on.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "tools/nbd/options.h"

namespace doppel::nbd {

/// Listening sockets, and the Unix socket's name as long as this lives.
class Listeners {
 public:
  /// What OPTIONS say, or the sockets that whoever started us hands over as systemd does (LISTEN_FDS).
  static Result<Listeners> open(const Options& options);
  Listeners(Listeners&& other) noexcept : sockets_(std::move(other.sockets_)), path_(std::exchange(other.path_, {})) {}
  ~Listeners();

  [[nodiscard]] std::vector<UniqueFd> take() { return std::move(sockets_); }
  /// As an NBD URI without the export's name.
  [[nodiscard]] std::string describe() const;

 private:
  Listeners() = default;
  Result<> listen_on_path(const std::string& path);
  Result<> listen_on_port(const std::string& address, const std::string& port);
  Result<bool> take_activated();

  std::vector<UniqueFd> sockets_;
  std::string path_;  // to be removed
};

}  // namespace doppel::nbd
