// Kernels of the Multiboot Specification, version 0.6.96 ("multiboot 1").
#pragma once

#include <cstdint>
#include <optional>

#include "hw/firmware/boot_plan.h"

namespace doppel::hw {

/// Where the header is, in the first 8 KiB of the file.
std::optional<std::uint64_t> find_multiboot_header(const Blob& kernel);

Result<BootPlan> plan_multiboot(const KernelFiles& files, const BootMemory& memory);

}  // namespace doppel::hw
