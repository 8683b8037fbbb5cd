// Descriptors and segment registers: lookup, privilege checks, loads (SDM 3A 3.4, 3.5, 5.2 to 5.7).
#pragma once

#include <cstdint>
#include <optional>

#include "accel/soft/interpreter/cpu.h"
#include "x86/descriptor.h"

namespace doppel::accel::soft {

constexpr bool is_null_selector(std::uint16_t selector) {
  return (selector & 0xfffcU) == 0;
}
constexpr std::uint8_t rpl_of(std::uint16_t selector) {
  return selector & 3U;
}
/// A selector as an error code names it (SDM 3A 6.13), without EXT.
constexpr std::uint32_t selector_error(std::uint16_t selector) {
  return selector & 0xfffcU;
}

/// Tells kTssBusy from kTssAvailable, and so with the 16-bit types.
inline constexpr std::uint8_t kTssBusyBit = 2;

/// What stands in the GDT or LDT.
struct Descriptor {
  std::uint16_t selector = 0;
  std::uint64_t address = 0;  // linear
  std::uint64_t low = 0;
  std::uint64_t high = 0;  // IA-32e mode's second half of system descriptors
  x86::Segment segment;    // as decoded; means little for gates

  [[nodiscard]] bool is_system() const { return !segment.code_or_data; }
  [[nodiscard]] bool is_code() const { return segment.code_or_data && (segment.type & x86::segment_type::kCode) != 0; }
  [[nodiscard]] bool is_data() const { return segment.code_or_data && (segment.type & x86::segment_type::kCode) == 0; }
  [[nodiscard]] bool is_conforming_code() const {
    return is_code() && (segment.type & x86::segment_type::kConforming) != 0;
  }
  /// A TSS that can be entered; the 16-bit kind is unknown in IA-32e mode.
  [[nodiscard]] bool is_available_tss(bool long_mode) const {
    return is_system() && (segment.type == x86::kTssAvailable || (segment.type == x86::kTss16Available && !long_mode));
  }
  /// IA-32e mode: the second half's type field, which must be zero.
  [[nodiscard]] bool has_reserved_bits() const { return (high >> 40 & 0x1fU) != 0; }
  [[nodiscard]] bool is_readable() const { return is_data() || (is_code() && (segment.type & 2U) != 0); }
  [[nodiscard]] bool is_writable_data() const { return is_data() && (segment.type & 2U) != 0; }
};

/// The descriptor of SELECTOR, with its second half if it is a system descriptor in IA-32e mode; empty if it lies
/// beyond its table. May fault on the table's memory. SELECTOR is not null.
std::optional<Descriptor> find_descriptor(Cpu& cpu, std::uint16_t selector);
/// The same; beyond its table it is VECTOR(selector).
Descriptor fetch_descriptor(Cpu& cpu, std::uint16_t selector, std::uint8_t vector = x86::kGeneralProtection);

/// Sets the accessed bit in memory and in DESCRIPTOR if it is clear.
void mark_accessed(Cpu& cpu, Descriptor& descriptor);
/// Sets or clears a TSS descriptor's busy bit in memory.
void set_busy(Cpu& cpu, std::uint64_t descriptor_address, bool busy);
/// Of a TSS selector, which is in the GDT.
std::uint64_t gdt_address(const Cpu& cpu, std::uint16_t selector);

/// A segment register as a null selector leaves it. DPL matters for SS: it is the CPL.
void load_null_segment(Cpu& cpu, x86::SegmentName name, std::uint16_t selector, std::uint8_t dpl = 0);
/// What a segment register holds in real mode (hidden part but for the base stays) or VM86, after a load.
void load_real_segment(Cpu& cpu, x86::SegmentName name, std::uint16_t selector);
x86::Segment vm86_segment(std::uint16_t selector);

/// MOV to a data segment register or SS, in all modes. Updates the mode or the view.
void load_segment(Cpu& cpu, x86::SegmentName name, std::uint16_t selector);

/// Is a data segment that may be loaded to DS, ES, FS or GS at CPL? #GP or #NP; for a task switch #TS instead of #GP.
void check_data_segment(const Descriptor& descriptor, std::uint8_t cpl, std::uint8_t vector);
/// A stack segment for CPL: VECTOR or #SS.
void check_stack_segment(const Descriptor& descriptor, std::uint8_t cpl, std::uint8_t vector);

/// LLDT's work; VECTOR is #GP, or #TS for a task switch.
void load_ldt(Cpu& cpu, std::uint16_t selector, std::uint8_t vector = x86::kGeneralProtection);

/// Is the guest's processor AMD's or of that kind, where the two differ?
bool is_amd(const Cpu& cpu);

}  // namespace doppel::accel::soft
