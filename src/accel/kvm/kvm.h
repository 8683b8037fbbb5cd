// The accelerator over the kernel's /dev/kvm.
//
// A library of its own: it needs nothing of Doppel but base, event::EventFd, memory, x86 and the contract in accel/.
//
//   DOPPEL_ASSIGN(auto kvm, accel::kvm::open());
//   DOPPEL_ASSIGN(auto vm, kvm->create_vm());
//   DOPPEL_TRY(vm->set_memory_slot({.slot = 0, .address = {0}, .size = 1 << 20, .host = memory}));
//   DOPPEL_ASSIGN(auto vcpu, vm->create_vcpu(0));
//   while (true) { DOPPEL_ASSIGN(auto exit, vcpu->run()); … }
//
// What goes beyond the contract:
//  - kick() uses the signal SIGRTMIN: opening installs a handler for it that does nothing, and a thread unblocks it the
//    first time that it runs a vCPU.
//  - With the interrupt controllers in user space KVM knows no halted processor. A vCPU whose MpState is set to kHalted
//    answers run() with HaltExit until something is injected or its registers or MpState are set.
//  - Single steps hold back interrupts where the kernel can, so that a step does not end in a handler.
#pragma once

#include <memory>
#include <string>

#include "accel/accelerator.h"
#include "base/error.h"
#include "base/log.h"

namespace doppel::accel::kvm {

struct Options {
  std::string path = "/dev/kvm";
  Logger log;
};

/// Fails with one sentence that says what is wrong with the host and what to do about it.
[[nodiscard]] Result<std::unique_ptr<Accelerator>> open(const Options& options = {});

}  // namespace doppel::accel::kvm
