// Integer instructions compared with the host CPU: results and all arithmetic flags, undefined ones too.
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "accel/soft/interpreter/test_cpu.h"
#include "accel/soft/interpreter/test_host.h"

namespace doppel::accel::soft {
namespace {

using namespace x86;

using Code = std::vector<std::uint8_t>;

/// Runs CODE on both with the same random registers. RBX addresses 64 bytes of data, from their middle.
class Comparison {
 public:
  void run(const Code& code) {
    HostState host;
    for (std::uint64_t& value : host.gpr) value = interesting();
    host.gpr[kRcx] = host.gpr[kRcx] & 1 ? host.gpr[kRcx] : host.gpr[kRcx] & 0x3f;
    host.rflags = (random_() & rflags::kArithmetic) | rflags::kFixed;
    for (std::uint64_t& value : memory_) value = interesting();
    // Equal often enough for CMPXCHG to succeed.
    if (random_() % 2 == 0) memory_[kMiddle] = host.gpr[kRax];
    if (random_() % 4 == 0) memory_[kMiddle + 1] = host.gpr[kRdx];

    host.gpr[kRbx] = tiny::kData;
    test_.cpu.rip = tiny::kCode;
    for (unsigned n = 0; n < kGprCount; ++n)
      if (n != kRsp) test_.cpu.gpr.at(n) = host.gpr.at(n);
    test_.cpu.rflags = (test_.cpu.rflags & ~rflags::kArithmetic) | (host.rflags & rflags::kArithmetic);
    std::memcpy(test_.memory().data() + tiny::kData - 8 * kMiddle, memory_.data(), sizeof memory_);
    ASSERT_EQ(test_.run(code), StopReason::kBudget);
    ASSERT_EQ(test_.cpu.rip, tiny::kCode + code.size());

    host.gpr[kRbx] = reinterpret_cast<std::uint64_t>(&memory_[kMiddle]);
    const std::uint64_t pointer = host.gpr[kRbx];
    host_.run(host, code);
    if (host.gpr[kRbx] == pointer) host.gpr[kRbx] = tiny::kData;
    for (unsigned n = 0; n < kGprCount; ++n)
      if (n != kRsp) {
        EXPECT_EQ(test_.cpu.gpr.at(n), host.gpr.at(n)) << "register " << n;
      }
    EXPECT_EQ(test_.cpu.rflags & rflags::kArithmetic, host.rflags & rflags::kArithmetic);
    EXPECT_EQ(std::memcmp(test_.memory().data() + tiny::kData - 8 * kMiddle, memory_.data(), sizeof memory_), 0);
  }

 private:
  static constexpr unsigned kMiddle = 4;

  std::uint64_t interesting() {
    const std::uint64_t value = random_();
    switch (random_() % 6) {
      case 0: return value % 4;
      case 1: return std::uint64_t{0} - value % 4;
      case 2: return std::uint64_t{1} << value % 64;
      case 3: return static_cast<std::uint32_t>(value);
      default: return value;
    }
  }

