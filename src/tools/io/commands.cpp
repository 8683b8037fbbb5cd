// Everything but reading and writing.
#include "base/bits.h"
#include "base/text.h"
#include "tools/common/format.h"
#include "tools/io/report.h"
#include "tools/io/shell.h"

namespace doppel::io {
namespace {

constexpr std::size_t kUnlimited = 1000;

constexpr OptionRow kOpenOptions[] = {
    {'r', "", false}, {'s', "", false}, {'C', "", false}, {'n', "", false}, {'k', "", false},
    {'U', "", false}, {'t', "", true},  {'d', "", true},  {'o', "", true},
};
constexpr OptionRow kReopenOptions[] = {{'r', "", false}, {'w', "", false}, {'c', "", true}, {'o', "", true}};
constexpr OptionRow kTruncateOptions[] = {{'m', "", true}};

bool tell(const Error& error) {
  fmt::print(stderr, "doppel-io: {}\n", error.describe());
  return false;
}

bool succeeded(const Result<>& result, std::string_view what) {
  if (!result) print_failure(what, result.error());
  return result.has_value();
}

/// How far from OFFSET on the topmost image has clusters, or has none.
Result<block::BlockStatus> allocation(Image& image, std::uint64_t offset, std::uint64_t end) {
  block::BlockStatus all;
  while (offset < end) {
    DOPPEL_ASSIGN(const block::BlockStatus status, image.run(image.node().block_status(offset, end - offset)));
    if (all.bytes > 0 && status.allocated != all.allocated) break;
    all.allocated = status.allocated;
    all.bytes += status.bytes;
    offset += status.bytes;
  }
  return all;
}

bool map(Shell& shell, const Arguments& /*arguments*/) {
  const std::uint64_t end = shell.image.node().size();
  for (std::uint64_t offset = 0; offset < end;) {
    const auto status = allocation(shell.image, offset, end);
    if (!status) return tell(status.error());
    fmt::print("{} ({:#x}) bytes {} at offset {} ({:#x})\n", size_text(static_cast<double>(status->bytes)),
               status->bytes, status->allocated ? "    allocated" : "not allocated",
               size_text(static_cast<double>(offset)), offset);
    offset += status->bytes;
  }
  return true;
}

bool alloc(Shell& shell, const Arguments& arguments) {
  const auto& words = arguments.rest();
  const auto offset = parse_bytes(words[0]);
  const auto length = words.size() > 1 ? parse_bytes(words[1]) : std::optional<std::uint64_t>(512);
  if (!offset || !length) return false;
  const std::uint64_t size = shell.image.node().size();
  const std::uint64_t end = *offset + std::min(*length, size - std::min(*offset, size));
  std::uint64_t allocated = 0;
  for (std::uint64_t at = *offset; at < end;) {
    const auto status = allocation(shell.image, at, end);
    if (!status) return tell(status.error());
    if (status->allocated) allocated += status->bytes;
    at += status->bytes;
  }
  fmt::print("{}/{} bytes allocated at offset {}\n", allocated, *length, size_text(static_cast<double>(*offset)));
  return true;
}

bool length(Shell& shell, const Arguments& /*arguments*/) {
  fmt::print("{}\n", size_text(static_cast<double>(shell.image.node().size())));
  return true;
}

bool info(Shell& shell, const Arguments& /*arguments*/) {
  const block::NodeInfo facts = shell.image.node().info();
  fmt::print("format name: {}\n", facts.format);
  if (facts.cluster_size != 0) fmt::print("cluster size: {}\n", size_text(static_cast<double>(facts.cluster_size)));
  if (shell.image.qcow2() != nullptr) {
    // The VM state begins behind the last L2 table that the disk needs.
    bool wide = false;
    for (const block::FormatDetail& detail : facts.details)
      wide = wide || (detail.name == "extended l2" && std::get<bool>(detail.value));
    const std::uint64_t table = facts.cluster_size / (wide ? 16 : 8) * facts.cluster_size;
    fmt::print("vm state offset: {}\n", size_text(static_cast<double>(align_up(facts.virtual_size, table))));
  }
  if (facts.details.empty()) return true;
  fmt::print("Format specific information:\n");
  tools::print_details(facts.details, 4);
  return true;
}

bool flush(Shell& shell, const Arguments& /*arguments*/) {
  return succeeded(shell.image.run(shell.image.node().flush()), "flush");
}

bool truncate(Shell& shell, const Arguments& arguments) {
  constexpr std::pair<std::string_view, block::Preallocation> kModes[] = {
      {"off", block::Preallocation::kOff},
      {"metadata", block::Preallocation::kMetadata},
      {"falloc", block::Preallocation::kFalloc},
      {"full", block::Preallocation::kFull},
  };
  if (arguments.rest().size() != 1) return tell(Error(ErrorKind::kInvalidArgument, "truncate: expecting a size"));
  const auto size = parse_bytes(arguments.rest()[0]);
  if (!size) return false;
  const std::string wanted = arguments.value_or("m", "off");
  for (const auto& [name, mode] : kModes) {
    if (wanted != name) continue;
    const auto resized = shell.image.run(shell.image.node().resize(*size, mode));
    return resized || tell(resized.error());
  }
  return tell(Error(ErrorKind::kInvalidArgument, fmt::format("truncate: -m knows no '{}'", wanted)));
}

bool open(Shell& shell, const Arguments& arguments) {
  if (shell.image.is_open()) {
    fmt::print(stderr, "doppel-io: file open already, try 'help close'\n");
    return false;
  }
  for (const std::string_view absent : {"C", "o"})
    if (arguments.has(absent))
      return tell(Error(ErrorKind::kUnsupported, fmt::format("open: -{} is not there", absent)));
  if (arguments.rest().size() != 1) return tell(Error(ErrorKind::kInvalidArgument, "open: expecting a file name"));
  const std::string discards = arguments.value_or("d", "unmap");
  const OpenOptions options{.filename = arguments.rest()[0],
                            .cache = arguments.value_or("t", arguments.has("n") ? "none" : "writeback"),
                            .read_only = arguments.has("r"),
                            .snapshot = arguments.has("s"),
                            .discard = discards == "unmap" || discards == "on",
                            .force_share = arguments.has("U")};
  const auto opened = shell.image.open(options);
  return opened || tell(opened.error());
}

bool close(Shell& shell, const Arguments& /*arguments*/) {
  const auto closed = shell.image.close();
  return closed || tell(closed.error());
}

/// The image is closed and opened again: QEMU changes it in place, which nobody outside can tell apart.
bool reopen(Shell& shell, const Arguments& arguments) {
  if (arguments.has("o")) return tell(Error(ErrorKind::kUnsupported, "reopen: -o is not there"));
  OpenOptions options = shell.image.options();
  if (options.snapshot)
    return tell(Error(ErrorKind::kUnsupported, "reopen: what was written to a snapshot would be lost"));
  if (arguments.has("r")) options.read_only = true;
  if (arguments.has("w")) options.read_only = false;
  options.cache = arguments.value_or("c", options.cache);
  const OpenOptions before = shell.image.options();
  if (const auto closed = shell.image.close(); !closed) return tell(closed.error());
  const auto opened = shell.image.open(options);
  if (opened) return true;
  (void)shell.image.open(before);
  return tell(opened.error());
}

bool sleep(Shell& shell, const Arguments& arguments) {
  const auto milliseconds = parse_number(arguments.rest().empty() ? "" : arguments.rest()[0]);
  if (!milliseconds) return tell(Error(ErrorKind::kInvalidArgument, "sleep: expecting milliseconds"));
  shell.image.sleep(*milliseconds);
  return true;
}

bool quit(Shell& shell, const Arguments& /*arguments*/) {
  shell.finished = true;
  return true;
}

constexpr Command kCommands[] = {
    {"alloc", "", 1, 2, true, "offset [count]", "checks if offset is allocated in the file", {}, alloc},
    {"close", "c", 0, 0, true, "", "close the current open file", {}, close},
    {"flush", "f", 0, 0, true, "", "flush all in-core file state to disk", {}, flush},
    {"info", "i", 0, 0, true, "", "prints information about the current file", {}, info},
    {"length", "l", 0, 0, true, "", "gets the length of the current file", {}, length},
    {"map", "", 0, 1, true, "", "prints the allocated areas of a file", {}, map},
    {"open", "o", 1, kUnlimited, false, "[-rsnkU] [-t cache] [-d discard] path", "open the file specified by path",
     kOpenOptions, open},
    {"quit", "q", 0, kUnlimited, false, "", "exit the program", {}, quit},
    {"reopen", "", 0, kUnlimited, true, "[(-r|-w)] [-c cache]", "reopens an image with new options", kReopenOptions,
     reopen},
    {"sleep", "", 1, 1, false, "", "waits for the given value in milliseconds", {}, sleep},
    {"truncate", "t", 1, 3, true, "[-m prealloc_mode] off", "truncates the current file at the given offset",
     kTruncateOptions, truncate},
};

}  // namespace

std::span<const Command> other_commands() {
  return kCommands;
}

}  // namespace doppel::io
