#include "accel/soft/interpreter/native_stub.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cfenv>

#include "accel/soft/interpreter/test_cpu.h"

namespace doppel::accel::soft {
namespace {

using tiny::Mode;
using Bytes = std::array<std::byte, 64>;

constexpr std::uint64_t kData = tiny::kData;
constexpr std::uint64_t kMmio = TestCpu::kMemorySize;  // the first address behind RAM

/// A processor with all vector state switched on, RBX = kData.
class Guest : public TestCpu {
 public:
  explicit Guest(Mode mode = Mode::kLong64) : TestCpu(mode) {
    cpu.cr4 |= x86::cr4::kOsfxsr | x86::cr4::kOsxmmexcpt | x86::cr4::kOsxsave;
    cpu.xcr0 = 0xe7;
    cpu.fpu.init_x87();
    cpu.gpr[x86::kRbx] = kData;
    for (const std::uint8_t vector : {x86::kInvalidOpcode, x86::kDeviceNotAvailable, x86::kGeneralProtection,
                                      x86::kFloatingPoint, x86::kSimdFloatingPoint})
      catch_vector(vector);
  }

  /// The vector of the exception that running CODE ends in; -1: none.
  int fault_of(std::initializer_list<std::uint8_t> code) {
    const std::uint64_t before = cpu.rip;
    for (const std::uint8_t vector : {x86::kInvalidOpcode, x86::kDeviceNotAvailable, x86::kGeneralProtection,
                                      x86::kFloatingPoint, x86::kSimdFloatingPoint, x86::kPageFault})
      tiny::write_gate(memory(), Mode::kLong64, vector, tiny::kHandler + vector * std::uint64_t{16});
    run(code);
    if (cpu.rip == before + code.size()) return -1;
    return static_cast<int>((cpu.rip - tiny::kHandler) / 16);
  }

