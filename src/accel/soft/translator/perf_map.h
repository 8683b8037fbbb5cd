// -perfmap: names for `perf report`, in the file where it looks for them (tools/perf/Documentation/jit-interface.txt in
// Linux). One for all vCPUs; any thread.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "accel/soft/translator/translation_observer.h"
#include "base/error.h"
#include "base/unique_fd.h"

namespace doppel::accel::soft {

/// What perf calls the code made of the guest's at LINEAR.
[[nodiscard]] std::string symbol_of(std::uint64_t linear);
inline constexpr std::string_view kGateSymbol = "doppel_gate";

class PerfMap final : public TranslationObserver {
 public:
  /// "/tmp/perf-PID.map".
  [[nodiscard]] static std::string usual_path();
  static Result<std::unique_ptr<PerfMap>> create(const std::string& path);

  void translated(const FreshTranslation& fresh) override;
  void gate_generated(const HostCode& gate) override;

 private:
  explicit PerfMap(UniqueFd file) : file_(std::move(file)) {}
  void write(const std::string& lines);

  std::mutex mutex_;
  const UniqueFd file_;
};

}  // namespace doppel::accel::soft