  std::mt19937_64 random_{20240601};  // NOLINT(cert-msc51-cpp): the same in each run
  TestCpu test_{tiny::Mode::kLong64};
  TestHost host_;
  alignas(64) std::array<std::uint64_t, 8> memory_{};
};

struct Family {
  std::string name;
  std::vector<Code> codes;
};

void PrintTo(const Family& family, std::ostream* out) {
  *out << family.name;
}

/// The forms of an instruction with a ModRM byte: 8 to 64 bits by opcode and prefix, registers, high bytes and memory.
std::vector<Code> forms(const Code& byte_opcode, const Code& opcode, std::uint8_t reg_field, const Code& tail = {},
                        const Code& prefix = {}) {
  std::vector<Code> result;
  const auto add = [&](const Code& before, const Code& op, std::uint8_t modrm) {
    Code code = prefix;
    code.insert(code.end(), before.begin(), before.end());
    code.insert(code.end(), op.begin(), op.end());
    code.push_back(modrm);
    code.insert(code.end(), tail.begin(), tail.end());
    result.push_back(std::move(code));
  };
  const auto field = static_cast<std::uint8_t>(reg_field << 3);
  const auto modrm = [field](unsigned mode_and_rm) { return static_cast<std::uint8_t>(mode_and_rm | field); };
  if (!byte_opcode.empty())
    for (const unsigned rm : {0x03U, 0xc2U, 0xc6U}) add({}, byte_opcode, modrm(rm));  // [rbx], dl, dh
  if (!opcode.empty())
    for (const unsigned rm : {0x03U, 0xc0U, 0xc6U}) {  // [rbx], rax, rsi
      add({0x66}, opcode, modrm(rm));
      add({}, opcode, modrm(rm));
      add({0x48}, opcode, modrm(rm));
    }
  return result;
}

std::vector<Code> operator+(std::vector<Code> left, const std::vector<Code>& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

std::vector<Family> families() {
  std::vector<Family> result;
  static constexpr std::array kAluNames = {"Add", "Or", "Adc", "Sbb", "And", "Sub", "Xor", "Cmp"};
  for (std::uint8_t n = 0; n < kAluNames.size(); ++n) {
    const auto opcode = static_cast<std::uint8_t>(n << 3U);
    const auto plus = [opcode](unsigned more) { return static_cast<std::uint8_t>(opcode + more); };
    result.push_back({kAluNames.at(n), forms({plus(0)}, {plus(1)}, kRcx) + forms({plus(2)}, {plus(3)}, kRcx) +
                                           forms({0x80}, {0x83}, n, {0xfe}) + forms({}, {0x83}, n, {0x70}) +
                                           std::vector<Code>{{plus(4), 0x7f}, {0x48, plus(5), 1, 2, 3, 0x84}}});
    if (n != 7) result.back().codes.push_back({0xf0, 0x48, plus(1), 0x0b});
  }
  static constexpr std::array kShiftNames = {"Rol", "Ror", "Rcl", "Rcr", "Shl", "Shr", "Sal", "Sar"};
  for (std::uint8_t n = 0; n < kShiftNames.size(); ++n)
    result.push_back({kShiftNames.at(n), forms({0xd0}, {0xd1}, n) + forms({0xd2}, {0xd3}, n) +
                                             forms({0xc0}, {0xc1}, n, {9}) + forms({0xc0}, {0xc1}, n, {0x1f}) +
                                             forms({0xc0}, {0xc1}, n, {0x20}) + forms({0xc0}, {0xc1}, n, {17})});
  result.push_back({"Shld", forms({}, {0x0f, 0xa5}, kRdi) + forms({}, {0x0f, 0xa4}, kRdi, {19}) +
                                forms({}, {0x0f, 0xa4}, kRdi, {0})});
  result.push_back({"Shrd", forms({}, {0x0f, 0xad}, kRdi) + forms({}, {0x0f, 0xac}, kRdi, {19}) +
                                forms({}, {0x0f, 0xac}, kRdi, {0})});
  result.push_back({"Test", forms({0x84}, {0x85}, kRcx) + forms({0xf6}, {}, 0, {0x81}) +
                                std::vector<Code>{{0x48, 0xf7, 0xc2, 1, 2, 3, 0xff}}});
  result.push_back({"Inc", forms({0xfe}, {0xff}, 0) + forms({0xfe}, {0xff}, 0, {}, {0xf0})});
  result.push_back({"Dec", forms({0xfe}, {0xff}, 1)});
  result.push_back({"Not", forms({0xf6}, {0xf7}, 2)});
  result.push_back({"Neg", forms({0xf6}, {0xf7}, 3)});
  // LOCK is for memory alone.
  std::erase_if(result[result.size() - 4].codes,
                [](const Code& code) { return code[0] == 0xf0 && code.back() >= 0xc0; });
  result.push_back({"Mul", forms({0xf6}, {0xf7}, 4)});
  result.push_back({"Imul", forms({0xf6}, {0xf7}, 5) + forms({}, {0x0f, 0xaf}, kRdi) + forms({}, {0x6b}, kRdi, {0x85}) +
                                std::vector<Code>{{0x69, 0x13, 1, 2, 3, 0x84}, {0x48, 0x69, 0xc1, 1, 2, 3, 0x84}}});
  static constexpr std::array kBitNames = {"Bt", "Bts", "Btr", "Btc"};
  for (std::uint8_t n = 0; n < kBitNames.size(); ++n) {
    const auto opcode = static_cast<std::uint8_t>(0xa3 + (n << 3U));
    const auto field = static_cast<std::uint8_t>(4 + n);
    Family family{kBitNames.at(n), forms({}, {0x0f, 0xba}, field, {0x53})};
    for (const std::uint8_t modrm : Code{0xc8, 0xfe})  // rax, rcx; rsi, rdi
      for (const std::uint8_t prefix : Code{0x66, 0x48}) family.codes.push_back({prefix, 0x0f, opcode, modrm});
    if (n != 0)
      family.codes.push_back({0xf0, 0x48, 0x0f, 0xba, static_cast<std::uint8_t>(unsigned{field} << 3U | 3U), 0x3f});
    result.push_back(std::move(family));
  }
  result.push_back({"Bsf", forms({}, {0x0f, 0xbc}, kRdi)});
  result.push_back({"Bsr", forms({}, {0x0f, 0xbd}, kRdi)});
  Family set{"Setcc", {}};
  Family conditional{"Cmovcc", {}};
  for (unsigned n = 0; n < 16; ++n) {
    set.codes.push_back({0x0f, static_cast<std::uint8_t>(0x90 + n), 0xc6});
    set.codes.push_back({0x0f, static_cast<std::uint8_t>(0x90 + n), 0x03});
    conditional.codes = std::move(conditional.codes) + forms({}, {0x0f, static_cast<std::uint8_t>(0x40 + n)}, kRdi);
  }
  result.push_back(std::move(set));
  result.push_back(std::move(conditional));
  result.push_back({"Mov", forms({0x88}, {0x89}, kRcx) + forms({0x8a}, {0x8b}, kRcx) + forms({0xc6}, {}, 0, {0x81}) +
                               std::vector<Code>{{0x48, 0xc7, 0x03, 1, 2, 3, 0x84},
                                                 {0xb4, 0x55},
                                                 {0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8},
                                                 {0x40, 0xb6, 0x55},
                                                 {0x45, 0x88, 0xc8},
                                                 {0x0f, 0xc3, 0x13},
                                                 {0x66, 0xb9, 1, 2}}});
  result.push_back({"Movzx", forms({}, {0x0f, 0xb6}, kRdi) + forms({}, {0x0f, 0xb7}, kRdi)});
  result.push_back({"Movsx", forms({}, {0x0f, 0xbe}, kRdi) + forms({}, {0x0f, 0xbf}, kRdi) + forms({}, {0x63}, kRdi)});
  result.push_back({"Convert", {{0x66, 0x98}, {0x98}, {0x48, 0x98}, {0x66, 0x99}, {0x99}, {0x48, 0x99}}});
  result.push_back({"Bswap", {{0x66, 0x0f, 0xcf}, {0x0f, 0xcf}, {0x48, 0x0f, 0xcf}, {0x41, 0x0f, 0xc9}}});
  result.push_back({"Lea",
                    {{0x48, 0x8d, 0x44, 0x8e, 0x85},
                     {0x8d, 0x44, 0x8e, 0x85},
                     {0x66, 0x8d, 0x44, 0x8e, 0x85},
                     {0x67, 0x48, 0x8d, 0x84, 0xce, 1, 2, 3, 0x84}}});
  result.push_back({"Xchg", forms({0x86}, {0x87}, kRcx) + std::vector<Code>{{0x48, 0x97}, {0x91}, {0x86, 0xc4}}});
  result.push_back({"Xadd", forms({0x0f, 0xc0}, {0x0f, 0xc1}, kRcx) +
                                std::vector<Code>{{0xf0, 0x0f, 0xc1, 0x0b}, {0x48, 0x0f, 0xc1, 0xc0}}});
  result.push_back({"Cmpxchg", forms({0x0f, 0xb0}, {0x0f, 0xb1}, kRcx) +
                                   std::vector<Code>{{0xf0, 0x0f, 0xb1, 0x0b}, {0x0f, 0xb1, 0xc1}}});
  result.push_back({"Flags", {{0xf8}, {0xf9}, {0xf5}, {0x9e}, {0x9f}}});
  result.push_back({"Nop", {{0x90}, {0xf3, 0x90}, {0x0f, 0x1f, 0x00}, {0xf3, 0x0f, 0x1e, 0xfa}, {0x0f, 0x18, 0x0b}}});
  return result;
}

class HostComparisonTest : public testing::TestWithParam<Family> {};

TEST_P(HostComparisonTest, RegistersMemoryAndFlagsAreTheHosts) {
  Comparison comparison;
  for (const Code& code : GetParam().codes)
    for (unsigned n = 0; n < 40; ++n) {
      SCOPED_TRACE(testing::PrintToString(code));
      comparison.run(code);
      if (HasFailure()) return;
    }
}

INSTANTIATE_TEST_SUITE_P(All, HostComparisonTest, testing::ValuesIn(families()),
                         [](const auto& instance) { return instance.param.name; });

}  // namespace
}  // namespace doppel::accel::soft
