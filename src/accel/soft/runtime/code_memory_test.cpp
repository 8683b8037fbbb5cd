#include "accel/soft/runtime/code_memory.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace doppel::accel::soft {
namespace {

using Function = std::uint64_t (*)(std::uint64_t);

Function function_at(const std::byte* place) {
  return reinterpret_cast<Function>(reinterpret_cast<std::uintptr_t>(place));
}

// lea rax, [rdi + N]; ret
std::vector<std::uint8_t> add_code(std::uint8_t n) {
  return {0x48, 0x8d, 0x47, n, 0xc3};
}

TEST(CodeMemoryTest, RunsWhatWasAppended) {
  auto memory = CodeMemory::create(4096);
  ASSERT_TRUE(memory);
  const Function one = function_at(memory->append(add_code(1)));
  const Function two = function_at(memory->append(add_code(2)));
  EXPECT_EQ(one(40), 41U);
  EXPECT_EQ(two(40), 42U);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(two) % 16, 0U);
}

TEST(CodeMemoryTest, IsFullWhenItIs) {
  auto memory = CodeMemory::create(4096);
  ASSERT_TRUE(memory);
  unsigned count = 0;
  while (memory->append(add_code(3)) != nullptr) ++count;
  EXPECT_EQ(count, 4096U / 16 - 1);
  EXPECT_EQ(memory->append(std::vector<std::uint8_t>(5000)), nullptr);
}

TEST(CodeMemoryTest, ClearMakesRoomForOtherCode) {
  auto memory = CodeMemory::create(4096);
  ASSERT_TRUE(memory);
  for (std::uint8_t n = 1; n < 100; ++n) {
    const std::byte* const place = memory->append(add_code(n));
    EXPECT_EQ(function_at(place)(1000), 1000U + n);
    memory->clear();
    EXPECT_EQ(memory->used(), 0U);
  }
}

TEST(CodeMemoryTest, MovesWithItsMappings) {
  auto first = CodeMemory::create(4096);
  ASSERT_TRUE(first);
  const Function add = function_at(first->append(add_code(9)));
  const CodeMemory second = std::move(*first);
  EXPECT_EQ(add(1), 10U);
  EXPECT_EQ(second.used(), 16U + 5);
}

}  // namespace
}  // namespace doppel::accel::soft
