#include "accel/soft/system.h"

#include "accel/soft/interpreter/msrs.h"
#include "accel/soft/supported_cpuid.h"
#include "accel/soft/vm.h"

namespace doppel::accel::soft {

Result<std::unique_ptr<Accelerator>> open(const Options& options) {
  return std::make_unique<SoftSystem>(options);
}

SoftSystem::SoftSystem(const Options& options)
    : options_(options),
      capabilities_{.ioeventfd = true,
                    .read_only_memory = true,
                    .dirty_log = true,
                    .msr_exits = true,
                    .msr_filter = true,
                    .guest_debug = true,
                    .nmi = true,
                    .max_vcpus = kMaxVcpus,
                    .max_memory_slots = kMaxMemorySlots},
      cpuid_(soft::supported_cpuid()),
      saved_msrs_(saved_msr_indexes()) {}

Result<std::unique_ptr<Vm>> SoftSystem::create_vm() {
  return std::make_unique<SoftVm>(saved_msrs_, cpuid_, options_);
}

}  // namespace doppel::accel::soft
