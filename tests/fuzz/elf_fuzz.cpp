// Kernels in ELF files: PVH and multiboot, with modules.
#include "fuzz/patched_image.h"

using namespace doppel;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::FuzzInput input(data, size);
  hw::KernelFiles files{.kernel_name = "kernel", .kernel = {}, .modules = {}, .command_line = {}};
  const unsigned shape = input.below(8);
  hw::test::ElfOptions options{.is_64 = (shape & 1U) != 0, .multiboot = (shape & 2U) != 0};
  if (!options.multiboot) options.pvh_entry = options.address;
  for (unsigned modules = input.below(4); modules > 0; --modules) {
    const auto bytes = input.take_bytes(input.take<std::uint8_t>());
    files.modules.push_back({hw::Bytes(bytes.begin(), bytes.end()), std::string(input.take_text(input.below(64)))});
  }
  files.command_line = input.take_text(input.take<std::uint8_t>());
  if (shape < 6) {
    files.kernel = fuzz::patched_image(input, hw::test::elf_image(options));
  } else {
    const auto rest = input.take_rest();
    files.kernel = hw::Bytes(rest.begin(), rest.end());
  }
  fuzz::start_kernel(files, 4 * kMiB);
  return 0;
}
