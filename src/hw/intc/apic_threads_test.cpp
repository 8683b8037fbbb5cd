// The chips under fire from many threads: for ThreadSanitizer, and against lost interrupts.
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "hw/intc/apic_bus.h"
#include "hw/intc/ioapic82093.h"
#include "hw/intc/local_apic.h"

namespace doppel::hw {
namespace {

using lapic::Register;

constexpr unsigned kCpus = 4;
constexpr int kRounds = 2000;
constexpr std::uint8_t kIpiVector = 0x40;
constexpr std::uint8_t kTimerVector = 0x50;
constexpr std::uint8_t kDeviceVector = 0x60;

/// A clock whose timers fire from a thread of the test, as the loop would.
class ThreadedClock final : public event::Clock {
 public:
  [[nodiscard]] std::int64_t now_ns() const override { return now_ns_.load(); }
  [[nodiscard]] std::unique_ptr<event::Timer> create_timer(std::function<void()> callback) override {
    auto timer = std::make_unique<ThreadedTimer>(std::move(callback));
    timers_.push_back(timer.get());
    return timer;
  }
  void advance(std::int64_t ns) {
    const std::int64_t now = now_ns_ += ns;
    for (ThreadedTimer* timer : timers_) timer->fire_if_due(now);
  }

 private:
  class ThreadedTimer final : public event::Timer {
   public:
    explicit ThreadedTimer(std::function<void()> callback) : callback_(std::move(callback)) {}
    void arm(std::int64_t deadline_ns) override { deadline_ = deadline_ns; }
    void cancel() override { deadline_ = -1; }
    [[nodiscard]] bool armed() const override { return deadline_ >= 0; }
    void fire_if_due(std::int64_t now) {
      std::int64_t deadline = deadline_;
      if (deadline >= 0 && deadline <= now && deadline_.compare_exchange_strong(deadline, -1)) callback_();
    }

   private:
    std::function<void()> callback_;
    std::atomic<std::int64_t> deadline_{-1};
  };

  std::atomic<std::int64_t> now_ns_{0};
  std::vector<ThreadedTimer*> timers_;
};

/// A processor that sleeps until it is kicked, as one in HLT.
class Cpu final : public LocalApicClient {
 public:
  Cpu(unsigned id, ApicBus& bus, event::Clock& clock)
      : apic({.id = id}, bus, *this, clock, [] { return std::uint64_t{0}; }, nullptr, {}) {
    EXPECT_TRUE(bus.attach(apic));
    write(Register::kSvr, 0x1ff);
  }
  void interrupt_pending() override { wake(); }
  void nmi() override {
    ++nmis;
    wake();
  }
  void smi() override {}
  void init() override {}
  void start_up(std::uint8_t /*vector*/) override {}

  void write(Register reg, std::uint32_t value) { apic.write(16 * static_cast<std::uint64_t>(reg), 4, value); }
  void wake() {
    const std::scoped_lock lock(mutex_);
    woken_.notify_all();
  }
  /// The processor's thread: serves interrupts until STOP, sleeping only while has_interrupt() is false.
  template <class Serve>
  void run(const std::atomic<bool>& stop, Serve serve) {
    for (;;) {
      {
        std::unique_lock lock(mutex_);
        woken_.wait(lock, [&] { return stop || apic.has_interrupt(); });
      }
      if (!apic.has_interrupt() && stop) return;
      while (const auto vector = apic.acknowledge()) {
        serve(*vector);
        write(Register::kEoi, 0);
      }
    }
  }

  std::atomic<int> nmis{0};
  LocalApic apic;

 private:
  std::mutex mutex_;
  std::condition_variable woken_;
};

TEST(ApicThreads, NoInterruptIsLost) {
  ThreadedClock clock;
  ApicBus bus({});
  Ioapic82093 ioapic(IoapicVersion::k11, bus, {});
  ASSERT_TRUE(bus.attach(ioapic));
  ioapic.write(0x00, 4, 0x10);
  ioapic.write(0x10, 4, 0x8000U | kDeviceVector);
  std::vector<std::unique_ptr<Cpu>> cpus;
  for (unsigned id = 0; id < kCpus; ++id) cpus.push_back(std::make_unique<Cpu>(id, bus, clock));

  std::atomic<bool> stop{false};
  std::atomic<int> laps{0};
  std::atomic<int> device_served{0};
  std::atomic<int> timer_ticks{0};
  std::vector<std::thread> threads;
  for (unsigned id = 0; id < kCpus; ++id)
    threads.emplace_back([&, id] {
      Cpu& cpu = *cpus[id];
      cpu.write(Register::kLvtTimer, 0x20000U | kTimerVector);
      cpu.write(Register::kInitialCount, 1000);
      cpu.run(stop, [&](std::uint8_t vector) {
        if (vector == kIpiVector) {
          // A token goes round by IPI: were one lost, the round would stop.
          if (id == 0 && ++laps == kRounds) return;
          cpu.write(Register::kIcrHigh, (id + 1) % kCpus << 24U);
          cpu.write(Register::kIcr, kIpiVector);
          cpu.write(Register::kIcr, 0xc0400);  // and NMIs for noise
        } else if (vector == kDeviceVector) {
          ioapic.set_irq(0, false);
          ++device_served;
        } else if (vector == kTimerVector) {
          ++timer_ticks;
          cpu.apic.set_cr8(3);
          cpu.apic.set_cr8(0);
        }
      });
    });
  std::thread device([&] {
    for (int raised = 0; !stop; ++raised) {
      ioapic.set_irq(0, true);
      while (device_served <= raised && !stop) std::this_thread::yield();
    }
  });
  std::thread loop([&] {
    while (!stop) {
      clock.advance(LocalApicTimer::kMinimumPeriodNs);
      bus.deliver(
          {kApicBroadcast, DestinationMode::kPhysical, DeliveryMode::kLowestPriority, TriggerMode::kEdge, 0x70});
      std::this_thread::yield();
    }
  });

  bus.deliver({.destination = 0, .vector = kIpiVector});
  while (laps < kRounds || device_served < 10 || timer_ticks < 10) std::this_thread::yield();
  stop = true;
  for (auto& cpu : cpus) cpu->wake();
  device.join();
  loop.join();
  for (auto& cpu : cpus) cpu->wake();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(laps, kRounds);
}

}  // namespace
}  // namespace doppel::hw
