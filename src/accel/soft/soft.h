// The accelerator in software: guest instructions are translated and interpreted, on any host and without privileges.
//
// Its interrupt controllers, timers and doorbells are for the caller: IrqchipMode::kOff is the only one. A vCPU whose
// MpState is set to kHalted answers run() with HaltExit until something is injected or its registers or MpState are
// set.
#pragma once

#include <memory>

#include "accel/accelerator.h"
#include "accel/soft/translator/translation_options.h"
#include "base/error.h"
#include "base/log.h"

namespace doppel::accel::soft {

struct Options {
  Logger log{};
  TranslationOptions translation{};
  ProfileOptions profile{};
};

[[nodiscard]] Result<std::unique_ptr<Accelerator>> open(const Options& options = {});

}  // namespace doppel::accel::soft
