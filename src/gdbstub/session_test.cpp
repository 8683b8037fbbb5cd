#include "gdbstub/session.h"

#include <gtest/gtest.h>

#include "gdbstub/fake_target.h"

namespace doppel::gdbstub {
namespace {

using vm::CpuRun;
using vm::RunState;
using Plan = std::vector<CpuRun>;

constexpr auto kStay = CpuRun::kStay;
constexpr auto kRun = CpuRun::kRun;
constexpr auto kStep = CpuRun::kStep;

class SessionTest : public testing::Test {
 protected:
  SessionTest() { session.opened(); }

  /// The replies to PAYLOAD, joined by '|'.
  std::string ask(std::string_view payload) {
    session.packet(payload);
    return take();
  }
  std::string take() {
    std::string all;
    for (const std::string& reply : std::exchange(sent, {})) all += (all.empty() ? "" : "|") + reply;
    return all;
  }
  /// The text of the O packets that a monitor command is answered with.
  std::string monitor(std::string_view command) {
    session.packet("qRcmd," + to_hex(command));
    std::string text;
    EXPECT_EQ(sent.back(), "OK");
    sent.pop_back();
    for (const std::string& reply : std::exchange(sent, {})) text += said(reply);
    return text;
  }
  static std::string said(std::string_view reply) {
    EXPECT_TRUE(reply.starts_with('O')) << reply;
    std::string text;
    const auto bytes = from_hex(reply.substr(1)).value();
    for (const std::byte byte : bytes) text += static_cast<char>(byte);
    return text;
  }

