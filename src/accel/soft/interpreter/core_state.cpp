#include "accel/soft/interpreter/core_state.h"

namespace doppel::accel::soft {

using x86::contains;
using x86::StateParts;

namespace {

/// Calls VISIT(member of the CPU, member of the state) for the system registers; one list for both directions.
template <class SomeCpu, class State, class Visit>
void for_each_system_register(SomeCpu& cpu, State& state, Visit visit) {
  visit(cpu.segment, state.segment);
  visit(cpu.tr, state.tr);
  visit(cpu.ldt, state.ldt);
  visit(cpu.gdt, state.gdt);
  visit(cpu.idt, state.idt);
  visit(cpu.cr0, state.cr0);
  visit(cpu.cr2, state.cr2);
  visit(cpu.cr3, state.cr3);
  visit(cpu.cr4, state.cr4);
  visit(cpu.cr8, state.cr8);
  visit(cpu.efer, state.efer);
  visit(cpu.apic_base, state.apic_base);
}

}  // namespace

void save_core_state(const Cpu& cpu, x86::CpuState& state, StateParts parts) {
  if (contains(parts, StateParts::kRegisters)) {
    state.gpr = cpu.gpr;
    state.rip = cpu.rip;
    state.rflags = cpu.rflags;
  }
  if (contains(parts, StateParts::kSystem))
    for_each_system_register(cpu, state, [](const auto& ours, auto& theirs) { theirs = ours; });
  if (contains(parts, StateParts::kEvents)) state.events = cpu.events;
  if (contains(parts, StateParts::kDebug)) {
    state.dr = cpu.dr;
    state.dr6 = cpu.dr6;
    state.dr7 = cpu.dr7;
  }
}

void load_core_state(Cpu& cpu, const x86::CpuState& state, StateParts parts) {
  if (contains(parts, StateParts::kRegisters)) {
    cpu.gpr = state.gpr;
    cpu.rip = state.rip;
    cpu.rflags = state.rflags | x86::rflags::kFixed;
  }
  if (contains(parts, StateParts::kSystem))
    for_each_system_register(cpu, state, [](auto& ours, const auto& theirs) { ours = theirs; });
  if (contains(parts, StateParts::kEvents)) cpu.events = state.events;
  if (contains(parts, StateParts::kDebug)) {
    cpu.dr = state.dr;
    cpu.dr6 = state.dr6;
    cpu.dr7 = state.dr7;
  }
  if (contains(parts, StateParts::kSystem) || contains(parts, StateParts::kDebug)) cpu.tlb.flush_all();
  cpu.update_mode();
}

}  // namespace doppel::accel::soft
