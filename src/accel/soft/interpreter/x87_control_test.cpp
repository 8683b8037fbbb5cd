#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "accel/soft/interpreter/test_cpu.h"

namespace doppel::accel::soft {
namespace {

using tiny::Mode;

constexpr std::uint64_t kImage = tiny::kData;

class Guest : public TestCpu {
 public:
  explicit Guest(Mode mode = Mode::kProtected32) : TestCpu(mode) {
    cpu.gpr[x86::kRbx] = kImage;
    cpu.fpu.init_x87();
    poke<std::uint16_t>(tiny::kHandler, 0xfeeb);  // jmp $
  }
  [[nodiscard]] std::uint16_t control() const { return cpu.fpu.legacy_field<std::uint16_t>(FpuState::kFcw); }
  [[nodiscard]] std::uint16_t status() const { return cpu.fpu.legacy_field<std::uint16_t>(FpuState::kFsw); }
  [[nodiscard]] std::uint8_t tags() const { return cpu.fpu.legacy_field<std::uint8_t>(FpuState::kFtw); }
  [[nodiscard]] std::uint64_t significand(std::size_t n) const {
    return cpu.fpu.legacy_field<std::uint64_t>(FpuState::kSt0 + 16 * n);
  }
  /// ST(N) := SIGN_AND_EXPONENT, SIGNIFICAND.
  void set_register(std::size_t n, std::uint16_t sign_and_exponent, std::uint64_t significand) {
    cpu.fpu.set_legacy_field(FpuState::kSt0 + 16 * n, significand);
    cpu.fpu.set_legacy_field(FpuState::kSt0 + 16 * n + 8, sign_and_exponent);
  }
  /// Four registers in use from the top, 6, on: a number, zero, a NaN and a denormal.
  void fill_stack() {
    cpu.fpu.set_x87_words(0x37f, 6U << 11U | 0x4000);
    cpu.fpu.set_legacy_field<std::uint8_t>(FpuState::kFtw, 0xc3);
    set_register(0, 0x3fff, 0x8000000000000000);
    set_register(1, 0, 0);
    set_register(2, 0x7fff, 0xc000000000000000);
    set_register(3, 0, 1);
    for (std::size_t n = 4; n < 8; ++n) set_register(n, 0x4000, 0x8000000000000000 | n);
  }
};
constexpr std::uint16_t kFullTags = 0x0 << 12U | 0x1 << 14U | 0x2 << 0U | 0x2 << 2U | 0x0ff0;

// FNSTENV [rbx] and so on; in 16-bit code [bp + di] would be 0x03 too, so [bx] is 0x37.
constexpr std::array<std::uint8_t, 2> kFnstenv = {0xd9, 0x33};
constexpr std::array<std::uint8_t, 2> kFldenv = {0xd9, 0x23};
constexpr std::array<std::uint8_t, 2> kFnsave = {0xdd, 0x33};
constexpr std::array<std::uint8_t, 2> kFrstor = {0xdd, 0x23};
constexpr std::array<std::uint8_t, 2> kFldcw = {0xd9, 0x2b};
constexpr std::array<std::uint8_t, 2> kFninit = {0xdb, 0xe3};
constexpr std::array<std::uint8_t, 2> kFnclex = {0xdb, 0xe2};
constexpr std::array<std::uint8_t, 1> kFwait = {0x9b};

TEST(X87ControlTest, ProtectedModeEnvironment) {
  Guest guest;
  guest.fill_stack();
  guest.cpu.fpu.set_legacy_field<std::uint16_t>(FpuState::kFop, 0x7a5);
  guest.cpu.fpu.set_legacy_field<std::uint64_t>(FpuState::kFip, 0x12345678);
  guest.cpu.fpu.set_legacy_field<std::uint64_t>(FpuState::kFdp, 0x9abcdef0);
  guest.cpu.fpu.fcs = 0x11;
  guest.cpu.fpu.fds = 0x22;
  guest.run(kFnstenv);
  EXPECT_EQ(guest.peek<std::uint32_t>(kImage), 0xffff037fU);
  EXPECT_EQ(guest.peek<std::uint32_t>(kImage + 4), 0xffff7000U);
  EXPECT_EQ(guest.peek<std::uint32_t>(kImage + 8), 0xffff0000U | kFullTags);
  EXPECT_EQ(guest.peek<std::uint32_t>(kImage + 12), 0x12345678U);
  EXPECT_EQ(guest.peek<std::uint32_t>(kImage + 16), 0x07a50011U);
  EXPECT_EQ(guest.peek<std::uint32_t>(kImage + 20), 0x9abcdef0U);
  EXPECT_EQ(guest.peek<std::uint32_t>(kImage + 24), 0xffff0022U);
  const FpuState before = guest.cpu.fpu;
  guest.run(kFninit);
  guest.run(kFldenv);
  EXPECT_EQ(std::memcmp(before.legacy.data(), guest.cpu.fpu.legacy.data(), 160), 0);
  EXPECT_EQ(guest.cpu.fpu.fcs, 0x11);
  EXPECT_EQ(guest.cpu.fpu.fds, 0x22);
}

TEST(X87ControlTest, ProtectedModeEnvironmentOf16Bits) {
  Guest guest;
  guest.fill_stack();
  guest.cpu.fpu.set_legacy_field<std::uint64_t>(FpuState::kFip, 0x12345678);
  guest.cpu.fpu.fcs = 0x11;
  guest.poke<std::uint16_t>(kImage + 14, 0x5555);
  guest.run({0x66, 0xd9, 0x33});
  EXPECT_EQ(guest.peek<std::uint16_t>(kImage), 0x37f);
  EXPECT_EQ(guest.peek<std::uint16_t>(kImage + 4), kFullTags);
  EXPECT_EQ(guest.peek<std::uint16_t>(kImage + 6), 0x5678);
  EXPECT_EQ(guest.peek<std::uint16_t>(kImage + 8), 0x11);
  EXPECT_EQ(guest.peek<std::uint16_t>(kImage + 14), 0x5555);
}

TEST(X87ControlTest, RealModeEnvironments) {
  Guest guest(Mode::kReal16);
  guest.cpu.fpu.set_legacy_field<std::uint16_t>(FpuState::kFop, 0x7a5);
  guest.cpu.fpu.set_legacy_field<std::uint64_t>(FpuState::kFip, 0x5678);
  guest.cpu.fpu.set_legacy_field<std::uint64_t>(FpuState::kFdp, 0x1234);
  guest.cpu.fpu.fcs = 0xf000;
  guest.cpu.fpu.fds = 0x4000;
  guest.run({0xd9, 0x37});  // fnstenv [bx], 14 bytes
  EXPECT_EQ(guest.peek<std::uint16_t>(kImage + 4), 0xffff);
  EXPECT_EQ(guest.peek<std::uint16_t>(kImage + 6), 0x5678);
  EXPECT_EQ(guest.peek<std::uint16_t>(kImage + 8), 0xf7a5);
  EXPECT_EQ(guest.peek<std::uint16_t>(kImage + 10), 0x1234);
  EXPECT_EQ(guest.peek<std::uint16_t>(kImage + 12), 0x4000);
  guest.run({0xd9, 0x27});  // fldenv [bx]
  EXPECT_EQ(guest.cpu.fpu.legacy_field<std::uint64_t>(FpuState::kFip), 0xf5678U);
  EXPECT_EQ(guest.cpu.fpu.legacy_field<std::uint16_t>(FpuState::kFop), 0x7a5);
  guest.run({0x66, 0xd9, 0x37});  // 28 bytes
  EXPECT_EQ(guest.peek<std::uint32_t>(kImage + 12), 0x5678U);
  EXPECT_EQ(guest.peek<std::uint32_t>(kImage + 16), 0xf7a5U);
  EXPECT_EQ(guest.peek<std::uint32_t>(kImage + 24), 0x4000U);
}

TEST(X87ControlTest, StoringMasksExceptions) {
  Guest guest;
  guest.cpu.fpu.set_x87_words(0x340, 1);
  EXPECT_TRUE(guest.cpu.fpu.x87_exception_pending());
  guest.run(kFnstenv);
  EXPECT_EQ(guest.peek<std::uint16_t>(kImage), 0x340);
  EXPECT_EQ(guest.peek<std::uint16_t>(kImage + 4), 0x8081);
  EXPECT_EQ(guest.control(), 0x37f);
  EXPECT_EQ(guest.status(), 1);
}

TEST(X87ControlTest, LoadingAnotherTopTurnsTheStack) {
  Guest guest;
  guest.fill_stack();
  guest.run(kFnstenv);
  guest.poke<std::uint16_t>(kImage + 4, 5U << 11U);
  guest.run(kFldenv);
  EXPECT_EQ(guest.significand(1), 0x8000000000000000U) << "what was ST0, register 6";
  EXPECT_EQ(guest.significand(0), 0x8000000000000007U) << "register 5";
}

TEST(X87ControlTest, SaveAndRestore) {
  for (const bool wide : {true, false}) {
    Guest guest;
    guest.fill_stack();
    const FpuState before = guest.cpu.fpu;
    const std::size_t environment = wide ? 28 : 14;
    guest.run(wide ? std::vector<std::uint8_t>{0xdd, 0x33} : std::vector<std::uint8_t>{0x66, 0xdd, 0x33});
    EXPECT_EQ(guest.peek<std::uint64_t>(kImage + environment + 20), 0xc000000000000000U);
    EXPECT_EQ(guest.control(), 0x37f);
    EXPECT_EQ(guest.status(), 0);
    EXPECT_EQ(guest.tags(), 0);
    EXPECT_EQ(guest.significand(6), 0x8000000000000000U) << "FNINIT leaves the registers where they are";
    guest.run(wide ? std::vector<std::uint8_t>{0xdd, 0x23} : std::vector<std::uint8_t>{0x66, 0xdd, 0x23});
    EXPECT_EQ(std::memcmp(before.legacy.data(), guest.cpu.fpu.legacy.data(), 160), 0);
  }
}

TEST(X87ControlTest, TagsAreTheHosts) {
  Guest guest;
  guest.fill_stack();
  guest.run(kFnstenv);
  std::array<std::uint32_t, 7> host{};
  asm volatile("fxrstor64 %[state]\n\tfnstenv %[out]\n\tfninit"
               : [out] "=m"(host)
               : [state] "m"(guest.cpu.fpu.legacy)
               : "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)", "xmm0", "xmm1", "xmm2", "xmm3",
                 "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
  for (unsigned n = 0; n < 3; ++n) EXPECT_EQ(guest.peek<std::uint32_t>(kImage + 4 * n), host.at(n));
}

TEST(X87ControlTest, UnmaskingMakesAnExceptionPending) {
  Guest guest(Mode::kLong64);
  guest.catch_vector(x86::kFloatingPoint);
  guest.cpu.fpu.set_x87_words(0x37f, 4);
  guest.poke<std::uint16_t>(kImage, 0xf37b);
  guest.run(kFldcw);
  EXPECT_EQ(guest.control(), 0x137b) << "the infinity bit is kept, reserved ones are not";
  EXPECT_EQ(guest.status(), 0x8084);
  guest.run(kFwait);
  EXPECT_EQ(guest.cpu.rip, tiny::kHandler);
  EXPECT_EQ(guest.status(), 0x8084);
  guest.run(kFnclex);
  EXPECT_EQ(guest.status(), 0);
}

TEST(X87ControlTest, WaitingInstructionsWait) {
  for (const auto& code : {kFldenv, kFrstor, kFldcw}) {
    Guest guest(Mode::kLong64);
    guest.catch_vector(x86::kFloatingPoint);
    guest.cpu.fpu.set_x87_words(0x37b, 4);
    guest.run(code);
    EXPECT_EQ(guest.cpu.rip, tiny::kHandler);
  }
  for (const auto& code : {kFnstenv, kFnsave, kFninit, kFnclex}) {
    Guest guest(Mode::kLong64);
    guest.cpu.fpu.set_x87_words(0x37b, 4);
    guest.run(code);
    EXPECT_EQ(guest.cpu.rip, tiny::kCode + 2);
  }
}

TEST(X87ControlTest, WaitNeedsBothMonitorAndTaskSwitched) {
  for (const std::uint64_t bits : {x86::cr0::kMp, x86::cr0::kTs, x86::cr0::kMp | x86::cr0::kTs, x86::cr0::kEm}) {
    Guest guest(Mode::kLong64);
    guest.catch_vector(x86::kDeviceNotAvailable);
    guest.cpu.cr0 = (guest.cpu.cr0 & ~(x86::cr0::kMp | x86::cr0::kTs)) | bits;
    guest.run(kFwait);
    EXPECT_EQ(guest.cpu.rip == tiny::kHandler, bits == (x86::cr0::kMp | x86::cr0::kTs));
  }
}

}  // namespace
}  // namespace doppel::accel::soft
