// Random page tables and accesses against a walker that is slow and follows the manual's sentences one by one.
#include <gtest/gtest.h>

#include <array>
#include <random>
#include <string>

#include "accel/soft/interpreter/memory_rig.h"

namespace doppel::accel::soft {
namespace {

/// What an access must do, by SDM 3A 4.3 to 4.8.
struct Expectation {
  std::optional<std::uint32_t> error;  // of #PF
  std::uint64_t gpa = 0;
  std::map<std::uint64_t, std::uint64_t> entries;  // addresses of entries used, and what they become
};

/// Walks a copy of guest memory; knows nothing of TLBs.
class Reference {
 public:
  Reference(const MemoryRig& rig, std::uint64_t linear, AccessKind kind) : rig_(rig), linear_(linear), kind_(kind) {}

  Expectation access() {
    Expectation result;
    result.error = walk(result);
    if (result.error) {
      result.entries.clear();
      if (kind_ == AccessKind::kWrite) *result.error |= 2;
      if (user_access()) *result.error |= 4;
      const bool shows_fetches = cr4(20) || (cr4(5) && nxe());
      if (kind_ == AccessKind::kFetch && shows_fetches) *result.error |= 16;
    }
    return result;
  }

 private:
  struct Level {
    std::string name;
    unsigned low;   // lowest bit of the index into the table
    unsigned high;  // highest
  };

  std::vector<Level> levels() const {
    if (!cr4(5)) return {{"PDE", 22, 31}, {"PTE", 12, 21}};
    if ((cpu().efer & 1U << 10) == 0) return {{"PDE", 21, 29}, {"PTE", 12, 20}};
    std::vector<Level> all = {{"PML4E", 39, 47}, {"PDPTE", 30, 38}, {"PDE", 21, 29}, {"PTE", 12, 20}};
    if (cr4(12)) all.insert(all.begin(), {"PML5E", 48, 56});
    return all;
  }

  std::optional<std::uint32_t> walk(Expectation& result) {
    std::uint64_t table = cpu().cr3 & (long_mode() ? bits(51, 12) : bits(31, 12));
    if (cr4(5) && !long_mode()) {
      const std::uint64_t pdpte = cpu().pdpte[linear_ >> 30U & 3U];
      if ((pdpte & 1) == 0) return 0;
      table = pdpte & bits(51, 12);
    }
    bool all_user = true;
    bool all_writable = true;
    bool some_nx = false;
    for (const Level& level : levels()) {
      const std::uint64_t size = cr4(5) ? 8 : 4;
      const std::uint64_t at = table + ((linear_ & bits(level.high, level.low)) >> level.low) * size;
      const std::uint64_t entry = read(at, size);
      if ((entry & 1) == 0) return 0;
      const bool leaf = level.name == "PTE" || is_large(level, entry);
      if ((entry & reserved(level, leaf)) != 0) return 9;
      all_user = all_user && (entry >> 2U & 1U) != 0;
      all_writable = all_writable && (entry >> 1U & 1U) != 0;
      some_nx = some_nx || (cr4(5) && (entry >> 63U) != 0);
      // In RAM; ROM and nothing at all keep what they have.
      if (at < MemoryRig::kRamSize)
        result.entries[at] = entry | 1U << 5 | (leaf && kind_ == AccessKind::kWrite ? 1U << 6 : 0U);
      if (!leaf) {
        table = entry & (cr4(5) ? bits(51, 12) : bits(31, 12));
        continue;
      }
      result.gpa = frame(level, entry) | (linear_ & low_mask(level.low));
      return check(all_user, all_writable, some_nx, entry);
    }
    return std::nullopt;
  }

