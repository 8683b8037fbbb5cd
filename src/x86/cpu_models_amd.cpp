// AMD's and Hygon's processors, a generation building on the one before.
#include <array>

#include "x86/cpu_models.h"

namespace doppel::x86 {
namespace {

constexpr auto kRows = std::to_array<CpuModelRow>({
    {.name = "athlon",
     .vendor = "AuthenticAMD",
     .signature = Signature{6, 2, 3},
     .level = 2,
     .xlevel = 0x80000008,
     .model_id = "QEMU Virtual CPU version 2.5+",
     .features = "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 mmx fxsr sse sse2 mmxext "
                 "3dnowext 3dnow"},
    {.name = "phenom",
     .vendor = "AuthenticAMD",
     .signature = Signature{16, 2, 3},
     .level = 5,
     .xlevel = 0x8000001a,
     .model_id = "AMD Phenom(tm) 9550 Quad-Core Processor",
     .features = "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 "
                 "pni monitor cx16 popcnt syscall nx mmxext fxsr-opt pdpe1gb rdtscp lm 3dnowext 3dnow lahf-lm svm abm "
                 "sse4a npt"},
    {.name = "Opteron_G1",
     .vendor = "AuthenticAMD",
     .signature = Signature{15, 6, 1},
     .level = 5,
     .xlevel = 0x80000008,
     .model_id = "AMD Opteron 240 (Gen 1 Class Opteron)",
     .features = "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 "
                 "pni syscall nx lm"},
    {.name = "Opteron_G2",
     .parent = "Opteron_G1-v1",
     .xlevel = 0x8000000a,
     .model_id = "AMD Opteron 22xx (Gen 2 Class Opteron)",
     .features = "cx16 lahf-lm svm"},
    {.name = "Opteron_G3",
     .parent = "Opteron_G2-v1",
     .signature = Signature{16, 2, 3},
     .model_id = "AMD Opteron 23xx (Gen 3 Class Opteron)",
     .features = "monitor popcnt rdtscp abm sse4a misalignsse"},
    {.name = "Opteron_G4",
     .parent = "Opteron_G3-v1",
     .signature = Signature{21, 1, 2},
     .level = 13,
     .xlevel = 0x8000001a,
     .model_id = "AMD Opteron 62xx class CPU",
     .features = "pclmulqdq ssse3 sse4.1 sse4.2 aes xsave avx pdpe1gb 3dnowprefetch xop fma4 npt nrip-save -monitor"},
    {.name = "Opteron_G5",
     .parent = "Opteron_G4-v1",
     .signature = Signature{21, 2, 0},
     .model_id = "AMD Opteron 63xx class CPU",
     .features = "fma f16c tbm"},
    {.name = "EPYC",
     .vendor = "AuthenticAMD",
     .signature = Signature{23, 1, 2},
     .level = 13,
     .xlevel = 0x8000001e,
     .model_id = "AMD EPYC Processor",
     .caches = CacheSet::kEpyc,
     .features = "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 "
                 "pni pclmulqdq monitor ssse3 fma cx16 sse4.1 sse4.2 movbe popcnt aes xsave avx f16c rdrand fsgsbase "
                 "bmi1 avx2 smep bmi2 rdseed adx smap clflushopt sha-ni syscall nx mmxext fxsr-opt pdpe1gb rdtscp lm "
                 "lahf-lm svm cr8legacy abm sse4a misalignsse 3dnowprefetch osvw topoext npt nrip-save arat xsaveopt "
                 "xsavec xgetbv1"},
    {.name = "EPYC",
     .version = 2,
     .alias = "EPYC-IBPB",
     .model_id = "AMD EPYC Processor (with IBPB)",
     .features = "ibpb"},
    {.name = "EPYC",
     .version = 3,
     .model_id = "AMD EPYC Processor",
     .features = "perfctr-core clzero xsaveerptr xsaves"},
    {.name = "EPYC-Rome",
     .parent = "EPYC-v1",
     .signature = Signature{23, 49, 0},
     .model_id = "AMD EPYC-Rome Processor",
     .caches = CacheSet::kRome,
     .features = "clwb umip rdpid perfctr-core clzero xsaveerptr wbnoinvd ibpb amd-stibp xsaves"},
    {.name = "EPYC-Rome", .version = 2, .features = "ibrs amd-ssbd"},
    {.name = "EPYC-Milan",
     .parent = "EPYC-Rome-v1",
     .signature = Signature{25, 1, 1},
     .model_id = "AMD EPYC-Milan Processor",
     .caches = CacheSet::kMilan,
     .features = "pcid erms invpcid pku fsrm ibrs amd-ssbd svme-addr-chk"},
    {.name = "EPYC-Genoa",
     .parent = "EPYC-Milan-v1",
     .signature = Signature{25, 17, 0},
     .xlevel = 0x80000022,
     .model_id = "AMD EPYC-Genoa Processor",
     .caches = CacheSet::kGenoa,
     .features = "avx512f avx512dq avx512ifma avx512cd avx512bw avx512vl avx512vbmi avx512vbmi2 gfni vaes vpclmulqdq "
                 "avx512vnni avx512bitalg avx512-vpopcntdq la57 avx512-bf16 null-sel-clr-base "
                 "lfence-always-serializing auto-ibrs no-nested-data-bp amd-psfd stibp-always-on vnmi"},
    {.name = "Dhyana",
     .parent = "EPYC-v1",
     .vendor = "HygonGenuine",
     .signature = Signature{24, 0, 1},
     .model_id = "Hygon Dhyana Processor",
     .features = "ibpb -pclmulqdq -aes -sha-ni"},
    {.name = "Dhyana", .version = 2, .note = "XSAVES", .features = "xsaves"},
});

}  // namespace

std::span<const CpuModelRow> amd_models() {
  return kRows;
}

}  // namespace doppel::x86
