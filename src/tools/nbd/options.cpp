#include "tools/nbd/options.h"

#include <algorithm>
#include <functional>
#include <map>

#include "base/text.h"
#include "block/image/create_image.h"
#include "block/image/graph.h"
#include "tools/common/arguments.h"

namespace doppel::nbd {
namespace {

using tools::Arguments;
using tools::OptionRow;

constexpr std::uint64_t kMostPort = 65535;
constexpr std::uint64_t kMostShared = 0x7fff'ffff;

struct HelpRow {
  OptionRow option;
  std::string_view value;  // what the help calls it
  std::string_view help;   // empty: a row that the help leaves out
};

constexpr HelpRow kRows[] = {
    {{'h', "help", false}, "", "show this text"},
    {{'V', "version", false}, "", "show the version"},
    {{'p', "port", true}, "PORT", "TCP port to listen on (10809)"},
    {{'b', "bind", true}, "ADDRESS", "address to listen on (0.0.0.0)"},
    {{'k', "socket", true}, "PATH", "listen on a Unix socket instead"},
    {{'e', "shared", true}, "NUM", "clients at a time (1); 0: up to 128"},
    {{'t', "persistent", false}, "", "go on when the last client has left"},
    {{'v', "verbose", false}, "", "tell what is served, and where"},
    {{'x', "export-name", true}, "NAME", "name of FILE's export (empty)"},
    {{'D', "description", true}, "TEXT", "description of FILE's export"},
    {{0, "export", true}, "name=NAME,file=FILE,...", "one more export, with format=, description=, read-only=,"},
    {{0, "tls-creds", true}, "ID", "clients must use TLS, with the credentials of --object"},
    {{0, "object", true}, "TYPE,id=ID,...", "secret, throttle-group; tls-creds-x509 or tls-creds-psk, with dir=,"},
    {{0, "fork", false}, "", "go to the background once the server listens"},
    {{0, "pid-file", true}, "PATH", "file for the process id"},
    {{'o', "offset", true}, "OFFSET", "serve the image from OFFSET on"},
    {{'A', "allocation-depth", false}, "", "offer the context qemu:allocation-depth"},
    {{'L', "list", false}, "", ""},
    {{'f', "format", true}, "FORMAT", "format of the image (by its first bytes)"},
    {{'r', "read-only", false}, "", "clients may not write"},
    {{'s', "snapshot", false}, "", "writes go to a temporary file and are lost"},
    {{'l', "load-snapshot", true}, "SNAPSHOT", "serve an internal snapshot, read-only"},
    {{'n', "nocache", false}, "", "the same as --cache=none"},
    {{0, "cache", true}, "MODE", "none, writeback (default), writethrough, directsync, unsafe"},
    {{0, "aio", true}, "MODE", "io_uring, native (both the same here) or threads"},
    {{0, "discard", true}, "MODE", "ignore (default) or unmap"},
    {{'c', "connect", true}, "DEVICE", "serve the host's kernel alone, as DEVICE, such as /dev/nbd0"},
    {{'d', "disconnect", false}, "", "have the kernel detach the device given instead of FILE"},
    {{'B', "bitmap", true}, "BITMAP", "offer the context qemu:dirty-bitmap:BITMAP"},
    {{'P', "partition", true}, "", ""},
    {{'T', "trace", true}, "", ""},
    {{0, "detect-zeroes", true}, "MODE", "off (default), on, or unmap, which needs --discard=unmap"},
    {{0, "image-opts", false}, "", "FILE is options of nodes, such as driver=qcow2,file.filename=..."},
    {{0, "tls-authz", true}, "", ""},
    {{0, "tls-hostname", true}, "", ""},
    {{0, "selinux-label", true}, "", ""},
};

/// What qemu-nbd has and this has not, with what to do instead.
struct AbsentRow {
  std::string_view key;
  std::string_view option;
  std::string_view advice;
};

constexpr AbsentRow kAbsent[] = {
    {"L", "--list", "is not there: nbdinfo --list URI does it"},
    {"P", "--partition", "is not there, as in QEMU: give the partition's --offset"},
    {"T", "--trace", "is not there"},
    {"tls-authz", "--tls-authz", "is not there: with verify-peer=on every certificate of the authority may connect"},
    {"tls-hostname", "--tls-hostname", "is not there"},
    {"selinux-label", "--selinux-label", "is not there"},
};

template <class... Args>
std::unexpected<Error> wrong(fmt::format_string<Args...> format, Args&&... args) {
  return fail(ErrorKind::kInvalidArgument, format, std::forward<Args>(args)...);
}

Result<bool> parse_discard(std::string_view text) {
  if (text == "unmap" || text == "on") return true;
  if (text == "ignore" || text == "off") return false;
  return wrong("discard expects ignore or unmap, not '{}'", text);
}

/// "NAME", or "snapshot.id=ID" or "snapshot.name=NAME".
std::string snapshot_name(const std::string& text) {
  for (const std::string_view prefix : {"snapshot.id=", "snapshot.name="})
    if (text.starts_with(prefix)) return text.substr(prefix.size());
  return text;
}

/// FIRST,key=value,... taken apart at the first comma.
struct Typed {
  std::string type;
  block::OptionTexts rest;
};

Result<Typed> parse_typed(const std::string& text) {
  const std::size_t comma = text.find(',');
  Typed typed{.type = text.substr(0, comma), .rest = {}};
  if (comma == std::string::npos) return typed;
  DOPPEL_ASSIGN(typed.rest, block::parse_options(text.substr(comma + 1)));
  return typed;
}

/// Lays each of TEXTS where its ROWS say; another name is an error.
using Setter = std::function<Result<>(const std::string& value)>;
Result<> distribute(const block::OptionTexts& texts, const std::map<std::string_view, Setter>& rows,
                    std::string_view option) {
  for (const auto& [key, value] : texts) {
    const auto row = rows.find(key);
    if (row == rows.end()) {
      NearestName nearest(key);
      for (const auto& [known, setter] : rows) nearest.offer(known);
      return wrong("{} has no '{}'{}", option, key, nearest.suggestion());
    }
    if (auto set = row->second(value); !set)
      return std::unexpected(std::move(set).error().wrap(fmt::format("{}: {}", option, key)));
  }
  return {};
}

Setter to_text(std::string& target) {
  return [&target](const std::string& value) -> Result<> {
    target = value;
    return {};
  };
}

Setter to_bool(bool& target) {
  return [&target](const std::string& value) -> Result<> {
    DOPPEL_ASSIGN(target, parse_bool(value));
    return {};
  };
}

Setter to_size(std::uint64_t& target) {
  return [&target](const std::string& value) -> Result<> {
    DOPPEL_ASSIGN(target, parse_size(value));
    return {};
  };
}

Result<ExportOptions> parse_export(const std::string& text, ExportOptions disk) {
  DOPPEL_ASSIGN(const block::OptionTexts texts, block::parse_options(text));
  disk.name.clear();
  disk.description.clear();
  DOPPEL_TRY(distribute(texts,
                        {{"name", to_text(disk.name)},
                         {"file", to_text(disk.filename)},
                         {"format", to_text(disk.format)},
                         {"description", to_text(disk.description)},
                         {"read-only", to_bool(disk.read_only)},
                         {"snapshot", to_bool(disk.snapshot)},
                         {"load-snapshot", to_text(disk.internal_snapshot)},
                         {"allocation-depth", to_bool(disk.allocation_depth)},
                         {"bitmap", to_text(disk.bitmap)},
                         {"detect-zeroes", to_text(disk.detect_zeroes)},
                         {"offset", to_size(disk.offset)},
                         {"cache",
                          [&](const std::string& value) -> Result<> {
                            DOPPEL_ASSIGN(disk.cache, block::parse_cache_mode(value));
                            return {};
                          }},
                         {"discard",
                          [&](const std::string& value) -> Result<> {
                            DOPPEL_ASSIGN(disk.discard, parse_discard(value));
                            return {};
                          }}},
                        "--export"));
  if (disk.filename.empty()) return wrong("--export needs file=FILE");
  return disk;
}

Result<TlsOptions> parse_credentials(const Typed& object) {
  TlsOptions tls{.psk = object.type == "tls-creds-psk"};
  const auto endpoint = [&](const std::string& value) -> Result<> {
    if (value != "server" && value != "client") return wrong("expected server or client, not '{}'", value);
    tls.client = value == "client";
    return {};
  };
  tls.client = true;  // QEMU's default
  DOPPEL_TRY(distribute(object.rest,
                        {{"id", to_text(tls.id)},
                         {"dir", to_text(tls.directory)},
                         {"verify-peer", to_bool(tls.verify_peer)},
                         {"priority", to_text(tls.priority)},
                         {"endpoint", endpoint}},
                        "--object"));
  if (tls.id.empty() || tls.directory.empty()) return wrong("--object {} needs id= and dir=", object.type);
  return tls;
}

Result<ImageObject> parse_image_object(Typed object) {
  ImageObject parsed{.type = object.type, .id = object.rest["id"], .options = std::move(object.rest)};
  parsed.options.erase("id");
  if (parsed.id.empty()) return wrong("--object {} needs id=", parsed.type);
  return parsed;
}

/// Those that images refer to go to OPTIONS, of the others the one that --tls-creds names.
Result<> parse_objects(const Arguments& arguments, Options& options) {
  std::vector<TlsOptions> credentials;
  for (const std::string& text : arguments.values("object")) {
    DOPPEL_ASSIGN(Typed object, parse_typed(text));
    if (block::Graph::has_object_type(object.type)) {
      DOPPEL_ASSIGN(ImageObject parsed, parse_image_object(std::move(object)));
      options.objects.push_back(std::move(parsed));
    } else if (object.type == "tls-creds-x509" || object.type == "tls-creds-psk") {
      DOPPEL_ASSIGN(TlsOptions parsed, parse_credentials(object));
      credentials.push_back(std::move(parsed));
    } else {
      return wrong("--object knows tls-creds-x509, tls-creds-psk, secret and throttle-group, not '{}'", object.type);
    }
  }
  const auto id = arguments.value("tls-creds");
  if (!id) return {};
  const auto found = std::ranges::find(credentials, *id, &TlsOptions::id);
  if (found == credentials.end()) return wrong("--tls-creds {}: there is no --object with that id", *id);
  if (found->client) return wrong("--tls-creds {}: a server needs credentials with endpoint=server", *id);
  options.tls = *found;
  return {};
}

/// What the options for FILE say; they are also where each --export begins.
Result<ExportOptions> common_export(const Arguments& arguments) {
  ExportOptions disk{.name = arguments.value_or("x", ""),
                     .description = arguments.value_or("D", ""),
                     .format = arguments.value_or("f", ""),
                     .read_only = arguments.has("r"),
                     .snapshot = arguments.has("s"),
                     .internal_snapshot = snapshot_name(arguments.value_or("l", "")),
                     .allocation_depth = arguments.has("A"),
                     .detect_zeroes = arguments.value_or("detect-zeroes", "off"),
                     .bitmap = arguments.value_or("B", "")};
  if (arguments.has("n") && arguments.has("cache")) return wrong("-n and --cache exclude each other");
  DOPPEL_ASSIGN(disk.cache,
                block::parse_cache_mode(arguments.value_or("cache", arguments.has("n") ? "none" : "writeback")));
  DOPPEL_ASSIGN(disk.discard, parse_discard(arguments.value_or("discard", "ignore")));
  const auto offset = parse_size(arguments.value_or("o", "0"));
  if (!offset) return wrong("--offset expects a number of bytes, not '{}'", arguments.value_or("o", ""));
  disk.offset = *offset;
  return disk;
}

Result<> finish_exports(Options& options) {
  for (std::size_t i = 0; i < options.exports.size(); ++i) {
    const ExportOptions& disk = options.exports[i];
    constexpr std::size_t kMaxText = 4096;  // the protocol's
    if (disk.name.size() > kMaxText || disk.description.size() > kMaxText)
      return wrong("an export's name and description have {} bytes at most", kMaxText);
    if (disk.snapshot && !disk.internal_snapshot.empty())
      return wrong("--snapshot and --load-snapshot exclude each other");
    if (!disk.bitmap.empty() && !disk.internal_snapshot.empty())
      return wrong("--bitmap and --load-snapshot exclude each other: a bitmap is not about an older state");
    if (disk.detect_zeroes != "off" && disk.detect_zeroes != "on" && disk.detect_zeroes != "unmap")
      return wrong("--detect-zeroes expects off, on or unmap, not '{}'", disk.detect_zeroes);
    if (disk.detect_zeroes == "unmap" && !disk.discard) return wrong("--detect-zeroes=unmap needs --discard=unmap");
    if (disk.offset != 0 && disk.format != "raw") return wrong("--offset needs --format raw");
    for (std::size_t j = 0; j < i; ++j)
      if (options.exports[j].name == disk.name) return wrong("two exports have the name '{}'", disk.name);
  }
  return {};
}

/// -c: one export, for the kernel alone.
Result<> check_device(const Arguments& arguments, const Options& options) {
  for (const auto& [key, option] : {std::pair("p", "--port"), std::pair("b", "--bind"), std::pair("k", "--socket"),
                                    std::pair("tls-creds", "--tls-creds"), std::pair("e", "--shared")})
    if (arguments.has(key)) return wrong("--connect excludes {}: it serves the kernel alone", option);
  if (options.exports.size() > 1) return wrong("--connect takes one image, not {}", options.exports.size());
  return {};
}

Result<> parse_connection(const Arguments& arguments, Options& options) {
  options.address = arguments.value_or("b", "");
  options.port = arguments.value_or("p", options.port);
  options.socket_path = arguments.value_or("k", "");
  const auto port = parse_number(options.port);
  if (!port || *port < 1 || *port > kMostPort)
    return wrong("--port expects a number from 1 to {}, not '{}'", kMostPort, options.port);
  if (!options.socket_path.empty() && (arguments.has("p") || arguments.has("b")))
    return wrong("--socket excludes --port and --bind");
  const std::string shared_text = arguments.value_or("e", "1");
  const auto shared = parse_number(shared_text);
  if (!shared || *shared > kMostShared) return wrong("--shared expects a number of clients, not '{}'", shared_text);
  options.most_clients = static_cast<unsigned>(*shared);
  options.persistent = arguments.has("t");
  options.verbose = arguments.has("v");
  options.device = arguments.value_or("c", "");
  options.fork = arguments.has("fork") || (!options.device.empty() && !options.verbose);  // as qemu-nbd does
  options.pid_file = arguments.value_or("pid-file", "");
  DOPPEL_TRY(parse_objects(arguments, options));
  const std::string aio = arguments.value_or("aio", "io_uring");
  if (aio != "io_uring" && aio != "native" && aio != "threads")
    return wrong("--aio expects io_uring, native or threads, not '{}'", aio);
  if (aio == "threads") options.engine = block::EngineChoice::kThreads;
  return {};
}

}  // namespace

Result<Options> parse_options(std::span<const std::string> words) {
  std::vector<OptionRow> rows;
  for (const HelpRow& row : kRows) rows.push_back(row.option);
  DOPPEL_ASSIGN(const Arguments arguments, Arguments::parse(rows, words));
  Options options;
  if (arguments.has("h")) options.action = Options::Action::kHelp;
  if (arguments.has("V")) options.action = Options::Action::kVersion;
  if (options.action != Options::Action::kServe) return options;
  if (arguments.has("d")) {
    if (arguments.rest().size() != 1) return wrong("--disconnect expects one device, such as /dev/nbd0");
    options.action = Options::Action::kDisconnect;
    options.device = arguments.rest()[0];
    return options;
  }
  for (const AbsentRow& absent : kAbsent)
    if (arguments.has(absent.key)) return fail(ErrorKind::kUnsupported, "{} {}", absent.option, absent.advice);
  DOPPEL_TRY(parse_connection(arguments, options));
  DOPPEL_ASSIGN(ExportOptions common, common_export(arguments));
  for (const std::string& text : arguments.values("export")) {
    DOPPEL_ASSIGN(ExportOptions disk, parse_export(text, common));
    options.exports.push_back(std::move(disk));
  }
  if (arguments.rest().size() > 1) return wrong("expecting one image file name, not {}", arguments.rest().size());
  if (arguments.rest().size() == 1) {
    common.filename = arguments.rest()[0];
    if (arguments.has("image-opts")) {
      if (arguments.has("f") || arguments.has("o")) return wrong("--image-opts excludes --format and --offset");
      DOPPEL_ASSIGN(common.nodes, block::NodeOptions::parse(common.filename));
    }
    options.exports.push_back(std::move(common));
  }
  if (options.exports.empty()) return wrong("an image file name is missing");
  DOPPEL_TRY(finish_exports(options));
  if (!options.device.empty()) DOPPEL_TRY(check_device(arguments, options));
  return options;
}

std::string help_text() {
  std::string text =
      "usage: doppel-nbd [OPTION]... FILE\n       doppel-nbd [OPTION]... --export name=NAME,file=FILE...\n"
      "\n";
  for (const HelpRow& row : kRows) {
    if (row.help.empty()) continue;
    const std::string short_form = row.option.short_name != 0 ? fmt::format("-{}, ", row.option.short_name) : "    ";
    const std::string words =
        fmt::format("{}--{}{}{}", short_form, row.option.long_name, row.value.empty() ? "" : "=", row.value);
    text += fmt::format("  {:<28}  {}\n", words, row.help);
    if (row.option.long_name == "export")
      text += fmt::format("  {:<28}  {}\n", "", "snapshot=, load-snapshot=, cache=, discard=, offset=,");
    if (row.option.long_name == "export")
      text += fmt::format("  {:<28}  {}\n", "", "allocation-depth=, bitmap=, detect-zeroes=");
    if (row.option.long_name == "object")
      text += fmt::format("  {:<28}  {}\n", "", "endpoint=server, verify-peer= and priority=");
  }
  return text + "\nOptions are qemu-nbd's; docs/nbd.md tells more.\n";
}

}  // namespace doppel::nbd
