// Disk images over the network, by qemu-nbd's command line.
#include <string>
#include <vector>

#include "tools/nbd/nbd_main.h"

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  return doppel::nbd::nbd_main(arguments);
}
