#include "vm/machine_types.h"

#include <array>

#include "base/text.h"

namespace doppel::vm {

namespace {

constexpr std::string_view kPcText = "Standard PC (i440FX + PIIX, 1996)";

constexpr MachineType pc(std::string_view name) {
  return {.name = name, .description = kPcText};
}

// Every versioned name QEMU has shipped: libvirt writes them into the guests' definitions, and they must keep starting.
constexpr std::array kTypes = {
    MachineType{.name = "microvm",
                .description = "microvm (i386)",
                .kind = MachineKind::kMicrovm,
                .irqchip = accel::IrqchipMode::kSplit},
    MachineType{.name = "pc-i440fx-7.2", .description = kPcText, .alias = "pc", .is_default = true},
    pc("pc-i440fx-10.2"),
    pc("pc-i440fx-10.1"),
    pc("pc-i440fx-10.0"),
    pc("pc-i440fx-9.2"),
    pc("pc-i440fx-9.1"),
    pc("pc-i440fx-9.0"),
    pc("pc-i440fx-8.2"),
    pc("pc-i440fx-8.1"),
    pc("pc-i440fx-8.0"),
    pc("pc-i440fx-7.1"),
    pc("pc-i440fx-7.0"),
    pc("pc-i440fx-6.2"),
    pc("pc-i440fx-6.1"),
    pc("pc-i440fx-6.0"),
    pc("pc-i440fx-5.2"),
    pc("pc-i440fx-5.1"),
    pc("pc-i440fx-5.0"),
    pc("pc-i440fx-4.2"),
    pc("pc-i440fx-4.1"),
    pc("pc-i440fx-4.0"),
    pc("pc-i440fx-3.1"),
    pc("pc-i440fx-3.0"),
    pc("pc-i440fx-2.12"),
    pc("pc-i440fx-2.11"),
    pc("pc-i440fx-2.10"),
    pc("pc-i440fx-2.9"),
    pc("pc-i440fx-2.8"),
    pc("pc-i440fx-2.7"),
    pc("pc-i440fx-2.6"),
    pc("pc-i440fx-2.5"),
    pc("pc-i440fx-2.4"),
    pc("pc-i440fx-2.3"),
    pc("pc-i440fx-2.2"),
    pc("pc-i440fx-2.1"),
    pc("pc-i440fx-2.0"),
    pc("pc-i440fx-1.7"),
    pc("pc-i440fx-1.6"),
    pc("pc-i440fx-1.5"),
    pc("pc-i440fx-1.4"),
    MachineType{.name = "none", .description = "empty machine", .kind = MachineKind::kNone, .max_cpus = 1},
};

}  // namespace

std::span<const MachineType> machine_types() {
  return kTypes;
}

Result<const MachineType*> find_machine_type(std::string_view name) {
  NearestName nearest(name);
  for (const MachineType& type : kTypes) {
    if (name == type.name || (!type.alias.empty() && name == type.alias)) return &type;
    nearest.offer(type.name);
    if (!type.alias.empty()) nearest.offer(type.alias);
  }
  if (name == "q35" || name.starts_with("pc-q35"))
    return fail(ErrorKind::kUnsupported, "machine type '{}' is not there yet; write '-machine pc'", name);
  return fail(ErrorKind::kNotFound, "there is no machine type '{}'{}; '-machine help' lists them", name,
              nearest.suggestion());
}

}  // namespace doppel::vm
