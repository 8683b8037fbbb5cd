// Accesses to devices by translated code, against the interpreter.
#include <gtest/gtest.h>

#include "accel/soft/translator/translator_rig.h"

namespace doppel::accel::soft {
namespace {

using namespace translator_rig;

constexpr std::uint64_t kDevice = 0x800000;  // behind the memory

class DevicesTest : public TranslatorTest, public testing::WithParamInterface<tiny::Mode> {
 protected:
  DevicesTest() : TranslatorTest(GetParam()) {
    pair.answers_ports = true;
    pair.set_gpr(kRbx, kDevice);
    pair.set_gpr(kRax, 0x1234'5678);
    pair.set_gpr(kRsi, 0);
  }
};

TEST_P(DevicesTest, WritesAndReads) {
  // mov ecx, 40; L: mov [rbx], ah; mov [rbx+8], ecx; mov word [rbx+4], 0xfedc; mov dx, [rbx+2]; add esi, edx;
  // add eax, esi; sub ecx, 1; jnz L; hlt
  pair.run({0xb9, 40,   0,    0,    0, 0x88, 0x23, 0x89, 0x4b, 0x08, 0x66, 0xc7, 0x43, 0x04, 0xdc,
            0xfe, 0x66, 0x8b, 0x53, 2, 0x01, 0xd6, 0x01, 0xf0, 0x83, 0xe9, 0x01, 0x75, 0xe8, kHlt});
  EXPECT_EQ(pair.ports[1].size(), 160U);
}

TEST_P(DevicesTest, AccessesOtherThanMoves) {
  // mov ecx, 20; L: add [rbx], ecx; xchg [rbx+4], eax; movzx edx, byte [rbx]; push [rbx]; pop rdx; sub ecx, 1; jnz L;
  // hlt
  pair.set_gpr(kRsp, tiny::kStackTop);
  pair.run({0xb9, 20,   0,    0,    0,    0x01, 0x0b, 0x87, 0x43, 0x04, 0x0f,
            0xb6, 0x13, 0xff, 0x33, 0x5a, 0x83, 0xe9, 0x01, 0x75, 0xf0, kHlt});
}

TEST_P(DevicesTest, DoorbellsAreRungWithoutLeaving) {
  std::vector<std::uint64_t>& rung = pair.ports[1];
  pair.cpu().machine.take_write = [&](const BusAccess& write) {
    EXPECT_EQ(write.address, kDevice + 0x10);
    EXPECT_EQ(write.size, 4);
    rung.push_back(write.value);
    return true;
  };
  // mov ecx, 40; L: mov [rbx+0x10], ecx; sub ecx, 1; jnz L; hlt
  pair.run({0xb9, 40, 0, 0, 0, 0x89, 0x4b, 0x10, 0x83, 0xe9, 0x01, 0x75, 0xf8, kHlt});
  EXPECT_EQ(rung.size(), 40U);
  EXPECT_LT(pair.statistics().entries, 6U);
}

TEST_P(DevicesTest, FaultsComeFirst) {
  pair.set_gpr(kRbx, GetParam() == tiny::Mode::kLong64 ? 0x8000'0000'0000'0000 : 0xffff'fffe);
  pair.run({0xb9, 40, 0, 0, 0, 0x89, 0x0b, 0x83, 0xe9, 0x01, 0x75, 0xf9, kHlt});
}

INSTANTIATE_TEST_SUITE_P(Modes, DevicesTest, testing::Values(tiny::Mode::kLong64, tiny::Mode::kProtected32),
                         [](const auto& parameter) {
                           return parameter.param == tiny::Mode::kLong64 ? "Long64" : "Protected32";
                         });

}  // namespace
}  // namespace doppel::accel::soft
