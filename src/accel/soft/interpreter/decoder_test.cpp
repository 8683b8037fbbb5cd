#include "accel/soft/interpreter/decoder.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <initializer_list>
#include <random>
#include <span>
#include <tuple>
#include <vector>

#include "accel/soft/interpreter/fault.h"
#include "accel/soft/interpreter/native_stub.h"
#include "accel/soft/interpreter/test_cpu.h"
#include "base/test_seed.h"

namespace doppel::accel::soft {
namespace {

class DecoderTest : public testing::Test {
 protected:
  DecoderTest() { test_.cpu.cr4 |= x86::cr4::kOsfxsr | x86::cr4::kOsxsave; }

  Instruction decode(std::initializer_list<std::uint8_t> bytes, CodeMode mode = CodeMode::kLong64) {
    std::vector<std::uint8_t> code(bytes);
    code.resize(kLongestInstruction, 0x90);
    Instruction instruction;
    EXPECT_EQ(decoder_.decode(code, mode, instruction), DecodeStatus::kDone);
    return instruction;
  }
  bool is_undefined(const Instruction& instruction) {
    try {
      instruction.handler(test_.cpu, instruction);
    } catch (const Fault& fault) {
      return fault.vector == x86::kInvalidOpcode;
    }
    return false;
  }
  static constexpr RegisterOffset at(x86::Gpr gpr) { return static_cast<RegisterOffset>(gpr * 8); }

