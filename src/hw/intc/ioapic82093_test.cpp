#include "hw/intc/ioapic82093.h"

#include <gtest/gtest.h>

#include <vector>

#include "hw/intc/ioapic82093_registers.h"

namespace doppel::hw {
namespace {

constexpr std::uint32_t kLevel = 1U << 15U;
constexpr std::uint32_t kMasked = 1U << 16U;
constexpr std::uint32_t kRemoteIrr = 1U << 14U;

struct Recorder final : ApicMessageSink {
  void deliver(const ApicMessage& message) override {
    messages.push_back(message);
    if (on_message) on_message(message);
  }
  std::vector<ApicMessage> messages;
  std::function<void(const ApicMessage&)> on_message;
};

class IoapicTest : public testing::Test {
 protected:
  void select(std::uint8_t index) { chip.write(0x00, 4, index); }
  std::uint64_t get(std::uint8_t index) {
    select(index);
    return chip.read(0x10, 4);
  }
  void set(std::uint8_t index, std::uint32_t value) {
    select(index);
    chip.write(0x10, 4, value);
  }
  std::uint64_t low(unsigned pin) { return get(static_cast<std::uint8_t>(0x10 + 2 * pin)); }
  void route(unsigned pin, std::uint32_t low_half, std::uint32_t high_half = 0) {
    set(static_cast<std::uint8_t>(0x11 + 2 * pin), high_half);
    set(static_cast<std::uint8_t>(0x10 + 2 * pin), low_half);
  }

