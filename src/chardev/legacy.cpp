#include "chardev/legacy.h"

#include <array>
#include <optional>
#include <vector>

#include "base/text.h"

namespace doppel::chardev {
namespace {

/// Splits at single commas; a doubled one stands for itself.
std::vector<std::string> split_options(std::string_view text) {
  std::vector<std::string> parts(1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != ',') {
      parts.back() += text[i];
    } else if (i + 1 < text.size() && text[i + 1] == ',') {
      parts.back() += ',';
      ++i;
    } else {
      parts.emplace_back();
    }
  }
  return parts;
}

struct HostPort {
  std::string host;
  std::string port;
};

/// "HOST:PORT", ":PORT" or "[V6]:PORT".
std::optional<HostPort> parse_host_port(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos || colon + 1 == text.size()) return std::nullopt;
  auto host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return HostPort{std::string(host), std::string(text.substr(colon + 1))};
}

/// "name=value", and the short forms "server", "wait", "nowait" and so on.
Result<> apply_options(ChardevConfig& config, const std::vector<std::string>& parts) {
  for (std::size_t i = 1; i < parts.size(); ++i) {
    const std::string_view part = parts[i];
    if (const auto equals = part.find('='); equals != std::string_view::npos) {
      DOPPEL_TRY(set_chardev_option(config, part.substr(0, equals), part.substr(equals + 1)));
      continue;
    }
    if (part == "nodelay") {
      DOPPEL_TRY(set_chardev_option(config, part, "on"));
    } else if (part.starts_with("no")) {
      DOPPEL_TRY(set_chardev_option(config, part.substr(2), "off"));
    } else {
      DOPPEL_TRY(set_chardev_option(config, part, "on"));
    }
  }
  return {};
}

Result<> parse_tcp(ChardevConfig& config, std::string_view rest, bool telnet) {
  const auto parts = split_options(rest);
  const auto address = parse_host_port(parts[0]);
  if (!address)
    return fail(ErrorKind::kInvalidArgument, "'{}:' expects [HOST]:PORT, not '{}'", telnet ? "telnet" : "tcp",
                parts[0]);
  config.backend = SocketBackend{.host = address->host, .port = address->port, .telnet = telnet};
  return apply_options(config, parts);
}

Result<> parse_unix(ChardevConfig& config, std::string_view rest) {
  const auto parts = split_options(rest);
  config.backend = SocketBackend{.path = parts[0]};
  return apply_options(config, parts);
}

Result<> parse_udp(ChardevConfig& config, std::string_view rest) {
  UdpBackend udp;
  const auto at = rest.find('@');
  const auto remote = parse_host_port(rest.substr(0, at));
  if (!remote) return fail(ErrorKind::kInvalidArgument, "'udp:' expects [HOST]:PORT[@[HOST]:PORT], not '{}'", rest);
  if (!remote->host.empty()) udp.host = remote->host;
  udp.port = remote->port;
  if (at != std::string_view::npos) {
    const auto local = parse_host_port(rest.substr(at + 1));
    if (!local) return fail(ErrorKind::kInvalidArgument, "'udp:' expects [HOST]:PORT after '@', not '{}'", rest);
    udp.local_address = local->host;
    udp.local_port = local->port;
  }
  config.backend = udp;
  return {};
}

Result<> parse_word(ChardevConfig& config, std::string_view text) {
  const auto comma = text.find(',');
  const std::string_view word = text.substr(0, comma);
  // "vc:80Cx24C" gives a size, which only a graphical console has a use for.
  if (text == "vc" || text.starts_with("vc:"))
    config.backend = VcBackend{};
  else if (text == "none")
    config.backend = NoBackend{};
  else if (word == "null" || word == "stdio" || word == "pty") {
    DOPPEL_ASSIGN(auto made, make_chardev_config(word, config.id));
    config.backend = made.backend;
    return apply_options(config, split_options(text));
  } else if (text.starts_with("/dev/")) {
    config.backend = SerialBackend{std::string(text)};
  } else {
    NearestName nearest(word);
    for (const std::string_view known : {"stdio", "mon:stdio", "null", "none", "pty", "vc"}) nearest.offer(known);
    return fail(ErrorKind::kInvalidArgument, "'{}' is not a character device{}", text, nearest.suggestion());
  }
  return {};
}

Result<> parse_into(ChardevConfig& config, std::string_view text) {
  const auto colon = text.find(':');
  const std::string_view kind = colon == std::string_view::npos ? "" : text.substr(0, colon);
  const std::string_view rest = colon == std::string_view::npos ? "" : text.substr(colon + 1);
  if (kind == "mon") {
    if (config.mux) return fail(ErrorKind::kInvalidArgument, "'mon:' may be written only once");
    config.mux = config.monitor = true;
    DOPPEL_TRY(parse_into(config, rest));
    // With the monitor at hand, Ctrl-C is for the guest.
    if (auto* stdio = std::get_if<StdioBackend>(&config.backend); stdio != nullptr && rest == "stdio")
      stdio->signal = false;
    if (std::holds_alternative<NoBackend>(config.backend) || std::holds_alternative<ExistingBackend>(config.backend))
      return fail(ErrorKind::kInvalidArgument, "'mon:' needs a backend of its own, not '{}'", rest);
    return {};
  }
  if (kind == "chardev")
    config.backend = ExistingBackend{std::string(rest)};
  else if (kind == "file")
    config.backend = FileBackend{.path = std::string(rest)};
  else if (kind == "pipe")
    config.backend = PipeBackend{std::string(rest)};
  else if (kind == "unix")
    return parse_unix(config, rest);
  else if (kind == "tcp" || kind == "telnet")
    return parse_tcp(config, rest, kind == "telnet");
  else if (kind == "udp")
    return parse_udp(config, rest);
  else
    return parse_word(config, text);
  if (rest.empty()) return fail(ErrorKind::kInvalidArgument, "'{}:' expects a name after the colon", kind);
  return {};
}

}  // namespace

Result<ChardevConfig> parse_legacy_chardev(std::string_view text, std::string id) {
  ChardevConfig config{.id = std::move(id)};
  DOPPEL_TRY(parse_into(config, text));
  DOPPEL_TRY(check_chardev_config(config));
  return config;
}

}  // namespace doppel::chardev
