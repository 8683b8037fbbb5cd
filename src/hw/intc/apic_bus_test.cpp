#include "hw/intc/apic_bus.h"

#include <gtest/gtest.h>

#include "hw/intc/i8259.h"
#include "hw/intc/ioapic82093.h"
#include "hw/intc/local_apic_fixture.h"

namespace doppel::hw {
namespace {

using lapic::Register;

class ApicBusTest : public testing::Test {
 protected:
  ApicBusTest() {
    for (std::uint32_t id = 0; id < 4; ++id)
      cpus.push_back(std::make_unique<TestCpu>(bus, clock, LocalApicConfig{.id = id}));
  }

  /// Which processors have something pending; takes it all.
  Vectors receivers() {
    Vectors ids;
    for (unsigned i = 0; i < cpus.size(); ++i)
      if (!cpus[i]->drain().empty()) ids.push_back(i);
    return ids;
  }
  Vectors send(std::uint32_t destination, DestinationMode mode) {
    bus.deliver({.destination = destination, .destination_mode = mode, .vector = 0x40});
    return receivers();
  }
  Vectors physical(std::uint32_t destination) { return send(destination, DestinationMode::kPhysical); }
  Vectors logical(std::uint32_t destination) { return send(destination, DestinationMode::kLogical); }
  void set_logical_ids(std::uint32_t dfr, std::initializer_list<std::uint32_t> ids) {
    unsigned i = 0;
    for (const std::uint32_t id : ids) {
      cpus[i]->write(Register::kDfr, dfr);
      cpus[i++]->write(Register::kLdr, id << 24U);
    }
  }

