#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>
#include <string>

#include "accel/soft/interpreter/stub_emitter.h"

namespace doppel::accel::soft {
namespace {

/// An instruction and what Zydis makes of it.
struct Sample {
  std::array<std::uint8_t, 15> bytes{};
  ZydisDecodedInstruction zydis{};
  std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands{};

  [[nodiscard]] std::string text(std::size_t length) const {
    std::string hex;
    for (std::size_t n = 0; n < length; ++n) hex += fmt::format("{:02x} ", bytes.at(n));
    return hex;
  }
};

struct Mode {
  CodeMode mode;
  ZydisMachineMode machine;
  ZydisStackWidth stack;
};
constexpr Mode kLong{CodeMode::kLong64, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64};
constexpr Mode kProtected32{CodeMode::kProtected32, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32};
constexpr Mode kProtected16{CodeMode::kProtected16, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16};

bool decode(const Mode& mode, Sample& sample) {
  ZydisDecoder decoder;
  ZydisDecoderInit(&decoder, mode.machine, mode.stack);
  return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, sample.bytes.data(), sample.bytes.size(), &sample.zydis,
                                             sample.operands.data()));
}

constexpr std::array kExtensions = {
    ZYDIS_ISA_EXT_SSE,        ZYDIS_ISA_EXT_SSE2,      ZYDIS_ISA_EXT_SSE3, ZYDIS_ISA_EXT_SSSE3, ZYDIS_ISA_EXT_SSE4,
    ZYDIS_ISA_EXT_AVX,        ZYDIS_ISA_EXT_AVX2,      ZYDIS_ISA_EXT_FMA,  ZYDIS_ISA_EXT_F16C,  ZYDIS_ISA_EXT_BMI1,
    ZYDIS_ISA_EXT_AVX512EVEX, ZYDIS_ISA_EXT_AVX512VEX, ZYDIS_ISA_EXT_BMI2, ZYDIS_ISA_EXT_MMX,   ZYDIS_ISA_EXT_X87,
    ZYDIS_ISA_EXT_MOVBE,      ZYDIS_ISA_EXT_RDRAND,
};
/// Their operand size in 16-bit code is not kept; no stub is made of them.
constexpr std::array kEnvironments = {ZYDIS_MNEMONIC_FLDENV, ZYDIS_MNEMONIC_FNSTENV, ZYDIS_MNEMONIC_FNSAVE,
                                      ZYDIS_MNEMONIC_FRSTOR};

bool takes_part(const Sample& sample) {
  const auto vector_index = [](const ZydisDecodedOperand& operand) {
    return operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.mem.type == ZYDIS_MEMOP_TYPE_VSIB;
  };
  return std::ranges::find(kExtensions, sample.zydis.meta.isa_ext) != kExtensions.end() &&
         std::ranges::find(kEnvironments, sample.zydis.mnemonic) == kEnvironments.end() &&
         std::none_of(sample.operands.begin(), sample.operands.begin() + sample.zydis.operand_count, vector_index);
}

class RelocateTest : public testing::TestWithParam<Mode> {
 protected:
  /// Random bytes that begin like an instruction of some encoding.
  Sample draw(unsigned round) {
    constexpr std::array<std::uint8_t, 8> kStarts = {0x62, 0xc4, 0xc5, 0x0f, 0x66, 0xf2, 0xf3, 0xd8};
    Sample sample;
    for (std::uint8_t& byte : sample.bytes) byte = static_cast<std::uint8_t>(random_());
    std::uint8_t& second = sample.bytes[1];
    switch (sample.bytes[0] = kStarts.at(round % kStarts.size())) {
      case 0x62: second = static_cast<std::uint8_t>((second & 0xf3U) | 0xc0U); break;
      case 0xd8: sample.bytes[0] = static_cast<std::uint8_t>(0xd8U | (second & 7U)); break;
      case 0x66:
      case 0xf2:
      case 0xf3: second = 0x0f; break;
      default: break;
    }
    return sample;
  }

 private:
  std::mt19937 random_{1};
};

constexpr StubRegisters kRegisters{.fpu = 7, .memory = 6, .gpr_file = 2, .stack_pointer = 5};

void expect_same(const ZydisDecodedOperand& before, const ZydisDecodedOperand& after) {
  ASSERT_EQ(before.type, after.type);
  EXPECT_EQ(before.size, after.size);
  switch (before.type) {
    case ZYDIS_OPERAND_TYPE_MEMORY:
      EXPECT_EQ(after.mem.base, ZYDIS_REGISTER_RSI);
      EXPECT_EQ(after.mem.index, ZYDIS_REGISTER_NONE);
      EXPECT_EQ(after.mem.disp.value, 0);
      break;
    case ZYDIS_OPERAND_TYPE_REGISTER:
      if (ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, before.reg.value) == ZYDIS_REGISTER_RSP)
        EXPECT_EQ(ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, after.reg.value), ZYDIS_REGISTER_RBP);
      else
        EXPECT_EQ(before.reg.value, after.reg.value);
      break;
    case ZYDIS_OPERAND_TYPE_IMMEDIATE: EXPECT_EQ(before.imm.value.u & 0xff, after.imm.value.u & 0xff); break;
    default: break;
  }
}

TEST_P(RelocateTest, KeepsMnemonicAndOperands) {
  unsigned checked = 0;
  for (unsigned round = 0; round < 200'000; ++round) {
    Sample before = draw(round);
    if (!decode(GetParam(), before) || !takes_part(before)) continue;
    const MachineCode code = relocate({.zydis = before.zydis,
                                       .operands = std::span(before.operands).first(before.zydis.operand_count),
                                       .mode = GetParam().mode},
                                      before.bytes.data(), kRegisters);
    Sample after;
    std::ranges::copy(code.span(), after.bytes.begin());
    SCOPED_TRACE(fmt::format("{} {}became {}", ZydisMnemonicGetString(before.zydis.mnemonic),
                             before.text(before.zydis.length), after.text(code.size)));
    ASSERT_TRUE(decode(kLong, after));
    ASSERT_EQ(after.zydis.length, code.size);
    ASSERT_EQ(after.zydis.mnemonic, before.zydis.mnemonic);
    for (unsigned n = 0; n < before.zydis.operand_count_visible; ++n)
      expect_same(before.operands.at(n), after.operands.at(n));
    if (HasFailure()) return;
    ++checked;
  }
  EXPECT_GT(checked, 20'000U);
}

INSTANTIATE_TEST_SUITE_P(Modes, RelocateTest, testing::Values(kLong, kProtected32, kProtected16));

}  // namespace
}  // namespace doppel::accel::soft