  std::optional<std::uint32_t> check(bool user_page, bool writable, bool nx, std::uint64_t leaf) const {
    const bool write_protect = (cpu().cr0 & 1U << 16) != 0;
    bool key_forbids = false;
    if (long_mode() && cr4(22) && user_page && kind_ != AccessKind::kFetch) {
      const auto key = static_cast<unsigned>(leaf >> 59U & 15U);
      const bool access_disable = (cpu().fpu.pkru >> (2 * key) & 1U) != 0;
      const bool write_disable = (cpu().fpu.pkru >> (2 * key + 1) & 1U) != 0;
      key_forbids =
          access_disable || (write_disable && kind_ == AccessKind::kWrite && (write_protect || user_access()));
    }
    bool allowed = !key_forbids;
    if (user_access()) {
      allowed = allowed && user_page;
      if (kind_ == AccessKind::kWrite) allowed = allowed && writable;
    } else {
      if (kind_ == AccessKind::kWrite && write_protect) allowed = allowed && writable;
      if (kind_ == AccessKind::kFetch && cr4(20)) allowed = allowed && !user_page;
      if (kind_ != AccessKind::kFetch && cr4(21) && cpu().mmu_index == MmuIndex::kSupervisor)
        allowed = allowed && !user_page;
    }
    if (kind_ == AccessKind::kFetch) allowed = allowed && !nx;
    if (allowed) return std::nullopt;
    return 1U | (key_forbids ? 32U : 0U);
  }

  bool is_large(const Level& level, std::uint64_t entry) const {
    const bool page_size = (entry & 1U << 7) != 0;
    if (level.name == "PDE") return page_size && (cr4(5) || cr4(4));
    return level.name == "PDPTE" && page_size && gigabyte_pages();
  }

  std::uint64_t reserved(const Level& level, bool leaf) const {
    const unsigned m = cpu().phys_bits;
    if (!cr4(5)) {
      if (!leaf || level.name == "PTE") return 0;
      return cpu().features.has(x86::feature::kPse36) ? bits(21, std::min(40U, m) - 19) : bits(21, 13);
    }
    std::uint64_t set = m > 51 ? 0 : bits(51, m);
    if (!long_mode()) set |= bits(62, 52);
    if (!nxe()) set |= bits(63, 63);
    if (level.name == "PML5E" || level.name == "PML4E") set |= bits(7, 7);
    if (level.name == "PDPTE" && !gigabyte_pages()) set |= bits(7, 7);
    if (level.name == "PDPTE" && leaf) set |= bits(29, 13);
    if (level.name == "PDE" && leaf) set |= bits(20, 13);
    return set;
  }

  std::uint64_t frame(const Level& level, std::uint64_t entry) const {
    if (!cr4(5) && level.name == "PDE") return (entry & bits(31, 22)) | (entry & bits(20, 13)) << 19U;
    return entry & bits(cr4(5) ? 51 : 31, level.low);
  }

  std::uint64_t read(std::uint64_t at, std::uint64_t size) const {
    const bool ram = at < MemoryRig::kRamSize;
    const bool rom = at >= MemoryRig::kRom && at < MemoryRig::kRom + MemoryRig::kRomSize;
    if (!ram && !rom) return low_mask(static_cast<unsigned>(8 * size));
    return size == 8 ? rig_.peek<std::uint64_t>(at) : rig_.peek<std::uint32_t>(at);
  }

  static std::uint64_t bits(unsigned high, unsigned low) { return low_mask(high + 1) & ~low_mask(low); }
  const Cpu& cpu() const { return rig_.cpu; }
  bool cr4(unsigned n) const { return (cpu().cr4 >> n & 1U) != 0; }
  bool nxe() const { return (cpu().efer & 1U << 11) != 0; }
  bool long_mode() const { return (cpu().efer & 1U << 10) != 0; }
  bool gigabyte_pages() const { return (cpu().features.word(x86::FeatureWord::k80000001Edx) & 1U << 26) != 0; }
  bool user_access() const { return cpu().mmu_index == MmuIndex::kUser; }

  const MemoryRig& rig_;
  const std::uint64_t linear_;
  const AccessKind kind_;
};

class PagingRandomTest : public testing::TestWithParam<Paging> {
 protected:
  static constexpr std::uint64_t kTableArea = 0x20'0000;  // where random tables lie
  static constexpr unsigned kTables = 6;

  bool chance(unsigned one_in) { return random() % one_in == 0; }
  std::uint64_t pick(std::initializer_list<std::uint64_t> of) { return of.begin()[random() % of.size()]; }

