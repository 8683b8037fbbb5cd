// doppel-system-x86_64: from the command line to a running machine and back.
#pragma once

#include <span>
#include <string>

namespace doppel::cli {

/// The whole program, ARGUMENTS without its name; the process's exit status. Errors are one sentence on standard error.
int system_main(std::span<const std::string> arguments);

}  // namespace doppel::cli
