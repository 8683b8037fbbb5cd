// Unprivileged instructions of the native stubs' kind that need no host: VZEROUPPER, VZEROALL, CLFLUSH, CLWB, CLZERO.
#pragma once

#include "accel/soft/interpreter/operation.h"

namespace doppel::accel::soft {

/// The handler for DECODED if it is one of these, else null.
Handler select_unstubbed(const Decoded& decoded);

}  // namespace doppel::accel::soft
