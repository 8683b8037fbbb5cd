// `doppel`: the front door for people.
#pragma once

#include <span>
#include <string>

namespace doppel::cli {

/// The whole program, ARGUMENTS without its name; the process's exit status.
int doppel_main(std::span<const std::string> arguments);

}  // namespace doppel::cli
