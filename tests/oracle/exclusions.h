// What the host differential leaves out, and why.
#pragma once

#include <Zydis/Zydis.h>

#include <string_view>

namespace doppel::oracle {

/// Null: it takes part. INSTRUCTION is in 64-bit mode.
const char* why_excluded(const ZydisDecodedInstruction& instruction);

}  // namespace doppel::oracle
