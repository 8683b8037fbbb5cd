// Kernels with a PVH entry: ELF files with the Xen note that names a 32-bit physical entry point (Xen's
// docs/misc/pvh.pandoc and public/arch-x86/hvm/start_info.h). Linux's vmlinux is one.
#pragma once

#include "hw/firmware/boot_plan.h"

namespace doppel::hw {

bool is_pvh_image(const Blob& kernel);

Result<BootPlan> plan_pvh(const KernelFiles& files, const BootMemory& memory);

}  // namespace doppel::hw
