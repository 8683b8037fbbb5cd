// A PC in a process, by QEMU's command line.
#include <string>
#include <vector>

#include "cli/system_main.h"

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  return doppel::cli::system_main(arguments);
}
