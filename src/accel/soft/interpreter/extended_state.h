// x87, vector and protection-key state as images in memory: for instructions and for whoever saves a processor.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "accel/soft/interpreter/cpu.h"
#include "accel/soft/interpreter/operation.h"
#include "base/error.h"

namespace doppel::accel::soft {

/// CpuState::xsave: the standard format by the guest's CPUID leaf D, as large as CPU's features need.
std::vector<std::byte> save_xsave_image(const Cpu& cpu);
/// Components that the image lacks take their initial configuration. An image smaller than x87, SSE and header is
/// kInvalidArgument; then nothing changes.
Result<> load_xsave_image(Cpu& cpu, std::span<const std::byte> image);

/// The rows of x87_control.cpp, a part of extended_state_operations().
std::span<const OperationRow> x87_control_operations();
/// And of xsave.cpp.
std::span<const OperationRow> xsave_operations();

}  // namespace doppel::accel::soft