  event::FakeClock clock;
  ApicBus bus{{}};
  std::vector<std::unique_ptr<TestCpu>> cpus;
};

TEST_F(ApicBusTest, PhysicalDestinations) {
  EXPECT_EQ(physical(2), Vectors{2});
  EXPECT_EQ(physical(4), Vectors{});
  EXPECT_EQ(physical(0x100), Vectors{}) << "no wrapping of wide ids";
  EXPECT_EQ(physical(kApicBroadcast), (Vectors{0, 1, 2, 3}));
}

TEST_F(ApicBusTest, FollowsARewrittenId) {
  cpus[1]->write(Register::kId, 9U << 24U);
  EXPECT_EQ(physical(9), Vectors{1});
  EXPECT_EQ(physical(1), Vectors{});
  EXPECT_EQ(cpus[1]->apic.id(), 9U);
}

TEST_F(ApicBusTest, FlatLogicalDestinations) {
  set_logical_ids(0xffffffff, {1, 2, 4, 8});
  EXPECT_EQ(logical(0x05), (Vectors{0, 2}));
  EXPECT_EQ(logical(0x10), Vectors{});
  EXPECT_EQ(logical(0x101), Vectors{});
  EXPECT_EQ(logical(kApicBroadcast), (Vectors{0, 1, 2, 3}));
}

TEST_F(ApicBusTest, ClusterLogicalDestinations) {
  set_logical_ids(0x0fffffff, {0x11, 0x12, 0x21, 0x22});
  EXPECT_EQ(logical(0x13), (Vectors{0, 1}));
  EXPECT_EQ(logical(0x21), Vectors{2});
  EXPECT_EQ(logical(0x31), Vectors{});
  EXPECT_EQ(logical(kApicBroadcast), (Vectors{0, 1, 2, 3}));
}

TEST_F(ApicBusTest, X2apicLogicalDestinations) {
  TestCpu far(bus, clock, {.id = 0x25});
  for (auto& cpu : cpus) EXPECT_TRUE(cpu->enable_x2apic());
  EXPECT_TRUE(far.enable_x2apic());
  EXPECT_EQ(logical(0x0000000a), (Vectors{1, 3}));
  EXPECT_EQ(logical(0x00020020), Vectors{});
  EXPECT_EQ(far.drain(), Vectors{0x40});
}

TEST_F(ApicBusTest, WideIdIsReachedInXapicMode) {
  TestCpu far(bus, clock, {.id = 0x102});
  bus.deliver({.destination = 0x102, .delivery_mode = DeliveryMode::kInit});
  EXPECT_EQ(far.client.events, Events{"init"});
  EXPECT_EQ(physical(2), Vectors{2});
  EXPECT_TRUE(far.drain().empty());
}

TEST_F(ApicBusTest, Shorthands) {
  cpus[1]->command(0x80050);
  EXPECT_EQ(receivers(), (Vectors{0, 1, 2, 3}));
  cpus[1]->command(0xc0050);
  EXPECT_EQ(receivers(), (Vectors{0, 2, 3}));
  cpus[1]->command(0x40050);
  EXPECT_EQ(receivers(), Vectors{1});
  cpus[1]->command(0x00050, 0xff);
  EXPECT_EQ(receivers(), (Vectors{0, 1, 2, 3}));
}

TEST_F(ApicBusTest, StartsTheOthers) {
  cpus[0]->command(0xc4500);
  cpus[0]->command(0xc4608);
  cpus[0]->command(0x04400, 2);
  EXPECT_TRUE(cpus[0]->client.events.empty());
  EXPECT_EQ(cpus[1]->client.events, (Events{"init", "sipi 8"}));
  EXPECT_EQ(cpus[2]->client.events, (Events{"init", "sipi 8", "nmi"}));
}

TEST_F(ApicBusTest, LowestPriorityPrefersTheIdle) {
  set_logical_ids(0xffffffff, {1, 2, 4, 8});
  cpus[0]->apic.set_tpr(0x20);
  cpus[1]->apic.set_tpr(0x10);
  cpus[2]->apic.set_tpr(0x30);
  const ApicMessage message{0x07, DestinationMode::kLogical, DeliveryMode::kLowestPriority, TriggerMode::kEdge, 0x55};
  for (int i = 0; i < 5; ++i) {
    bus.deliver(message);
    EXPECT_EQ(receivers(), Vectors{1});
  }
  cpus[1]->write(Register::kSvr, 0xff);
  bus.deliver(message);
  EXPECT_EQ(receivers(), Vectors{0}) << "a disabled one takes no part";
}

TEST_F(ApicBusTest, LowestPriorityTakesTurnsAmongEquals) {
  std::array<int, 4> taken{};
  for (int i = 0; i < 40; ++i) {
    bus.deliver({kApicBroadcast, DestinationMode::kPhysical, DeliveryMode::kLowestPriority, TriggerMode::kEdge, 0x55});
    for (const unsigned id : receivers()) ++taken[id];
  }
  EXPECT_EQ(taken, (std::array<int, 4>{10, 10, 10, 10}));
}

TEST_F(ApicBusTest, FocusProcessorGetsItsOwnVector) {
  const ApicMessage message{kApicBroadcast, DestinationMode::kPhysical, DeliveryMode::kLowestPriority,
                            TriggerMode::kEdge, 0x55};
  cpus[2]->accept(0x55);
  cpus[2]->apic.acknowledge();
  for (int i = 0; i < 4; ++i) bus.deliver(message);
  for (const unsigned i : {0U, 1U, 3U}) EXPECT_FALSE(cpus[i]->apic.has_interrupt());
  cpus[2]->write(Register::kSvr, 0x3ff);
  bus.deliver(message);
  EXPECT_TRUE(cpus[0]->apic.has_interrupt() || cpus[1]->apic.has_interrupt() || cpus[3]->apic.has_interrupt());
}

TEST_F(ApicBusTest, LowestPriorityWithoutTakersIsLost) {
  bus.deliver({.destination = 77, .delivery_mode = DeliveryMode::kLowestPriority, .vector = 0x55});
  EXPECT_EQ(receivers(), Vectors{});
  ApicBus empty({});
  empty.deliver({.destination = kApicBroadcast, .delivery_mode = DeliveryMode::kLowestPriority, .vector = 0x55});
}

TEST_F(ApicBusTest, DeliversMsis) {
  bus.deliver_msi(0xfee03000, 0x61);
  EXPECT_EQ(cpus[3]->drain(), Vectors{0x61});
  bus.deliver_msi(0xfee00000, 0x400);
  EXPECT_EQ(cpus[0]->client.events, Events{"nmi"});
  bus.deliver_msi(0x1000, 0x61);
  bus.deliver_msi(0xfee00000, 0x661);
  EXPECT_EQ(receivers(), Vectors{});
}

TEST_F(ApicBusTest, DetachedOnesHearNothing) {
  bus.detach(cpus[2]->apic);
  EXPECT_EQ(physical(kApicBroadcast), (Vectors{0, 1, 3}));
  EXPECT_EQ(physical(2), Vectors{});
  EXPECT_TRUE(bus.attach(cpus[2]->apic));
  EXPECT_EQ(physical(2), Vectors{2});
  std::array<RecordingIoapic, ApicBus::kMaxIoapics + 1> ioapics;
  for (unsigned i = 0; i < ApicBus::kMaxIoapics; ++i) EXPECT_TRUE(bus.attach(ioapics[i]));
  EXPECT_EQ(bus.attach(ioapics.back()).error().kind(), ErrorKind::kNoSpace);
  bus.detach(ioapics[0]);
  bus.broadcast_eoi(0x44);
  EXPECT_TRUE(ioapics[0].vectors.empty());
  EXPECT_EQ(ioapics[1].vectors, Vectors{0x44});
}

/// The chips wired together as on a PC.
TEST_F(ApicBusTest, LevelInterruptGoesRoundThroughIoapicAndLocalApic) {
  Ioapic82093 ioapic(IoapicVersion::k11, bus, {});
  ASSERT_TRUE(bus.attach(ioapic));
  ioapic.write(0x00, 4, 0x10 + 2 * 11);
  ioapic.write(0x10, 4, 0x805b);
  ioapic.set_irq(11, true);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(cpus[0]->apic.acknowledge(), 0x5b);
    EXPECT_FALSE(cpus[0]->apic.has_interrupt());
    cpus[0]->write(Register::kEoi, 0);
    EXPECT_TRUE(cpus[0]->apic.has_interrupt()) << "still asserted";
  }
  EXPECT_EQ(cpus[0]->apic.acknowledge(), 0x5b);
  ioapic.set_irq(11, false);
  cpus[0]->write(Register::kEoi, 0);
  EXPECT_FALSE(cpus[0]->apic.has_interrupt());
}

TEST_F(ApicBusTest, PicReachesTheProcessorThroughLint0) {
  struct Wire final : IrqSink {
    void set_irq(unsigned pin, bool level) override {
      if (apic != nullptr) apic->set_irq(pin, level);
    }
    LocalApic* apic = nullptr;
  } lint;
  I8259Pair pic({&lint, 0}, {});
  TestCpu boot(bus, clock, {.id = 8, .bootstrap = true}, &pic);
  boot.write(Register::kLvtLint0, 0x700);
  lint.apic = &boot.apic;
  for (const unsigned value : {0x11U, 0x20U, 0x04U, 0x01U}) pic.master_ports().write(value == 0x11 ? 0 : 1, 1, value);
  pic.set_irq(0, true);
  EXPECT_TRUE(boot.apic.has_interrupt());
  EXPECT_EQ(boot.apic.acknowledge(), 0x20);
  EXPECT_FALSE(boot.apic.has_interrupt());
  EXPECT_EQ(boot.client.kicks, 1);
}

}  // namespace
}  // namespace doppel::hw
