#include "accel/soft/interpreter/isa_features.h"

#include <array>
#include <string_view>

namespace doppel::accel::soft {

namespace {

/// ALSO, if not empty, is a second feature that is needed. Instruction sets without a row need none.
struct Need {
  ZydisISASet set;
  std::string_view feature;
  std::string_view also = {};
};

/// A feature that no processor of ours has.
constexpr std::string_view kNever = "never";

constexpr std::array kNeeds = {
    Need{ZYDIS_ISA_SET_X87, "fpu"},
    Need{ZYDIS_ISA_SET_FCMOV, "fpu", "cmov"},
    Need{ZYDIS_ISA_SET_CMOV, "cmov"},
    Need{ZYDIS_ISA_SET_PENTIUMMMX, "mmx"},
    Need{ZYDIS_ISA_SET_FXSAVE, "fxsr"},
    Need{ZYDIS_ISA_SET_FXSAVE64, "fxsr"},
    Need{ZYDIS_ISA_SET_SSE, "sse"},
    Need{ZYDIS_ISA_SET_SSEMXCSR, "sse"},
    Need{ZYDIS_ISA_SET_SSE2, "sse2"},
    Need{ZYDIS_ISA_SET_SSE2MMX, "sse2"},
    Need{ZYDIS_ISA_SET_SSE3, "sse3"},
    Need{ZYDIS_ISA_SET_SSE3X87, "sse3", "fpu"},
    Need{ZYDIS_ISA_SET_SSSE3, "ssse3"},
    Need{ZYDIS_ISA_SET_SSSE3MMX, "ssse3"},
    Need{ZYDIS_ISA_SET_SSE4, "sse4-1"},
    Need{ZYDIS_ISA_SET_SSE42, "sse4-2"},
    Need{ZYDIS_ISA_SET_SSE4A, "sse4a"},
    Need{ZYDIS_ISA_SET_AES, "aes"},
    Need{ZYDIS_ISA_SET_AVXAES, "aes", "avx"},
    Need{ZYDIS_ISA_SET_PCLMULQDQ, "pclmulqdq"},
    Need{ZYDIS_ISA_SET_SHA, "sha-ni"},
    Need{ZYDIS_ISA_SET_AVX, "avx"},
    Need{ZYDIS_ISA_SET_AVX2, "avx2"},
    Need{ZYDIS_ISA_SET_AVX2GATHER, "avx2"},
    Need{ZYDIS_ISA_SET_FMA, "fma"},
    Need{ZYDIS_ISA_SET_F16C, "f16c"},
    Need{ZYDIS_ISA_SET_GFNI, "gfni"},
    Need{ZYDIS_ISA_SET_AVX_GFNI, "gfni", "avx"},
    Need{ZYDIS_ISA_SET_VAES, "vaes"},
    Need{ZYDIS_ISA_SET_VPCLMULQDQ, "vpclmulqdq"},
    Need{ZYDIS_ISA_SET_AVX_VNNI, "avx-vnni"},
    Need{ZYDIS_ISA_SET_AVX512F_128, "avx512f", "avx512vl"},
    Need{ZYDIS_ISA_SET_AVX512F_128N, "avx512f"},
    Need{ZYDIS_ISA_SET_AVX512F_256, "avx512f", "avx512vl"},
    Need{ZYDIS_ISA_SET_AVX512F_512, "avx512f"},
    Need{ZYDIS_ISA_SET_AVX512F_KOP, "avx512f"},
    Need{ZYDIS_ISA_SET_AVX512F_SCALAR, "avx512f"},
    Need{ZYDIS_ISA_SET_AVX512BW_128, "avx512bw", "avx512vl"},
    Need{ZYDIS_ISA_SET_AVX512BW_128N, "avx512bw"},
    Need{ZYDIS_ISA_SET_AVX512BW_256, "avx512bw", "avx512vl"},
    Need{ZYDIS_ISA_SET_AVX512BW_512, "avx512bw"},
    Need{ZYDIS_ISA_SET_AVX512BW_KOP, "avx512bw"},
    Need{ZYDIS_ISA_SET_AVX512CD_128, "avx512cd", "avx512vl"},
    Need{ZYDIS_ISA_SET_AVX512CD_256, "avx512cd", "avx512vl"},
    Need{ZYDIS_ISA_SET_AVX512CD_512, "avx512cd"},
    Need{ZYDIS_ISA_SET_AVX512DQ_128, "avx512dq", "avx512vl"},
    Need{ZYDIS_ISA_SET_AVX512DQ_128N, "avx512dq"},
    Need{ZYDIS_ISA_SET_AVX512DQ_256, "avx512dq", "avx512vl"},
    Need{ZYDIS_ISA_SET_AVX512DQ_512, "avx512dq"},
    Need{ZYDIS_ISA_SET_AVX512DQ_KOP, "avx512dq"},
    Need{ZYDIS_ISA_SET_AVX512DQ_SCALAR, "avx512dq"},
    Need{ZYDIS_ISA_SET_AVX512ER_512, "avx512er"},
    Need{ZYDIS_ISA_SET_AVX512ER_SCALAR, "avx512er"},
    Need{ZYDIS_ISA_SET_AVX512PF_512, "avx512pf"},
    Need{ZYDIS_ISA_SET_AVX512_4FMAPS_512, "avx512-4fmaps"},
    Need{ZYDIS_ISA_SET_AVX512_4FMAPS_SCALAR, "avx512-4fmaps"},
    Need{ZYDIS_ISA_SET_AVX512_4VNNIW_512, "avx512-4vnniw"},
    Need{ZYDIS_ISA_SET_AVX512_BF16_128, "avx512-bf16", "avx512vl"},
    Need{ZYDIS_ISA_SET_AVX512_BF16_256, "avx512-bf16", "avx512vl"},
    Need{ZYDIS_ISA_SET_AVX512_BF16_512, "avx512-bf16"},
    Need{ZYDIS_ISA_SET_AVX512_BITALG_128, "avx512bitalg", "avx512vl"},
    Need{ZYDIS_ISA_SET_AVX512_BITALG_256, "avx512bitalg", "avx512vl"},
    Need{ZYDIS_ISA_SET_AVX512_BITALG_512, "avx512bitalg"},
    Need{ZYDIS_ISA_SET_AVX512_FP16_128, "avx512-fp16", "avx512vl"},
    Need{ZYDIS_ISA_SET_AVX512_FP16_128N, "avx512-fp16"},
    Need{ZYDIS_ISA_SET_AVX512_FP16_256, "avx512-fp16", "avx512vl"},
    Need{ZYDIS_ISA_SET_AVX512_FP16_512, "avx512-fp16"},
    Need{ZYDIS_ISA_SET_AVX512_FP16_SCALAR, "avx512-fp16"},
    Need{ZYDIS_ISA_SET_AVX512_GFNI_128, "gfni", "avx512vl"},
    Need{ZYDIS_ISA_SET_AVX512_GFNI_256, "gfni", "avx512vl"},
    Need{ZYDIS_ISA_SET_AVX512_GFNI_512, "gfni", "avx512f"},
    Need{ZYDIS_ISA_SET_AVX512_IFMA_128, "avx512ifma", "avx512vl"},
    Need{ZYDIS_ISA_SET_AVX512_IFMA_256, "avx512ifma", "avx512vl"},
    Need{ZYDIS_ISA_SET_AVX512_IFMA_512, "avx512ifma"},
    Need{ZYDIS_ISA_SET_AVX512_VAES_128, "vaes", "avx512vl"},
    Need{ZYDIS_ISA_SET_AVX512_VAES_256, "vaes", "avx512vl"},
    Need{ZYDIS_ISA_SET_AVX512_VAES_512, "vaes", "avx512f"},
    Need{ZYDIS_ISA_SET_AVX512_VBMI2_128, "avx512vbmi2", "avx512vl"},
    Need{ZYDIS_ISA_SET_AVX512_VBMI2_256, "avx512vbmi2", "avx512vl"},
    Need{ZYDIS_ISA_SET_AVX512_VBMI2_512, "avx512vbmi2"},
    Need{ZYDIS_ISA_SET_AVX512_VBMI_128, "avx512vbmi", "avx512vl"},
    Need{ZYDIS_ISA_SET_AVX512_VBMI_256, "avx512vbmi", "avx512vl"},
    Need{ZYDIS_ISA_SET_AVX512_VBMI_512, "avx512vbmi"},
    Need{ZYDIS_ISA_SET_AVX512_VNNI_128, "avx512vnni", "avx512vl"},
    Need{ZYDIS_ISA_SET_AVX512_VNNI_256, "avx512vnni", "avx512vl"},
    Need{ZYDIS_ISA_SET_AVX512_VNNI_512, "avx512vnni"},
    Need{ZYDIS_ISA_SET_AVX512_VP2INTERSECT_128, "avx512-vp2intersect", "avx512vl"},
    Need{ZYDIS_ISA_SET_AVX512_VP2INTERSECT_256, "avx512-vp2intersect", "avx512vl"},
    Need{ZYDIS_ISA_SET_AVX512_VP2INTERSECT_512, "avx512-vp2intersect"},
    Need{ZYDIS_ISA_SET_AVX512_VPCLMULQDQ_128, "vpclmulqdq", "avx512vl"},
    Need{ZYDIS_ISA_SET_AVX512_VPCLMULQDQ_256, "vpclmulqdq", "avx512vl"},
    Need{ZYDIS_ISA_SET_AVX512_VPCLMULQDQ_512, "vpclmulqdq", "avx512f"},
    Need{ZYDIS_ISA_SET_AVX512_VPOPCNTDQ_128, "avx512-vpopcntdq", "avx512vl"},
    Need{ZYDIS_ISA_SET_AVX512_VPOPCNTDQ_256, "avx512-vpopcntdq", "avx512vl"},
    Need{ZYDIS_ISA_SET_AVX512_VPOPCNTDQ_512, "avx512-vpopcntdq"},
    Need{ZYDIS_ISA_SET_ADOX_ADCX, "adx"},
    Need{ZYDIS_ISA_SET_BMI1, "bmi1"},
    Need{ZYDIS_ISA_SET_BMI2, "bmi2"},
    Need{ZYDIS_ISA_SET_LZCNT, "abm"},
    Need{ZYDIS_ISA_SET_POPCNT, "popcnt"},
    Need{ZYDIS_ISA_SET_MOVBE, "movbe"},
    Need{ZYDIS_ISA_SET_MOVDIR, "movdiri"},
    Need{ZYDIS_ISA_SET_RDRAND, "rdrand"},
    Need{ZYDIS_ISA_SET_RDSEED, "rdseed"},
    Need{ZYDIS_ISA_SET_CMPXCHG16B, "cx16"},
    Need{ZYDIS_ISA_SET_CLFSH, "clflush"},
    Need{ZYDIS_ISA_SET_CLFLUSHOPT, "clflushopt"},
    Need{ZYDIS_ISA_SET_CLWB, "clwb"},
    Need{ZYDIS_ISA_SET_CLZERO, "clzero"},
    Need{ZYDIS_ISA_SET_INVPCID, "invpcid"},
    Need{ZYDIS_ISA_SET_MONITOR, "monitor"},
    Need{ZYDIS_ISA_SET_MONITORX, "mwaitx"},
    Need{ZYDIS_ISA_SET_PKU, "pku"},
    Need{ZYDIS_ISA_SET_RDPID, "rdpid"},
    Need{ZYDIS_ISA_SET_RDTSCP, "rdtscp"},
    Need{ZYDIS_ISA_SET_RDWRFSGS, "fsgsbase"},
    Need{ZYDIS_ISA_SET_SMAP, "smap"},
    Need{ZYDIS_ISA_SET_SERIALIZE, "serialize"},
    Need{ZYDIS_ISA_SET_WAITPKG, "waitpkg"},
    Need{ZYDIS_ISA_SET_XSAVE, "xsave"},
    Need{ZYDIS_ISA_SET_XSAVEC, "xsavec"},
    Need{ZYDIS_ISA_SET_XSAVEOPT, "xsaveopt"},
    Need{ZYDIS_ISA_SET_XSAVES, "xsaves"},
    Need{ZYDIS_ISA_SET_RTM, "rtm"},
    Need{ZYDIS_ISA_SET_AMD3DNOW, "3dnow"},
    Need{ZYDIS_ISA_SET_XOP, "xop"},
    Need{ZYDIS_ISA_SET_FMA4, "fma4"},
    Need{ZYDIS_ISA_SET_TBM, "tbm"},
    Need{ZYDIS_ISA_SET_LWP, "lwp"},
    Need{ZYDIS_ISA_SET_SVM, "svm"},
    Need{ZYDIS_ISA_SET_VTX, "vmx"},
    Need{ZYDIS_ISA_SET_VMFUNC, "vmx"},
    Need{ZYDIS_ISA_SET_SMX, "smx"},
    Need{ZYDIS_ISA_SET_SGX, "sgx"},
    Need{ZYDIS_ISA_SET_SGX_ENCLV, "sgx"},
    Need{ZYDIS_ISA_SET_MPX, "mpx"},
    Need{ZYDIS_ISA_SET_CET, "shstk"},
    Need{ZYDIS_ISA_SET_UINTR, "uintr"},
    Need{ZYDIS_ISA_SET_ENQCMD, kNever},
    Need{ZYDIS_ISA_SET_AMX_TILE, "amx-tile"},
    Need{ZYDIS_ISA_SET_AMX_BF16, "amx-bf16"},
    Need{ZYDIS_ISA_SET_AMX_INT8, "amx-int8"},
    Need{ZYDIS_ISA_SET_AMD_INVLPGB, kNever},
    Need{ZYDIS_ISA_SET_HRESET, kNever},
    Need{ZYDIS_ISA_SET_KEYLOCKER, kNever},
    Need{ZYDIS_ISA_SET_KEYLOCKER_WIDE, kNever},
    Need{ZYDIS_ISA_SET_MCOMMIT, kNever},
    Need{ZYDIS_ISA_SET_PADLOCK_ACE, kNever},
    Need{ZYDIS_ISA_SET_PADLOCK_PHE, kNever},
    Need{ZYDIS_ISA_SET_PADLOCK_PMM, kNever},
    Need{ZYDIS_ISA_SET_PADLOCK_RNG, kNever},
    Need{ZYDIS_ISA_SET_PCONFIG, kNever},
    Need{ZYDIS_ISA_SET_PT, kNever},
    Need{ZYDIS_ISA_SET_RDPRU, kNever},
    Need{ZYDIS_ISA_SET_SNP, kNever},
    Need{ZYDIS_ISA_SET_TDX, kNever},
    Need{ZYDIS_ISA_SET_TSX_LDTRK, kNever},
};

bool fulfilled(std::string_view name, const x86::FeatureSet& features) {
  if (name.empty()) return true;
  const x86::Feature* feature = x86::find_feature(name);
  return feature != nullptr && features.has(feature->bit);
}

}  // namespace

IsaSets isa_sets_of(const x86::FeatureSet& features) {
  IsaSets result;
  result.set();
  for (const Need& need : kNeeds)
    result[need.set] = fulfilled(need.feature, features) && fulfilled(need.also, features);
  return result;
}

}  // namespace doppel::accel::soft
