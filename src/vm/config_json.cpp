#include "vm/config_json.h"

#include <algorithm>
#include <array>
#include <concepts>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

#include "base/text.h"
#include "vm/json_text.h"

namespace doppel::vm {

namespace {

using Json = nlohmann::ordered_json;

// ---- The names of enumerators

template <class E>
struct EnumName {
  E value;
  std::string_view name;
};

template <class E>
struct EnumNames;
template <>
struct EnumNames<RebootAction> {
  static constexpr std::array kRows = {EnumName{RebootAction::kReset, "reset"},
                                       EnumName{RebootAction::kShutdown, "shutdown"}};
};
template <>
struct EnumNames<ShutdownAction> {
  static constexpr std::array kRows = {EnumName{ShutdownAction::kPowerOff, "poweroff"},
                                       EnumName{ShutdownAction::kPause, "pause"}};
};
template <>
struct EnumNames<PanicAction> {
  static constexpr std::array kRows = {EnumName{PanicAction::kShutdown, "shutdown"},
                                       EnumName{PanicAction::kExitFailure, "exit-failure"},
                                       EnumName{PanicAction::kPause, "pause"}, EnumName{PanicAction::kNone, "none"}};
};
template <>
struct EnumNames<DisplayKind> {
  static constexpr std::array kRows = {EnumName{DisplayKind::kNone, "none"}, EnumName{DisplayKind::kCurses, "curses"}};
};
template <>
struct EnumNames<memory::RamKind> {
  static constexpr std::array kRows = {EnumName{memory::RamKind::kAnonymous, "ram"},
                                       EnumName{memory::RamKind::kMemfd, "memfd"},
                                       EnumName{memory::RamKind::kFile, "file"}};
};
template <>
struct EnumNames<memory::NumaPolicy> {
  static constexpr std::array kRows = {
      EnumName{memory::NumaPolicy::kDefault, "default"}, EnumName{memory::NumaPolicy::kPreferred, "preferred"},
      EnumName{memory::NumaPolicy::kBind, "bind"}, EnumName{memory::NumaPolicy::kInterleave, "interleave"}};
};

// ---- Each struct's fields, once for both directions: FIELDS is a Writer or a Reader

/// T is S, or const S for writing.
template <class T, class S>
concept Is = std::same_as<std::remove_const_t<T>, S>;

void describe(auto& fields, Is<MachineConfig> auto& machine) {
  fields("type", machine.type);
  fields("properties", machine.properties);
}

void describe(auto& fields, Is<AccelConfig> auto& accel) {
  fields("name", accel.name);
  fields("properties", accel.properties);
}

void describe(auto& fields, Is<SmpConfig> auto& smp) {
  fields("cpus", smp.cpus);
  fields("maxcpus", smp.maxcpus);
  fields("sockets", smp.sockets);
  fields("dies", smp.dies);
  fields("cores", smp.cores);
  fields("threads", smp.threads);
}

void describe(auto& fields, Is<MemoryConfig> auto& memory) {
  fields("size", memory.size);
  fields("slots", memory.slots);
  fields("maxmem", memory.maxmem);
  fields("path", memory.path);
  fields("prealloc", memory.prealloc);
}

void describe(auto& fields, Is<memory::RamOptions> auto& ram) {
  fields("name", ram.name);
  fields("size", ram.size);
  fields("kind", ram.kind);
  fields("path", ram.path);
  fields("offset", ram.file_offset);
  fields("share", ram.shared);
  fields("hugetlb", ram.hugetlb);
  fields("hugetlbsize", ram.huge_page_size);
  fields("prealloc", ram.prealloc);
  fields("prealloc-threads", ram.prealloc_threads);
  fields("merge", ram.merge);
  fields("dump", ram.dump);
  fields("discard-data", ram.discard_data);
  fields("readonly", ram.read_only);
  fields("policy", ram.policy);
  fields("host-nodes", ram.host_nodes);
}

void describe(auto& fields, Is<MemoryBackendConfig> auto& backend) {
  fields("id", backend.id);
  fields("options", backend.options);
}

void describe(auto& fields, Is<NumaNodeConfig> auto& node) {
  fields("id", node.id);
  fields("cpus", node.cpus);
  fields("memdev", node.memdev);
  fields("size", node.size);
}

void describe(auto& fields, Is<NumaDistanceConfig> auto& distance) {
  fields("source", distance.source);
  fields("destination", distance.destination);
  fields("value", distance.value);
}

void describe(auto& fields, Is<NumaConfig> auto& numa) {
  fields("nodes", numa.nodes);
  fields("distances", numa.distances);
}

void describe(auto& fields, Is<BootConfig> auto& boot) {
  fields("kernel", boot.kernel);
  fields("initrd", boot.initrd);
  fields("append", boot.append);
  fields("bios", boot.bios);
  fields("firmware-directories", boot.firmware_directories);
  fields("order", boot.order);
  fields("once", boot.once);
  fields("menu", boot.menu);
  fields("splash-time", boot.splash_time_ms);
  fields("reboot-timeout", boot.reboot_timeout_ms);
  fields("strict", boot.strict);
}

void describe(auto& fields, Is<DriveConfig> auto& drive) {
  fields("id", drive.id);
  fields("file", drive.file);
  fields("format", drive.format);
  fields("cache", drive.cache);
  fields("read-only", drive.read_only);
  fields("snapshot", drive.snapshot);
  fields("discard", drive.discard);
  fields("write-error", drive.write_error);
  fields("read-error", drive.read_error);
  fields("options", drive.options);
}

void describe(auto& fields, Is<NodeConfig> auto& node) {
  fields("options", node.options);
}

void describe(auto& fields, Is<BlockObjectConfig> auto& object) {
  fields("type", object.type);
  fields("id", object.id);
  fields("options", object.options);
}

void describe(auto& fields, Is<IoThreadConfig> auto& thread) {
  fields("id", thread.id);
  fields("thread-pool-max", thread.workers);
}

void describe(auto& fields, Is<DeviceConfig> auto& device) {
  fields("driver", device.driver);
  fields("properties", device.properties);
}

void describe(auto& fields, Is<GlobalConfig> auto& global) {
  fields("driver", global.driver);
  fields("property", global.property);
  fields("value", global.value);
}

void describe(auto& fields, Is<FwCfgFileConfig> auto& file) {
  fields("name", file.name);
  fields("file", file.file);
  fields("text", file.text);
}

void describe(auto& fields, Is<TablesConfig> auto& tables) {
  fields("smbios", tables.smbios);
  fields("acpi", tables.acpi);
}

void describe(auto& fields, Is<RtcConfig> auto& rtc) {
  fields("base", rtc.base);
  fields("clock", rtc.clock);
  fields("slew", rtc.slew);
}

void describe(auto& fields, Is<SleepConfig> auto& sleep) {
  fields("s3", sleep.s3);
  fields("s4", sleep.s4);
}

void describe(auto& fields, Is<ActionConfig> auto& action) {
  fields("reboot", action.reboot);
  fields("shutdown", action.shutdown);
  fields("panic", action.panic);
  fields("watchdog", action.watchdog);
}

void describe(auto& fields, Is<ProfileConfig> auto& profile) {
  fields("perf-map", profile.perf_map);
  fields("jit-dump", profile.jit_dump);
}

void describe(auto& fields, Is<DisplayConfig> auto& display) {
  fields("kind", display.kind);
}

void describe(auto& fields, Is<ProcessConfig> auto& process) {
  fields("name", process.name);
  fields("debug-threads", process.debug_threads);
  fields("start-paused", process.start_paused);
  fields("gdb", process.gdb);
  fields("pid-file", process.pid_file);
  fields("daemonize", process.daemonize);
}

// The character backends, with the keys of -chardev.

template <class T>
concept WithoutFields = Is<T, chardev::NullBackend> || Is<T, chardev::VcBackend> || Is<T, chardev::NoBackend>;

void describe(auto& /*fields*/, WithoutFields auto& /*backend*/) {}

void describe(auto& fields, Is<chardev::ExistingBackend> auto& existing) {
  fields("chardev", existing.id);
}

void describe(auto& fields, Is<chardev::StdioBackend> auto& stdio) {
  fields("signal", stdio.signal);
}

void describe(auto& fields, Is<chardev::FileBackend> auto& file) {
  fields("path", file.path);
  fields("append", file.append);
  fields("input-path", file.input_path);
}

template <class T>
concept PathAlone = Is<T, chardev::PtyBackend> || Is<T, chardev::PipeBackend> || Is<T, chardev::SerialBackend>;

void describe(auto& fields, PathAlone auto& backend) {
  fields("path", backend.path);
}

void describe(auto& fields, Is<chardev::SocketBackend> auto& socket) {
  fields("path", socket.path);
  fields("abstract", socket.abstract);
  fields("tight", socket.tight);
  fields("host", socket.host);
  fields("port", socket.port);
  fields("to", socket.to);
  fields("ipv4", socket.ipv4);
  fields("ipv6", socket.ipv6);
  fields("nodelay", socket.nodelay);
  fields("fd", socket.fd);
  fields("server", socket.server);
  fields("wait", socket.wait);
  fields("telnet", socket.telnet);
  fields("reconnect-ms", socket.reconnect_ms);
}

void describe(auto& fields, Is<chardev::UdpBackend> auto& udp) {
  fields("host", udp.host);
  fields("port", udp.port);
  fields("localaddr", udp.local_address);
  fields("localport", udp.local_port);
  fields("ipv4", udp.ipv4);
  fields("ipv6", udp.ipv6);
}

void describe(auto& fields, Is<chardev::RingbufBackend> auto& ring) {
  fields("size", ring.size);
}

void describe(auto& fields, Is<chardev::ChardevConfig> auto& config) {
  fields("id", config.id);
  fields.backend("backend", config);  // a reader knows from here on which fields follow
  std::visit([&](auto& backend) { describe(fields, backend); }, config.backend);
  fields("mux", config.mux);
  fields("monitor", config.monitor);
  fields("logfile", config.logfile);
  fields("logappend", config.logappend);
}

void describe(auto& fields, Is<VmConfig> auto& config) {
  fields("machine", config.machine);
  fields("accelerators", config.accelerators);
  fields("cpu", config.cpu);
  fields("smp", config.smp);
  fields("memory", config.memory);
  fields("memory-backends", config.memory_backends);
  fields("numa", config.numa);
  fields("boot", config.boot);
  fields("uuid", config.uuid);
  fields("chardevs", config.chardevs);
  fields("serial", config.serial);
  fields("default-devices", config.default_devices);
  fields("block-objects", config.block_objects);
  fields("iothreads", config.iothreads);
  fields("nodes", config.nodes);
  fields("drives", config.drives);
  fields("devices", config.devices);
  fields("globals", config.globals);
  fields("fw-cfg", config.fw_cfg);
  fields("tables", config.tables);
  fields("rtc", config.rtc);
  fields("sleep", config.sleep);
  fields("action", config.action);
  fields("profile", config.profile);
  fields("display", config.display);
  fields("process", config.process);
}

// ---- Writing

class Writer {
 public:
  template <class T>
  void operator()(std::string_view name, const T& value) {
    object_[std::string(name)] = write(value);
  }
  void backend(std::string_view name, const chardev::ChardevConfig& config) {
    object_[std::string(name)] = std::string(chardev::backend_name(config));
  }