  template <class T>
  void set_vector(unsigned number, std::initializer_list<T> values) {
    cpu.fpu.vector.at(number) = {};
    std::memcpy(cpu.fpu.vector.at(number).data(), std::data(values), values.size() * sizeof(T));
  }
  template <class T>
  [[nodiscard]] T element(unsigned number, unsigned n) const {
    T value;
    std::memcpy(&value, cpu.fpu.vector.at(number).data() + n * sizeof(T), sizeof value);
    return value;
  }
  void fill_vector(unsigned number, std::uint8_t value) {
    cpu.fpu.vector.at(number).fill(static_cast<std::byte>(value));
  }
  [[nodiscard]] std::uint16_t status_word() const { return cpu.fpu.legacy_field<std::uint16_t>(FpuState::kFsw); }
};

bool host_has(std::string_view name) {
  return host_native_features().has(x86::find_feature(name)->bit);
}
#define NEEDS(feature) \
  if (!host_has(feature)) GTEST_SKIP() << "the host has no " << (feature)

TEST(NativeStubTest, SseRegisters) {
  Guest guest;
  guest.set_vector<float>(1, {1, 2, 3, 4});
  guest.set_vector<float>(10, {10, 20, 30, 40, 50, 60, 70, 80});
  guest.run({0x44, 0x0f, 0x58, 0xd1});  // addps xmm10, xmm1
  EXPECT_EQ(guest.element<float>(10, 0), 11);
  EXPECT_EQ(guest.element<float>(10, 3), 44);
  EXPECT_EQ(guest.element<float>(10, 4), 50) << "an SSE instruction keeps the upper half";
}

TEST(NativeStubTest, SseMemoryWithEveryAddressForm) {
  Guest guest;
  for (unsigned n = 0; n < 4; ++n) guest.poke(kData + 0x40 + 4 * n, static_cast<float>(n));
  guest.cpu.gpr[x86::kR12] = kData;
  guest.cpu.gpr[x86::kR13] = 0x10;
  guest.set_vector<float>(0, {5, 5, 5, 5});
  guest.run({0x43, 0x0f, 0x58, 0x04, 0xac});  // addps xmm0, [r12 + r13 * 4]
  EXPECT_EQ(guest.element<float>(0, 3), 8);
  guest.run({0x0f, 0x58, 0x43, 0x40});  // addps xmm0, [rbx + 0x40]
  EXPECT_EQ(guest.element<float>(0, 3), 11);
  guest.run({0x0f, 0x58, 0x05, static_cast<std::uint8_t>(kData + 0x40 - guest.cpu.rip - 7),
             static_cast<std::uint8_t>((kData + 0x40 - guest.cpu.rip - 7) >> 8U), 0, 0});  // addps xmm0, [rip + x]
  EXPECT_EQ(guest.element<float>(0, 3), 14);
}

TEST(NativeStubTest, ScalarMoveKeepsOrClearsTheRest) {
  Guest guest;
  guest.set_vector<double>(0, {1, 2});
  guest.set_vector<double>(1, {3, 4});
  guest.poke(kData, 7.5);
  guest.run({0xf2, 0x0f, 0x10, 0xc1});  // movsd xmm0, xmm1
  EXPECT_EQ(guest.element<double>(0, 0), 3);
  EXPECT_EQ(guest.element<double>(0, 1), 2);
  guest.run({0xf2, 0x0f, 0x10, 0x03});  // movsd xmm0, [rbx]
  EXPECT_EQ(guest.element<double>(0, 0), 7.5);
  EXPECT_EQ(guest.element<double>(0, 1), 0);
}

TEST(NativeStubTest, StackPointerAsOperand) {
  Guest guest;
  guest.cpu.gpr[x86::kRax] = 0xff0f;
  guest.run({0xf3, 0x48, 0x0f, 0xb8, 0xe0});  // popcnt rsp, rax
  EXPECT_EQ(guest.cpu.gpr[x86::kRsp], 12U);
  guest.cpu.gpr[x86::kRsp] = 0x1234567890abcdef;
  guest.run({0x66, 0x48, 0x0f, 0x6e, 0xc4});  // movq xmm0, rsp
  EXPECT_EQ(guest.element<std::uint64_t>(0, 0), 0x1234567890abcdefU);
  guest.run({0x66, 0x48, 0x0f, 0x3a, 0x22, 0xc4, 0x01});  // pinsrq xmm0, rsp, 1
  EXPECT_EQ(guest.element<std::uint64_t>(0, 1), 0x1234567890abcdefU);
  guest.cpu.gpr[x86::kRsp] = 0x77;
  guest.cpu.gpr[x86::kRbp] = 0x7777;
  guest.cpu.gpr[x86::kRax] = guest.cpu.gpr[x86::kRcx] = 0;
  guest.run({0xf2, 0x40, 0x0f, 0x38, 0xf0, 0xc4});  // crc32 eax, spl
  guest.run({0xf2, 0x40, 0x0f, 0x38, 0xf0, 0xcd});  // crc32 ecx, bpl
  EXPECT_EQ(guest.cpu.gpr[x86::kRax], guest.cpu.gpr[x86::kRcx]);
  EXPECT_EQ(guest.cpu.gpr[x86::kRbp], 0x7777U);
}

TEST(NativeStubTest, VexGeneralRegisters) {
  NEEDS("bmi2");
  Guest guest;
  guest.cpu.gpr[x86::kRsp] = 0xf0;
  guest.cpu.gpr[x86::kRax] = 0xff;
  guest.run({0xc4, 0xe2, 0xd8, 0xf2, 0xc8});  // andn rcx, rsp, rax
  EXPECT_EQ(guest.cpu.gpr[x86::kRcx], 0x0fU);
  guest.cpu.gpr[x86::kRdx] = ~0ULL;
  guest.poke(kData, std::uint64_t{16});
  guest.run({0xc4, 0xe2, 0xdb, 0xf6, 0x33});  // mulx rsi, rsp, [rbx]
  EXPECT_EQ(guest.cpu.gpr[x86::kRsi], 15U);
  EXPECT_EQ(guest.cpu.gpr[x86::kRsp], ~0ULL << 4U);
  EXPECT_EQ(guest.cpu.gpr[x86::kRdx], ~0ULL);
}

TEST(NativeStubTest, HighByteRegister) {
  Guest guest;
  guest.cpu.gpr[x86::kRcx] = 0x5500;
  guest.cpu.gpr[x86::kRdx] = 0x55;
  guest.cpu.gpr[x86::kRax] = guest.cpu.gpr[x86::kRsi] = 1;
  guest.run({0xf2, 0x0f, 0x38, 0xf0, 0xc5});  // crc32 eax, ch
  guest.run({0xf2, 0x0f, 0x38, 0xf0, 0xf2});  // crc32 esi, dl
  EXPECT_EQ(guest.cpu.gpr[x86::kRax], guest.cpu.gpr[x86::kRsi]);
}

TEST(NativeStubTest, FlagsReadAndWritten) {
  NEEDS("adx");
  Guest guest;
  guest.cpu.rflags |= x86::rflags::kArithmetic | x86::rflags::kDf;
  guest.cpu.gpr[x86::kRax] = 5;
  guest.cpu.gpr[x86::kRcx] = 6;
  guest.run({0x66, 0x0f, 0x38, 0xf6, 0xc1});  // adcx eax, ecx
  EXPECT_EQ(guest.cpu.gpr[x86::kRax], 12U);
  EXPECT_EQ(guest.cpu.rflags & x86::rflags::kArithmetic, x86::rflags::kArithmetic & ~x86::rflags::kCf);
  EXPECT_TRUE(guest.cpu.flag(x86::rflags::kDf));
  guest.run({0xf3, 0x0f, 0x38, 0xf6, 0xc1});  // adox eax, ecx
  EXPECT_EQ(guest.cpu.gpr[x86::kRax], 19U);
  EXPECT_FALSE(guest.cpu.flag(x86::rflags::kOf));
  EXPECT_TRUE(guest.cpu.flag(x86::rflags::kZf));
  guest.set_vector<double>(0, {1});
  guest.set_vector<double>(1, {2});
  guest.run({0x66, 0x0f, 0x2f, 0xc1});  // comisd xmm0, xmm1
  EXPECT_EQ(guest.cpu.rflags & x86::rflags::kArithmetic, x86::rflags::kCf);
}

TEST(NativeStubTest, StringComparisonHasImplicitOperands) {
  Guest guest;
  guest.set_vector<char>(2, {'a', 'b', 'c', 'd'});
  guest.set_vector<char>(3, {'x', 'y', 'c', 'd'});
  guest.cpu.gpr[x86::kRax] = guest.cpu.gpr[x86::kRdx] = 4;
  guest.run({0x66, 0x0f, 0x3a, 0x61, 0xd3, 0x08});  // pcmpestri xmm2, xmm3, equal each
  EXPECT_EQ(guest.cpu.gpr[x86::kRcx], 2U);
  EXPECT_TRUE(guest.cpu.flag(x86::rflags::kCf));
  guest.run({0x66, 0x0f, 0x3a, 0x60, 0xd3, 0x48});  // pcmpestrm, byte mask into xmm0
  EXPECT_EQ(guest.element<std::uint32_t>(0, 0), 0xffff0000U);
}

TEST(NativeStubTest, OperandSizeComesFromTheCodeSegment) {
  Guest guest(Mode::kReal16);
  guest.cpu.gpr[x86::kRcx] = 0xffff00f0;
  guest.cpu.gpr[x86::kRax] = 0xaaaa0000;
  guest.run({0xf3, 0x0f, 0xb8, 0xc1});  // popcnt ax, cx
  EXPECT_EQ(guest.cpu.gpr[x86::kRax], 0xaaaa0004U);
  guest.run({0x66, 0xf3, 0x0f, 0xb8, 0xc1});  // popcnt eax, ecx
  EXPECT_EQ(guest.cpu.gpr[x86::kRax], 20U);
  guest.poke<std::uint32_t>(kData, 0x11223344);
  guest.run({0x0f, 0x38, 0xf0, 0x07});  // movbe ax, [bx]
  EXPECT_EQ(guest.cpu.gpr[x86::kRax], 0x4433U);
  guest.set_vector<float>(0, {1, 2, 3, 4});
  guest.run({0x0f, 0x58, 0xc0});  // addps xmm0, xmm0: no operand size
  EXPECT_EQ(guest.element<float>(0, 3), 8);
}

TEST(NativeStubTest, VexWidthIsIgnoredIn32BitCode) {
  NEEDS("avx");
  Guest guest(Mode::kProtected32);
  guest.cpu.gpr[x86::kRcx] = 0xffffffff12345678;
  guest.fill_vector(0, 0xee);
  guest.run({0xc4, 0xe1, 0xf9, 0x6e, 0xc1});  // vmovd xmm0, ecx with W
  EXPECT_EQ(guest.element<std::uint64_t>(0, 0), 0x12345678U);
  EXPECT_EQ(guest.element<std::uint64_t>(0, 7), 0U);
}

TEST(NativeStubTest, AvxAndItsUpperHalves) {
  NEEDS("avx");
  Guest guest;
  guest.fill_vector(15, 0xff);
  guest.set_vector<float>(9, {1, 2, 3, 4, 5, 6, 7, 8, 9});
  guest.run({0xc4, 0x41, 0x34, 0x58, 0xf9});  // vaddps ymm15, ymm9, ymm9
  EXPECT_EQ(guest.element<float>(15, 7), 16);
  EXPECT_EQ(guest.element<std::uint64_t>(15, 4), 0U);
  guest.run({0xc4, 0x41, 0x30, 0x58, 0xf9});  // vaddps xmm15, xmm9, xmm9
  EXPECT_EQ(guest.element<float>(15, 3), 8);
  EXPECT_EQ(guest.element<std::uint64_t>(15, 2), 0U);
  guest.fill_vector(16, 0x11);
  guest.run({0xc5, 0xf8, 0x77});  // vzeroupper
  EXPECT_EQ(guest.element<float>(9, 3), 4);
  EXPECT_EQ(guest.element<float>(9, 4), 0);
  EXPECT_EQ(guest.element<std::uint8_t>(16, 63), 0x11);
}

TEST(NativeStubTest, Avx512MergesUnderAMask) {
  NEEDS("avx512bw");
  Guest guest;
  guest.fill_vector(31, 0x01);
  guest.fill_vector(17, 0x10);
  guest.cpu.fpu.mask[3] = 0x8000000000000001;
  guest.run({0x62, 0x01, 0x75, 0x43, 0xfc, 0xff});  // vpaddb zmm31{k3}, zmm17, zmm31
  EXPECT_EQ(guest.element<std::uint8_t>(31, 0), 0x11);
  EXPECT_EQ(guest.element<std::uint8_t>(31, 1), 0x01);
  EXPECT_EQ(guest.element<std::uint8_t>(31, 63), 0x11);
  guest.run({0x62, 0x91, 0x75, 0x40, 0x74, 0xcf});  // vpcmpeqb k1, zmm17, zmm31
  EXPECT_EQ(guest.cpu.fpu.mask[1], 0U);
  guest.run({0xc4, 0xe1, 0xfb, 0x93, 0xc3});  // kmovq rax, k3
  EXPECT_EQ(guest.cpu.gpr[x86::kRax], 0x8000000000000001U);
}

TEST(NativeStubTest, Avx512Displacement8) {
  NEEDS("avx512f");
  Guest guest;
  guest.poke<std::uint32_t>(kData + 0x80, 0x12345678);
  guest.run({0x62, 0xf1, 0x7c, 0x48, 0x10, 0x43, 0x02});  // vmovups zmm0, [rbx + 2 * 64]
  EXPECT_EQ(guest.element<std::uint32_t>(0, 0), 0x12345678U);
  guest.run({0x62, 0xf1, 0x7c, 0x58, 0x58, 0x43, 0x20});  // vaddps zmm0, zmm0, dword [rbx + 0x20 * 4]{1to16}
  EXPECT_EQ(guest.element<float>(0, 15), std::bit_cast<float>(0x12345678U));
}

TEST(NativeStubTest, MxcsrRoundsAndCollects) {
  Guest guest;
  guest.cpu.fpu.set_mxcsr(0x1f80 | 2U << 13U);  // up
  guest.set_vector<float>(0, {1});
  guest.set_vector<float>(1, {3});
  guest.run({0xf3, 0x0f, 0x5e, 0xc1});  // divss xmm0, xmm1
  EXPECT_EQ(guest.element<std::uint32_t>(0, 0), 0x3eaaaaabU);
  EXPECT_EQ(guest.cpu.fpu.mxcsr(), 0x1f80U | 2U << 13U | 0x20U);
  guest.set_vector<float>(0, {1});
  guest.cpu.fpu.set_mxcsr(0x1f80 | 1U << 13U);  // down
  guest.run({0xf3, 0x0f, 0x5e, 0xc1});
  EXPECT_EQ(guest.element<std::uint32_t>(0, 0), 0x3eaaaaaaU);
  guest.cpu.gpr[x86::kRax] = 0x01000001;
  guest.run({0xf3, 0x0f, 0x2a, 0xc0});  // cvtsi2ss xmm0, eax
  EXPECT_EQ(guest.element<float>(0, 0), 16777216.0F);
  EXPECT_EQ(std::fegetround(), FE_TONEAREST) << "the host's own MXCSR is back";
}

TEST(NativeStubTest, UnmaskedSimdException) {
  Guest guest;
  guest.cpu.fpu.set_mxcsr(0x1f80 & ~0x200U);  // divide by zero unmasked
  guest.set_vector<float>(0, {1});
  guest.set_vector<float>(1, {0});
  EXPECT_EQ(guest.fault_of({0xf3, 0x0f, 0x5e, 0xc1}), x86::kSimdFloatingPoint);
  EXPECT_EQ(guest.element<float>(0, 0), 1);
  EXPECT_EQ(guest.cpu.fpu.mxcsr() & 0x3f, 4U);
  guest.cpu.cr4 &= ~x86::cr4::kOsxmmexcpt;
  guest.start(tiny::kCode);
  guest.cpu.cr4 = (guest.cpu.cr4 | x86::cr4::kOsfxsr) & ~x86::cr4::kOsxmmexcpt;
  EXPECT_EQ(guest.fault_of({0xf3, 0x0f, 0x5e, 0xc1}), x86::kInvalidOpcode);
}

TEST(NativeStubTest, MisalignedOperandFaults) {
  Guest guest;
  guest.cpu.gpr[x86::kRbx] = kData + 8;
  EXPECT_EQ(guest.fault_of({0x0f, 0x28, 0x03}), x86::kGeneralProtection);  // movaps xmm0, [rbx]
  guest.start(tiny::kCode);
  guest.cpu.cr4 |= x86::cr4::kOsfxsr | x86::cr4::kOsxsave;
  guest.cpu.gpr[x86::kRbx] = kData + 8;
  EXPECT_EQ(guest.fault_of({0x0f, 0x10, 0x03}), -1);  // movups
}

TEST(NativeStubTest, PageCrossingOperands) {
  Guest guest;
  guest.cpu.gpr[x86::kRbx] = 0x8ffc;
  guest.set_vector<std::uint32_t>(0, {1, 2, 3, 4});
  guest.run({0x0f, 0x11, 0x03, 0x0f, 0x10, 0x0b}, 2);  // movups [rbx], xmm0; movups xmm1, [rbx]
  EXPECT_EQ(guest.peek<std::uint32_t>(0x8ffc), 1U);
  EXPECT_EQ(guest.peek<std::uint32_t>(0x9008), 4U);
  EXPECT_EQ(guest.element<std::uint32_t>(1, 3), 4U);
}

TEST(NativeStubTest, StoreFaultLeavesEverything) {
  Guest guest;
  guest.poke<std::uint64_t>(tiny::kPageDirectories + 8, 0);  // 2 MiB is not present
  guest.cpu.tlb.flush_all();
  guest.cpu.gpr[x86::kRbx] = 0x1ffffc;
  guest.poke(kData, 2.0);
  guest.cpu.gpr[x86::kRcx] = kData;
  guest.run({0xdd, 0x01});                                   // fld qword [rcx]
  EXPECT_EQ(guest.fault_of({0xdd, 0x1b}), x86::kPageFault);  // fstp qword [rbx]
  EXPECT_EQ(guest.cpu.cr2, 0x200000U);
  EXPECT_EQ(guest.status_word() >> 11U & 7U, 7U) << "nothing was popped";
  EXPECT_EQ(guest.peek<std::uint32_t>(0x1ffffc), 0U);
}

TEST(NativeStubTest, X87CalculatesAndRemembersPointers) {
  Guest guest;
  guest.poke(kData, 1.5);
  guest.poke(kData + 8, 2.25);
  guest.run({0xdd, 0x03, 0xdc, 0x43, 0x08, 0xdd, 0x5b, 0x10}, 3);  // fld [rbx]; fadd [rbx + 8]; fstp [rbx + 16]
  EXPECT_EQ(guest.peek<double>(kData + 16), 3.75);
  const FpuState& fpu = guest.cpu.fpu;
  EXPECT_EQ(fpu.legacy_field<std::uint64_t>(FpuState::kFip), tiny::kCode + 5);
  EXPECT_EQ(fpu.legacy_field<std::uint64_t>(FpuState::kFdp), kData + 16);
  EXPECT_EQ(fpu.legacy_field<std::uint16_t>(FpuState::kFop), 0x55b);
  EXPECT_EQ(fpu.fcs, guest.cpu.segment[x86::kCs].selector);
  guest.run({0xd9, 0xe8});  // fld1: no operand
  EXPECT_EQ(fpu.legacy_field<std::uint64_t>(FpuState::kFip), tiny::kCode + 8);
  EXPECT_EQ(fpu.legacy_field<std::uint64_t>(FpuState::kFdp), kData + 16);
}

TEST(NativeStubTest, X87ExceptionWaitsForTheNextInstruction) {
  Guest guest;
  guest.cpu.fpu.set_x87_words(0x37b, 0);               // divide by zero unmasked
  guest.run({0xd9, 0xe8, 0xd9, 0xee, 0xde, 0xf9}, 3);  // fld1; fldz; fdivp
  EXPECT_EQ(guest.cpu.rip, tiny::kCode + 6);
  EXPECT_EQ(guest.status_word() & 0x8084U, 0x8084U);
  guest.run({0xdf, 0xe0});  // fnstsw ax does not wait
  EXPECT_EQ(guest.cpu.gpr[x86::kRax] & 0xffff, guest.status_word());
  EXPECT_EQ(guest.fault_of({0xd9, 0xe8}), x86::kFloatingPoint);
  EXPECT_EQ(guest.cpu.fpu.legacy_field<std::uint64_t>(FpuState::kFip), tiny::kCode + 4);
}

TEST(NativeStubTest, X87ComparesIntoFlags) {
  Guest guest;
  guest.run({0xd9, 0xe8, 0xd9, 0xee, 0xdb, 0xf1}, 3);  // fld1; fldz; fcomi st0, st1
  EXPECT_EQ(guest.cpu.rflags & x86::rflags::kArithmetic, x86::rflags::kCf);
  guest.run({0xda, 0xc1});  // fcmovb st0, st1
  guest.run({0xdd, 0x1b});  // fstp qword [rbx]
  EXPECT_EQ(guest.peek<double>(kData), 1.0);
}

TEST(NativeStubTest, X87StoreToMmioPopsOnce) {
  Guest guest;
  guest.cpu.gpr[x86::kRbx] = kMmio;
  guest.run({0xd9, 0xe8});                               // fld1
  EXPECT_EQ(guest.run({0xdd, 0x1b}), StopReason::kBus);  // fstp qword [rbx]
  EXPECT_EQ(guest.status_word() >> 11U & 7U, 7U);
  EXPECT_EQ(guest.cpu.bus.pending().value, std::bit_cast<std::uint64_t>(1.0));
  guest.cpu.bus.answered();
  EXPECT_EQ(guest.resume(), StopReason::kBudget);
  EXPECT_EQ(guest.status_word() >> 11U & 7U, 0U);
}

TEST(NativeStubTest, MmxMarksRegistersInUse) {
  Guest guest;
  guest.poke<std::uint64_t>(kData, 0x0101010101010101);
  guest.run({0x0f, 0x6f, 0x0b, 0x0f, 0xfc, 0xc9}, 2);  // movq mm1, [rbx]; paddb mm1, mm1
  EXPECT_EQ(guest.cpu.fpu.legacy_field<std::uint64_t>(FpuState::kSt0 + 16), 0x0202020202020202U);
  EXPECT_EQ(guest.cpu.fpu.legacy_field<std::uint16_t>(FpuState::kSt0 + 24), 0xffff);
  EXPECT_EQ(guest.cpu.fpu.legacy_field<std::uint8_t>(FpuState::kFtw), 0xff);
  guest.run({0x0f, 0x77});  // emms
  EXPECT_EQ(guest.cpu.fpu.legacy_field<std::uint8_t>(FpuState::kFtw), 0);
  guest.set_vector<std::uint64_t>(3, {0x1122334455667788, 1});
  guest.run({0xf2, 0x0f, 0xd6, 0xd3});  // movdq2q mm2, xmm3
  EXPECT_EQ(guest.cpu.fpu.legacy_field<std::uint64_t>(FpuState::kSt0 + 32), 0x1122334455667788U);
}

// --- Masked operands; what is masked out lies in MMIO, which no instruction here may touch ---

TEST(NativeStubTest, VexMaskedMoves) {
  NEEDS("avx");
  Guest guest;
  guest.cpu.gpr[x86::kRbx] = kMmio - 8;
  guest.poke<std::uint64_t>(kMmio - 8, 0x2222222211111111);
  guest.set_vector<std::uint32_t>(1, {~0U, ~0U, 0, 0, 0, 0, 0, 0});
  EXPECT_EQ(guest.run({0xc4, 0xe2, 0x75, 0x2c, 0x03}), StopReason::kBudget);  // vmaskmovps ymm0, ymm1, [rbx]
  EXPECT_EQ(guest.element<std::uint64_t>(0, 0), 0x2222222211111111U);
  EXPECT_EQ(guest.element<std::uint64_t>(0, 1), 0U);
  guest.set_vector<std::uint32_t>(0, {3, 4, 5, 6});
  EXPECT_EQ(guest.run({0xc4, 0xe2, 0x75, 0x2e, 0x03}), StopReason::kBudget);  // vmaskmovps [rbx], ymm1, ymm0
  EXPECT_EQ(guest.peek<std::uint64_t>(kMmio - 8), 0x0000000400000003U);
  guest.set_vector<std::uint32_t>(1, {0, ~0U, ~0U});
  EXPECT_EQ(guest.run({0xc4, 0xe2, 0x75, 0x2c, 0x03}), StopReason::kBus);
  EXPECT_EQ(guest.cpu.bus.pending().address, kMmio);
  EXPECT_EQ(guest.cpu.bus.pending().size, 4);
}

TEST(NativeStubTest, EvexMaskedMoves) {
  NEEDS("avx512bw");
  Guest guest;
  guest.cpu.gpr[x86::kRbx] = kMmio - 8;
  guest.poke<std::uint64_t>(kMmio - 8, 0x2222222211111111);
  guest.cpu.fpu.mask[1] = 2;
  guest.fill_vector(0, 0x77);
  EXPECT_EQ(guest.run({0x62, 0xf1, 0x7c, 0x49, 0x10, 0x03}), StopReason::kBudget);  // vmovups zmm0{k1}, [rbx]
  EXPECT_EQ(guest.element<std::uint64_t>(0, 0), 0x2222222277777777U);
  EXPECT_EQ(guest.element<std::uint64_t>(0, 1), 0x7777777777777777U);
  EXPECT_EQ(guest.run({0x62, 0xf1, 0x7c, 0x49, 0x58, 0x03}), StopReason::kBudget);  // vaddps zmm0{k1}, zmm0, [rbx]
  guest.fill_vector(0, 0x55);
  EXPECT_EQ(guest.run({0x62, 0xf1, 0x7c, 0x49, 0x11, 0x03}), StopReason::kBudget);  // vmovups [rbx]{k1}, zmm0
  EXPECT_EQ(guest.peek<std::uint64_t>(kMmio - 8), 0x5555555511111111U);
  guest.cpu.fpu.mask[1] = 0;
  guest.cpu.gpr[x86::kRbx] = kMmio;
  EXPECT_EQ(guest.run({0x62, 0xf1, 0x7c, 0x59, 0x58, 0x03}), StopReason::kBudget);  // vaddps ..., [rbx]{1to16}
  guest.cpu.fpu.mask[1] = 0x8000;
  EXPECT_EQ(guest.run({0x62, 0xf1, 0x7c, 0x59, 0x58, 0x03}), StopReason::kBus);
}

TEST(NativeStubTest, CompressStoresOnlyWhatItHas) {
  NEEDS("avx512f");
  Guest guest;
  guest.cpu.gpr[x86::kRbx] = kMmio - 8;
  guest.set_vector<std::uint32_t>(0, {1, 2, 3, 4});
  guest.cpu.fpu.mask[2] = 0xa;
  EXPECT_EQ(guest.run({0x62, 0xf2, 0x7d, 0x4a, 0x8a, 0x03}), StopReason::kBudget);  // vcompressps [rbx]{k2}, zmm0
  EXPECT_EQ(guest.peek<std::uint64_t>(kMmio - 8), 0x0000000400000002U);
  guest.set_vector<std::uint32_t>(1, {9, 9, 9, 9});
  EXPECT_EQ(guest.run({0x62, 0xf2, 0x7d, 0x4a, 0x88, 0x0b}), StopReason::kBudget);  // vexpandps zmm1{k2}, [rbx]
  EXPECT_EQ(guest.element<std::uint64_t>(1, 0), 0x0000000200000009U);
  EXPECT_EQ(guest.element<std::uint64_t>(1, 1), 0x0000000400000009U);
}

TEST(NativeStubTest, ByteMaskedMoves) {
  Guest guest;
  guest.cpu.gpr[x86::kRdi] = kMmio - 4;
  guest.fill_vector(1, 0xab);
  guest.set_vector<std::uint8_t>(2, {0x80, 0x7f, 0xff, 0});
  EXPECT_EQ(guest.run({0x66, 0x0f, 0xf7, 0xca}), StopReason::kBudget);  // maskmovdqu xmm1, xmm2
  EXPECT_EQ(guest.peek<std::uint32_t>(kMmio - 4), 0x00ab00abU);
  EXPECT_EQ(guest.cpu.gpr[x86::kRdi], kMmio - 4);
  guest.run({0xf2, 0x0f, 0xd6, 0xca, 0xf2, 0x0f, 0xd6, 0xe1}, 2);  // movdq2q mm1, xmm2; movdq2q mm4, xmm1
  EXPECT_EQ(guest.run({0x0f, 0xf7, 0xe1}), StopReason::kBudget);   // maskmovq mm4, mm1
  EXPECT_EQ(guest.peek<std::uint32_t>(kMmio - 4), 0x00ab00abU);
}

TEST(NativeStubTest, GatherStopsAtAFaultAndGoesOn) {
  NEEDS("avx2");
  Guest guest;
  guest.poke<std::uint64_t>(tiny::kPageDirectories + 8, 0);  // 2 MiB is not present
  guest.cpu.tlb.flush_all();
  for (unsigned n = 0; n < 4; ++n) guest.poke<std::uint32_t>(kData + 4 * n, 100 + n);
  guest.set_vector<std::int32_t>(1, {3, 1, 0x7e000, 2});
  guest.set_vector<std::uint32_t>(2, {~0U, ~0U, ~0U, 0x80000000});
  guest.fill_vector(0, 0x66);
  EXPECT_EQ(guest.fault_of({0xc4, 0xe2, 0x69, 0x92, 0x04, 0x8b}),
            x86::kPageFault);  // vgatherdps xmm0, [rbx+xmm1*4], xmm2
  EXPECT_EQ(guest.element<std::uint32_t>(0, 0), 103U);
  EXPECT_EQ(guest.element<std::uint32_t>(0, 1), 101U);
  EXPECT_EQ(guest.element<std::uint32_t>(0, 2), 0x66666666U);
  EXPECT_EQ(guest.element<std::uint64_t>(2, 0), 0U);
  EXPECT_EQ(guest.element<std::uint64_t>(2, 1), ~0ULL);
  guest.set_vector<std::int32_t>(1, {3, 1, -0, 2});
  guest.start(tiny::kCode);
  guest.cpu.cr4 |= x86::cr4::kOsfxsr | x86::cr4::kOsxsave;
  guest.cpu.gpr[x86::kRbx] = kData;
  EXPECT_EQ(guest.fault_of({0xc4, 0xe2, 0x69, 0x92, 0x04, 0x8b}), -1);
  EXPECT_EQ(guest.element<std::uint32_t>(0, 3), 102U);
  EXPECT_EQ(guest.element<std::uint64_t>(0, 2), 0U);
  EXPECT_EQ(guest.element<std::uint64_t>(2, 1), 0U);
}

TEST(NativeStubTest, ScatterAndGatherWithMaskRegister) {
  NEEDS("avx512f");
  Guest guest;
  guest.set_vector<std::int64_t>(17, {-1, 0, 1, 2, 3, 4, 5, 6});
  guest.set_vector<std::uint64_t>(18, {10, 20, 30, 40, 50, 60, 70, 80});
  guest.cpu.fpu.mask[1] = 0x83;
  guest.cpu.gpr[x86::kRbx] = kData + 0x100;
  guest.run({0x62, 0xe2, 0xfd, 0x41, 0xa1, 0x14, 0xcb});  // vpscatterqq [rbx + zmm17 * 8]{k1}, zmm18
  EXPECT_EQ(guest.peek<std::uint64_t>(kData + 0xf8), 10U);
  EXPECT_EQ(guest.peek<std::uint64_t>(kData + 0x100), 20U);
  EXPECT_EQ(guest.peek<std::uint64_t>(kData + 0x108), 0U);
  EXPECT_EQ(guest.peek<std::uint64_t>(kData + 0x130), 80U);
  EXPECT_EQ(guest.cpu.fpu.mask[1], 0U);
  guest.cpu.fpu.mask[1] = 0x81;
  guest.fill_vector(3, 0xff);
  guest.run({0x62, 0xf2, 0xfd, 0x41, 0x91, 0x1c, 0xcb});  // vpgatherqq zmm3{k1}, [rbx + zmm17 * 8]
  EXPECT_EQ(guest.element<std::uint64_t>(3, 0), 10U);
  EXPECT_EQ(guest.element<std::uint64_t>(3, 1), ~0ULL);
  EXPECT_EQ(guest.element<std::uint64_t>(3, 7), 80U);
}

// --- Availability ---

struct Availability {
  const char* what;
  std::uint64_t cr0_set;
  std::uint64_t cr4_clear;
  std::uint64_t xcr0;
  std::vector<std::uint8_t> code;
  int fault;
};

TEST(NativeStubTest, OperatingSystemAllowsState) {
  using namespace x86;
  const std::vector<std::uint8_t> fld1{0xd9, 0xe8};
  const std::vector<std::uint8_t> paddb_mm{0x0f, 0xfc, 0xc0};
  const std::vector<std::uint8_t> addps{0x0f, 0x58, 0xc0};
  const std::vector<std::uint8_t> vaddps{0xc5, 0xf8, 0x58, 0xc0};
  const std::vector<std::uint8_t> vaddps512{0x62, 0xf1, 0x7c, 0x48, 0x58, 0xc0};
  const std::vector<std::uint8_t> popcnt{0xf3, 0x0f, 0xb8, 0xc0};
  const std::vector<std::uint8_t> andn{0xc4, 0xe2, 0x78, 0xf2, 0xc0};
  const std::uint64_t all = cr0::kEm | cr0::kTs;
  for (const Availability& row : std::initializer_list<Availability>{
           {"x87, EM", cr0::kEm, 0, 7, fld1, kDeviceNotAvailable},
           {"x87, TS", cr0::kTs, 0, 7, fld1, kDeviceNotAvailable},
           {"MMX, EM", all, 0, 7, paddb_mm, kInvalidOpcode},
           {"MMX, TS", cr0::kTs, cr4::kOsfxsr, 7, paddb_mm, kDeviceNotAvailable},
           {"MMX, no OSFXSR", 0, cr4::kOsfxsr, 7, paddb_mm, -1},
           {"SSE, EM", cr0::kEm, 0, 7, addps, kInvalidOpcode},
           {"SSE, TS", cr0::kTs, 0, 7, addps, kDeviceNotAvailable},
           {"SSE, no OSFXSR, TS", cr0::kTs, cr4::kOsfxsr, 7, addps, kInvalidOpcode},
           {"AVX, EM", cr0::kEm, 0, 7, vaddps, -1},
           {"AVX, TS", cr0::kTs, 0, 7, vaddps, kDeviceNotAvailable},
           {"AVX, no OSXSAVE", 0, cr4::kOsxsave, 7, vaddps, kInvalidOpcode},
           {"AVX, not in XCR0", cr0::kTs, 0, 3, vaddps, kInvalidOpcode},
           {"AVX-512, not in XCR0", 0, 0, 7, vaddps512, kInvalidOpcode},
           {"AVX-512", 0, 0, 0xe7, vaddps512, -1},
           {"POPCNT needs nothing", all, cr4::kOsfxsr, 1, popcnt, -1},
           {"nor does ANDN", all, cr4::kOsxsave, 1, andn, -1},
       }) {
    if (row.code == vaddps512 && !host_has("avx512f")) continue;
    Guest guest;
    guest.cpu.cr0 |= row.cr0_set;
    guest.cpu.cr4 &= ~row.cr4_clear;
    guest.cpu.xcr0 = row.xcr0;
    for (const std::uint8_t vector : {kInvalidOpcode, kDeviceNotAvailable})
      tiny::write_gate(guest.memory(), Mode::kLong64, vector, tiny::kHandler + vector * std::uint64_t{16});
    guest.run(row.code);
    const int fault =
        guest.cpu.rip == tiny::kCode + row.code.size() ? -1 : static_cast<int>((guest.cpu.rip - tiny::kHandler) / 16);
    EXPECT_EQ(fault, row.fault) << row.what;
  }
}

TEST(NativeStubTest, VexIsNoPrefixInRealMode) {
  NEEDS("bmi1");
  Guest guest(Mode::kReal16);
  guest.poke<std::uint8_t>(tiny::kHandler, 0xf4);  // hlt
  EXPECT_EQ(guest.run({0xc4, 0xe2, 0x78, 0xf2, 0xc0}, 2), StopReason::kHalt);
  EXPECT_EQ(guest.cpu.rip, tiny::kHandler + 1);
}

// --- Room ---

TEST(NativeStubTest, ClearMakesRoom) {
  NativeStubs stubs;
  ZydisDecoder zydis_decoder;
  ZydisDecoderInit(&zydis_decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  const auto select = [&](unsigned n) {
    // pinsrw xmmA, rB, imm
    const std::array bytes{std::uint8_t{0x66},
                           static_cast<std::uint8_t>(0x40U | (n >> 6U & 1U) << 2U | (n >> 7U & 1U)),
                           std::uint8_t{0x0f},
                           std::uint8_t{0xc4},
                           static_cast<std::uint8_t>(0xc0U | (n & 0x3fU)),
                           static_cast<std::uint8_t>(n >> 8U)};
    ZydisDecodedInstruction zydis;
    std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;
    EXPECT_TRUE(
        ZYAN_SUCCESS(ZydisDecoderDecodeFull(&zydis_decoder, bytes.data(), bytes.size(), &zydis, operands.data())));
    Instruction instruction;
    const Decoded decoded{
        .zydis = zydis, .operands = std::span(operands).first(zydis.operand_count), .mode = CodeMode::kLong64};
    EXPECT_NE(stubs.select(decoded, bytes.data(), instruction), nullptr);
    return instruction.stub;
  };
  const NativeStub* const first = select(0);
  EXPECT_EQ(select(0), first) << "equal instructions share a stub";
  EXPECT_NE(select(1), first);
  EXPECT_FALSE(stubs.wants_clear());
  for (unsigned n = 0; n < 0x10000; ++n) select(n);
  stubs.clear();
  EXPECT_FALSE(stubs.wants_clear());
  EXPECT_NE(select(0), nullptr);
}

}  // namespace
}  // namespace doppel::accel::soft
