#include "tools/nbd/nbd_main.h"

#include <fmt/core.h>
#include <sys/socket.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <optional>
#include <utility>

#include "base/daemon.h"
#include "base/end_signals.h"
#include "nbd/server.h"
#include "tools/nbd/attachment.h"
#include "tools/nbd/exports.h"
#include "tools/nbd/listeners.h"
#include "tools/nbd/options.h"

namespace doppel::nbd {
namespace {

int complain(const Error& error) {
  fmt::print(stderr, "doppel-nbd: {}\n", error.describe());
  return EXIT_FAILURE;
}

/// RESULT, whose error names OPTION.
template <class T>
Result<T> for_option(std::string option, Result<T> result) {
  if (!result) return std::unexpected(std::move(result).error().wrap(std::move(option)));
  return result;
}

Result<std::unique_ptr<TlsCredentials>> load_credentials(const std::optional<TlsOptions>& options) {
  if (!options) return nullptr;
  return options->psk ? load_psk(options->directory, options->priority)
                      : load_x509(options->directory, options->verify_peer, options->priority);
}

/// Lets go whoever started us.
Result<> tell_ready(std::optional<Daemon>& daemon) {
  return daemon ? for_option("--fork", daemon->ready()) : Result<>{};
}

/// Until a signal comes, or the last client has left.
Result<> serve_clients(block::Context& context, const Options& options, const OpenExports& opened, TlsCredentials* tls,
                       std::vector<UniqueFd> sockets, std::optional<Daemon>& daemon) {
  event::Loop& loop = context.loop();
  ServerOptions server_options{.most_clients = options.most_clients};
  if (!options.persistent) server_options.deserted = [&loop] { loop.quit(); };
  Server server(loop, {.exports = opened.exports(), .tls = tls}, std::move(server_options));
  for (UniqueFd& socket : sockets) DOPPEL_TRY(server.listen(std::move(socket)));
  DOPPEL_TRY(tell_ready(daemon));
  loop.run();
  (void)block::run_to_end(loop, server.stop());
  return {};
}

Result<std::pair<UniqueFd, UniqueFd>> socket_pair() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
    return fail_errno("cannot make a pair of sockets");
  return std::pair(UniqueFd(ends[0]), UniqueFd(ends[1]));
}

/// Until a signal comes, or the kernel's client is told to disconnect.
Result<> serve_kernel(event::Loop& loop, const Options& options, const OpenExports& opened,
                      std::unique_ptr<KernelDevice> device, std::optional<Daemon>& daemon) {
  Server server(loop, {.exports = opened.exports()}, {});
  DOPPEL_ASSIGN(auto ends, socket_pair());
  DOPPEL_TRY(server.adopt(std::move(ends.first)));
  Result<> how;
  const auto attached = [&] {
    if (options.verbose) fmt::print(stderr, "NBD device {} is now connected\n", options.device);
    how = tell_ready(daemon);
    if (!how) loop.quit();
  };
  const auto detached = [&](Result<> result) {
    how = std::move(result);
    loop.quit();
  };
  const Attachment attachment(loop, std::move(device), std::move(ends.second), options.exports.front().name,
                              {.attached = attached, .detached = detached});
  loop.run();
  (void)block::run_to_end(loop, server.stop());
  return how;
}

Result<int> disconnect(const std::string& device) {
  DOPPEL_ASSIGN(const std::unique_ptr<KernelDevice> opened, open_kernel_device(device));
  opened->detach();
  fmt::print("{} disconnected\n", device);
  return EXIT_SUCCESS;
}

/// Fork before threads and before what carries the process id; the pid file before the parent goes.
Result<int> serve(const Options& options) {
  std::optional<Listeners> listeners;
  std::unique_ptr<KernelDevice> device;
  if (options.device.empty()) {
    DOPPEL_ASSIGN(auto listening, Listeners::open(options));  // knows LISTEN_PID, which is the parent's
    listeners.emplace(std::move(listening));
  } else {
    DOPPEL_ASSIGN(device, open_kernel_device(options.device));
  }
  std::optional<Daemon> daemon;
  if (options.fork) {
    DOPPEL_ASSIGN(daemon, for_option("--fork", Daemon::start()));
  }
  DOPPEL_ASSIGN(const std::unique_ptr<TlsCredentials> tls, load_credentials(options.tls));
  event::Loop loop;
  // Watched until all is closed: a signal that comes meanwhile must not cut that short.
  std::vector<std::unique_ptr<event::SignalWatch>> signals;
  for (const int signal : kEndSignals) signals.push_back(loop.watch_signal(signal, [&loop] { loop.quit(); }));
  block::Context context(loop, options.engine);
  DOPPEL_ASSIGN(OpenExports opened, OpenExports::open(context, options));
  opened.let_many_clients(options.most_clients != 1);
  std::optional<PidFile> pid_file;
  if (!options.pid_file.empty()) {
    DOPPEL_ASSIGN(auto created, for_option("--pid-file", PidFile::create(options.pid_file)));
    pid_file.emplace(std::move(created));
  }
  if (options.verbose && listeners)
    fmt::print(stderr, "doppel-nbd: serving {} export(s) on {}\n", options.exports.size(), listeners->describe());
  auto served = listeners ? serve_clients(context, options, opened, tls.get(), listeners->take(), daemon)
                          : serve_kernel(loop, options, opened, std::move(device), daemon);
  auto closed = opened.close(context);
  block_end_signals();
  DOPPEL_TRY(served);
  DOPPEL_TRY(closed);
  return EXIT_SUCCESS;
}

}  // namespace

int nbd_main(std::span<const std::string> arguments) {
  const auto options = parse_options(arguments);
  if (!options) {
    complain(options.error());
    fmt::print(stderr, "Try 'doppel-nbd --help' for more information\n");
    return EXIT_FAILURE;
  }
  switch (options->action) {
    case Options::Action::kHelp: fmt::print("{}", help_text()); return EXIT_SUCCESS;
    case Options::Action::kVersion: fmt::print("doppel-nbd version {}\n", DOPPEL_VERSION); return EXIT_SUCCESS;
    case Options::Action::kServe:
    case Options::Action::kDisconnect: break;
  }
  std::signal(SIGPIPE, SIG_IGN);  // a client that hangs up is no end of ours
  const auto status = options->action == Options::Action::kDisconnect ? disconnect(options->device) : serve(*options);
  return status ? *status : complain(status.error());
}

}  // namespace doppel::nbd
