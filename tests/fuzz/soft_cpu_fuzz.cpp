// The software processor: any code in any mode, on any page tables, with devices that answer anything.
#include "fuzz/random_guest.h"

using namespace doppel;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::FuzzInput input(data, size);
  fuzz::RandomGuest(input).run();
  return 0;
}
