#include "accel/soft/interpreter/paging.h"

#include <algorithm>
#include <utility>

namespace doppel::accel::soft {

namespace {

namespace pte = x86::pte;
namespace page_fault = x86::page_fault;

constexpr std::uint64_t kPage = x86::kPageSize;
constexpr std::uint64_t kPageMask = ~(kPage - 1);
constexpr unsigned kMostLevels = 5;
constexpr x86::FeatureBit kPdpe1gb{x86::FeatureWord::k80000001Edx, 1U << 26};

/// A page-table entry in memory.
struct Place64 {
  RamSlot* slot = nullptr;  // null: outside of RAM, reads as ones and keeps nothing
  std::uint64_t gpa = 0;
  std::uint64_t value = ~std::uint64_t{0};
};

/// A paging mode's shape.
struct Shape {
  unsigned levels;      // walked in memory
  unsigned index_bits;  // per level
  bool wide;            // entries are 64 bits
};

enum class Outcome : std::uint8_t { kMapped, kNotPresent, kReserved };

struct Walk {
  Outcome outcome = Outcome::kNotPresent;
  std::uint64_t gpa = 0;  // of the 4 KiB page
  unsigned size_shift = 12;
  bool writable = true;
  bool user = true;
  bool no_execute = false;
  bool global = false;
  unsigned protection_key = 0;
  std::array<Place64, kMostLevels> entry;
  unsigned depth = 0;  // entries used; the last is the leaf
};

template <class T>
T load_entry(const std::byte* host) {
  return __atomic_load_n(reinterpret_cast<const T*>(host), __ATOMIC_RELAXED);
}

Place64 read_entry(const Cpu& cpu, std::uint64_t gpa, bool wide) {
  Place64 place{.slot = cpu.machine.ram.find(gpa), .gpa = gpa};
  if (place.slot == nullptr) {
    if (!wide) place.value = 0xffff'ffffU;
    return place;
  }
  const std::byte* host = place.slot->host(gpa);
  place.value = wide ? load_entry<std::uint64_t>(host) : load_entry<std::uint32_t>(host);
  return place;
}

Shape shape_of(const Cpu& cpu) {
  if (cpu.long_mode) return {.levels = (cpu.cr4 & x86::cr4::kLa57) != 0 ? 5U : 4U, .index_bits = 9, .wide = true};
  if ((cpu.cr4 & x86::cr4::kPae) != 0) return {.levels = 2, .index_bits = 9, .wide = true};
  return {.levels = 2, .index_bits = 10, .wide = false};
}

bool allows_no_execute(const Cpu& cpu) {
  return (cpu.efer & x86::efer::kNxe) != 0;
}

/// Bits that must be zero in a 64-bit entry at SHIFT, a leaf or not (SDM 3A tables 4-8 to 4-11, 4-14 to 4-19).
std::uint64_t reserved_bits(const Cpu& cpu, unsigned shift, bool leaf) {
  std::uint64_t reserved = low_mask(52) & ~low_mask(cpu.phys_bits);
  if (!cpu.long_mode) reserved |= 0x7ffULL << 52U;
  if (!allows_no_execute(cpu)) reserved |= pte::kNoExecute;
  if (shift > 30 || (shift == 30 && !cpu.has(kPdpe1gb))) reserved |= pte::kPageSizeBit;
  if (leaf && shift > 12) reserved |= low_mask(shift) & ~low_mask(13);
  return reserved;
}

/// The frame that the 32-bit leaf VALUE of a 4 MiB page names; nothing if a reserved bit is set (SDM 3A table 4-4).
std::optional<std::uint64_t> frame_of_4m(const Cpu& cpu, std::uint64_t value) {
  const bool pse36 = cpu.has(x86::feature::kPse36);
  const unsigned high_bits = pse36 ? std::min(40U, std::max(32U, cpu.phys_bits)) - 32 : 0;
  const std::uint64_t high = value >> pte::kPse36Shift & low_mask(9);
  if ((high & ~low_mask(high_bits)) != 0) return std::nullopt;
  return (value & pte::kAddressMask4M) | high << 32U;
}

/// Takes one entry into WALK. True: the walk is over, mapped or not.
bool take_entry(const Cpu& cpu, const Shape& shape, unsigned shift, Walk& walk, std::uint64_t& table) {
  const std::uint64_t value = walk.entry[walk.depth - 1].value;
  if ((value & pte::kPresent) == 0) {
    walk.outcome = Outcome::kNotPresent;
    return true;
  }
  const bool can_be_large = shift > 12 && (shape.wide || (cpu.cr4 & x86::cr4::kPse) != 0);
  const bool leaf = shift == 12 || (can_be_large && (value & pte::kPageSizeBit) != 0);
  std::uint64_t frame = value & pte::kAddressMask & ~(leaf ? low_mask(shift) : 0);
  bool reserved = shape.wide && (value & reserved_bits(cpu, shift, leaf)) != 0;
  if (!shape.wide && leaf && shift > 12) {
    const auto large = frame_of_4m(cpu, value);
    reserved = !large;
    frame = large.value_or(0);
  }
  if (reserved) {
    walk.outcome = Outcome::kReserved;
    return true;
  }
  walk.writable = walk.writable && (value & pte::kWritable) != 0;
  walk.user = walk.user && (value & pte::kUser) != 0;
  walk.no_execute = walk.no_execute || (shape.wide && allows_no_execute(cpu) && (value & pte::kNoExecute) != 0);
  table = frame;
  if (!leaf) return false;
  walk.outcome = Outcome::kMapped;
  walk.size_shift = shift;
  walk.global = (value & pte::kGlobal) != 0 && (cpu.cr4 & x86::cr4::kPge) != 0;
  if (cpu.long_mode) walk.protection_key = static_cast<unsigned>(value >> pte::kProtectionKeyShift) & 15U;
  return true;
}

/// Reads the page tables and changes nothing.
Walk walk_tables(const Cpu& cpu, std::uint64_t linear) {
  const Shape shape = shape_of(cpu);
  Walk walk;
  std::uint64_t table = cpu.cr3 & (cpu.long_mode ? pte::kAddressMask : pte::kAddressMask32);
  if (shape.wide && !cpu.long_mode) {
    const std::uint64_t pdpte = cpu.pdpte[linear >> 30U & 3U];
    if ((pdpte & pte::kPresent) == 0) return walk;
    table = pdpte & pte::kAddressMask;
  }
  for (unsigned level = shape.levels; level > 0; --level) {
    const unsigned shift = 12 + (level - 1) * shape.index_bits;
    const std::uint64_t index = linear >> shift & low_mask(shape.index_bits);
    walk.entry[walk.depth++] = read_entry(cpu, table + index * (shape.wide ? 8 : 4), shape.wide);
    if (take_entry(cpu, shape, shift, walk, table)) break;
  }
  walk.gpa = table + (linear & low_mask(walk.size_shift) & kPageMask);
  return walk;
}

/// Rights of the view INDEX to a mapped page; BY_KEY: what the protection key forbids (SDM 3A 4.6).
struct Verdict {
  PageRights rights;
  PageRights denied_by_key;
};

Verdict judge(const Cpu& cpu, const Walk& walk, MmuIndex index) {
  const bool user = index == MmuIndex::kUser;
  const bool write_protect = user || (cpu.cr0 & x86::cr0::kWp) != 0;
  Verdict verdict;
  if (user) {
    verdict.rights = {.read = walk.user, .write = walk.user && walk.writable, .fetch = walk.user};
  } else {
    const bool smap = (cpu.cr4 & x86::cr4::kSmap) != 0 && index == MmuIndex::kSupervisor && walk.user;
    const bool smep = (cpu.cr4 & x86::cr4::kSmep) != 0 && walk.user;
    verdict.rights = {.read = !smap, .write = !smap && (walk.writable || !write_protect), .fetch = !smep};
  }
  if (walk.no_execute) verdict.rights.fetch = false;
  if (cpu.long_mode && walk.user && (cpu.cr4 & x86::cr4::kPke) != 0) {
    const std::uint32_t key = cpu.fpu.pkru >> (2 * walk.protection_key);
    verdict.denied_by_key.read = (key & 1U) != 0;
    verdict.denied_by_key.write = (key & 1U) != 0 || ((key & 2U) != 0 && write_protect);
    verdict.rights.read = verdict.rights.read && !verdict.denied_by_key.read;
    verdict.rights.write = verdict.rights.write && !verdict.denied_by_key.write;
  }
  return verdict;
}

bool allows(const PageRights& rights, AccessKind kind) {
  switch (kind) {
    case AccessKind::kRead: return rights.read;
    case AccessKind::kWrite: return rights.write;
    case AccessKind::kFetch: return rights.fetch;
  }
  return false;
}

[[noreturn]] void raise_page_fault(Cpu& cpu, std::uint64_t linear, AccessKind kind, std::uint32_t why) {
  std::uint32_t error = why;
  if (kind == AccessKind::kWrite) error |= page_fault::kWrite;
  if (cpu.mmu_index == MmuIndex::kUser) error |= page_fault::kUser;
  const bool smep = (cpu.cr4 & x86::cr4::kSmep) != 0;
  const bool nx = (cpu.cr4 & x86::cr4::kPae) != 0 && allows_no_execute(cpu);
  if (kind == AccessKind::kFetch && (smep || nx)) error |= page_fault::kFetch;
  cpu.cr2 = linear;
  raise(x86::kPageFault, error);
}

template <class T>
bool exchange_entry(std::byte* host, std::uint64_t from, std::uint64_t to) {
  auto expected = static_cast<T>(from);
  return __atomic_compare_exchange_n(reinterpret_cast<T*>(host), &expected, static_cast<T>(to), false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_RELAXED);
}

/// Sets BITS in PLACE. False: the entry is not what the walk saw any more.
bool set_entry_bits(Cpu& cpu, Place64& place, bool wide, std::uint64_t bits) {
  const std::uint64_t wanted = place.value | bits;
  if (wanted == place.value || place.slot == nullptr || place.slot->read_only()) return true;
  std::byte* host = place.slot->host(place.gpa);
  if (!(wide ? exchange_entry<std::uint64_t>(host, place.value, wanted)
             : exchange_entry<std::uint32_t>(host, place.value, wanted)))
    return false;
  place.value = wanted;
  if (place.slot->note_store(place.gpa)) {
    cpu.leave_block = true;
    cpu.machine.code_changed(cpu, place.gpa);
  }
  return true;
}

/// Accessed bits of all entries used, and the dirty bit of the leaf (SDM 3A 4.8). False: walk again.
bool mark_used(Cpu& cpu, Walk& walk, bool written) {
  const bool wide = shape_of(cpu).wide;
  for (unsigned i = 0; i < walk.depth; ++i) {
    const bool leaf = i + 1 == walk.depth;
    if (!set_entry_bits(cpu, walk.entry[i], wide, pte::kAccessed | (leaf && written ? pte::kDirty : 0))) return false;
  }
  return true;
}

/// The walk of an access that the TLB does not know.
TlbInfo walk_for(Cpu& cpu, std::uint64_t linear, AccessKind kind) {
  for (;;) {
    Walk walk = walk_tables(cpu, linear);
    if (walk.outcome == Outcome::kNotPresent) raise_page_fault(cpu, linear, kind, 0);
    if (walk.outcome == Outcome::kReserved)
      raise_page_fault(cpu, linear, kind, page_fault::kPresent | page_fault::kReserved);
    const Verdict verdict = judge(cpu, walk, cpu.mmu_index);
    if (!allows(verdict.rights, kind)) {
      const std::uint32_t key = allows(verdict.denied_by_key, kind) ? page_fault::kProtectionKey : 0;
      raise_page_fault(cpu, linear, kind, page_fault::kPresent | key);
    }
    if (!mark_used(cpu, walk, kind == AccessKind::kWrite)) continue;
    TlbInfo info{.linear = linear & kPageMask,
                 .gpa = walk.gpa,
                 .slot = cpu.machine.ram.find(walk.gpa),
                 .rights = verdict.rights,
                 .global = walk.global,
                 .size_shift = static_cast<std::uint8_t>(walk.size_shift),
                 .protection_key = static_cast<std::uint8_t>(walk.protection_key)};
    // Without the dirty bit the first store has to come by here.
    if (kind != AccessKind::kWrite && (walk.entry[walk.depth - 1].value & pte::kDirty) == 0) info.rights.write = false;
    return info;
  }
}

/// What the second level knows, or else the page tables.
TlbInfo look_up(Cpu& cpu, std::uint64_t linear, AccessKind kind) {
  SecondLevelTlb& second = cpu.tlb.second_level();
  const TlbInfo* const known = second.find(cpu.mmu_index, cpu.pcid(), linear);
  if (known != nullptr && allows(known->rights, kind)) {
    cpu.tlb.count_second_level();
    return *known;
  }
  const TlbInfo info = walk_for(cpu, linear, kind);
  second.insert(cpu.mmu_index, cpu.pcid(), info);
  return info;
}

}  // namespace

const TlbInfo& translate(Cpu& cpu, std::uint64_t linear, AccessKind kind) {
  const TlbInfo& known = cpu.tlb.info(cpu.mmu_index, linear);
  if (known.linear == (linear & kPageMask) && allows(known.rights, kind)) return known;
  TlbInfo info{.linear = linear & kPageMask,
               .gpa = linear & kPageMask,
               .slot = nullptr,
               .rights = {.read = true, .write = true, .fetch = true}};
  if (cpu.paging())
    info = look_up(cpu, linear, kind);
  else
    info.slot = cpu.machine.ram.find(info.gpa);
  const TlbInfo& entered = cpu.tlb.insert(cpu.mmu_index, info);
  set_tags(cpu, entered);
  return entered;
}

void set_tags(Cpu& cpu, const TlbInfo& info) {
  if (info.slot == nullptr) return;
  TlbEntry& entry = cpu.tlb.entry(cpu.mmu_index, info.linear);
  entry.host = reinterpret_cast<std::uintptr_t>(info.slot->host(info.gpa));
  entry.addend = entry.host - info.linear;
  // A page with a data breakpoint has its accesses looked at one by one.
  if (data_breakpoints_hit(cpu, info.linear, kPage, AccessKind::kWrite) != 0) return;
  if (info.rights.read) entry.read_tag = info.linear;
  if (info.rights.write && !info.slot->read_only() && info.slot->stores_need_no_note(info.gpa))
    entry.write_tag = info.linear;
}

void set_pkru(Cpu& cpu, std::uint32_t value) {
  const std::uint32_t changed = std::exchange(cpu.fpu.pkru, value) ^ value;
  std::uint16_t keys = 0;
  for (unsigned key = 0; key < 16; ++key)
    if ((changed >> (2 * key) & 3U) != 0) keys = static_cast<std::uint16_t>(keys | 1U << key);
  cpu.tlb.flush_keys(keys);
}

std::optional<std::uint64_t> translate_debug(const Cpu& cpu, std::uint64_t linear) {
  if (!cpu.paging()) return linear & 0xffff'ffffU;
  if (cpu.long_mode) {
    if (!x86::is_canonical(linear, cpu.linear_bits())) return std::nullopt;
  } else {
    linear &= 0xffff'ffffU;
  }
  const Walk walk = walk_tables(cpu, linear);
  if (walk.outcome != Outcome::kMapped) return std::nullopt;
  return walk.gpa | (linear & ~kPageMask);
}

bool load_pdptes(Cpu& cpu) {
  constexpr std::uint64_t kTableMask = 0xffff'ffe0;
  std::array<std::uint64_t, 4> loaded{};
  const std::uint64_t reserved = 0x1e6U | ~low_mask(cpu.phys_bits);
  for (unsigned i = 0; i < loaded.size(); ++i) {
    loaded[i] = read_entry(cpu, (cpu.cr3 & kTableMask) + i * std::uint64_t{8}, true).value;
    if ((loaded[i] & pte::kPresent) != 0 && (loaded[i] & reserved) != 0) return false;
  }
  cpu.pdpte = loaded;
  return true;
}

FetchTarget fetch_page(Cpu& cpu, std::uint64_t linear) {
  const TlbInfo& info = translate(cpu, linear, AccessKind::kFetch);
  const std::uint64_t gpa = info.gpa | (linear & ~kPageMask);
  return {.host = info.slot == nullptr ? nullptr : info.slot->host(gpa), .gpa = gpa, .slot = info.slot};
}

FetchTarget fetch_code(Cpu& cpu, std::uint64_t linear) {
  for (;;) {
    const std::uint32_t before = cpu.tlb.generation();
    FetchTarget target = fetch_page(cpu, linear);
    if (target.slot == nullptr) return target;
    target.version = mark_code(cpu, target.gpa);
    // Who changed the slots while the world stood still has flushed this TLB too.
    if (cpu.tlb.generation() == before) return target;
  }
}

std::uint32_t mark_code(Cpu& cpu, std::uint64_t gpa) {
  const Machine& machine = cpu.machine;
  const auto mark = [&] {
    const RamSlot* slot = machine.ram.find(gpa);
    if (slot == nullptr) return;
    slot->page(gpa).holds_code.store(true, std::memory_order_release);
    for (Cpu* other : machine.cpus) other->tlb.drop_writes(gpa & kPageMask);
  };
  for (;;) {
    const RamSlot* slot = machine.ram.find(gpa);
    if (slot == nullptr) return 0;
    // In this order: note_store() clears HOLDS_CODE first, if at all, and moves the version then.
    const std::uint32_t version = slot->page(gpa).version.load(std::memory_order_acquire);
    slot->page(gpa).stores_since_decoded.store(0, std::memory_order_relaxed);
    if (slot->page(gpa).holds_code.load(std::memory_order_acquire)) return version;
    if (machine.cpus.size() <= 1)
      mark();
    else
      cpu.machine.rendezvous.exclusive(true, mark);
  }
}

bool read_physical(const Cpu& cpu, std::uint64_t gpa, std::span<std::byte> out) {
  while (!out.empty()) {
    const RamSlot* slot = cpu.machine.ram.find(gpa);
    if (slot == nullptr) return false;
    const std::size_t here = std::min<std::uint64_t>(out.size(), kPage - gpa % kPage);
    std::copy_n(slot->host(gpa), here, out.begin());
    gpa += here;
    out = out.subspan(here);
  }
  return true;
}

void flush_all_tlbs(const Machine& machine) {
  for (Cpu* cpu : machine.cpus) cpu->tlb.flush_all();
}

void drop_all_tlb_writes(const Machine& machine) {
  for (Cpu* cpu : machine.cpus) cpu->tlb.drop_all_writes();
}

std::uint64_t data_breakpoints_hit(const Cpu& cpu, std::uint64_t linear, std::uint64_t size, AccessKind kind) {
  const std::uint64_t dr7 = cpu.host_owns_dr ? cpu.host_dr7 : cpu.dr7;
  if ((dr7 & x86::dr7::kEnables) == 0 || kind == AccessKind::kFetch) return 0;
  constexpr std::array<std::uint64_t, 4> kLengths = {1, 2, 8, 4};
  constexpr std::uint64_t kOnWrite = 1;
  constexpr std::uint64_t kOnReadOrWrite = 3;
  std::uint64_t hit = 0;
  for (unsigned n = 0; n < 4; ++n) {
    const std::uint64_t condition = dr7 >> (16 + 4 * n) & 3U;
    const bool enabled = (dr7 >> (2 * n) & 3U) != 0;
    if (!enabled || !(condition == kOnReadOrWrite || (condition == kOnWrite && kind == AccessKind::kWrite))) continue;
    const std::uint64_t length = kLengths[dr7 >> (18 + 4 * n) & 3U];
    const std::uint64_t first = (cpu.host_owns_dr ? cpu.host_dr : cpu.dr)[n] & ~(length - 1);
    // Ranges that may wrap: one begins within the other.
    if (first - linear < size || linear - first < length) hit |= bit(n);
  }
  return hit;
}

void breakpoints_changed(Cpu& cpu) {
  cpu.tlb.flush_all();
}

}  // namespace doppel::accel::soft
