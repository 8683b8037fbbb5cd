// Memory slots and the dirty log.
#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <thread>

#include "tests/contract/contract.h"

namespace doppel::test {
namespace {

using accel::MemorySlot;
using accel::SlotFlags;
using memory::kPageSize;

using MemoryTest = ContractTest;

constexpr std::uint64_t kHigh = 0x40000000;  // far from slot 0

MemorySlot slot(unsigned number, std::uint64_t address, std::uint64_t size, std::byte* host,
                SlotFlags flags = SlotFlags::kNone) {
  return {.slot = number, .address = {address}, .size = size, .host = host, .flags = flags};
}

// mov [rdi], rax; mov rbx, [rsi]; hlt
const Code kStoreLoad = {0x48, 0x89, 0x07, 0x48, 0x8b, 0x1e, 0xf4};

TEST_P(MemoryTest, AddUseRemove) {
  TestMachine machine(accelerator());
  const HostMemory extra(4 * kPageSize);
  extra.write<std::uint64_t>(0x1008, 0xabcdef);
  const Registers registers = {{x86::kRax, 0x1234}, {x86::kRdi, kHigh + 0x2000}, {x86::kRsi, kHigh + 0x1008}};
  ASSERT_TRUE(machine.vm().set_memory_slot(slot(1, kHigh, extra.size(), extra.data())));
  machine.start(Mode::kLong64, kStoreLoad, registers);
  expect<HaltExit>(machine.run());
  EXPECT_EQ(extra.read<std::uint64_t>(0x2000), 0x1234U);
  EXPECT_EQ(machine.state().gpr[x86::kRbx], 0xabcdefU);

  ASSERT_TRUE(machine.vm().set_memory_slot(slot(1, kHigh, 0, extra.data())));
  machine.start(Mode::kLong64, kStoreLoad, registers);
  EXPECT_EQ(expect<MmioExit>(machine.run()).address.value, kHigh + 0x2000);
}

TEST_P(MemoryTest, Move) {
  TestMachine machine(accelerator());
  const HostMemory extra(kPageSize);
  ASSERT_TRUE(machine.vm().set_memory_slot(slot(1, kHigh, extra.size(), extra.data())));
  ASSERT_TRUE(machine.vm().set_memory_slot(slot(1, kHigh, 0, extra.data())));
  ASSERT_TRUE(machine.vm().set_memory_slot(slot(1, kHigh + kPageSize, extra.size(), extra.data())));
  machine.start(Mode::kLong64, kStoreLoad, {{x86::kRax, 77}, {x86::kRdi, kHigh + kPageSize}, {x86::kRsi, kHigh}});
  EXPECT_EQ(expect<MmioExit>(machine.run()).address.value, kHigh);
  EXPECT_EQ(extra.read<std::uint64_t>(0), 77U);
}

TEST_P(MemoryTest, OnePageAtTwoAddresses) {
  TestMachine machine(accelerator());
  const HostMemory extra(kPageSize);
  ASSERT_TRUE(machine.vm().set_memory_slot(slot(1, kHigh, extra.size(), extra.data())));
  ASSERT_TRUE(machine.vm().set_memory_slot(slot(2, kHigh + 0x10000, extra.size(), extra.data())));
  machine.start(Mode::kLong64, kStoreLoad, {{x86::kRax, 0x5555}, {x86::kRdi, kHigh + 8}, {x86::kRsi, kHigh + 0x10008}});
  expect<HaltExit>(machine.run());
  EXPECT_EQ(machine.state().gpr[x86::kRbx], 0x5555U);
}

TEST_P(MemoryTest, ReadOnlyStoresComeOutAndChangeNothing) {
  DOPPEL_NEEDS(capabilities().read_only_memory, "no read-only memory");
  TestMachine machine(accelerator());
  const HostMemory rom(kPageSize);
  rom.write<std::uint64_t>(0, 0x1111);
  ASSERT_TRUE(machine.vm().set_memory_slot(slot(1, kHigh, rom.size(), rom.data(), SlotFlags::kReadOnly)));
  machine.start(Mode::kLong64, kStoreLoad, {{x86::kRax, 0x2222}, {x86::kRdi, kHigh}, {x86::kRsi, kHigh}});
  const auto store = expect<MmioExit>(machine.run());
  EXPECT_EQ(store.direction, IoDirection::kOut);
  EXPECT_EQ(store.address.value, kHigh);
  ASSERT_EQ(store.data.size(), 8U);
  EXPECT_EQ(store.data[0], std::byte{0x22});
  expect<HaltExit>(machine.run());
  EXPECT_EQ(machine.state().gpr[x86::kRbx], 0x1111U);
  EXPECT_EQ(rom.read<std::uint64_t>(0), 0x1111U);
}

TEST_P(MemoryTest, ReadOnlyMemoryHoldsCode) {
  DOPPEL_NEEDS(capabilities().read_only_memory, "no read-only memory");
  TestMachine machine(accelerator());
  const HostMemory rom(kPageSize);
  rom.write<std::uint8_t>(0, 0xf4);  // hlt
  ASSERT_TRUE(machine.vm().set_memory_slot(slot(1, kHigh, rom.size(), rom.data(), SlotFlags::kReadOnly)));
  machine.start(Mode::kLong64, {0xff, 0xe7}, {{x86::kRdi, kHigh}});  // jmp rdi
  expect<HaltExit>(machine.run());
  EXPECT_EQ(machine.state().rip, kHigh + 1);
}

TEST_P(MemoryTest, HostSeesAndChangesTheSameBytes) {
  TestMachine machine(accelerator());
  // again: mov rbx, [rsi]; out 0x80, al; jmp again
  machine.start(Mode::kLong64, {0x48, 0x8b, 0x1e, 0xe6, 0x80, 0xeb, 0xf9}, {{x86::kRsi, tiny::kData}});
  for (const std::uint64_t value : {1U, 2U, 3U}) {
    machine.memory().write<std::uint64_t>(tiny::kData, value);
    expect<IoExit>(machine.run());
    EXPECT_EQ(machine.state().gpr[x86::kRbx], value);
  }
}

TEST_P(MemoryTest, Errors) {
  TestMachine machine(accelerator());
  const HostMemory extra(4 * kPageSize);
  ASSERT_TRUE(machine.vm().set_memory_slot(slot(1, kHigh, 2 * kPageSize, extra.data())));
  struct Bad {
    const char* what;
    MemorySlot slot;
    ErrorKind kind;
  };
  const Bad rows[] = {
      {"overlap", slot(2, kHigh + kPageSize, 2 * kPageSize, extra.data()), ErrorKind::kAlreadyExists},
      {"address within a page", slot(2, kHigh + 0x10800, kPageSize, extra.data()), ErrorKind::kInvalidArgument},
      {"size of half a page", slot(2, kHigh + 0x10000, 0x800, extra.data()), ErrorKind::kInvalidArgument},
      {"host within a page", slot(2, kHigh + 0x10000, kPageSize, extra.data() + 0x800), ErrorKind::kInvalidArgument},
      {"resize", slot(1, kHigh, kPageSize, extra.data()), ErrorKind::kInvalidArgument},
  };
  for (const Bad& row : rows) {
    const auto result = machine.vm().set_memory_slot(row.slot);
    ASSERT_FALSE(result) << row.what;
    EXPECT_EQ(result.error().kind(), row.kind) << row.what << ": " << result.error().describe();
  }
  EXPECT_FALSE(machine.vm().take_dirty_log(5));
}

TEST_P(MemoryTest, ManySlots) {
  constexpr unsigned kCount = 100;
  DOPPEL_NEEDS(capabilities().max_memory_slots > kCount, "few memory slots");
  TestMachine machine(accelerator());
  const HostMemory extra(kCount * kPageSize);
  for (unsigned i = 0; i < kCount; ++i)
    ASSERT_TRUE(
        machine.vm().set_memory_slot(slot(1 + i, kHigh + 2 * i * kPageSize, kPageSize, extra.data() + i * kPageSize)));
  // again: mov [rdi], ecx; add rdi, 0x2000; dec ecx; jnz again; hlt
  machine.start(Mode::kLong64, {0x89, 0x0f, 0x48, 0x81, 0xc7, 0x00, 0x20, 0x00, 0x00, 0xff, 0xc9, 0x75, 0xf3, 0xf4},
                {{x86::kRdi, kHigh}, {x86::kRcx, kCount}});
  expect<HaltExit>(machine.run());
  for (unsigned i = 0; i < kCount; ++i) EXPECT_EQ(extra.read<std::uint32_t>(i * kPageSize), kCount - i);
}

TEST_P(MemoryTest, RemovedUnderARunningGuest) {
  TestMachine machine(accelerator());
  const HostMemory extra(kPageSize);
  ASSERT_TRUE(machine.vm().set_memory_slot(slot(1, kHigh, kPageSize, extra.data())));
  // again: inc qword [rdi]; jmp again
  machine.start(Mode::kLong64, {0x48, 0xff, 0x07, 0xeb, 0xfb}, {{x86::kRdi, kHigh}});
  std::thread remover([&] {
    while (std::atomic_ref(*reinterpret_cast<std::uint64_t*>(extra.data())).load() < 1000) std::this_thread::yield();
    EXPECT_TRUE(machine.vm().set_memory_slot(slot(1, kHigh, 0, extra.data())));
  });
  EXPECT_EQ(expect<MmioExit>(machine.run()).address.value, kHigh);
  remover.join();
}

class DirtyLogTest : public ContractTest {
 protected:
  static constexpr std::uint64_t kPages = 200;

