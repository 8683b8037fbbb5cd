#include "accel/tiny_guest.h"

#include <array>

#include "base/bits.h"
#include "base/endian.h"

namespace doppel::accel::tiny {

namespace {

// Control register bits (SDM 3A 2.5).
constexpr std::uint64_t kCr0Protected = bit(0), kCr0Coprocessor = bit(1), kCr0ExtensionType = bit(4),
                        kCr0NumericError = bit(5), kCr0WriteProtect = bit(16), kCr0Paging = bit(31);
constexpr std::uint64_t kCr4PageSize = bit(4), kCr4Pae = bit(5), kCr4Sse = bit(9), kCr4SseExceptions = bit(10);
constexpr std::uint64_t kEferSyscall = bit(0), kEferLongEnable = bit(8), kEferLongActive = bit(10);
constexpr std::uint64_t kRflagsIopl3 = 3U << 12;

// Page table entry: present, writable, user, accessed, dirty.
constexpr std::uint64_t kTableEntry = 0x27, kPageEntry = 0x67, kLargePage = 0x80;

constexpr std::uint32_t kTssLimit = 0x67;

constexpr x86::Segment kRealSegment = {.limit = 0xffff, .type = 3};
constexpr x86::Segment kRealCode = {.limit = 0xffff, .type = 0xb};
constexpr x86::Segment kFlatCode32 = {
    .limit = 0xffffffff, .selector = kCode32, .type = 0xb, .default_big = true, .granularity = true};
constexpr x86::Segment kFlatData32 = {
    .limit = 0xffffffff, .selector = kData32, .type = 3, .default_big = true, .granularity = true};
constexpr x86::Segment kFlatCode64 = {
    .limit = 0xffffffff, .selector = kCode64, .type = 0xb, .long_mode = true, .granularity = true};
constexpr x86::Segment kFlatData64 = {
    .limit = 0xffffffff, .selector = kData64, .type = 3, .default_big = true, .granularity = true};
constexpr x86::Segment kFlatUserCode64 = {
    .limit = 0xffffffff, .selector = kUserCode64, .type = 0xb, .dpl = 3, .long_mode = true, .granularity = true};
constexpr x86::Segment kFlatUserData = {
    .limit = 0xffffffff, .selector = kUserData, .type = 3, .dpl = 3, .default_big = true, .granularity = true};
constexpr x86::Segment kTaskState = {
    .base = kTss, .limit = kTssLimit, .selector = kTssSelector, .type = 0xb, .code_or_data = false};
constexpr x86::Segment kRealTaskState = {.limit = 0xffff, .type = 0xb, .code_or_data = false};
constexpr x86::Segment kNoLdt = {.limit = 0xffff, .type = 2, .code_or_data = false, .unusable = true};

/// As it stands in the GDT (SDM 3A 3.4.5).
std::uint64_t descriptor(const x86::Segment& segment) {
  const std::uint64_t limit = segment.granularity ? segment.limit >> 12 : segment.limit;
  return (limit & 0xffff) | (segment.base & 0xffffff) << 16 | std::uint64_t{segment.type} << 40 |
         std::uint64_t{segment.code_or_data} << 44 | std::uint64_t{segment.dpl} << 45 | bit(47) |
         (limit >> 16 & 0xf) << 48 | std::uint64_t{segment.long_mode} << 53 | std::uint64_t{segment.default_big} << 54 |
         std::uint64_t{segment.granularity} << 55 | (segment.base >> 24 & 0xff) << 56;
}

template <class T>
void store(std::span<std::byte> memory, std::uint64_t at, T value) {
  store_le(memory.subspan(static_cast<std::size_t>(at), sizeof value).data(), value);
}

void write_descriptors(std::span<std::byte> memory) {
  const auto put = [&](std::uint16_t selector, std::uint64_t value) { store(memory, kGdt + (selector & ~7U), value); };
  x86::Segment user_code32 = kFlatCode32;
  user_code32.dpl = 3;
  put(kCode32, descriptor(kFlatCode32));
  put(kData32, descriptor(kFlatData32));
  put(kCode64, descriptor(kFlatCode64));
  put(kData64, descriptor(kFlatData64));
  put(kUserCode32, descriptor(user_code32));
  put(kUserData, descriptor(kFlatUserData));
  put(kUserCode64, descriptor(kFlatUserCode64));
  put(kTssSelector, descriptor(kTaskState));  // the upper half of its base, in the next slot, is 0
  store<std::uint64_t>(memory, kTss + 4, kKernelStackTop);
}

void write_page_tables(std::span<std::byte> memory) {
  constexpr std::uint64_t kPdpt = kPml4 + 0x1000;
  store(memory, kPml4, kPdpt | kTableEntry);
  for (std::uint64_t gib = 0; gib < 4; ++gib) {
    const std::uint64_t directory = kPageDirectories + gib * 0x1000;
    store(memory, kPdpt + gib * 8, directory | kTableEntry);
    for (std::uint64_t i = 0; i < 512; ++i)
      store(memory, directory + i * 8, (gib * kGiB + i * 2 * kMiB) | kPageEntry | kLargePage);
  }
  for (std::uint64_t i = 0; i < 1024; ++i)
    store(memory, kPageDirectory32 + i * 4, static_cast<std::uint32_t>(i * 4 * kMiB | kPageEntry | kLargePage));
}

struct SegmentSet {
  x86::Segment code, data, task;
};

SegmentSet segments_of(Mode mode) {
  switch (mode) {
    case Mode::kReal16: return {kRealCode, kRealSegment, kRealTaskState};
    case Mode::kProtected32:
    case Mode::kPaged32: return {kFlatCode32, kFlatData32, kTaskState};
    case Mode::kLong64: return {kFlatCode64, kFlatData64, kTaskState};
    case Mode::kUser64: return {kFlatUserCode64, kFlatUserData, kTaskState};
  }
  return {};
}

}  // namespace

void write_tables(std::span<std::byte> memory) {
  write_descriptors(memory);
  write_page_tables(memory);
}

void write_gate(std::span<std::byte> memory, Mode mode, std::uint8_t vector, std::uint64_t handler) {
  constexpr std::uint64_t kInterruptGate = std::uint64_t{0xee} << 40;  // present, DPL 3, 32 or 64 bits wide
  const std::uint64_t offset = (handler & 0xffff) | (handler >> 16 & 0xffff) << 48;
  switch (mode) {
    case Mode::kReal16: store(memory, vector * 4ULL, static_cast<std::uint32_t>(handler)); break;
    case Mode::kProtected32:
    case Mode::kPaged32:
      store(memory, kIdt + vector * 8ULL, offset | std::uint64_t{kCode32} << 16 | kInterruptGate);
      break;
    case Mode::kLong64:
    case Mode::kUser64:
      store(memory, kIdt + vector * 16ULL, offset | std::uint64_t{kCode64} << 16 | kInterruptGate);
      store(memory, kIdt + vector * 16ULL + 8, handler >> 32);
      break;
  }
}

void set_start_state(x86::CpuState& state, Mode mode, std::uint64_t rip) {
  const SegmentSet segments = segments_of(mode);
  const bool is_real = mode == Mode::kReal16;
  const bool is_long = mode == Mode::kLong64 || mode == Mode::kUser64;
  state.gpr = {};
  state.gpr[x86::kRsp] = kStackTop;
  state.rip = rip;
  state.rflags = 2 | (mode == Mode::kUser64 ? kRflagsIopl3 : 0);
  state.segment.fill(segments.data);
  state.segment[x86::kCs] = segments.code;
  state.tr = segments.task;
  state.ldt = kNoLdt;
  state.gdt = {.base = is_real ? 0 : kGdt, .limit = is_real ? std::uint16_t{0xffff} : std::uint16_t{0x4f}};
  state.idt = {.base = is_real ? 0 : kIdt, .limit = is_real ? std::uint16_t{0x3ff} : std::uint16_t{0xfff}};
  state.cr0 = kCr0ExtensionType;
  state.cr2 = state.cr3 = state.cr4 = state.cr8 = state.efer = 0;
  state.events = {};
  if (is_real) return;
  state.cr0 |= kCr0Protected | kCr0Coprocessor | kCr0NumericError | kCr0WriteProtect;
  state.cr4 = kCr4Sse | kCr4SseExceptions;
  if (mode == Mode::kProtected32) return;
  state.cr0 |= kCr0Paging;
  state.cr3 = is_long ? kPml4 : kPageDirectory32;
  state.cr4 |= is_long ? kCr4Pae : kCr4PageSize;
  if (is_long) state.efer = kEferSyscall | kEferLongEnable | kEferLongActive;
}

Result<> start(Vcpu& vcpu, Mode mode, std::uint64_t rip) {
  using enum x86::StateParts;
  x86::CpuState state;
  DOPPEL_TRY(vcpu.get_state(state, kSystem));
  set_start_state(state, mode, rip);
  return vcpu.set_state(state, kRegisters | kSystem | kEvents);
}

}  // namespace doppel::accel::tiny
