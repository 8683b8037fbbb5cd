// What this process runs with, and a guest that shall look the same must have.
#pragma once

#include <cstddef>
#include <cstdint>

#include "x86/cpu_state.h"

namespace doppel::oracle {

/// Makes STATE, which is a guest's at CPL 3 with page tables from PML4 on, what a native process with these segment
/// bases has: this thread's selectors and XCR0, alignment checks, no ports.
void take_host_environment(x86::CpuState& state, std::uint64_t pml4, std::uint64_t fs_base, std::uint64_t gs_base);
/// Page tables of one of each level in RAM, PML4 first, one page behind the other, lead to the page table that has
/// layout::kBase (SDM 3A 4.5). They are not left without ENTRY's rights.
void write_upper_tables(std::byte* ram, std::uint64_t pml4, std::uint64_t entry);

}  // namespace doppel::oracle