  /// The numbers of the pages that the log has.
  static std::vector<std::uint64_t> take(TestMachine& machine, unsigned slot_number = 1) {
    const auto words = machine.vm().take_dirty_log(slot_number);
    EXPECT_TRUE(words) << words.error().describe();
    std::vector<std::uint64_t> pages;
    if (!words) return pages;
    for (std::uint64_t page = 0; page < words->size() * 64; ++page)
      if (((*words)[page / 64] >> (page % 64) & 1) != 0) pages.push_back(page);
    return pages;
  }

  /// Lets the guest write one byte into each page.
  static void touch(TestMachine& machine, const std::vector<std::uint64_t>& pages, Mode mode = Mode::kLong64) {
    for (const std::uint64_t page : pages) {
      // mov [rdi], al; out 0x80, al
      machine.start(mode, {0x88, 0x07, 0xe6, 0x80}, {{x86::kRdi, kHigh + page * kPageSize + 5}});
      expect<IoExit>(machine.run());
    }
  }
};

TEST_P(DirtyLogTest, IsExactAndCleared) {
  DOPPEL_NEEDS(capabilities().dirty_log, "no dirty log");
  TestMachine machine(accelerator());
  const HostMemory extra(kPages * kPageSize);
  ASSERT_TRUE(machine.vm().set_memory_slot(slot(1, kHigh, extra.size(), extra.data(), SlotFlags::kLogDirty)));
  EXPECT_EQ(take(machine), std::vector<std::uint64_t>{});
  const std::vector<std::uint64_t> pages = {0, 1, 63, 64, 127, 150, kPages - 1};
  touch(machine, pages);
  EXPECT_EQ(take(machine), pages);
  EXPECT_EQ(take(machine), std::vector<std::uint64_t>{});
  touch(machine, {64});
  EXPECT_EQ(take(machine), std::vector<std::uint64_t>{64});
  if (traits().user_mode_port_io) {
    touch(machine, {3, 65}, Mode::kUser64);
    EXPECT_EQ(take(machine), (std::vector<std::uint64_t>{3, 65}));
  }
}

TEST_P(DirtyLogTest, ReadsDoNotCount) {
  DOPPEL_NEEDS(capabilities().dirty_log, "no dirty log");
  TestMachine machine(accelerator());
  const HostMemory extra(kPages * kPageSize);
  ASSERT_TRUE(machine.vm().set_memory_slot(slot(1, kHigh, extra.size(), extra.data(), SlotFlags::kLogDirty)));
  machine.start(Mode::kLong64, {0x8a, 0x07, 0xf4}, {{x86::kRdi, kHigh}});  // mov al, [rdi]; hlt
  expect<HaltExit>(machine.run());
  EXPECT_EQ(take(machine), std::vector<std::uint64_t>{});
}

TEST_P(DirtyLogTest, SwitchedOnAndOffWhileInUse) {
  DOPPEL_NEEDS(capabilities().dirty_log, "no dirty log");
  TestMachine machine(accelerator());
  const HostMemory extra(kPages * kPageSize);
  ASSERT_TRUE(machine.vm().set_memory_slot(slot(1, kHigh, extra.size(), extra.data())));
  touch(machine, {1, 2});
  ASSERT_TRUE(machine.vm().set_memory_slot(slot(1, kHigh, extra.size(), extra.data(), SlotFlags::kLogDirty)));
  EXPECT_EQ(take(machine), std::vector<std::uint64_t>{});
  touch(machine, {2, 3});
  EXPECT_EQ(take(machine), (std::vector<std::uint64_t>{2, 3}));
  ASSERT_TRUE(machine.vm().set_memory_slot(slot(1, kHigh, extra.size(), extra.data())));
  touch(machine, {4});
  EXPECT_FALSE(machine.vm().take_dirty_log(1));
}

TEST_P(DirtyLogTest, NothingIsLostWhileTheGuestWrites) {
  DOPPEL_NEEDS(capabilities().dirty_log, "no dirty log");
  TestMachine machine(accelerator());
  const HostMemory extra(kPages * kPageSize);
  ASSERT_TRUE(machine.vm().set_memory_slot(slot(1, kHigh, extra.size(), extra.data(), SlotFlags::kLogDirty)));
  // again: mov [rdi], ecx; add rdi, 0x1000; dec ecx; jnz again; hlt
  machine.start(Mode::kLong64, {0x89, 0x0f, 0x48, 0x81, 0xc7, 0x00, 0x10, 0x00, 0x00, 0xff, 0xc9, 0x75, 0xf3, 0xf4},
                {{x86::kRdi, kHigh}, {x86::kRcx, kPages}});
  std::atomic<bool> done{false};
  std::vector<bool> seen(kPages);
  std::thread logger([&] {
    do {
      for (const std::uint64_t page : take(machine)) seen[page] = true;
    } while (!done.load());
    for (const std::uint64_t page : take(machine)) seen[page] = true;
  });
  expect<HaltExit>(machine.run());
  done = true;
  logger.join();
  EXPECT_EQ(std::ranges::count(seen, true), static_cast<std::ptrdiff_t>(kPages));
}

DOPPEL_CONTRACT_SUITE(MemoryTest);
DOPPEL_CONTRACT_SUITE(DirtyLogTest);

}  // namespace
}  // namespace doppel::test
