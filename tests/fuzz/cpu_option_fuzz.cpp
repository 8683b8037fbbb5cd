// -cpu: from its text to a model and its CPUID table.
#include "fuzz/fuzz_input.h"
#include "x86/cpuid_builder.h"
#include "x86/cpuid_table.h"

using namespace doppel;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const x86::CpuSupport host{.cpuid = x86::host_cpuid_table(), .kvm = true, .kernel_lapic = true};
  fuzz::FuzzInput input(data, size);
  const x86::CpuTopology topology{.sockets = 1 + input.below(3),
                                  .dies = 1 + input.below(2),
                                  .cores = 1 + input.below(100),
                                  .threads = 1 + input.below(2)};
  const unsigned index = input.below(topology.cpu_count());
  const auto config = x86::parse_cpu_option(input.take_rest_text());
  if (!config) return 0;
  const auto resolved = x86::resolve_cpu(*config, host);
  if (!resolved) return 0;
  const x86::CpuidTable table = build_cpuid(resolved->model, topology, index, host.cpuid);
  fuzz::require(x86::find_cpuid(table, 0) != nullptr, "leaf 0 is always there");
  (void)x86::xsave_area_size(table, resolved->model.xcr0());
  return 0;
}
