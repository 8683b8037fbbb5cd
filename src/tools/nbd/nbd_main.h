// `doppel-nbd`: serves disk images over NBD, with qemu-nbd's options.
#pragma once

#include <span>
#include <string>

namespace doppel::nbd {

/// The whole program, ARGUMENTS without its name; the process's exit status.
int nbd_main(std::span<const std::string> arguments);

}  // namespace doppel::nbd
