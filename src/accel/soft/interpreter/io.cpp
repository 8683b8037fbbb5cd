// IN, OUT and their string forms (SDM 1 chapter 19; 2A to 2B by name).
#include <algorithm>
#include <array>

#include "accel/soft/interpreter/debug.h"
#include "accel/soft/interpreter/operation.h"
#include "accel/soft/interpreter/register_offset.h"
#include "base/endian.h"
#include "x86/descriptor.h"

namespace doppel::accel::soft {

namespace {

/// I/O privilege (SDM 1 19.5): CPL against IOPL, else the TSS' bitmap, which alone counts in VM86.
void check_bitmap(Cpu& cpu, std::uint16_t port, unsigned size) {
  const bool has_bitmap = !cpu.tr.unusable && cpu.tr.present && cpu.tr.type >= x86::kTssAvailable;
  if (!has_bitmap || cpu.tr.limit < x86::tss32::kIoMapBase + 1) raise_gp();
  static_assert(x86::tss32::kIoMapBase == x86::tss64::kIoMapBase);
  const std::uint32_t bytes = cpu.load_system<std::uint16_t>(cpu.tr.base + x86::tss32::kIoMapBase) + port / 8U;
  // Two bytes are read whatever the port, so the byte behind its own must lie in the TSS too.
  if (bytes + 1 > cpu.tr.limit) raise_gp();
  const std::uint32_t map = cpu.load_system<std::uint16_t>(cpu.tr.base + bytes);
  if ((map >> (port % 8U) & low_mask(size)) != 0) raise_gp();
}
void check_permission(Cpu& cpu, std::uint16_t port, unsigned size) {
  if (cpu.protected_mode && (cpu.cpl > cpu.iopl() || cpu.vm86)) [[unlikely]]
    check_bitmap(cpu, port, size);
}

/// I/O breakpoints trap behind the instruction (SDM 3B 18.2.5).
void check_breakpoints(Cpu& cpu, std::uint16_t port, unsigned size) {
  const auto [address, dr7] = breakpoints(cpu);
  if ((dr7 & x86::dr7::kEnables) == 0 || (!cpu.host_owns_dr && (cpu.cr4 & x86::cr4::kDe) == 0)) [[likely]]
    return;
  for (unsigned n = 0; n < 4; ++n) {
    if (!breakpoint_enabled(dr7, n) || breakpoint_kind(dr7, n) != BreakpointKind::kPort) continue;
    const std::uint64_t length = breakpoint_length(dr7, n);
    const std::uint64_t first = address.at(n) & ~(length - 1);
    if (first > port + size - 1U || first + length <= port) continue;
    cpu.pending_dr6 |= std::uint64_t{1} << n;
    cpu.leave_block = true;
  }
}

/// The answer to ACCESS; null: it is not there, and the instruction will begin anew with it.
const BusAccess* ask(Cpu& cpu, const BusAccess& access) {
  const BusAccess* answer = cpu.bus.next(access);
  if (answer != nullptr) return answer;
  cpu.rip = cpu.instruction_start;
  cpu.stop = StopReason::kBus;
  cpu.leave_block = true;
  return nullptr;
}
BusAccess port_access(IoDirection direction, std::uint16_t port, unsigned size) {
  return {.kind = BusAccess::Kind::kPort,
          .direction = direction,
          .address = port,
          .size = static_cast<std::uint8_t>(size),
          .value = 0,
          .fault = 0,
          .count = 0};
}

template <class T>
void in(Cpu& cpu, std::uint16_t port) {
  check_permission(cpu, port, sizeof(T));
  const BusAccess* answer = ask(cpu, port_access(IoDirection::kIn, port, sizeof(T)));
  if (answer == nullptr) return;
  cpu.set<T>(kAccumulator, static_cast<T>(answer->value));
  check_breakpoints(cpu, port, sizeof(T));
}
template <class T>
void out(Cpu& cpu, std::uint16_t port) {
  check_permission(cpu, port, sizeof(T));
  BusAccess access = port_access(IoDirection::kOut, port, sizeof(T));
  access.value = cpu.get<T>(kAccumulator);
  if (ask(cpu, access) != nullptr) check_breakpoints(cpu, port, sizeof(T));
}

template <class T>
void in_imm(Cpu& cpu, const Instruction& i) {
  in<T>(cpu, static_cast<std::uint8_t>(i.imm));
}
template <class T>
void in_dx(Cpu& cpu, const Instruction&) {
  in<T>(cpu, cpu.get<std::uint16_t>(kData));
}
template <class T>
void out_imm(Cpu& cpu, const Instruction& i) {
  out<T>(cpu, static_cast<std::uint8_t>(i.imm));
}
template <class T>
void out_dx(Cpu& cpu, const Instruction&) {
  out<T>(cpu, cpu.get<std::uint16_t>(kData));
}

// --- Strings. An execution of the instruction makes one access, of several elements where memory lets it. ---

/// RCX, RSI or RDI by address size: 16 bits leave the rest alone, 32 bits clear it.
void set_index(Cpu& cpu, RegisterOffset reg, unsigned address_size, std::uint64_t value) {
  if (address_size == 2)
    cpu.set<std::uint16_t>(reg, static_cast<std::uint16_t>(value));
  else if (address_size == 4)
    cpu.set<std::uint32_t>(reg, static_cast<std::uint32_t>(value));
  else
    cpu.set<std::uint64_t>(reg, value);
}

/// What is to be done of a string instruction, and how far one access gets.
struct StringRun {
  std::uint64_t mask;    // of the address size
  std::uint64_t count;   // elements left, 1 without a repeat prefix
  std::uint64_t offset;  // of the next element
  bool backwards;
};
StringRun string_run(const Cpu& cpu, const Instruction& i, RegisterOffset index) {
  const std::uint64_t mask = low_mask(i.address_size * 8U);
  return {.mask = mask,
          .count = i.repeat == Repeat::kNone ? 1 : cpu.gpr[x86::kRcx] & mask,
          .offset = cpu.get<std::uint64_t>(index) & mask,
          .backwards = cpu.flag(x86::rflags::kDf)};
}

/// How many elements of SIZE bytes from LINEAR on one access may take: those before the end of the page.
std::uint64_t batch(Cpu& cpu, const StringRun& run, std::uint64_t linear, unsigned size) {
  if (run.count == 1 || run.backwards || breakpoints_enabled(cpu) || cpu.host_single_step || cpu.flag(x86::rflags::kTf))
    return 1;
  const std::uint64_t in_page = (x86::kPageSize - linear % x86::kPageSize) / size;
  const std::uint64_t before_wrap = (run.mask - run.offset) / size;
  return std::max<std::uint64_t>(1, std::min({run.count, in_page, before_wrap, cpu.bus.block().size() / size}));
}

/// ELEMENTS are done: moves on, and comes back for the rest.
void finish(Cpu& cpu, const Instruction& i, RegisterOffset index, const StringRun& run, std::uint64_t elements,
            unsigned size) {
  const std::uint64_t distance = elements * size;
  set_index(cpu, index, i.address_size, run.backwards ? run.offset - distance : run.offset + distance);
  if (i.repeat == Repeat::kNone) return;
  set_index(cpu, kCounter, i.address_size, run.count - elements);
  if (run.count == elements) return;
  cpu.rip = cpu.instruction_start;
  cpu.leave_block = true;
}

/// The segment check for ELEMENTS, or for just the first if the others do not lie in the segment.
template <AccessKind kKind>
bool fits(const Cpu& cpu, x86::SegmentName segment, const StringRun& run, std::uint64_t elements, unsigned size) {
  const std::uint64_t last = run.offset + elements * size;
  const SegmentView& view = cpu.view[segment];
  if (cpu.code_mode == CodeMode::kLong64) return true;
  return last <= (kKind == AccessKind::kWrite ? view.write_end : view.read_end);
}

template <class T>
void outs(Cpu& cpu, const Instruction& i) {
  const StringRun run = string_run(cpu, i, kSource);
  const auto port = cpu.get<std::uint16_t>(kData);
  check_permission(cpu, port, sizeof(T));  // even if there is nothing to do
  if (run.count == 0) return;
  const std::uint64_t linear = cpu.linear<AccessKind::kRead>(i.segment, run.offset, sizeof(T));
  BusAccess access = port_access(IoDirection::kOut, port, sizeof(T));
  std::uint64_t elements = batch(cpu, run, linear, sizeof(T));
  if (!fits<AccessKind::kRead>(cpu, i.segment, run, elements, sizeof(T))) elements = 1;
  const std::byte* source = elements > 1 ? cpu.direct(linear, elements * sizeof(T), AccessKind::kRead) : nullptr;
  if (source != nullptr) {
    access.count = static_cast<std::uint32_t>(elements);
    if (cpu.bus.empty()) std::copy_n(source, elements * sizeof(T), cpu.bus.block().begin());
  } else {
    elements = 1;
    access.value = cpu.load_linear<T>(linear);
  }
  const BusAccess* answer = ask(cpu, access);
  if (answer == nullptr) return;
  check_breakpoints(cpu, port, sizeof(T));
  finish(cpu, i, kSource, run, answer->count == 0 ? 1 : answer->count, sizeof(T));
}

template <class T>
void ins(Cpu& cpu, const Instruction& i) {
  const StringRun run = string_run(cpu, i, kDestination);
  const auto port = cpu.get<std::uint16_t>(kData);
  check_permission(cpu, port, sizeof(T));  // even if there is nothing to do
  if (run.count == 0) return;
  const std::uint64_t linear = cpu.linear<AccessKind::kWrite>(x86::kEs, run.offset, sizeof(T));
  BusAccess access = port_access(IoDirection::kIn, port, sizeof(T));
  std::uint64_t elements = batch(cpu, run, linear, sizeof(T));
  if (!fits<AccessKind::kWrite>(cpu, x86::kEs, run, elements, sizeof(T))) elements = 1;
  if (elements > 1 && cpu.direct(linear, elements * sizeof(T), AccessKind::kWrite) != nullptr)
    access.count = static_cast<std::uint32_t>(elements);
  else
    cpu.probe(linear, sizeof(T), AccessKind::kWrite);  // before the device has an effect
  const BusAccess* answer = ask(cpu, access);
  if (answer == nullptr) return;
  const BusAccess given = *answer;  // a store to a device makes another access
  if (given.count == 0) {
    cpu.store_linear<T>(linear, static_cast<T>(given.value));
  } else {
    const auto block = cpu.bus.block().first(given.count * sizeof(T));
    if (std::byte* target = cpu.direct(linear, block.size(), AccessKind::kWrite); target != nullptr) {
      std::ranges::copy(block, target);
      cpu.wrote(linear, block.size());
    } else {
      cpu.write_linear(linear, block);  // what was RAM when the access began is none any more
    }
  }
  check_breakpoints(cpu, port, sizeof(T));
  finish(cpu, i, kDestination, run, given.count == 0 ? 1 : given.count, sizeof(T));
}

// --- Tables ---

Handler select_in(const Decoded& decoded, Instruction&) {
  if (decoded.is_immediate(1))
    return BySize{.size1 = in_imm<std::uint8_t>, .size2 = in_imm<std::uint16_t>, .size4 = in_imm<std::uint32_t>}.of(
        decoded.size(0));
  return BySize{.size1 = in_dx<std::uint8_t>, .size2 = in_dx<std::uint16_t>, .size4 = in_dx<std::uint32_t>}.of(
      decoded.size(0));
}
Handler select_out(const Decoded& decoded, Instruction&) {
  if (decoded.is_immediate(0))
    return BySize{.size1 = out_imm<std::uint8_t>, .size2 = out_imm<std::uint16_t>, .size4 = out_imm<std::uint32_t>}.of(
        decoded.size(1));
  return BySize{.size1 = out_dx<std::uint8_t>, .size2 = out_dx<std::uint16_t>, .size4 = out_dx<std::uint32_t>}.of(
      decoded.size(1));
}
template <Handler kHandler>
Handler select(const Decoded&, Instruction&) {
  return kHandler;
}

constexpr std::array kRows = {
    OperationRow{ZYDIS_MNEMONIC_IN, select_in},
    OperationRow{ZYDIS_MNEMONIC_OUT, select_out},
    OperationRow{ZYDIS_MNEMONIC_INSB, select<ins<std::uint8_t>>},
    OperationRow{ZYDIS_MNEMONIC_INSW, select<ins<std::uint16_t>>},
    OperationRow{ZYDIS_MNEMONIC_INSD, select<ins<std::uint32_t>>},
    OperationRow{ZYDIS_MNEMONIC_OUTSB, select<outs<std::uint8_t>>},
    OperationRow{ZYDIS_MNEMONIC_OUTSW, select<outs<std::uint16_t>>},
    OperationRow{ZYDIS_MNEMONIC_OUTSD, select<outs<std::uint32_t>>},
};

}  // namespace

std::span<const OperationRow> io_operations() {
  return kRows;
}

}  // namespace doppel::accel::soft
