// Choosing the accelerator.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "accel/accelerator.h"
#include "base/error.h"
#include "base/log.h"
#include "vm/config.h"

namespace doppel::vm {

/// How a VirtualMachine comes by its accelerator: open_accelerator(), or a test's own.
using AcceleratorOpener = std::function<Result<std::unique_ptr<accel::Accelerator>>(
    const std::vector<AccelConfig>& wanted, const Logger& log, const ProfileConfig& profile)>;

/// The first of WANTED that works; of none given, the best this host has. If none works, the error tells why each.
Result<std::unique_ptr<accel::Accelerator>> open_accelerator(const std::vector<AccelConfig>& wanted, const Logger& log,
                                                             const ProfileConfig& profile = {});

}  // namespace doppel::vm
