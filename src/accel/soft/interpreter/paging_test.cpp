#include "accel/soft/interpreter/paging.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <string>
#include <thread>

#include "accel/soft/interpreter/control_registers.h"
#include "accel/soft/interpreter/memory_rig.h"

namespace doppel::accel::soft {
namespace {

namespace pte = x86::pte;
constexpr auto kRead = AccessKind::kRead;
constexpr auto kWrite = AccessKind::kWrite;
constexpr auto kFetch = AccessKind::kFetch;

constexpr std::uint64_t kP = pte::kPresent;
constexpr std::uint64_t kW = pte::kWritable;
constexpr std::uint64_t kU = pte::kUser;
constexpr std::uint64_t kNx = pte::kNoExecute;
constexpr std::uint64_t kAll = kP | kW | kU;
constexpr std::uint64_t kFrame = 0x5000;
constexpr std::uint64_t kLinear = 0x4000'3000;

class PagingTest : public testing::Test {
 protected:
  /// The error code of the #PF that an access takes; nothing if it takes none.
  std::optional<std::uint32_t> fault(std::uint64_t linear, AccessKind kind) {
    const auto taken = rig.execute([&] { (void)translate(rig.cpu, linear, kind); });
    if (!taken) return std::nullopt;
    EXPECT_EQ(taken->vector, x86::kPageFault);
    EXPECT_TRUE(taken->has_error_code);
    EXPECT_EQ(rig.cpu.cr2, linear);
    return taken->error_code;
  }
  /// Where an access leads; it must not fault.
  std::uint64_t where(std::uint64_t linear, AccessKind kind = kRead) {
    std::uint64_t gpa = ~std::uint64_t{0};
    const auto taken = rig.execute([&] { gpa = translate(rig.cpu, linear, kind).gpa | linear % 4096; });
    EXPECT_FALSE(taken) << std::hex << linear;
    if (!taken) {
      EXPECT_EQ(translate_debug(rig.cpu, linear), gpa);
    }
    return gpa;
  }

