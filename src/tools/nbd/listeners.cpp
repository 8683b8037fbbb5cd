#include "tools/nbd/listeners.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "base/text.h"
#include "chardev/socket_address.h"

namespace doppel::nbd {
namespace {

constexpr int kQueue = 128;
constexpr int kFirstActivated = 3;  // sd_listen_fds(3)
constexpr std::uint64_t kMostActivated = 16;

Result<UniqueFd> listen_at(const chardev::SocketAddress& address, std::string_view name) {
  DOPPEL_ASSIGN(UniqueFd fd, chardev::open_socket(address, SOCK_STREAM));
  const int on = 1;
  if (address.family() != AF_UNIX) ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (address.family() == AF_INET6) ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  if (::bind(fd.get(), address.raw(), address.size) != 0 || ::listen(fd.get(), kQueue) != 0)
    return fail_errno("cannot listen on '{}'", name);
  return fd;
}

}  // namespace

Result<Listeners> Listeners::open(const Options& options) {
  Listeners listeners;
  DOPPEL_ASSIGN(const bool activated, listeners.take_activated());
  if (activated) return listeners;
  if (options.socket_path.empty())
    DOPPEL_TRY(listeners.listen_on_port(options.address, options.port));
  else
    DOPPEL_TRY(listeners.listen_on_path(options.socket_path));
  return listeners;
}

Listeners::~Listeners() {
  if (!path_.empty()) ::unlink(path_.c_str());
}

Result<> Listeners::listen_on_path(const std::string& path) {
  DOPPEL_ASSIGN(const chardev::SocketAddress address, chardev::unix_address(path, false, false));
  struct stat info{};
  // Left over from an earlier run. Anything else than a socket is the user's own.
  if (::lstat(path.c_str(), &info) == 0 && S_ISSOCK(info.st_mode)) ::unlink(path.c_str());
  DOPPEL_ASSIGN(UniqueFd fd, listen_at(address, path));
  sockets_.push_back(std::move(fd));
  std::error_code error;
  path_ = std::filesystem::absolute(path, error).string();  // --fork changes to /
  return {};
}

Result<> Listeners::listen_on_port(const std::string& address, const std::string& port) {
  const chardev::InternetName name{
      .host = address.empty() ? "0.0.0.0" : address, .port = port, .listen = true, .type = SOCK_STREAM};
  DOPPEL_ASSIGN(const auto addresses, chardev::resolve(name));
  for (const chardev::SocketAddress& one : addresses) {
    DOPPEL_ASSIGN(UniqueFd fd, listen_at(one, one.text()));
    sockets_.push_back(std::move(fd));
  }
  return {};
}

Result<bool> Listeners::take_activated() {
  const char* process = std::getenv("LISTEN_PID");
  const char* count = std::getenv("LISTEN_FDS");
  if (process == nullptr || count == nullptr || process != std::to_string(::getpid())) return false;
  const auto sockets = parse_number(count);
  if (!sockets || *sockets < 1 || *sockets > kMostActivated)
    return fail(ErrorKind::kInvalidArgument, "LISTEN_FDS expects a number from 1 to {}, not '{}'", kMostActivated,
                count);
  for (int i = 0; i < static_cast<int>(*sockets); ++i) {
    UniqueFd fd(kFirstActivated + i);
    int listens = 0;
    socklen_t size = sizeof listens;
    if (::getsockopt(fd.get(), SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || listens == 0)
      return fail(ErrorKind::kInvalidArgument, "LISTEN_FDS: descriptor {} is no listening socket", fd.get());
    ::fcntl(fd.get(), F_SETFD, FD_CLOEXEC);
    sockets_.push_back(std::move(fd));
  }
  return true;
}

std::string Listeners::describe() const {
  if (!path_.empty()) return fmt::format("nbd+unix:///?socket={}", path_);
  std::string text;
  for (const UniqueFd& socket : sockets_)
    text += fmt::format("{}nbd://{}", text.empty() ? "" : " ", chardev::local_address(socket.get()).text());
  return text;
}

}  // namespace doppel::nbd
