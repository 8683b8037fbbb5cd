#include "tools/img/img_main.h"

#include <fmt/core.h>

#include <cstdlib>
#include <vector>

#include "base/text.h"
#include "tools/img/command.h"

namespace doppel::img {
namespace {

const Command* const kCommands[] = {&kAmend, &kBench, &kBitmap, &kCheck,   &kCommit, &kCompare, &kConvert, &kCreate,
                                    &kDd,    &kInfo,  &kMap,    &kMeasure, &kRebase, &kResize,  &kSnapshot};

int wrong(std::string_view text) {
  fmt::print(stderr, "doppel-img: {}\nTry 'doppel-img --help' for more information\n", text);
  return EXIT_FAILURE;
}

int help() {
  fmt::print("usage: doppel-img COMMAND [OPTIONS]...\n\n");
  for (const Command* command : kCommands) fmt::print("  {} {}\n", command->name, command->usage);
  fmt::print(
      "\nEach takes --object TYPE,id=ID,key=value and --image-opts, which has key=value options for file names.\n"
      "Formats: luks qcow2 qed raw vdi vhdx vmdk vpc. Options and output are qemu-img's; docs/disks.md tells more.\n");
  return EXIT_SUCCESS;
}

/// What every command takes besides its own options.
constexpr OptionRow kCommonOptions[] = {{0, "object", true}, {0, "image-opts", false}};

Result<int> run_with_objects(Session& session, const Command& command, const Arguments& arguments) {
  for (const std::string& text : arguments.values("object")) DOPPEL_TRY(session.add_object(text));
  return command.run(session, arguments);
}

int run(const Command& command, std::span<const std::string> arguments) {
  std::vector<OptionRow> rows(command.options.begin(), command.options.end());
  rows.insert(rows.end(), std::begin(kCommonOptions), std::end(kCommonOptions));
  const auto parsed = Arguments::parse(rows, arguments);
  if (!parsed) return wrong(fmt::format("{}: {}", command.name, parsed.error().describe()));
  Session session;
  const auto status = run_with_objects(session, command, *parsed);
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
  NearestName nearest(name);
  for (const Command* command : kCommands) {
    if (command->name == name) return run(*command, arguments.subspan(1));
    nearest.offer(command->name);
  }
  return wrong(fmt::format("there is no command '{}'{}", name, nearest.suggestion()));
}

}  // namespace doppel::img