  template <class T>
  static Json write(const T& value) {
    if constexpr (std::is_arithmetic_v<T> || std::is_same_v<T, std::string>) {
      return value;
    } else if constexpr (std::is_enum_v<T>) {
      for (const auto& row : EnumNames<T>::kRows)
        if (row.value == value) return std::string(row.name);
      return nullptr;
    } else {
      Writer inner;
      describe(inner, value);
      return std::move(inner.object_);
    }
  }
  template <class T>
  static Json write(const std::vector<T>& list) {
    Json array = Json::array();
    for (const T& element : list) array.push_back(write(element));
    return array;
  }
  template <class T>
  static Json write(const std::optional<T>& value) {
    return value ? write(*value) : Json(nullptr);
  }
  static Json write(const KeyValues& pairs) {
    Json object = Json::object();
    for (const auto& [key, value] : pairs) object[key] = value;
    return object;
  }

 private:
  Json object_ = Json::object();
};

// ---- Reading

/// "expected WHAT, not VALUE" at PATH; a long value is cut.
std::unexpected<Error> wrong_type(const std::string& path, std::string_view what, const Json& value) {
  constexpr std::size_t kMost = 60;
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() > kMost) text.replace(kMost, std::string::npos, "...");
  return fail(ErrorKind::kInvalidArgument, "{}: expected {}, not {}", path, what, text);
}

class Reader {
 public:
  Reader(const Json& object, std::string path) : object_(object), path_(std::move(path)) {}

