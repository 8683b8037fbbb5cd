#include "chardev/config.h"

#include <array>
#include <bit>
#include <limits>
#include <type_traits>

#include "base/text.h"

namespace doppel::chardev {
namespace {

template <class C, class T>
C class_of(T C::*);
template <class C, class T>
T type_of(T C::*);

template <class T>
Result<> parse_value(T& value, std::string_view name, std::string_view text) {
  const auto bad = [&](std::string_view expected) {
    return fail(ErrorKind::kInvalidArgument, "option '{}' expects {}, not '{}'", name, expected, text);
  };
  if constexpr (std::is_same_v<T, std::string>) {
    value = text;
  } else if constexpr (std::is_same_v<T, bool> || std::is_same_v<T, std::optional<bool>>) {
    const auto parsed = parse_bool(text);
    if (!parsed) return bad("'on' or 'off'");
    value = *parsed;
  } else if constexpr (std::is_same_v<T, std::uint64_t>) {
    const auto parsed = parse_size(text);
    if (!parsed) return bad("a size such as 64K");
    value = *parsed;
  } else {
    const auto limit = static_cast<std::uint64_t>(std::numeric_limits<T>::max());
    const auto parsed = parse_number(text);
    if (!parsed || *parsed > limit) return bad(fmt::format("a number up to {}", limit));
    value = static_cast<T>(*parsed);
  }
  return {};
}

template <class T>
constexpr std::string_view type_name() {
  if constexpr (std::is_same_v<T, std::string>)
    return "str";
  else if constexpr (std::is_same_v<T, bool> || std::is_same_v<T, std::optional<bool>>)
    return "bool";
  else if constexpr (std::is_same_v<T, std::uint64_t>)
    return "size";
  else
    return "number";
}

/// A row for a member of ChardevConfig itself or of one of its backends.
template <auto Member>
constexpr ChardevOption row(std::string_view name, std::string_view help) {
  using Owner = decltype(class_of(Member));
  return {name, type_name<decltype(type_of(Member))>(), help,
          [](ChardevConfig& config, std::string_view option, std::string_view text) -> Result<> {
            if constexpr (std::is_same_v<Owner, ChardevConfig>)
              return parse_value(config.*Member, option, text);
            else
              return parse_value(std::get<Owner>(config.backend).*Member, option, text);
          }};
}

Result<> set_reconnect_seconds(ChardevConfig& config, std::string_view name, std::string_view text) {
  std::uint16_t seconds = 0;
  DOPPEL_TRY(parse_value(seconds, name, text));
  std::get<SocketBackend>(config.backend).reconnect_ms = seconds * 1000U;
  return {};
}

constexpr std::array kCommonOptions = {
    row<&ChardevConfig::mux>("mux", "share it among several frontends, switched with Ctrl-A c"),
    row<&ChardevConfig::logfile>("logfile", "keep a copy of all output in this file"),
    row<&ChardevConfig::logappend>("logappend", "add to the log file rather than replacing it"),
};
constexpr std::array kFileOptions = {
    row<&FileBackend::path>("path", "the file that receives the output"),
    row<&FileBackend::append>("append", "add to the file rather than replacing it"),
    row<&FileBackend::input_path>("input-path", "a file to read the input from"),
};
constexpr std::array kPipeOptions = {row<&PipeBackend::path>("path", "PATH.in and PATH.out, or PATH for both ways")};
constexpr std::array kPtyOptions = {row<&PtyBackend::path>("path", "a symbolic link to make to the terminal")};
constexpr std::array kRingbufOptions = {row<&RingbufBackend::size>("size", "bytes kept, a power of two")};
constexpr std::array kSerialOptions = {row<&SerialBackend::path>("path", "the host's terminal device")};
constexpr std::array kStdioOptions = {
    row<&StdioBackend::signal>("signal", "let Ctrl-C and Ctrl-Z act on the emulator")};
constexpr std::array kSocketOptions = {
    row<&SocketBackend::path>("path", "a Unix socket"),
    row<&SocketBackend::abstract>("abstract", "PATH is a name in the abstract namespace"),
    row<&SocketBackend::tight>("tight", "do not pad the abstract name with zeroes"),
    row<&SocketBackend::host>("host", "the TCP host to connect to, or the address to listen on"),
    row<&SocketBackend::port>("port", "the TCP port or service name"),
    row<&SocketBackend::to>("to", "as a server, the last port to try"),
    row<&SocketBackend::ipv4>("ipv4", "use IPv4"),
    row<&SocketBackend::ipv6>("ipv6", "use IPv6"),
    row<&SocketBackend::nodelay>("nodelay", "send small TCP segments at once"),
    row<&SocketBackend::fd>("fd", "an open socket, listening if server=on"),
    row<&SocketBackend::server>("server", "listen rather than connect"),
    row<&SocketBackend::wait>("wait", "as a server, wait for the first client before the machine starts"),
    row<&SocketBackend::telnet>("telnet", "speak the telnet protocol"),
    ChardevOption{"reconnect", "number", "as a client, seconds until a lost connection is tried again",
                  &set_reconnect_seconds},
    row<&SocketBackend::reconnect_ms>("reconnect-ms", "the same in milliseconds"),
};
constexpr std::array kUdpOptions = {
    row<&UdpBackend::host>("host", "the remote host"),
    row<&UdpBackend::port>("port", "the remote port"),
    row<&UdpBackend::local_address>("localaddr", "the local address"),
    row<&UdpBackend::local_port>("localport", "the local port"),
    row<&UdpBackend::ipv4>("ipv4", "use IPv4"),
    row<&UdpBackend::ipv6>("ipv6", "use IPv6"),
};

template <class T>
Backend make() {
  return T{};
}

constexpr std::array kBackends = {
    ChardevBackendInfo{"file", "output to a file", &make<FileBackend>, kFileOptions},
    ChardevBackendInfo{"null", "drops all output, gives no input", &make<NullBackend>, {}},
    ChardevBackendInfo{"pipe", "named pipes", &make<PipeBackend>, kPipeOptions},
    ChardevBackendInfo{"pty", "a new pseudo-terminal", &make<PtyBackend>, kPtyOptions},
    ChardevBackendInfo{"ringbuf", "the last output, kept in memory", &make<RingbufBackend>, kRingbufOptions},
    ChardevBackendInfo{"serial", "a serial port of the host", &make<SerialBackend>, kSerialOptions},
    ChardevBackendInfo{"socket", "a TCP or Unix socket", &make<SocketBackend>, kSocketOptions},
    ChardevBackendInfo{"stdio", "the terminal Doppel runs in", &make<StdioBackend>, kStdioOptions},
    ChardevBackendInfo{"udp", "UDP datagrams", &make<UdpBackend>, kUdpOptions},
    ChardevBackendInfo{"vc", "a virtual text console", &make<VcBackend>, {}},
};

const ChardevBackendInfo* find_info(const ChardevConfig& config) {
  for (const auto& info : kBackends)
    if (info.make().index() == config.backend.index()) return &info;
  return nullptr;
}

Result<> check(const FileBackend& file) {
  if (file.path.empty()) return fail(ErrorKind::kInvalidArgument, "a file chardev needs 'path'");
  return {};
}
Result<> check(const PipeBackend& pipe) {
  if (pipe.path.empty()) return fail(ErrorKind::kInvalidArgument, "a pipe chardev needs 'path'");
  return {};
}
Result<> check(const SerialBackend& serial) {
  if (serial.path.empty()) return fail(ErrorKind::kInvalidArgument, "a serial chardev needs 'path'");
  return {};
}
Result<> check(const UdpBackend& udp) {
  if (udp.port.empty()) return fail(ErrorKind::kInvalidArgument, "a udp chardev needs 'port'");
  return {};
}
Result<> check(const RingbufBackend& ring) {
  if (!std::has_single_bit(ring.size) || ring.size > (std::uint64_t{1} << 30U))
    return fail(ErrorKind::kInvalidArgument, "the size of a ringbuf chardev must be a power of two up to 1G, not {}",
                ring.size);
  return {};
}
Result<> check(const SocketBackend& socket) {
  const bool is_unix = !socket.path.empty();
  const bool tcp = !socket.host.empty() || !socket.port.empty();
  if (int{is_unix} + int{tcp} + int{socket.fd >= 0} != 1)
    return fail(ErrorKind::kInvalidArgument, "a socket chardev needs one of 'path', 'host' with 'port', and 'fd'");
  if (tcp && socket.port.empty()) return fail(ErrorKind::kInvalidArgument, "a TCP socket chardev needs 'port'");
  if (socket.wait.has_value() && !socket.server)
    return fail(ErrorKind::kInvalidArgument, "'wait' is only for a socket chardev with server=on");
  if (socket.reconnect_ms != 0 && socket.server)
    return fail(ErrorKind::kInvalidArgument, "'reconnect' is only for a socket chardev with server=off");
  if (socket.reconnect_ms != 0 && socket.fd >= 0)
    return fail(ErrorKind::kInvalidArgument, "'reconnect' cannot be combined with 'fd'");
  return {};
}
template <class T>
Result<> check(const T& /*backend*/) {
  return {};
}

}  // namespace

std::span<const ChardevBackendInfo> chardev_backends() {
  return kBackends;
}

std::span<const ChardevOption> common_chardev_options() {
  return kCommonOptions;
}

std::string_view backend_name(const ChardevConfig& config) {
  if (std::holds_alternative<NoBackend>(config.backend)) return "none";
  if (std::holds_alternative<ExistingBackend>(config.backend)) return "chardev";
  const auto* info = find_info(config);
  return info != nullptr ? info->name : "unknown";
}

Result<ChardevConfig> make_chardev_config(std::string_view name, std::string id) {
  NearestName nearest(name);
  for (const auto& info : kBackends) {
    if (info.name == name) return ChardevConfig{.id = std::move(id), .backend = info.make()};
    nearest.offer(info.name);
  }
  return fail(ErrorKind::kNotFound, "there is no chardev backend '{}'{}", name, nearest.suggestion());
}

Result<> set_chardev_option(ChardevConfig& config, std::string_view name, std::string_view text) {
  const auto* info = find_info(config);
  const auto own = info != nullptr ? info->options : std::span<const ChardevOption>{};
  NearestName nearest(name);
  for (const auto options : {own, common_chardev_options()})
    for (const auto& option : options) {
      if (option.name == name) return option.set(config, name, text);
      nearest.offer(option.name);
    }
  return fail(ErrorKind::kNotFound, "chardev backend '{}' has no option '{}'{}", backend_name(config), name,
              nearest.suggestion());
}

Result<> check_chardev_config(const ChardevConfig& config) {
  return std::visit([](const auto& backend) { return check(backend); }, config.backend);
}

}  // namespace doppel::chardev
