#include "accel/soft/interpreter/extended_state.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <random>

#include "accel/soft/interpreter/test_cpu.h"
#include "accel/soft/interpreter/xsave_area.h"
#include "x86/cpu_reset.h"
#include "x86/cpuid_table.h"

namespace doppel::accel::soft {
namespace {

using tiny::Mode;

constexpr std::uint64_t kArea = tiny::kData;
constexpr std::uint64_t kAll = 0x2e7;  // x87, SSE, AVX, AVX-512, PKRU

// Instructions with [rbx] as operand.
constexpr std::array<std::uint8_t, 4> kXsave64 = {0x48, 0x0f, 0xae, 0x23};
constexpr std::array<std::uint8_t, 4> kXrstor64 = {0x48, 0x0f, 0xae, 0x2b};
constexpr std::array<std::uint8_t, 4> kXsaveopt64 = {0x48, 0x0f, 0xae, 0x33};
constexpr std::array<std::uint8_t, 4> kXsavec64 = {0x48, 0x0f, 0xc7, 0x23};
constexpr std::array<std::uint8_t, 4> kXsaves64 = {0x48, 0x0f, 0xc7, 0x2b};
constexpr std::array<std::uint8_t, 4> kXrstors64 = {0x48, 0x0f, 0xc7, 0x1b};
constexpr std::array<std::uint8_t, 4> kFxsave64 = {0x48, 0x0f, 0xae, 0x03};
constexpr std::array<std::uint8_t, 4> kFxrstor64 = {0x48, 0x0f, 0xae, 0x0b};
constexpr std::array<std::uint8_t, 3> kFxsave = {0x0f, 0xae, 0x03};
constexpr std::array<std::uint8_t, 3> kFxrstor = {0x0f, 0xae, 0x0b};
constexpr std::array<std::uint8_t, 3> kXsave = {0x0f, 0xae, 0x23};
constexpr std::array<std::uint8_t, 3> kXrstor = {0x0f, 0xae, 0x2b};
constexpr std::array<std::uint8_t, 3> kXgetbv = {0x0f, 0x01, 0xd0};
constexpr std::array<std::uint8_t, 3> kXsetbv = {0x0f, 0x01, 0xd1};
constexpr std::array<std::uint8_t, 3> kRdpkru = {0x0f, 0x01, 0xee};
constexpr std::array<std::uint8_t, 3> kWrpkru = {0x0f, 0x01, 0xef};
constexpr std::array<std::uint8_t, 3> kLdmxcsr = {0x0f, 0xae, 0x13};
constexpr std::array<std::uint8_t, 3> kStmxcsr = {0x0f, 0xae, 0x1b};

/// Intel's layout, and all extensions.
x86::CpuidTable xsave_cpuid() {
  x86::CpuidTable table;
  table.push_back({.leaf = 0xd, .subleaf = 0, .eax = kAll, .ebx = 2696, .ecx = 2696});
  table.push_back({.leaf = 0xd, .subleaf = 1, .eax = 0xf});
  for (const x86::XsaveComponent& component : x86::xsave_components())
    if (((kAll | 0x1800) >> component.index & 1U) != 0)
      table.push_back({.leaf = 0xd,
                       .subleaf = component.index,
                       .eax = component.size,
                       .ebx = component.offset,
                       .ecx = component.flags});
  return table;
}

class Guest : public TestCpu {
 public:
  explicit Guest(Mode mode = Mode::kLong64) : TestCpu(mode) {
    cpu.cr4 |= x86::cr4::kOsfxsr | x86::cr4::kOsxsave | x86::cr4::kPke;
    cpu.xcr0 = kAll;
    cpu.cpuid = xsave_cpuid();
    cpu.fpu.init_x87();
    cpu.fpu.set_mxcsr(0x1f80);
    cpu.gpr[x86::kRbx] = kArea;
    request(~0U);
  }
  void request(std::uint64_t components) {
    cpu.gpr[x86::kRax] = components & 0xffff'ffffU;
    cpu.gpr[x86::kRdx] = components >> 32U;
  }
  /// The vector of the exception that CODE ends in; -1: none.
  int execute(std::span<const std::uint8_t> code) {
    start_again();
    for (const std::uint8_t vector : {x86::kInvalidOpcode, x86::kDeviceNotAvailable, x86::kGeneralProtection})
      tiny::write_gate(memory(), Mode::kLong64, vector, tiny::kHandler + vector * std::uint64_t{16});
    run(code);
    return cpu.rip == tiny::kCode + code.size() ? -1 : static_cast<int>((cpu.rip - tiny::kHandler) / 16);
  }
  void randomize(unsigned seed) {
    std::mt19937_64 random(seed);
    const auto fill = [&](auto& bytes) {
      for (auto& byte : bytes) byte = static_cast<std::byte>(random());
    };
    for (auto& vector : cpu.fpu.vector) fill(vector);
    for (std::uint64_t& mask : cpu.fpu.mask) mask = random();
    for (std::size_t n = 0; n < 8; ++n)
      for (std::size_t i = 0; i < 10; ++i)
        cpu.fpu.legacy.at(FpuState::kSt0 + 16 * n + i) = static_cast<std::byte>(random());
    cpu.fpu.set_x87_words(0x27f, 0x3900);
    cpu.fpu.set_legacy_field<std::uint8_t>(FpuState::kFtw, 0xa5);
    cpu.fpu.set_legacy_field<std::uint16_t>(FpuState::kFop, 0x123);
    cpu.fpu.set_legacy_field<std::uint64_t>(FpuState::kFip, 0x7f12'3456'789a);
    cpu.fpu.set_legacy_field<std::uint64_t>(FpuState::kFdp, 0x7f65'4321'0123);
    cpu.fpu.set_mxcsr(0x9fa0);
    cpu.fpu.pkru = 0x55555550;
  }
  void clear_state() {
    cpu.fpu.reset();
    cpu.fpu.fcs = cpu.fpu.fds = 0;
  }
  [[nodiscard]] std::vector<std::byte> image() const { return save_xsave_image(cpu); }

