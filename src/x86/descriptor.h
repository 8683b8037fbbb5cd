// Segment and gate descriptors: the forms in guest memory, and Segment (SDM 3A 3.4.5, 3.5, 5.8.3, 6.11, 6.14.1, 7.2).
#pragma once

#include <array>
#include <cstdint>

#include "x86/cpu_state.h"

namespace doppel::x86 {

/// Values of Segment::type for system segments and gates (SDM 3A table 3-2).
enum SystemType : std::uint8_t {
  kTss16Available = 1,
  kLdt = 2,
  kTss16Busy = 3,
  kCallGate16 = 4,
  kTaskGate = 5,
  kInterruptGate16 = 6,
  kTrapGate16 = 7,
  kTssAvailable = 9,  // 32-bit, or 64-bit in IA-32e mode, as all below
  kTssBusy = 11,
  kCallGate = 12,
  kInterruptGate = 14,
  kTrapGate = 15,
};

/// Bits of Segment::type for code and data segments (SDM 3A table 3-1).
namespace segment_type {
inline constexpr std::uint8_t kAccessed = 1;
inline constexpr std::uint8_t kWritable = 2;    // data
inline constexpr std::uint8_t kReadable = 2;    // code
inline constexpr std::uint8_t kExpandDown = 4;  // data
inline constexpr std::uint8_t kConforming = 4;  // code
inline constexpr std::uint8_t kCode = 8;
}  // namespace segment_type

/// The high half of a descriptor without base and limit: bits 23:20 and 15:8, where they stand there (type 11:8, S 12,
/// DPL 14:13, P 15, AVL 20, L 21, D/B 22, G 23). QEMU's and GDB's "attributes" column.
std::uint32_t segment_attributes(const Segment& segment);
/// Sets all but base, limit, selector and unusable; other bits of ATTRIBUTES are ignored.
void set_segment_attributes(Segment& segment, std::uint32_t attributes);

/// The 16-bit access-rights word: the same fields packed to bits 15:12 (AVL L D/B G) and 7:0 (type S DPL P), as VMX and
/// SVM hold them; bit 16 means unusable (SDM 3C table 24-2).
std::uint32_t segment_access_rights(const Segment& segment);
void set_segment_access_rights(Segment& segment, std::uint32_t rights);

/// The 8-byte form. With G set the limit must end in fff; its low bits are lost otherwise.
std::uint64_t encode_descriptor(const Segment& segment);
/// SELECTOR is what it was loaded with. A base above 4 GiB needs decode_system_descriptor64().
Segment decode_descriptor(std::uint64_t descriptor, std::uint16_t selector);

/// The 16-byte form of TSS and LDT descriptors in IA-32e mode, low half first.
std::array<std::uint64_t, 2> encode_system_descriptor64(const Segment& segment);
Segment decode_system_descriptor64(std::array<std::uint64_t, 2> descriptor, std::uint16_t selector);

/// An interrupt, trap, call or task gate.
struct Gate {
  std::uint64_t offset = 0;
  std::uint16_t selector = 0;
  std::uint8_t type = kInterruptGate;
  std::uint8_t dpl = 0;
  bool present = true;
  std::uint8_t ist = 0;         // 64-bit: 0 to 7
  std::uint8_t parameters = 0;  // call gates: 0 to 31
  bool operator==(const Gate&) const = default;
};

std::uint64_t encode_gate(const Gate& gate);
Gate decode_gate(std::uint64_t descriptor);
/// IA-32e mode's 16-byte form.
std::array<std::uint64_t, 2> encode_gate64(const Gate& gate);
Gate decode_gate64(std::array<std::uint64_t, 2> descriptor);

/// A real-mode segment as a load of SELECTOR leaves it (SDM 3B 20.1.1).
Segment real_mode_segment(std::uint16_t selector);
/// A flat 4 GiB segment: CODE or writable data, DPL 0, already accessed.
Segment flat_segment(std::uint16_t selector, bool code, bool long_mode = false);

/// Offsets in a 64-bit TSS (SDM 3A figure 7-11) and a 32-bit one (figure 7-2).
namespace tss64 {
inline constexpr std::uint32_t kRsp0 = 4;
inline constexpr std::uint32_t kIst1 = 36;
inline constexpr std::uint32_t kIoMapBase = 102;
inline constexpr std::uint32_t kSize = 104;
}  // namespace tss64
namespace tss32 {
inline constexpr std::uint32_t kEsp0 = 4;
inline constexpr std::uint32_t kSs0 = 8;
inline constexpr std::uint32_t kCr3 = 28;
inline constexpr std::uint32_t kEip = 32;
inline constexpr std::uint32_t kIoMapBase = 102;
inline constexpr std::uint32_t kSize = 104;
}  // namespace tss32

}  // namespace doppel::x86
