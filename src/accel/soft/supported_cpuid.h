// What a processor of ours may say of itself at most: what the interpreter carries out, and what it borrows of the
// host.
#pragma once

#include "x86/cpuid.h"
#include "x86/features.h"

namespace doppel::accel::soft {

x86::FeatureSet supported_features();
/// Caches, topology and names are the host's, for models that follow it.
x86::CpuidTable supported_cpuid();

}  // namespace doppel::accel::soft
