// What of the host's user-mode instruction set the stubs can hand to a guest.
#include <algorithm>
#include <array>
#include <string_view>

#include "accel/soft/interpreter/native_stub.h"
#include "accel/soft/interpreter/stub_emitter.h"
#include "x86/cpuid_table.h"

namespace doppel::accel::soft {

namespace {

/// Features of general, x87 and XMM registers.
constexpr std::array<std::string_view, 34> kAlways = {
    "fpu",      "mmx",       "sse",    "sse2",     "pni",    "ssse3",   "sse4.1",     "sse4.2", "sse4a",
    "mmxext",   "pclmulqdq", "aes",    "sha-ni",   "gfni",   "popcnt",  "movbe",      "abm",    "bmi1",
    "bmi2",     "adx",       "rdrand", "rdseed",   "fxsr",   "clflush", "clflushopt", "clwb",   "3dnowprefetch",
    "cldemote", "fxsr-opt",  "xsave",  "xsaveopt", "xsavec", "xgetbv1", "clzero",
};
/// Those that need YMM registers from the host's operating system.
constexpr std::array<std::string_view, 7> kWithAvx = {"avx", "avx2", "f16c", "fma", "vaes", "vpclmulqdq", "avx-vnni"};
/// And ZMM and mask registers.
constexpr std::array<std::string_view, 13> kWithAvx512 = {
    "avx512f",     "avx512dq",   "avx512cd",     "avx512bw",         "avx512vl",    "avx512ifma",          "avx512vbmi",
    "avx512vbmi2", "avx512vnni", "avx512bitalg", "avx512-vpopcntdq", "avx512-bf16", "avx512-vp2intersect",
};

void add(x86::FeatureSet& to, const x86::FeatureSet& host, std::span<const std::string_view> names) {
  for (const std::string_view name : names)
    if (const x86::Feature* const feature = x86::find_feature(name); feature != nullptr && host.has(feature->bit))
      to.set(feature->bit);
}

}  // namespace

x86::FeatureSet host_native_features() {
  const x86::FeatureSet host = x86::features_of(x86::host_cpuid_table());
  x86::FeatureSet native;
  add(native, host, kAlways);
  if (host_vectors() >= HostVectors::kAvx) add(native, host, kWithAvx);
  if (host_vectors() >= HostVectors::kAvx512bw) add(native, host, kWithAvx512);
  x86::drop_unfounded(native);
  return native;
}

}  // namespace doppel::accel::soft
