#include "hw/firmware/boot_plan.h"

#include <algorithm>
#include <array>

#include "base/bits.h"
#include "base/text.h"

namespace doppel::hw {

namespace {

// Under the loaders' own area: nothing else uses it when there is no firmware.
constexpr std::uint64_t kGdtBase = 0x500;
constexpr std::uint64_t kPageTables = 0x1000;  // PML4, PDPT and four page directories: the first 4 GiB
constexpr std::uint64_t kIdentityGib = 4;
constexpr std::uint64_t kStackTop = kBootWorkspaceEnd;

constexpr std::uint16_t kCodeSelector = 0x10;  // what Linux's boot protocol demands; the others take anything flat
constexpr std::uint16_t kDataSelector = 0x18;
constexpr std::uint16_t kTaskSelector = 0x20;

constexpr std::uint8_t kCodeType = 0xb;  // execute, read, accessed
constexpr std::uint8_t kDataType = 0x3;  // read, write, accessed
constexpr std::uint8_t kBusyTask = 0xb;

constexpr std::uint64_t kCr0Pe = 1U << 0;
constexpr std::uint64_t kCr0Et = 1U << 4;
constexpr std::uint64_t kCr0Pg = 1U << 31;
constexpr std::uint64_t kCr4Pae = 1U << 5;
constexpr std::uint64_t kEferLme = 1U << 8;
constexpr std::uint64_t kEferLma = 1U << 10;

Bytes gdt(BootMode mode) {
  const std::uint64_t code = mode == BootMode::kLong64 ? 0x00af9b000000ffff : 0x00cf9b000000ffff;
  return ByteWriter().u64(0).u64(0).u64(code).u64(0x00cf93000000ffff).u64(0x00008b0000000067).u64(0).take();
}

/// 2 MiB pages, virtual = physical.
Bytes identity_page_tables() {
  constexpr std::uint64_t kPresentWritable = 3;
  constexpr std::uint64_t kLarge = 1U << 7;
  constexpr std::size_t kPage = memory::kPageSize;
  Bytes tables((2 + kIdentityGib) * kPage);
  store_le(tables.data(), (kPageTables + kPage) | kPresentWritable);
  for (std::uint64_t gib = 0; gib < kIdentityGib; ++gib) {
    store_le(tables.data() + kPage + 8 * gib, (kPageTables + (2 + gib) * kPage) | kPresentWritable);
    for (std::uint64_t i = 0; i < 512; ++i)
      store_le(tables.data() + (2 + gib) * kPage + 8 * i, (gib * kGiB + i * 2 * kMiB) | kLarge | kPresentWritable);
  }
  return tables;
}

x86::Segment flat_segment(std::uint16_t selector, std::uint8_t type, bool long_mode) {
  x86::Segment segment;
  segment.limit = 0xffffffff;
  segment.selector = selector;
  segment.type = type;
  segment.default_big = !long_mode;
  segment.long_mode = long_mode;
  segment.granularity = true;
  return segment;
}

void enter(const BootPlan& plan, x86::CpuState& cpu) {
  const bool long_mode = plan.mode == BootMode::kLong64;
  cpu.gpr = {};
  cpu.gpr[x86::kRax] = plan.eax;
  cpu.gpr[x86::kRbx] = plan.ebx;
  cpu.gpr[x86::kRsi] = plan.rsi;
  cpu.gpr[x86::kRsp] = kStackTop;
  cpu.rip = plan.entry;
  cpu.rflags = 2;
  for (x86::Segment& segment : cpu.segment) segment = flat_segment(kDataSelector, kDataType, false);
  cpu.segment[x86::kCs] = flat_segment(kCodeSelector, kCodeType, long_mode);
  cpu.tr = {};
  cpu.tr.selector = kTaskSelector;
  cpu.tr.limit = 0x67;
  cpu.tr.type = kBusyTask;
  cpu.tr.code_or_data = false;
  cpu.ldt = {};
  cpu.ldt.code_or_data = false;
  cpu.ldt.unusable = true;
  cpu.ldt.present = false;
  cpu.ldt.type = 2;
  cpu.gdt = {kGdtBase, 6 * 8 - 1};
  cpu.idt = {0, 0};
  cpu.cr0 = kCr0Pe | kCr0Et | (long_mode ? kCr0Pg : 0);
  cpu.cr3 = long_mode ? kPageTables : 0;
  cpu.cr4 = long_mode ? kCr4Pae : 0;
  cpu.efer = long_mode ? kEferLme | kEferLma : 0;
  cpu.mp_state = x86::MpState::kRunnable;
}

Result<> write_piece(const memory::DmaSpace& memory, const BootPiece& piece) {
  static constexpr std::array<std::byte, 64 * kKiB> kZeros{};
  if (!piece.data.empty()) DOPPEL_TRY(memory.write({piece.address}, piece.data.bytes()));
  for (std::uint64_t at = piece.data.size(); at < piece.size;) {
    const std::uint64_t step = std::min<std::uint64_t>(piece.size - at, kZeros.size());
    DOPPEL_TRY(memory.write({piece.address + at}, std::span(kZeros).first(step)));
    at += step;
  }
  return {};
}

}  // namespace

void BootPlan::add(std::uint64_t address, Blob data, std::uint64_t size) {
  const std::uint64_t whole = std::max<std::uint64_t>(size, data.size());
  pieces.push_back({address, std::move(data), whole});
}

Result<> check_pieces(const BootPlan& plan, const MemoryMap& map, std::string_view what) {
  std::vector<const BootPiece*> sorted;
  for (const BootPiece& piece : plan.pieces) {
    if (piece.size == 0) continue;
    if (!map.is_ram(piece.address, piece.size))
      return fail(ErrorKind::kNoSpace, "'{}' wants {} at {:#x}, where this machine has no RAM for it", what,
                  format_size(piece.size), piece.address);
    if (piece.address < kBootWorkspaceEnd)
      return fail(ErrorKind::kUnsupported, "'{}' wants to be loaded at {:#x}, which the loader itself needs", what,
                  piece.address);
    sorted.push_back(&piece);
  }
  std::ranges::sort(sorted, {}, [](const BootPiece* piece) { return piece->address; });
  for (std::size_t i = 1; i < sorted.size(); ++i)
    if (sorted[i]->address < sorted[i - 1]->end())
      return fail(ErrorKind::kNoSpace, "'{}' does not fit: {} at {:#x} and {} at {:#x} overlap", what,
                  format_size(sorted[i - 1]->size), sorted[i - 1]->address, format_size(sorted[i]->size),
                  sorted[i]->address);
  return {};
}

Result<std::uint64_t> place_at_top(std::uint64_t size, const BootMemory& memory, std::uint64_t limit,
                                   std::string_view what) {
  const std::uint64_t ram_end = memory.map.low_ram_end();
  const std::uint64_t usable = ram_end - std::min(memory.reserved_at_top, ram_end);
  const std::uint64_t top = std::min(usable, limit);
  if (top < kMiB || size > top - kMiB)
    return fail(ErrorKind::kNoSpace, "{} of {} does not fit in the RAM between 1 MiB and {:#x}{}", what,
                format_size(size), top, usable < limit ? "; raise -m" : "");
  return align_down(top - size, memory::kPageSize);
}

Result<> place(const BootPlan& plan, const memory::DmaSpace& memory, x86::CpuState& cpu) {
  for (const BootPiece& piece : plan.pieces) DOPPEL_TRY(write_piece(memory, piece));
  const Bytes descriptors = gdt(plan.mode);
  DOPPEL_TRY(memory.write({kGdtBase}, std::span(descriptors)));
  if (plan.mode == BootMode::kLong64) {
    const Bytes tables = identity_page_tables();
    DOPPEL_TRY(memory.write({kPageTables}, std::span(tables)));
  }
  enter(plan, cpu);
  return {};
}

}  // namespace doppel::hw
