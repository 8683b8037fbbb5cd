#include "accel/soft/interpreter/control_registers.h"

#include <gtest/gtest.h>

#include "accel/soft/interpreter/test_cpu.h"
#include "x86/descriptor.h"

namespace doppel::accel::soft {
namespace {

using tiny::Mode;
using namespace x86;

/// Did WORK raise VECTOR?
template <class Work>
bool raises(std::uint8_t vector, Work work) {
  try {
    work();
  } catch (const Fault& fault) {
    return fault.vector == vector;
  }
  return false;
}
template <class Work>
bool raises_gp(Work work) {
  return raises(kGeneralProtection, work);
}

FeatureSet without(std::string_view name) {
  FeatureSet features = named_features();
  features.set(find_feature(name)->bit, false);
  return features;
}

TEST(ControlRegistersTest, Cr0KeepsImpossibleCombinationsOut) {
  TestCpu test(Mode::kLong64);
  Cpu& cpu = test.cpu;
  const std::uint64_t before = cpu.cr0;
  EXPECT_TRUE(raises_gp([&] { write_cr0(cpu, cr0::kPg); }));
  EXPECT_TRUE(raises_gp([&] { write_cr0(cpu, before | cr0::kNw); }));
  EXPECT_TRUE(raises_gp([&] { write_cr0(cpu, before | std::uint64_t{1} << 32U); }));
  EXPECT_TRUE(raises_gp([&] { write_cr0(cpu, before & ~cr0::kPg); })) << "from 64-bit code";
  EXPECT_EQ(cpu.cr0, before);
}

TEST(ControlRegistersTest, Cr0DropsReservedBitsAndKeepsEt) {
  TestCpu test(Mode::kProtected32);
  write_cr0(test.cpu, cr0::kPe | 0x1ff8'0040U);
  EXPECT_EQ(test.cpu.cr0, cr0::kPe | cr0::kEt | (0x1ff8'0040U & 0x0004'0000U));
}

TEST(ControlRegistersTest, PagingActivatesLongModeWithLme) {
  TestCpu test(Mode::kProtected32);
  Cpu& cpu = test.cpu;
  cpu.cr3 = tiny::kPml4;
  ASSERT_TRUE(write_efer(cpu, efer::kLme));
  EXPECT_EQ(cpu.efer, efer::kLme);
  EXPECT_TRUE(raises_gp([&] { write_cr0(cpu, cpu.cr0 | cr0::kPg); })) << "without PAE";
  write_cr4(cpu, cpu.cr4 | cr4::kPae);
  cpu.tr.type = kTss16Busy;
  EXPECT_TRUE(raises_gp([&] { write_cr0(cpu, cpu.cr0 | cr0::kPg); })) << "with a 16-bit TSS";
  cpu.tr.type = kTssBusy;
  cpu.segment[kCs].long_mode = true;
  EXPECT_TRUE(raises_gp([&] { write_cr0(cpu, cpu.cr0 | cr0::kPg); })) << "with CS.L";
  cpu.segment[kCs].long_mode = false;
  write_cr0(cpu, cpu.cr0 | cr0::kPg);
  EXPECT_EQ(cpu.efer, efer::kLme | efer::kLma);
  EXPECT_TRUE(cpu.long_mode);
  EXPECT_EQ(cpu.code_mode, CodeMode::kProtected32);
  EXPECT_FALSE(write_efer(cpu, 0)) << "LME stays while paging";
  EXPECT_TRUE(raises_gp([&] { write_cr4(cpu, cpu.cr4 & ~cr4::kPae); }));
  write_cr0(cpu, cpu.cr0 & ~cr0::kPg);
  EXPECT_EQ(cpu.efer, efer::kLme);
  EXPECT_FALSE(cpu.long_mode);
}

TEST(ControlRegistersTest, ProtectedModeBeginsAtCpl0) {
  TestCpu test(Mode::kReal16);
  test.cpu.segment[kSs].dpl = 3;
  write_cr0(test.cpu, test.cpu.cr0 | cr0::kPe);
  EXPECT_TRUE(test.cpu.protected_mode);
  EXPECT_EQ(test.cpu.cpl, 0);
}

TEST(ControlRegistersTest, PaePagingLoadsItsDirectoryPointers) {
  constexpr std::uint64_t kPointers = tiny::kData + 0x20;
  TestCpu test(Mode::kProtected32);
  Cpu& cpu = test.cpu;
  for (unsigned i = 0; i < 4; ++i)
    test.poke<std::uint64_t>(kPointers + 8 * i, (tiny::kPageDirectories + i * 0x1000) | 1);
  write_cr4(cpu, cpu.cr4 | cr4::kPae);
  write_cr3(cpu, kPointers);
  EXPECT_EQ(cpu.pdpte[3], 0U) << "not before paging is on";
  write_cr0(cpu, cpu.cr0 | cr0::kPg);
  EXPECT_EQ(cpu.pdpte[3], (tiny::kPageDirectories + 0x3000) | 1);
  test.poke<std::uint64_t>(kPointers + 8, 1U << 1U | 1U);  // a reserved bit
  const std::uint64_t before = cpu.cr3;
  EXPECT_TRUE(raises_gp([&] { write_cr3(cpu, kPointers); }));
  EXPECT_EQ(cpu.cr3, before);
  EXPECT_TRUE(raises_gp([&] { write_cr4(cpu, cpu.cr4 | cr4::kPge); }));
  EXPECT_EQ(cpu.cr4 & cr4::kPge, 0U);
}

TEST(ControlRegistersTest, Cr4HasTheBitsOfItsFeatures) {
  TestCpu test(Mode::kProtected32, without("smep"));
  EXPECT_TRUE(raises_gp([&] { write_cr4(test.cpu, cr4::kSmep); }));
  EXPECT_TRUE(raises_gp([&] { write_cr4(test.cpu, cr4::kVmxe); }));
  EXPECT_TRUE(raises_gp([&] { write_cr4(test.cpu, std::uint64_t{1} << 40U); }));
  write_cr4(test.cpu, cr4::kSmap | cr4::kFsgsbase | cr4::kUmip);
  EXPECT_EQ(test.cpu.cr4, cr4::kSmap | cr4::kFsgsbase | cr4::kUmip);
}

TEST(ControlRegistersTest, PcidsNeedLongModeAndAPlainCr3) {
  TestCpu legacy(Mode::kProtected32);
  EXPECT_TRUE(raises_gp([&] { write_cr4(legacy.cpu, cr4::kPcide); }));
  TestCpu test(Mode::kLong64);
  Cpu& cpu = test.cpu;
  write_cr3(cpu, tiny::kPml4 | cr3::kPcd);
  EXPECT_TRUE(raises_gp([&] { write_cr4(cpu, cpu.cr4 | cr4::kPcide); }));
  EXPECT_TRUE(raises_gp([&] { write_cr3(cpu, tiny::kPml4 | cr3::kNoFlush); }));
  write_cr3(cpu, tiny::kPml4);
  write_cr4(cpu, cpu.cr4 | cr4::kPcide);
  write_cr3(cpu, tiny::kPml4 | 5 | cr3::kNoFlush);
  EXPECT_EQ(cpu.cr3, tiny::kPml4 | 5);
  EXPECT_TRUE(raises_gp([&] { write_cr3(cpu, std::uint64_t{1} << cpu.phys_bits); }));
  EXPECT_TRUE(raises_gp([&] { write_cr4(cpu, cpu.cr4 ^ cr4::kLa57); }));
}

TEST(ControlRegistersTest, Cr8TellsWhenItIsLowered) {
  TestCpu test(Mode::kLong64);
  write_cr8(test.cpu, 9);
  EXPECT_EQ(test.cpu.stop, StopReason::kNone);
  write_cr8(test.cpu, 4);
  EXPECT_EQ(test.cpu.stop, StopReason::kTprLowered);
  EXPECT_TRUE(raises_gp([&] { write_cr8(test.cpu, 16); }));
  EXPECT_EQ(test.cpu.cr8, 4U);
}

TEST(ControlRegistersTest, EferHasTheBitsOfItsFeatures) {
  TestCpu test(Mode::kProtected32, without("nx"));
  EXPECT_FALSE(write_efer(test.cpu, efer::kNxe));
  EXPECT_FALSE(write_efer(test.cpu, efer::kSvme));
  EXPECT_TRUE(write_efer(test.cpu, efer::kSce | efer::kLma));
  EXPECT_EQ(test.cpu.efer, efer::kSce) << "LMA is the processor's";
}

TEST(ControlRegistersTest, DebugRegistersHaveFixedBits) {
  TestCpu test(Mode::kLong64);
  Cpu& cpu = test.cpu;
  write_debug_register(cpu, 6, 0);
  EXPECT_EQ(read_debug_register(cpu, 4), 0xffff0ff0U);
  write_debug_register(cpu, 5, 0xffff'ffff);
  EXPECT_EQ(read_debug_register(cpu, 7), 0xffff27ffU);
  write_debug_register(cpu, 3, 0xffff'8000'0000'0000);
  EXPECT_EQ(read_debug_register(cpu, 3), 0xffff'8000'0000'0000);
  EXPECT_TRUE(raises_gp([&] { write_debug_register(cpu, 7, std::uint64_t{1} << 32U); }));
}

TEST(ControlRegistersTest, ConsistencyOfStates) {
  const FeatureSet features = named_features();
  const auto possible = [&](std::uint64_t cr0, std::uint64_t cr4, std::uint64_t efer) {
    return is_consistent(features, 40, cr0, 0x1000, cr4, efer);
  };
  EXPECT_TRUE(possible(0x6000'0010, 0, 0));
  EXPECT_TRUE(possible(0x8000'0001, cr4::kPae, efer::kLme | efer::kLma));
  EXPECT_FALSE(possible(0x8000'0001, 0, efer::kLme | efer::kLma));
  EXPECT_FALSE(possible(0x8000'0001, cr4::kPae, efer::kLme)) << "paging with LME is long mode";
  EXPECT_FALSE(possible(1, cr4::kPae, efer::kLma));
  EXPECT_FALSE(possible(0x8000'0000, 0, 0));
  EXPECT_FALSE(possible(0x2000'0001, 0, 0));
  EXPECT_FALSE(possible(0x8000'0001, cr4::kPae | cr4::kPcide, 0));
  EXPECT_FALSE(possible(1, cr4::kVmxe, 0));
  EXPECT_FALSE(is_consistent(features, 40, 0x8000'0001, std::uint64_t{1} << 40U, cr4::kPae, efer::kLme | efer::kLma));
}

}  // namespace
}  // namespace doppel::accel::soft
