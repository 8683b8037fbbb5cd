// Run states of a whole machine whose processors follow a script (fake_accelerator.h).
#include "vm/virtual_machine.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "vm/fake_accelerator.h"

namespace doppel::vm {
namespace {

class VirtualMachineTest : public testing::Test {
 protected:
  VirtualMachineTest() {
    std::ofstream(bios_) << std::string(0x10000, '\xf4');
    config_.boot.bios = bios_;
    config_.memory.size = 16ULL << 20U;
    config_.smp.cpus = 2;
    config_.devices = {{.driver = "isa-debug-exit", .properties = {}}, {.driver = "pvpanic", .properties = {}}};
  }
  ~VirtualMachineTest() override {
    machine_.reset();
    std::remove(bios_.c_str());
  }

  void create() {
    const auto opener = [this](const auto&, const Logger&, const auto&) -> Result<std::unique_ptr<accel::Accelerator>> {
      return std::make_unique<FakeAccelerator>(host_);
    };
    sink_.set_quiet(true);
    auto created = VirtualMachine::create(config_, loop_, sink_, opener);
    ASSERT_TRUE(created) << created.error().describe();
    machine_ = std::move(*created);
    machine_->set_state_listener([this](RunState state) { states_.emplace_back(to_string(state)); });
  }
  [[nodiscard]] FakeVcpu& cpu(std::size_t index = 0) { return *host_.vcpus[index]; }
  /// Serves the loop until CONDITION holds.
  template <class Condition>
  bool serve_until(Condition condition) {
    return eventually([&] {
      loop_.run_ready();
      return condition();
    });
  }
  /// How often CPU INDEX was put into a state from outside: once when built, once per reset.
  [[nodiscard]] std::size_t resets(std::size_t index = 0) {
    return cpu(index).look([](FakeVcpu& vcpu) { return vcpu.parts_set.size(); });
  }
  [[nodiscard]] std::uint64_t cmos(std::uint64_t index) {
    machine_->ports().write(memory::GuestPhysAddr{0x70}, 1, index);
    return machine_->ports().read(memory::GuestPhysAddr{0x71}, 1);
  }
  /// What firmware and the guest do to get to S3.
  void suspend() {
    cpu().then_out(0xcf8, 4, {0x80000b40});  // 00:01.3, PMBASE
    cpu().then_out(0xcfc, 4, {0x601});
    cpu().then_out(0xcf8, 4, {0x80000b80});  // PMREGMISC
    cpu().then_out(0xcfc, 1, {1});
    cpu().then_out(0x604, 2, {0x2400});  // SLP_EN, SLP_TYP 1
    ASSERT_TRUE(serve_until([this] { return machine_->state() == RunState::kSuspended; }));
  }
  void power_off_by(FakeVcpu& vcpu) {
    vcpu.then(accel::SystemEventExit{.kind = accel::SystemEventKind::kShutdown, .code = 1});
  }

