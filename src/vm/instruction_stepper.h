// Carries out single instructions for an accelerator that cannot: on a VM of the software accelerator over the same
// memory.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "accel/accelerator.h"
#include "accel/slot_table.h"
#include "base/log.h"
#include "memory/address_space.h"
#include "vm/vcpu_thread.h"

namespace doppel::vm {

/// Made with the machine, does nothing until first asked. execute() is called by vCPU threads, several at a time.
class InstructionStepper final : public accel::InstructionFallback {
 public:
  InstructionStepper(VcpuBuses buses, Logger log);
  ~InstructionStepper() override;
  InstructionStepper(const InstructionStepper&) = delete;
  InstructionStepper& operator=(const InstructionStepper&) = delete;

  Result<> execute(accel::Vcpu& vcpu, std::span<const std::uint8_t> instruction, x86::CpuState& state) override;

 private:
  Result<accel::Vcpu*> stepper_for(accel::Vcpu& vcpu);
  Result<> start();
  void keep_exchanged(std::vector<x86::Msr>& msrs) const;
  Result<> step(accel::Vcpu& soft);

  const VcpuBuses buses_;
  const Logger log_;
  std::mutex mutex_;  // guards what follows
  std::unique_ptr<accel::Accelerator> accelerator_;
  std::unique_ptr<accel::Vm> vm_;
  std::unique_ptr<accel::SlotTable> slots_;
  std::map<unsigned, std::unique_ptr<accel::Vcpu>> vcpus_;  // by id; each used by its vCPU's thread alone
};

}  // namespace doppel::vm
