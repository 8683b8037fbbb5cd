// A kernel image as the loader targets draw it: the input's own bytes, or a good image with a few words replaced.
#pragma once

#include "fuzz/fuzz_input.h"
#include "hw/firmware/firmware_test_support.h"
#include "hw/firmware/kernel_loader.h"

namespace doppel::fuzz {

inline hw::Bytes patched_image(FuzzInput& input, hw::Bytes image) {
  const unsigned patches = input.below(12);
  for (unsigned i = 0; i < patches; ++i) {
    const std::uint32_t offset = input.below(image.size() - 4);
    const auto value = input.take<std::uint32_t>();
    if (input.take_bool())
      store_le(image.data() + offset, value);
    else
      image[offset] = static_cast<std::byte>(value);
  }
  return image;
}

/// Both ways of starting FILES, and what they leave in memory.
inline void start_kernel(const hw::KernelFiles& files, std::uint64_t ram) {
  const hw::BootMemory memory{.map = hw::direct_memory_map(ram, 0)};
  hw::test::GuestMemory guest(ram);
  x86::CpuState cpu;
  if (const auto plan = hw::plan_kernel(files, memory))
    require(place(*plan, guest.dma(), cpu).has_value(), "a plan that was made fits into memory");
  hw::FwCfg fw_cfg(guest.dma());
  (void)hw::load_kernel(fw_cfg, files, memory);
}

}  // namespace doppel::fuzz
