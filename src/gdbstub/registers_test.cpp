#include "gdbstub/registers.h"

#include <gtest/gtest.h>

#include "base/endian.h"
#include "gdbstub/target_description.h"
#include "x86/descriptor.h"
#include "x86/registers.h"

namespace doppel::gdbstub {
namespace {

class RegistersTest : public testing::Test {
 protected:
  RegistersTest() { state.xsave.resize(832); }

  const Register& find(std::string_view name) const {
    const auto found = std::ranges::find(table.registers(), name, &Register::name);
    EXPECT_NE(found, table.registers().end()) << name;
    return *found;
  }
  std::vector<std::byte> read(std::string_view name) const {
    std::vector<std::byte> value(find(name).size, std::byte{0xee});
    read_register(state, find(name), value);
    return value;
  }
  std::uint64_t number(std::string_view name) const {
    const auto value = read(name);
    return load_le_sized(value.data(), std::min<std::size_t>(value.size(), 8));
  }
  Result<> write(std::string_view name, std::uint64_t value) {
    std::vector<std::byte> bytes(find(name).size);
    store_le_sized(bytes.data(), std::min<std::size_t>(bytes.size(), 8), value);
    return write_register(state, find(name), bytes);
  }
  void use_components(std::uint64_t components) { store_le(&state.xsave[512], components); }