  const std::string bios_ = testing::TempDir() + "doppel-vm-test-" + std::to_string(::getpid()) + ".bin";
  FakeHost host_;
  LogSink sink_;
  VmConfig config_;
  event::Loop loop_;
  std::vector<std::string> states_;
  std::unique_ptr<VirtualMachine> machine_;
};

using States = std::vector<std::string>;

TEST_F(VirtualMachineTest, RunsUntilTheGuestPowersOff) {
  create();
  EXPECT_EQ(machine_->state(), RunState::kPrelaunch);
  power_off_by(cpu());
  EXPECT_EQ(machine_->run(), EXIT_SUCCESS);
  EXPECT_EQ(states_, (States{"running", "shutdown"}));
}

TEST_F(VirtualMachineTest, AnOptionThatCannotBeIsNamedOnce) {
  const auto opener = [this](const auto&, const Logger&, const auto&) -> Result<std::unique_ptr<accel::Accelerator>> {
    return std::make_unique<FakeAccelerator>(host_);
  };
  const auto message_of = [&](const VmConfig& config) {
    const auto created = VirtualMachine::create(config, loop_, sink_, opener);
    return created ? "" : created.error().describe();
  };
  VmConfig no_cpu = config_;
  no_cpu.cpu = "max,+aavx";
  EXPECT_EQ(message_of(no_cpu), "-cpu max,+aavx: there is no feature or option 'aavx' (did you mean 'avx'?)");
  VmConfig no_table = config_;
  no_table.tables.smbios = {"type=99"};
  EXPECT_EQ(message_of(no_table), "-smbios type=99: type=99 cannot be set by fields; use file=PATH");
}

TEST_F(VirtualMachineTest, StartPausedWaitsToBeResumed) {
  config_.process.start_paused = true;
  create();
  machine_->quit(EXIT_SUCCESS);
  EXPECT_EQ(machine_->run(), EXIT_SUCCESS);
  EXPECT_EQ(machine_->state(), RunState::kPrelaunch);
  EXPECT_EQ(cpu().look([](FakeVcpu& vcpu) { return vcpu.entries; }), 0U);
}

TEST_F(VirtualMachineTest, TheFirstStatusOfQuitCounts) {
  create();
  machine_->quit(3);
  machine_->quit(4);
  EXPECT_EQ(machine_->run(), 3);
  EXPECT_EQ(machine_->state(), RunState::kPaused);
}

TEST_F(VirtualMachineTest, GuestTimeStandsStillWhilePaused) {
  create();
  machine_->resume();
  EXPECT_TRUE(eventually([&] { return loop_.virtual_clock().now_ns() > 0; }));
  machine_->pause();
  const auto then = loop_.virtual_clock().now_ns();
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
  EXPECT_EQ(loop_.virtual_clock().now_ns(), then);
}

TEST_F(VirtualMachineTest, ResumeByPlanRunsOnlyThose) {
  create();
  const CpuRun plan[] = {CpuRun::kStay, CpuRun::kRun};
  machine_->resume(plan);
  EXPECT_TRUE(cpu(1).wait_until_in_guest());
  EXPECT_EQ(cpu(0).look([](FakeVcpu& vcpu) { return vcpu.entries; }), 0U);
  machine_->pause();
}

// ---- Resets

/// Each way a guest has of asking for a reset.
class ResetTest : public VirtualMachineTest, public testing::WithParamInterface<int> {
 protected:
  void ask(FakeVcpu& vcpu) const {
    switch (GetParam()) {
      case 0: return vcpu.then(accel::ShutdownExit{});  // triple fault
      case 1: return vcpu.then_out(0xcf9, 1, {0x02, 0x06});
      case 2: return vcpu.then_out(0x92, 1, {0x01});
      case 3: return vcpu.then_out(0x64, 1, {0xfe});
      default: return vcpu.then(accel::SystemEventExit{.kind = accel::SystemEventKind::kReset, .code = 2});
    }
  }
};

TEST_P(ResetTest, TheMachineStartsAnew) {
  create();
  machine_->resume();
  for (std::size_t round = 2; round < 5; ++round) {
    cpu().look([](FakeVcpu& vcpu) { vcpu.state.rip = 0x1234; });
    ask(cpu());
    ASSERT_TRUE(serve_until([&] { return resets() == round && resets(1) == round; }));
    EXPECT_EQ(machine_->state(), RunState::kRunning);
    EXPECT_EQ(cpu().look([](FakeVcpu& vcpu) { return vcpu.state.rip; }), 0xfff0U);
    ASSERT_TRUE(cpu().wait_until_in_guest());
  }
  EXPECT_EQ(states_, States{"running"});
  EXPECT_EQ(host_.irqchip_loads, 3U) << "the accelerator's chips are reset too";
}

TEST_P(ResetTest, OrEndsIfTheUserWantsNoReboot) {
  config_.action.reboot = RebootAction::kShutdown;
  create();
  ask(cpu());
  EXPECT_EQ(machine_->run(), EXIT_SUCCESS);
  EXPECT_EQ(states_.back(), "shutdown");
}

INSTANTIATE_TEST_SUITE_P(Ways, ResetTest, testing::Range(0, 5));

TEST_F(VirtualMachineTest, ManyRequestsInOneExitAreOneReset) {
  create();
  machine_->resume();
  cpu().then_out(0xcf9, 1, std::vector<std::uint64_t>(500, 0x06));
  ASSERT_TRUE(serve_until([&] { return resets() == 2; }));
  loop_.run_ready();
  EXPECT_EQ(resets(), 2U);
}

TEST_F(VirtualMachineTest, AResetThatComesToAPausedMachineLeavesItPaused) {
  create();
  machine_->resume();
  cpu().then(accel::ShutdownExit{});
  ASSERT_TRUE(cpu().wait_until_script_is_done());
  machine_->pause();
  ASSERT_TRUE(serve_until([&] { return resets() == 2; }));
  EXPECT_EQ(machine_->state(), RunState::kPaused);
  machine_->resume();
  EXPECT_TRUE(cpu().wait_until_in_guest());
}

TEST_F(VirtualMachineTest, ResetByTheUserKeepsRunningOrPaused) {
  create();
  machine_->reset();
  EXPECT_EQ(machine_->state(), RunState::kPrelaunch);
  machine_->resume();
  machine_->reset();
  EXPECT_EQ(machine_->state(), RunState::kRunning);
  machine_->pause();
  machine_->reset();
  EXPECT_EQ(machine_->state(), RunState::kPaused);
}

TEST_F(VirtualMachineTest, AResetWaitsForTheDisks) {
  config_.drives = {{.id = "slow",
                     .file = "null-co://",
                     .read_only = true,
                     .options = {{"file.latency-ns", "300000000"}, {"file.size", "1M"}}}};
  config_.devices.push_back({.driver = "ide-hd", .properties = {{"drive", "slow"}}});
  create();
  machine_->resume();
  cpu().then_out(0xcf8, 4, {0x80000904});  // 00:01.1, command: I/O
  cpu().then_out(0xcfc, 2, {1});
  cpu().then_out(0xcf8, 4, {0x80000940});  // IDETIM: the ports are decoded
  cpu().then_out(0xcfc, 2, {0x8000});
  cpu().then_out(0x1f6, 1, {0xe0});
  cpu().then_out(0x1f2, 1, {1});
  cpu().then_out(0x1f7, 1, {0x20});  // READ SECTORS
  cpu().then(accel::ShutdownExit{});
  ASSERT_TRUE(cpu().wait_until_script_is_done());
  ASSERT_TRUE(serve_until([&] { return resets() == 2; }));
  EXPECT_EQ(machine_->state(), RunState::kRunning);
  const auto before = cpu().look([](FakeVcpu& vcpu) { return vcpu.entries; });
  const auto waits = [&] {
    return cpu().look([&](FakeVcpu& vcpu) { return vcpu.parts_set.size() == 2 && vcpu.entries == before; });
  };
  ASSERT_TRUE(serve_until([&] { return !waits(); }));
  EXPECT_EQ(resets(), 3U) << "whatever the disk did to memory until then is undone";
  EXPECT_TRUE(cpu().wait_until_in_guest());
}

TEST_F(VirtualMachineTest, WhatTheGuestAskedForBeforeAResetIsVoid) {
  create();
  machine_->resume();
  power_off_by(cpu());
  ASSERT_TRUE(cpu().wait_until_script_is_done());
  machine_->reset();
  loop_.run_ready();
  EXPECT_EQ(machine_->state(), RunState::kRunning);
  power_off_by(cpu());  // but the next one is heard
  EXPECT_TRUE(serve_until([&] { return machine_->state() == RunState::kShutdown; }));
}

TEST_F(VirtualMachineTest, BootOnceHoldsForTheFirstBootAlone) {
  config_.boot.order = "cad";
  config_.boot.once = "dc";
  create();
  EXPECT_EQ(cmos(0x3d), 0x23U);
  machine_->reset();
  EXPECT_EQ(cmos(0x3d), 0x12U);
  EXPECT_EQ(cmos(0x38) >> 4U, 3U);
  machine_->reset();
  EXPECT_EQ(cmos(0x3d), 0x12U);
}

// ---- Power

TEST_F(VirtualMachineTest, NoShutdownKeepsTheMachineUntilItIsReset) {
  config_.action.shutdown = ShutdownAction::kPause;
  create();
  machine_->resume();
  power_off_by(cpu(1));
  ASSERT_TRUE(serve_until([&] { return machine_->state() == RunState::kShutdown; }));
  machine_->resume();
  EXPECT_EQ(machine_->state(), RunState::kShutdown) << "there is nothing to go on with";
  machine_->reset();
  EXPECT_EQ(machine_->state(), RunState::kPaused);
  machine_->resume();
  EXPECT_TRUE(machine_->running());
  EXPECT_TRUE(cpu().wait_until_in_guest());
}

TEST_F(VirtualMachineTest, PowerOffIsHeardBesideABreakpoint) {
  create();
  machine_->resume();
  ASSERT_TRUE(cpu(0).wait_until_in_guest());
  unsigned stops = 0;
  machine_->set_debug_listener([&](unsigned, const accel::DebugExit&) { ++stops; });
  cpu(0).then(accel::DebugExit{});
  power_off_by(cpu(0));  // the next time it runs
  ASSERT_TRUE(serve_until([&] { return stops == 1; }));
  EXPECT_EQ(machine_->state(), RunState::kDebug);
  machine_->resume();
  EXPECT_TRUE(serve_until([&] { return machine_->state() == RunState::kShutdown; }));
}

TEST_F(VirtualMachineTest, SleepsAndWakesByThePowerButton) {
  create();
  machine_->resume();
  suspend();
  const std::size_t before = resets();
  machine_->resume();
  EXPECT_EQ(machine_->state(), RunState::kSuspended) << "only waking ends it";
  machine_->power_button();
  EXPECT_EQ(machine_->state(), RunState::kRunning);
  EXPECT_EQ(resets(), before + 1) << "processors begin at the reset vector";
  EXPECT_EQ(cmos(0x0f), 0xfeU) << "where the firmware reads that it is to resume";
  EXPECT_EQ(states_, (States{"running", "suspended", "running"}));
  machine_->wake();  // already awake
  EXPECT_EQ(resets(), before + 1);
}

TEST_F(VirtualMachineTest, AResetEndsASleep) {
  create();
  machine_->resume();
  suspend();
  machine_->reset();
  EXPECT_EQ(machine_->state(), RunState::kPaused);
  machine_->resume();
  EXPECT_TRUE(machine_->running());
}

TEST_F(VirtualMachineTest, SleepStatesThatAreNotOfferedDoNothing) {
  config_.sleep.s3 = false;
  create();
  machine_->resume();
  cpu().then_out(0xcf8, 4, {0x80000b40});
  cpu().then_out(0xcfc, 4, {0x601});
  cpu().then_out(0xcf8, 4, {0x80000b80});
  cpu().then_out(0xcfc, 1, {1});
  cpu().then_out(0x604, 2, {0x2400});
  ASSERT_TRUE(cpu().wait_until_in_guest());
  loop_.run_ready();
  EXPECT_EQ(machine_->state(), RunState::kRunning);
}

// ---- Exit statuses and actions

TEST_F(VirtualMachineTest, DebugExitEndsWithItsStatus) {
  create();
  cpu().then_out(0x501, 1, {3});
  EXPECT_EQ(machine_->run(), 7);
}

TEST_F(VirtualMachineTest, AStuckProcessorEndsWithAFailure) {
  create();
  cpu().then([](FakeVcpu&) -> Result<accel::VcpuExit> { return fail(ErrorKind::kInternal, "broken"); });
  EXPECT_EQ(machine_->run(), EXIT_FAILURE);
  EXPECT_EQ(machine_->state(), RunState::kInternalError);
}

TEST_F(VirtualMachineTest, OrIsKeptForALook) {
  config_.action.shutdown = ShutdownAction::kPause;
  create();
  machine_->resume();
  cpu().then(accel::UnknownExit{.code = 77});
  ASSERT_TRUE(serve_until([&] { return machine_->state() == RunState::kInternalError; }));
  EXPECT_TRUE(machine_->needs_reset());
  machine_->reset();
  machine_->resume();
  EXPECT_TRUE(cpu().wait_until_in_guest());
}

struct PanicCase {
  PanicAction action;
  ShutdownAction shutdown;
  std::optional<int> status;  // empty: the machine stays
  RunState state;
};

class PanicTest : public VirtualMachineTest, public testing::WithParamInterface<PanicCase> {};

TEST_P(PanicTest, DoesWhatTheUserWants) {
  config_.action.panic = GetParam().action;
  config_.action.shutdown = GetParam().shutdown;
  create();
  cpu().then_out(0x505, 1, {1});
  if (GetParam().status) {
    EXPECT_EQ(machine_->run(), *GetParam().status);
  } else {
    machine_->resume();
    ASSERT_TRUE(serve_until([&] {
      return cpu().look([](FakeVcpu& vcpu) { return vcpu.entries; }) > 0 && machine_->state() == GetParam().state;
    }));
  }
  EXPECT_EQ(machine_->state(), GetParam().state);
}

INSTANTIATE_TEST_SUITE_P(
    Actions, PanicTest,
    testing::Values(PanicCase{PanicAction::kShutdown, ShutdownAction::kPowerOff, 0, RunState::kGuestPanicked},
                    PanicCase{PanicAction::kExitFailure, ShutdownAction::kPowerOff, 1, RunState::kGuestPanicked},
                    PanicCase{PanicAction::kShutdown, ShutdownAction::kPause, {}, RunState::kGuestPanicked},
                    PanicCase{PanicAction::kPause, ShutdownAction::kPowerOff, {}, RunState::kGuestPanicked},
                    PanicCase{PanicAction::kNone, ShutdownAction::kPowerOff, {}, RunState::kRunning}));

// ---- Ends

TEST_F(VirtualMachineTest, CanBeDestroyedWhileItsProcessorsReport) {
  for (int round = 0; round < 20; ++round) {
    host_.vcpus.clear();
    create();
    for (std::size_t i = 0; i < 2; ++i)
      for (int n = 0; n < 20; ++n) cpu(i).then(accel::ShutdownExit{});
    machine_->quit(1);
    machine_->resume();
    machine_.reset();
    loop_.run_ready();  // what was posted finds nobody
  }
}

TEST_F(VirtualMachineTest, EveryStateHasQemusName) {
  EXPECT_EQ(to_string(RunState::kPrelaunch), "prelaunch");
  EXPECT_EQ(to_string(RunState::kInternalError), "internal-error");
  EXPECT_EQ(to_string(RunState::kGuestPanicked), "guest-panicked");
}

// ---- The three places of the interrupt controllers

class IrqchipPlaceTest : public VirtualMachineTest, public testing::WithParamInterface<const char*> {};

TEST_P(IrqchipPlaceTest, BuildsRunsAndResets) {
  config_.machine.properties = {{"kernel-irqchip", GetParam()}};
  create();
  const std::string_view place = GetParam();
  EXPECT_EQ(host_.irqchip, place == "on"      ? accel::IrqchipMode::kKernel
                           : place == "split" ? accel::IrqchipMode::kSplit
                                              : accel::IrqchipMode::kOff);
  EXPECT_EQ(host_.exiting_msrs.empty(), place != "off");
  machine_->resume();
  ASSERT_TRUE(cpu().wait_until_in_guest());
  machine_->reset();
  ASSERT_TRUE(cpu().wait_until_in_guest());
  power_off_by(cpu());
  EXPECT_TRUE(serve_until([&] { return machine_->state() == RunState::kShutdown; }));
}

INSTANTIATE_TEST_SUITE_P(Places, IrqchipPlaceTest, testing::Values("on", "split", "off"));

TEST_F(VirtualMachineTest, TheBoardChoosesThePlace) {
  create();
  EXPECT_EQ(host_.irqchip, accel::IrqchipMode::kKernel);
  machine_.reset();
  config_.machine.type = "microvm";
  create();
  EXPECT_EQ(host_.irqchip, accel::IrqchipMode::kSplit);
}

TEST_F(VirtualMachineTest, AnExplicitPlaceOverrulesTheBoard) {
  config_.machine = {.type = "microvm", .properties = {{"kernel-irqchip", "on"}}};
  create();
  EXPECT_EQ(host_.irqchip, accel::IrqchipMode::kKernel);
}

TEST_F(VirtualMachineTest, TheBoardTakesThePlaceThatThereIs) {
  config_.machine.type = "microvm";
  host_.capabilities.split_irqchip = false;
  create();
  EXPECT_EQ(host_.irqchip, accel::IrqchipMode::kKernel);
  machine_.reset();
  host_.capabilities.irqchip = false;
  create();
  EXPECT_EQ(host_.irqchip, accel::IrqchipMode::kOff);
}

TEST_F(VirtualMachineTest, AnUnknownPlaceIsAnError) {
  config_.machine.properties = {{"kernel-irqchip", "half"}};
  const auto opener = [this](const auto&, const Logger&, const auto&) -> Result<std::unique_ptr<accel::Accelerator>> {
    return std::make_unique<FakeAccelerator>(host_);
  };
  const auto created = VirtualMachine::create(config_, loop_, sink_, opener);
  ASSERT_FALSE(created);
  EXPECT_NE(created.error().describe().find("on, split or off"), std::string::npos);
}

}  // namespace
}  // namespace doppel::vm
