// -jitdump: translated code itself for `perf inject --jit`, which puts it among a profile's programs
// (tools/perf/Documentation/jitdump-specification.txt in Linux). One for all vCPUs; any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "accel/soft/translator/translation_observer.h"
#include "base/error.h"
#include "base/unique_fd.h"

namespace doppel::accel::soft {

class JitDump final : public TranslationObserver {
 public:
  /// "jit-PID.dump" in the current directory.
  [[nodiscard]] static std::string usual_path();
  static Result<std::unique_ptr<JitDump>> create(const std::string& path);
  ~JitDump() override;

  void translated(const FreshTranslation& fresh) override;
  void gate_generated(const HostCode& gate) override;

 private:
  JitDump(UniqueFd file, void* mark) : file_(std::move(file)), mark_(mark) {}
  void load(const HostCode& code, std::string_view symbol);
  void write(std::string_view record) const;

  std::mutex mutex_;
  const UniqueFd file_;
  void* const mark_;  // a mapping of the file, by which perf learns of it
  std::uint64_t loaded_ = 0;
};

}  // namespace doppel::accel::soft
