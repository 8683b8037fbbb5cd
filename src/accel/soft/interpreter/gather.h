// Gathers and scatters, element by element (SDM 2C VPGATHERDD and on; 2A 2.3.12, "vector SIB").
#pragma once

#include "accel/soft/interpreter/operation.h"

namespace doppel::accel::soft {

/// The handler for DECODED if it is a gather or scatter, else null.
Handler select_gather(const Decoded& decoded, Instruction& instruction);

}  // namespace doppel::accel::soft
