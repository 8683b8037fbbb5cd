// The processor topology: what `-smp` left open, filled in.
#pragma once

#include "base/error.h"
#include "vm/config.h"

namespace doppel::vm {

/// Every field set and consistent: sockets * dies * cores * threads == maxcpus >= cpus >= 1. As QEMU since 6.2: what is
/// left open becomes cores before sockets before threads. LIMIT is the largest maxcpus allowed.
Result<SmpConfig> resolve_smp(SmpConfig smp, unsigned limit);

}  // namespace doppel::vm
