// The chapters of the option table, a file each.
#pragma once

#include <span>

#include "cli/command_line.h"

namespace doppel::cli {

std::span<const Option> machine_options();
std::span<const Option> boot_options();
std::span<const Option> device_options();
std::span<const Option> process_options();
/// Options of QEMU that Doppel takes without effect, or refuses with a sentence, until their part is there.
std::span<const Option> absent_options();

/// "-NAME help" was asked for: prints TEXT and ends.
Result<> print(CommandLine& line, std::string text, int status = 0);
/// Is VALUE a call for help: "help" or "?"?
bool wants_help(std::string_view value);

}  // namespace doppel::cli
