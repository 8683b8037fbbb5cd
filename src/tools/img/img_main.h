// `doppel-img`: makes, looks at and changes disk images, with qemu-img's commands.
#pragma once

#include <span>
#include <string>

namespace doppel::img {

/// The whole program, ARGUMENTS without its name; the process's exit status.
int img_main(std::span<const std::string> arguments);

}  // namespace doppel::img
