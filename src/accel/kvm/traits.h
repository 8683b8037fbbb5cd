// Finding out how this host's KVM deviates from real hardware.
#pragma once

#include "accel/accelerator.h"
#include "base/log.h"

namespace doppel::accel::kvm {

/// Runs a tiny guest for each member of Traits. Milliseconds; a probe that fails to run counts as a deviation.
Traits probe_traits(Accelerator& accelerator, const Logger& log);

}  // namespace doppel::accel::kvm
