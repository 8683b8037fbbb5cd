#include "gdbstub/x87_area.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/endian.h"
#include "x86/registers.h"

namespace doppel::gdbstub {

namespace {

constexpr std::size_t kFcw = 0;
constexpr std::size_t kFsw = 2;
constexpr std::size_t kAbridgedTag = 4;
constexpr std::size_t kFop = 6;
constexpr std::size_t kFip = 8;
constexpr std::size_t kFdp = 16;
constexpr std::size_t kMxcsr = 24;
constexpr std::size_t kSt0 = 32;
constexpr std::size_t kXmm0 = 160;
constexpr std::size_t kXstateBv = 512;
constexpr std::size_t kYmmHigh0 = 576;  // where the standard format puts AVX on all processors
constexpr std::size_t kMinimumSize = 576;

constexpr std::uint16_t kInitialFcw = 0x37f;
constexpr std::uint16_t kEmptyTags = 0xffff;

/// The state component that must be in use for the register to have a value of its own.
std::uint64_t component_of(RegisterKind kind) {
  switch (kind) {
    case RegisterKind::kXmm: return x86::xcr::kSse;
    case RegisterKind::kYmmHigh: return x86::xcr::kAvx;
    default: return x86::xcr::kX87;
  }
}

/// Where a register lies whose value is stored as gdb wants it.
struct Place {
  std::size_t offset;
  std::size_t size;
};

Place place_of(const Register& reg) {
  switch (reg.kind) {
    case RegisterKind::kX87: return {kSt0 + 16U * reg.index, 10};
    case RegisterKind::kXmm: return {kXmm0 + 16U * reg.index, 16};
    case RegisterKind::kYmmHigh: return {kYmmHigh0 + 16U * reg.index, 16};
    case RegisterKind::kMxcsr: return {kMxcsr, 4};
    default: break;
  }
  constexpr Place kControlPlaces[] = {
      {kFcw, 2}, {kFsw, 2}, {kAbridgedTag, 1}, {kFip + 4, 2}, {kFip, 4}, {kFdp + 4, 2}, {kFdp, 4}, {kFop, 2},
  };
  return kControlPlaces[reg.index % std::size(kControlPlaces)];
}

/// The two tag bits of one register, which FXSAVE leaves to be found from its value (SDM 1 table 10-3): 0 valid, 1
/// zero, 2 special.
unsigned tag_of(const std::byte* st) {
  const auto exponent = load_le<std::uint16_t>(st + 8) & 0x7fffU;
  const auto significand = load_le<std::uint64_t>(st);
  if (exponent == 0) return significand == 0 ? 1 : 2;
  const bool normal = exponent != 0x7fff && significand >> 63U != 0;
  return normal ? 0 : 2;
}

/// The tag word of FSTENV: by physical register, 3 for an empty one.
std::uint16_t full_tags(std::span<const std::byte> area) {
  const unsigned abridged = std::to_integer<unsigned>(area[kAbridgedTag]);
  const unsigned top = load_le<std::uint16_t>(&area[kFsw]) >> 11U & 7U;
  unsigned tags = 0;
  for (unsigned physical = 0; physical < 8; ++physical) {
    const unsigned st = (physical - top) & 7U;
    const unsigned tag = (abridged >> physical & 1U) != 0 ? tag_of(&area[kSt0 + 16U * st]) : 3;
    tags |= tag << (2 * physical);
  }
  return static_cast<std::uint16_t>(tags);
}

std::uint8_t abridge_tags(std::uint64_t tags) {
  unsigned abridged = 0;
  for (unsigned i = 0; i < 8; ++i)
    if ((tags >> (2 * i) & 3U) != 3) abridged |= 1U << i;
  return static_cast<std::uint8_t>(abridged);
}

bool is_tag_word(const Register& reg) {
  return reg.kind == RegisterKind::kX87Control && reg.index == kFtag;
}

/// What a component holds that is not in use.
void read_initial(const Register& reg, std::span<std::byte> out) {
  std::ranges::fill(out, std::byte{0});
  if (reg.kind != RegisterKind::kX87Control) return;
  if (reg.index == kFctrl) store_le<std::uint16_t>(out.data(), kInitialFcw);
  if (reg.index == kFtag) store_le<std::uint16_t>(out.data(), kEmptyTags);
}

/// Gives a component its initial values, as it is about to be in use for one register's sake.
void initialise(std::span<std::byte> area, RegisterKind kind) {
  switch (component_of(kind)) {
    case x86::xcr::kSse: std::ranges::fill(area.subspan(kXmm0, 256), std::byte{0}); break;
    case x86::xcr::kAvx: std::ranges::fill(area.subspan(kYmmHigh0, 256), std::byte{0}); break;
    default:
      std::ranges::fill(area.first(kMxcsr), std::byte{0});
      std::ranges::fill(area.subspan(kSt0, 128), std::byte{0});
      store_le<std::uint16_t>(&area[kFcw], kInitialFcw);
      break;
  }
}

}  // namespace

void read_x87_area(std::span<const std::byte> area, const Register& reg, std::span<std::byte> out) {
  const Place place = place_of(reg);
  const bool known = area.size() >= kMinimumSize && place.offset + place.size <= area.size();
  // MXCSR is always there (SDM 1 13.6).
  const bool in_use = known && (reg.kind == RegisterKind::kMxcsr ||
                                (load_le<std::uint64_t>(&area[kXstateBv]) & component_of(reg.kind)) != 0);
  if (!in_use) {
    read_initial(reg, out);
    return;
  }
  std::ranges::fill(out, std::byte{0});
  if (is_tag_word(reg))
    store_le<std::uint16_t>(out.data(), full_tags(area));
  else
    std::memcpy(out.data(), &area[place.offset], std::min(place.size, out.size()));
}

Result<> write_x87_area(std::span<std::byte> area, const Register& reg, std::span<const std::byte> value) {
  const Place place = place_of(reg);
  if (area.size() < kMinimumSize || place.offset + place.size > area.size())
    return fail(ErrorKind::kUnsupported, "this CPU has no {}", reg.name);
  std::array<std::byte, kMaxRegisterSize> before{};
  read_x87_area(area, reg, std::span(before).first(value.size()));
  if (std::ranges::equal(value, std::span(before).first(value.size()))) return {};

  const std::uint64_t components = load_le<std::uint64_t>(&area[kXstateBv]);
  const std::uint64_t component = reg.kind == RegisterKind::kMxcsr ? x86::xcr::kSse : component_of(reg.kind);
  if ((components & component) == 0) {
    initialise(area, reg.kind == RegisterKind::kMxcsr ? RegisterKind::kXmm : reg.kind);
    store_le<std::uint64_t>(&area[kXstateBv], components | component);
  }
  if (is_tag_word(reg))
    area[kAbridgedTag] = static_cast<std::byte>(abridge_tags(load_le_sized(value.data(), value.size())));
  else
    std::memcpy(&area[place.offset], value.data(), place.size);
  return {};
}

}  // namespace doppel::gdbstub
