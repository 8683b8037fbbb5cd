// What the slow paths of memory accesses do: page ends, MMIO, ROM, code pages, dirty logs, breakpoints, alignment.
#include <gtest/gtest.h>

#include <array>
#include <numeric>
#include <thread>

#include "accel/soft/interpreter/memory_rig.h"

namespace doppel::accel::soft {
namespace {

namespace pte = x86::pte;
using Seen = MemoryRig::Seen;
using SeenList = std::vector<Seen>;

constexpr std::uint64_t kAll = pte::kPresent | pte::kWritable | pte::kUser;
constexpr std::uint64_t kValue = 0x8877665544332211;
constexpr std::uint64_t kDevice = MemoryRig::kDevice;
constexpr std::uint64_t kRom = MemoryRig::kRom;

class MemoryAccessTest : public testing::Test {
 protected:
  template <class T>
  T load(std::uint64_t address) {
    T value{};
    EXPECT_FALSE(rig.execute([&] { value = cpu.load_linear<T>(address); }));
    return value;
  }
  template <class T>
  void store(std::uint64_t address, T value) {
    EXPECT_FALSE(rig.execute([&] { cpu.store_linear<T>(address, value); }));
  }
  /// ADD [ADDRESS], 1, and the sum.
  template <class T>
  std::optional<Fault> increment(std::uint64_t address, bool atomic = false) {
    return rig.execute([&] { cpu.modify_linear<T>(address, atomic, [](Place<T>& place) { ++place.value; }); });
  }
  [[nodiscard]] const TlbEntry& entry(std::uint64_t linear) const { return cpu.tlb.entry(cpu.mmu_index, linear); }
  [[nodiscard]] PageState& state(std::uint64_t gpa) const { return rig.machine.ram.find(gpa)->page(gpa); }
  /// 4-level paging with the pages at kLinear mapped to these frames, writable.
  void map(std::initializer_list<std::uint64_t> frames) {
    rig.set_paging(Paging::k4Level);
    std::uint64_t linear = kLinear;
    for (const std::uint64_t frame : frames) {
      if (frame != kNowhere) rig.map(linear, frame | kAll);
      linear += 0x1000;
    }
  }