 private:
  /// Where the last exception left it, the processor begins anew at kCode.
  void start_again() {
    const auto gpr = cpu.gpr;
    const auto cr0 = cpu.cr0, cr4 = cpu.cr4;
    start(tiny::kCode);
    cpu.gpr = gpr;
    cpu.gpr[x86::kRsp] = tiny::kStackTop;
    cpu.cr0 = cr0;
    cpu.cr4 = cr4;
  }
};

TEST(ExtendedStateTest, EveryFormatRoundTrips) {
  struct Pair {
    std::span<const std::uint8_t> save;
    std::span<const std::uint8_t> restore;
  };
  for (const Pair& pair : {Pair{kXsave64, kXrstor64}, Pair{kXsaveopt64, kXrstor64}, Pair{kXsavec64, kXrstor64},
                           Pair{kXsaves64, kXrstors64}}) {
    Guest guest;
    guest.randomize(1);
    const auto before = guest.image();
    ASSERT_EQ(guest.execute(pair.save), -1);
    EXPECT_EQ(guest.image(), before);
    guest.clear_state();
    EXPECT_NE(guest.image(), before);
    guest.request(~0ULL);
    ASSERT_EQ(guest.execute(pair.restore), -1);
    EXPECT_EQ(guest.image(), before);
    // Initial state, saved without anything but the header, replaces what there is.
    Guest fresh;
    ASSERT_EQ(fresh.execute(pair.save), -1);
    fresh.randomize(2);
    fresh.request(~0ULL);
    ASSERT_EQ(fresh.execute(pair.restore), -1);
    EXPECT_EQ(fresh.image(), Guest().image());
  }
}

TEST(ExtendedStateTest, OnlyWhatIsAskedForIsStored) {
  Guest guest;
  guest.randomize(3);
  for (std::uint64_t at = 0; at < 2696; at += 8) guest.poke<std::uint64_t>(kArea + at, 0x7777777777777777);
  guest.poke<std::uint64_t>(kArea + xsave::kHeader, 0x44);
  guest.request(x86::xcr::kAvx);
  ASSERT_EQ(guest.execute(kXsave64), -1);
  EXPECT_EQ(guest.peek<std::uint64_t>(kArea), 0x7777777777777777U) << "x87";
  EXPECT_EQ(guest.peek<std::uint32_t>(kArea + FpuState::kMxcsr), 0x9fa0U) << "MXCSR goes with AVX too";
  EXPECT_EQ(guest.peek<std::uint64_t>(kArea + xsave::kXmm), 0x7777777777777777U);
  EXPECT_EQ(guest.peek<std::uint64_t>(kArea + xsave::kHeader), 0x44U);
  EXPECT_EQ(guest.peek<std::uint64_t>(kArea + xsave::kHeader + 8), 0x7777777777777777U) << "not of the standard format";
  EXPECT_NE(guest.peek<std::uint64_t>(kArea + 576), 0x7777777777777777U);
  EXPECT_EQ(guest.peek<std::uint64_t>(kArea + 576 + 256), 0x7777777777777777U);
}

TEST(ExtendedStateTest, CompactedLayout) {
  Guest guest;
  guest.randomize(4);
  guest.request(x86::xcr::kX87 | x86::xcr::kPkru | 1U << 5U);
  guest.cpu.fpu.mask = {};
  ASSERT_EQ(guest.execute(kXsavec64), -1);
  EXPECT_EQ(guest.peek<std::uint64_t>(kArea + xsave::kHeader), 0x201U) << "masks are in their initial state";
  EXPECT_EQ(guest.peek<std::uint64_t>(kArea + xsave::kCompactedBitmap), 0x8000000000000221U);
  EXPECT_EQ(guest.peek<std::uint32_t>(kArea + 576 + 64), 0x55555550U) << "but have their place";
}

TEST(ExtendedStateTest, MxcsrAloneMakesSseInUse) {
  Guest guest;
  guest.cpu.fpu.set_mxcsr(0x1f81);
  ASSERT_EQ(guest.execute(kXsavec64), -1);
  EXPECT_EQ(guest.peek<std::uint64_t>(kArea + xsave::kHeader), 2U);
  guest.cpu.gpr[x86::kRcx] = 1;
  ASSERT_EQ(guest.execute(kXgetbv), -1);
  EXPECT_EQ(guest.cpu.gpr[x86::kRax], 2U);
}

TEST(ExtendedStateTest, MxcsrInTheStandardFormat) {
  Guest guest;
  ASSERT_EQ(guest.execute(kXsave64), -1);
  guest.poke<std::uint64_t>(kArea + xsave::kHeader, 0);
  guest.poke<std::uint32_t>(kArea + FpuState::kMxcsr, 0x3f80);
  guest.request(x86::xcr::kAvx);
  ASSERT_EQ(guest.execute(kXrstor64), -1);
  EXPECT_EQ(guest.cpu.fpu.mxcsr(), 0x3f80U) << "loaded although SSE is absent and not asked for";
  guest.request(x86::xcr::kX87);
  guest.poke<std::uint32_t>(kArea + FpuState::kMxcsr, 0x10000);
  EXPECT_EQ(guest.execute(kXrstor64), -1);
  guest.request(x86::xcr::kSse);
  EXPECT_EQ(guest.execute(kXrstor64), x86::kGeneralProtection);
}

TEST(ExtendedStateTest, RestoreChecksTheHeader) {
  struct Header {
    const char* what;
    std::size_t offset;
    std::uint64_t value;
    std::span<const std::uint8_t> code;
    int fault;
  };
  for (const Header& row : std::initializer_list<Header>{
           {"as it is", 512, 7, kXrstor64, -1},
           {"component not in XCR0", 512, 8, kXrstor64, x86::kGeneralProtection},
           {"bytes 8 to 15", 520, 1, kXrstor64, x86::kGeneralProtection},
           {"bytes 16 to 23", 528, 1, kXrstor64, x86::kGeneralProtection},
           {"byte 24", 536, 1, kXrstor64, -1},
           {"compacted, present but without place", 520, 0x8000000000000002, kXrstor64, x86::kGeneralProtection},
           {"compacted", 520, 0x8000000000000003, kXrstor64, -1},
           {"compacted, place not in XCR0", 520, 0x800000000000000b, kXrstor64, x86::kGeneralProtection},
           {"not compacted", 536, 0, kXrstors64, x86::kGeneralProtection},
       }) {
    Guest guest;
    guest.poke<std::uint64_t>(kArea + 512, 1);
    guest.poke<std::uint32_t>(kArea + FpuState::kMxcsr, 0x1f80);
    guest.poke<std::uint64_t>(kArea + row.offset, row.value);
    EXPECT_EQ(guest.execute(row.code), row.fault) << row.what;
  }
  Guest guest;
  guest.poke<std::uint64_t>(kArea + 520, 0x8000000000000001);
  guest.poke<std::uint64_t>(kArea + 568, 1);
  EXPECT_EQ(guest.execute(kXrstor64), x86::kGeneralProtection) << "a byte at the end, compacted";
}

TEST(ExtendedStateTest, AreasAreAligned) {
  Guest guest;
  guest.cpu.gpr[x86::kRbx] = kArea + 32;
  EXPECT_EQ(guest.execute(kXsave64), x86::kGeneralProtection);
  EXPECT_EQ(guest.execute(kXrstor64), x86::kGeneralProtection);
  EXPECT_EQ(guest.execute(kFxsave64), -1);
  guest.cpu.gpr[x86::kRbx] = kArea + 8;
  EXPECT_EQ(guest.execute(kFxsave64), x86::kGeneralProtection);
  EXPECT_EQ(guest.execute(kFxrstor64), x86::kGeneralProtection);
}

TEST(ExtendedStateTest, FxsaveFaultsForItsReservedBytesToo) {
  Guest guest;
  guest.catch_vector(x86::kPageFault);
  guest.cpu.gpr[x86::kRbx] = (std::uint64_t{1} << 32U) - 416;  // where what is mapped ends
  guest.run(kFxsave64);
  EXPECT_EQ(guest.cpu.rip, tiny::kHandler);
  EXPECT_EQ(guest.cpu.cr2, std::uint64_t{1} << 32U);
}

TEST(ExtendedStateTest, FxsaveRoundTrips) {
  Guest guest;
  guest.randomize(5);
  guest.poke<std::uint64_t>(kArea + 464, 0x1234);
  ASSERT_EQ(guest.execute(kFxsave64), -1);
  EXPECT_EQ(guest.peek<std::uint64_t>(kArea + FpuState::kFip), 0x7f12'3456'789aU);
  EXPECT_EQ(guest.peek<std::uint32_t>(kArea + xsave::kMxcsrMask), 0xffffU);
  EXPECT_EQ(guest.peek<std::uint64_t>(kArea + 464), 0x1234U) << "the program's own";
  const FpuState before = guest.cpu.fpu;
  guest.randomize(6);
  ASSERT_EQ(guest.execute(kFxrstor64), -1);
  EXPECT_EQ(std::memcmp(before.legacy.data(), guest.cpu.fpu.legacy.data(), 160), 0);
  for (std::size_t n = 0; n < 16; ++n) {
    EXPECT_EQ(std::memcmp(before.vector.at(n).data(), guest.cpu.fpu.vector.at(n).data(), 16), 0);
    EXPECT_NE(std::memcmp(before.vector.at(n).data() + 16, guest.cpu.fpu.vector.at(n).data() + 16, 48), 0);
  }
}

TEST(ExtendedStateTest, NarrowPointersHaveSelectors) {
  Guest guest;
  guest.randomize(7);
  guest.cpu.fpu.fcs = 0x1234;
  guest.cpu.fpu.fds = 0x5678;
  ASSERT_EQ(guest.execute(kFxsave), -1);
  EXPECT_EQ(guest.peek<std::uint64_t>(kArea + FpuState::kFip), 0x0000'1234'3456'789aU);
  EXPECT_EQ(guest.peek<std::uint64_t>(kArea + FpuState::kFdp), 0x0000'5678'4321'0123U);
  guest.cpu.fpu.fcs = guest.cpu.fpu.fds = 0;
  ASSERT_EQ(guest.execute(kFxrstor), -1);
  EXPECT_EQ(guest.cpu.fpu.fcs, 0x1234);
  EXPECT_EQ(guest.cpu.fpu.legacy_field<std::uint64_t>(FpuState::kFip), 0x3456'789aU);
}

TEST(ExtendedStateTest, EightRegistersOutsideOf64BitCode) {
  for (const auto& [save, restore] : {std::pair{std::span(kFxsave), std::span(kFxrstor)}, {kXsave, kXrstor}}) {
    Guest guest(Mode::kProtected32);
    guest.randomize(8);
    const FpuState before = guest.cpu.fpu;
    guest.poke<std::uint64_t>(kArea + xsave::kXmm + 8 * 16, 0x1234);
    guest.run(save);
    EXPECT_EQ(guest.peek<std::uint64_t>(kArea + xsave::kXmm + 8 * 16), 0x1234U);
    guest.randomize(9);
    const FpuState between = guest.cpu.fpu;
    guest.request(~0ULL);
    guest.run(restore);
    const FpuState& after = guest.cpu.fpu;
    EXPECT_EQ(std::memcmp(after.vector[7].data(), before.vector[7].data(), 16), 0);
    EXPECT_EQ(after.vector[8], between.vector[8]);
    EXPECT_EQ(after.vector[31], between.vector[31]);
  }
}

TEST(ExtendedStateTest, FxrstorTakesStatusAsTheProcessorDoes) {
  Guest guest;
  ASSERT_EQ(guest.execute(kFxsave64), -1);
  guest.poke<std::uint16_t>(kArea, 0xff7e);      // invalid operation unmasked
  guest.poke<std::uint16_t>(kArea + 2, 0x0001);  // and pending
  ASSERT_EQ(guest.execute(kFxrstor64), -1);
  EXPECT_EQ(guest.cpu.fpu.legacy_field<std::uint16_t>(FpuState::kFcw), 0x1f7e);
  EXPECT_EQ(guest.cpu.fpu.legacy_field<std::uint16_t>(FpuState::kFsw), 0x8081);
  guest.poke<std::uint32_t>(kArea + FpuState::kMxcsr, 0x20000);
  EXPECT_EQ(guest.execute(kFxrstor64), x86::kGeneralProtection);
}

TEST(ExtendedStateTest, Xcr0) {
  Guest guest;
  struct Row {
    std::uint64_t value;
    bool valid;
  };
  for (const Row& row : std::initializer_list<Row>{{1, true},
                                                   {3, true},
                                                   {7, true},
                                                   {0xe7, true},
                                                   {0x2e7, true},
                                                   {0, false},
                                                   {2, false},
                                                   {5, false},
                                                   {0xe3, false},
                                                   {0x27, false},
                                                   {0x1f, false},
                                                   {0x8000000000000001, false}}) {
    guest.request(row.value);
    guest.cpu.gpr[x86::kRcx] = 0;
    EXPECT_EQ(guest.execute(kXsetbv), row.valid ? -1 : x86::kGeneralProtection) << row.value;
    if (row.valid) {
      EXPECT_EQ(guest.cpu.xcr0, row.value);
    }
  }
  guest.cpu.xcr0 = 7;
  EXPECT_EQ(guest.execute(kXgetbv), -1);
  EXPECT_EQ(guest.cpu.gpr[x86::kRax], 7U);
  EXPECT_EQ(guest.cpu.gpr[x86::kRdx], 0U);
  guest.cpu.gpr[x86::kRcx] = 2;
  EXPECT_EQ(guest.execute(kXgetbv), x86::kGeneralProtection);
  guest.request(7);
  EXPECT_EQ(guest.execute(kXsetbv), x86::kGeneralProtection);
  guest.cpu.cr4 &= ~x86::cr4::kOsxsave;
  EXPECT_EQ(guest.execute(kXgetbv), x86::kInvalidOpcode);
  EXPECT_EQ(guest.execute(kXsave64), x86::kInvalidOpcode);
}

TEST(ExtendedStateTest, TaskSwitchedComesFirst) {
  Guest guest;
  guest.cpu.cr0 |= x86::cr0::kTs;
  for (const auto& code : {kXsave64, kXrstor64, kFxsave64, kFxrstor64})
    EXPECT_EQ(guest.execute(code), x86::kDeviceNotAvailable);
  EXPECT_EQ(guest.execute(kLdmxcsr), x86::kDeviceNotAvailable);
}

TEST(ExtendedStateTest, Mxcsr) {
  Guest guest;
  guest.poke<std::uint32_t>(kArea, 0xffc0);
  EXPECT_EQ(guest.execute(kLdmxcsr), -1);
  EXPECT_EQ(guest.cpu.fpu.mxcsr(), 0xffc0U);
  guest.poke<std::uint32_t>(kArea, 0x1001f80);
  EXPECT_EQ(guest.execute(kLdmxcsr), x86::kGeneralProtection);
  EXPECT_EQ(guest.execute(kStmxcsr), -1);
  EXPECT_EQ(guest.peek<std::uint32_t>(kArea), 0xffc0U);
  guest.cpu.cr4 &= ~x86::cr4::kOsfxsr;
  EXPECT_EQ(guest.execute(kStmxcsr), x86::kInvalidOpcode);
}

TEST(ExtendedStateTest, Pkru) {
  Guest guest;
  guest.cpu.gpr[x86::kRax] = 0xfffffff012345678;
  guest.cpu.gpr[x86::kRcx] = guest.cpu.gpr[x86::kRdx] = 0xffffffff00000000;
  EXPECT_EQ(guest.execute(kWrpkru), -1);
  EXPECT_EQ(guest.cpu.fpu.pkru, 0x12345678U);
  guest.cpu.gpr[x86::kRdx] = 1;
  EXPECT_EQ(guest.execute(kWrpkru), x86::kGeneralProtection);
  EXPECT_EQ(guest.execute(kRdpkru), -1);
  EXPECT_EQ(guest.cpu.gpr[x86::kRax], 0x12345678U);
  EXPECT_EQ(guest.cpu.gpr[x86::kRdx], 0U);
  guest.cpu.gpr[x86::kRcx] = 1;
  EXPECT_EQ(guest.execute(kRdpkru), x86::kGeneralProtection);
  guest.cpu.cr4 &= ~x86::cr4::kPke;
  EXPECT_EQ(guest.execute(kRdpkru), x86::kInvalidOpcode);
}

/// What the host makes of state that is loaded from STANDARD: its XSAVEC64.
std::vector<std::byte> host_xsavec(std::span<const std::byte> standard, std::uint64_t components) {
  struct alignas(64) Area {
    std::array<std::byte, 16384> bytes{};
  };
  const auto own = std::make_unique<Area>();
  const auto given = std::make_unique<Area>();
  const auto result = std::make_unique<Area>();
  std::ranges::copy(standard, given->bytes.begin());
  asm volatile(
      "xsave64 (%[own])\n\t"
      "xrstor64 (%[given])\n\t"
      "xsavec64 (%[result])\n\t"
      "xrstor64 (%[own])"
      :
      : [own] "r"(own.get()), [given] "r"(given.get()), [result] "r"(result.get()), "a"(components), "d"(0)
      : "memory");
  return {result->bytes.begin(), result->bytes.end()};
}

TEST(ExtendedStateTest, CompactedImageIsTheHosts) {
  const x86::CpuidTable host = x86::host_cpuid_table();
  const x86::CpuidEntry* const leaf = x86::find_cpuid(host, 0xd, 1);
  if (leaf == nullptr || (leaf->eax & 2U) == 0) GTEST_SKIP() << "the host has no XSAVEC";
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  const std::uint64_t components = low & 0xe7U;
  for (const bool vectors_in_use : {true, false}) {
    Guest guest;
    guest.cpu.cpuid = host;
    guest.cpu.xcr0 = components;
    guest.randomize(11);
    if (!vectors_in_use) guest.cpu.fpu.vector = {};
    ASSERT_EQ(guest.execute(kXsave64), -1);
    constexpr std::size_t kSize = 4096;
    const auto expected = host_xsavec(guest.memory().subspan(kArea, kSize), components);
    std::ranges::fill(guest.memory().subspan(kArea, kSize), std::byte{0});
    guest.request(~0ULL);
    ASSERT_EQ(guest.execute(kXsavec64), -1);
    for (std::size_t at = 0; at < kSize; at += 8) {
      // AMD's processors may leave out the x87 pointers, and have another MXCSR_MASK.
      if (at < FpuState::kSt0 || (at >= xsave::kXmm + 256 && at < xsave::kHeader)) continue;
      std::uint64_t value = 0;
      std::memcpy(&value, expected.data() + at, sizeof value);
      EXPECT_EQ(guest.peek<std::uint64_t>(kArea + at), value) << at;
    }
  }
}

TEST(ExtendedStateTest, ImagesRoundTrip) {
  Guest guest;
  guest.randomize(10);
  const auto image = save_xsave_image(guest.cpu);
  EXPECT_GE(image.size(), 2696U);
  Guest other;
  ASSERT_TRUE(load_xsave_image(other.cpu, image));
  EXPECT_EQ(save_xsave_image(other.cpu), image);
  EXPECT_EQ(other.cpu.fpu.vector, guest.cpu.fpu.vector);
  EXPECT_EQ(other.cpu.fpu.mask, guest.cpu.fpu.mask);
  EXPECT_EQ(other.cpu.fpu.pkru, guest.cpu.fpu.pkru);
  ASSERT_TRUE(load_xsave_image(other.cpu, x86::initial_xsave_area(0)));
  EXPECT_EQ(other.cpu.fpu.legacy_field<std::uint16_t>(FpuState::kFcw), 0x37f);
  EXPECT_EQ(other.cpu.fpu.vector, FpuState().vector);
  EXPECT_FALSE(load_xsave_image(other.cpu, std::span(image).first(575)));
}

TEST(ExtendedStateTest, StateAfterReset) {
  FpuState fpu;
  fpu.fcs = 3;
  fpu.pkru = 4;
  fpu.reset();
  EXPECT_EQ(fpu.legacy_field<std::uint16_t>(FpuState::kFcw), 0x40);
  EXPECT_EQ(fpu.legacy_field<std::uint8_t>(FpuState::kFtw), 0xff);
  EXPECT_EQ(fpu.mxcsr(), 0x1f80U);
  EXPECT_EQ(fpu.fcs, 0);
  EXPECT_EQ(fpu.pkru, 0U);
}

}  // namespace
}  // namespace doppel::accel::soft
