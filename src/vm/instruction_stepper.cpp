#include "vm/instruction_stepper.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "accel/soft/soft.h"
#include "vm/bus_exits.h"
#include "x86/msr.h"

namespace doppel::vm {

namespace {

using enum x86::StateParts;

constexpr x86::StateParts kGiven = kRegisters | kSystem | kEvents;  // in execute()'s STATE
constexpr x86::StateParts kFetched = kFpu | kMsrs | kDebug;         // exchanged with the vCPU itself

/// One instruction is never this many accesses long; a REP string is one step per element.
constexpr unsigned kMostExits = 4096;

}  // namespace

InstructionStepper::InstructionStepper(VcpuBuses buses, Logger log) : buses_(buses), log_(std::move(log)) {}

InstructionStepper::~InstructionStepper() {
  if (slots_) buses_.memory.remove_listener(*slots_);
}

Result<> InstructionStepper::start() {
  DOPPEL_ASSIGN(accelerator_, accel::soft::open({.log = log_}));
  DOPPEL_ASSIGN(vm_, accelerator_->create_vm());
  slots_ =
      std::make_unique<accel::SlotTable>(*vm_, accel::SlotTable::Options{.capabilities = accelerator_->capabilities()},
                                         [this](const Error& error) { log_.warn("{}", error.describe()); });
  buses_.memory.add_listener(*slots_);
  return {};
}

Result<accel::Vcpu*> InstructionStepper::stepper_for(accel::Vcpu& vcpu) {
  const std::scoped_lock lock(mutex_);
  if (!vm_) DOPPEL_TRY(start());
  std::unique_ptr<accel::Vcpu>& soft = vcpus_[vcpu.id()];
  if (!soft) {
    DOPPEL_ASSIGN(auto fresh, vm_->create_vcpu(vcpu.id()));
    DOPPEL_ASSIGN(const x86::CpuidTable cpuid, vcpu.get_cpuid());
    DOPPEL_TRY(fresh->set_cpuid(cpuid));
    DOPPEL_TRY(fresh->set_debug({.single_step = true}));
    soft = std::move(fresh);
  }
  return soft.get();
}

Result<> InstructionStepper::execute(accel::Vcpu& vcpu, std::span<const std::uint8_t> /*instruction*/,
                                     x86::CpuState& state) {
  DOPPEL_ASSIGN(accel::Vcpu * soft, stepper_for(vcpu));
  DOPPEL_TRY(vcpu.get_state(state, kFetched));
  keep_exchanged(state.msrs);
  DOPPEL_TRY(soft->set_state(state, kGiven | kFetched));
  DOPPEL_TRY(step(*soft));
  DOPPEL_TRY(soft->get_state(state, kGiven | kFetched));
  keep_exchanged(state.msrs);
  return vcpu.set_state(state, kFetched);
}

/// Leaves the registers that both sides have, but for the clocks, which go on meanwhile.
void InstructionStepper::keep_exchanged(std::vector<x86::Msr>& msrs) const {
  const std::vector<std::uint32_t>& known = accelerator_->saved_msrs();
  std::erase_if(msrs, [&known](const x86::Msr& msr) {
    return msr.index == x86::msr::kTsc || msr.index == x86::msr::kTscAdjust || msr.index == x86::msr::kTscDeadline ||
           std::ranges::find(known, msr.index) == known.end();
  });
}

/// Runs SOFT until its one instruction is done.
Result<> InstructionStepper::step(accel::Vcpu& soft) {
  for (unsigned exits = 0; exits < kMostExits; ++exits) {
    DOPPEL_ASSIGN(accel::VcpuExit exit, soft.run());
    if (auto* port = std::get_if<accel::IoExit>(&exit))
      carry_out(buses_.ports, *port);
    else if (auto* access = std::get_if<accel::MmioExit>(&exit))
      carry_out(buses_.memory, *access);
    else if (std::holds_alternative<accel::DebugExit>(exit))
      return {};
    else if (!std::holds_alternative<accel::InterruptedExit>(exit))
      return fail(ErrorKind::kUnsupported, "the interpreter stopped for another reason: {}", accel::describe(exit));
  }
  return fail(ErrorKind::kInternal, "an instruction made more than {} accesses", kMostExits);
}

}  // namespace doppel::vm