  TestCpu test_{tiny::Mode::kLong64};
  NativeStubs stubs_;
  x86::FeatureSet features_ = x86::named_features();
  Decoder decoder_{features_, stubs_};
};

TEST_F(DecoderTest, RegistersByOrderOfOperands) {
  const Instruction add = decode({0x48, 0x01, 0xd8});  // add rax, rbx
  EXPECT_EQ(add.rm, at(x86::kRax));
  EXPECT_EQ(add.reg, at(x86::kRbx));
  EXPECT_EQ(add.operand_size, 8);
  EXPECT_EQ(add.length, 3);
  const Instruction other = decode({0x48, 0x03, 0xd8});  // add rbx, rax, encoded the other way
  EXPECT_EQ(other.rm, at(x86::kRbx));
  EXPECT_EQ(other.reg, at(x86::kRax));
}

TEST_F(DecoderTest, ByteRegisters) {
  EXPECT_EQ(decode({0x00, 0xe0}).reg, at(x86::kRax) + 1);    // add al, ah
  EXPECT_EQ(decode({0x00, 0xf8}).reg, at(x86::kRbx) + 1);    // add al, bh
  EXPECT_EQ(decode({0x40, 0x00, 0xe0}).reg, at(x86::kRsp));  // add al, spl
  EXPECT_EQ(decode({0x45, 0x00, 0xf8}).reg, at(x86::kR15));  // add r8b, r15b
  EXPECT_EQ(decode({0x45, 0x00, 0xf8}).rm, at(x86::kR8));
}

TEST_F(DecoderTest, MemoryOperands) {
  const Instruction add = decode({0x64, 0x48, 0x03, 0x44, 0xcb, 0xf0});  // add rax, fs:[rbx + rcx*8 - 0x10]
  EXPECT_TRUE(add.has_memory);
  EXPECT_EQ(add.reg, at(x86::kRax));
  EXPECT_EQ(add.base, at(x86::kRbx));
  EXPECT_EQ(add.index, at(x86::kRcx));
  EXPECT_EQ(add.scale, 3);
  EXPECT_EQ(add.disp, -0x10);
  EXPECT_EQ(add.segment, x86::kFs);
  EXPECT_EQ(add.address_size, 8);
  const Instruction relative = decode({0x03, 0x05, 0x10, 0, 0, 0});  // add eax, [rip + 0x10]
  EXPECT_EQ(relative.base, kRipRegister);
  EXPECT_EQ(relative.index, kZeroRegister);
  const Instruction stack = decode({0x03, 0x45, 0x04}, CodeMode::kProtected32);  // add eax, [ebp + 4]
  EXPECT_EQ(stack.segment, x86::kSs);
  EXPECT_EQ(stack.address_size, 4);
  const Instruction real = decode({0x03, 0x42, 0x04}, CodeMode::kReal16);  // add ax, [bp + si + 4]
  EXPECT_EQ(real.base, at(x86::kRbp));
  EXPECT_EQ(real.index, at(x86::kRsi));
  EXPECT_EQ(real.segment, x86::kSs);
  EXPECT_EQ(real.address_size, 2);
  EXPECT_EQ(real.operand_size, 2);
}

TEST_F(DecoderTest, ImmediatesAreSignExtended) {
  EXPECT_EQ(decode({0x48, 0x83, 0xc0, 0xff}).imm, ~std::uint64_t{0});           // add rax, -1
  EXPECT_EQ(decode({0x6b, 0xc3, 0x80}).imm, static_cast<std::uint64_t>(-128));  // imul eax, ebx, -128
  EXPECT_EQ(decode({0xeb, 0xfe}).imm, static_cast<std::uint64_t>(-2));          // jmp $
  const Instruction far = decode({0xea, 0x78, 0x56, 0x34, 0x12, 0x08, 0x00}, CodeMode::kProtected32);
  EXPECT_EQ(far.imm, 0x12345678);
  EXPECT_EQ(far.selector, 8);
}

TEST_F(DecoderTest, PrefixesAndBlockEnds) {
  EXPECT_TRUE(decode({0xf0, 0x01, 0x03}).lock);  // lock add [rbx], eax
  EXPECT_EQ(decode({0xf3, 0xa4}).repeat, Repeat::kRep);
  EXPECT_EQ(decode({0xf2, 0xae}).repeat, Repeat::kRepne);
  EXPECT_FALSE(decode({0x01, 0xd8}).ends_block);
  EXPECT_TRUE(decode({0x74, 0x00}).ends_block);  // je
  EXPECT_TRUE(decode({0xc3}).ends_block);        // ret
  EXPECT_TRUE(decode({0x0f, 0x05}).ends_block);  // syscall
  EXPECT_TRUE(decode({0x0f, 0x05}).enters_handler);
  EXPECT_TRUE(decode({0xcd, 0x80}).enters_handler);
}

TEST_F(DecoderTest, InvalidInstructionsRaiseUndefined) {
  EXPECT_TRUE(is_undefined(decode({0x0f, 0xff})));                           // UD0
  EXPECT_TRUE(is_undefined(decode({0xf0, 0x01, 0xd8})));                     // LOCK on a register
  EXPECT_TRUE(is_undefined(decode({0xf0, 0x8b, 0x03})));                     // LOCK on MOV
  EXPECT_TRUE(is_undefined(decode({0x8e, 0xc8, 0x90})));                     // MOV CS
  EXPECT_TRUE(is_undefined(decode({0xfe, 0xd0})));                           // undefined member of group 4
  EXPECT_TRUE(is_undefined(decode({0x06})));                                 // PUSH ES in 64-bit mode
  EXPECT_TRUE(is_undefined(decode({0x0f, 0x00, 0xd0}, CodeMode::kReal16)));  // LLDT in real mode
}

TEST_F(DecoderTest, TestAliasesAreTest) {
  const Instruction byte = decode({0xf6, 0xc8, 0x12});  // F6 /1
  const Instruction word = decode({0xf7, 0xc8, 0x12, 0, 0, 0});
  EXPECT_EQ(byte.handler, decode({0xf6, 0xc0, 0x12}).handler);
  EXPECT_EQ(word.handler, decode({0xf7, 0xc0, 0x12, 0, 0, 0}).handler);
}

TEST_F(DecoderTest, FeaturesThatTheModelHides) {
  x86::FeatureSet few;
  for (const char* name : {"fpu", "cmov", "sse", "sse2", "fxsr"}) few.set(x86::find_feature(name)->bit);
  Decoder decoder(few, stubs_);
  const auto decode_few = [&](std::initializer_list<std::uint8_t> bytes) {
    Instruction instruction;
    (void)decoder.decode(std::span(bytes.begin(), bytes.size()), CodeMode::kLong64, instruction);
    return instruction;
  };
  EXPECT_FALSE(is_undefined(decode({0xc5, 0xf4, 0x58, 0xc2})));  // vaddps ymm0, ymm1, ymm2
  EXPECT_TRUE(is_undefined(decode_few({0xc5, 0xf4, 0x58, 0xc2})));
  EXPECT_TRUE(is_undefined(decode_few({0xf3, 0x0f, 0xb8, 0xc3})));        // popcnt
  EXPECT_TRUE(is_undefined(decode_few({0x66, 0x0f, 0x38, 0x00, 0xc1})));  // pshufb
  // TZCNT is BSF where there is no BMI1.
  EXPECT_EQ(decode_few({0xf3, 0x0f, 0xbc, 0xc3}).handler, decode({0x0f, 0xbc, 0xc3}).handler);
}

TEST_F(DecoderTest, LengthLimits) {
  Instruction instruction;
  const std::uint8_t half[] = {0x48, 0x81};
  EXPECT_EQ(decoder_.decode(half, CodeMode::kLong64, instruction), DecodeStatus::kTooShort);
  const std::vector<std::uint8_t> prefixes(20, 0x66);
  EXPECT_EQ(decoder_.decode(prefixes, CodeMode::kLong64, instruction), DecodeStatus::kDone);
  try {
    instruction.handler(test_.cpu, instruction);
    ADD_FAILURE() << "no fault";
  } catch (const Fault& fault) {
    EXPECT_EQ(fault.vector, x86::kGeneralProtection);
  }
}

// Decoders expand what they know but for its numbers if they see enough bytes, else Zydis decodes.
TEST_F(DecoderTest, ExpandsTemplatesToWhatZydisSees) {
  const auto fields = [](const Instruction& i) {
    return std::tuple(i.handler, i.imm, i.disp, i.reg, i.rm, i.base, i.index, i.scale, i.segment, i.address_size,
                      i.operand_size, i.length, i.repeat, i.lock, i.has_memory, i.ends_block, i.enters_handler, i.extra,
                      i.selector);
  };
  constexpr unsigned kHeads = 60000;
  constexpr unsigned kNumbers = 4;  // of each head
  constexpr std::array<std::uint8_t, 12> kPrefixes = {0x26, 0x2e, 0x64, 0x65, 0x66, 0x67,
                                                      0xf0, 0xf2, 0xf3, 0x48, 0x41, 0x0f};
  const auto seed = static_cast<unsigned>(test_seed(std::random_device{}()));
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  std::array<std::uint8_t, DecodeTemplates::kWindow> code{};
  for (unsigned n = 0; n < kHeads; ++n) {
    for (std::uint8_t& byte : code) byte = static_cast<std::uint8_t>(random());
    for (unsigned at = 0; at < random() % 4; ++at) code.at(at) = kPrefixes.at(random() % kPrefixes.size());
    if (stubs_.wants_clear()) stubs_.clear();
    const CodeMode mode = n % 3 == 0 ? CodeMode::kProtected32 : CodeMode::kLong64;
    for (unsigned number = 0; number < kNumbers; ++number) {
      for (std::size_t at = 2 + random() % 6; at < code.size(); ++at) code.at(at) = static_cast<std::uint8_t>(random());
      Instruction expected;
      Instruction expanded;
      ASSERT_EQ(decoder_.decode(std::span(code).first(kLongestInstruction), mode, expected), DecodeStatus::kDone);
      for (int time = 0; time < 2; ++time) {
        ASSERT_EQ(decoder_.decode(code, mode, expanded), DecodeStatus::kDone);
        ASSERT_EQ(fields(expanded), fields(expected)) << testing::PrintToString(code);
      }
    }
  }
}

}  // namespace
}  // namespace doppel::accel::soft
