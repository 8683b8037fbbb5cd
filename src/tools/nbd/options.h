// The command line of doppel-nbd.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "block/image/node_options.h"
#include "block/image/open_image.h"

namespace doppel::nbd {

/// One image under one name.
struct ExportOptions {
  std::string name{};
  std::string description{};
  std::string filename{};  // or options of nodes, as NODES has them
  std::optional<block::NodeOptions> nodes{};
  std::string format{};  // empty: by the image's first bytes
  bool read_only = false;
  bool snapshot = false;            // writes go to a temporary file that nobody sees
  std::string internal_snapshot{};  // read-only, what the image was then
  block::CacheMode cache = block::CacheMode::kWriteback;
  bool discard = false;
  bool allocation_depth = false;
  std::string detect_zeroes = "off";
  std::string bitmap{};  // offered as a context; empty: none
  std::uint64_t offset = 0;
};

/// --object of types that images refer to: secret, throttle-group.
struct ImageObject {
  std::string type{};
  std::string id{};
  block::OptionTexts options{};
};

/// --object tls-creds-x509 or tls-creds-psk.
struct TlsOptions {
  std::string id{};
  bool psk = false;
  bool client = false;  // endpoint=client
  std::string directory{};
  bool verify_peer = true;
  std::string priority{};
};

struct Options {
  enum class Action : std::uint8_t { kServe, kDisconnect, kHelp, kVersion };
  Action action = Action::kServe;
  std::vector<ExportOptions> exports{};
  std::vector<ImageObject> objects{};
  std::string address{};  // to listen on; empty: any
  std::string port = "10809";
  std::string socket_path{};  // not empty: a Unix socket instead of TCP
  std::string device{};       // not empty: the kernel's NBD client instead of either, or what to disconnect
  unsigned most_clients = 1;  // 0: no limit of its own
  bool persistent = false;
  bool verbose = false;
  bool fork = false;
  std::string pid_file{};
  block::EngineChoice engine = block::EngineChoice::kBest;
  std::optional<TlsOptions> tls{};
};

/// Every mistake is one sentence that names the option.
Result<Options> parse_options(std::span<const std::string> arguments);

/// The text of --help.
std::string help_text();

}  // namespace doppel::nbd
