// Disk images, by qemu-img's command line.
#include <string>
#include <vector>

#include "tools/img/img_main.h"

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  return doppel::img::img_main(arguments);
}
