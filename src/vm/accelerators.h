// Choosing the accelerator.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "accel/accelerator.h"
#include "base/error.h"
#include "base/log.h"
#include "vm/config.h"

namespace doppel::vm {

/// The first of WANTED that works; of none given, the best this host has. If none works, the error tells why each.
Result<std::unique_ptr<accel::Accelerator>> open_accelerator(const std::vector<AccelConfig>& wanted, Logger log);

}  // namespace doppel::vm
