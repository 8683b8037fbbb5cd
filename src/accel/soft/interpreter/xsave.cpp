// The XSAVE family, XGETBV and XSETBV (SDM 1 chapter 13). Areas are laid out as the guest's CPUID leaf D says.
#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "accel/soft/interpreter/availability.h"
#include "accel/soft/interpreter/extended_state.h"
#include "accel/soft/interpreter/paging.h"
#include "accel/soft/interpreter/xsave_area.h"
#include "base/endian.h"

namespace doppel::accel::soft {

namespace {

constexpr std::uint32_t kLeaf = 0xd;
constexpr std::uint32_t kExtensionsSubleaf = 1;
constexpr std::uint32_t kHasXsavec = 1U << 1;
constexpr std::uint32_t kHasXgetbv1 = 1U << 2;
constexpr std::uint32_t kAligned = 1U << 1;  // CPUID.D.n:ECX
constexpr std::uint64_t kCompacted = std::uint64_t{1} << 63;
constexpr std::uint64_t kLegacyComponents = x86::xcr::kX87 | x86::xcr::kSse;
constexpr std::size_t kAlignment = 64;
constexpr std::size_t kHeaderSize = 64;
constexpr std::size_t kBufferSize = 4096;  // more than all components together take

enum class Variant : std::uint8_t { kXsave, kXsaveopt, kXsavec, kXsaves };
enum class Restore : std::uint8_t { kXrstor, kXrstors };

std::uint32_t extensions(const Cpu& cpu) {
  const x86::CpuidEntry* const entry = x86::find_cpuid(cpu.cpuid, kLeaf, kExtensionsSubleaf);
  return entry == nullptr ? 0 : entry->eax;
}

/// Where extended components are.
class Layout {
 public:
  /// COMPACTED: XCOMP_BV; 0 for the standard format.
  Layout(const Cpu& cpu, std::uint64_t compacted) : cpu_(cpu), compacted_(compacted) {}

  /// FUNCTION(index, offset, room) for each component in SET from 2 on.
  template <class Function>
  void for_each(std::uint64_t set, Function function) const {
    std::size_t next = xsave::kExtended;
    const std::uint64_t places = (compacted_ != 0 ? compacted_ & ~kCompacted : set) & ~kLegacyComponents;
    for (unsigned index = 2; index < xsave::kComponentLimit; ++index) {
      if (!test_bit(places, index)) continue;
      const x86::CpuidEntry* const entry = x86::find_cpuid(cpu_.cpuid, kLeaf, index);
      if (entry == nullptr) continue;
      std::size_t offset = entry->ebx;
      if (compacted_ != 0) {
        offset = (entry->ecx & kAligned) != 0 ? align_up(next, kAlignment) : next;
        next = offset + entry->eax;
      }
      if (test_bit(set, index) && offset >= xsave::kExtended && offset < kBufferSize)
        function(index, offset, std::min<std::size_t>(entry->eax, kBufferSize - offset));
    }
  }

 private:
  const Cpu& cpu_;
  const std::uint64_t compacted_;
};

/// An area being put together, and which parts of it the instruction stores.
class AreaWriter {
 public:
  [[nodiscard]] std::span<std::byte> add(std::size_t offset, std::size_t size) {
    pieces_.at(count_++) = {.offset = offset, .size = size};
    return std::span(bytes_).subspan(offset, size);
  }
  template <class T>
  void add_value(std::size_t offset, T value) {
    store_le(add(offset, sizeof value).data(), value);
  }
  void store(Cpu& cpu, std::uint64_t address) const {
    for (const Piece& piece : pieces()) cpu.probe(address + piece.offset, piece.size, AccessKind::kWrite);
    for (const Piece& piece : pieces())
      cpu.write_linear(address + piece.offset, std::span(bytes_).subspan(piece.offset, piece.size));
  }
  [[nodiscard]] std::size_t end() const {
    std::size_t end = 0;
    for (const Piece& piece : pieces()) end = std::max(end, piece.offset + piece.size);
    return end;
  }

 private:
  struct Piece {
    std::size_t offset = 0;
    std::size_t size = 0;
  };
  [[nodiscard]] std::span<const Piece> pieces() const { return std::span(pieces_).first(count_); }