  FakeTarget target;
  std::vector<std::string> sent;
  bool acknowledging = true;
  Session session{target,
                  {.send = [this](std::string_view payload) { sent.emplace_back(payload); },
                   .stop_acknowledging = [this] { acknowledging = false; }}};
};

TEST_F(SessionTest, ConnectingHaltsTheMachine) {
  target.run_state = RunState::kRunning;
  session.opened();
  EXPECT_EQ(target.run_state, RunState::kPaused);
  EXPECT_EQ(take(), "");
  EXPECT_EQ(ask("?"), "T05thread:01;");
}

TEST_F(SessionTest, UnknownPacketsGetAnEmptyReply) {
  for (const char* packet : {"", "vMustReplyEmpty", "qSymbol::", "qTStatus", "j", "vRun;x", "_"})
    EXPECT_EQ(ask(packet), "") << packet;
}

TEST_F(SessionTest, Handshake) {
  EXPECT_EQ(ask("qSupported:multiprocess+;swbreak+;hwbreak+"),
            "PacketSize=4000;QStartNoAckMode+;qXfer:features:read+;vContSupported+;swbreak+;hwbreak+");
  EXPECT_EQ(ask("QStartNoAckMode"), "OK");
  EXPECT_FALSE(acknowledging);
  EXPECT_EQ(ask("qAttached"), "1");
  EXPECT_EQ(ask("vCont?"), "vCont;c;C;s;S;t");
  EXPECT_EQ(ask("!"), "OK");
}

TEST_F(SessionTest, FeaturesComeInPieces) {
  std::string document;
  std::string reply;
  do {
    reply = ask(fmt::format("qXfer:features:read:target.xml:{:x},20", document.size()));
    document += reply.substr(1);
  } while (reply.starts_with('m'));
  EXPECT_EQ(reply[0], 'l');
  EXPECT_THAT(document, testing::EndsWith("</target>\n"));
  EXPECT_EQ(ask("qXfer:features:read:target.xml:fff0,10"), "E16");
  EXPECT_EQ(ask("qXfer:features:read:none.xml:0,10"), "E00");
  EXPECT_EQ(ask("qXfer:features:read:target.xml:0"), "E16");
}

TEST_F(SessionTest, ThreadsAreCpus) {
  EXPECT_EQ(ask("qfThreadInfo"), "m01,02");
  EXPECT_EQ(ask("qsThreadInfo"), "l");
  EXPECT_EQ(ask("qC"), "QC01");
  EXPECT_EQ(ask("Hg2"), "OK");
  EXPECT_EQ(ask("qC"), "QC02");
  EXPECT_EQ(ask("Hg0"), "OK");
  EXPECT_EQ(ask("Hg3"), "E16");
  EXPECT_EQ(ask("Hx1"), "E16");
  EXPECT_EQ(ask("T2"), "OK");
  EXPECT_EQ(ask("T3"), "E16");
  target.cpus[1].mp_state = x86::MpState::kHalted;
  EXPECT_EQ(ask("qThreadExtraInfo,2"), to_hex("CPU#1 [halted]"));
  target.cpus[1].mp_state = x86::MpState::kInitReceived;
  EXPECT_EQ(ask("qThreadExtraInfo,2"), to_hex("CPU#1 [waiting for SIPI]"));
  EXPECT_EQ(ask("qThreadExtraInfo,9"), "E16");
}

TEST_F(SessionTest, OneRegister) {
  target.cpus[0].gpr[x86::kRax] = 0x1122334455667788;
  EXPECT_EQ(ask("p0"), "8877665544332211");
  EXPECT_EQ(ask("P1=0100000000000080"), "OK");
  EXPECT_EQ(target.cpus[0].gpr[x86::kRbx], 0x8000000000000001U);
  EXPECT_EQ(target.written_parts, x86::StateParts::kRegisters);
  for (const char* bad : {"pfff", "p", "P1=00", "P1=xx", "Pfff=00", "P1", "P12=0000ff00"})
    EXPECT_EQ(ask(bad), "E16") << bad;
}

TEST_F(SessionTest, RegistersOfTheSelectedCpu) {
  target.cpus[1].gpr[x86::kRax] = 0x42;
  ask("Hg2");
  EXPECT_EQ(ask("p0"), "4200000000000000");
}

TEST_F(SessionTest, AllRegistersGoBothWays) {
  target.cpus[0].rip = 0xfff0;
  const std::string all = ask("g");
  EXPECT_EQ(all.substr(16 * 16, 16), "f0ff000000000000");
  EXPECT_EQ(ask("G" + all), "OK");
  EXPECT_EQ(target.written_parts, x86::StateParts{});  // nothing changed
  std::string changed = all;
  changed[1] = '7';
  EXPECT_EQ(ask("G" + changed), "OK");
  EXPECT_EQ(target.cpus[0].gpr[x86::kRax], 7U);
  EXPECT_EQ(target.written_parts, x86::StateParts::kRegisters);
  EXPECT_EQ(ask("G" + all.substr(2)), "E16");
  EXPECT_EQ(ask("G"), "E16");
}

TEST_F(SessionTest, OnlyTheMsrThatChangedIsWritten) {
  const RegisterTable table(true);
  const auto found = std::ranges::find(table.registers(), "k_gs_base", &Register::name);
  ask(fmt::format("P{:x}=0500000000000000", found - table.registers().begin()));
  EXPECT_EQ(target.cpus[0].msrs, (std::vector<x86::Msr>{{0xc0000102, 5}}));  // not the time stamp counter
}

TEST_F(SessionTest, MemoryBothWays) {
  EXPECT_EQ(ask("M1000,3:0a0b0c"), "OK");
  EXPECT_EQ(ask("m1000,4"), "0a0b0c00");
  EXPECT_EQ(ask(std::string_view("X2000,2:\x00\xff", 10)), "OK");
  EXPECT_EQ(ask("m2000,2"), "00ff");
  EXPECT_EQ(ask("X2000,0:"), "OK");
  for (const char* bad :
       {"m", "m1000", "m1000,", "m1000,0", "M1000,3:0a", "M1000,1", "X1000,2:a", "X1000,2", "Mx,1:00"})
    EXPECT_EQ(ask(bad), "E16") << bad;
}

TEST_F(SessionTest, MemoryIsTranslatedPageByPage) {
  target.memory[0xfff] = std::byte{1};
  target.memory[0x1000] = std::byte{2};
  EXPECT_EQ(ask("mffff800000000fff,2"), "0102");
  EXPECT_EQ(ask("m40000000,4"), "E0e");
  EXPECT_EQ(ask("M40000000,1:00"), "E0e");
  EXPECT_EQ(ask("mfffe,8"), "0000");  // as far as there is memory
  EXPECT_EQ(ask("mf000,2000").size(), 0x2000U);
  EXPECT_EQ(ask("mffffffffffffffff,10"), "E0e");
  EXPECT_LE(ask("m0,ffffffffffffffff").size(), kMaxPacket);
}

TEST_F(SessionTest, PhysicalMemoryMode) {
  EXPECT_EQ(ask("qqemu.PhyMemMode"), "0");
  EXPECT_EQ(ask("mffff800000001000,1"), "00");
  EXPECT_EQ(ask("Qqemu.PhyMemMode:1"), "OK");
  EXPECT_EQ(ask("qqemu.PhyMemMode"), "1");
  EXPECT_EQ(ask("mffff800000001000,1"), "E0e");
  EXPECT_EQ(ask("m1000,1"), "00");
  EXPECT_EQ(ask("Qqemu.PhyMemMode:x"), "E16");
}

TEST_F(SessionTest, ContinueRunsUntilInterrupted) {
  EXPECT_EQ(ask("vCont;c"), "");
  EXPECT_EQ(target.runs, (std::vector<Plan>{{kRun, kRun}}));
  EXPECT_EQ(ask("c"), "");  // it runs already
  session.interrupt();
  EXPECT_EQ(take(), "T02thread:01;");
  EXPECT_EQ(target.run_state, RunState::kPaused);
  session.interrupt();
  EXPECT_EQ(take(), "");
  EXPECT_EQ(ask("?"), "T02thread:01;");
}

TEST_F(SessionTest, StepMovesOneCpu) {
  EXPECT_EQ(ask("Hc2"), "OK");
  EXPECT_EQ(ask("s"), "");
  EXPECT_EQ(target.runs.back(), (Plan{kStay, kStep}));
  EXPECT_FALSE(target.debug_at_run[0].single_step);
  EXPECT_TRUE(target.debug_at_run[1].single_step);
  target.step_to(1, 0x1001);
  EXPECT_EQ(take(), "T05thread:02;");
  EXPECT_EQ(ask("qC"), "QC02");  // the stop selects its thread
}

TEST_F(SessionTest, AddressesAndSignalsOfTheOldPackets) {
  ask("s1234");
  EXPECT_EQ(target.cpus[0].rip, 0x1234U);
  target.step_to(0, 0x1235);
  EXPECT_EQ(take(), "T05thread:01;");
  ask("C05;2000");
  EXPECT_EQ(target.cpus[0].rip, 0x2000U);
  EXPECT_EQ(target.runs.back(), (Plan{kRun, kRun}));
  session.interrupt();
  take();
  EXPECT_EQ(ask("cxyz"), "E16");
}

TEST_F(SessionTest, VContGivesEachThreadItsFirstAction) {
  ask("vCont;s:1;c");
  EXPECT_EQ(target.runs.back(), (Plan{kStep, kRun}));
  target.step_to(0, 1);
  ask("vCont;c:2");
  EXPECT_EQ(target.runs.back(), (Plan{kStay, kRun}));
  session.interrupt();
  ask("vCont;t:1;S05:-1");
  EXPECT_EQ(target.runs.back(), (Plan{kStay, kStep}));
  target.step_to(1, 1);
  take();
  EXPECT_EQ(ask("vCont;t"), "T05thread:02;");
  for (const char* bad : {"vCont;x", "vCont;c:9", "vCont;c:zz", "vCont;;"}) EXPECT_EQ(ask(bad), "E16") << bad;
}

TEST_F(SessionTest, BreakpointKindsAsTheClientKnowsThem) {
  EXPECT_EQ(ask("Z0,1000,1"), "OK");
  EXPECT_EQ(ask("Z1,2000,1"), "OK");
  EXPECT_EQ(ask("Z2,3000,4"), "OK");
  ask("c");
  target.stop_at(0, 0x1000, 0, x86::kBreakpoint);
  EXPECT_EQ(take(), "T05thread:01;");
  ask("qSupported:swbreak+;hwbreak+");
  EXPECT_EQ(ask("?"), "T05swbreak:;thread:01;");
  ask("vCont;c:2");
  target.stop_at(1, 0x2000, 1);
  EXPECT_EQ(take(), "T05hwbreak:;thread:02;");
  ask("vCont;c:1");
  target.stop_at(0, 0x2345, 2);
  EXPECT_EQ(take(), "T05watch:3000;thread:01;");
}

TEST_F(SessionTest, BreakpointErrors) {
  EXPECT_EQ(ask("Z5,1000,1"), "");
  for (const char* bad : {"Z0", "Z0,1000", "Zx,1000,1", "z0,,", "z1,1"}) EXPECT_EQ(ask(bad), "E16") << bad;
  EXPECT_THAT(ask("Z3,1000,4"), testing::StartsWith("E."));
  EXPECT_THAT(ask("z0,1000,1"), testing::StartsWith("E."));
  EXPECT_THAT(ask("Z2,1000,ffff"), testing::StartsWith("E."));
}

TEST_F(SessionTest, ContinuingFromABreakpointStepsOffItFirst) {
  target.memory[0x1000] = std::byte{0x90};
  ask("Z0,1000,1");
  ask("c");
  EXPECT_EQ(std::to_integer<int>(target.memory_at_run[0x1000]), 0xcc);
  target.stop_at(0, 0x1000, 0, x86::kBreakpoint);
  take();
  ask("c");
  EXPECT_EQ(target.runs.back(), (Plan{kStep, kStay}));
  EXPECT_EQ(std::to_integer<int>(target.memory_at_run[0x1000]), 0x90);
  target.step_to(0, 0x1001);
  EXPECT_EQ(take(), "");
  EXPECT_EQ(target.runs.back(), (Plan{kRun, kRun}));
  EXPECT_EQ(std::to_integer<int>(target.memory_at_run[0x1000]), 0xcc);
  EXPECT_FALSE(target.debug_at_run[0].single_step);
}

TEST_F(SessionTest, SteppingFromABreakpointIsOneStep) {
  ask("Z1,1000,1");
  ask("c");
  target.stop_at(0, 0x1000, 1);
  ask("s");
  EXPECT_EQ(target.debug_at_run[0].dr7 & x86::dr7::kEnables, 0U);
  target.step_to(0, 0x1002);
  EXPECT_THAT(take(), testing::EndsWith("T05thread:01;"));
  EXPECT_EQ(target.runs.size(), 2U);
}

TEST_F(SessionTest, BreakpointsOfRealModeAreLinear) {
  target.cpus[0].segment[x86::kCs].base = 0xf0000;
  target.cpus[0].segment[x86::kCs].selector = 0xf000;
  ask("qSupported:hwbreak+");
  ask("Z1,fe05b,1");
  ask("c");
  target.stop_at(0, 0xfe05b, 1);
  EXPECT_EQ(target.cpus[0].rip, 0xe05bU);
  ASSERT_EQ(sent.size(), 2U);
  EXPECT_EQ(said(sent[0]), "breakpoint at linear address 0xfe05b, f000:e05b\n");
  EXPECT_EQ(sent[1], "T05thread:01;");  // with hwbreak gdb would run on
  ask("c");
  EXPECT_EQ(target.runs.back(), (Plan{kStep, kStay}));
}

TEST_F(SessionTest, AnotherPcMeansNoStepOff) {
  ask("Z1,1000,1");
  ask("c");
  target.stop_at(0, 0x1000, 1);
  take();
  ask("c2000");
  EXPECT_EQ(target.runs.back(), (Plan{kRun, kRun}));
}

TEST_F(SessionTest, InterruptedWhileSteppingOff) {
  ask("Z0,1000,1");
  ask("c");
  target.stop_at(0, 0x1000, 0, x86::kBreakpoint);
  take();
  ask("c");
  session.interrupt();
  EXPECT_EQ(take(), "T02thread:01;");
  EXPECT_EQ(target.byte_at(0x1000), 0xccU);
}

TEST_F(SessionTest, TheGuestsOwnInt3IsTheGuests) {
  ask("Z0,1000,1");
  ask("c");
  target.stop_at(1, 0x1500, 0, x86::kBreakpoint);
  EXPECT_EQ(take(), "");
  EXPECT_EQ(target.injected, 1);
  EXPECT_EQ(target.runs.size(), 2U);
  EXPECT_EQ(target.run_state, RunState::kRunning);
}

TEST_F(SessionTest, UserModeIsNotSteppedWhereThatBreaksTheGuest) {
  target.the_traits.user_mode_debug = false;
  EXPECT_EQ(ask("vCont;s:1"), "");
  target.step_to(0, 1);
  take();
  target.cpus[0].segment[x86::kSs].dpl = 3;
  session.packet("vCont;s:1");
  ASSERT_EQ(sent.size(), 2U);
  EXPECT_EQ(said(sent[0]), "this host's accelerator cannot step user-mode code\n");
  EXPECT_EQ(sent[1], "T05thread:01;");
  EXPECT_EQ(target.runs.size(), 1U);
}

TEST_F(SessionTest, EndsOfTheMachineAreTold) {
  ask("c");
  target.set_state(RunState::kSuspended);
  EXPECT_EQ(take(), "");
  target.set_state(RunState::kShutdown);
  ASSERT_EQ(sent.size(), 2U);
  EXPECT_EQ(said(sent[0]), "the machine was powered off\n");
  EXPECT_EQ(sent[1], "T03thread:01;");
  sent.clear();
  session.packet("c");
  EXPECT_THAT(said(sent[0]), testing::HasSubstr("must be reset"));
  EXPECT_EQ(sent[1], "T03thread:01;");
}

TEST_F(SessionTest, DetachingCleansUpAndRunsOn) {
  ask("Z0,1000,1");
  ask("Z1,2000,1");
  EXPECT_EQ(ask("D"), "OK");
  EXPECT_EQ(target.byte_at(0x1000), 0U);
  EXPECT_EQ(target.debug[1].dr7 & x86::dr7::kEnables, 0U);
  EXPECT_EQ(target.runs.back(), (Plan{kRun, kRun}));
  target.set_state(RunState::kPaused);
  EXPECT_EQ(take(), "");
}

TEST_F(SessionTest, ALostClientLeavesTheMachineAsItIs) {
  ask("Z0,1000,1");
  session.closed();
  EXPECT_EQ(target.byte_at(0x1000), 0U);
  EXPECT_EQ(target.run_state, RunState::kPaused);
  EXPECT_TRUE(target.runs.empty());
}

TEST_F(SessionTest, KillAndReset) {
  EXPECT_EQ(ask("k"), "");
  EXPECT_EQ(ask("vKill;1"), "OK");
  EXPECT_EQ(target.quits, 2);
  EXPECT_EQ(ask("R00"), "");
  EXPECT_EQ(target.resets, 1);
  session.ending(1);
  EXPECT_EQ(take(), "W01");
}

TEST_F(SessionTest, MonitorCommands) {
  EXPECT_THAT(monitor("help"), testing::HasSubstr("system_reset"));
  EXPECT_THAT(monitor(" info  registers "), testing::HasSubstr("CS ="));
  EXPECT_EQ(monitor("info status"), "VM status: paused\n");
  EXPECT_EQ(monitor("info breakpoints"), "no breakpoints\n");
  EXPECT_EQ(monitor("info regsters"),
            "unknown command 'info regsters' (did you mean 'info registers'?); 'monitor help' lists what there is\n");
  EXPECT_EQ(monitor("system_reset"), "");
  EXPECT_EQ(target.resets, 1);
  EXPECT_EQ(monitor("quit"), "");
  EXPECT_EQ(target.quits, 1);
  EXPECT_EQ(ask("qRcmd,zz"), "E16");
}

}  // namespace
}  // namespace doppel::gdbstub
