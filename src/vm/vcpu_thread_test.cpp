#include "vm/vcpu_thread.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "vm/fake_accelerator.h"
#include "x86/registers.h"

namespace doppel::vm {
namespace {

using accel::IoDirection;
using memory::GuestPhysAddr;

std::vector<std::byte> bytes_of(std::initializer_list<unsigned> values) {
  std::vector<std::byte> bytes;
  for (const unsigned value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

/// Answers with the offset and remembers each access as text.
class Recorder final : public memory::IoHandler {
 public:
  std::uint64_t read(std::uint64_t offset, unsigned size) override {
    note(fmt::format("r{} {:x}", size, offset));
    return next_value_++;
  }
  void write(std::uint64_t offset, unsigned size, std::uint64_t value) override {
    note(fmt::format("w{} {:x}={:x}", size, offset, value));
  }
  std::vector<std::string> take() {
    const std::scoped_lock lock(mutex_);
    return std::exchange(accesses_, {});
  }

 private:
  void note(std::string access) {
    const std::scoped_lock lock(mutex_);
    accesses_.push_back(std::move(access));
  }
  std::mutex mutex_;
  std::uint64_t next_value_ = 0x41;
  std::vector<std::string> accesses_;
};

class Observer final : public VcpuObserver {
 public:
  void guest_triple_fault(unsigned cpu) override { note(fmt::format("triple fault {}", cpu)); }
  void guest_system_event(unsigned, const accel::SystemEventExit& event) override {
    note(fmt::format("system event {}", event.code));
  }
  void guest_debug(unsigned, const accel::DebugExit& exit) override { note(fmt::format("debug {:x}", exit.pc)); }
  void vcpu_stuck(unsigned, const std::string& why, const std::string& registers) override {
    note(fmt::format("stuck: {}{}", why, registers.empty() ? "" : ", registers"));
  }
  void ioapic_eoi(std::uint8_t vector) override { note(fmt::format("eoi {:x}", vector)); }
  std::vector<std::string> events() {
    const std::scoped_lock lock(mutex_);
    return events_;
  }

 private:
  void note(std::string event) {
    const std::scoped_lock lock(mutex_);
    events_.push_back(std::move(event));
  }
  std::mutex mutex_;
  std::vector<std::string> events_;
};

/// Local APIC and 8259s in one, set by hand.
class FakePort final : public InterruptPort {
 public:
  explicit FakePort(bool local_apic) : local_apic_(local_apic) {}

  void post(CpuSignal signal, std::uint8_t vector = 0) {
    const std::scoped_lock lock(mutex_);
    signals_.push_back({signal, vector});
  }
  std::atomic<int> pending{0};  // interrupts that wait
  std::atomic<int> acknowledged{0};
  std::atomic<std::uint8_t> cr8{0};
  std::atomic<std::uint64_t> base{0xfee00000};
  Recorder page;

  [[nodiscard]] bool has_local_apic() const override { return local_apic_; }
  [[nodiscard]] bool has_work() const override {
    const std::scoped_lock lock(mutex_);
    return !signals_.empty();
  }
  std::optional<CpuSignalEvent> take_signal() override {
    const std::scoped_lock lock(mutex_);
    if (signals_.empty()) return std::nullopt;
    const CpuSignalEvent event = signals_.front();
    signals_.pop_front();
    return event;
  }
  [[nodiscard]] bool has_interrupt() const override { return pending > 0; }
  std::optional<std::uint8_t> acknowledge() override {
    if (pending == 0) return std::nullopt;
    --pending;
    ++acknowledged;
    return std::uint8_t{0x40};
  }
  [[nodiscard]] std::uint8_t tpr() const override { return cr8; }
  void set_tpr(std::uint8_t tpr) override { cr8 = tpr; }
  [[nodiscard]] std::uint64_t apic_base() const override { return base; }
  [[nodiscard]] memory::IoHandler* page_at(GuestPhysAddr address) override {
    return local_apic_ && address.value >> 12U == 0xfee00 ? &page : nullptr;
  }
  bool read_msr(std::uint32_t index, std::uint64_t& value) override {
    value = 0x1234;
    return index == 0x1b;
  }
  bool write_msr(std::uint32_t index, std::uint64_t value) override {
    if (index == 0x1b) base = value;
    return index == 0x1b;
  }

 private:
  const bool local_apic_;
  mutable std::mutex mutex_;
  std::deque<CpuSignalEvent> signals_;
};

class VcpuThreadTest : public testing::Test {
 protected:
  VcpuThreadTest() {
    ports_.root().add(topology_.io("device", 0x10, port_device_, {1, 4, true}), 0x100);
    memory_.root().add(topology_.io("mmio", 0x1000, memory_device_, {1, 8, true}), 0xd0000000);
  }
  void create(FakePort* port = nullptr, unsigned id = 0) {
    auto vcpu = std::make_unique<FakeVcpu>(id);
    cpu_ = vcpu.get();
    VcpuThreadConfig config(VcpuBuses{memory_, ports_});
    config.interrupts = port;
    config.reset.apic_id = id;
    thread_ = std::make_unique<VcpuThread>(std::move(vcpu), observer_, std::move(config));
  }
  FakePort& create_with_port(bool local_apic, unsigned id = 0) {
    port_ = std::make_unique<FakePort>(local_apic);
    create(port_.get(), id);
    return *port_;
  }
  void pause() {
    thread_->request_pause();
    thread_->wait_until_paused();
  }
  /// Runs until the script is done, then pauses.
  void run_script() {
    thread_->resume();
    ASSERT_TRUE(cpu_->wait_until_in_guest());
    pause();
  }
  [[nodiscard]] std::vector<std::byte> data() {
    return cpu_->look([](FakeVcpu& cpu) { return cpu.data_; });
  }
  [[nodiscard]] std::vector<std::uint8_t> injected() {
    return cpu_->look([](FakeVcpu& cpu) { return cpu.injected; });
  }
  [[nodiscard]] x86::CpuState state() {
    return cpu_->look([](FakeVcpu& cpu) { return cpu.state; });
  }

  memory::Topology topology_;
  Recorder port_device_;
  Recorder memory_device_;
  memory::AddressSpace memory_{topology_, topology_.container("system", 0), "memory"};
  memory::AddressSpace ports_{topology_, topology_.container("io", 0x10000), "ports"};
  Observer observer_;
  std::unique_ptr<FakePort> port_;  // outlives the thread that asks it
  FakeVcpu* cpu_ = nullptr;
  std::unique_ptr<VcpuThread> thread_;
};

using Accesses = std::vector<std::string>;

TEST_F(VcpuThreadTest, StartsPausedAndRunsWhenTold) {
  create();
  EXPECT_NE(thread_->host_thread_id(), 0);
  EXPECT_EQ(cpu_->look([](FakeVcpu& cpu) { return cpu.entries; }), 0U);
  thread_->resume();
  EXPECT_TRUE(cpu_->wait_until_in_guest());
}

TEST_F(VcpuThreadTest, PortAccessesReachTheDeviceElementByElement) {
  create();
  cpu_->then_out(0x102, 1, {0x61});
  cpu_->then_out(0x104, 2, {0x1111, 0x2222, 0x3333});
  cpu_->then_in(0x108, 2, 3);
  run_script();
  EXPECT_EQ(port_device_.take(), (Accesses{"w1 2=61", "w2 4=1111", "w2 4=2222", "w2 4=3333", "r2 8", "r2 8", "r2 8"}));
  EXPECT_EQ(data(), bytes_of({0x41, 0, 0x42, 0, 0x43, 0}));
}

TEST_F(VcpuThreadTest, APortNobodyHasReadsAsOnes) {
  create();
  cpu_->then_in(0x9000, 4, 1);
  run_script();
  EXPECT_EQ(data(), bytes_of({0xff, 0xff, 0xff, 0xff}));
}

TEST_F(VcpuThreadTest, MemoryAccessesOfBusWidthStayWhole) {
  create();
  for (const unsigned size : {1U, 2U, 4U, 8U})
    cpu_->then_store(0xd0000010, std::vector<std::byte>(size, std::byte{0x5a}));
  cpu_->then_load(0xd0000008, 8);
  run_script();
  EXPECT_EQ(memory_device_.take(),
            (Accesses{"w1 10=5a", "w2 10=5a5a", "w4 10=5a5a5a5a", "w8 10=5a5a5a5a5a5a5a5a", "r8 8"}));
  EXPECT_EQ(data(), bytes_of({0x41, 0, 0, 0, 0, 0, 0, 0}));
}

TEST_F(VcpuThreadTest, MemoryAccessesOfOddWidthAreSplitWithoutLossOrExcess) {
  for (const std::size_t size : {3U, 5U, 6U, 7U}) {
    create();
    std::vector<std::byte> bytes;
    for (std::size_t i = 0; i < size; ++i) bytes.push_back(static_cast<std::byte>(0x10 + i));
    cpu_->then_store(0xd0000020, bytes);
    run_script();
    std::size_t written = 0;
    for (const std::string& access : memory_device_.take()) {
      unsigned width = 0;
      unsigned offset = 0;
      unsigned long long value = 0;
      ASSERT_EQ(std::sscanf(access.c_str(), "w%u %x=%llx", &width, &offset, &value), 3) << access;
      EXPECT_EQ(offset, 0x20 + written);
      for (unsigned i = 0; i < width; ++i) EXPECT_EQ((value >> (8 * i)) & 0xff, 0x10 + written + i);
      written += width;
    }
    EXPECT_EQ(written, size);
    cpu_->then_load(0xd0000020, size);
    run_script();
    EXPECT_EQ(data().size(), size);
    EXPECT_NE(data().front(), std::byte{0}) << "filled";
    EXPECT_NE(data().back(), std::byte{0xff});
    memory_device_.take();
    thread_.reset();
  }
}

TEST_F(VcpuThreadTest, EveryExitIsCarriedOutOnceBeforeTheNextEntry) {
  create();
  cpu_->then_out(0x100, 1, {1});
  cpu_->then(accel::IoapicEoiExit{.vector = 0x51});
  run_script();
  EXPECT_EQ(port_device_.take(), Accesses{"w1 0=1"});
  EXPECT_EQ(observer_.events(), Accesses{"eoi 51"});
  EXPECT_EQ(cpu_->look([](FakeVcpu& cpu) { return cpu.entries; }), 3U);  // the last one is what run_script() waits for
}

TEST_F(VcpuThreadTest, TheLocalApicPageIsTheProcessorsOwn) {
  FakePort& port = create_with_port(true);
  cpu_->then_store(0xfee00080, bytes_of({0x20, 0, 0, 0}));
  cpu_->then_load(0xfee00030, 4);
  run_script();
  EXPECT_EQ(port.page.take(), (Accesses{"w4 80=20", "r4 30"}));
  EXPECT_EQ(data(), bytes_of({0x41, 0, 0, 0}));
}

TEST_F(VcpuThreadTest, MsrsOfTheApicAnswerAndOthersFault) {
  FakePort& port = create_with_port(true);
  const auto fault = [this] { return cpu_->look([](FakeVcpu& cpu) { return cpu.msr_fault_; }); };
  cpu_->then_msr(0x1b, IoDirection::kOut, 0xfee00900);
  run_script();
  EXPECT_EQ(fault(), 0);
  EXPECT_EQ(port.base, 0xfee00900U);
  cpu_->then_msr(0x1b, IoDirection::kIn, 0);
  run_script();
  EXPECT_EQ(cpu_->look([](FakeVcpu& cpu) { return cpu.msr_value_; }), 0x1234U);
  cpu_->then_msr(0x1c, IoDirection::kIn, 0);
  run_script();
  EXPECT_EQ(fault(), 1);
}

TEST_F(VcpuThreadTest, AnMsrExitWithoutControllersOfOursFaults) {
  create();
  cpu_->then_msr(0x1b, IoDirection::kOut, 0);
  run_script();
  EXPECT_EQ(cpu_->look([](FakeVcpu& cpu) { return cpu.msr_fault_; }), 1);
}

TEST_F(VcpuThreadTest, WhatTheGuestDoesToTheMachineIsReported) {
  create();
  cpu_->then(accel::ShutdownExit{});
  cpu_->then(accel::SystemEventExit{.kind = accel::SystemEventKind::kReset, .code = 2});
  cpu_->then(accel::IoapicEoiExit{.vector = 0x51});
  cpu_->then(accel::DebugExit{.vector = 3, .pc = 0x7c00, .dr6 = 0, .dr7 = 0});
  run_script();
  EXPECT_EQ(observer_.events(), (Accesses{"triple fault 0", "system event 2", "eoi 51", "debug 7c00"}));
}

TEST_F(VcpuThreadTest, WhatCannotGoOnPausesWithAReason) {
  create();
  cpu_->then([](FakeVcpu&) -> Result<accel::VcpuExit> { return fail(ErrorKind::kInternal, "the host is broken"); });
  thread_->resume();
  thread_->wait_until_paused();
  cpu_->then(
      accel::InternalErrorExit{.why = "emulation failure", .instruction = {0x0f, 0x0b}, .instruction_length = 2});
  thread_->resume();
  thread_->wait_until_paused();
  cpu_->then(accel::FailEntryExit{.hardware_reason = 0x21, .cpu = 0});
  thread_->resume();
  thread_->wait_until_paused();
  cpu_->then(accel::UnknownExit{.code = 99});
  thread_->resume();
  thread_->wait_until_paused();
  const auto events = observer_.events();
  ASSERT_EQ(events.size(), 4U);
  EXPECT_EQ(events[0], "stuck: the host is broken, registers");
  EXPECT_EQ(events[1], "stuck: emulation failure (instruction bytes 0f 0b), registers");
  EXPECT_NE(events[2].find("0x21"), std::string::npos);
  EXPECT_NE(events[3].find("99"), std::string::npos);
}

// ---- Pausing and calling

TEST_F(VcpuThreadTest, ResumeAndPauseInQuickSuccessionAlwaysComesToRest) {
  create();
  for (int i = 0; i < 5000; ++i) {
    thread_->resume();
    thread_->request_pause();
    thread_->wait_until_paused();
  }
}

TEST_F(VcpuThreadTest, APauseTakenBackLetsTheGuestRunOn) {
  create();
  for (int i = 0; i < 1000; ++i) {
    thread_->resume();
    thread_->request_pause();
    thread_->resume();
    cpu_->then_out(0x100, 1, {1});
    ASSERT_TRUE(cpu_->wait_until_in_guest());
    pause();
  }
  EXPECT_EQ(port_device_.take().size(), 1000U);
}

TEST_F(VcpuThreadTest, CallsRunOnTheThreadPausedOrNot) {
  create();
  const auto here = std::this_thread::get_id();
  std::thread::id where;
  thread_->call([&](accel::Vcpu&) { where = std::this_thread::get_id(); });
  EXPECT_NE(where, here);
  thread_->resume();
  ASSERT_TRUE(cpu_->wait_until_in_guest());
  std::thread::id again;
  thread_->call([&](accel::Vcpu& vcpu) {
    EXPECT_EQ(&vcpu, cpu_);
    again = std::this_thread::get_id();
  });
  EXPECT_EQ(again, where);
}

TEST_F(VcpuThreadTest, StormOfCallsPausesAndWakes) {
  create_with_port(true);
  std::atomic<int> done{0};
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i) thread_->call([&](accel::Vcpu&) { ++done; });
    });
  std::thread waker([&] {
    while (!stop) {
      thread_->wake();
      std::this_thread::yield();
    }
  });
  for (int i = 0; i < 500; ++i) {
    thread_->resume();
    if (i % 7 == 0) cpu_->then(accel::HaltExit{});
    pause();
  }
  for (std::thread& thread : threads) thread.join();
  stop = true;
  waker.join();
  EXPECT_EQ(done, 1500);
}

TEST_F(VcpuThreadTest, EndsInTheGuestPausedOrHalted) {
  create_with_port(true);
  thread_.reset();
  create(port_.get());
  thread_->resume();
  ASSERT_TRUE(cpu_->wait_until_in_guest());
  thread_.reset();
  create(port_.get());
  cpu_->then(accel::HaltExit{});
  thread_->resume();
  thread_.reset();
}

TEST_F(VcpuThreadTest, AnUnfinishedInstructionIsFinishedBeforeAPause) {
  create();
  thread_->resume();
  ASSERT_TRUE(cpu_->wait_until_in_guest());
  cpu_->look([](FakeVcpu& cpu) {
    cpu.further_accesses.push_back(FakeVcpu::out(0x100, 1, {7}));
    cpu.further_accesses.push_back(FakeVcpu::out(0x101, 1, {8}));
  });
  pause();
  EXPECT_EQ(port_device_.take(), (Accesses{"w1 0=7", "w1 1=8"}));
}

// ---- Interrupts

TEST_F(VcpuThreadTest, HaltWithALocalApicOfOursSleepsUntilAnInterrupt) {
  FakePort& port = create_with_port(true);
  cpu_->then(accel::HaltExit{});
  thread_->resume();
  for (int i = 0; i < 2000; ++i) {
    ++port.pending;
    thread_->wake();
    ASSERT_TRUE(eventually([&] { return port.acknowledged > i; })) << "a wake-up was lost";
    cpu_->then(accel::HaltExit{});
  }
  EXPECT_EQ(injected().size(), 2000U);
  EXPECT_EQ(injected().front(), 0x40);
}

TEST_F(VcpuThreadTest, HaltWithTheAcceleratorsLocalApicIsItsOwnBusiness) {
  create_with_port(false);
  cpu_->then(accel::HaltExit{});
  thread_->resume();
  EXPECT_TRUE(cpu_->wait_until_in_guest());
}

TEST_F(VcpuThreadTest, AHaltWithInterruptsOffSleepsOn) {
  FakePort& port = create_with_port(true);
  cpu_->ready = false;
  cpu_->then(accel::HaltExit{});
  thread_->resume();
  ASSERT_TRUE(cpu_->wait_until_script_is_done());
  ++port.pending;
  thread_->wake();
  thread_->call([](accel::Vcpu&) {});
  EXPECT_TRUE(injected().empty());
  EXPECT_EQ(port.pending, 1);
  port.post(CpuSignal::kNmi);
  thread_->wake();
  EXPECT_TRUE(eventually([&] { return injected() == std::vector<std::uint8_t>{2}; }));
}

TEST_F(VcpuThreadTest, AnUnreadyGuestIsAskedToSayWhenItIs) {
  FakePort& port = create_with_port(true);
  cpu_->ready = false;
  thread_->resume();
  ASSERT_TRUE(cpu_->wait_until_in_guest());
  ++port.pending;
  thread_->wake();
  ASSERT_TRUE(eventually([&] { return cpu_->look([](FakeVcpu& cpu) { return cpu.window; }); }));
  EXPECT_TRUE(injected().empty());
  cpu_->then([](FakeVcpu& cpu) -> Result<accel::VcpuExit> {
    cpu.ready = true;
    return accel::InterruptedExit{};
  });
  EXPECT_TRUE(eventually([&] { return port.acknowledged == 1; }));
  EXPECT_TRUE(cpu_->wait_until_in_guest());
  EXPECT_FALSE(cpu_->look([](FakeVcpu& cpu) { return cpu.window; }));
}

TEST_F(VcpuThreadTest, TprTravelsBothWays) {
  FakePort& port = create_with_port(true);
  cpu_->then([](FakeVcpu& cpu) -> Result<accel::VcpuExit> {  // the guest wrote CR8
    cpu.cr8 = 9;
    return accel::SetTprExit{};
  });
  run_script();
  EXPECT_EQ(port.cr8, 9);
  port.cr8 = 3;
  thread_->resume();
  EXPECT_TRUE(eventually([&] { return cpu_->tpr() == 3; }));
}

// ---- INIT, SIPI, NMI

TEST_F(VcpuThreadTest, AnApplicationProcessorWaitsForItsStartup) {
  FakePort& port = create_with_port(true, 1);
  ASSERT_TRUE(thread_->reset(nullptr));
  thread_->resume();
  thread_->call([](accel::Vcpu&) {});
  EXPECT_EQ(cpu_->look([](FakeVcpu& cpu) { return cpu.entries; }), 0U);
  port.post(CpuSignal::kInit);
  port.post(CpuSignal::kStartup, 0x9a);
  port.post(CpuSignal::kStartup, 0x11);  // the second of the usual pair
  thread_->wake();
  ASSERT_TRUE(cpu_->wait_until_in_guest());
  EXPECT_EQ(state().segment[x86::kCs].selector, 0x9a00);
  EXPECT_EQ(state().segment[x86::kCs].base, 0x9a000U);
  EXPECT_EQ(state().rip, 0U);
  EXPECT_TRUE(injected().empty());
}

TEST_F(VcpuThreadTest, AnNmiBeforeTheStartupIsTakenAfterIt) {
  FakePort& port = create_with_port(true, 1);
  ASSERT_TRUE(thread_->reset(nullptr));
  thread_->resume();
  port.post(CpuSignal::kNmi);
  thread_->wake();
  ASSERT_TRUE(eventually([&] { return injected() == std::vector<std::uint8_t>{2}; }));
  thread_->call([](accel::Vcpu&) {});
  EXPECT_EQ(cpu_->look([](FakeVcpu& cpu) { return cpu.entries; }), 0U) << "it does not end the wait";
  port.post(CpuSignal::kStartup, 0x9a);
  thread_->wake();
  ASSERT_TRUE(cpu_->wait_until_in_guest());
  EXPECT_EQ(state().segment[x86::kCs].selector, 0x9a00);
  EXPECT_TRUE(state().events.nmi.pending);
}

TEST_F(VcpuThreadTest, AnInitVoidsAnNmiThatWaits) {
  FakePort& port = create_with_port(true, 1);
  ASSERT_TRUE(thread_->reset(nullptr));
  thread_->resume();
  port.post(CpuSignal::kNmi);
  port.post(CpuSignal::kInit);
  port.post(CpuSignal::kStartup, 0x9a);
  thread_->wake();
  ASSERT_TRUE(cpu_->wait_until_in_guest());
  EXPECT_EQ(injected(), std::vector<std::uint8_t>{2});
  EXPECT_FALSE(state().events.nmi.pending);
}

TEST_F(VcpuThreadTest, InitStopsARunningProcessorAgain) {
  FakePort& port = create_with_port(true, 1);
  thread_->resume();
  ASSERT_TRUE(cpu_->wait_until_in_guest());
  port.post(CpuSignal::kInit);
  thread_->wake();
  ASSERT_TRUE(eventually([&] { return state().rip == 0xfff0; }));
  thread_->call([](accel::Vcpu&) {});
  const unsigned entries = cpu_->look([](FakeVcpu& cpu) { return cpu.entries; });
  ++port.pending;  // an interrupt does not get it going
  thread_->wake();
  thread_->call([](accel::Vcpu&) {});
  EXPECT_EQ(cpu_->look([](FakeVcpu& cpu) { return cpu.entries; }), entries);
}

TEST_F(VcpuThreadTest, InitOfTheBootProcessorBeginsAtTheResetVector) {
  FakePort& port = create_with_port(true);
  port.base = 0xfee00900;
  cpu_->then(accel::HaltExit{});
  thread_->resume();
  ASSERT_TRUE(cpu_->wait_until_script_is_done());
  thread_->call([](accel::Vcpu&) {});  // it is halted now
  port.post(CpuSignal::kInit);
  thread_->wake();
  ASSERT_TRUE(cpu_->wait_until_in_guest());
  EXPECT_EQ(state().rip, 0xfff0U);
  EXPECT_EQ(state().segment[x86::kCs].selector, 0xf000);
}

// ---- The activity of a CPU whose local APIC is ours, saved from one thread and loaded into another

class ActivityTest : public VcpuThreadTest {
 protected:
  [[nodiscard]] x86::CpuState save() {
    x86::CpuState saved;
    EXPECT_TRUE(thread_->get_state(saved, x86::StateParts::kAll));
    return saved;
  }
  /// Into a processor that has just been reset; runs it.
  FakePort& load(const x86::CpuState& saved) {
    thread_.reset();
    FakePort& port = create_with_port(true, 1);
    EXPECT_TRUE(thread_->reset(nullptr));
    EXPECT_TRUE(thread_->set_state(saved, x86::StateParts::kAll));
    thread_->resume();
    thread_->call([](accel::Vcpu&) {});
    return port;
  }
  [[nodiscard]] unsigned entries() {
    return cpu_->look([](FakeVcpu& cpu) { return cpu.entries; });
  }
};

TEST_F(ActivityTest, HaltedStaysHaltedUntilAnInterrupt) {
  create_with_port(true, 1);
  cpu_->state.rflags |= x86::rflags::kIf;
  cpu_->then(accel::HaltExit{});
  thread_->resume();
  ASSERT_TRUE(cpu_->wait_until_script_is_done());
  pause();
  const x86::CpuState saved = save();
  EXPECT_EQ(saved.mp_state, x86::MpState::kHalted);

  FakePort& port = load(saved);
  EXPECT_EQ(save().mp_state, x86::MpState::kHalted);
  EXPECT_EQ(entries(), 0U);
  ++port.pending;
  thread_->wake();
  ASSERT_TRUE(cpu_->wait_until_in_guest());
  EXPECT_EQ(injected(), std::vector<std::uint8_t>{0x40});
  EXPECT_EQ(save().mp_state, x86::MpState::kRunnable);
}

TEST_F(ActivityTest, WaitingForSipiStaysSo) {
  create_with_port(true, 1);
  ASSERT_TRUE(thread_->reset(nullptr));
  const x86::CpuState saved = save();
  EXPECT_EQ(saved.mp_state, x86::MpState::kInitReceived);

  FakePort& port = load(saved);
  EXPECT_EQ(entries(), 0U);
  port.post(CpuSignal::kStartup, 0x9a);
  thread_->wake();
  ASSERT_TRUE(cpu_->wait_until_in_guest());
  EXPECT_EQ(state().segment[x86::kCs].selector, 0x9a00);
}

TEST_F(ActivityTest, RunningRunsOn) {
  create_with_port(true, 1);
  cpu_->state.rip = 0x1234;
  const x86::CpuState saved = save();
  EXPECT_EQ(saved.mp_state, x86::MpState::kRunnable);
  load(saved);
  EXPECT_TRUE(cpu_->wait_until_in_guest());
  EXPECT_EQ(state().rip, 0x1234U);
}

TEST_F(ActivityTest, MessagesOnTheirWayAreTakenBeforeSaving) {
  FakePort& port = create_with_port(true, 1);
  cpu_->state.rip = 0x1234;
  port.post(CpuSignal::kNmi);
  EXPECT_TRUE(save().events.nmi.pending);
  port.post(CpuSignal::kInit);
  const x86::CpuState saved = save();
  EXPECT_EQ(saved.mp_state, x86::MpState::kInitReceived);
  EXPECT_EQ(saved.rip, 0xfff0U);
  EXPECT_FALSE(port.has_work());
}

TEST_F(ActivityTest, TheAcceleratorsLocalApicHasItsOwn) {
  create_with_port(false);
  cpu_->state.mp_state = x86::MpState::kHalted;
  const x86::CpuState saved = save();
  EXPECT_EQ(saved.mp_state, x86::MpState::kHalted);
  ASSERT_TRUE(thread_->set_state(saved, x86::StateParts::kMpState));
  EXPECT_EQ(cpu_->look([](FakeVcpu& cpu) { return cpu.parts_set.back(); }), x86::StateParts::kMpState);
}

// ---- Reset and single steps

TEST_F(VcpuThreadTest, ResetTakesTheKernelsEntry) {
  create();
  x86::CpuState entry;
  entry.rip = 0x100000;
  entry.gpr[x86::kRbx] = 0x6000;
  entry.cr0 = 1;
  ASSERT_TRUE(thread_->reset(&entry));
  EXPECT_EQ(state().rip, 0x100000U);
  EXPECT_EQ(state().gpr[x86::kRbx], 0x6000U);
  EXPECT_EQ(cpu_->look([](FakeVcpu& cpu) { return cpu.parts_set.back(); }), x86::StateParts::kAll);
  ASSERT_TRUE(thread_->reset(nullptr));
  EXPECT_EQ(state().rip, 0xfff0U);
}

TEST_F(VcpuThreadTest, AStepThatLeftForADeviceIsReportedOnceItsInstructionIsDone) {
  create();
  cpu_->state.rip = 0x1000;
  cpu_->then_out(0x100, 1, {1});  // still in the instruction
  cpu_->then([](FakeVcpu& cpu) -> Result<accel::VcpuExit> {
    cpu.state.rip = 0x1002;
    return accel::InterruptedExit{};
  });
  thread_->step();
  ASSERT_TRUE(eventually([&] { return !observer_.events().empty(); }));
  EXPECT_EQ(observer_.events(), Accesses{"debug 1002"});
  pause();
}

TEST_F(VcpuThreadTest, AStepOfAHaltedProcessorStaysWhereItIs) {
  create_with_port(true, 1);
  ASSERT_TRUE(thread_->reset(nullptr));  // waits for SIPI
  thread_->step();
  ASSERT_TRUE(eventually([&] { return !observer_.events().empty(); }));
  EXPECT_EQ(cpu_->look([](FakeVcpu& cpu) { return cpu.entries; }), 0U);
  pause();
}

}  // namespace
}  // namespace doppel::vm
