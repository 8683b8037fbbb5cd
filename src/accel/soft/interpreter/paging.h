// Linear to physical (SDM 3A chapter 4): page walks in all paging modes, the TLB's contents, and code pages.
//
// A linear address handed in here is canonical already, and cut to 32 bits outside of long mode.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "accel/soft/interpreter/cpu.h"

namespace doppel::accel::soft {

/// The translation of LINEAR's page for an access of KIND in the CPU's current view, from the TLB or else from the page
/// tables; raises #PF. Valid until the next translation or flush.
const TlbInfo& translate(Cpu& cpu, std::uint64_t linear, AccessKind kind);

/// Gives PKRU another value, which TLB entries of user pages follow.
void set_pkru(Cpu& cpu, std::uint32_t value);

/// Where LINEAR leads if anybody may go there, with no side effects whatever.
std::optional<std::uint64_t> translate_debug(const Cpu& cpu, std::uint64_t linear);

/// Loads the four PDPTE registers of PAE paging from where CR3 points (SDM 3A 4.4.1). False: a reserved bit is set, and
/// nothing was loaded; the instruction takes #GP(0).
bool load_pdptes(Cpu& cpu);

/// Gives the TLB's entry for INFO the tags that INFO allows.
void set_tags(Cpu& cpu, const TlbInfo& info);

// --- Code ---

struct FetchTarget {
  const std::byte* host = nullptr;  // of the byte itself; null outside of RAM
  std::uint64_t gpa = 0;            // of the byte itself
  RamSlot* slot = nullptr;
  std::uint32_t version = 0;  // of the page, by fetch_code()
};

/// Translates LINEAR for execution; raises #PF.
FetchTarget fetch_page(Cpu& cpu, std::uint64_t linear);
/// The same for a decoder: the page is marked as holding code, and the target's version is one from before the decoder
/// reads the first byte. May wait for other vCPUs; RamSlots found before may be gone afterwards (GuestRam::layout()).
FetchTarget fetch_code(Cpu& cpu, std::uint64_t linear);
/// Makes the page of GPA one that holds code: no TLB lets stores to it pass any more. Returns its version, 0 outside of
/// RAM. May wait for other vCPUs.
std::uint32_t mark_code(Cpu& cpu, std::uint64_t gpa);
/// Guest-physical bytes, RAM and ROM only. False: some are neither.
bool read_physical(const Cpu& cpu, std::uint64_t gpa, std::span<std::byte> out);

// --- All vCPUs of a machine, while none of them runs (Rendezvous::exclusive()) ---

/// After a change of slots.
void flush_all_tlbs(const Machine& machine);
/// After dirty logs were switched on or fetched.
void drop_all_tlb_writes(const Machine& machine);

// --- Debug registers (SDM 3B 18.2) ---

/// The data breakpoints that an access of KIND hits, as DR6 bits. I/O breakpoints are not among them.
std::uint64_t data_breakpoints_hit(const Cpu& cpu, std::uint64_t linear, std::uint64_t size, AccessKind kind);
/// After any change of what breakpoints are in force: DR0 to DR3, DR7 or their host_ counterparts.
void breakpoints_changed(Cpu& cpu);

}  // namespace doppel::accel::soft
