// The friendly front door: `doppel doctor`.
#include <string>
#include <vector>

#include "cli/doppel_main.h"

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  return doppel::cli::doppel_main(arguments);
}