  std::array<std::byte, kBufferSize> bytes_{};
  std::array<Piece, 72> pieces_{};
  std::size_t count_ = 0;
};

std::uint64_t requested(const Cpu& cpu, std::uint64_t enabled) {
  const std::uint64_t low = cpu.gpr[x86::kRax] & 0xffff'ffffU;
  return (cpu.gpr[x86::kRdx] << 32U | low) & enabled;
}

/// XINUSE, as far as SET goes (SDM 1 13.6).
std::uint64_t in_use(const FpuState& fpu, std::uint64_t set, const xsave::View& view) {
  std::uint64_t used = 0;
  for (std::uint64_t rest = set; rest != 0; rest &= rest - 1) {
    const auto index = static_cast<unsigned>(std::countr_zero(rest));
    if (xsave::in_use(fpu, index, view)) used |= bit(index);
  }
  return used;
}

std::uint64_t area(Cpu& cpu, const Instruction& i) {
  const std::uint64_t offset = cpu.effective_address(i);
  if (((cpu.view[i.segment].base + offset) & (kAlignment - 1)) != 0) raise_gp();
  return offset;
}

/// The components in STORED and MXCSR if asked for, but for the header (SDM 1 13.7 to 13.11).
void add_components(Cpu& cpu, const xsave::View& view, const Layout& layout, std::uint64_t stored, bool mxcsr,
                    AreaWriter& writer) {
  const FpuState& fpu = cpu.fpu;
  if (test_bit(stored, xsave::kX87)) {
    std::array<std::byte, xsave::kXmm> image{};
    xsave::save(fpu, xsave::kX87, view, image);
    const std::span<const std::byte> all(image);
    std::ranges::copy(all.first(FpuState::kMxcsr), writer.add(0, FpuState::kMxcsr).begin());
    std::ranges::copy(all.subspan(FpuState::kSt0), writer.add(FpuState::kSt0, xsave::kXmm - FpuState::kSt0).begin());
  }
  if (mxcsr) {
    writer.add_value(FpuState::kMxcsr, fpu.mxcsr());
    writer.add_value(xsave::kMxcsrMask, xsave::kValidMxcsr);
  }
  if (test_bit(stored, xsave::kSse))
    xsave::save(fpu, xsave::kSse, view, writer.add(xsave::kXmm, xsave::accessed_size(xsave::kSse, view)));
  layout.for_each(stored, [&](unsigned index, std::size_t offset, std::size_t room) {
    const std::size_t size = xsave::accessed_size(index, view);
    if (size != 0 && size <= room) xsave::save(fpu, index, view, writer.add(offset, size));
  });
}

template <Variant variant>
void xsave_into(Cpu& cpu, const Instruction& i, const xsave::View& view) {
  constexpr bool kCompact = variant == Variant::kXsavec || variant == Variant::kXsaves;
  require(cpu, requirement::kXsave);
  if (variant == Variant::kXsaves && cpu.cpl != 0) raise_gp();
  const std::uint64_t offset = area(cpu, i);
  const std::uint64_t wanted = requested(cpu, variant == Variant::kXsaves ? cpu.xcr0 | cpu.msrs.xss : cpu.xcr0);
  std::uint64_t used = in_use(cpu.fpu, wanted, view);
  AreaWriter writer;
  if constexpr (kCompact) {
    if (cpu.fpu.mxcsr() != FpuState::kInitialMxcsr) used |= wanted & x86::xcr::kSse;
    add_components(cpu, view, Layout(cpu, wanted | kCompacted), used, test_bit(used, xsave::kSse), writer);
    writer.add_value(xsave::kHeader, used);
    writer.add_value(xsave::kCompactedBitmap, wanted | kCompacted);
  } else {
    const auto before = cpu.load<std::uint64_t>(i.segment, offset + xsave::kHeader);
    const bool mxcsr = (wanted & (x86::xcr::kSse | x86::xcr::kAvx)) != 0;
    add_components(cpu, view, Layout(cpu, 0), variant == Variant::kXsaveopt ? used : wanted, mxcsr, writer);
    writer.add_value(xsave::kHeader, (before & ~wanted) | used);
  }
  writer.store(cpu, cpu.linear<AccessKind::kWrite>(i.segment, offset, writer.end()));
}

template <Variant variant, bool wide>
void save(Cpu& cpu, const Instruction& i) {
  xsave_into<variant>(cpu, i, {.long_code = cpu.code_mode == CodeMode::kLong64, .wide_pointers = wide});
}

struct Header {
  std::uint64_t present = 0;    // XSTATE_BV
  std::uint64_t compacted = 0;  // XCOMP_BV
};

/// #GP unless the header is in order (SDM 1 13.8.2, 13.12).
Header read_header(Cpu& cpu, std::uint64_t address, Restore kind, std::uint64_t enabled) {
  constexpr std::size_t kStandardReserved = 24;  // the rest may be anything in the standard format
  std::array<std::byte, kHeaderSize> bytes{};
  cpu.read_linear(address + xsave::kHeader, bytes);
  const Header header{.present = load_le<std::uint64_t>(bytes.data()),
                      .compacted = load_le<std::uint64_t>(bytes.data() + 8)};
  const bool compact = (header.compacted & kCompacted) != 0;
  const auto is_zero = [&](std::size_t first, std::size_t end) {
    return std::all_of(bytes.begin() + static_cast<std::ptrdiff_t>(first),
                       bytes.begin() + static_cast<std::ptrdiff_t>(end),
                       [](std::byte byte) { return byte == std::byte{0}; });
  };
  if (!compact) {
    const bool fine = kind == Restore::kXrstor && is_zero(8, kStandardReserved) && (header.present & ~enabled) == 0;
    if (!fine) raise_gp();
    return header;
  }
  const std::uint64_t places = header.compacted & ~kCompacted;
  const bool fine = (extensions(cpu) & kHasXsavec) != 0 && is_zero(16, kHeaderSize) && (places & ~enabled) == 0 &&
                    (header.present & ~places) == 0;
  if (!fine) raise_gp();
  return header;
}

/// The components in PRESENT from the area at ADDRESS, into BYTES.
void read_components(Cpu& cpu, std::uint64_t address, const xsave::View& view, const Layout& layout,
                     std::uint64_t present, std::span<std::byte> bytes) {
  const auto read = [&](std::size_t offset, std::size_t size) {
    if (size != 0) cpu.read_linear(address + offset, bytes.subspan(offset, size));
  };
  if (test_bit(present, xsave::kX87)) read(0, xsave::kXmm);
  if (test_bit(present, xsave::kSse)) read(xsave::kXmm, xsave::accessed_size(xsave::kSse, view));
  layout.for_each(present, [&](unsigned index, std::size_t offset, std::size_t room) {
    read(offset, std::min(room, xsave::accessed_size(index, view)));
  });
}

void load_components(FpuState& fpu, const xsave::View& view, const Layout& layout, std::uint64_t present,
                     std::span<const std::byte> bytes) {
  if (test_bit(present, xsave::kX87)) xsave::load(fpu, xsave::kX87, view, bytes);
  if (test_bit(present, xsave::kSse)) xsave::load(fpu, xsave::kSse, view, bytes.subspan(xsave::kXmm));
  layout.for_each(present, [&](unsigned index, std::size_t offset, std::size_t room) {
    if (xsave::accessed_size(index, view) <= room) xsave::load(fpu, index, view, bytes.subspan(offset));
  });
}

template <Restore kind, bool wide>
void restore(Cpu& cpu, const Instruction& i) {
  require(cpu, requirement::kXsave);
  if (kind == Restore::kXrstors && cpu.cpl != 0) raise_gp();
  const xsave::View view{.long_code = cpu.code_mode == CodeMode::kLong64, .wide_pointers = wide};
  const std::uint64_t enabled = kind == Restore::kXrstors ? cpu.xcr0 | cpu.msrs.xss : cpu.xcr0;
  const std::uint64_t wanted = requested(cpu, enabled);
  const std::uint64_t address = cpu.linear<AccessKind::kRead>(i.segment, area(cpu, i), xsave::kExtended);
  const Header header = read_header(cpu, address, kind, enabled);
  const std::uint64_t present = wanted & header.present;
  const Layout layout(cpu, header.compacted);

  std::array<std::byte, kBufferSize> bytes{};
  read_components(cpu, address, view, layout, present, bytes);
  // MXCSR belongs to SSE in the compacted format, to SSE and AVX, whether present or not, in the standard one.
  const bool loads_mxcsr =
      header.compacted != 0 ? test_bit(present, xsave::kSse) : (wanted & (x86::xcr::kSse | x86::xcr::kAvx)) != 0;
  std::uint32_t mxcsr =
      header.compacted != 0 && test_bit(wanted, xsave::kSse) ? FpuState::kInitialMxcsr : cpu.fpu.mxcsr();
  if (loads_mxcsr) mxcsr = cpu.load_linear<std::uint32_t>(address + FpuState::kMxcsr);
  if ((mxcsr & ~xsave::kValidMxcsr) != 0) raise_gp();

  const std::uint32_t pkru = cpu.fpu.pkru;
  for (std::uint64_t rest = wanted & ~present; rest != 0; rest &= rest - 1)
    xsave::initialize(cpu.fpu, static_cast<unsigned>(std::countr_zero(rest)), view);
  load_components(cpu.fpu, view, layout, present, bytes);
  cpu.fpu.set_mxcsr(mxcsr);
  set_pkru(cpu, std::exchange(cpu.fpu.pkru, pkru));
}

// --- XCR0 ---

void xgetbv(Cpu& cpu, const Instruction&) {
  if ((cpu.cr4 & x86::cr4::kOsxsave) == 0) raise_ud();
  const auto index = static_cast<std::uint32_t>(cpu.gpr[x86::kRcx]);
  std::uint64_t value = cpu.xcr0;
  if (index == 1 && (extensions(cpu) & kHasXgetbv1) != 0) {
    const xsave::View view{.long_code = cpu.code_mode == CodeMode::kLong64};
    value = in_use(cpu.fpu, cpu.xcr0, view);
    if (cpu.fpu.mxcsr() != FpuState::kInitialMxcsr) value |= cpu.xcr0 & x86::xcr::kSse;
  } else if (index != 0) {
    raise_gp();
  }
  cpu.gpr[x86::kRax] = value & 0xffff'ffffU;
  cpu.gpr[x86::kRdx] = value >> 32U;
}

/// What goes together goes together (SDM 1 13.3).
bool is_valid_xcr0(const Cpu& cpu, std::uint64_t value) {
  using namespace x86::xcr;
  const x86::CpuidEntry* const leaf = x86::find_cpuid(cpu.cpuid, kLeaf, 0);
  const std::uint64_t supported = leaf == nullptr ? kLegacyComponents : std::uint64_t{leaf->edx} << 32U | leaf->eax;
  const auto all_or_none = [value](std::uint64_t set) { return (value & set) == 0 || (value & set) == set; };
  return (value & kX87) != 0 && (value & ~supported) == 0 && ((value & kAvx) == 0 || (value & kSse) != 0) &&
         ((value & kAvx512) == 0 || (value & kAvx) != 0) && all_or_none(kAvx512) && all_or_none(kMpx) &&
         all_or_none(kAmx);
}

void xsetbv(Cpu& cpu, const Instruction&) {
  if ((cpu.cr4 & x86::cr4::kOsxsave) == 0) raise_ud();
  if (cpu.cpl != 0 || static_cast<std::uint32_t>(cpu.gpr[x86::kRcx]) != 0) raise_gp();
  const std::uint64_t value = requested(cpu, ~std::uint64_t{0});
  if (!is_valid_xcr0(cpu, value)) raise_gp();
  cpu.xcr0 = value;
}

template <Handler handler>
Handler always(const Decoded&, Instruction&) {
  return handler;
}

constexpr std::array kRows = {
    OperationRow{ZYDIS_MNEMONIC_XSAVE, always<save<Variant::kXsave, false>>},
    OperationRow{ZYDIS_MNEMONIC_XSAVE64, always<save<Variant::kXsave, true>>},
    OperationRow{ZYDIS_MNEMONIC_XSAVEOPT, always<save<Variant::kXsaveopt, false>>},
    OperationRow{ZYDIS_MNEMONIC_XSAVEOPT64, always<save<Variant::kXsaveopt, true>>},
    OperationRow{ZYDIS_MNEMONIC_XSAVEC, always<save<Variant::kXsavec, false>>},
    OperationRow{ZYDIS_MNEMONIC_XSAVEC64, always<save<Variant::kXsavec, true>>},
    OperationRow{ZYDIS_MNEMONIC_XSAVES, always<save<Variant::kXsaves, false>>},
    OperationRow{ZYDIS_MNEMONIC_XSAVES64, always<save<Variant::kXsaves, true>>},
    OperationRow{ZYDIS_MNEMONIC_XRSTOR, always<restore<Restore::kXrstor, false>>},
    OperationRow{ZYDIS_MNEMONIC_XRSTOR64, always<restore<Restore::kXrstor, true>>},
    OperationRow{ZYDIS_MNEMONIC_XRSTORS, always<restore<Restore::kXrstors, false>>},
    OperationRow{ZYDIS_MNEMONIC_XRSTORS64, always<restore<Restore::kXrstors, true>>},
    OperationRow{ZYDIS_MNEMONIC_XGETBV, always<xgetbv>},
    OperationRow{ZYDIS_MNEMONIC_XSETBV, always<xsetbv>},
};

}  // namespace

std::span<const OperationRow> xsave_operations() {
  return kRows;
}

}  // namespace doppel::accel::soft
