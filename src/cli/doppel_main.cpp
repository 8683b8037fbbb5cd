#include "cli/doppel_main.h"

#include <fmt/core.h>
#include <cstdio>
#include <cstdlib>

#include <string_view>

#include "cli/doctor.h"

namespace doppel::cli {

namespace {

constexpr std::string_view kUsage =
    "usage: doppel doctor            tell what this host offers\n"
    "\n"
    "doppel-system-x86_64 runs machines by QEMU's command line.\n";

}  // namespace

int doppel_main(std::span<const std::string> arguments) {
  if (arguments.size() == 1 && arguments[0] == "doctor") {
    fmt::print("{}", format_checkup(examine_host()));
    return EXIT_SUCCESS;
  }
  const bool asked = !arguments.empty() && (arguments[0] == "help" || arguments[0] == "--help" || arguments[0] == "-h");
  fmt::print(asked ? stdout : stderr, "{}", kUsage);
  return asked ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace doppel::cli
