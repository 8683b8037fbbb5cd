// bzImages of all protocols, with and without an initial RAM disk.
#include "fuzz/patched_image.h"

using namespace doppel;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::FuzzInput input(data, size);
  hw::KernelFiles files{.kernel_name = "kernel", .kernel = {}, .modules = {}, .command_line = {}};
  if (input.take_bool()) {
    const auto bytes = input.take_bytes(input.take<std::uint8_t>());
    files.modules.push_back({hw::Bytes(bytes.begin(), bytes.end()), {}});
  }
  files.command_line = input.take_text(input.take<std::uint8_t>());
  hw::test::LinuxOptions options;
  options.protocol = static_cast<std::uint16_t>(0x200 + input.below(17));
  options.loaded_high = input.take_bool();
  options.setup_sectors = 1 + input.below(5);
  options.kernel_size = 1 + input.below(2000);
  if (input.take_bool()) {
    options.cmdline_size = input.take<std::uint32_t>();
    options.initrd_max = input.take<std::uint32_t>();
    options.init_size = input.take<std::uint32_t>();
    options.xloadflags = input.take<std::uint16_t>();
  }
  files.kernel = fuzz::patched_image(input, hw::test::linux_image(options));
  fuzz::start_kernel(files, 32 * kMiB);
  return 0;
}
