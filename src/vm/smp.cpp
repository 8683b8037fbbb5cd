#include "vm/smp.h"

#include <algorithm>
#include <cstdint>

namespace doppel::vm {

Result<SmpConfig> resolve_smp(SmpConfig smp, unsigned limit) {
  const auto or_one = [](unsigned value) { return std::max(value, 1U); };
  smp.dies = or_one(smp.dies);
  unsigned total = smp.maxcpus != 0 ? smp.maxcpus : smp.cpus;
  if (total == 0) {
    smp.sockets = or_one(smp.sockets);
    smp.cores = or_one(smp.cores);
    smp.threads = or_one(smp.threads);
  } else if (smp.cores == 0) {
    smp.sockets = or_one(smp.sockets);
    smp.threads = or_one(smp.threads);
    smp.cores = or_one(total / std::max(1U, smp.sockets * smp.dies * smp.threads));
  } else if (smp.sockets == 0) {
    smp.threads = or_one(smp.threads);
    smp.sockets = or_one(total / std::max(1U, smp.dies * smp.cores * smp.threads));
  } else if (smp.threads == 0) {
    smp.threads = or_one(total / std::max(1U, smp.sockets * smp.dies * smp.cores));
  }
  std::uint64_t product = 1;
  for (const unsigned factor : {smp.sockets, smp.dies, smp.cores, smp.threads})
    product = std::min(product * factor, std::uint64_t{1} << 32U);  // more is too many anyway
  if (total == 0) total = static_cast<unsigned>(std::min<std::uint64_t>(product, ~0U));
  smp.maxcpus = total;
  if (smp.cpus == 0) smp.cpus = total;
  if (product != smp.maxcpus)
    return fail(ErrorKind::kInvalidArgument,
                "-smp: sockets ({}) * dies ({}) * cores ({}) * threads ({}) make {} CPUs, but maxcpus is {}",
                smp.sockets, smp.dies, smp.cores, smp.threads, product, smp.maxcpus);
  if (smp.cpus > smp.maxcpus)
    return fail(ErrorKind::kInvalidArgument, "-smp: {} CPUs are more than maxcpus={}", smp.cpus, smp.maxcpus);
  if (smp.maxcpus > limit)
    return fail(ErrorKind::kOutOfRange, "-smp: {} CPUs are more than the {} this machine and accelerator allow",
                smp.maxcpus, limit);
  return smp;
}

}  // namespace doppel::vm
