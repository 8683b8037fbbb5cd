// What -d op and -d out_asm show of each translation.
#pragma once

#include <string>

#include "accel/soft/interpreter/disassembly.h"
#include "accel/soft/translator/plan.h"
#include "accel/soft/translator/translation.h"
#include "accel/soft/translator/translation_observer.h"
#include "base/log.h"

namespace doppel::accel::soft {

class TranslationLog final : public TranslationObserver {
 public:
  [[nodiscard]] static bool is_wanted(const Logger& log) {
    return log.enabled(LogCategory::kOp) || log.enabled(LogCategory::kOutAsm);
  }
  explicit TranslationLog(const Logger& log) : log_(log) {}

  void translated(const FreshTranslation& fresh) override;
  void gate_generated(const HostCode& /*gate*/) override {}

 private:
  void show_plan(const BlockPlan& plan) const;
  void show_code(const FreshTranslation& fresh) const;
  void append(std::string& text, std::string_view title, const HostCode& code) const;

  const Logger log_;
  const Disassembler disassembler_;
};

}  // namespace doppel::accel::soft
