#include "accel/soft/translator/perf_map.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "accel/soft/translator/translation.h"

namespace doppel::accel::soft {

namespace {

std::string line_of(const HostCode& code, std::string_view symbol) {
  return code.bytes.empty() ? "" : fmt::format("{:x} {:x} {}\n", code.address, code.bytes.size(), symbol);
}

}  // namespace

std::string symbol_of(std::uint64_t linear) {
  return fmt::format("guest_0x{:x}", linear);
}

std::string PerfMap::usual_path() {
  return fmt::format("/tmp/perf-{}.map", ::getpid());
}

Result<std::unique_ptr<PerfMap>> PerfMap::create(const std::string& path) {
  // Its name is known beforehand, in a directory where everybody may put links.
  UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file.valid()) return fail_errno("cannot open '{}'", path);
  return std::unique_ptr<PerfMap>(new PerfMap(std::move(file)));
}

void PerfMap::translated(const FreshTranslation& fresh) {
  const std::string symbol = symbol_of(fresh.translation.key.linear);
  write(line_of(fresh.hot, symbol) + line_of(fresh.cold, symbol + "_out"));
}

void PerfMap::gate_generated(const HostCode& gate) {
  write(line_of(gate, kGateSymbol));
}

/// Whoever ends the process, what has been translated has its names. A full disk costs names alone.
void PerfMap::write(const std::string& lines) {
  const std::scoped_lock lock(mutex_);
  (void)!::write(file_.get(), lines.data(), lines.size());
}

}  // namespace doppel::accel::soft
