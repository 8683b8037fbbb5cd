// `doppel-io`: reads and writes parts of disk images, with qemu-io's commands and output.
#pragma once

#include <span>
#include <string>

namespace doppel::io {

/// The whole program, ARGUMENTS without its name; the process's exit status.
int io_main(std::span<const std::string> arguments);

}  // namespace doppel::io
