// Accesses to guest-physical addresses that no memory slot backs.
#include <algorithm>

#include "base/endian.h"
#include "tests/contract/contract.h"

namespace doppel::test {
namespace {

using MmioTest = ContractTest;
using Access = ByteDevice::Access;

constexpr std::uint64_t kDevice = 0xd0000000;
constexpr std::uint64_t kValue = 0x8877665544332211;

struct Row {
  Mode mode;
  unsigned size;
  Code code;
};

// mov [edi/rdi], al/ax/eax/rax; hlt
const std::vector<Row> kStores = {
    {Mode::kProtected32, 1, {0x88, 0x07, 0xf4}},  {Mode::kProtected32, 2, {0x66, 0x89, 0x07, 0xf4}},
    {Mode::kProtected32, 4, {0x89, 0x07, 0xf4}},  {Mode::kLong64, 1, {0x88, 0x07, 0xf4}},
    {Mode::kLong64, 2, {0x66, 0x89, 0x07, 0xf4}}, {Mode::kLong64, 4, {0x89, 0x07, 0xf4}},
    {Mode::kLong64, 8, {0x48, 0x89, 0x07, 0xf4}},
};

// mov al/ax/eax/rax, [edi/rdi]; hlt
const std::vector<Row> kLoads = {
    {Mode::kProtected32, 1, {0x8a, 0x07, 0xf4}},  {Mode::kProtected32, 2, {0x66, 0x8b, 0x07, 0xf4}},
    {Mode::kProtected32, 4, {0x8b, 0x07, 0xf4}},  {Mode::kLong64, 1, {0x8a, 0x07, 0xf4}},
    {Mode::kLong64, 2, {0x66, 0x8b, 0x07, 0xf4}}, {Mode::kLong64, 4, {0x8b, 0x07, 0xf4}},
    {Mode::kLong64, 8, {0x48, 0x8b, 0x07, 0xf4}},
};

std::uint64_t low(std::uint64_t value, unsigned size) {
  return load_le_sized(&value, size);
}

TEST_P(MmioTest, StoresOfEverySize) {
  TestMachine machine(accelerator());
  for (const Row& row : kStores) {
    SCOPED_TRACE(row.size);
    ByteDevice device(kDevice);
    machine.start(row.mode, row.code, {{x86::kRax, kValue}, {x86::kRdi, kDevice}});
    expect<HaltExit>(device.serve(machine));
    EXPECT_EQ(device.accesses(), (std::vector<Access>{{kDevice, row.size, true}}));
    EXPECT_EQ(device.read(kDevice, 8), low(kValue, row.size));
  }
}

TEST_P(MmioTest, LoadsOfEverySize) {
  TestMachine machine(accelerator());
  for (const Row& row : kLoads) {
    SCOPED_TRACE(row.size);
    ByteDevice device(kDevice);
    device.write(kDevice, 8, kValue);
    machine.start(row.mode, row.code, {{x86::kRdi, kDevice}});
    expect<HaltExit>(device.serve(machine));
    EXPECT_EQ(device.accesses(), (std::vector<Access>{{kDevice, row.size, false}}));
    EXPECT_EQ(machine.state().gpr[x86::kRax], low(kValue, row.size));
  }
}

TEST_P(MmioTest, RealMode) {
  constexpr std::uint64_t kRealDevice = 0x20000;
  TestMachine machine(accelerator());
  ByteDevice device(kRealDevice);
  device.write(kRealDevice + 0x10, 2, 0xbeef);
  // mov bx, 0x2000; mov ds, bx; mov ax, [0x10]; mov [0x20], ax; hlt
  machine.start(Mode::kReal16, {0xbb, 0x00, 0x20, 0x8e, 0xdb, 0xa1, 0x10, 0x00, 0xa3, 0x20, 0x00, 0xf4});
  expect<HaltExit>(device.serve(machine));
  EXPECT_EQ(device.read(kRealDevice + 0x20, 2), 0xbeefU);
  EXPECT_EQ(device.accesses(), (std::vector<Access>{{kRealDevice + 0x10, 2, false}, {kRealDevice + 0x20, 2, true}}));
}

TEST_P(MmioTest, UserMode) {
  TestMachine machine(accelerator());
  ByteDevice device(kDevice);
  // mov [rdi], rax; mov rbx, [rdi]; jmp to an unmapped page, which ends the guest
  machine.start(Mode::kUser64, {0x48, 0x89, 0x07, 0x48, 0x8b, 0x1f, 0xf4}, {{x86::kRax, kValue}, {x86::kRdi, kDevice}});
  expect<ShutdownExit>(device.serve(machine));  // hlt is not for user mode, and there is no handler
  EXPECT_EQ(device.read(kDevice, 8), kValue);
  EXPECT_EQ(device.accesses().size(), 2U);
}

TEST_P(MmioTest, UnalignedAndPageCrossing) {
  TestMachine machine(accelerator());
  for (const std::uint64_t offset : {1U, 3U, 5U, 7U, 0xffdU, 0xffeU, 0xfffU, 0xff9U}) {
    SCOPED_TRACE(offset);
    ByteDevice device(kDevice);
    // mov [rdi], rax; mov rbx, [rdi]; hlt
    machine.start(Mode::kLong64, {0x48, 0x89, 0x07, 0x48, 0x8b, 0x1f, 0xf4},
                  {{x86::kRax, kValue}, {x86::kRdi, kDevice + offset}});
    expect<HaltExit>(device.serve(machine));
    EXPECT_EQ(device.read(kDevice + offset, 8), kValue);
    EXPECT_EQ(device.read(kDevice + offset - 1, 1), 0U);
    EXPECT_EQ(device.read(kDevice + offset + 8, 1), 0U);
    EXPECT_EQ(machine.state().gpr[x86::kRbx], kValue);
  }
}

TEST_P(MmioTest, CompleteExitInTheMiddleOfAPageCrossingRead) {
  TestMachine machine(accelerator());
  ByteDevice device(kDevice);
  device.write(kDevice + 0xffc, 8, kValue);
  machine.start(Mode::kLong64, {0x48, 0x8b, 0x07, 0xf4}, {{x86::kRdi, kDevice + 0xffc}});  // mov rax, [rdi]; hlt
  VcpuExit exit = machine.run();
  bool completed = false;
  while (const auto* mmio = std::get_if<MmioExit>(&exit)) {
    store_le_sized(mmio->data.data(), mmio->data.size(), device.read(mmio->address.value, mmio->data.size()));
    completed = machine.vcpu().complete_exit().has_value();
    if (completed) {
      EXPECT_EQ(machine.state().gpr[x86::kRax], kValue);
    }
    exit = machine.run();
  }
  EXPECT_TRUE(completed);
  expect<HaltExit>(exit);
  EXPECT_EQ(machine.state().gpr[x86::kRax], kValue);
}

TEST_P(MmioTest, AcrossTheEndOfMemory) {
  constexpr std::uint64_t kAddress = tiny::kMemorySize - 4;
  TestMachine machine(accelerator());
  ByteDevice device(tiny::kMemorySize);
  // mov [rdi], rax; mov rbx, [rdi]; hlt
  machine.start(Mode::kLong64, {0x48, 0x89, 0x07, 0x48, 0x8b, 0x1f, 0xf4},
                {{x86::kRax, kValue}, {x86::kRdi, kAddress}});
  expect<HaltExit>(device.serve(machine));
  EXPECT_EQ(machine.memory().read<std::uint32_t>(kAddress), 0x44332211U);
  EXPECT_EQ(device.read(tiny::kMemorySize, 4), 0x88776655U);
  EXPECT_EQ(machine.state().gpr[x86::kRbx], kValue);
}

struct ModifyRow {
  const char* name;
  Code code;
  std::uint64_t before, after;
};

// With rax = 5 (and the flags' and rbx's start at 0), on a dword at [rdi]; hlt follows.
const std::vector<ModifyRow> kModify = {
    {"add [rdi], eax", {0x01, 0x07, 0xf4}, 10, 15},
    {"inc dword [rdi]", {0xff, 0x07, 0xf4}, 0xffffffff, 0},
    {"neg dword [rdi]", {0xf7, 0x1f, 0xf4}, 1, 0xffffffff},
    {"shl dword [rdi], 4", {0xc1, 0x27, 0x04, 0xf4}, 0x11, 0x110},
    {"bts dword [rdi], 7", {0x0f, 0xba, 0x2f, 0x07, 0xf4}, 1, 0x81},
    {"xchg [rdi], eax", {0x87, 0x07, 0xf4}, 9, 5},
    {"lock add [rdi], eax", {0xf0, 0x01, 0x07, 0xf4}, 10, 15},
    {"lock xadd [rdi], eax", {0xf0, 0x0f, 0xc1, 0x07, 0xf4}, 7, 12},
    {"lock cmpxchg [rdi], ebx", {0xf0, 0x0f, 0xb1, 0x1f, 0xf4}, 5, 0},
};

TEST_P(MmioTest, ReadModifyWrite) {
  TestMachine machine(accelerator());
  for (const ModifyRow& row : kModify) {
    SCOPED_TRACE(row.name);
    ByteDevice device(kDevice);
    device.write(kDevice, 4, row.before);
    machine.start(Mode::kLong64, row.code, {{x86::kRax, 5}, {x86::kRdi, kDevice}});
    expect<HaltExit>(device.serve(machine));
    EXPECT_EQ(device.read(kDevice, 4), row.after);
    EXPECT_EQ(device.accesses(), (std::vector<Access>{{kDevice, 4, false}, {kDevice, 4, true}}));
  }
}

TEST_P(MmioTest, StringInstructions) {
  TestMachine machine(accelerator());
  ByteDevice device(kDevice);
  for (unsigned i = 0; i < 8; ++i) machine.memory().write<std::uint32_t>(tiny::kData + 4 * i, 0x1000 + i);
  // rep movsd from memory to the device; then back, to another place; hlt
  //   mov ecx, 8; rep movsd; mov esi, 0xd0000000; mov edi, 0x9000; mov ecx, 8; rep movsd; hlt
  machine.start(Mode::kLong64, {0xb9, 0x08, 0x00, 0x00, 0x00, 0xf3, 0xa5, 0xbe, 0x00, 0x00, 0x00, 0xd0, 0xbf,
                                0x00, 0x90, 0x00, 0x00, 0xb9, 0x08, 0x00, 0x00, 0x00, 0xf3, 0xa5, 0xf4},
                {{x86::kRsi, tiny::kData}, {x86::kRdi, kDevice}});
  expect<HaltExit>(device.serve(machine));
  for (unsigned i = 0; i < 8; ++i) {
    EXPECT_EQ(device.read(kDevice + 4 * i, 4), 0x1000 + i);
    EXPECT_EQ(machine.memory().read<std::uint32_t>(0x9000 + 4 * i), 0x1000 + i);
  }
}

TEST_P(MmioTest, StackOperands) {
  TestMachine machine(accelerator());
  ByteDevice device(kDevice);
  device.write(kDevice, 8, kValue);
  // push qword [rdi]; pop qword [rdi+8]; hlt
  machine.start(Mode::kLong64, {0xff, 0x37, 0x8f, 0x47, 0x08, 0xf4}, {{x86::kRdi, kDevice}});
  expect<HaltExit>(device.serve(machine));
  EXPECT_EQ(device.read(kDevice + 8, 8), kValue);
}

TEST_P(MmioTest, SixteenByteAccess) {
  TestMachine machine(accelerator());
  ByteDevice device(kDevice);
  device.write(kDevice, 8, kValue);
  device.write(kDevice + 8, 8, ~kValue);
  // movups xmm0, [rdi]; movups [rdi+16], xmm0; hlt
  machine.start(Mode::kLong64, {0x0f, 0x10, 0x07, 0x0f, 0x11, 0x47, 0x10, 0xf4}, {{x86::kRdi, kDevice}});
  expect<HaltExit>(device.serve(machine));
  EXPECT_EQ(device.read(kDevice + 16, 8), kValue);
  EXPECT_EQ(device.read(kDevice + 24, 8), ~kValue);
}

DOPPEL_CONTRACT_SUITE(MmioTest);

}  // namespace
}  // namespace doppel::test