  /// Mostly sensible: present, pointing to another table or a page, with now and then a bit that does not belong.
  std::uint64_t random_entry() {
    std::uint64_t value = kTableArea + random() % kTables * 0x1000;
    if (chance(16)) value = random() % (MemoryRig::kRamSize >> 12U) << 12U;
    if (chance(32)) value = pick({MemoryRig::kRom, MemoryRig::kDevice, 0xf'ffff'f000, 0x4000'0000});
    if (!chance(24)) value |= 1;
    if (!chance(6)) value |= 2;
    if (!chance(6)) value |= 4;
    value |= random() & 0x178;
    if (chance(3)) value = (value & ~std::uint64_t{0x3fe000}) | 0x80;
    if (rig.has_wide_entries() && chance(6)) value |= std::uint64_t{1} << 63U;
    if (rig.is_long()) value |= (random() & 15U) << 59U;
    if (chance(24)) value ^= std::uint64_t{1} << random() % 64;
    return value;
  }

  void scramble() {
    rig.set_paging(GetParam());
    for (std::uint64_t at = kTableArea; at < kTableArea + kTables * 0x1000; at += 8)
      rig.poke<std::uint64_t>(
          at, rig.has_wide_entries() ? random_entry() : (random_entry() & ~0U) << 32U | (random_entry() & ~0U));
    cpu.cr3 = kTableArea;
    for (std::uint64_t& pdpte : cpu.pdpte) pdpte = (kTableArea + random() % kTables * 0x1000) | !chance(8);
    cpu.phys_bits = static_cast<unsigned>(pick({32, 36, 39, 40, 46, 52}));
    if (chance(2)) cpu.cr0 &= ~x86::cr0::kWp;
    for (const std::uint64_t flag : {x86::cr4::kSmep, x86::cr4::kSmap, x86::cr4::kPge, x86::cr4::kPse, x86::cr4::kPke})
      cpu.cr4 = chance(2) ? cpu.cr4 | flag : cpu.cr4 & ~flag;
    if (!rig.has_wide_entries() || chance(4)) cpu.efer &= ~x86::efer::kNxe;
    cpu.fpu.pkru = chance(3) ? 0 : static_cast<std::uint32_t>(random() & random());
    cpu.features.set({x86::FeatureWord::k80000001Edx, 1U << 26}, chance(2));
    cpu.features.set(x86::feature::kPse36, chance(2));
    cpu.tlb.flush_all();
  }

  /// A page that others may be near to, so that the TLB has something to do.
  std::uint64_t random_page() {
    const std::uint64_t index = random() & 3U;
    std::uint64_t linear = index << 12U | (random() & 1U) << 21U | (random() & 1U) << 22U | (random() & 3U) << 30U;
    if (rig.is_long()) linear |= (random() & 1U) << 39U;
    if (GetParam() == Paging::k5Level) linear |= (random() & 1U) << 48U;
    if (chance(8)) linear |= random() << 12U;
    if (!rig.is_long()) return linear & 0xffff'f000U;
    return static_cast<std::uint64_t>(sign_extend(linear, cpu.linear_bits())) & ~std::uint64_t{0xfff};
  }

  void expect_same(std::uint64_t linear, AccessKind kind) {
    SCOPED_TRACE(testing::Message() << std::hex << "linear " << linear << " kind " << static_cast<int>(kind));
    const Expectation expected = Reference(rig, linear, kind).access();
    const auto before = snapshot();
    const auto fault = rig.execute([&] {
      const std::uint64_t gpa = translate(cpu, linear, kind).gpa | (linear & 0xfff);
      EXPECT_EQ(gpa, expected.gpa);
    });
    ASSERT_EQ(fault.has_value(), expected.error.has_value());
    if (fault) {
      EXPECT_EQ(fault->vector, x86::kPageFault);
      EXPECT_EQ(fault->error_code, *expected.error);
      EXPECT_EQ(cpu.cr2, linear);
    }
    // Exactly the entries used have changed, to what they should.
    auto after = before;
    for (const auto& [at, value] : expected.entries)
      if (at >= kTableArea && at < kTableArea + after.size())
        std::memcpy(after.data() + (at - kTableArea), &value, rig.has_wide_entries() ? 8 : 4);
    EXPECT_TRUE(snapshot() == after) << "page tables differ";
  }

  [[nodiscard]] std::vector<std::byte> snapshot() const {
    return {rig.host() + kTableArea, rig.host() + kTableArea + kTables * 0x1000};
  }

  std::mt19937_64 random{static_cast<std::uint64_t>(GetParam())};
  MemoryRig rig;
  Cpu& cpu = rig.cpu;
};

TEST_P(PagingRandomTest, WalksAreTheManuals) {
  unsigned mapped = 0;
  constexpr unsigned kAccesses = 6000;
  for (unsigned i = 0; i < kAccesses && !HasFailure(); ++i) {
    if (i % 20 == 0) scramble();
    rig.set_cpl(chance(2) ? 3 : 0, chance(3));
    cpu.tlb.flush_all();
    const std::uint64_t linear = random_page() | (random() & 0xfff);
    const auto kind = static_cast<AccessKind>(random() % 3);
    mapped += !Reference(rig, linear, kind).access().error;
    expect_same(linear, kind);
  }
  EXPECT_GT(mapped, kAccesses / 20);
}

TEST_P(PagingRandomTest, TheTlbChangesNothing) {
  // Tables do not change behind the TLB's back here, so it must be invisible but for accessed bits set already.
  for (unsigned i = 0; i < 20000 && !HasFailure(); ++i) {
    if (i % 200 == 0) scramble();
    rig.set_cpl(chance(2) ? 3 : 0, chance(3));
    const std::uint64_t linear = random_page();
    if (chance(50)) cpu.tlb.flush_page(0, linear);
    if (chance(100)) cpu.tlb.flush_non_global();
    expect_same(linear, static_cast<AccessKind>(random() % 3));
  }
}

TEST_P(PagingRandomTest, DataGoesWhereTheTablesSay) {
  std::array<std::byte, 16> out{};
  for (unsigned i = 0; i < 4000 && !HasFailure(); ++i) {
    if (i % 50 == 0) scramble();
    rig.set_cpl(chance(2) ? 3 : 0, chance(3));
    const std::uint64_t size = 1 + random() % 16;
    const std::uint64_t linear = random_page() + 0x1000 - size + random() % (size + 1);
    const bool wraps = (linear & 0xfff) + size > 0x1000;
    std::uint64_t next = (linear | 0xfff) + 1;
    if (!rig.is_long()) next &= 0xffff'ffffU;
    if (rig.is_long() && !x86::is_canonical(linear, cpu.linear_bits())) continue;
    if (rig.is_long() && !x86::is_canonical(next, cpu.linear_bits())) continue;
    const Expectation first = Reference(rig, linear, AccessKind::kRead).access();
    const Expectation second = wraps ? Reference(rig, next, AccessKind::kRead).access() : Expectation{};
    const auto fault = rig.execute([&] { cpu.read_linear(linear, std::span(out).first(size)); });
    ASSERT_EQ(fault.has_value(), first.error || second.error);
    if (fault) {
      EXPECT_EQ(fault->error_code, first.error ? *first.error : *second.error);
      EXPECT_EQ(cpu.cr2, first.error ? linear : next);
      continue;
    }
    for (std::uint64_t n = 0; n < size; ++n) {
      const std::uint64_t here = 0x1000 - (linear & 0xfff);
      const std::uint64_t gpa = n < here ? first.gpa + n : second.gpa + (n - here);
      std::uint8_t expected = 0;
      if (gpa < MemoryRig::kRamSize || (gpa >= MemoryRig::kRom && gpa < MemoryRig::kRom + MemoryRig::kRomSize))
        expected = rig.peek<std::uint8_t>(gpa);
      EXPECT_EQ(static_cast<std::uint8_t>(out[n]), expected) << n;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Modes, PagingRandomTest,
                         testing::Values(Paging::k32Bit, Paging::kPae, Paging::k4Level, Paging::k5Level));

}  // namespace
}  // namespace doppel::accel::soft
