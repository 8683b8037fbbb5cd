// Parts of disk images, by qemu-io's commands.
#include <string>
#include <vector>

#include "tools/io/io_main.h"

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  return doppel::io::io_main(arguments);
}
