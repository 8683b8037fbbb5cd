#include "guest_runner.h"

#include <sys/mman.h>

#include <cstring>

#include "accel/soft/interpreter/core_state.h"
#include "accel/tiny_guest.h"
#include "host_state.h"
#include "x86/cpuid_table.h"
#include "x86/features.h"

namespace doppel::oracle {

using namespace accel::soft;

namespace {

constexpr std::size_t kRamSize = 0x20000;

// Page tables from PML4 on, one of each level (SDM 3A 4.5).
constexpr std::uint64_t kPml4 = 0x10000;
constexpr std::uint64_t kPageTable = kPml4 + 3 * layout::kPage;
constexpr std::uint64_t kEntry = 0x67;  // present, writable, user, accessed, dirty

std::byte* map(std::size_t size) {
  return static_cast<std::byte*>(::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

x86::FeatureSet host_features() {
  return x86::features_of(x86::host_cpuid_table());
}

}  // namespace

GuestRunner::GuestRunner(std::uint64_t fs_base, std::uint64_t gs_base)
    : ram_(map(kRamSize)),
      data_(map(layout::kDataSize)),
      decoder_((cpu_.features = host_features()), stubs_),
      isa_sets_(isa_sets_of(cpu_.features)) {
  const accel::MemorySlot low{.slot = 0, .address = {0}, .size = kRamSize, .host = ram_};
  const accel::MemorySlot high{.slot = 1, .address = {layout::kData}, .size = layout::kDataSize, .host = data_};
  machine_.rendezvous.exclusive(false, [&] {
    (void)machine_.ram.set(low);
    (void)machine_.ram.set(high);
  });
  write_page_tables();
  start(fs_base, gs_base);
  machine_.rendezvous.enter();
}

GuestRunner::~GuestRunner() {
  machine_.rendezvous.leave();
  ::munmap(ram_, kRamSize);
  ::munmap(data_, layout::kDataSize);
}

std::span<std::byte, layout::kDataSize> GuestRunner::data() const {
  return std::span<std::byte, layout::kDataSize>(data_, layout::kDataSize);
}

void GuestRunner::write_page_tables() {
  const auto put = [&](std::uint64_t table, std::uint64_t index, std::uint64_t value) {
    std::memcpy(ram_ + table + index * 8, &value, sizeof value);
  };
  write_upper_tables(ram_, kPml4, kEntry);
  for (std::uint64_t offset = 0; offset < layout::kDataSize; offset += layout::kPage) {
    const std::uint64_t address = layout::kData + offset;
    put(kPageTable, address >> 12U & 0x1ff, address | kEntry);
  }
}

void GuestRunner::start(std::uint64_t fs_base, std::uint64_t gs_base) {
  x86::CpuState state;
  save_core_state(cpu_, state, x86::StateParts::kAll);
  accel::tiny::set_start_state(state, accel::tiny::Mode::kUser64, layout::kCode);
  take_host_environment(state, kPml4, fs_base, gs_base);
  load_core_state(cpu_, state, x86::StateParts::kAll);
  cpu_.xcr0 = state.xcr0;
  cpu_.cpuid = x86::host_cpuid_table();
  cpu_.fpu.reset();
}

bool GuestRunner::has(ZydisISASet set) const {
  return isa_sets_[set];
}

bool GuestRunner::decode(std::uint64_t address, std::span<const std::uint8_t> bytes) {
  address_ = address;
  if (stubs_.wants_clear()) stubs_.clear();
  return decoder_.decode(bytes, CodeMode::kLong64, instruction_) == DecodeStatus::kDone;
}

GuestRunner::Decoded GuestRunner::decode_also(std::uint64_t address, std::span<const std::uint8_t> bytes) {
  Decoded decoded{.address = address, .instruction = {}};
  (void)decoder_.decode(bytes, CodeMode::kLong64, decoded.instruction);
  return decoded;
}

void GuestRunner::execute() {
  // REP instructions ask to be run again by standing still.
  do {
    cpu_.leave_block = false;
    cpu_.rip = address_ + instruction_.length;
    instruction_.handler(cpu_, instruction_);
  } while (cpu_.rip == address_ && cpu_.leave_block);
}

Ending GuestRunner::run(ProcessorState& state) {
  cpu_.gpr = state.gpr;
  const bool alignment_changes = ((cpu_.rflags ^ state.rflags) & x86::rflags::kAc) != 0;
  cpu_.rflags = state.rflags;
  if (alignment_changes) cpu_.update_mode();
  cpu_.fpu = state.fpu;
  cpu_.instruction_start = address_;
  Ending ending;
  try {
    execute();
  } catch (const Fault& fault) {
    cpu_.rip = address_;
    ending = {
        .vector = fault.vector, .error_code = fault.error_code, .cr2 = fault.vector == x86::kPageFault ? cpu_.cr2 : 0};
  } catch (const BusWait&) {
    ending.vector = -2;  // never natively
    cpu_.bus.clear();
  }
  state.gpr = cpu_.gpr;
  state.rip = cpu_.rip;
  state.rflags = cpu_.rflags;
  state.fpu = cpu_.fpu;
  return ending;
}

}  // namespace doppel::oracle