  MemoryRig rig;
  Cpu& cpu = rig.cpu;
};

const std::array kModes = {Paging::k32Bit, Paging::kPae, Paging::k4Level, Paging::k5Level};

TEST_F(PagingTest, WithoutPagingLinearIsPhysical) {
  EXPECT_EQ(where(0x1234), 0x1234U);
  EXPECT_EQ(where(0xffff'f000, kWrite), 0xffff'f000U);
  EXPECT_EQ(where(MemoryRig::kDevice, kFetch), MemoryRig::kDevice);
}

struct SizeRow {
  Paging mode;
  unsigned shift;
  std::uint64_t linear;
  std::uint64_t entry;  // address and flags
  std::uint64_t gpa;
};

const std::array kSizes = {
    SizeRow{Paging::k32Bit, 12, 0xbfff'f123, 0x7000 | kAll, 0x7123},
    SizeRow{Paging::k32Bit, 22, 0xbfff'f123, 0x0040'0000 | kAll, 0x7f'f123},
    SizeRow{Paging::k32Bit, 22, 0x0000'0123, 0x0041'e000 | kAll, 0xf'0040'0123},  // PSE-36, address bits 39:32
    SizeRow{Paging::kPae, 12, 0xffff'f123, 0x9'0000'7000 | kAll, 0x9'0000'7123},
    SizeRow{Paging::kPae, 21, 0xbfff'f123, 0x9'0020'0000 | kAll, 0x9'003f'f123},
    SizeRow{Paging::k4Level, 12, 0x7fff'ffff'f123, 0x9'0000'7000 | kAll, 0x9'0000'7123},
    SizeRow{Paging::k4Level, 12, 0xffff'8000'0000'0123, 0x7000 | kAll | pte::kPat4K, 0x7123},
    SizeRow{Paging::k4Level, 21, 0xffff'ffff'ffff'f123, 0x0020'0000 | kAll, 0x003f'f123},
    SizeRow{Paging::k4Level, 21, 0x7fff'ffff'f123, 0x0020'0000 | kAll | pte::kPatLarge, 0x003f'f123},
    SizeRow{Paging::k4Level, 30, 0xffff'ffff'ffff'f123, 0x4000'0000 | kAll, 0x7fff'f123},
    SizeRow{Paging::k5Level, 12, 0xff00'0000'0000'0123, 0x7000 | kAll, 0x7123},
    SizeRow{Paging::k5Level, 30, 0x00ff'ffff'ffff'f123, 0x4000'0000 | kAll, 0x7fff'f123},
};

TEST_F(PagingTest, EveryPageSizeOfEveryMode) {
  for (const SizeRow& row : kSizes) {
    SCOPED_TRACE(testing::Message() << "mode " << static_cast<int>(row.mode) << " shift " << row.shift);
    rig.set_paging(row.mode);
    const std::uint64_t at = rig.map(row.linear, row.entry, row.shift);
    EXPECT_EQ(where(row.linear, kRead), row.gpa);
    EXPECT_TRUE(rig.get_entry(at) & pte::kAccessed);
    EXPECT_FALSE(rig.get_entry(at) & pte::kDirty);
    EXPECT_EQ(where(row.linear, kWrite), row.gpa);
    EXPECT_TRUE(rig.get_entry(at) & pte::kDirty);
    EXPECT_EQ(where(row.linear, kFetch), row.gpa);
  }
}

TEST_F(PagingTest, LargePagesOf32BitPagingNeedPse) {
  rig.set_paging(Paging::k32Bit);
  cpu.cr4 &= ~x86::cr4::kPse;
  const std::uint64_t table = 0x20'0000;
  const std::uint64_t at = rig.entry_address(kLinear, 22);
  rig.set_entry(at, table | kAll | pte::kPageSizeBit);  // the bit is ignored: a page table
  rig.poke<std::uint32_t>(table + 3 * 4, static_cast<std::uint32_t>(kFrame | kAll));
  EXPECT_EQ(where(kLinear), kFrame);
}

TEST_F(PagingTest, AccessedBitsOfAllLevels) {
  for (const Paging mode : kModes) {
    rig.set_paging(mode);
    const std::uint64_t leaf = rig.map(kLinear, kFrame | kAll);
    const std::uint64_t directory = rig.entry_address(kLinear, mode == Paging::k32Bit ? 22 : 21);
    EXPECT_EQ(translate_debug(cpu, kLinear), kFrame);
    EXPECT_FALSE(rig.get_entry(leaf) & pte::kAccessed);
    EXPECT_EQ(where(kLinear, kFetch), kFrame);
    EXPECT_EQ(rig.get_entry(leaf) & (pte::kAccessed | pte::kDirty), pte::kAccessed);
    EXPECT_EQ(rig.get_entry(directory) & (pte::kAccessed | pte::kDirty), pte::kAccessed);
    where(kLinear, kWrite);
    EXPECT_TRUE(rig.get_entry(leaf) & pte::kDirty);
    EXPECT_FALSE(rig.get_entry(directory) & pte::kDirty);
  }
}

TEST_F(PagingTest, FaultingAccessesMarkNothing) {
  rig.set_paging(Paging::k4Level);
  const std::uint64_t at = rig.map(kLinear, kFrame | kP | kU);
  EXPECT_TRUE(fault(kLinear, kWrite));
  EXPECT_FALSE(rig.get_entry(at) & (pte::kAccessed | pte::kDirty));
}

// --- Rights (SDM 3A 4.6 and 4.7) ---

enum Setting : unsigned { kNone = 0, kNoWp = 1, kSmep = 2, kSmap = 4, kAc = 8, kNoNxe = 16 };

struct RightsRow {
  std::uint64_t flags;  // of the leaf
  unsigned settings;
  std::uint8_t cpl;
  AccessKind kind;
  std::optional<std::uint32_t> error;
};

constexpr std::optional<std::uint32_t> kOk = std::nullopt;
// Error codes: 1 P, 2 W, 4 U, 8 RSVD, 16 I.
const std::array kRights = {
    // Not present.
    RightsRow{0, kNone, 0, kRead, 0},
    RightsRow{0, kNone, 0, kWrite, 2},
    RightsRow{0, kNone, 3, kRead, 4},
    RightsRow{0, kNone, 3, kWrite, 6},
    RightsRow{0, kNone, 0, kFetch, 16},
    RightsRow{0, kNone, 3, kFetch, 20},
    // User mode.
    RightsRow{kP | kU, kNone, 3, kRead, kOk},
    RightsRow{kP | kU, kNone, 3, kFetch, kOk},
    RightsRow{kP | kU, kNone, 3, kWrite, 7},
    RightsRow{kP | kU, kNoWp, 3, kWrite, 7},
    RightsRow{kP | kU | kW, kNone, 3, kWrite, kOk},
    RightsRow{kP | kW, kNone, 3, kRead, 5},
    RightsRow{kP | kW, kNone, 3, kWrite, 7},
    RightsRow{kP | kW, kNone, 3, kFetch, 21},
    RightsRow{kP | kU | kNx, kNone, 3, kFetch, 21},
    RightsRow{kP | kU | kNx, kNone, 3, kRead, kOk},
    RightsRow{kP | kU, kSmep | kSmap, 3, kFetch, kOk},
    RightsRow{kP | kU, kSmep | kSmap, 3, kRead, kOk},
    // Supervisor mode.
    RightsRow{kP, kNone, 0, kRead, kOk},
    RightsRow{kP, kNone, 0, kWrite, 3},
    RightsRow{kP, kNoWp, 0, kWrite, kOk},
    RightsRow{kP | kW, kNone, 0, kWrite, kOk},
    RightsRow{kP | kU, kNone, 0, kWrite, 3},
    RightsRow{kP | kU, kNoWp, 0, kWrite, kOk},
    RightsRow{kP, kNone, 0, kFetch, kOk},
    RightsRow{kP | kNx, kNone, 0, kFetch, 17},
    RightsRow{kP | kU, kNone, 0, kFetch, kOk},
    RightsRow{kP | kU, kSmep, 0, kFetch, 17},
    RightsRow{kP, kSmep, 0, kFetch, kOk},
    RightsRow{kP | kU | kW, kSmap, 0, kRead, 1},
    RightsRow{kP | kU | kW, kSmap, 0, kWrite, 3},
    RightsRow{kP | kU | kW, kSmap | kNoWp, 0, kWrite, 3},
    RightsRow{kP | kU | kW, kSmap | kAc, 0, kRead, kOk},
    RightsRow{kP | kU | kW, kSmap | kAc, 0, kWrite, kOk},
    RightsRow{kP | kU, kSmap, 0, kFetch, kOk},
    RightsRow{kP | kW, kSmap, 0, kWrite, kOk},
    // Rings 1 and 2 are supervisor mode.
    RightsRow{kP | kW, kNone, 1, kWrite, kOk},
    RightsRow{kP | kW, kNone, 2, kRead, kOk},
    // Without NXE the bit is reserved, and the I flag is left out unless there is SMEP.
    RightsRow{kP | kU | kNx, kNoNxe, 3, kRead, 13},
    RightsRow{0, kNoNxe, 0, kFetch, 0},
    RightsRow{0, kNoNxe | kSmep, 0, kFetch, 16},
};

TEST_F(PagingTest, RightsOfALeaf) {
  for (const Paging mode : kModes)
    for (const RightsRow& row : kRights) {
      const bool needs_nx = (row.flags & kNx) != 0 || (row.kind == kFetch && row.error && (*row.error & 16) != 0);
      if (mode == Paging::k32Bit && (needs_nx || (row.settings & kNoNxe) != 0)) continue;
      SCOPED_TRACE(testing::Message() << "mode " << static_cast<int>(mode) << " row " << &row - kRights.data());
      rig.set_paging(mode);
      if ((row.settings & kNoWp) != 0) cpu.cr0 &= ~x86::cr0::kWp;
      if ((row.settings & kSmep) != 0) cpu.cr4 |= x86::cr4::kSmep;
      if ((row.settings & kSmap) != 0) cpu.cr4 |= x86::cr4::kSmap;
      if ((row.settings & kNoNxe) != 0) cpu.efer &= ~x86::efer::kNxe;
      rig.map(kLinear, kFrame | row.flags);
      rig.set_cpl(row.cpl, (row.settings & kAc) != 0);
      EXPECT_EQ(fault(kLinear, row.kind), row.error);
      // The same from a TLB that knows the page from whatever else is allowed.
      for (const AccessKind other : {kRead, kWrite, kFetch}) (void)fault(kLinear, other);
      EXPECT_EQ(fault(kLinear, row.kind), row.error);
    }
}

TEST_F(PagingTest, InstructionFlagIn32BitPagingNeedsSmep) {
  rig.set_paging(Paging::k32Bit);
  cpu.efer |= x86::efer::kNxe;  // without PAE it counts for nothing
  EXPECT_EQ(fault(kLinear, kFetch), 0U);
  cpu.cr4 |= x86::cr4::kSmep;
  EXPECT_EQ(fault(kLinear, kFetch), 16U);
}

TEST_F(PagingTest, EveryLevelHasItsSay) {
  for (const Paging mode : kModes) {
    SCOPED_TRACE(static_cast<int>(mode));
    rig.set_paging(mode);
    rig.map(kLinear, kFrame | kAll);
    std::vector<unsigned> shifts = {21};
    if (mode == Paging::k32Bit) shifts = {22};
    if (mode >= Paging::k4Level) shifts.insert(shifts.end(), {30, 39});
    if (mode == Paging::k5Level) shifts.push_back(48);
    for (const unsigned shift : shifts) {
      const std::uint64_t at = rig.entry_address(kLinear, shift);
      const std::uint64_t whole = rig.get_entry(at);
      const auto with = [&](std::uint64_t value) {
        rig.set_entry(at, value);
        cpu.tlb.flush_all();
      };
      with(whole & ~kW);
      rig.set_cpl(0);
      EXPECT_EQ(fault(kLinear, kWrite), 3U);
      EXPECT_EQ(fault(kLinear, kRead), kOk);
      with(whole & ~kU);
      rig.set_cpl(3);
      EXPECT_EQ(fault(kLinear, kRead), 5U);
      cpu.cr4 |= x86::cr4::kSmep | x86::cr4::kSmap;  // not a user page now
      rig.set_cpl(0);
      EXPECT_EQ(fault(kLinear, kWrite), kOk);
      EXPECT_EQ(fault(kLinear, kFetch), kOk);
      cpu.cr4 &= ~(x86::cr4::kSmep | x86::cr4::kSmap);
      with(whole & ~kP);
      EXPECT_EQ(fault(kLinear, kWrite), 2U);
      if (mode != Paging::k32Bit) {
        with(whole | kNx);
        EXPECT_EQ(fault(kLinear, kFetch), 17U);
        EXPECT_EQ(fault(kLinear, kWrite), kOk);
      }
      with(whole);
      EXPECT_EQ(fault(kLinear, kFetch), kOk);
    }
  }
}

TEST_F(PagingTest, ImplicitAccessesAreTheSupervisors) {
  rig.set_paging(Paging::k4Level);
  rig.map(kLinear, kFrame | kP | kW);
  rig.map(kLinear + 0x1000, kFrame | kAll);
  rig.set_cpl(3);
  rig.poke<std::uint32_t>(kFrame, 77);
  std::uint32_t value = 0;
  EXPECT_FALSE(rig.execute([&] { value = cpu.load_system<std::uint32_t>(kLinear); }));
  EXPECT_EQ(value, 77U);
  EXPECT_EQ(rig.execute([&] { (void)cpu.load_system<std::uint32_t>(kLinear + 0x2000); })->error_code, 0U);
  // EFLAGS.AC does not open user pages to them.
  cpu.cr4 |= x86::cr4::kSmap;
  cpu.tlb.flush_all();
  rig.set_cpl(0, true);
  EXPECT_FALSE(rig.execute([&] { (void)cpu.load_linear<std::uint32_t>(kLinear + 0x1000); }));
  EXPECT_EQ(rig.execute([&] { (void)cpu.load_system<std::uint32_t>(kLinear + 0x1000); })->error_code, 1U);
}

// --- Reserved bits ---

struct ReservedRow {
  Paging mode;
  unsigned shift;  // of the entry
  bool leaf;
  std::uint64_t bits;  // each of which is reserved
};

constexpr std::uint64_t range(unsigned high, unsigned low) {
  return low_mask(high + 1) & ~low_mask(low);
}

TEST_F(PagingTest, ReservedBits) {
  constexpr unsigned kPhysical = 40;
  const ReservedRow rows[] = {
      {Paging::k32Bit, 12, true, 0},
      {Paging::k32Bit, 22, false, 0},
      {Paging::k32Bit, 22, true, 1U << 21},
      {Paging::kPae, 12, true, range(62, kPhysical)},
      {Paging::kPae, 21, false, range(62, kPhysical)},
      {Paging::kPae, 21, true, range(62, kPhysical) | range(20, 13)},
      {Paging::k4Level, 12, true, range(51, kPhysical)},
      {Paging::k4Level, 21, false, range(51, kPhysical)},
      {Paging::k4Level, 21, true, range(51, kPhysical) | range(20, 13)},
      {Paging::k4Level, 30, false, range(51, kPhysical)},
      {Paging::k4Level, 30, true, range(51, kPhysical) | range(29, 13)},
      {Paging::k4Level, 39, false, range(51, kPhysical) | pte::kPageSizeBit},
      {Paging::k5Level, 39, false, range(51, kPhysical) | pte::kPageSizeBit},
      {Paging::k5Level, 48, false, range(51, kPhysical) | pte::kPageSizeBit},
  };
  cpu.phys_bits = kPhysical;
  for (const ReservedRow& row : rows) {
    rig.set_paging(row.mode);
    if (row.leaf)
      rig.map(kLinear, kAll, row.shift);
    else
      rig.map(kLinear, kFrame | kAll);
    const std::uint64_t at = rig.entry_address(kLinear, row.shift);
    const std::uint64_t good = rig.get_entry(at);
    for (unsigned n = 1; n < (row.mode == Paging::k32Bit ? 32 : 63); ++n) {
      SCOPED_TRACE(testing::Message() << "mode " << static_cast<int>(row.mode) << " shift " << row.shift << " bit "
                                      << n);
      const bool reserved = (row.bits >> n & 1U) != 0;
      const bool part_of_address = !row.leaf && n >= 12 && n < kPhysical;
      const bool changes_meaning = n == 7 && !reserved;
      if (part_of_address || changes_meaning) continue;
      rig.set_entry(at, good ^ bit(n));
      cpu.tlb.flush_all();
      rig.set_cpl(0);
      EXPECT_EQ(fault(kLinear, kRead), reserved ? std::optional(9U) : kOk);
      if (reserved) {
        EXPECT_EQ(translate_debug(cpu, kLinear), std::nullopt);
        rig.set_cpl(3);
        EXPECT_EQ(fault(kLinear, kWrite), 15U);
      }
      rig.set_entry(at, good);
    }
  }
}

TEST_F(PagingTest, GigabytePagesAreAFeature) {
  rig.set_paging(Paging::k4Level);
  rig.map(0, kAll, 30);
  EXPECT_EQ(fault(0x1000, kRead), kOk);
  cpu.tlb.flush_all();
  cpu.features.set({x86::FeatureWord::k80000001Edx, 1U << 26}, false);
  EXPECT_EQ(fault(0x1000, kRead), 9U);
}

TEST_F(PagingTest, Pse36IsAFeature) {
  rig.set_paging(Paging::k32Bit);
  cpu.phys_bits = 36;
  rig.map(0, kAll | 0xfU << 13U, 22);
  EXPECT_EQ(where(0x1000), 0xf'0000'1000U);
  cpu.tlb.flush_all();
  rig.map(0, kAll | 1U << 17U, 22);  // address bit 36
  EXPECT_EQ(fault(0x1000, kRead), 9U);
  cpu.features.set(x86::feature::kPse36, false);
  rig.map(0, kAll | 1U << 13U, 22);
  EXPECT_EQ(fault(0x1000, kRead), 9U);
  rig.map(0, kAll, 22);
  EXPECT_EQ(fault(0x1000, kRead), kOk);
}

// --- Protection keys (SDM 3A 4.6.2) ---

TEST_F(PagingTest, ProtectionKeys) {
  constexpr std::uint64_t kKey5 = std::uint64_t{5} << pte::kProtectionKeyShift;
  constexpr std::uint32_t kAccessDisable = 1U << 10;
  constexpr std::uint32_t kWriteDisable = 2U << 10;
  struct Row {
    std::uint64_t flags;
    std::uint32_t pkru;
    unsigned settings;
    std::uint8_t cpl;
    AccessKind kind;
    std::optional<std::uint32_t> error;
  };
  // Error codes: 32 PK.
  const Row rows[] = {
      {kAll | kKey5, ~(3U << 10), kNone, 3, kWrite, kOk},
      {kAll | kKey5, kAccessDisable, kNone, 3, kRead, 37},
      {kAll | kKey5, kAccessDisable, kNone, 3, kWrite, 39},
      {kAll | kKey5, kAccessDisable, kNone, 3, kFetch, kOk},
      {kAll | kKey5, kWriteDisable, kNone, 3, kRead, kOk},
      {kAll | kKey5, kWriteDisable, kNone, 3, kWrite, 39},
      {kAll | kKey5, kWriteDisable, kNoWp, 3, kWrite, 39},
      {kAll | kKey5, kAccessDisable, kNone, 0, kRead, 33},
      {kAll | kKey5, kWriteDisable, kNone, 0, kWrite, 35},
      {kAll | kKey5, kWriteDisable, kNoWp, 0, kWrite, kOk},
      {kAll | kKey5, kAccessDisable, kNoWp, 0, kWrite, 35},
      {kP | kW | kKey5, kAccessDisable, kNone, 0, kWrite, kOk},  // keys are for user pages
      {kP | kW | kKey5, kAccessDisable, kNone, 3, kRead, 5},
      {kP | kU | kKey5, kAccessDisable, kNone, 3, kWrite, 39},  // forbidden twice over
      {kAll, 3, kNone, 3, kRead, 37},                           // key 0 has no privilege
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(&row - rows);
    rig.set_paging(Paging::k4Level);
    cpu.cr4 |= x86::cr4::kPke;
    if ((row.settings & kNoWp) != 0) cpu.cr0 &= ~x86::cr0::kWp;
    cpu.fpu.pkru = row.pkru;
    rig.map(kLinear, kFrame | row.flags);
    rig.set_cpl(row.cpl);
    EXPECT_EQ(fault(kLinear, row.kind), row.error);
    cpu.cr4 &= ~x86::cr4::kPke;
    cpu.tlb.flush_all();
    if (row.error && (*row.error & 32U) != 0) {
      EXPECT_NE(fault(kLinear, row.kind), row.error);
    }
  }
}

// --- The TLB ---

TEST_F(PagingTest, TranslationsStayUntilFlushed) {
  rig.set_paging(Paging::k4Level);
  const std::uint64_t at = rig.map(kLinear, kFrame | kAll);
  where(kLinear, kWrite);
  rig.set_entry(at, 0);
  EXPECT_EQ(translate(cpu, kLinear, kRead).gpa, kFrame);
  cpu.tlb.flush_page(0, kLinear);
  EXPECT_EQ(fault(kLinear, kRead), 0U);
}

TEST_F(PagingTest, AddressSpacesStayWithTheirPcids) {
  rig.set_paging(Paging::k4Level);
  cpu.cr4 |= x86::cr4::kPcide;
  const std::uint64_t tables = cpu.cr3;
  const std::uint64_t at = rig.map(kLinear, kFrame | kAll);
  const auto enter = [&](std::uint64_t pcid, bool keep) {
    write_cr3(cpu, tables | pcid | (keep ? x86::cr3::kNoFlush : 0));
  };
  enter(1, false);
  where(kLinear);
  rig.set_entry(at, 0x7000 | kAll);
  enter(2, false);
  EXPECT_EQ(where(kLinear), 0x7000U);
  enter(1, true);
  EXPECT_EQ(translate(cpu, kLinear, kRead).gpa, kFrame) << "known from before";
  enter(2, true);
  rig.set_entry(at, 0x8000 | kAll);
  EXPECT_EQ(translate(cpu, kLinear, kRead).gpa, 0x7000U);
  cpu.tlb.flush_page(2, kLinear);
  EXPECT_EQ(where(kLinear), 0x8000U);
  enter(1, false);
  EXPECT_EQ(where(kLinear), 0x8000U);
  rig.set_entry(at, 0x9000 | kAll);
  enter(2, true);
  cpu.tlb.flush_space(1);  // while the guest is in another
  enter(1, true);
  EXPECT_EQ(where(kLinear), 0x9000U);
}

TEST_F(PagingTest, MoreRightsNeedNoFlush) {
  rig.set_paging(Paging::k4Level);
  const std::uint64_t at = rig.map(kLinear, kFrame | kP);
  where(kLinear);
  EXPECT_EQ(fault(kLinear, kWrite), 3U);
  rig.set_entry(at, 0x7000 | kP | kW);
  EXPECT_EQ(where(kLinear, kWrite), 0x7000U);
}

TEST_F(PagingTest, GlobalPagesNeedPge) {
  rig.set_paging(Paging::k4Level);
  rig.map(kLinear, kFrame | kAll | pte::kGlobal);
  EXPECT_TRUE(translate(cpu, kLinear, kRead).global);
  cpu.tlb.flush_all();
  cpu.cr4 &= ~x86::cr4::kPge;
  EXPECT_FALSE(translate(cpu, kLinear, kRead).global);
}

// --- Where the tables are ---

TEST_F(PagingTest, TablesOutsideOfRamReadAsOnes) {
  rig.set_paging(Paging::k4Level);
  cpu.cr3 = MemoryRig::kDevice;
  EXPECT_EQ(fault(kLinear, kRead), 9U);
  rig.set_paging(Paging::k32Bit);
  rig.set_entry(rig.entry_address(kLinear, 22), MemoryRig::kDevice | kAll);
  EXPECT_EQ(where(kLinear, kWrite), 0xffff'f000U);
  EXPECT_TRUE(rig.seen.empty());
}

TEST_F(PagingTest, TablesInRomAreNotMarked) {
  rig.set_paging(Paging::k32Bit);
  rig.poke<std::uint32_t>(MemoryRig::kRom + 3 * 4, static_cast<std::uint32_t>(kFrame | kAll));
  rig.set_entry(rig.entry_address(kLinear, 22), MemoryRig::kRom | kAll);
  EXPECT_EQ(where(kLinear, kWrite), kFrame);
  EXPECT_EQ(rig.peek<std::uint32_t>(MemoryRig::kRom + 3 * 4), kFrame | kAll);
}

TEST_F(PagingTest, MarksAreStoresLikeOthers) {
  rig.set_paging(Paging::k4Level);
  const std::uint64_t at = rig.map(kLinear, kFrame | kAll);
  const PageState& state = rig.machine.ram.find(at)->page(at);
  mark_code(cpu, at);
  const std::uint32_t version = state.version.load();
  cpu.leave_block = false;
  (void)translate(cpu, kLinear, kRead);
  EXPECT_TRUE(cpu.leave_block);
  EXPECT_NE(state.version.load(), version);
  EXPECT_TRUE(state.dirty.load());
}

TEST_F(PagingTest, RecursiveTables) {
  rig.set_paging(Paging::k4Level);
  // The last entry of the top table is the table itself; the top table is then mapped as a page at the very top.
  rig.set_entry(cpu.cr3 + 511 * 8, cpu.cr3 | kAll);
  EXPECT_EQ(where(~std::uint64_t{0xfff}, kWrite), cpu.cr3);
  EXPECT_EQ(rig.get_entry(cpu.cr3 + 511 * 8), cpu.cr3 | kAll | pte::kAccessed | pte::kDirty);
}

TEST_F(PagingTest, PdptesAreLoadedOnce) {
  rig.set_paging(Paging::kPae);
  rig.map(kLinear, kFrame | kAll);
  rig.poke<std::uint64_t>(cpu.cr3 + 8, 0);
  EXPECT_EQ(where(kLinear), kFrame);
  EXPECT_TRUE(load_pdptes(cpu));
  cpu.tlb.flush_all();
  EXPECT_EQ(fault(kLinear, kRead), 0U);
}

TEST_F(PagingTest, PdptesReservedBits) {
  rig.set_paging(Paging::kPae);
  cpu.phys_bits = 40;
  const std::uint64_t at = cpu.cr3 + 16;
  const std::uint64_t good = rig.peek<std::uint64_t>(at);
  for (unsigned n = 1; n < 64; ++n) {
    const bool reserved = (std::uint64_t{0x1e6} >> n & 1U) != 0 || n >= 40;
    rig.poke<std::uint64_t>(at, good ^ bit(n));
    const auto before = cpu.pdpte;
    EXPECT_EQ(load_pdptes(cpu), !reserved) << n;
    if (reserved) {
      EXPECT_EQ(cpu.pdpte, before);
    }
    rig.poke<std::uint64_t>(at, bit(n));  // absent: anything goes
    EXPECT_TRUE(load_pdptes(cpu)) << n;
    rig.poke<std::uint64_t>(at, good);
  }
  cpu.cr3 = MemoryRig::kDevice;
  EXPECT_FALSE(load_pdptes(cpu));
}

TEST_F(PagingTest, PdptesLieAtMultiplesOf32) {
  rig.set_paging(Paging::kPae);
  const auto before = cpu.pdpte;
  std::memcpy(rig.host() + 0x20'0020, before.data(), sizeof before);
  cpu.pdpte = {};
  cpu.cr3 = 0x20'0020 | x86::cr3::kPwt | x86::cr3::kPcd;
  EXPECT_TRUE(load_pdptes(cpu));
  EXPECT_EQ(cpu.pdpte, before);
}

TEST_F(PagingTest, TranslateDebugInEveryMode) {
  EXPECT_EQ(translate_debug(cpu, 0x1'0000'1234), 0x1234U);
  for (const Paging mode : kModes) {
    rig.set_paging(mode);
    EXPECT_EQ(translate_debug(cpu, kLinear), std::nullopt);
    rig.map(kLinear, kFrame | kP);
    EXPECT_EQ(translate_debug(cpu, kLinear + 0x123), kFrame + 0x123);
    EXPECT_EQ(translate_debug(cpu, std::uint64_t{1} << 60U), std::nullopt);
  }
}

// --- Code ---

TEST_F(PagingTest, FetchPage) {
  rig.set_paging(Paging::k4Level);
  rig.map(kLinear, kFrame | kP);
  rig.map(kLinear + 0x1000, MemoryRig::kDevice | kP);
  rig.map(kLinear + 0x2000, kFrame | kP | kNx);
  FetchTarget target = fetch_page(cpu, kLinear + 0x123);
  EXPECT_EQ(target.host, rig.host() + kFrame + 0x123);
  EXPECT_EQ(target.gpa, kFrame + 0x123);
  EXPECT_EQ(target.slot, rig.machine.ram.by_number(0));
  target = fetch_page(cpu, kLinear + 0x1456);
  EXPECT_EQ(target.host, nullptr);
  EXPECT_EQ(target.gpa, MemoryRig::kDevice + 0x456);
  EXPECT_EQ(rig.execute([&] { (void)fetch_page(cpu, kLinear + 0x2000); })->error_code, 17U);
}

TEST_F(PagingTest, FetchCodeSeesStoresFromThenOn) {
  const FetchTarget target = fetch_code(cpu, kFrame + 8);
  const PageState& state = target.slot->page(kFrame);
  EXPECT_TRUE(state.holds_code.load());
  EXPECT_EQ(state.version.load(), target.version);
  cpu.store_linear<std::uint8_t>(kFrame + 100, 1);
  EXPECT_NE(state.version.load(), target.version);
  const FetchTarget again = fetch_code(cpu, kFrame + 8);
  EXPECT_EQ(state.version.load(), again.version);
  EXPECT_EQ(fetch_code(cpu, MemoryRig::kDevice).slot, nullptr);
}

TEST_F(PagingTest, MarkCodeReachesOtherProcessors) {
  Cpu other(rig.machine);
  other.store_linear<std::uint32_t>(kFrame, 1);
  other.store_linear<std::uint32_t>(kFrame + 0x1000, 1);
  ASSERT_EQ(other.tlb.entry(other.mmu_index, kFrame).write_tag, kFrame);
  rig.machine.rendezvous.enter();
  mark_code(cpu, kFrame + 5);
  rig.machine.rendezvous.leave();
  EXPECT_NE(other.tlb.entry(other.mmu_index, kFrame).write_tag, kFrame);
  EXPECT_EQ(other.tlb.entry(other.mmu_index, kFrame).read_tag, kFrame);
  EXPECT_EQ(other.tlb.entry(other.mmu_index, kFrame + 0x1000).write_tag, kFrame + 0x1000);
}

TEST_F(PagingTest, CodeIsNeverTakenForCurrentAfterAStore) {
  constexpr std::uint64_t kStores = 20000;
  Cpu writer(rig.machine);
  std::atomic<std::uint64_t> stored{0};  // by stores that are over
  std::atomic<unsigned long> decoded{0};
  const auto come_to_safepoint = [](Cpu& processor) {
    if (processor.attention.take()) processor.machine.rendezvous.safepoint();
  };
  std::thread thread([&] {
    const Inside inside(rig.machine.rendezvous);
    while (decoded == 0) come_to_safepoint(writer);
    for (std::uint64_t n = 1; n <= kStores; ++n) {
      // As a guest's store, but one that TSan knows for an atomic one.
      if (std::byte* place = writer.direct(kFrame, 8, kWrite))
        std::atomic_ref(*reinterpret_cast<std::uint64_t*>(place)).store(n);
      writer.wrote(kFrame, 8);
      stored = n;
      come_to_safepoint(writer);
    }
  });
  {
    const Inside inside(rig.machine.rendezvous);
    std::uint64_t code = 0;
    while (code < kStores) {
      const FetchTarget target = fetch_code(cpu, kFrame);
      code = std::atomic_ref(*reinterpret_cast<std::uint64_t*>(rig.host() + kFrame)).load();
      ++decoded;
      for (;;) {
        const std::uint64_t before = stored;
        if (target.slot->page(kFrame).version.load(std::memory_order_acquire) != target.version) break;
        EXPECT_GE(code, before);
        come_to_safepoint(cpu);
        if (code == kStores) break;
      }
    }
  }
  thread.join();
  EXPECT_GT(decoded, 1U);
}

TEST_F(PagingTest, ReadPhysical) {
  rig.poke<std::uint64_t>(0x1ffc, 0x8877665544332211);
  std::array<std::byte, 8> out{};
  EXPECT_TRUE(read_physical(cpu, 0x1ffc, out));
  EXPECT_EQ(std::memcmp(out.data(), rig.host() + 0x1ffc, 8), 0);
  EXPECT_TRUE(read_physical(cpu, MemoryRig::kRom, out));
  EXPECT_FALSE(read_physical(cpu, MemoryRig::kRamSize - 4, out));
  EXPECT_FALSE(read_physical(cpu, MemoryRig::kDevice, out));
}

TEST_F(PagingTest, HelpersForAllTlbs) {
  Cpu other(rig.machine);
  other.store_linear<std::uint32_t>(kFrame, 1);
  rig.machine.rendezvous.exclusive(false, [&] { drop_all_tlb_writes(rig.machine); });
  EXPECT_NE(other.tlb.entry(other.mmu_index, kFrame).write_tag, kFrame);
  EXPECT_EQ(other.tlb.entry(other.mmu_index, kFrame).read_tag, kFrame);
  rig.machine.rendezvous.exclusive(false, [&] { flush_all_tlbs(rig.machine); });
  EXPECT_NE(other.tlb.entry(other.mmu_index, kFrame).read_tag, kFrame);
}

}  // namespace
}  // namespace doppel::accel::soft
