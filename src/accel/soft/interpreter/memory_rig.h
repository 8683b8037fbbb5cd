// A processor with page tables to play with and a bus that writes down what it sees, for tests of memory accesses.
#pragma once

#include <sys/mman.h>

#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "accel/soft/interpreter/cpu.h"
#include "accel/soft/interpreter/paging.h"
#include "x86/features.h"

namespace doppel::accel::soft {

/// The paging modes of SDM 3A table 4-1.
enum class Paging : std::uint8_t { kNone, k32Bit, kPae, k4Level, k5Level };

class MemoryRig {
 public:
  static constexpr std::uint64_t kRamSize = 4U << 20U;  // slot 0, at guest-physical 0
  static constexpr std::uint64_t kRom = 0xfff0'0000;    // slot 1, read-only
  static constexpr std::uint64_t kRomSize = 0x1'0000;
  static constexpr std::uint64_t kDevice = 0xd000'0000;  // nothing there: MMIO
  static constexpr std::uint64_t kTables = 0x10'0000;    // page tables grow from here

  MemoryRig() {
    (void)machine.ram.set({.slot = 0, .address = {0}, .size = kRamSize, .host = host()});
    (void)machine.ram.set(
        {.slot = 1, .address = {kRom}, .size = kRomSize, .host = host() + kRamSize, .flags = SlotFlags::kReadOnly});
    cpu.features = x86::named_features();
    set_paging(Paging::kNone);
  }
  ~MemoryRig() { ::munmap(memory_, kRamSize + kRomSize); }
  MemoryRig(const MemoryRig&) = delete;
  MemoryRig& operator=(const MemoryRig&) = delete;

  [[nodiscard]] std::byte* host() const { return static_cast<std::byte*>(memory_); }
  template <class T>
  [[nodiscard]] T peek(std::uint64_t gpa) const {
    T value;
    std::memcpy(&value, host() + (gpa >= kRom ? gpa - kRom + kRamSize : gpa), sizeof value);
    return value;
  }
  template <class T>
  void poke(std::uint64_t gpa, T value) const {
    std::memcpy(host() + (gpa >= kRom ? gpa - kRom + kRamSize : gpa), &value, sizeof value);
  }

  /// Empty page tables of MODE, with CR0.WP and NX on, at privilege level 0 with flat segments.
  void set_paging(Paging mode) {
    mode_ = mode;
    std::memset(host() + kTables, 0, next_table_ - kTables);
    next_table_ = kTables;
    cpu.cr0 = x86::cr0::kPe | x86::cr0::kWp | (mode == Paging::kNone ? 0 : x86::cr0::kPg);
    cpu.cr4 = x86::cr4::kPse | x86::cr4::kPge;
    if (mode >= Paging::kPae) cpu.cr4 |= x86::cr4::kPae;
    if (mode == Paging::k5Level) cpu.cr4 |= x86::cr4::kLa57;
    cpu.efer = is_long() ? x86::efer::kLme | x86::efer::kLma | x86::efer::kNxe : 0;
    if (mode == Paging::kPae) cpu.efer = x86::efer::kNxe;
    cpu.cr3 = new_table();
    for (x86::Segment& segment : cpu.segment)
      segment = {.limit = ~0U, .type = 3, .default_big = true, .granularity = true};
    cpu.segment[x86::kCs].type = 11;
    cpu.segment[x86::kCs].long_mode = is_long();
    if (is_long()) cpu.segment[x86::kCs].default_big = false;
    set_cpl(0);
    if (mode == Paging::kPae) {
      for (unsigned i = 0; i < 4; ++i) poke<std::uint64_t>(cpu.cr3 + 8 * i, new_table() | x86::pte::kPresent);
      (void)load_pdptes(cpu);
    }
    cpu.tlb.flush_all();
  }
  [[nodiscard]] bool is_long() const { return mode_ >= Paging::k4Level; }
  [[nodiscard]] bool has_wide_entries() const { return mode_ >= Paging::kPae; }
  /// SMAP suspended by AC, if CR4.SMAP is on.
  void set_cpl(std::uint8_t cpl, bool ac = false) {
    cpu.segment[x86::kSs].dpl = cpl;
    cpu.segment[x86::kCs].dpl = cpl;
    cpu.rflags = x86::rflags::kFixed | (ac ? x86::rflags::kAc : 0);
    cpu.update_mode();
  }