  RegisterTable table{true};
  x86::CpuState state;
};

TEST_F(RegistersTest, NumbersAreThoseOfGdb) {
  const auto registers = table.registers();
  EXPECT_EQ(registers[0].name, "rax");
  EXPECT_EQ(registers[1].name, "rbx");
  EXPECT_EQ(registers[7].name, "rsp");
  EXPECT_EQ(registers[16].name, "rip");
  EXPECT_EQ(registers[17].name, "eflags");
  EXPECT_EQ(registers[18].name, "cs");
  EXPECT_EQ(registers[24].name, "st0");
  EXPECT_EQ(registers[32].name, "fctrl");
  EXPECT_EQ(registers[40].name, "xmm0");
  EXPECT_EQ(registers[56].name, "mxcsr");
}

TEST_F(RegistersTest, ScalarsReadAndWriteTheirField) {
  state.gpr[x86::kRbx] = 0x1122334455667788;
  state.rip = 0xfff0;
  state.cr3 = 0x1000;
  state.efer = x86::efer::kLme;
  EXPECT_EQ(number("rbx"), 0x1122334455667788U);
  EXPECT_EQ(number("rip"), 0xfff0U);
  EXPECT_EQ(number("cr3"), 0x1000U);
  EXPECT_EQ(number("efer"), x86::efer::kLme);
  EXPECT_TRUE(write("r15", 5));
  EXPECT_TRUE(write("cr4", 0x20));
  EXPECT_TRUE(write("fs_base", 0xabcdef));
  EXPECT_EQ(state.gpr[x86::kR15], 5U);
  EXPECT_EQ(state.cr4, 0x20U);
  EXPECT_EQ(state.segment[x86::kFs].base, 0xabcdefU);
}

TEST_F(RegistersTest, EveryRegisterReadsBackWhatIsWritten) {
  state.cr0 = 0;
  state.msrs = {{0xc0000102, 0}};
  for (const Register& reg : table.registers()) {
    SCOPED_TRACE(reg.name);
    std::vector<std::byte> value(reg.size);
    value[0] = std::byte{0x12};
    if (reg.name == "ftag") value = {std::byte{0xfc}, std::byte{0xff}, {}, {}};  // ST0's register holds nothing special
    ASSERT_TRUE(write_register(state, reg, value));
    std::vector<std::byte> back(reg.size);
    read_register(state, reg, back);
    if (reg.name == "ftag")
      EXPECT_EQ(load_le<std::uint16_t>(back.data()) & 0xfffcU, 0xfffcU);
    else
      EXPECT_EQ(back, value);
  }
}

TEST_F(RegistersTest, FlagsKeepTheirFixedBit) {
  EXPECT_TRUE(write("eflags", 0x200));
  EXPECT_EQ(state.rflags, 0x202U);
}

TEST_F(RegistersTest, RealModeSelectorsMoveTheirSegment) {
  EXPECT_TRUE(write("ds", 0x1234));
  EXPECT_EQ(state.segment[x86::kDs].selector, 0x1234);
  EXPECT_EQ(state.segment[x86::kDs].base, 0x12340U);
  EXPECT_FALSE(write("ds", 0x12345));
}

TEST_F(RegistersTest, ProtectedModeSelectorsStay) {
  state.cr0 = x86::cr0::kPe;
  state.segment[x86::kDs] = x86::flat_segment(0x10, false);
  EXPECT_TRUE(write("ds", 0x10));  // as when all registers are written
  EXPECT_FALSE(write("ds", 0x18));
  EXPECT_EQ(state.segment[x86::kDs], x86::flat_segment(0x10, false));
}

TEST_F(RegistersTest, KernelGsBaseNeedsItsMsr) {
  EXPECT_EQ(number("k_gs_base"), 0U);
  EXPECT_TRUE(write("k_gs_base", 0));
  EXPECT_FALSE(write("k_gs_base", 1));
  state.msrs = {{0xc0000102, 7}};
  EXPECT_EQ(number("k_gs_base"), 7U);
  EXPECT_TRUE(write("k_gs_base", 8));
  EXPECT_EQ(state.msrs[0].value, 8U);
}

TEST_F(RegistersTest, UnusedComponentsReadAsInitialised) {
  std::ranges::fill(state.xsave, std::byte{0xff});
  use_components(0);
  EXPECT_EQ(number("fctrl"), 0x37fU);
  EXPECT_EQ(number("ftag"), 0xffffU);
  EXPECT_EQ(number("xmm3"), 0U);
  EXPECT_EQ(number("ymm3h"), 0U);
  EXPECT_EQ(number("mxcsr"), 0xffffffffU);  // no component of its own
}

TEST_F(RegistersTest, WritingOneVectorRegisterInitialisesTheOthers) {
  std::ranges::fill(state.xsave, std::byte{0xff});
  use_components(0);
  ASSERT_TRUE(write("xmm1", 9));
  EXPECT_EQ(load_le<std::uint64_t>(&state.xsave[512]), x86::xcr::kSse);
  EXPECT_EQ(number("xmm1"), 9U);
  EXPECT_EQ(number("xmm0"), 0U);
  EXPECT_EQ(number("xmm2"), 0U);
}

TEST_F(RegistersTest, WritingWhatIsThereTakesNoComponentIntoUse) {
  use_components(0);
  ASSERT_TRUE(write("fctrl", 0x37f));
  ASSERT_TRUE(write("ymm0h", 0));
  EXPECT_EQ(load_le<std::uint64_t>(&state.xsave[512]), 0U);
}

TEST_F(RegistersTest, TagWordFollowsTheValues) {
  use_components(x86::xcr::kX87);
  store_le<std::uint16_t>(&state.xsave[2], 6 << 11);  // TOP = 6: ST0 is register 6, ST2 register 0
  state.xsave[4] = std::byte{0b1100'0001};            // 0, 6 and 7 hold something
  store_le<std::uint64_t>(&state.xsave[32], std::uint64_t{1} << 63);
  store_le<std::uint16_t>(&state.xsave[40], 0x3fff);  // ST0 = 1.0: valid
  store_le<std::uint16_t>(&state.xsave[72], 0x7fff);  // ST2: special. ST1 = 0: zero
  EXPECT_EQ(number("ftag"), 0b01'00'11'11'11'11'11'10U);
}

TEST_F(RegistersTest, ShortAreasAreNoTrouble) {
  state.xsave.clear();
  EXPECT_EQ(number("xmm0"), 0U);
  EXPECT_FALSE(write("xmm0", 1));
  state.xsave.resize(576);
  EXPECT_EQ(number("ymm0h"), 0U);
  EXPECT_FALSE(write("ymm0h", 1));
}

TEST_F(RegistersTest, WrongSizesAreRefused) {
  const std::vector<std::byte> four(4);
  EXPECT_FALSE(write_register(state, find("rax"), four));
  EXPECT_FALSE(write_register(state, find("xmm0"), four));
}

TEST_F(RegistersTest, LinearPcAddsTheCodeSegmentsBase) {
  state.segment[x86::kCs].base = 0xffff0000;
  state.rip = 0xfff0;
  EXPECT_EQ(linear_pc(state), 0xfffffff0U);
}

TEST_F(RegistersTest, DescriptionNamesEveryRegisterWithItsNumber) {
  const TargetDescription description(table);
  const std::string* target = description.find("target.xml");
  ASSERT_NE(target, nullptr);
  EXPECT_THAT(*target, testing::HasSubstr("<architecture>i386:x86-64</architecture>"));
  std::string all;
  for (const char* part : {"core", "sse", "avx", "segments", "system"}) {
    const std::string file = "x86-64-" + std::string(part) + ".xml";
    EXPECT_THAT(*target, testing::HasSubstr("<xi:include href=\"" + file + "\"/>"));
    ASSERT_NE(description.find(file), nullptr) << file;
    all += *description.find(file);
  }
  for (std::size_t i = 0; i < table.registers().size(); ++i) {
    const Register& reg = table.registers()[i];
    EXPECT_THAT(all, testing::HasSubstr("<reg name=\"" + reg.name + "\" bitsize=\"" + std::to_string(reg.size * 8) +
                                        "\" type=\"" + std::string(reg.type) + "\" regnum=\"" + std::to_string(i)));
  }
  EXPECT_EQ(description.find("other.xml"), nullptr);
}

TEST_F(RegistersTest, NoAvxNoAvxDocument) {
  const RegisterTable plain(false);
  const TargetDescription description(plain);
  EXPECT_EQ(description.find("x86-64-avx.xml"), nullptr);
  EXPECT_THAT(*description.find("target.xml"), testing::Not(testing::HasSubstr("avx")));
  EXPECT_EQ(table.total_size() - plain.total_size(), 256U);
}

}  // namespace
}  // namespace doppel::gdbstub
