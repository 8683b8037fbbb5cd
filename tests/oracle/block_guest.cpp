#include "block_guest.h"

#include <sys/mman.h>

#include <cstring>

#include "accel/soft/interpreter/core_state.h"
#include "accel/tiny_guest.h"
#include "host_state.h"
#include "x86/cpuid_table.h"
#include "x86/features.h"

namespace doppel::oracle {

using namespace accel::soft;
namespace tiny = accel::tiny;

namespace {

constexpr std::size_t kRamSize = 0x20000;

// Page tables behind the tiny guest's own: one of each level, and a large page for what lies at 0.
constexpr std::uint64_t kPml4 = 0x18000;
constexpr std::uint64_t kPageDirectory = kPml4 + 2 * layout::kPage;
constexpr std::uint64_t kPageTable = kPml4 + 3 * layout::kPage;
constexpr std::uint64_t kUserEntry = 0x67;    // present, writable, user, accessed, dirty
constexpr std::uint64_t kKernelLarge = 0xe3;  // present, writable, accessed, dirty, large
constexpr std::uint64_t kNoExecute = std::uint64_t{1} << 63U;

constexpr unsigned kVectors = 32;
constexpr std::uint8_t kHlt = 0xf4;

std::byte* map(std::size_t size) {
  return static_cast<std::byte*>(::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

bool pushes_error_code(unsigned vector) {
  constexpr std::uint32_t kVectorsWith = 1U << x86::kDoubleFault | 0x7c00U | 1U << x86::kAlignmentCheck | 1U << 21U;
  return (kVectorsWith >> vector & 1U) != 0;
}

}  // namespace

BlockGuest::BlockGuest(std::uint64_t fs_base, std::uint64_t gs_base, const Options& options)
    : ram_(map(kRamSize)), code_(map(layout::kCodeSize)), data_(map(layout::kDataSize)), ram_writes_(kRamSize) {
  const auto slot = [](unsigned number, std::uint64_t address, std::size_t size, std::byte* host,
                       memory::DirtyBitmap& writes) {
    return accel::MemorySlot{.slot = number, .address = {address}, .size = size, .host = host, .dirty = &writes};
  };
  std::memset(code_, 0xcc, layout::kCodeSize);
  tiny::write_tables({ram_, kRamSize});
  write_page_tables();
  write_handlers();
  machine_.rendezvous.exclusive(false, [&] {
    (void)machine_.ram.set(slot(0, 0, kRamSize, ram_, ram_writes_));
    (void)machine_.ram.set(slot(1, layout::kCode, layout::kCodeSize, code_, code_writes_));
    (void)machine_.ram.set(slot(2, layout::kData, layout::kDataSize, data_, data_writes_));
  });
  cpu_.features = x86::features_of(x86::host_cpuid_table());
  interpreter_.forget_code();
  start(fs_base, gs_base);
  constexpr std::size_t kCodeBytes = std::size_t{16} << 20U;
  auto translator = Translator::create(cpu_, interpreter_.cache(),
                                       {.on = true,
                                        .code_size = kCodeBytes,
                                        .threshold = 1,  // else no block would know which others come next
                                        .verify = options.verify ? TranslationOptions::kAlways : 0,
                                        .all_hot = options.hot});
  if (translator) {
    translator_ = *std::move(translator);
    interpreter_.set_translated_code(translator_.get());
  } else {
    complaint_ = translator.error().describe();
  }
  machine_.rendezvous.enter();
}

BlockGuest::~BlockGuest() {
  machine_.rendezvous.leave();
  ::munmap(ram_, kRamSize);
  ::munmap(code_, layout::kCodeSize);
  ::munmap(data_, layout::kDataSize);
}

std::span<std::byte, layout::kDataSize> BlockGuest::data() const {
  return std::span<std::byte, layout::kDataSize>(data_, layout::kDataSize);
}

void BlockGuest::write_page_tables() {
  const auto put = [&](std::uint64_t table, std::uint64_t index, std::uint64_t value) {
    std::memcpy(ram_ + table + index * 8, &value, sizeof value);
  };
  write_upper_tables(ram_, kPml4, kUserEntry);
  put(kPageDirectory, 0, kKernelLarge);
  const auto put_pages = [&](std::uint64_t first, std::uint64_t size, std::uint64_t rights) {
    for (std::uint64_t address = first; address < first + size; address += layout::kPage)
      put(kPageTable, address >> 12U & 0x1ff, address | rights);
  };
  put_pages(layout::kCode, layout::kCodeSize, kUserEntry);
  put_pages(layout::kData, layout::kDataSize, kUserEntry | kNoExecute);
}

void BlockGuest::write_handlers() {
  for (unsigned vector = 0; vector < kVectors; ++vector) {
    tiny::write_gate({ram_, kRamSize}, tiny::Mode::kUser64, static_cast<std::uint8_t>(vector), tiny::kHandler + vector);
    ram_[tiny::kHandler + vector] = std::byte{kHlt};
  }
}

void BlockGuest::start(std::uint64_t fs_base, std::uint64_t gs_base) {
  x86::CpuState state;
  save_core_state(cpu_, state, x86::StateParts::kAll);
  tiny::set_start_state(state, tiny::Mode::kUser64, layout::kCode);
  take_host_environment(state, kPml4, fs_base, gs_base);
  state.efer |= x86::efer::kNxe;
  load_core_state(cpu_, state, x86::StateParts::kAll);
  cpu_.xcr0 = state.xcr0;
  cpu_.cpuid = x86::host_cpuid_table();
  cpu_.fpu.reset();
  user_segments_ = cpu_.segment;
}

void BlockGuest::write_code(std::uint64_t address, std::span<const std::uint8_t> bytes) {
  const std::uint64_t offset = address - layout::kCode;
  std::memcpy(code_ + offset, bytes.data(), bytes.size());
  code_writes_.mark(offset, bytes.size());
}

Ending BlockGuest::run(ProcessorState& state) {
  cpu_.gpr = state.gpr;
  cpu_.rip = state.rip;
  cpu_.rflags = state.rflags;
  cpu_.fpu = state.fpu;
  cpu_.segment = user_segments_;
  cpu_.stop = StopReason::kNone;
  cpu_.bus.clear();
  cpu_.update_mode();
  const StopReason reason = interpreter_.run();
  state.gpr = cpu_.gpr;
  state.rip = cpu_.rip;
  state.rflags = cpu_.rflags;
  state.fpu = cpu_.fpu;
  if (reason == StopReason::kHalt && cpu_.cpl == 0) return take_exception(state);
  return {.vector = reason == StopReason::kDifference ? kDifferent : -2, .error_code = 0, .cr2 = 0};
}

/// From the frame that it pushed (SDM 3A figure 6-9).
Ending BlockGuest::take_exception(ProcessorState& state) {
  const auto vector = static_cast<unsigned>(cpu_.rip - tiny::kHandler - 1);
  Ending ending{.vector = static_cast<int>(vector), .error_code = 0, .cr2 = 0};
  std::uint64_t at = state.gpr[x86::kRsp];
  const auto pop = [&] {
    std::uint64_t value = 0;
    std::memcpy(&value, ram_ + at % kRamSize, sizeof value);
    at += sizeof value;
    return value;
  };
  if (pushes_error_code(vector)) ending.error_code = static_cast<std::uint32_t>(pop());
  state.rip = pop();
  (void)pop();  // CS
  state.rflags = pop() & ~x86::rflags::kRf;
  state.gpr[x86::kRsp] = pop();
  if (vector == x86::kPageFault) ending.cr2 = cpu_.cr2;
  if (vector != x86::kBreakpoint) return ending;
  --state.rip;
  return {};
}

}  // namespace doppel::oracle
