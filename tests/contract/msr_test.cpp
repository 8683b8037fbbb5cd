// MSRs that user space answers, CPUID, and the time stamp counter.
#include <algorithm>

#include "tests/contract/contract.h"

namespace doppel::test {
namespace {

using MsrTest = ContractTest;
using CpuidTest = ContractTest;

constexpr std::uint32_t kUnknownMsr = 0x12345678;
constexpr std::uint32_t kSysenterCs = 0x174;
constexpr std::uint32_t kLstar = 0xc0000082;

// rdmsr; hlt  and  wrmsr; hlt
const Code kRdmsr = {0x0f, 0x32, 0xf4};
const Code kWrmsr = {0x0f, 0x30, 0xf4};

TEST_P(MsrTest, FilteredReadsAndWritesComeOut) {
  DOPPEL_NEEDS(capabilities().msr_filter, "no MSR filter");
  TestMachine machine(accelerator());
  const std::uint32_t watched[] = {kLstar, kSysenterCs, 0x40000000};
  ASSERT_TRUE(machine.vm().exit_on_msrs(watched, false));
  for (const std::uint32_t index : {kSysenterCs, kLstar}) {
    machine.start(Mode::kLong64, kRdmsr, {{x86::kRcx, index}});
    const auto read = expect<MsrExit>(machine.run());
    EXPECT_EQ(read.index, index);
    EXPECT_EQ(read.direction, IoDirection::kIn);
    ASSERT_NE(read.value, nullptr);
    *read.value = 0x1122334455667788;
    expect<HaltExit>(machine.run());
    EXPECT_EQ(machine.state().gpr[x86::kRax], 0x55667788U);
    EXPECT_EQ(machine.state().gpr[x86::kRdx], 0x11223344U);

    machine.start(Mode::kLong64, kWrmsr, {{x86::kRcx, index}, {x86::kRax, 0x55667788}, {x86::kRdx, 0x11223344}});
    const auto write = expect<MsrExit>(machine.run());
    EXPECT_EQ(write.direction, IoDirection::kOut);
    ASSERT_NE(write.value, nullptr);
    EXPECT_EQ(*write.value, 0x1122334455667788U);
    expect<HaltExit>(machine.run());
  }
}

TEST_P(MsrTest, OthersStayInside) {
  DOPPEL_NEEDS(capabilities().msr_filter, "no MSR filter");
  TestMachine machine(accelerator());
  const std::uint32_t watched[] = {kLstar};
  ASSERT_TRUE(machine.vm().exit_on_msrs(watched, false));
  machine.start(Mode::kLong64, kRdmsr, {{x86::kRcx, kLstar + 1}});
  expect<HaltExit>(machine.run());
  ASSERT_TRUE(machine.vm().exit_on_msrs({}, false));
  machine.start(Mode::kLong64, kRdmsr, {{x86::kRcx, kLstar}});
  expect<HaltExit>(machine.run());
}

TEST_P(MsrTest, FaultRaisesGeneralProtection) {
  DOPPEL_NEEDS(capabilities().msr_filter, "no MSR filter");
  TestMachine machine(accelerator());
  const std::uint32_t watched[] = {kLstar};
  ASSERT_TRUE(machine.vm().exit_on_msrs(watched, false));
  machine.handle(Mode::kLong64, 13, {0x58, 0xe6, 0x99});  // pop rax (the error code); out 0x99, al
  for (const Code& code : {kRdmsr, kWrmsr}) {
    machine.start(Mode::kLong64, code, {{x86::kRcx, kLstar}});
    const auto exit = expect<MsrExit>(machine.run());
    ASSERT_NE(exit.fault, nullptr);
    *exit.fault = 1;
    EXPECT_EQ(expect<IoExit>(machine.run()).port, 0x99);
  }
}

TEST_P(MsrTest, UnknownOnesComeOutOnRequest) {
  DOPPEL_NEEDS(capabilities().msr_exits, "no MSR exits");
  TestMachine machine(accelerator());
  machine.handle(Mode::kLong64, 13, {0xe6, 0x99});  // out 0x99, al
  machine.start(Mode::kLong64, kRdmsr, {{x86::kRcx, kUnknownMsr}});
  EXPECT_EQ(expect<IoExit>(machine.run()).port, 0x99);
  ASSERT_TRUE(machine.vm().exit_on_msrs({}, true));
  machine.start(Mode::kLong64, kRdmsr, {{x86::kRcx, kUnknownMsr}});
  EXPECT_EQ(expect<MsrExit>(machine.run()).index, kUnknownMsr);
}

TEST_P(MsrTest, StateReadsAndWritesThem) {
  TestMachine machine(accelerator());
  x86::CpuState state;
  state.msrs = {{kSysenterCs, 0x18}, {kLstar, 0xffffffff81000000}};
  ASSERT_TRUE(machine.vcpu().set_state(state, x86::StateParts::kMsrs));
  state = machine.state(x86::StateParts::kMsrs);
  EXPECT_TRUE(std::ranges::is_sorted(state.msrs, {}, &x86::Msr::index));
  EXPECT_NE(std::ranges::find(state.msrs, x86::Msr{kSysenterCs, 0x18}), state.msrs.end());
  EXPECT_NE(std::ranges::find(state.msrs, x86::Msr{kLstar, 0xffffffff81000000}), state.msrs.end());
  for (const x86::Msr& msr : state.msrs)
    EXPECT_NE(std::ranges::find(accelerator().saved_msrs(), msr.index), accelerator().saved_msrs().end());
}

TEST_P(MsrTest, ARefusedValueIsReportedAndTheRestIsSet) {
  TestMachine machine(accelerator());
  x86::CpuState state;
  state.msrs = {{kSysenterCs, 0x28},
                {kLstar - 1, 0x1234},
                {kLstar, 0x1234567890abcdef /* not canonical */},
                {kLstar + 1, 0x5000}};
  const auto result = machine.vcpu().set_state(state, x86::StateParts::kMsrs);
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message().find("0xc0000082"), std::string::npos) << result.error().message();
  state = machine.state(x86::StateParts::kMsrs);
  EXPECT_NE(std::ranges::find(state.msrs, x86::Msr{kLstar + 1, 0x5000}), state.msrs.end());
}

TEST_P(CpuidTest, GuestSeesTheTable) {
  DOPPEL_NEEDS(traits().exact_cpuid, "the accelerator adds features of its own");
  TestMachine machine(accelerator());
  const auto vcpu = machine.vm().create_vcpu(1);
  ASSERT_TRUE(vcpu);
  x86::CpuidTable table = *machine.vcpu().get_cpuid();
  for (x86::CpuidEntry& entry : table)
    if (entry.leaf == 1) entry.ecx &= ~1U;  // SSE3
  ASSERT_TRUE((*vcpu)->set_cpuid(table));
  machine.memory().write_bytes(tiny::kCode, Code{0x0f, 0xa2, 0xf4});  // cpuid; hlt
  x86::CpuState state;
  ASSERT_TRUE((*vcpu)->get_state(state, x86::StateParts::kSystem));
  tiny::set_start_state(state, Mode::kLong64, tiny::kCode);
  state.gpr[x86::kRax] = 1;
  ASSERT_TRUE((*vcpu)->set_state(state, x86::StateParts::kRegisters | x86::StateParts::kSystem));
  expect<HaltExit>(*(*vcpu)->run());
  ASSERT_TRUE((*vcpu)->get_state(state, x86::StateParts::kRegisters));
  EXPECT_EQ(state.gpr[x86::kRcx] & 1, 0U);
}

TEST_P(CpuidTest, VendorAndBrandComeFromTheTable) {
  TestMachine machine(accelerator());
  const auto vcpu = machine.vm().create_vcpu(1);
  ASSERT_TRUE(vcpu);
  x86::CpuidTable table = *accelerator().supported_cpuid();
  ASSERT_FALSE(table.empty());
  for (x86::CpuidEntry& entry : table)
    if (entry.leaf == 0) entry.ebx = entry.ecx = entry.edx = 0x70706f44;  // "Dopp"
  ASSERT_TRUE((*vcpu)->set_cpuid(table));
  const auto seen = (*vcpu)->get_cpuid();
  ASSERT_TRUE(seen);
  const auto leaf = std::ranges::find(*seen, 0U, &x86::CpuidEntry::leaf);
  ASSERT_NE(leaf, seen->end());
  EXPECT_EQ(leaf->ebx, 0x70706f44U);
  machine.memory().write_bytes(tiny::kCode, Code{0x0f, 0xa2, 0xf4});  // cpuid; hlt
  ASSERT_TRUE(tiny::start(**vcpu, Mode::kLong64));
  expect<HaltExit>(*(*vcpu)->run());
  x86::CpuState state;
  ASSERT_TRUE((*vcpu)->get_state(state, x86::StateParts::kRegisters));
  EXPECT_EQ(state.gpr[x86::kRbx], 0x70706f44U);
}

TEST_P(CpuidTest, TooLargeATableIsRefused) {
  TestMachine machine(accelerator());
  EXPECT_FALSE(machine.vcpu().set_cpuid(x86::CpuidTable(10000)));
}

TEST_P(CpuidTest, TimeStampCounterCanBeSet) {
  DOPPEL_NEEDS(traits().tsc_offset, "the guest's time stamp counter is the host's");
  TestMachine machine(accelerator());
  x86::CpuState state;
  state.msrs = {{0x10, std::uint64_t{1} << 50}};
  ASSERT_TRUE(machine.vcpu().set_state(state, x86::StateParts::kMsrs));
  machine.start(Mode::kLong64, {0x0f, 0x31, 0xf4});  // rdtsc; hlt
  expect<HaltExit>(machine.run());
  EXPECT_GE(machine.state().gpr[x86::kRdx], std::uint64_t{1} << 18);
}

DOPPEL_CONTRACT_SUITE(MsrTest);
DOPPEL_CONTRACT_SUITE(CpuidTest);

}  // namespace
}  // namespace doppel::test
