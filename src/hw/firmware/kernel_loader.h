// `-kernel`: finds out what kind of kernel a file is and gets it started.
#pragma once

#include <cstdint>
#include <string_view>

#include "hw/firmware/boot_plan.h"
#include "hw/firmware/fw_cfg.h"

namespace doppel::hw {

enum class KernelKind : std::uint8_t { kLinux, kMultiboot, kPvh };

/// Looks for Linux's setup header, then a multiboot header, then a PVH note, as QEMU does.
Result<KernelKind> detect_kernel(const Blob& kernel, std::string_view name);

/// For a machine with firmware: puts the kernel into fw_cfg, with the boot ROM that starts it first in the boot order.
/// MEMORY's map is what the host knows; the ROM replaces it by the firmware's.
Result<> load_kernel(FwCfg& fw_cfg, const KernelFiles& files, const BootMemory& memory);

/// For a machine without firmware: what place() must do.
Result<BootPlan> plan_kernel(const KernelFiles& files, const BootMemory& memory);

}  // namespace doppel::hw
