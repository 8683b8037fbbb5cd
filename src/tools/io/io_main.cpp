#include "tools/io/io_main.h"

#include <fmt/core.h>

#include <cstdlib>
#include <iostream>

#include "tools/io/shell.h"

namespace doppel::io {
namespace {

constexpr OptionRow kOptions[] = {
    {'h', "help", false},    {'V', "version", false},      {'f', "format", true},    {'r', "read-only", false},
    {'n', "nocache", false}, {'s', "snapshot", false},     {'c', "cmd", true},       {'t', "cache", true},
    {'d', "discard", true},  {'U', "force-share", false},  {'m', "misalign", false}, {'k', "native-aio", false},
    {'i', "aio", true},      {'C', "copy-on-read", false}, {'T', "trace", true},     {0, "image-opts", false},
    {0, "object", true},
};
// What qemu-io has besides.
constexpr std::string_view kAbsent[] = {"C", "T", "image-opts", "object"};

constexpr std::string_view kHelp =
    "usage: doppel-io [OPTION]... [-c COMMAND]... [FILE]\n\n"
    "  -c, --cmd=COMMAND    run COMMAND, instead of reading commands from standard input\n"
    "  -f, --format=FORMAT  format of the image (by its first bytes)\n"
    "  -r, --read-only      open it read-only\n"
    "  -s, --snapshot       writes go to a temporary file and are lost\n"
    "  -n, --nocache        the same as -t none\n"
    "  -t, --cache=MODE     writeback (default), none, writethrough, directsync, unsafe\n"
    "  -d, --discard=MODE   ignore or unmap (default)\n"
    "  -i, --aio=MODE       io_uring, native (both the same here) or threads\n"
    "  -U, --force-share    open it even if another program has it open\n"
    "\n'doppel-io -c help' lists the commands. Options and output are qemu-io's.\n";

int wrong(std::string_view text) {
  fmt::print(stderr, "doppel-io: {}\nTry 'doppel-io --help' for more information\n", text);
  return EXIT_FAILURE;
}

/// Commands from standard input, with a prompt as qemu-io shows it.
bool converse(Shell& shell) {
  bool good = true;
  std::string line;
  while (!shell.finished) {
    fmt::print("doppel-io> ");
    (void)std::fflush(stdout);
    if (!std::getline(std::cin, line)) break;
    good = run_command(shell, line) && good;
  }
  return good;
}

int work(const Arguments& arguments) {
  event::Loop loop;
  const bool threads = arguments.value_or("i", "") == "threads";
  block::Context context(loop, threads ? block::EngineChoice::kThreads : block::EngineChoice::kBest);
  Image image(context);
  if (!arguments.rest().empty()) {
    const std::string discards = arguments.value_or("d", "unmap");
    const auto opened = image.open({.filename = arguments.rest()[0],
                                    .format = arguments.value_or("f", ""),
                                    .cache = arguments.value_or("t", arguments.has("n") ? "none" : "writeback"),
                                    .read_only = arguments.has("r"),
                                    .snapshot = arguments.has("s"),
                                    .discard = discards == "unmap" || discards == "on",
                                    .force_share = arguments.has("U")});
    if (!opened) {
      fmt::print(stderr, "doppel-io: can't open {}\n", opened.error().describe());
      return EXIT_FAILURE;
    }
  }
  Shell shell{.image = image};
  bool good = true;
  const auto commands = arguments.values("c");
  for (const std::string& command : commands) {
    if (shell.finished) break;
    good = run_command(shell, command) && good;
    (void)std::fflush(stdout);
  }
  if (commands.empty()) good = converse(shell);
  if (const auto closed = image.close(); !closed) {
    fmt::print(stderr, "doppel-io: {}\n", closed.error().describe());
    good = false;
  }
  return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace

int io_main(std::span<const std::string> words) {
  const auto arguments = Arguments::parse(kOptions, words);
  if (!arguments) return wrong(arguments.error().describe());
  if (arguments->has("h")) {
    fmt::print("{}", kHelp);
    return EXIT_SUCCESS;
  }
  if (arguments->has("V")) {
    fmt::print("doppel-io version {}\n", DOPPEL_VERSION);
    return EXIT_SUCCESS;
  }
  for (const std::string_view absent : kAbsent)
    if (arguments->has(absent)) return wrong(fmt::format("{}{} is not there", absent.size() == 1 ? "-" : "--", absent));
  const std::string discards = arguments->value_or("d", "unmap");
  if (discards != "ignore" && discards != "off" && discards != "unmap" && discards != "on")
    return wrong(fmt::format("--discard expects ignore or unmap, not '{}'", discards));
  if (arguments->rest().size() > 1) return wrong("expecting one image file name");
  return work(*arguments);
}

}  // namespace doppel::io