  static constexpr std::uint64_t kLinear = 0x7000'0000'0000;
  static constexpr std::uint64_t kNowhere = ~std::uint64_t{0};
  MemoryRig rig;
  Cpu& cpu = rig.cpu;
};

// --- RAM ---

TEST_F(MemoryAccessTest, SecondAccessNeedsNoSlowPath) {
  store<std::uint32_t>(0x5008, 0x1234);
  EXPECT_EQ(rig.peek<std::uint32_t>(0x5008), 0x1234U);
  EXPECT_EQ(entry(0x5000).read_tag, 0x5000U);
  EXPECT_EQ(entry(0x5000).write_tag, 0x5000U);
  EXPECT_EQ(load<std::uint32_t>(0x5008), 0x1234U);
}

TEST_F(MemoryAccessTest, AcrossPagesThatAreNotNeighbours) {
  map({0x9000, 0x5000});
  for (const std::uint64_t offset : {0xff9U, 0xffcU, 0xfffU}) {
    store<std::uint64_t>(kLinear + offset, kValue);
    EXPECT_EQ(load<std::uint64_t>(kLinear + offset), kValue);
    const std::uint64_t first = 0x1000 - offset;
    EXPECT_EQ(rig.peek<std::uint64_t>(0x9000 + 0xff8) >> (8 * (8 - first)),
              kValue & low_mask(8 * static_cast<unsigned>(first)));
    EXPECT_EQ(rig.peek<std::uint8_t>(0x5000 + 7 - first), 0x88);
  }
}

TEST_F(MemoryAccessTest, NothingMovesIfTheSecondPageFaults) {
  map({0x9000, kNowhere});
  const auto fault = rig.execute([&] { cpu.store_linear<std::uint64_t>(kLinear + 0xffc, kValue); });
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->vector, x86::kPageFault);
  EXPECT_EQ(fault->error_code, x86::page_fault::kWrite);
  EXPECT_EQ(cpu.cr2, kLinear + 0x1000);  // the first byte that is missing
  EXPECT_EQ(rig.peek<std::uint32_t>(0x9ffc), 0U);
}

TEST_F(MemoryAccessTest, TheFirstPageFaultsFirst) {
  map({kNowhere, kNowhere});
  EXPECT_TRUE(rig.execute([&] { (void)cpu.load_linear<std::uint64_t>(kLinear + 0xffc); }));
  EXPECT_EQ(cpu.cr2, kLinear + 0xffc);
}

TEST_F(MemoryAccessTest, LongRangesOverManyPages) {
  map({0x9000, 0x5000, 0x20'0000});
  std::array<std::byte, 0x1800> out{};
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::byte>(i * 7);
  EXPECT_FALSE(rig.execute([&] { cpu.write_linear(kLinear + 0xc00, out); }));
  EXPECT_EQ(std::memcmp(rig.host() + 0x9c00, out.data(), 0x400), 0);
  EXPECT_EQ(std::memcmp(rig.host() + 0x5000, out.data() + 0x400, 0x1000), 0);
  EXPECT_EQ(std::memcmp(rig.host() + 0x20'0000, out.data() + 0x1400, 0x400), 0);
  std::array<std::byte, 0x1800> in{};
  EXPECT_FALSE(rig.execute([&] { cpu.read_linear(kLinear + 0xc00, in); }));
  EXPECT_EQ(in, out);
}

TEST_F(MemoryAccessTest, ThirtyTwoBitAddressesWrap) {
  rig.set_paging(Paging::k32Bit);
  rig.map(0xffff'f000, 0x9000 | kAll);
  rig.map(0, 0x5000 | kAll);
  store<std::uint64_t>(0xffff'fffc, kValue);
  EXPECT_EQ(rig.peek<std::uint32_t>(0x9ffc), 0x44332211U);
  EXPECT_EQ(rig.peek<std::uint32_t>(0x5000), 0x88776655U);
  EXPECT_EQ(load<std::uint64_t>(0xffff'fffc), kValue);
}

// --- MMIO ---

TEST_F(MemoryAccessTest, MmioOfEverySize) {
  store<std::uint8_t>(kDevice, 0x11);
  store<std::uint16_t>(kDevice + 2, 0x2222);
  store<std::uint32_t>(kDevice + 4, 0x33333333);
  store<std::uint64_t>(kDevice + 8, kValue);
  EXPECT_EQ(rig.seen,
            (SeenList{{kDevice, 1, true}, {kDevice + 2, 2, true}, {kDevice + 4, 4, true}, {kDevice + 8, 8, true}}));
  rig.seen.clear();
  EXPECT_EQ(load<std::uint8_t>(kDevice), 0x11U);
  EXPECT_EQ(load<std::uint16_t>(kDevice + 2), 0x2222U);
  EXPECT_EQ(load<std::uint32_t>(kDevice + 4), 0x33333333U);
  EXPECT_EQ(load<std::uint64_t>(kDevice + 8), kValue);
  EXPECT_EQ(rig.seen.size(), 4U);
  EXPECT_NE(entry(kDevice).read_tag, kDevice);
}

TEST_F(MemoryAccessTest, UnalignedMmioIsOneAccessWithinAPage) {
  store<std::uint64_t>(kDevice + 3, kValue);
  EXPECT_EQ(rig.seen, (SeenList{{kDevice + 3, 8, true}}));
}

TEST_F(MemoryAccessTest, MmioIsSplitAtPageEnds) {
  store<std::uint64_t>(kDevice + 0xffd, kValue);
  EXPECT_EQ(load<std::uint64_t>(kDevice + 0xffd), kValue);
  EXPECT_EQ(rig.seen, (SeenList{{kDevice + 0xffd, 3, true},
                                {kDevice + 0x1000, 5, true},
                                {kDevice + 0xffd, 3, false},
                                {kDevice + 0x1000, 5, false}}));
}

TEST_F(MemoryAccessTest, WideMmioGoesInEights) {
  std::array<std::byte, 32> data{};
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(i + 1);
  EXPECT_FALSE(rig.execute([&] { cpu.write_linear(kDevice + 0xff4, data); }));
  EXPECT_EQ(rig.seen, (SeenList{{kDevice + 0xff4, 8, true},
                                {kDevice + 0xffc, 4, true},
                                {kDevice + 0x1000, 8, true},
                                {kDevice + 0x1008, 8, true},
                                {kDevice + 0x1010, 4, true}}));
  std::array<std::byte, 32> back{};
  EXPECT_FALSE(rig.execute([&] { cpu.read_linear(kDevice + 0xff4, back); }));
  EXPECT_EQ(back, data);
}

TEST_F(MemoryAccessTest, HalfRamHalfMmio) {
  constexpr std::uint64_t kEnd = MemoryRig::kRamSize;
  store<std::uint64_t>(kEnd - 4, kValue);
  EXPECT_EQ(rig.peek<std::uint32_t>(kEnd - 4), 0x44332211U);
  EXPECT_EQ(rig.seen, (SeenList{{kEnd, 4, true}}));
  EXPECT_EQ(load<std::uint64_t>(kEnd - 4), kValue);
}

TEST_F(MemoryAccessTest, RamIsStoredAfterTheBusHasAnswered) {
  // MOVS from the very bytes that it stores to: executed again, it must find the source unchanged.
  constexpr std::uint64_t kEnd = MemoryRig::kRamSize;
  rig.poke<std::uint64_t>(kEnd - 8, kValue);
  EXPECT_FALSE(rig.execute([&] {
    const auto value = cpu.load_linear<std::uint64_t>(kEnd - 8);
    cpu.store_linear<std::uint64_t>(kEnd - 6, value);
  }));
  EXPECT_EQ(rig.peek<std::uint64_t>(kEnd - 8), kValue << 16U | (kValue & 0xffff));
  EXPECT_EQ(rig.device[kEnd + 1], 0x88);
}

TEST_F(MemoryAccessTest, RomReadsAsMemoryAndIsWrittenAsMmio) {
  rig.poke<std::uint64_t>(kRom + 8, kValue);
  EXPECT_EQ(load<std::uint64_t>(kRom + 8), kValue);
  EXPECT_TRUE(rig.seen.empty());
  store<std::uint32_t>(kRom + 8, 5);
  EXPECT_EQ(rig.seen, (SeenList{{kRom + 8, 4, true}}));
  EXPECT_EQ(load<std::uint64_t>(kRom + 8), kValue);
}

// --- Read-modify-write ---

TEST_F(MemoryAccessTest, ModifyOnRam) {
  rig.poke<std::uint32_t>(0x5000, 41);
  EXPECT_FALSE(increment<std::uint32_t>(0x5000));
  EXPECT_FALSE(increment<std::uint32_t>(0x5000));  // now through the TLB
  EXPECT_EQ(rig.peek<std::uint32_t>(0x5000), 43U);
}

TEST_F(MemoryAccessTest, ModifyOnMmioReadsAndWrites) {
  rig.device[kDevice] = 0xff;
  EXPECT_FALSE(increment<std::uint32_t>(kDevice, true));
  EXPECT_EQ(rig.seen, (SeenList{{kDevice, 4, false}, {kDevice, 4, true}}));
  EXPECT_EQ(rig.device[kDevice + 1], 1);
}

TEST_F(MemoryAccessTest, ModifyOnRom) {
  rig.poke<std::uint32_t>(kRom, 7);
  EXPECT_FALSE(increment<std::uint32_t>(kRom));
  EXPECT_EQ(rig.seen, (SeenList{{kRom, 4, true}}));
  EXPECT_EQ(rig.device[kRom], 8);
  EXPECT_EQ(rig.peek<std::uint32_t>(kRom), 7U);
}

TEST_F(MemoryAccessTest, ModifyNeedsTheRightToWrite) {
  rig.set_paging(Paging::k4Level);
  rig.map(kLinear, 0x5000 | pte::kPresent);
  const auto fault = increment<std::uint32_t>(kLinear);
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->error_code, x86::page_fault::kPresent | x86::page_fault::kWrite);
}

TEST_F(MemoryAccessTest, RegistersAreAsBeforeWhenAWriteWaits) {
  cpu.rflags = x86::rflags::kFixed | x86::rflags::kCf;
  unsigned executed = 0;
  EXPECT_FALSE(rig.execute([&] {
    cpu.modify_linear<std::uint32_t>(kDevice, false, [&](Place<std::uint32_t>& place) {
      ++executed;
      EXPECT_TRUE(cpu.flag(x86::rflags::kCf));
      EXPECT_EQ(cpu.gpr[x86::kRax], 0U);
      place.value += 1;
      cpu.rflags &= ~x86::rflags::kCf;
      cpu.gpr[x86::kRax] = 99;
    });
  }));
  EXPECT_EQ(executed, 2U);
  EXPECT_FALSE(cpu.flag(x86::rflags::kCf));
  EXPECT_EQ(cpu.gpr[x86::kRax], 99U);
}

TEST_F(MemoryAccessTest, ModifyAcrossPages) {
  for (const bool atomic : {false, true}) {
    map({0x9000, 0x5000});
    rig.poke<std::uint16_t>(0x9ffe, 0xffff);
    rig.poke<std::uint16_t>(0x5000, 0x00ff);
    EXPECT_FALSE(increment<std::uint32_t>(kLinear + 0xffe, atomic));
    EXPECT_EQ(rig.peek<std::uint16_t>(0x9ffe), 0U);
    EXPECT_EQ(rig.peek<std::uint16_t>(0x5000), 0x0100U);
    map({0x9000, 0xa000});  // neighbours
    EXPECT_FALSE(increment<std::uint32_t>(kLinear + 0xffe, atomic));
    EXPECT_EQ(rig.peek<std::uint16_t>(0x9ffe), 1U);
  }
}

TEST_F(MemoryAccessTest, SplitAtomicAccessesOfTwoProcessors) {
  map({0x9000, 0x5000});
  constexpr std::uint64_t kAddress = kLinear + 0xffd;
  constexpr unsigned kRounds = 500;
  const auto work = [](Cpu& processor) {
    processor.machine.rendezvous.enter();
    for (unsigned i = 0; i < kRounds; ++i) {
      processor.modify_linear<std::uint64_t>(kAddress, true, [](Place<std::uint64_t>& place) { ++place.value; });
      if (processor.attention.take()) processor.machine.rendezvous.safepoint();
    }
    processor.machine.rendezvous.leave();
  };
  Cpu other(rig.machine);
  other.cr0 = cpu.cr0;
  other.cr3 = cpu.cr3;
  other.cr4 = cpu.cr4;
  other.efer = cpu.efer;
  other.segment = cpu.segment;
  other.features = cpu.features;
  other.update_mode();
  std::thread thread([&] { work(other); });
  work(cpu);
  thread.join();
  EXPECT_EQ(load<std::uint64_t>(kAddress), 2 * kRounds);
}

TEST_F(MemoryAccessTest, FaultInASplitAtomicAccess) {
  const Cpu other(rig.machine);
  map({0x9000, kNowhere});
  rig.machine.rendezvous.enter();
  const auto fault = increment<std::uint64_t>(kLinear + 0xffc, true);
  rig.machine.rendezvous.leave();
  ASSERT_TRUE(fault);
  EXPECT_EQ(cpu.cr2, kLinear + 0x1000);
}

// --- Stores that must be noted ---

TEST_F(MemoryAccessTest, StoresToCodeAreNotedEveryTime) {
  store<std::uint32_t>(0x5000, 1);
  for (unsigned round = 0; round < 3; ++round) {
    mark_code(cpu, 0x5000);
    EXPECT_NE(entry(0x5000).write_tag, 0x5000U);
    for (unsigned n = 0; n < PageState::kStoresToData; ++n) {
      EXPECT_NE(entry(0x5000).write_tag, 0x5000U);
      const std::uint32_t version = state(0x5000).version.load();
      store<std::uint32_t>(0x5ff0, 1);
      EXPECT_TRUE(cpu.leave_block);
      EXPECT_NE(state(0x5000).version.load(), version);
    }
    store<std::uint32_t>(0x5ff0, 2);  // not code any more
    EXPECT_FALSE(cpu.leave_block);
    EXPECT_EQ(entry(0x5000).write_tag, 0x5000U);
  }
}

TEST_F(MemoryAccessTest, AllKindsOfStoresAreNoted) {
  const auto expect_noted = [&](std::uint64_t gpa, auto access) {
    const std::uint32_t version = mark_code(cpu, gpa);
    EXPECT_FALSE(rig.execute(access));
    EXPECT_TRUE(cpu.leave_block);
    EXPECT_NE(state(gpa).version.load(), version);
  };
  expect_noted(0x5000, [&] { cpu.store_linear<std::uint8_t>(0x5000, 1); });
  expect_noted(0x6000, [&] { cpu.store_linear<std::uint64_t>(0x5ffc, 1); });
  expect_noted(0x5000, [&] { (void)increment<std::uint32_t>(0x5000); });
  expect_noted(0x6000, [&] { (void)increment<std::uint32_t>(0x5ffe, true); });
  expect_noted(0x6000, [&] { cpu.write_linear(0x5000, std::array<std::byte, 0x1001>{}); });
  expect_noted(0x5000, [&] {
    std::byte* host = cpu.direct(0x5000, 8, AccessKind::kWrite);
    ASSERT_NE(host, nullptr);
    *host = std::byte{1};
    cpu.wrote(0x5000, 8);
  });
}

TEST_F(MemoryAccessTest, AProbeStoresNothing) {
  mark_code(cpu, 0x5000);
  EXPECT_FALSE(rig.execute([&] { cpu.probe(0x5000, 8, AccessKind::kWrite); }));
  EXPECT_FALSE(rig.execute([&] { cpu.probe(kDevice, 8, AccessKind::kWrite); }));
  EXPECT_TRUE(state(0x5000).holds_code.load());
  EXPECT_FALSE(cpu.leave_block);
  EXPECT_TRUE(rig.seen.empty());
  map({0x9000, kNowhere});
  EXPECT_TRUE(rig.execute([&] { cpu.probe(kLinear + 0xffc, 8, AccessKind::kRead); }));
  EXPECT_FALSE(rig.execute([&] { cpu.probe(kLinear + 0xff8, 8, AccessKind::kFetch); }));
}

TEST_F(MemoryAccessTest, DirtyLog) {
  store<std::uint8_t>(0x5000, 1);  // the page is in the TLB already
  rig.machine.rendezvous.exclusive(false, [&] {
    ASSERT_TRUE(rig.machine.ram.set(
        {.slot = 0, .address = {0}, .size = MemoryRig::kRamSize, .host = rig.host(), .flags = SlotFlags::kLogDirty}));
    drop_all_tlb_writes(rig.machine);
  });
  const auto take = [&] {
    std::vector<std::uint64_t> words;
    rig.machine.rendezvous.exclusive(false, [&] {
      words = rig.machine.ram.by_number(0)->take_dirty();
      drop_all_tlb_writes(rig.machine);
    });
    return words[0];
  };
  (void)take();
  EXPECT_EQ(load<std::uint8_t>(0x7000), 0);
  EXPECT_EQ(take(), 0U);
  for (unsigned round = 0; round < 3; ++round) {
    store<std::uint8_t>(0x5000, 1);
    store<std::uint8_t>(0x5001, 1);
    store<std::uint16_t>(0x7fff, 1);
    EXPECT_EQ(entry(0x5000).write_tag, 0x5000U);
    EXPECT_EQ(take(), 0b1'1010'0000U);
  }
  EXPECT_FALSE(increment<std::uint8_t>(0x3000));
  EXPECT_EQ(take(), 0b1000U);
}

// --- direct() ---

TEST_F(MemoryAccessTest, DirectIsForPlainRamWithinAPage) {
  const auto direct = [&](std::uint64_t address, std::uint64_t size, AccessKind kind) {
    std::byte* host = nullptr;
    EXPECT_FALSE(rig.execute([&] { host = cpu.direct(address, size, kind); }));
    return host;
  };
  EXPECT_EQ(direct(0x5ff8, 8, AccessKind::kRead), rig.host() + 0x5ff8);
  EXPECT_EQ(direct(0x5000, 4096, AccessKind::kWrite), rig.host() + 0x5000);
  EXPECT_EQ(direct(0x5ff9, 8, AccessKind::kRead), nullptr);
  EXPECT_EQ(direct(kDevice, 8, AccessKind::kRead), nullptr);
  EXPECT_EQ(direct(kRom, 8, AccessKind::kRead), rig.host() + MemoryRig::kRamSize);
  EXPECT_EQ(direct(kRom, 8, AccessKind::kWrite), nullptr);
  map({0x9000, kNowhere});
  EXPECT_TRUE(rig.execute([&] { (void)cpu.direct(kLinear + 0x1000, 8, AccessKind::kRead); }));
}

// --- Data breakpoints (SDM 3B 18.2.4 and 18.2.5) ---

struct BreakpointRow {
  unsigned condition;  // R/W field
  unsigned length;     // LEN field
  std::uint64_t at;    // DR1
  std::uint64_t address;
  unsigned size;
  bool on_load;
  bool on_store;
};

TEST_F(MemoryAccessTest, DataBreakpoints) {
  const BreakpointRow rows[] = {
      {1, 0, 0x5008, 0x5008, 1, false, true},   // 1 byte, stores
      {3, 0, 0x5008, 0x5008, 1, true, true},    // and loads
      {0, 0, 0x5008, 0x5008, 1, false, false},  // instructions
      {2, 0, 0x5008, 0x5008, 1, false, false},  // ports
      {3, 0, 0x5008, 0x5005, 4, true, true},    // the last byte of the access
      {3, 0, 0x5008, 0x5004, 4, false, false}, {3, 0, 0x5008, 0x5009, 4, false, false},
      {3, 1, 0x5008, 0x5009, 1, true, true},                                           // 2 bytes
      {3, 1, 0x5009, 0x5008, 1, true, true},                                           // which begin at an even address
      {3, 1, 0x5008, 0x500a, 1, false, false}, {3, 3, 0x5008, 0x500b, 8, true, true},  // 4
      {3, 3, 0x5008, 0x500c, 8, false, false}, {3, 2, 0x5008, 0x500f, 1, true, true},  // 8
      {3, 2, 0x500f, 0x5008, 1, true, true},   {3, 2, 0x5008, 0x5010, 1, false, false},
      {3, 3, 0x5ffc, 0x5ffe, 8, true, true},                                             // accesses across a page end
      {3, 3, 0x6000, 0x5ffe, 8, true, true},   {3, 0, kDevice, kDevice, 4, true, true},  // MMIO
  };
  for (const BreakpointRow& row : rows)
    for (const std::uint64_t enable : {std::uint64_t{4}, std::uint64_t{8}}) {  // L1, G1
      SCOPED_TRACE(&row - rows);
      cpu.dr[1] = row.at;
      cpu.dr7 = x86::dr7::kReset | enable | row.condition << 20U | row.length << 22U;
      breakpoints_changed(cpu);
      for (unsigned round = 0; round < 2; ++round) {  // from page tables and from the TLB
        std::array<std::byte, 8> data{};
        EXPECT_FALSE(rig.execute([&] { cpu.read_linear(row.address, std::span(data).first(row.size)); }));
        EXPECT_EQ(cpu.pending_dr6, row.on_load ? 2U : 0U);
        if (row.size == 4) {
          (void)load<std::uint32_t>(row.address);
          EXPECT_EQ(cpu.pending_dr6, row.on_load ? 2U : 0U);
          (void)increment<std::uint32_t>(row.address);
          EXPECT_EQ(cpu.pending_dr6, row.on_store ? 2U : 0U);
        }
        EXPECT_FALSE(rig.execute([&] { cpu.write_linear(row.address, std::span(data).first(row.size)); }));
        EXPECT_EQ(cpu.pending_dr6, row.on_store ? 2U : 0U);
      }
    }
}

TEST_F(MemoryAccessTest, BreakpointsThatAreOffCostNothing) {
  cpu.dr[0] = 0x5000;
  cpu.dr7 = x86::dr7::kReset | 3U << 16U;
  (void)load<std::uint8_t>(0x5000);
  EXPECT_EQ(cpu.pending_dr6, 0U);
  EXPECT_EQ(entry(0x5000).read_tag, 0x5000U);
}

TEST_F(MemoryAccessTest, TheDebuggersBreakpointsReplaceTheGuests) {
  cpu.dr[0] = 0x5000;
  cpu.dr7 = x86::dr7::kReset | 1U | 3U << 16U;
  cpu.host_owns_dr = true;
  cpu.host_dr[3] = 0x5004;
  cpu.host_dr7 = x86::dr7::kReset | 1U << 6U | 3U << 28U;
  breakpoints_changed(cpu);
  (void)load<std::uint8_t>(0x5000);
  EXPECT_EQ(cpu.pending_dr6, 0U);
  (void)load<std::uint8_t>(0x5004);
  EXPECT_EQ(cpu.pending_dr6, 8U);
}

TEST_F(MemoryAccessTest, DirectLeavesBreakpointsToOrdinaryAccesses) {
  cpu.dr[0] = 0x5010;
  cpu.dr7 = x86::dr7::kReset | 1U | 1U << 16U;
  breakpoints_changed(cpu);
  EXPECT_EQ(cpu.direct(0x5000, 0x20, AccessKind::kWrite), nullptr);
  EXPECT_NE(cpu.direct(0x5000, 0x20, AccessKind::kRead), nullptr);
  EXPECT_NE(cpu.direct(0x5000, 0x10, AccessKind::kWrite), nullptr);
  EXPECT_EQ(cpu.pending_dr6, 0U);
}

TEST_F(MemoryAccessTest, AFaultHitsNoBreakpoint) {
  map({0x9000, kNowhere});
  cpu.dr[0] = kLinear + 0xffc;
  cpu.dr7 = x86::dr7::kReset | 1U | 3U << 16U;
  breakpoints_changed(cpu);
  EXPECT_TRUE(rig.execute([&] { (void)cpu.load_linear<std::uint64_t>(kLinear + 0xffc); }));
  EXPECT_EQ(cpu.pending_dr6, 0U);
}

// --- Alignment (SDM 3A 6.15, #AC) ---

TEST_F(MemoryAccessTest, AlignmentCheck) {
  rig.set_paging(Paging::k4Level);
  rig.map(kLinear, 0x5000 | kAll);
  cpu.cr0 |= x86::cr0::kAm;
  const auto misaligned = [&](std::uint64_t offset, std::size_t size) {
    std::array<std::byte, 64> data{};
    const auto fault = rig.execute([&] { cpu.read_linear(kLinear + offset, std::span(data).first(size)); });
    if (fault) {
      EXPECT_EQ(fault->vector, x86::kAlignmentCheck);
      EXPECT_TRUE(fault->has_error_code);
      EXPECT_EQ(fault->error_code, 0U);
    }
    return fault.has_value();
  };
  rig.set_cpl(3, true);
  (void)load<std::uint8_t>(kLinear);  // into the TLB
  EXPECT_FALSE(misaligned(1, 1));
  EXPECT_TRUE(misaligned(1, 2));
  EXPECT_FALSE(misaligned(2, 2));
  EXPECT_TRUE(misaligned(2, 4));
  EXPECT_FALSE(misaligned(4, 4));
  EXPECT_TRUE(misaligned(4, 8));
  EXPECT_FALSE(misaligned(8, 8));
  EXPECT_TRUE(misaligned(4, 10));  // 80-bit reals: 8
  EXPECT_FALSE(misaligned(8, 10));
  EXPECT_FALSE(misaligned(1, 16));
  EXPECT_TRUE(rig.execute([&] { (void)cpu.load_linear<std::uint32_t>(kLinear + 1); }));
  EXPECT_TRUE(rig.execute([&] { cpu.store_linear<std::uint32_t>(kLinear + 1, 0); }));
  EXPECT_TRUE(increment<std::uint32_t>(kLinear + 1));
  EXPECT_FALSE(increment<std::uint32_t>(kLinear + 4));
  EXPECT_FALSE(rig.execute([&] { (void)cpu.load_system<std::uint32_t>(kLinear + 1); }));
  rig.set_cpl(3, false);
  EXPECT_FALSE(misaligned(1, 4));
  rig.set_cpl(0, true);
  EXPECT_FALSE(misaligned(1, 4));
}

}  // namespace
}  // namespace doppel::accel::soft