  Recorder bus;
  Ioapic82093 chip{IoapicVersion::k11, bus, {}};
};

TEST_F(IoapicTest, Identifies) {
  EXPECT_EQ(get(1), 0x00170011U);
  Ioapic82093 newer(IoapicVersion::k20, bus, {});
  newer.write(0, 4, 1);
  EXPECT_EQ(newer.read(0x10, 4), 0x00170020U);
  set(0, 0xffffffff);
  EXPECT_EQ(get(0), 0x0f000000U);
  EXPECT_EQ(get(2), 0x0f000000U);
  set(1, 0);
  EXPECT_EQ(get(1), 0x00170011U);
}

TEST_F(IoapicTest, StartsMasked) {
  for (unsigned pin = 0; pin < 24; ++pin) {
    EXPECT_EQ(low(pin), kMasked);
    chip.set_irq(pin, true);
  }
  EXPECT_TRUE(bus.messages.empty());
}

TEST_F(IoapicTest, EdgeIsSentOnce) {
  route(4, 0x34, 0x07000000);
  chip.set_irq(4, true);
  chip.set_irq(4, true);
  ASSERT_EQ(bus.messages.size(), 1U);
  EXPECT_EQ(bus.messages[0], (ApicMessage{.destination = 7, .vector = 0x34}));
  EXPECT_EQ(low(4), 0x34U) << "no remote IRR for an edge";
  chip.set_irq(4, false);
  chip.set_irq(4, true);
  EXPECT_EQ(bus.messages.size(), 2U);
}

TEST_F(IoapicTest, EdgeOnAMaskedPinIsLost) {
  route(4, 0x34 | kMasked);
  chip.set_irq(4, true);
  route(4, 0x34);
  EXPECT_TRUE(bus.messages.empty());
}

TEST_F(IoapicTest, LevelWaitsForTheEoi) {
  route(10, 0x51 | kLevel);
  chip.set_irq(10, true);
  chip.set_irq(10, false);
  chip.set_irq(10, true);
  ASSERT_EQ(bus.messages.size(), 1U);
  EXPECT_EQ(bus.messages[0].trigger_mode, TriggerMode::kLevel);
  EXPECT_EQ(low(10), 0x51 | kLevel | kRemoteIrr);
  chip.end_of_interrupt(0x52);
  EXPECT_EQ(bus.messages.size(), 1U);
  chip.end_of_interrupt(0x51);
  EXPECT_EQ(bus.messages.size(), 2U) << "still asserted";
  chip.set_irq(10, false);
  chip.end_of_interrupt(0x51);
  EXPECT_EQ(bus.messages.size(), 2U);
  EXPECT_EQ(low(10), 0x51 | kLevel);
}

TEST_F(IoapicTest, EoiFromWithinDeliveryDoesNotRecurse) {
  route(10, 0x51 | kLevel);
  int depth = 0;
  int deepest = 0;
  bus.on_message = [&](const ApicMessage&) {
    deepest = std::max(deepest, ++depth);
    if (bus.messages.size() < 1000) chip.set_irq(10, true);  // takes the lock: it must be free
    --depth;
  };
  chip.set_irq(10, true);
  for (int i = 0; i < 1000; ++i) chip.end_of_interrupt(0x51);
  EXPECT_EQ(bus.messages.size(), 1001U);
  EXPECT_EQ(deepest, 1);
}

TEST_F(IoapicTest, PinsThatShareAVectorAllFireAgain) {
  for (unsigned pin = 0; pin < 24; ++pin) {
    route(pin, 0x60 | kLevel);
    chip.set_irq(pin, true);
  }
  EXPECT_EQ(bus.messages.size(), 24U);
  chip.end_of_interrupt(0x60);
  EXPECT_EQ(bus.messages.size(), 48U);
}

TEST_F(IoapicTest, UnmaskingAnAssertedLevelFires) {
  route(16, 0x71 | kLevel | kMasked);
  chip.set_irq(16, true);
  EXPECT_TRUE(bus.messages.empty());
  route(16, 0x71 | kLevel);
  EXPECT_EQ(bus.messages.size(), 1U);
  route(16, 0x71 | kLevel | kMasked);
  route(16, 0x71 | kLevel);
  EXPECT_EQ(bus.messages.size(), 1U) << "remote IRR holds it back";
}

TEST_F(IoapicTest, MaskedAtEoiWaitsForUnmasking) {
  route(16, 0x71 | kLevel);
  chip.set_irq(16, true);
  route(16, 0x71 | kLevel | kMasked);
  chip.end_of_interrupt(0x71);
  EXPECT_EQ(bus.messages.size(), 1U);
  route(16, 0x71 | kLevel);
  EXPECT_EQ(bus.messages.size(), 2U);
}

TEST_F(IoapicTest, SwitchingToEdgeForgetsRemoteIrr) {
  route(9, 0x41 | kLevel);
  chip.set_irq(9, true);
  EXPECT_NE(low(9) & kRemoteIrr, 0U);
  route(9, 0x41 | kMasked);
  EXPECT_EQ(low(9) & kRemoteIrr, 0U);
  route(9, 0x41 | kLevel);
  EXPECT_EQ(bus.messages.size(), 2U);
}

TEST_F(IoapicTest, ReadOnlyBitsStay) {
  route(3, 0xffffffff, 0xffffffff);
  EXPECT_EQ(low(3), 0x1afffU);
  EXPECT_EQ(get(0x17), 0xfffe0000U);
}

TEST_F(IoapicTest, PolarityIsKeptButLevelsAreAssertions) {
  route(20, 0x43 | kLevel | 1U << 13U);
  EXPECT_TRUE(bus.messages.empty());
  chip.set_irq(20, true);
  EXPECT_EQ(bus.messages.size(), 1U);
}

TEST_F(IoapicTest, DeliveryModesAndDestinations) {
  struct Row {
    std::uint32_t low;
    std::uint32_t high;
    ApicMessage expected;
  };
  const Row rows[] = {
      {0x930, 0x0f000000, {0x0f, DestinationMode::kLogical, DeliveryMode::kLowestPriority, TriggerMode::kEdge, 0x30}},
      {0x200, 0x01000000, {0x01, DestinationMode::kPhysical, DeliveryMode::kSmi, TriggerMode::kEdge, 0}},
      {0x400 | kLevel, 0, {0, DestinationMode::kPhysical, DeliveryMode::kNmi, TriggerMode::kEdge, 0}},
      {0x500, 0xff000000, {kApicBroadcast, DestinationMode::kPhysical, DeliveryMode::kInit, TriggerMode::kEdge, 0}},
      {0x700, 0, {0, DestinationMode::kPhysical, DeliveryMode::kExtInt, TriggerMode::kEdge, 0}},
      {0x031, 0x2c020000, {0x12c, DestinationMode::kPhysical, DeliveryMode::kFixed, TriggerMode::kEdge, 0x31}},
  };
  for (const Row& row : rows) {
    bus.messages.clear();
    route(0, row.low, row.high);
    chip.set_irq(0, false);
    chip.set_irq(0, true);
    ASSERT_EQ(bus.messages.size(), 1U) << std::hex << row.low;
    EXPECT_EQ(bus.messages[0], row.expected) << std::hex << row.low;
  }
}

TEST_F(IoapicTest, ReservedDeliveryModesAreDropped) {
  for (const std::uint32_t mode : {0x300U, 0x600U}) {
    route(0, mode | 0x31);
    chip.set_irq(0, true);
    chip.set_irq(0, false);
  }
  EXPECT_TRUE(bus.messages.empty());
}

TEST_F(IoapicTest, EoiRegisterOnlyInTheNewerOne) {
  Ioapic82093 newer(IoapicVersion::k20, bus, {});
  newer.write(0, 4, 0x10);
  newer.write(0x10, 4, 0x51 | kLevel);
  newer.set_irq(0, true);
  newer.write(0x40, 4, 0x51);
  EXPECT_EQ(bus.messages.size(), 2U);
  EXPECT_EQ(newer.read(0x40, 4), 0U);

  route(0, 0x51 | kLevel);
  chip.set_irq(0, true);
  chip.write(0x40, 4, 0x51);
  EXPECT_EQ(bus.messages.size(), 3U);
  EXPECT_EQ(chip.read(0x40, 4), 0xffffffffU);
}

TEST_F(IoapicTest, ReservedRegistersReadAsOnes) {
  EXPECT_EQ(get(0x03), 0xffffffffU);
  EXPECT_EQ(get(0x0f), 0xffffffffU);
  EXPECT_EQ(get(0x40), 0xffffffffU);
  EXPECT_EQ(get(0xff), 0xffffffffU);
  set(0xff, 1);
  EXPECT_EQ(chip.read(0x20, 4), 0xffffffffU);
  EXPECT_EQ(chip.read(0x8, 1), 0xffU);
  EXPECT_EQ(chip.read(0xfff8, 8), ~0ULL);
  chip.write(0x123, 2, 5);
  chip.set_irq(24, true);
  chip.set_irq(~0U, true);
}

TEST_F(IoapicTest, ResetMasksAndKeepsTheWires) {
  route(5, 0x35 | kLevel);
  chip.set_irq(5, true);
  chip.reset();
  EXPECT_EQ(low(5), kMasked);
  route(5, 0x35 | kLevel);
  EXPECT_EQ(bus.messages.size(), 2U);
}

TEST_F(IoapicTest, SavesAndLoads) {
  route(5, 0x35 | kLevel, 0x03000000);
  chip.set_irq(5, true);
  set(0, 0x02000000);
  state::Writer writer;
  chip.save(writer);
  Recorder other_bus;
  Ioapic82093 other(IoapicVersion::k11, other_bus, {});
  state::Reader reader(writer.bytes());
  ASSERT_TRUE(other.load(reader));
  EXPECT_TRUE(other_bus.messages.empty()) << "it was sent before saving";
  other.end_of_interrupt(0x35);
  ASSERT_EQ(other_bus.messages.size(), 1U);
  EXPECT_EQ(other_bus.messages[0].destination, 3U);
}

TEST_F(IoapicTest, RefusesReservedBitsInASavedEntry) {
  Ioapic82093State state;
  state.redirection[3] = 1ULL << 40U;
  state::Writer writer;
  state::save(writer, state);
  state::Reader reader(writer.bytes());
  EXPECT_EQ(chip.load(reader).error().kind(), ErrorKind::kCorrupt);
}

TEST(ApicMessage, DecodesMsis) {
  EXPECT_EQ(decode_msi({0xfee03000, 0x41}), (ApicMessage{.destination = 3, .vector = 0x41}));
  EXPECT_EQ(decode_msi({0xfeeff00c, 0x41}), (ApicMessage{kApicBroadcast, DestinationMode::kLogical,
                                                         DeliveryMode::kLowestPriority, TriggerMode::kEdge, 0x41}));
  EXPECT_EQ(decode_msi({0xfee00000, 0xc442})->trigger_mode, TriggerMode::kLevel);
  EXPECT_EQ(decode_msi({0xfee00000, 0xc442})->delivery_mode, DeliveryMode::kNmi);
  EXPECT_EQ(decode_msi({0xfee2c020, 0x41})->destination, 0x12cU);
  EXPECT_EQ(decode_msi({0xffffff00'fee01000, 0x41})->destination, 0xffffff01U);
}

TEST(ApicMessage, RefusesWhatIsNoMsi) {
  EXPECT_FALSE(decode_msi({0xfec00000, 0x41}));
  EXPECT_FALSE(decode_msi({0x1'fee00000, 0x41}));
  EXPECT_FALSE(decode_msi({0, 0}));
  EXPECT_FALSE(decode_msi({0xfee00000, 0x341}));
  EXPECT_FALSE(decode_msi({0xfee00000, 0x641}));
}

TEST(ApicMessage, EncodingReverses) {
  for (const std::uint32_t destination : {0U, 7U, 254U, 0x12cU, 0x12345678U, kApicBroadcast})
    for (const DeliveryMode delivery : {DeliveryMode::kFixed, DeliveryMode::kLowestPriority, DeliveryMode::kNmi})
      for (const DestinationMode mode : {DestinationMode::kPhysical, DestinationMode::kLogical}) {
        const ApicMessage message{destination, mode, delivery, TriggerMode::kLevel, 0x99};
        EXPECT_EQ(decode_msi(encode_msi(message)), message) << destination;
      }
}

}  // namespace
}  // namespace doppel::hw
