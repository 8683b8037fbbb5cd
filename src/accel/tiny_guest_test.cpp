#include "accel/tiny_guest.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/endian.h"

namespace doppel::accel::tiny {
namespace {

TEST(TinyGuestTest, DescriptorsAreAsTheManualHasThem) {
  std::vector<std::byte> memory(kMemorySize);
  write_tables(memory);
  const auto entry = [&](std::uint16_t selector) { return load_le<std::uint64_t>(&memory[kGdt + (selector & ~7U)]); };
  EXPECT_EQ(entry(0), 0U);
  EXPECT_EQ(entry(kCode32), 0x00cf9b000000ffffU);
  EXPECT_EQ(entry(kData32), 0x00cf93000000ffffU);
  EXPECT_EQ(entry(kCode64), 0x00af9b000000ffffU);
  EXPECT_EQ(entry(kUserCode64), 0x00affb000000ffffU);
  EXPECT_EQ(entry(kUserData), 0x00cff3000000ffffU);
  EXPECT_EQ(entry(kTssSelector), 0x00008b0014000067U);
}

TEST(TinyGuestTest, PagesMapToThemselves) {
  std::vector<std::byte> memory(kMemorySize);
  write_tables(memory);
  const auto at = [&](std::uint64_t address) { return load_le<std::uint64_t>(&memory[address]); };
  EXPECT_EQ(at(kPml4), 0x11027U);
  EXPECT_EQ(at(kPml4 + 0x1000 + 3 * 8), (kPageDirectories + 0x3000) | 0x27);
  EXPECT_EQ(at(kPageDirectories + 0x3000 + 511 * 8), 0xffe000e7U);
  EXPECT_EQ(load_le<std::uint32_t>(&memory[kPageDirectory32 + 1023 * 4]), 0xffc000e7U);
}

TEST(TinyGuestTest, GatesOfEachMode) {
  std::vector<std::byte> memory(kMemorySize);
  write_gate(memory, Mode::kReal16, 6, 0x6000);
  EXPECT_EQ(load_le<std::uint32_t>(&memory[6 * 4]), 0x6000U);
  write_gate(memory, Mode::kProtected32, 6, 0x126000);
  EXPECT_EQ(load_le<std::uint64_t>(&memory[kIdt + 6 * 8]), 0x0012ee0000086000U);
  write_gate(memory, Mode::kLong64, 6, 0x5'00126000);
  EXPECT_EQ(load_le<std::uint64_t>(&memory[kIdt + 6 * 16]), 0x0012ee0000186000U);
  EXPECT_EQ(load_le<std::uint64_t>(&memory[kIdt + 6 * 16 + 8]), 5U);
}

TEST(TinyGuestTest, StartStateKeepsTheApicBase) {
  x86::CpuState state;
  state.apic_base = 0xfee00900;
  set_start_state(state, Mode::kLong64, kCode);
  EXPECT_EQ(state.apic_base, 0xfee00900U);
  EXPECT_EQ(state.rip, kCode);
  EXPECT_EQ(state.gpr[x86::kRsp], kStackTop);
  EXPECT_EQ(state.efer & 0x500, 0x500U);
  set_start_state(state, Mode::kReal16, kCode);
  EXPECT_EQ(state.efer, 0U);
  EXPECT_EQ(state.cr0 & 1, 0U);
  EXPECT_EQ(state.segment[x86::kCs].base, 0U);
}

}  // namespace
}  // namespace doppel::accel::tiny
