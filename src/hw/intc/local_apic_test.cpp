#include "hw/intc/local_apic.h"

#include <gtest/gtest.h>

#include <array>

#include "hw/intc/local_apic_fixture.h"

namespace doppel::hw {
namespace {

using lapic::Register;

constexpr std::uint32_t kMasked = 1U << 16U;
constexpr std::uint32_t kMsrBase = lapic::kMsrApicBase;
constexpr std::uint64_t kXapicBase = 0xfee00900;

class LocalApicTest : public testing::Test {
 protected:
  LocalApicTest() { EXPECT_TRUE(bus.attach(ioapic)); }

  RecordingIoapic ioapic;
  FixedPic pic;
  event::FakeClock clock;
  ApicBus bus{{}};
  TestCpu cpu{bus, clock, {.id = 3, .bootstrap = true, .directed_eoi = true}, &pic};
  LocalApic& apic = cpu.apic;
  RecordingClient& client = cpu.client;
};

TEST_F(LocalApicTest, PowerOnState) {
  apic.reset();
  EXPECT_EQ(apic.apic_base(), kXapicBase);
  EXPECT_EQ(apic.mmio_address(), 0xfee00000U);
  EXPECT_EQ(cpu.read(Register::kId), 3U << 24U);
  EXPECT_EQ(cpu.read(Register::kVersion), 0x01060014U);
  EXPECT_EQ(cpu.read(Register::kDfr), 0xffffffffU);
  EXPECT_EQ(cpu.read(Register::kSvr), 0xffU);
  EXPECT_EQ(cpu.read(Register::kLvtLint0), 0x700U) << "virtual wire on the bootstrap processor";
  for (const Register reg : {Register::kLvtTimer, Register::kLvtThermal, Register::kLvtPerformance, Register::kLvtLint1,
                             Register::kLvtError, Register::kLvtCmci})
    EXPECT_EQ(cpu.read(reg), kMasked);
}

TEST_F(LocalApicTest, InterruptFromRequestToEoi) {
  EXPECT_FALSE(apic.has_interrupt());
  cpu.accept(0x41);
  EXPECT_TRUE(apic.has_interrupt());
  EXPECT_EQ(client.kicks, 1);
  EXPECT_EQ(apic.pending_vector(), 0x41);
  EXPECT_EQ(cpu.read(static_cast<Register>(0x22)), 2U);  // IRR 64..95
  EXPECT_EQ(apic.acknowledge(), 0x41);
  EXPECT_FALSE(apic.has_interrupt());
  EXPECT_EQ(apic.acknowledge(), std::nullopt);
  EXPECT_EQ(cpu.read(static_cast<Register>(0x12)), 2U);
  EXPECT_EQ(cpu.read(Register::kPpr), 0x40U);
  cpu.write(Register::kEoi, 0);
  EXPECT_EQ(cpu.read(static_cast<Register>(0x12)), 0U);
  EXPECT_EQ(cpu.read(Register::kPpr), 0U);
  EXPECT_TRUE(ioapic.vectors.empty()) << "an edge is nobody's business";
}

TEST_F(LocalApicTest, PriorityClassesNest) {
  cpu.accept(0x45);
  EXPECT_EQ(apic.acknowledge(), 0x45);
  cpu.accept(0x4f);
  EXPECT_FALSE(apic.has_interrupt()) << "same class";
  cpu.accept(0x50);
  EXPECT_EQ(apic.acknowledge(), 0x50);
  apic.end_of_interrupt();
  EXPECT_FALSE(apic.has_interrupt());
  apic.end_of_interrupt();
  EXPECT_EQ(apic.acknowledge(), 0x4f);
}

TEST_F(LocalApicTest, TaskPriorityHoldsBack) {
  apic.set_cr8(5);
  EXPECT_EQ(cpu.read(Register::kTpr), 0x50U);
  cpu.accept(0x5f);
  EXPECT_FALSE(apic.has_interrupt());
  EXPECT_EQ(client.kicks, 0);
  cpu.write(Register::kTpr, 0x4f);
  EXPECT_TRUE(apic.has_interrupt());
  EXPECT_EQ(client.kicks, 1);
  EXPECT_EQ(apic.cr8(), 4);
  apic.set_cr8(4);
  EXPECT_EQ(apic.tpr(), 0x4f) << "an unchanged CR8 changes nothing";
  EXPECT_EQ(cpu.read(Register::kPpr), 0x4fU);
}

TEST_F(LocalApicTest, SameVectorTwiceIsHeldOnceEach) {
  cpu.accept(0x41);
  cpu.accept(0x41);
  apic.acknowledge();
  cpu.accept(0x41);
  cpu.accept(0x41);
  apic.end_of_interrupt();
  EXPECT_EQ(cpu.drain(), Vectors{0x41});
}

TEST_F(LocalApicTest, LevelEoiIsBroadcast) {
  cpu.accept(0x61, TriggerMode::kLevel);
  EXPECT_EQ(cpu.read(static_cast<Register>(0x1b)), 2U);  // TMR
  cpu.drain();
  EXPECT_EQ(ioapic.vectors, Vectors{0x61});
  cpu.accept(0x61);
  cpu.drain();
  EXPECT_EQ(ioapic.vectors, Vectors{0x61}) << "the vector is an edge now";
}

TEST_F(LocalApicTest, DirectedEoiSuppressesTheBroadcast) {
  cpu.write(Register::kSvr, 0x11ff);
  EXPECT_EQ(cpu.read(Register::kSvr), 0x11ffU);
  cpu.accept(0x61, TriggerMode::kLevel);
  cpu.drain();
  EXPECT_TRUE(ioapic.vectors.empty());
}

TEST_F(LocalApicTest, EoiWithoutInterruptIsHarmless) {
  cpu.write(Register::kEoi, 0xdeadbeef);
  EXPECT_EQ(cpu.read(Register::kEoi), 0U);
  EXPECT_FALSE(apic.has_interrupt());
}

TEST_F(LocalApicTest, SoftwareDisableMasksAndRefusesButKeepsPending) {
  cpu.write(Register::kLvtTimer, 0x40);
  cpu.accept(0x41);
  cpu.write(Register::kSvr, 0xff);
  EXPECT_EQ(cpu.read(Register::kLvtTimer), 0x40 | kMasked);
  cpu.write(Register::kLvtTimer, 0x42);
  EXPECT_EQ(cpu.read(Register::kLvtTimer), 0x42 | kMasked);
  cpu.accept(0x91);
  EXPECT_EQ(cpu.drain(), Vectors{0x41});
  apic.accept({.delivery_mode = DeliveryMode::kNmi});
  EXPECT_EQ(client.events, Events{"nmi"});
}

TEST_F(LocalApicTest, IllegalVectorsSetTheErrorStatus) {
  cpu.write(Register::kLvtError, 0xfe);
  cpu.accept(0x0f);
  EXPECT_EQ(cpu.read(Register::kEsr), 0U) << "not latched yet";
  EXPECT_EQ(cpu.drain(), Vectors{0xfe});
  cpu.command(0x40005);
  EXPECT_FALSE(apic.has_interrupt()) << "not rearmed";
  cpu.write(Register::kEsr, 0);
  EXPECT_EQ(cpu.read(Register::kEsr), 0x60U);
  cpu.write(Register::kEsr, 0);
  EXPECT_EQ(cpu.read(Register::kEsr), 0U);
  cpu.command(0x40005);
  EXPECT_EQ(cpu.drain(), Vectors{0xfe});
}

TEST_F(LocalApicTest, IllegalErrorVectorDoesNotRecurse) {
  cpu.write(Register::kLvtError, 0x03);
  cpu.accept(0x01);
  cpu.write(Register::kEsr, 0);
  EXPECT_EQ(cpu.read(Register::kEsr), 0x40U);
}

TEST_F(LocalApicTest, ReservedRegistersAndUndefinedAccesses) {
  for (const std::uint64_t offset : {0x000U, 0x010U, 0x040U, 0x290U, 0x3a0U, 0x3f0U, 0x400U, 0xff0U}) {
    EXPECT_EQ(apic.read(offset, 4), 0U) << offset;
    cpu.write(Register::kEsr, 0);
    EXPECT_EQ(cpu.read(Register::kEsr), 0x80U) << offset;
  }
  EXPECT_EQ(apic.read(0x20, 1), 0xffU);
  EXPECT_EQ(apic.read(0x20, 8), ~0ULL);
  EXPECT_EQ(apic.read(0x24, 4), 0xffffffffU);
  EXPECT_EQ(apic.read(0x10000, 4), 0xffffffffU);
  apic.write(0x80, 1, 0xff);
  apic.write(0x82, 4, 0xff);
  apic.write(0x30, 4, 0xff);
  EXPECT_EQ(apic.tpr(), 0);
  EXPECT_EQ(cpu.read(Register::kVersion), 0x01060014U);
}

TEST_F(LocalApicTest, LvtWritableBits) {
  struct Row {
    Register reg;
    std::uint32_t expected;
  };
  for (const Row& row :
       {Row{Register::kLvtTimer, 0x600ff}, Row{Register::kLvtThermal, 0x107ff}, Row{Register::kLvtPerformance, 0x107ff},
        Row{Register::kLvtCmci, 0x107ff}, Row{Register::kLvtLint0, 0x1a7ff}, Row{Register::kLvtLint1, 0x1a7ff},
        Row{Register::kLvtError, 0x100ff}}) {
    cpu.write(row.reg, 0xffffffff & ~(row.reg == Register::kLvtTimer ? kMasked : 0U));
    EXPECT_EQ(cpu.read(row.reg), row.expected | (row.reg == Register::kLvtTimer ? 0U : kMasked));
  }
}

TEST_F(LocalApicTest, VirtualWireThroughLint0) {
  apic.reset();
  apic.set_irq(0, true);
  EXPECT_TRUE(apic.has_interrupt());
  EXPECT_EQ(apic.pending_vector(), std::nullopt);
  EXPECT_EQ(client.kicks, 1);
  EXPECT_EQ(apic.acknowledge(), 0x27);
  apic.set_irq(0, false);
  EXPECT_FALSE(apic.has_interrupt());
  EXPECT_EQ(apic.acknowledge(), std::nullopt);
  EXPECT_EQ(pic.acknowledged, 1);
  cpu.write(Register::kSvr, 0x1ff);
  cpu.write(Register::kLvtLint0, 0x700 | kMasked);
  apic.set_irq(0, true);
  EXPECT_FALSE(apic.has_interrupt());
}

TEST_F(LocalApicTest, ExtIntComesFirstAndIgnoresTheTaskPriority) {
  apic.set_tpr(0xf0);
  cpu.accept(0xe0);
  apic.accept({.delivery_mode = DeliveryMode::kExtInt});
  EXPECT_EQ(apic.acknowledge(), 0x27);
  EXPECT_FALSE(apic.has_interrupt());
  apic.set_tpr(0);
  EXPECT_EQ(apic.acknowledge(), 0xe0);
}

TEST_F(LocalApicTest, ExtIntWithoutPicIsNothing) {
  TestCpu lonely(bus, clock, {.id = 9, .bootstrap = true});
  lonely.apic.reset();
  lonely.apic.set_irq(0, true);
  lonely.apic.accept({.delivery_mode = DeliveryMode::kExtInt});
  EXPECT_FALSE(lonely.apic.has_interrupt());
  EXPECT_EQ(lonely.apic.acknowledge(), std::nullopt);
}

TEST_F(LocalApicTest, Lint1AsNmiOncePerEdge) {
  cpu.write(Register::kLvtLint1, 0x400);
  apic.set_irq(1, true);
  apic.set_irq(1, true);
  EXPECT_EQ(client.events, Events{"nmi"});
  apic.set_irq(1, false);
  cpu.write(Register::kLvtLint1, 0x200);
  apic.set_irq(1, true);
  EXPECT_EQ(client.events, (Events{"nmi", "smi"}));
  apic.set_irq(2, true);
  apic.set_irq(~0U, true);
}

TEST_F(LocalApicTest, LevelLintFiresAgainAfterEoi) {
  cpu.write(Register::kLvtLint0, 0x8055 | kMasked);
  apic.set_irq(0, true);
  EXPECT_FALSE(apic.has_interrupt());
  cpu.write(Register::kLvtLint0, 0x8055);
  EXPECT_EQ(cpu.read(Register::kLvtLint0), 0xc055U);
  EXPECT_EQ(apic.acknowledge(), 0x55);
  EXPECT_FALSE(apic.has_interrupt());
  apic.end_of_interrupt();
  EXPECT_EQ(apic.acknowledge(), 0x55);
  apic.set_irq(0, false);
  apic.end_of_interrupt();
  EXPECT_FALSE(apic.has_interrupt());
  EXPECT_EQ(cpu.read(Register::kLvtLint0), 0x8055U);
}

TEST_F(LocalApicTest, PerformanceCounterMasksItself) {
  cpu.write(Register::kLvtPerformance, 0x400);
  apic.signal(LocalVector::kPerformance);
  apic.signal(LocalVector::kPerformance);
  EXPECT_EQ(client.events, Events{"nmi"});
  EXPECT_EQ(cpu.read(Register::kLvtPerformance), 0x400 | kMasked);
}

TEST_F(LocalApicTest, SelfIpis) {
  cpu.command(0x40077);
  EXPECT_EQ(cpu.drain(), Vectors{0x77});
  EXPECT_EQ(cpu.read(Register::kIcr), 0x40077U);
  cpu.command(0x00078, 3);
  EXPECT_EQ(cpu.drain(), Vectors{0x78});
  cpu.command(0x80079);
  EXPECT_EQ(cpu.drain(), Vectors{0x79});
  cpu.command(0xc0079);
  EXPECT_TRUE(cpu.drain().empty());
  cpu.command(0x01079, 3);
  EXPECT_EQ(cpu.read(Register::kIcr), 0x79U) << "delivery status stays idle";
}

TEST_F(LocalApicTest, InitDeassertAndReservedModesSendNothing) {
  cpu.command(0x88500);
  cpu.command(0x80333);
  cpu.command(0x80733);
  EXPECT_TRUE(client.events.empty());
  EXPECT_FALSE(apic.has_interrupt());
  cpu.command(0x84500);
  cpu.command(0x806ab);
  EXPECT_EQ(client.events, (Events{"init", "sipi 171"}));
}

TEST_F(LocalApicTest, InitKeepsIdAndBase) {
  cpu.write(Register::kId, 7U << 24U);
  cpu.write(Register::kTpr, 0x33);
  cpu.accept(0x80);
  apic.init();
  EXPECT_EQ(cpu.read(Register::kId), 7U << 24U);
  EXPECT_EQ(cpu.read(Register::kTpr), 0U);
  EXPECT_FALSE(apic.has_interrupt());
  EXPECT_EQ(apic.apic_base(), kXapicBase);
}

TEST_F(LocalApicTest, ModeTransitions) {
  constexpr std::uint64_t kDisabled = 0xfee00100;
  constexpr std::uint64_t kX2apic = 0xfee00d00;
  EXPECT_FALSE(apic.write_msr(kMsrBase, 0xfee00500)) << "x2APIC without enable";
  EXPECT_FALSE(apic.write_msr(kMsrBase, kXapicBase | 0x200)) << "reserved bit";
  EXPECT_FALSE(apic.write_msr(kMsrBase, kXapicBase | 1ULL << 46U)) << "beyond the address width";
  EXPECT_TRUE(apic.write_msr(kMsrBase, kDisabled));
  EXPECT_FALSE(apic.write_msr(kMsrBase, kX2apic)) << "disabled to x2APIC";
  EXPECT_TRUE(apic.write_msr(kMsrBase, kXapicBase));
  EXPECT_TRUE(apic.write_msr(kMsrBase, kX2apic));
  EXPECT_EQ(apic.mmio_address(), std::nullopt);
  EXPECT_FALSE(apic.write_msr(kMsrBase, kXapicBase)) << "x2APIC to xAPIC";
  EXPECT_EQ(apic.read_msr(kMsrBase), kX2apic);
  EXPECT_TRUE(apic.write_msr(kMsrBase, kDisabled));
  EXPECT_TRUE(apic.write_msr(kMsrBase, kXapicBase));
  EXPECT_EQ(cpu.read(Register::kSvr), 0xffU) << "as after power-on";
  EXPECT_TRUE(apic.write_msr(kMsrBase, 0x1'0000'0900));
  EXPECT_EQ(apic.mmio_address(), 0x1'0000'0000U);
}

TEST_F(LocalApicTest, X2apicIsReservedWhereCpuidLacksIt) {
  TestCpu plain(bus, clock, {.id = 1, .x2apic = false, .tsc_deadline = false});
  EXPECT_FALSE(plain.enable_x2apic());
  EXPECT_FALSE(plain.apic.write_msr(lapic::kMsrTscDeadline, 1));
  EXPECT_EQ(plain.apic.read_msr(lapic::kMsrTscDeadline), std::nullopt);
  plain.write(Register::kSvr, 0x1fff);
  EXPECT_EQ(plain.read(Register::kSvr), 0x3ffU);
}

TEST_F(LocalApicTest, GloballyDisabledThePinsGoToTheProcessor) {
  cpu.accept(0x41);
  EXPECT_TRUE(apic.write_msr(kMsrBase, 0xfee00100));
  EXPECT_FALSE(apic.has_interrupt());
  cpu.accept(0x42);
  apic.signal(LocalVector::kThermal);
  EXPECT_FALSE(apic.has_interrupt());
  apic.set_irq(0, true);
  EXPECT_EQ(apic.acknowledge(), 0x27);
  apic.set_irq(1, true);
  EXPECT_EQ(client.events, Events{"nmi"});
  EXPECT_EQ(cpu.read(Register::kId), 0xffffffffU);
  EXPECT_FALSE(apic.matches({.destination = kApicBroadcast}));
}

TEST_F(LocalApicTest, X2apicRegisters) {
  EXPECT_EQ(apic.read_msr(0x802), std::nullopt) << "#GP in xAPIC mode";
  EXPECT_FALSE(apic.write_msr(0x80b, 0));
  ASSERT_TRUE(cpu.enable_x2apic());
  EXPECT_EQ(cpu.read(Register::kId), 0xffffffffU) << "the page is gone";
  EXPECT_EQ(apic.read_msr(0x802), 3U);
  EXPECT_EQ(apic.read_msr(0x80d), 8U);
  EXPECT_EQ(apic.read_msr(0x80f), 0x1ffU) << "the state is kept";
  EXPECT_TRUE(apic.write_msr(0x808, 0x20));
  EXPECT_EQ(apic.tpr(), 0x20);
  EXPECT_TRUE(apic.write_msr(0x83f, 0x99));
  EXPECT_EQ(apic.read_msr(0x824), 1U << 25U);
  EXPECT_EQ(apic.acknowledge(), 0x99);
  EXPECT_EQ(apic.read_msr(0x814), 1U << 25U);
  EXPECT_TRUE(apic.write_msr(0x80b, 0));
  EXPECT_EQ(apic.read_msr(0x814), 0U);
  EXPECT_TRUE(apic.write_msr(0x83f, 5));
  EXPECT_TRUE(apic.write_msr(0x828, 0));
  EXPECT_EQ(apic.read_msr(0x828), 0x20U);
}

TEST_F(LocalApicTest, X2apicFaults) {
  ASSERT_TRUE(cpu.enable_x2apic());
  for (const std::uint32_t index :
       {0x800U, 0x801U, 0x809U, 0x80bU, 0x80cU, 0x80eU, 0x831U, 0x83aU, 0x83fU, 0x840U, 0x8ffU})
    EXPECT_EQ(apic.read_msr(index), std::nullopt) << std::hex << index;
  for (const std::uint32_t index :
       {0x800U, 0x802U, 0x803U, 0x80aU, 0x80dU, 0x80eU, 0x810U, 0x827U, 0x831U, 0x839U, 0x8ffU})
    EXPECT_FALSE(apic.write_msr(index, 0)) << std::hex << index;
  EXPECT_FALSE(apic.write_msr(0x80b, 1)) << "EOI takes 0 only";
  EXPECT_FALSE(apic.write_msr(0x828, 1)) << "so does the ESR";
  EXPECT_FALSE(apic.write_msr(0x808, 0x100));
  EXPECT_FALSE(apic.write_msr(0x830, 1U << 13U));
  EXPECT_FALSE(apic.write_msr(0x832, 1U << 19U));
  EXPECT_FALSE(apic.write_msr(0x838, 1ULL << 32U));
  EXPECT_FALSE(apic.write_msr(0x80f, 1U << 10U));
  EXPECT_EQ(apic.read_msr(0x7ff), std::nullopt);
  EXPECT_FALSE(apic.write_msr(0x900, 0));
}

TEST_F(LocalApicTest, X2apicCommandIs64BitsWide) {
  TestCpu far(bus, clock, {.id = 0x123});
  ASSERT_TRUE(cpu.enable_x2apic());
  ASSERT_TRUE(far.enable_x2apic());
  EXPECT_TRUE(apic.write_msr(0x830, 0x123'0000'0055));
  EXPECT_EQ(apic.read_msr(0x830), 0x123'0000'0055U);
  EXPECT_EQ(far.drain(), Vectors{0x55});
  EXPECT_TRUE(apic.write_msr(0x830, (0x0012'0008ULL << 32U) | 0x856));
  EXPECT_EQ(far.drain(), Vectors{0x56}) << "cluster 0x12, member 3";
  EXPECT_TRUE(apic.write_msr(0x830, 0xffffffff'00000057));
  EXPECT_EQ(far.drain(), Vectors{0x57});
  EXPECT_EQ(cpu.drain(), Vectors{0x57});
  EXPECT_TRUE(apic.write_msr(0x83f, 0x58));
  EXPECT_EQ(apic.read_msr(0x830), 0xffffffff'00000057U) << "the self IPI register leaves the ICR alone";
}

TEST_F(LocalApicTest, SavesAndLoads) {
  cpu.write(Register::kTpr, 0x21);
  cpu.write(Register::kLvtTimer, 0x20031);
  cpu.write(Register::kInitialCount, 250'000);
  cpu.accept(0x41, TriggerMode::kLevel);
  apic.acknowledge();
  cpu.accept(0x52);
  clock.advance(200'000);
  state::Writer writer;
  apic.save(writer);

  TestCpu other(bus, clock, {.id = 3}, &pic);
  state::Reader reader(writer.bytes());
  ASSERT_TRUE(other.apic.load(reader));
  EXPECT_EQ(other.client.kicks, 1);
  EXPECT_EQ(other.read(Register::kCurrentCount), 150'000U);
  EXPECT_EQ(other.apic.acknowledge(), 0x52);
  other.apic.end_of_interrupt();
  other.apic.end_of_interrupt();
  EXPECT_EQ(ioapic.vectors, Vectors{0x41});
  clock.advance(300'000);
  EXPECT_EQ(other.drain(), Vectors{0x31});
}

TEST_F(LocalApicTest, RefusesAnImpossibleSavedBase) {
  LocalApicState state;
  state.apic_base = 0x400;
  state::Writer writer;
  state::save(writer, state);
  state::Reader reader(writer.bytes());
  EXPECT_EQ(apic.load(reader).error().kind(), ErrorKind::kCorrupt);
}

TEST_F(LocalApicTest, PageRoundTrip) {
  cpu.write(Register::kTpr, 0x10);
  cpu.write(Register::kLdr, 0x04000000);
  cpu.write(Register::kDivide, 0xb);
  cpu.write(Register::kLvtTimer, 0x31);
  cpu.write(Register::kInitialCount, 1000);
  cpu.command(0x40099);
  clock.advance(400);
  std::array<std::byte, kLocalApicPageSize> page{};
  apic.save_page(page);
  EXPECT_EQ(page[0x23], std::byte{3});
  EXPECT_EQ(page[0x80], std::byte{0x10});
  EXPECT_EQ(page[0x243], std::byte{0x02}) << "IRR, vector 0x99";

  TestCpu other(bus, clock, {.id = 3});
  ASSERT_TRUE(other.apic.load_page(page, kXapicBase));
  EXPECT_EQ(other.read(Register::kLdr), 0x04000000U);
  EXPECT_EQ(other.read(Register::kCurrentCount), 600U);
  EXPECT_EQ(other.drain(), Vectors{0x99});
  clock.advance(600);
  EXPECT_EQ(other.drain(), Vectors{0x31});
}

TEST_F(LocalApicTest, PageInX2apicMode) {
  ASSERT_TRUE(cpu.enable_x2apic());
  EXPECT_TRUE(apic.write_msr(0x830, 0x123'0000'0055));
  std::array<std::byte, kLocalApicPageSize> page{};
  apic.save_page(page);
  EXPECT_EQ(page[0x20], std::byte{3});
  EXPECT_EQ(page[0x310], std::byte{0x23});
  EXPECT_FALSE(apic.load_page(page, 0xfee00500));
  ASSERT_TRUE(apic.load_page(page, 0xfee00d00));
  EXPECT_EQ(apic.read_msr(0x830), 0x123'0000'0055U);
}

TEST_F(LocalApicTest, HostilePageIsTamed) {
  std::array<std::byte, kLocalApicPageSize> page;
  page.fill(std::byte{0xff});
  ASSERT_TRUE(apic.load_page(page, kXapicBase));
  EXPECT_EQ(cpu.read(static_cast<Register>(0x20)), 0xffff0000U) << "no vector below 16 is ever pending";
  EXPECT_EQ(cpu.read(Register::kSvr), 0x13ffU);
  for (int i = 0; i < 300; ++i) apic.end_of_interrupt();
  clock.advance(event::kNsPerSecond);
}

}  // namespace
}  // namespace doppel::hw
