// What the user asked for: one character backend as plain data, and the table of all backends and their options that
// drives `-chardev`, `-chardev help` and introspection.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "base/error.h"

namespace doppel::chardev {

/// Drops what is written, never sends.
struct NullBackend {};
/// A virtual text console; without a graphical display it behaves like null.
struct VcBackend {};
/// `-serial none`: the port shall not exist. Not for create_chardev().
struct NoBackend {};
/// `-serial chardev:ID`: use the backend of that name. Not for create_chardev().
struct ExistingBackend {
  std::string id{};
};
struct StdioBackend {
  bool signal = true;  // Ctrl-C and Ctrl-Z act on Doppel rather than reaching the guest
};
struct FileBackend {
  std::string path{};
  bool append = false;
  std::string input_path{};
};
struct PtyBackend {
  std::string path{};  // a symbolic link to make
};
struct PipeBackend {
  std::string path{};  // PATH.in and PATH.out, or PATH for both
};
/// A terminal device of the host, such as /dev/ttyS0.
struct SerialBackend {
  std::string path{};
};
/// Exactly one of path, host and port, or fd.
struct SocketBackend {
  std::string path{};
  std::string host{};
  std::string port{};
  std::int32_t fd = -1;
  bool abstract = false;
  bool tight = true;  // the abstract name is not padded with zeroes
  bool server = false;
  std::optional<bool> wait{};  // a server waits for its first client unless told not to
  bool telnet = false;
  bool nodelay = false;
  bool ipv4 = false;  // neither or both: any
  bool ipv6 = false;
  std::uint16_t to = 0;  // the last port to try to listen on
  std::uint32_t reconnect_ms = 0;
};
struct UdpBackend {
  std::string host = "localhost";
  std::string port{};
  std::string local_address{};
  std::string local_port{};
  bool ipv4 = false;
  bool ipv6 = false;
};
struct RingbufBackend {
  std::uint64_t size = 65536;  // a power of two
};

using Backend = std::variant<NullBackend, VcBackend, NoBackend, ExistingBackend, StdioBackend, FileBackend, PtyBackend,
                             PipeBackend, SerialBackend, SocketBackend, UdpBackend, RingbufBackend>;

struct ChardevConfig {
  std::string id{};
  Backend backend{};
  bool mux = false;      // several frontends share it, switched by an escape key
  bool monitor = false;  // legacy "mon:": the monitor is to be one of the frontends
  std::string logfile{};
  bool logappend = false;
};

/// One option: how `-chardev help` shows it and where its text lands.
struct ChardevOption {
  std::string_view name;
  std::string_view type;  // "str", "bool", "number", "size"
  std::string_view help;
  Result<> (*set)(ChardevConfig& config, std::string_view name, std::string_view text);
};

struct ChardevBackendInfo {
  std::string_view name;
  std::string_view help;
  Backend (*make)();
  std::span<const ChardevOption> options;
};

/// Every backend that `-chardev NAME,...` knows, in alphabetical order.
std::span<const ChardevBackendInfo> chardev_backends();
/// The options that all backends share.
std::span<const ChardevOption> common_chardev_options();

/// The name of CONFIG's backend in that table.
std::string_view backend_name(const ChardevConfig& config);

/// An empty configuration for backend NAME.
Result<ChardevConfig> make_chardev_config(std::string_view name, std::string id);
/// Takes over one `name=text`. Errors say what is expected.
Result<> set_chardev_option(ChardevConfig& config, std::string_view name, std::string_view text);
/// Checks what single options cannot: missing and contradicting ones.
Result<> check_chardev_config(const ChardevConfig& config);

}  // namespace doppel::chardev
