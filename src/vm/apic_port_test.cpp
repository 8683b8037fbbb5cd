#include "vm/apic_port.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "event/fake_clock.h"
#include "hw/intc/apic_bus.h"
#include "vm/pic_port.h"

namespace doppel::vm {
namespace {

using memory::GuestPhysAddr;

class ApicPortTest : public testing::Test {
 protected:
  ApicPortTest() {
    port_.connect(apic_);
    port_.set_wake([this] { ++wakes_; });
    EXPECT_TRUE(bus_.attach(apic_));
    apic_.write(0xf0, 4, 0x1ff);  // enabled
  }
  [[nodiscard]] std::vector<CpuSignal> take_all() {
    std::vector<CpuSignal> signals;
    while (const auto event = port_.take_signal()) signals.push_back(event->signal);
    return signals;
  }

  event::FakeClock clock_;
  std::atomic<int> wakes_{0};
  ApicPort port_;
  hw::ApicBus bus_{{}};
  hw::LocalApic apic_{{.id = 0, .bootstrap = true}, bus_, port_, clock_, [] { return std::uint64_t{0}; }, nullptr, {}};
};

TEST_F(ApicPortTest, NothingWaitsAtFirst) {
  EXPECT_TRUE(port_.has_local_apic());
  EXPECT_FALSE(port_.has_work());
  EXPECT_FALSE(port_.has_interrupt());
  EXPECT_FALSE(port_.take_signal());
  EXPECT_FALSE(port_.acknowledge());
}

TEST_F(ApicPortTest, SignalsWakeAndWaitUntilTaken) {
  port_.nmi();
  port_.smi();
  port_.nmi();  // one NMI is latched
  EXPECT_EQ(wakes_, 3);
  EXPECT_TRUE(port_.has_work());
  EXPECT_EQ(take_all(), (std::vector{CpuSignal::kNmi, CpuSignal::kSmi}));
  EXPECT_FALSE(port_.has_work());
}

TEST_F(ApicPortTest, TheFirstOfSeveralStartupsCounts) {
  port_.init();
  port_.start_up(0x08);
  port_.start_up(0x99);
  EXPECT_EQ(port_.take_signal()->signal, CpuSignal::kInit);
  const auto startup = port_.take_signal();
  ASSERT_TRUE(startup);
  EXPECT_EQ(startup->signal, CpuSignal::kStartup);
  EXPECT_EQ(startup->vector, 0x08);
  EXPECT_FALSE(port_.has_work());
}

TEST_F(ApicPortTest, AnInitVoidsWhatCameBefore) {
  port_.nmi();
  port_.start_up(0x08);
  port_.init();
  port_.start_up(0x10);
  EXPECT_EQ(port_.take_signal()->signal, CpuSignal::kInit);
  EXPECT_EQ(port_.take_signal()->vector, 0x10);
  EXPECT_FALSE(port_.take_signal());
}

TEST_F(ApicPortTest, InitResetsTheApicWhenItIsTaken) {
  apic_.accept({.vector = 0x51});
  port_.init();
  EXPECT_TRUE(port_.has_interrupt());
  EXPECT_EQ(take_all(), std::vector{CpuSignal::kInit});
  EXPECT_FALSE(port_.has_interrupt());
}

TEST_F(ApicPortTest, AResetForgetsWhatWaits) {
  port_.init();
  port_.start_up(0x10);
  port_.clear();
  EXPECT_FALSE(port_.has_work());
  EXPECT_FALSE(port_.take_signal());
}

TEST_F(ApicPortTest, InterruptsPassThroughTheTaskPriority) {
  port_.set_tpr(6);
  EXPECT_EQ(port_.tpr(), 6);
  apic_.accept({.vector = 0x51});
  EXPECT_FALSE(port_.has_interrupt());
  port_.set_tpr(4);
  EXPECT_TRUE(port_.has_interrupt());
  EXPECT_GE(wakes_, 1);
  EXPECT_EQ(port_.acknowledge(), 0x51);
  EXPECT_FALSE(port_.has_interrupt());
}

TEST_F(ApicPortTest, AnUnchangedTaskPriorityKeepsItsLowNibble) {
  apic_.write(0x80, 4, 0x47);
  port_.set_tpr(4);
  EXPECT_EQ(apic_.read(0x80, 4), 0x47U);
}

TEST_F(ApicPortTest, TheRegisterPageIsWhereTheBaseMsrSays) {
  EXPECT_EQ(port_.apic_base(), 0xfee00900U);
  EXPECT_EQ(port_.page_at(GuestPhysAddr{0xfee00fff}), &apic_);
  EXPECT_EQ(port_.page_at(GuestPhysAddr{0xfee01000}), nullptr);
  EXPECT_EQ(port_.page_at(GuestPhysAddr{0xfedfffff}), nullptr);
  EXPECT_TRUE(port_.write_msr(0x1b, 0xd0000900));
  EXPECT_EQ(port_.page_at(GuestPhysAddr{0xd0000000}), &apic_);
  EXPECT_EQ(port_.page_at(GuestPhysAddr{0xfee00000}), nullptr);
  EXPECT_TRUE(port_.write_msr(0x1b, 0xd0000d00));  // x2APIC mode has no page
  EXPECT_EQ(port_.page_at(GuestPhysAddr{0xd0000000}), nullptr);
}

TEST_F(ApicPortTest, ForeignMsrsAreRefused) {
  std::uint64_t value = 7;
  EXPECT_FALSE(port_.read_msr(0x10, value));
  EXPECT_FALSE(port_.write_msr(0x10, 0));
  EXPECT_FALSE(port_.read_msr(0x802, value));  // x2APIC registers, but not in that mode
  EXPECT_EQ(value, 7U);
  EXPECT_TRUE(port_.read_msr(0x1b, value));
  EXPECT_EQ(value, 0xfee00900U);
}

TEST_F(ApicPortTest, NoStartupIsLostBetweenTwoThreads) {
  constexpr int kRounds = 2000;
  std::atomic<int> started{0};
  std::thread processor([&] {
    bool waits = false;
    while (started < kRounds) {
      const auto event = port_.take_signal();
      if (!event) {
        std::this_thread::yield();  // the other thread may need this core
        continue;
      }
      if (event->signal == CpuSignal::kInit) waits = true;
      // Only a round's last start-up has its number: an earlier one may be taken on the way.
      if (event->signal == CpuSignal::kStartup && std::exchange(waits, false) &&
          event->vector == static_cast<std::uint8_t>(started % 200 + 1))
        ++started;
    }
  });
  for (int round = 0; round < kRounds; ++round) {
    port_.init();
    port_.start_up(0xff);
    port_.init();  // while 0xff may just be on its way
    port_.start_up(static_cast<std::uint8_t>(round % 200 + 1));
    while (started == round) std::this_thread::yield();
  }
  processor.join();
}

// ---- The 8259s' request line

struct FixedPic final : hw::InterruptAcknowledge {
  std::uint8_t acknowledge() override { return 0x28; }
};

TEST(PicPort, CarriesTheRequestLineAndNothingElse) {
  FixedPic pic;
  PicPort port;
  int wakes = 0;
  port.connect(pic);
  EXPECT_FALSE(port.has_interrupt());
  port.set_irq(0, true);  // nobody to wake yet
  port.set_wake([&] { ++wakes; });
  EXPECT_TRUE(port.has_interrupt());
  port.set_irq(0, true);
  EXPECT_EQ(wakes, 1);
  EXPECT_EQ(port.acknowledge(), 0x28);
  port.set_irq(0, false);
  EXPECT_EQ(wakes, 1);
  EXPECT_FALSE(port.has_interrupt());

  EXPECT_FALSE(port.has_local_apic());
  EXPECT_FALSE(port.has_work());
  EXPECT_FALSE(port.take_signal());
  EXPECT_EQ(port.page_at(GuestPhysAddr{0xfee00000}), nullptr);
  std::uint64_t value = 0;
  EXPECT_FALSE(port.read_msr(0x1b, value));
  EXPECT_FALSE(port.write_msr(0x1b, 0));
}

}  // namespace
}  // namespace doppel::vm
