// Which of the guest's CPUID features each of Zydis' instruction sets needs.
#pragma once

#include <Zydis/Zydis.h>

#include <bitset>

#include "x86/features.h"

namespace doppel::accel::soft {

using IsaSets = std::bitset<ZYDIS_ISA_SET_MAX_VALUE + 1>;

/// The instruction sets that a processor with FEATURES executes; the others are #UD.
IsaSets isa_sets_of(const x86::FeatureSet& features);

}  // namespace doppel::accel::soft