  /// Where LINEAR's entry of the table that maps SHIFT bits lies; missing tables are made, for everybody and writable.
  std::uint64_t entry_address(std::uint64_t linear, unsigned shift) {
    const unsigned index_bits = has_wide_entries() ? 9 : 10;
    const std::uint64_t size = has_wide_entries() ? 8 : 4;
    unsigned level_shift = mode_ == Paging::k5Level ? 48 : mode_ == Paging::k4Level ? 39 : has_wide_entries() ? 21 : 22;
    std::uint64_t table = cpu.cr3;
    if (mode_ == Paging::kPae) table = cpu.pdpte[linear >> 30U & 3U] & x86::pte::kAddressMask;
    for (;; level_shift -= index_bits) {
      const std::uint64_t at = table + (linear >> level_shift & low_mask(index_bits)) * size;
      if (level_shift == shift) return at;
      if ((peek<std::uint32_t>(at) & x86::pte::kPresent) == 0) set_entry(at, new_table() | 7U);
      table = peek<std::uint32_t>(at) & ~0xfffU;  // tables are low
    }
  }
  void set_entry(std::uint64_t at, std::uint64_t value) const {
    if (has_wide_entries())
      poke<std::uint64_t>(at, value);
    else
      poke<std::uint32_t>(at, static_cast<std::uint32_t>(value));
  }
  [[nodiscard]] std::uint64_t get_entry(std::uint64_t at) const {
    return has_wide_entries() ? peek<std::uint64_t>(at) : peek<std::uint32_t>(at);
  }
  /// Maps the page at LINEAR with the leaf entry VALUE, address and flags. Returns where the entry is.
  std::uint64_t map(std::uint64_t linear, std::uint64_t value, unsigned shift = 12) {
    const std::uint64_t at = entry_address(linear, shift);
    set_entry(at, value | (shift > 12 ? x86::pte::kPageSizeBit : 0));
    return at;
  }

  /// Executes INSTRUCTION as the run loop would: again after every bus access. The fault it takes, if any.
  template <class Instruction>
  std::optional<Fault> execute(Instruction instruction) {
    cpu.leave_block = false;
    cpu.pending_dr6 = 0;
    for (;;) try {
        instruction();
        cpu.bus.clear();
        return std::nullopt;
      } catch (const Fault& fault) {
        cpu.bus.clear();
        return fault;
      } catch (const BusWait&) {
        serve(cpu.bus.pending());
        cpu.bus.answered();
      }
  }
  /// A bus access that execute() served; values are kept by byte.
  struct Seen {
    std::uint64_t address = 0;
    unsigned size = 0;
    bool write = false;
    bool operator==(const Seen&) const = default;
  };
  std::vector<Seen> seen;
  std::map<std::uint64_t, std::uint8_t> device;

 private:
  std::uint64_t new_table() {
    next_table_ += x86::kPageSize;
    return next_table_ - x86::kPageSize;
  }
  void serve(BusAccess& access) {
    const bool write = access.direction == IoDirection::kOut;
    seen.push_back({access.address, access.size, write});
    if (!write) access.value = 0;
    for (unsigned i = 0; i < access.size; ++i)
      if (write)
        device[access.address + i] = static_cast<std::uint8_t>(access.value >> (8 * i));
      else
        access.value |= std::uint64_t{device[access.address + i]} << (8 * i);
  }

  void* const memory_ =
      ::mmap(nullptr, kRamSize + kRomSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  Paging mode_ = Paging::kNone;
  std::uint64_t next_table_ = kTables;

 public:
  Machine machine;
  Cpu cpu{machine};
};

}  // namespace doppel::accel::soft
