// ioeventfds, and writes that may arrive late.
#include "base/endian.h"
#include "tests/contract/contract.h"

namespace doppel::test {
namespace {

using accel::IoEventSpec;

using DoorbellTest = ContractTest;
using CoalescedTest = ContractTest;

constexpr std::uint64_t kDevice = 0xd0000000;
constexpr std::uint16_t kPort = 0x1234;

IoEventSpec port_bell(unsigned size, std::optional<std::uint64_t> value = {}) {
  return {.address = {kPort}, .is_port = true, .size = size, .value = value};
}
IoEventSpec memory_bell(unsigned size, std::optional<std::uint64_t> value = {}) {
  return {.address = {kDevice}, .is_port = false, .size = size, .value = value};
}

/// out dx, al/ax/eax, or mov [rdi], al/ax/eax/rax; then hlt.
Code store(bool is_port, unsigned size) {
  switch (size) {
    case 1: return is_port ? Code{0xee, 0xf4} : Code{0x88, 0x07, 0xf4};
    case 2: return is_port ? Code{0x66, 0xef, 0xf4} : Code{0x66, 0x89, 0x07, 0xf4};
    case 4: return is_port ? Code{0xef, 0xf4} : Code{0x89, 0x07, 0xf4};
    default: return {0x48, 0x89, 0x07, 0xf4};
  }
}

/// Does a write of SIZE bytes of VALUE ring (and not leave the guest)?
bool rings(TestMachine& machine, const event::EventFd& bell, bool is_port, unsigned size, std::uint64_t value) {
  machine.start(Mode::kLong64, store(is_port, size), {{x86::kRax, value}, {x86::kRdx, kPort}, {x86::kRdi, kDevice}});
  VcpuExit exit = machine.run();
  const bool left = !std::holds_alternative<HaltExit>(exit);
  if (left) exit = machine.run();
  expect<HaltExit>(exit);
  const bool rang = bell.drain() != 0;
  EXPECT_NE(rang, left);
  return rang;
}

TEST_P(DoorbellTest, OfOneSize) {
  DOPPEL_NEEDS(capabilities().ioeventfd, "no ioeventfds");
  TestMachine machine(accelerator());
  const auto bell = event::EventFd::create();
  for (const bool is_port : {true, false}) {
    const IoEventSpec spec = is_port ? port_bell(2) : memory_bell(2);
    ASSERT_TRUE(machine.vm().attach_ioeventfd(spec, *bell));
    EXPECT_FALSE(rings(machine, *bell, is_port, 1, 7));
    EXPECT_TRUE(rings(machine, *bell, is_port, 2, 7));
    EXPECT_FALSE(rings(machine, *bell, is_port, 4, 7));
    ASSERT_TRUE(machine.vm().detach_ioeventfd(spec, *bell));
    EXPECT_FALSE(rings(machine, *bell, is_port, 2, 7));
  }
}

TEST_P(DoorbellTest, OfAnySize) {
  DOPPEL_NEEDS(capabilities().ioeventfd, "no ioeventfds");
  TestMachine machine(accelerator());
  const auto bell = event::EventFd::create();
  ASSERT_TRUE(machine.vm().attach_ioeventfd(memory_bell(0), *bell));
  for (const unsigned size : {1U, 2U, 4U, 8U}) EXPECT_TRUE(rings(machine, *bell, false, size, 1)) << size;
  ASSERT_TRUE(machine.vm().attach_ioeventfd(port_bell(0), *bell));
  for (const unsigned size : {1U, 2U, 4U}) EXPECT_TRUE(rings(machine, *bell, true, size, 1)) << size;
}

TEST_P(DoorbellTest, OfOneValue) {
  DOPPEL_NEEDS(capabilities().ioeventfd, "no ioeventfds");
  TestMachine machine(accelerator());
  const auto first = event::EventFd::create();
  const auto second = event::EventFd::create();
  for (const bool is_port : {true, false}) {
    const IoEventSpec spec1 = is_port ? port_bell(2, 1) : memory_bell(2, 1);
    const IoEventSpec spec2 = is_port ? port_bell(2, 2) : memory_bell(2, 2);
    ASSERT_TRUE(machine.vm().attach_ioeventfd(spec1, *first));
    ASSERT_TRUE(machine.vm().attach_ioeventfd(spec2, *second));
    EXPECT_TRUE(rings(machine, *first, is_port, 2, 1));
    EXPECT_EQ(second->drain(), 0U);
    EXPECT_TRUE(rings(machine, *second, is_port, 2, 2));
    EXPECT_EQ(first->drain(), 0U);
    EXPECT_FALSE(rings(machine, *first, is_port, 2, 3));
    ASSERT_TRUE(machine.vm().detach_ioeventfd(spec1, *first));
    EXPECT_FALSE(rings(machine, *first, is_port, 2, 1));
    EXPECT_TRUE(rings(machine, *second, is_port, 2, 2));
    ASSERT_TRUE(machine.vm().detach_ioeventfd(spec2, *second));
  }
}

TEST_P(DoorbellTest, TheSameTwiceIsAnError) {
  DOPPEL_NEEDS(capabilities().ioeventfd, "no ioeventfds");
  TestMachine machine(accelerator());
  const auto bell = event::EventFd::create();
  ASSERT_TRUE(machine.vm().attach_ioeventfd(port_bell(2), *bell));
  const auto again = machine.vm().attach_ioeventfd(port_bell(2), *bell);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().kind(), ErrorKind::kAlreadyExists);
  EXPECT_FALSE(machine.vm().detach_ioeventfd(port_bell(4), *bell));
}

TEST_P(DoorbellTest, ReadsStillComeOut) {
  DOPPEL_NEEDS(capabilities().ioeventfd, "no ioeventfds");
  TestMachine machine(accelerator());
  const auto bell = event::EventFd::create();
  ASSERT_TRUE(machine.vm().attach_ioeventfd(port_bell(1), *bell));
  machine.start(Mode::kLong64, {0xec, 0xf4}, {{x86::kRdx, kPort}});  // in al, dx; hlt
  EXPECT_EQ(expect<IoExit>(machine.run()).direction, IoDirection::kIn);
  EXPECT_EQ(bell->drain(), 0U);
}

struct Write {
  std::uint64_t address;
  bool is_port;
  std::uint64_t value;
  bool operator==(const Write&) const = default;
};

std::vector<Write> drain(TestMachine& machine) {
  std::vector<Write> writes;
  machine.vm().drain_coalesced([&](memory::GuestPhysAddr address, bool is_port, std::span<const std::byte> data) {
    writes.push_back({address.value, is_port, load_le_sized(data.data(), data.size())});
  });
  return writes;
}

TEST_P(CoalescedTest, WritesGatherInOrder) {
  DOPPEL_NEEDS(capabilities().coalesced_io, "no coalesced writes");
  TestMachine machine(accelerator());
  ASSERT_TRUE(machine.vm().coalesce({kDevice}, 0x1000, false));
  ASSERT_TRUE(machine.vm().coalesce({kPort}, 4, true));
  EXPECT_TRUE(drain(machine).empty());
  // mov [rdi], eax; out dx, al; mov [rdi+8], ax; inc edx; out dx, al; hlt
  machine.start(Mode::kLong64, {0x89, 0x07, 0xee, 0x66, 0x89, 0x47, 0x08, 0xff, 0xc2, 0xee, 0xf4},
                {{x86::kRax, 0x11223344}, {x86::kRdx, kPort}, {x86::kRdi, kDevice}});
  expect<HaltExit>(machine.run());
  EXPECT_EQ(
      drain(machine),
      (std::vector<Write>{
          {kDevice, false, 0x11223344}, {kPort, true, 0x44}, {kDevice + 8, false, 0x3344}, {kPort + 1, true, 0x44}}));
  EXPECT_TRUE(drain(machine).empty());
}

TEST_P(CoalescedTest, ReadsAndNeighboursComeOut) {
  DOPPEL_NEEDS(capabilities().coalesced_io, "no coalesced writes");
  TestMachine machine(accelerator());
  ASSERT_TRUE(machine.vm().coalesce({kDevice}, 0x1000, false));
  // mov [rdi], eax; mov [rdi+0x1000], eax; mov eax, [rdi]; hlt
  machine.start(Mode::kLong64, {0x89, 0x07, 0x89, 0x87, 0x00, 0x10, 0x00, 0x00, 0x8b, 0x07, 0xf4},
                {{x86::kRdi, kDevice}});
  EXPECT_EQ(expect<MmioExit>(machine.run()).address.value, kDevice + 0x1000);
  EXPECT_EQ(drain(machine).size(), 1U);
  EXPECT_EQ(expect<MmioExit>(machine.run()).direction, IoDirection::kIn);
}

TEST_P(CoalescedTest, NoWriteIsLostWhenTheRingIsFull) {
  DOPPEL_NEEDS(capabilities().coalesced_io, "no coalesced writes");
  constexpr std::uint64_t kCount = 1000;
  TestMachine machine(accelerator());
  ASSERT_TRUE(machine.vm().coalesce({kDevice}, 0x1000, false));
  // again: mov [rdi], ecx; dec ecx; jnz again; hlt
  machine.start(Mode::kLong64, {0x89, 0x0f, 0xff, 0xc9, 0x75, 0xfa, 0xf4}, {{x86::kRcx, kCount}, {x86::kRdi, kDevice}});
  std::vector<std::uint64_t> seen;
  unsigned exits = 0;
  for (bool done = false; !done;) {
    const VcpuExit exit = machine.run();
    for (const Write& write : drain(machine)) seen.push_back(write.value);
    if (const auto* mmio = std::get_if<MmioExit>(&exit)) {
      ++exits;
      seen.push_back(load_le_sized(mmio->data.data(), mmio->data.size()));
    } else {
      expect<HaltExit>(exit);
      done = true;
    }
  }
  ASSERT_EQ(seen.size(), kCount);
  for (std::uint64_t i = 0; i < kCount; ++i) ASSERT_EQ(seen[i], kCount - i);
  EXPECT_LT(exits, kCount / 10);
}

TEST_P(CoalescedTest, TakenBack) {
  DOPPEL_NEEDS(capabilities().coalesced_io, "no coalesced writes");
  TestMachine machine(accelerator());
  ASSERT_TRUE(machine.vm().coalesce({kDevice}, 0x1000, false));
  ASSERT_TRUE(machine.vm().uncoalesce({kDevice}, 0x1000, false));
  machine.start(Mode::kLong64, {0x89, 0x07, 0xf4}, {{x86::kRdi, kDevice}});  // mov [rdi], eax; hlt
  expect<MmioExit>(machine.run());
  EXPECT_TRUE(drain(machine).empty());
}

DOPPEL_CONTRACT_SUITE(DoorbellTest);
DOPPEL_CONTRACT_SUITE(CoalescedTest);

}  // namespace
}  // namespace doppel::test
