// gdb's x87 and vector registers in an XSAVE area of the standard format (SDM 1 10.5.1, 13.4).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/error.h"
#include "gdbstub/registers.h"

namespace doppel::gdbstub {

/// AREA may be too short (reads as zero), or a component may be in its initial state.
void read_x87_area(std::span<const std::byte> area, const Register& reg, std::span<std::byte> out);
Result<> write_x87_area(std::span<std::byte> area, const Register& reg, std::span<const std::byte> value);

}  // namespace doppel::gdbstub
