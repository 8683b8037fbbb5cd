#include "tools/img/img_main.h"

#include <fmt/core.h>

#include <cstdlib>

#include "base/text.h"
#include "tools/img/command.h"

namespace doppel::img {
namespace {

const Command* const kCommands[] = {&kBench, &kCheck, &kCommit,  &kCompare, &kConvert, &kCreate,  &kDd,
                                    &kInfo,  &kMap,   &kMeasure, &kRebase,  &kResize,  &kSnapshot};
// What qemu-img has besides.
constexpr std::string_view kAbsent[] = {"amend", "bitmap"};

int wrong(std::string_view text) {
  fmt::print(stderr, "doppel-img: {}\nTry 'doppel-img --help' for more information\n", text);
  return EXIT_FAILURE;
}

int help() {
  fmt::print("usage: doppel-img COMMAND [OPTIONS]...\n\n");
  for (const Command* command : kCommands) fmt::print("  {} {}\n", command->name, command->usage);
  fmt::print("\nFormats: qcow2 raw. Options and output are qemu-img's; docs/disks.md tells more.\n");
  return EXIT_SUCCESS;
}

int run(const Command& command, std::span<const std::string> arguments) {
  const auto parsed = Arguments::parse(command.options, arguments);
  if (!parsed) return wrong(fmt::format("{}: {}", command.name, parsed.error().describe()));
  Session session;
  const auto status = command.run(session, *parsed);
  if (status) return *status;
  fmt::print(stderr, "doppel-img: {}\n", status.error().describe());
  return command.name == "compare" ? 2 : EXIT_FAILURE;  // there 1 says that the images differ
}

}  // namespace

int img_main(std::span<const std::string> arguments) {
  if (arguments.empty()) return wrong("a command is missing");
  const std::string& name = arguments[0];
  if (name == "--help" || name == "-h" || name == "help") return help();
  if (name == "--version" || name == "-V") {
    fmt::print("doppel-img version {}\n", DOPPEL_VERSION);
    return EXIT_SUCCESS;
  }
  for (const std::string_view absent : kAbsent)
    if (name == absent) return wrong(fmt::format("the command '{}' is not there yet", name));
  NearestName nearest(name);
  for (const Command* command : kCommands) {
    if (command->name == name) return run(*command, arguments.subspan(1));
    nearest.offer(command->name);
  }
  return wrong(fmt::format("there is no command '{}'{}", name, nearest.suggestion()));
}

}  // namespace doppel::img