  template <class T>
  void operator()(std::string_view name, T& value) {
    if (const Json* const member = take(name)) keep(read(*member, value, place(name)));
  }
  void backend(std::string_view name, chardev::ChardevConfig& config) {
    std::string text = "null";
    (*this)(name, text);
    auto made = chardev::make_chardev_config(text, config.id);
    if (made)
      config.backend = std::move(made->backend);
    else
      keep(std::unexpected(std::move(made).error().wrap(place(name))));
  }

  /// The first thing that was wrong; else a key nobody asked for.
  [[nodiscard]] Result<> finish() && {
    DOPPEL_TRY(std::move(result_));
    for (const auto& [key, value] : object_.items()) {
      NearestName nearest(key);
      for (const std::string_view name : names_) nearest.offer(name);
      if (std::ranges::find(names_, key) == names_.end())
        return fail(ErrorKind::kNotFound, "{}: there is no such key{}", place(key), nearest.suggestion());
    }
    return {};
  }

  template <class T>
  static Result<> read(const Json& json, T& value, const std::string& path) {
    if constexpr (std::is_same_v<T, bool>) {
      if (!json.is_boolean()) return wrong_type(path, "true or false", json);
      value = json.get<bool>();
    } else if constexpr (std::is_same_v<T, std::string>) {
      if (!json.is_string()) return wrong_type(path, "a string", json);
      value = json.get<std::string>();
    } else if constexpr (std::is_integral_v<T>) {
      return read_integer(json, value, path);
    } else if constexpr (std::is_enum_v<T>) {
      return read_enum(json, value, path);
    } else {
      if (!json.is_object()) return wrong_type(path, "an object", json);
      Reader inner(json, path);
      describe(inner, value);
      return std::move(inner).finish();
    }
    return {};
  }
  template <class T>
  static Result<> read(const Json& json, std::vector<T>& list, const std::string& path) {
    if (!json.is_array()) return wrong_type(path, "an array", json);
    list.clear();
    for (const Json& element : json) {
      const std::string place = fmt::format("{}[{}]", path, list.size());
      DOPPEL_TRY(read(element, list.emplace_back(), place));
    }
    return {};
  }
  template <class T>
  static Result<> read(const Json& json, std::optional<T>& value, const std::string& path) {
    value.reset();
    return json.is_null() ? Result<>() : read(json, value.emplace(), path);
  }
  static Result<> read(const Json& json, KeyValues& pairs, const std::string& path) {
    if (!json.is_object()) return wrong_type(path, "an object", json);
    pairs.clear();
    for (const auto& [key, value] : json.items()) {
      if (!value.is_string()) return wrong_type(path + "." + key, "a string", value);
      pairs.emplace_back(key, value.get<std::string>());
    }
    return {};
  }

