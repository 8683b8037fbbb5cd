// A 32-bit instruction as 64-bit code has it (SDM 2A 2.2.1, 2.3, 2.7): what the two modes encode in another way.
#pragma once

#include <Zydis/Zydis.h>

#include <cstdint>
#include <span>

#include "accel/soft/interpreter/operation.h"
#include "accel/soft/interpreter/stub_emitter.h"

namespace doppel::accel::soft {

/// Does the same as DECODED, of 32-bit code, whose bytes are BYTES, but for how its memory operand is found: ModRM is
/// left as it is. DECODED is no instruction that only 32-bit code has.
MachineCode as_long_code(const Decoded& decoded, std::span<const std::uint8_t> bytes);

}  // namespace doppel::accel::soft
