// CpuState as text, for the monitor's `info registers` and for exits that cannot be handled.
#pragma once

#include <string>
#include <string_view>

#include "x86/cpu_state.h"

namespace doppel::x86 {

/// The registers in the layout of QEMU's `info registers`: general, segment, table, control, debug, x87 and SSE. In
/// 64-bit code the general registers have 16 digits and R8 to R15 and XMM8 to XMM15 appear. Ends with a newline.
std::string format_registers(const CpuState& state);

/// One segment register's line without the newline: "CS =f000 ffff0000 0000ffff 00009b00".
std::string format_segment(std::string_view name, const Segment& segment, bool wide, bool protected_mode,
                           bool long_mode);

}  // namespace doppel::x86