 private:
  template <class T>
  static Result<> read_integer(const Json& json, T& value, const std::string& path) {
    constexpr T kLeast = std::numeric_limits<T>::min();
    constexpr T kMost = std::numeric_limits<T>::max();
    const bool fits = json.is_number_unsigned()
                          ? std::in_range<T>(json.get<std::uint64_t>())
                          : json.is_number_integer() && std::in_range<T>(json.get<std::int64_t>());
    if (!fits) return wrong_type(path, fmt::format("a number from {} to {}", kLeast, kMost), json);
    value = json.get<T>();
    return {};
  }
  template <class T>
  static Result<> read_enum(const Json& json, T& value, const std::string& path) {
    std::string expected;
    for (const auto& row : EnumNames<T>::kRows) {
      if (json.is_string() && json.get<std::string>() == row.name) {
        value = row.value;
        return {};
      }
      expected += fmt::format("{}'{}'", expected.empty() ? "" : " or ", row.name);
    }
    return wrong_type(path, expected, json);
  }

  [[nodiscard]] std::string place(std::string_view name) const {
    return path_.empty() ? std::string(name) : fmt::format("{}.{}", path_, name);
  }
  const Json* take(std::string_view name) {
    names_.push_back(name);
    const auto found = object_.find(std::string(name));
    return found == object_.end() ? nullptr : &*found;
  }
  void keep(Result<> result) {
    if (result_) result_ = std::move(result);
  }

  const Json& object_;
  std::string path_;
  std::vector<std::string_view> names_;
  Result<> result_;
};

}  // namespace

std::string to_json(const VmConfig& config) {
  return Writer::write(config).dump(2, ' ', false, Json::error_handler_t::replace);
}

Result<VmConfig> config_from_json(std::string_view text) {
  DOPPEL_ASSIGN(const Json json, parse_json(text));
  if (!json.is_object()) return fail(ErrorKind::kInvalidArgument, "a machine's configuration is a JSON object");
  VmConfig config;
  DOPPEL_TRY(Reader::read(json, config, ""));
  return config;
}

}  // namespace doppel::vm
