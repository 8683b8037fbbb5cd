// Models that are no real processor: the least that every accelerator can do.
#include <array>

#include "x86/cpu_models.h"

namespace doppel::x86 {
namespace {

constexpr auto kRows = std::to_array<CpuModelRow>({
    {.name = "qemu64",
     .vendor = "AuthenticAMD",
     .signature = Signature{15, 107, 1},
     .level = 13,
     .xlevel = 0x8000000a,
     .model_id = "QEMU Virtual CPU version 2.5+",
     .features = "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 pni "
                 "cx16 syscall nx lm lahf-lm svm"},
    {.name = "qemu32",
     .vendor = "GenuineIntel",
     .signature = Signature{6, 6, 3},
     .level = 4,
     .xlevel = 0x80000004,
     .model_id = "QEMU Virtual CPU version 2.5+",
     .features = "fpu de pse tsc msr pae mce cx8 apic sep pge cmov pat mmx fxsr sse sse2 pni"},
    {.name = "kvm64",
     .vendor = "GenuineIntel",
     .signature = Signature{15, 6, 1},
     .level = 13,
     .xlevel = 0x80000008,
     .model_id = "Common KVM processor",
     .features = "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 "
                 "pni cx16 syscall nx lm"},
    {.name = "kvm32",
     .vendor = "GenuineIntel",
     .signature = Signature{15, 6, 1},
     .level = 5,
     .xlevel = 0x80000008,
     .model_id = "Common 32-bit KVM processor",
     .features = "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 "
                 "pni"},
});

}  // namespace

std::span<const CpuModelRow> generic_models() {
  return kRows;
}

}  // namespace doppel::x86
