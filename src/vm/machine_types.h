// The machine types of `-machine help`, as a table.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "accel/accelerator.h"
#include "base/error.h"

namespace doppel::vm {

enum class MachineKind : std::uint8_t {
  kNone,     // no hardware: for asking questions of the program
  kPc,       // i440FX + PIIX3
  kMicrovm,  // a slim board without PCI
};

struct MachineType {
  std::string_view name;
  std::string_view description;
  MachineKind kind = MachineKind::kPc;
  std::string_view alias{};  // a second name, or empty
  bool is_default = false;
  unsigned max_cpus = 255;
  accel::IrqchipMode irqchip = accel::IrqchipMode::kKernel;  // unless kernel-irqchip= says otherwise
};

/// In the order `-machine help` lists them.
std::span<const MachineType> machine_types();

/// By name or alias; an unknown one is an error that names the nearest.
Result<const MachineType*> find_machine_type(std::string_view name);

}  // namespace doppel::vm
