// Fast system calls (SDM 2B SYSCALL, SYSRET, SYSENTER, SYSEXIT; 3A 5.8.7, 5.8.8; AMD APM 2 6.1, 3 SYSCALL).
#pragma once

#include "accel/soft/interpreter/operation.h"

namespace doppel::accel::soft {

Handler select_syscall(const Decoded& decoded, Instruction& instruction);
Handler select_sysret(const Decoded& decoded, Instruction& instruction);
Handler select_sysenter(const Decoded& decoded, Instruction& instruction);
Handler select_sysexit(const Decoded& decoded, Instruction& instruction);

}  // namespace doppel::accel::soft
