#include "block/image/remote_drivers.h"

#include <fmt/core.h>

#include <array>
#include <string>

#include "block/http/http_node.h"
#include "block/image/graph.h"
#include "block/nbd/nbd_node.h"

namespace doppel::block {
namespace {

using enum OptionType;
using Opened = Result<NodePtr>;

constexpr auto kNbdRows = std::to_array<NodeOptionRow>({
    {.name = "server.type", .type = kChoice, .choices = "inet unix"},
    {.name = "server.host", .type = kText},
    {.name = "server.port", .type = kText},
    {.name = "server.path", .type = kText},
    {.name = "export", .type = kText},
    // QEMU's spelling of before version 2.9, and the way of file names.
    {.name = "host", .type = kText},
    {.name = "port", .type = kText},
    {.name = "path", .type = kText},
    {.name = "filename", .type = kText},
});

/// Where the first of two spellings that is there leads.
std::string either(const NodeOptions& options, std::string_view name, std::string_view old_name) {
  return options.text_or(name, options.text_or(old_name, ""));
}

/// The export as a file name: nbd:HOST:PORT or nbd:unix:PATH.
Result<std::string> nbd_name(const NodeOptions& options) {
  if (const auto filename = options.text("filename")) return *filename;
  const std::string host = either(options, "server.host", "host");
  const std::string path = either(options, "server.path", "path");
  const std::string type = options.text_or("server.type", path.empty() ? "inet" : "unix");
  const std::string address = type == "unix" ? path : host;
  if (address.empty())
    return fail(ErrorKind::kInvalidArgument, "nbd needs {}", type == "unix" ? "server.path=" : "server.host=");
  if (!(type == "unix" ? host : path).empty())
    return fail(ErrorKind::kInvalidArgument, "nbd takes server.path= or server.host=, not both");
  const std::string exported = ":exportname=" + options.text_or("export", "");
  if (type == "unix") return fmt::format("nbd:unix:{}{}", path, exported);
  const std::string port = options.text_or("server.port", options.text_or("port", "10809"));
  const bool is_ipv6 = host.find(':') != std::string::npos;
  return fmt::format("nbd:{}{}{}:{}{}", is_ipv6 ? "[" : "", host, is_ipv6 ? "]" : "", port, exported);
}

Task<Opened> open_nbd(Graph& graph, const Driver& /*driver*/, const NodeOptions& options, OpenRules rules) {
  DOPPEL_CO_ASSIGN(std::string name, nbd_name(options));
  co_return co_await nbd::NbdNode::open(graph.context(), std::move(name), rules.file);
}

constexpr auto kHttpRows = std::to_array<NodeOptionRow>({
    {.name = "url", .type = kText},
    {.name = "filename", .type = kText},
});

Task<Opened> open_http(Graph& graph, const Driver& driver, const NodeOptions& options, OpenRules rules) {
  std::string url = either(options, "url", "filename");
  if (!url.starts_with(fmt::format("{}://", driver.name)))
    co_return fail(ErrorKind::kInvalidArgument, "{0} needs url={0}://HOST/PATH", driver.name);
  co_return co_await http::HttpNode::open(graph.context(), std::move(url), rules.file);
}

constexpr auto kDrivers = std::to_array<Driver>({
    {"nbd", kNbdRows, open_nbd},
    {"http", kHttpRows, open_http},
    {"https", kHttpRows, open_http},
});

}  // namespace

std::span<const Driver> remote_drivers() {
  return kDrivers;
}

}  // namespace doppel::block
