// Builds a VirtualMachine, a step after the other.
#pragma once

#include <memory>

#include "base/error.h"
#include "hw/machine/board_config.h"
#include "vm/machine_types.h"
#include "vm/virtual_machine.h"
#include "x86/cpu_model.h"
#include "x86/topology.h"

namespace doppel::vm {

class VirtualMachineBuilder {
 public:
  VirtualMachineBuilder(VmConfig config, event::Loop& loop, LogSink& sink, AcceleratorOpener opener);
  Result<std::unique_ptr<VirtualMachine>> build() &&;

 private:
  Result<> read_machine_properties();
  Result<> open_accelerator();
  Result<> choose_irqchip();
  /// What kernel-irqchip= asks for, or the board, as far as the accelerator has it.
  [[nodiscard]] Result<accel::IrqchipMode> wanted_irqchip() const;
  Result<> choose_cpu();
  Result<> create_memory();
  Result<> create_chardevs();
  Result<> open_disks();
  Result<> create_machine();
  Result<> create_vcpus();
  Result<> create_display();
  Result<std::unique_ptr<accel::Vcpu>> create_vcpu(unsigned index);

  [[nodiscard]] hw::MachineParts machine_parts();
  [[nodiscard]] hw::InterruptHardware interrupt_hardware();
  [[nodiscard]] std::vector<hw::CpuSlot> cpu_slots() const;
  Result<hw::BoardConfig> board_config();
  /// -global values for DRIVER, then the device's own.
  [[nodiscard]] hw::DeviceProperties properties_of(const DeviceConfig& device) const;

  std::unique_ptr<VirtualMachine> vm_;
  const AcceleratorOpener opener_;
  const VmConfig& config_;
  const Logger& log_;
  const MachineType* type_ = nullptr;
  hw::PcConfig machine_;
  accel::IrqchipMode irqchip_ = accel::IrqchipMode::kKernel;
  SmpConfig smp_;
  x86::CpuTopology topology_;
  x86::CpuModel cpu_;
  x86::CpuidTable supported_cpuid_;
};

}  // namespace doppel::vm
