// Exits that are bus accesses, carried out on the machine's address spaces.
#pragma once

#include "accel/exit.h"
#include "memory/address_space.h"

namespace doppel::vm {

void carry_out(memory::AddressSpace& ports, accel::IoExit& exit);
void carry_out(memory::AddressSpace& memory, accel::MmioExit& exit);

}  // namespace doppel::vm
