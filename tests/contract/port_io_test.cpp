// IN, OUT and their string forms, in every mode and size.
#include <algorithm>

#include "base/endian.h"
#include "tests/contract/contract.h"

namespace doppel::test {
namespace {

using PortIoTest = ContractTest;

constexpr std::uint16_t kPort = 0x1234;
constexpr std::uint64_t kRaxBefore = 0x1122334455667788;

/// One instruction's encoding in one mode; `hlt` follows it.
struct Row {
  Mode mode;
  unsigned size;
  Code code;
};

// out dx, al/ax/eax; hlt
const std::vector<Row> kOut = {
    {Mode::kReal16, 1, {0xee, 0xf4}},
    {Mode::kReal16, 2, {0xef, 0xf4}},
    {Mode::kReal16, 4, {0x66, 0xef, 0xf4}},
    {Mode::kProtected32, 1, {0xee, 0xf4}},
    {Mode::kProtected32, 2, {0x66, 0xef, 0xf4}},
    {Mode::kProtected32, 4, {0xef, 0xf4}},
    {Mode::kLong64, 1, {0xee, 0xf4}},
    {Mode::kLong64, 2, {0x66, 0xef, 0xf4}},
    {Mode::kLong64, 4, {0xef, 0xf4}},
};

// in al/ax/eax, dx; hlt
const std::vector<Row> kIn = {
    {Mode::kReal16, 1, {0xec, 0xf4}},
    {Mode::kReal16, 2, {0xed, 0xf4}},
    {Mode::kReal16, 4, {0x66, 0xed, 0xf4}},
    {Mode::kProtected32, 1, {0xec, 0xf4}},
    {Mode::kProtected32, 2, {0x66, 0xed, 0xf4}},
    {Mode::kProtected32, 4, {0xed, 0xf4}},
    {Mode::kLong64, 1, {0xec, 0xf4}},
    {Mode::kLong64, 2, {0x66, 0xed, 0xf4}},
    {Mode::kLong64, 4, {0xed, 0xf4}},
};

// rep outsb/outsw/outsd; hlt
const std::vector<Row> kRepOuts = {
    {Mode::kReal16, 1, {0xf3, 0x6e, 0xf4}},
    {Mode::kReal16, 2, {0xf3, 0x6f, 0xf4}},
    {Mode::kReal16, 4, {0xf3, 0x66, 0x6f, 0xf4}},
    {Mode::kProtected32, 1, {0xf3, 0x6e, 0xf4}},
    {Mode::kProtected32, 2, {0xf3, 0x66, 0x6f, 0xf4}},
    {Mode::kProtected32, 4, {0xf3, 0x6f, 0xf4}},
    {Mode::kLong64, 1, {0xf3, 0x6e, 0xf4}},
    {Mode::kLong64, 2, {0xf3, 0x66, 0x6f, 0xf4}},
    {Mode::kLong64, 4, {0xf3, 0x6f, 0xf4}},
};

// rep insb/insw/insd; hlt
const std::vector<Row> kRepIns = {
    {Mode::kReal16, 1, {0xf3, 0x6c, 0xf4}},
    {Mode::kReal16, 2, {0xf3, 0x6d, 0xf4}},
    {Mode::kReal16, 4, {0xf3, 0x66, 0x6d, 0xf4}},
    {Mode::kProtected32, 1, {0xf3, 0x6c, 0xf4}},
    {Mode::kProtected32, 2, {0xf3, 0x66, 0x6d, 0xf4}},
    {Mode::kProtected32, 4, {0xf3, 0x6d, 0xf4}},
    {Mode::kLong64, 1, {0xf3, 0x6c, 0xf4}},
    {Mode::kLong64, 2, {0xf3, 0x66, 0x6d, 0xf4}},
    {Mode::kLong64, 4, {0xf3, 0x6d, 0xf4}},
};

std::string name(const Row& row) {
  return "mode " + std::to_string(static_cast<int>(row.mode)) + " size " + std::to_string(row.size);
}

std::uint64_t low(std::uint64_t value, unsigned size) {
  return load_le_sized(&value, size);
}

TEST_P(PortIoTest, OutOfEverySize) {
  TestMachine machine(accelerator());
  for (const Row& row : kOut) {
    SCOPED_TRACE(name(row));
    machine.start(row.mode, row.code, {{x86::kRax, kRaxBefore}, {x86::kRdx, kPort}});
    const auto exit = expect<IoExit>(machine.run());
    EXPECT_EQ(exit.port, kPort);
    EXPECT_EQ(exit.direction, IoDirection::kOut);
    EXPECT_EQ(exit.size, row.size);
    EXPECT_EQ(exit.count, 1U);
    ASSERT_EQ(exit.data.size(), row.size);
    EXPECT_EQ(load_le_sized(exit.data.data(), row.size), low(kRaxBefore, row.size));
    expect<HaltExit>(machine.run());
    EXPECT_EQ(machine.state().rip, tiny::kCode + row.code.size());
  }
}

TEST_P(PortIoTest, InOfEverySizeKeepsTheRestOfRax) {
  TestMachine machine(accelerator());
  for (const Row& row : kIn) {
    SCOPED_TRACE(name(row));
    machine.start(row.mode, row.code, {{x86::kRax, kRaxBefore}, {x86::kRdx, kPort}});
    const auto exit = expect<IoExit>(machine.run());
    EXPECT_EQ(exit.port, kPort);
    EXPECT_EQ(exit.direction, IoDirection::kIn);
    EXPECT_EQ(exit.size, row.size);
    ASSERT_EQ(exit.data.size(), row.size);
    store_le_sized(exit.data.data(), row.size, 0xdeadbeef);
    expect<HaltExit>(machine.run());
    const std::uint64_t rax = machine.state().gpr[x86::kRax];
    EXPECT_EQ(low(rax, row.size), low(0xdeadbeef, row.size));
    if (row.size < 4) {
      EXPECT_EQ(low(rax, 4) >> (8 * row.size), low(kRaxBefore, 4) >> (8 * row.size));
    }
    if (row.size == 4 && row.mode == Mode::kLong64) {
      EXPECT_EQ(rax, 0xdeadbeefU);
    }
  }
}

TEST_P(PortIoTest, ImmediatePort) {
  TestMachine machine(accelerator());
  // out 0x80, al; in al, 0x81; hlt
  machine.start(Mode::kLong64, {0xe6, 0x80, 0xe4, 0x81, 0xf4});
  EXPECT_EQ(expect<IoExit>(machine.run()).port, 0x80);
  const auto in = expect<IoExit>(machine.run());
  EXPECT_EQ(in.port, 0x81);
  ASSERT_EQ(in.data.size(), 1U);
  in.data[0] = std::byte{0x42};
  expect<HaltExit>(machine.run());
  EXPECT_EQ(machine.state().gpr[x86::kRax], 0x42U);
}

TEST_P(PortIoTest, UserModeWithIoPrivilege) {
  DOPPEL_NEEDS(traits().user_mode_port_io, "IN and OUT do not work at CPL 3");
  TestMachine machine(accelerator());
  machine.start(Mode::kUser64, {0xe6, 0x80});  // out 0x80, al
  EXPECT_EQ(expect<IoExit>(machine.run()).port, 0x80);
}

TEST_P(PortIoTest, RepOutsHandsOutAllElementsInOrder) {
  constexpr unsigned kCount = 37;
  TestMachine machine(accelerator());
  for (unsigned i = 0; i < 4 * kCount; ++i)
    machine.memory().write<std::uint8_t>(tiny::kData + i, static_cast<std::uint8_t>(i * 7));
  for (const Row& row : kRepOuts) {
    SCOPED_TRACE(name(row));
    machine.start(row.mode, row.code, {{x86::kRcx, kCount}, {x86::kRdx, kPort}, {x86::kRsi, tiny::kData}});
    std::vector<std::byte> seen;
    VcpuExit exit = machine.run();
    for (; std::holds_alternative<IoExit>(exit); exit = machine.run()) {
      const IoExit& io = std::get<IoExit>(exit);
      ASSERT_EQ(io.data.size(), std::size_t{io.size} * io.count);
      EXPECT_EQ(io.size, row.size);
      EXPECT_EQ(io.direction, IoDirection::kOut);
      seen.insert(seen.end(), io.data.begin(), io.data.end());
    }
    expect<HaltExit>(exit);
    ASSERT_EQ(seen.size(), std::size_t{kCount} * row.size);
    EXPECT_TRUE(std::ranges::equal(seen, machine.memory().bytes().subspan(tiny::kData, seen.size())));
    const x86::CpuState state = machine.state();
    EXPECT_EQ(state.gpr[x86::kRcx], 0U);
    EXPECT_EQ(state.gpr[x86::kRsi], tiny::kData + seen.size());
  }
}

TEST_P(PortIoTest, RepInsStoresAllElementsInOrder) {
  constexpr unsigned kCount = 37;
  TestMachine machine(accelerator());
  for (const Row& row : kRepIns) {
    SCOPED_TRACE(name(row));
    std::ranges::fill(machine.memory().bytes().subspan(tiny::kData, 0x200), std::byte{0});
    machine.start(row.mode, row.code, {{x86::kRcx, kCount}, {x86::kRdx, kPort}, {x86::kRdi, tiny::kData}});
    std::uint8_t next = 1;
    VcpuExit exit = machine.run();
    for (; std::holds_alternative<IoExit>(exit); exit = machine.run()) {
      const IoExit& io = std::get<IoExit>(exit);
      EXPECT_EQ(io.direction, IoDirection::kIn);
      for (std::byte& byte : io.data) byte = std::byte{next++};
    }
    expect<HaltExit>(exit);
    const std::size_t total = std::size_t{kCount} * row.size;
    EXPECT_EQ(next, static_cast<std::uint8_t>(1 + total));
    for (std::size_t i = 0; i < total; ++i)
      ASSERT_EQ(machine.memory().read<std::uint8_t>(tiny::kData + i), static_cast<std::uint8_t>(1 + i)) << i;
    EXPECT_EQ(machine.memory().read<std::uint8_t>(tiny::kData + total), 0);
    EXPECT_EQ(machine.state().gpr[x86::kRdi], tiny::kData + total);
  }
}

TEST_P(PortIoTest, RepOutsBackwards) {
  TestMachine machine(accelerator());
  machine.memory().write<std::uint32_t>(tiny::kData, 0x44332211);
  // std; rep outsb; cld; hlt
  machine.start(Mode::kLong64, {0xfd, 0xf3, 0x6e, 0xfc, 0xf4},
                {{x86::kRcx, 4}, {x86::kRdx, kPort}, {x86::kRsi, tiny::kData + 3}});
  std::vector<std::uint8_t> seen;
  VcpuExit exit = machine.run();
  for (; std::holds_alternative<IoExit>(exit); exit = machine.run())
    for (const std::byte byte : std::get<IoExit>(exit).data) seen.push_back(std::to_integer<std::uint8_t>(byte));
  expect<HaltExit>(exit);
  EXPECT_EQ(seen, (std::vector<std::uint8_t>{0x44, 0x33, 0x22, 0x11}));
}

TEST_P(PortIoTest, NothingHappensWithACountOfZero) {
  TestMachine machine(accelerator());
  machine.start(Mode::kLong64, {0xf3, 0x6e, 0xf3, 0x6c, 0xf4}, {{x86::kRdx, kPort}});  // rep outsb; rep insb; hlt
  expect<HaltExit>(machine.run());
}

TEST_P(PortIoTest, CompleteExitFinishesAReadWithoutRunningOn) {
  TestMachine machine(accelerator());
  // in al, 0x80; inc ebx; hlt
  machine.start(Mode::kLong64, {0xe4, 0x80, 0xff, 0xc3, 0xf4});
  const auto exit = expect<IoExit>(machine.run());
  ASSERT_EQ(exit.data.size(), 1U);
  exit.data[0] = std::byte{0x5a};
  ASSERT_TRUE(machine.vcpu().complete_exit());
  const x86::CpuState state = machine.state();
  EXPECT_EQ(state.rip, tiny::kCode + 2);
  EXPECT_EQ(state.gpr[x86::kRax], 0x5aU);
  EXPECT_EQ(state.gpr[x86::kRbx], 0U);
  ASSERT_TRUE(machine.vcpu().complete_exit());  // again: nothing left to do
  expect<HaltExit>(machine.run());
  EXPECT_EQ(machine.state().gpr[x86::kRbx], 1U);
}

TEST_P(PortIoTest, CompleteExitOfAStringLosesNoElement) {
  TestMachine machine(accelerator());
  machine.memory().write<std::uint32_t>(tiny::kData, 0x44332211);
  // rep outsb; hlt
  machine.start(Mode::kLong64, {0xf3, 0x6e, 0xf4}, {{x86::kRcx, 4}, {x86::kRdx, kPort}, {x86::kRsi, tiny::kData}});
  std::vector<std::byte> seen;
  VcpuExit exit = machine.run();
  while (const auto* io = std::get_if<IoExit>(&exit)) {
    seen.insert(seen.end(), io->data.begin(), io->data.end());
    const auto completed = machine.vcpu().complete_exit();
    if (completed) {
      EXPECT_EQ(machine.state().gpr[x86::kRcx], 4 - seen.size());
    } else {
      EXPECT_EQ(completed.error().kind(), ErrorKind::kBusy) << completed.error().describe();
    }
    exit = machine.run();
  }
  expect<HaltExit>(exit);
  EXPECT_EQ(seen.size(), 4U);
}

TEST_P(PortIoTest, RegistersMayBeChangedWhileTheExitIsHandled) {
  TestMachine machine(accelerator());
  machine.start(Mode::kLong64, {0xe6, 0x80, 0xf4});  // out 0x80, al; hlt
  for (int i = 0; i < 3; ++i) {
    expect<IoExit>(machine.run());
    x86::CpuState state = machine.state();
    state.gpr[x86::kRbx] = 0x1234567890 + static_cast<std::uint64_t>(i);
    ASSERT_TRUE(machine.vcpu().set_state(state, x86::StateParts::kRegisters));
    expect<HaltExit>(machine.run());
    state = machine.state();
    EXPECT_EQ(state.gpr[x86::kRbx], 0x1234567890U + static_cast<std::uint64_t>(i));
    state.rip = tiny::kCode;
    ASSERT_TRUE(machine.vcpu().set_state(state, x86::StateParts::kRegisters));
  }
}

DOPPEL_CONTRACT_SUITE(PortIoTest);

}  // namespace
}  // namespace doppel::test
