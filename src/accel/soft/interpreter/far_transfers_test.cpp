#include "accel/soft/interpreter/far_transfers.h"

#include <gtest/gtest.h>

#include "accel/soft/interpreter/protection_rig.h"

namespace doppel::accel::soft {
namespace {

using tiny::Mode;
namespace rflags = x86::rflags;
constexpr std::uint16_t kFree = ProtectionRig::kFree;
constexpr std::uint64_t kTarget = ProtectionRig::kTarget;
constexpr std::uint8_t kJmp = 0xea, kCall = 0x9a;

x86::Segment code_segment(std::uint8_t dpl, std::uint8_t type = 0xa) {
  x86::Segment segment = x86::flat_segment(0, true);
  segment.dpl = dpl;
  segment.type = type;
  return segment;
}
x86::Segment absent(x86::Segment segment) {
  segment.present = false;
  return segment;
}
std::optional<Fault> far(ProtectionRig& rig, std::uint8_t opcode, std::uint16_t selector,
                         std::uint16_t offset = kTarget) {
  return rig.fault_of({opcode, static_cast<std::uint8_t>(offset), static_cast<std::uint8_t>(offset >> 8), 0, 0,
                       static_cast<std::uint8_t>(selector), static_cast<std::uint8_t>(selector >> 8)});
}
/// FF /OPERATION to the pointer at tiny::kData.
std::optional<Fault> far_through_memory(ProtectionRig& rig, std::uint8_t operation, std::uint16_t selector,
                                        std::uint32_t offset) {
  rig.poke(tiny::kData, offset);
  rig.poke(tiny::kData + 4, selector);
  rig.cpu.gpr[x86::kRbx] = tiny::kData;
  return rig.fault_of({0xff, static_cast<std::uint8_t>(operation << 3 | 3)});
}

TEST(RealModeTransferTest, CallAndReturn) {
  ProtectionRig rig(Mode::kReal16);
  rig.run({kCall, 0x34, 0x12, 0x00, 0x20});
  EXPECT_EQ(rig.cpu.segment[x86::kCs].base, 0x20000U);
  EXPECT_EQ(rig.cpu.rip, 0x1234U);
  EXPECT_EQ(rig.stack<std::uint16_t>(0), tiny::kCode + 5);
  EXPECT_EQ(rig.stack<std::uint16_t>(1), 0);
  rig.run({0xca, 0x06, 0x00});  // retf 6
  EXPECT_EQ(rig.cpu.segment[x86::kCs].base, 0U);
  EXPECT_EQ(rig.cpu.rip, tiny::kCode + 5);
  EXPECT_EQ(rig.cpu.gpr[x86::kRsp], tiny::kStackTop + 6);
}

TEST(RealModeTransferTest, TargetBeyondTheLimit) {
  ProtectionRig rig(Mode::kReal16);
  EXPECT_EQ(rig.fault_of({0x66, kJmp, 0x00, 0x00, 0x01, 0x00, 0x00, 0x20}), (Fault{13, false, 0}));
}

TEST(FarTransferTest, ChecksOfCode) {
  struct Case {
    const char* name;
    std::uint16_t selector;
    x86::Segment segment;
    std::optional<Fault> fault;
  };
  const std::vector<Case> cases = {
      {"code", kFree, code_segment(0), {}},
      {"null", 1, {}, fault_with(13, 0)},
      {"data", tiny::kData32, {}, fault_with(13, tiny::kData32)},
      {"outer code", kFree, code_segment(3), fault_with(13, kFree)},
      {"RPL", kFree | 1, code_segment(0), fault_with(13, kFree)},
      {"conforming of any RPL", kFree | 3, code_segment(0, 0xe), {}},
      {"outer conforming", kFree, code_segment(1, 0xe), fault_with(13, kFree)},
      {"absent", kFree, absent(code_segment(0)), fault_with(11, kFree)},
      {"beyond the GDT", 0x408, {}, fault_with(13, 0x408)},
  };
  for (const std::uint8_t opcode : {kJmp, kCall}) {
    for (const Case& test : cases) {
      ProtectionRig rig(Mode::kProtected32);
      rig.set_descriptor(kFree, test.segment);
      EXPECT_EQ(far(rig, opcode, test.selector), test.fault) << test.name;
      if (test.fault) continue;
      EXPECT_EQ(rig.cpu.rip, kTarget);
      EXPECT_EQ(rig.cpu.segment[x86::kCs].selector, kFree) << test.name;
      EXPECT_EQ(rig.access_byte(kFree) & 1, 1);
    }
  }
}

TEST(FarTransferTest, ConformingCodeKeepsThePrivilege) {
  ProtectionRig rig(Mode::kProtected32);
  rig.enter_user32();
  rig.set_descriptor(kFree, code_segment(0, 0xe));
  EXPECT_EQ(far(rig, kJmp, kFree), std::nullopt);
  EXPECT_EQ(rig.cpu.cpl, 3);
  EXPECT_EQ(rig.cpu.segment[x86::kCs].selector, kFree | 3);
}

TEST(FarTransferTest, OffsetBeyondTheSegment) {
  ProtectionRig rig(Mode::kProtected32);
  x86::Segment code = code_segment(0);
  code.granularity = false;
  code.limit = kTarget - 1;
  rig.set_descriptor(kFree, code);
  EXPECT_EQ(far(rig, kCall, kFree), fault_with(13, 0));
  EXPECT_EQ(rig.cpu.gpr[x86::kRsp], tiny::kStackTop - 16);
}

TEST(CallGateTest, InnerLevelAndBack) {
  ProtectionRig rig(Mode::kPaged32);
  rig.set_gate(kFree,
               {.offset = kTarget, .selector = tiny::kCode32, .type = x86::kCallGate, .dpl = 3, .parameters = 2});
  rig.enter_user32();
  rig.set_stack<std::uint32_t>({0x11111111, 0x22222222});
  EXPECT_EQ(far(rig, kCall, kFree | 3, 0xdead), std::nullopt);
  EXPECT_EQ(rig.cpu.rip, kTarget);
  EXPECT_EQ(rig.cpu.cpl, 0);
  EXPECT_EQ(rig.cpu.gpr[x86::kRsp], tiny::kKernelStackTop - 24);
  EXPECT_EQ(rig.stack<std::uint32_t>(0), tiny::kCode + 7);
  EXPECT_EQ(rig.stack<std::uint32_t>(1), tiny::kUserCode32);
  EXPECT_EQ(rig.stack<std::uint32_t>(2), 0x11111111U);
  EXPECT_EQ(rig.stack<std::uint32_t>(3), 0x22222222U);
  EXPECT_EQ(rig.stack<std::uint32_t>(4), tiny::kStackTop);
  EXPECT_EQ(rig.stack<std::uint32_t>(5), tiny::kUserData);

  rig.cpu.gpr[x86::kRax] = tiny::kData32;
  rig.run({0x8e, 0xd8, 0xca, 0x08, 0x00}, 2);  // mov ds, ax; retf 8
  EXPECT_EQ(rig.cpu.cpl, 3);
  EXPECT_EQ(rig.cpu.rip, tiny::kCode + 7);
  EXPECT_EQ(rig.cpu.gpr[x86::kRsp], tiny::kStackTop + 8);
  EXPECT_TRUE(rig.cpu.segment[x86::kDs].unusable);  // was the kernel's
  EXPECT_EQ(rig.cpu.segment[x86::kDs].selector, 0);
  EXPECT_EQ(rig.cpu.segment[x86::kEs].selector, tiny::kUserData);
}

TEST(CallGateTest, SixteenBitGatePushesWords) {
  ProtectionRig rig(Mode::kProtected32);
  rig.set_gate(kFree, {.offset = kTarget, .selector = tiny::kCode32, .type = x86::kCallGate16, .parameters = 3});
  EXPECT_EQ(far(rig, kCall, kFree), std::nullopt);
  EXPECT_EQ(rig.cpu.gpr[x86::kRsp], tiny::kStackTop - 4);  // same level: no parameters
  EXPECT_EQ(rig.stack<std::uint16_t>(0), tiny::kCode + 7);
}

TEST(CallGateTest, Checks) {
  struct Case {
    const char* name;
    std::uint8_t opcode;
    x86::Gate gate;
    std::optional<Fault> fault;
  };
  const std::vector<Case> cases = {
      {"gate's privilege", kCall, {.selector = 8, .type = x86::kCallGate, .dpl = 2}, fault_with(13, kFree)},
      {"absent", kCall, {.selector = 8, .type = x86::kCallGate, .dpl = 3, .present = false}, fault_with(11, kFree)},
      {"null", kCall, {.selector = 0, .type = x86::kCallGate, .dpl = 3}, fault_with(13, 0)},
      {"data", kCall, {.selector = tiny::kUserData, .type = x86::kCallGate, .dpl = 3}, fault_with(13, 0x30)},
      {"JMP inwards", kJmp, {.selector = 8, .type = x86::kCallGate, .dpl = 3}, fault_with(13, 8)},
      {"interrupt gate", kCall, {.selector = 8, .type = x86::kInterruptGate, .dpl = 3}, fault_with(13, kFree)},
  };
  for (const Case& test : cases) {
    ProtectionRig rig(Mode::kProtected32);
    rig.set_gate(kFree, test.gate);
    rig.enter_user32();
    EXPECT_EQ(far(rig, test.opcode, kFree | 3), test.fault) << test.name;
  }
}

TEST(CallGateTest, In64BitMode) {
  ProtectionRig rig(Mode::kUser64);
  rig.set_gate(kFree, {.offset = kTarget, .selector = tiny::kCode64, .type = x86::kCallGate, .dpl = 3});
  EXPECT_EQ(far_through_memory(rig, 3, kFree | 3, 0), std::nullopt);
  EXPECT_EQ(rig.cpu.rip, kTarget);
  EXPECT_EQ(rig.cpu.cpl, 0);
  EXPECT_TRUE(rig.cpu.segment[x86::kSs].unusable);
  EXPECT_EQ(rig.cpu.gpr[x86::kRsp], tiny::kKernelStackTop - 32);
  EXPECT_EQ(rig.stack<std::uint64_t>(3), tiny::kUserData);
  rig.run({0x48, 0xcb});  // retfq
  EXPECT_EQ(rig.cpu.cpl, 3);
  EXPECT_EQ(rig.cpu.rip, tiny::kCode + 2);
  EXPECT_EQ(rig.cpu.gpr[x86::kRsp], tiny::kStackTop);
}

TEST(CallGateTest, LongModeWantsSixteenBytes) {
  ProtectionRig rig(Mode::kLong64);
  rig.set_gate(kFree, {.offset = kTarget, .selector = tiny::kCode64, .type = x86::kCallGate});
  rig.poke<std::uint64_t>(tiny::kGdt + kFree + 8, 1ULL << 40);  // a type in the upper half
  EXPECT_EQ(far_through_memory(rig, 5, kFree, 0), fault_with(13, kFree));
  rig.start(tiny::kCode);
  rig.poke<std::uint64_t>(tiny::kGdt + kFree + 8, 0);
  rig.cpu.gdt.limit = kFree + 7;
  EXPECT_EQ(far_through_memory(rig, 5, kFree, 0), fault_with(13, kFree));
}

TEST(CompatibilityModeTest, ThereAndBack) {
  ProtectionRig rig(Mode::kLong64);
  EXPECT_EQ(far_through_memory(rig, 3, tiny::kCode32, kTarget), std::nullopt);
  EXPECT_EQ(rig.cpu.code_mode, CodeMode::kProtected32);
  EXPECT_EQ(rig.cpu.gpr[x86::kRsp], tiny::kStackTop - 8);
  rig.run({kJmp, 0x00, 0x40, 0x00, 0x00, tiny::kCode64, 0x00});
  EXPECT_EQ(rig.cpu.code_mode, CodeMode::kLong64);
  EXPECT_EQ(rig.cpu.rip, tiny::kCode);
}

TEST(FarTransferTest, OnlyIntelHas64BitPointers) {
  for (const bool amd : {false, true}) {
    ProtectionRig rig(Mode::kLong64);
    if (amd) rig.cpu.cpuid = {{.leaf = 0, .subleaf = {}, .eax = 1, .ebx = 0x68747541, .ecx = 0, .edx = 0}};
    rig.poke<std::uint64_t>(tiny::kData, std::uint64_t{tiny::kCode64} << 32 | kTarget);
    rig.poke<std::uint16_t>(tiny::kData + 8, tiny::kCode64);
    rig.cpu.gpr[x86::kRbx] = tiny::kData;
    rig.run({0x48, 0xff, 0x2b});  // jmp far [rbx] with REX.W
    EXPECT_EQ(rig.cpu.rip, amd ? kTarget : std::uint64_t{tiny::kCode64} << 32 | kTarget);
  }
}

TEST(CompatibilityModeTest, LongAndBigIsReserved) {
  ProtectionRig rig(Mode::kLong64);
  rig.cpu.gdt.limit = ProtectionRig::kGdtLimit;
  x86::Segment code = x86::flat_segment(0, true, true);
  code.default_big = true;
  rig.set_descriptor(kFree, code);
  EXPECT_EQ(far_through_memory(rig, 5, kFree, kTarget), fault_with(13, kFree));
}

TEST(IretTest, SameLevelRestoresFlags) {
  ProtectionRig rig(Mode::kProtected32);
  rig.set_stack<std::uint32_t>({kTarget, tiny::kCode32, 0xffff'ffff & ~0x2'4000U});  // not VM, NT
  rig.cpu.events.nmi.masked = true;
  rig.run({0xcf});
  EXPECT_EQ(rig.cpu.rip, kTarget);
  EXPECT_EQ(rig.cpu.rflags, 0x3d'3fd7U);
  EXPECT_EQ(rig.cpu.gpr[x86::kRsp], tiny::kStackTop + 12);
  EXPECT_FALSE(rig.cpu.events.nmi.masked);
}

TEST(IretTest, UserMayNotChangeInterruptsAndPrivilege) {
  ProtectionRig rig(Mode::kProtected32);
  rig.enter_user32();
  rig.set_stack<std::uint32_t>({kTarget, tiny::kUserCode32, 0xffff'ffff & ~0x4100U});
  rig.run({0xcf});
  EXPECT_EQ(rig.cpu.rflags, 0x25'0cd7U);
}

TEST(IretTest, SixteenBitsKeepTheUpperFlags) {
  ProtectionRig rig(Mode::kProtected32);
  rig.cpu.rflags |= rflags::kAc | rflags::kId;
  rig.set_stack<std::uint16_t>({kTarget, tiny::kCode32, 0});
  rig.run({0x66, 0xcf});
  EXPECT_EQ(rig.cpu.rflags, rflags::kAc | rflags::kId | 2);
}

TEST(IretTest, OuterLevel) {
  ProtectionRig rig(Mode::kPaged32);
  rig.set_stack<std::uint32_t>({kTarget, tiny::kUserCode32, 0x202, 0x7000, tiny::kUserData});
  rig.run({0xcf});
  EXPECT_EQ(rig.cpu.cpl, 3);
  EXPECT_EQ(rig.cpu.gpr[x86::kRsp], 0x7000U);
  EXPECT_TRUE(rig.cpu.flag(rflags::kIf));
  EXPECT_TRUE(rig.cpu.segment[x86::kDs].unusable);
}

TEST(IretTest, SmallOuterStackKeepsTheUpperHalf) {
  ProtectionRig rig(Mode::kProtected32);
  x86::Segment data = x86::flat_segment(0, false);
  data.dpl = 3;
  data.default_big = false;
  rig.set_descriptor(kFree, data);
  rig.cpu.gpr[x86::kRsp] = 0x2'0000;
  rig.set_stack<std::uint32_t>({kTarget, tiny::kUserCode32, 2, 0x1234'5678, kFree | 3});
  rig.run({0xcf});
  EXPECT_EQ(rig.cpu.gpr[x86::kRsp], 0x2'5678U);
}

TEST(IretTest, ChecksOfTheReturn) {
  struct Case {
    const char* name;
    std::array<std::uint32_t, 5> frame;
    std::optional<Fault> fault;
  };
  for (const Case& test : {Case{"null CS", {kTarget, 0, 2}, fault_with(13, 0)},
                           Case{"data", {kTarget, tiny::kData32, 2}, fault_with(13, tiny::kData32)},
                           Case{"DPL is not RPL", {kTarget, tiny::kCode32 | 3, 2}, fault_with(13, tiny::kCode32)},
                           Case{"null SS", {kTarget, tiny::kUserCode32, 2, 0, 0}, fault_with(13, 0)},
                           Case{"inner SS", {kTarget, tiny::kUserCode32, 2, 0, tiny::kData32}, fault_with(13, 0x10)},
                           Case{"absent SS", {kTarget, tiny::kUserCode32, 2, 0, kFree | 3}, fault_with(12, kFree)}}) {
    ProtectionRig rig(Mode::kProtected32);
    rig.set_descriptor(kFree, absent(ProtectionRig::user(false, 0)));
    rig.cpu.gpr[x86::kRsp] -= 64;
    for (unsigned n = 0; n < 5; ++n) rig.poke(rig.cpu.gpr[x86::kRsp] + n * 4, test.frame.at(n));
    EXPECT_EQ(rig.fault_of({0xcf}), test.fault) << test.name;
    EXPECT_EQ(rig.cpu.cpl, 0);
  }
}

TEST(IretTest, UserMayNotReturnInwards) {
  ProtectionRig rig(Mode::kProtected32);
  rig.enter_user32();
  rig.set_stack<std::uint32_t>({kTarget, tiny::kCode32, 2});
  EXPECT_EQ(rig.fault_of({0xcf}), fault_with(13, tiny::kCode32));
}

TEST(IretTest, ToVm86) {
  ProtectionRig rig(Mode::kPaged32);
  rig.set_stack<std::uint32_t>(
      {0x1234, 0x2000, rflags::kVm | rflags::kIopl | 2, 0xfff0, 0x3000, 0x4000, 0x5000, 0x6000, 0x7000});
  rig.run({0xcf});
  EXPECT_TRUE(rig.cpu.vm86);
  EXPECT_EQ(rig.cpu.cpl, 3);
  EXPECT_EQ(rig.cpu.rip, 0x1234U);
  EXPECT_EQ(rig.cpu.segment[x86::kCs].base, 0x20000U);
  EXPECT_EQ(rig.cpu.segment[x86::kSs].base, 0x30000U);
  EXPECT_EQ(rig.cpu.segment[x86::kEs].base, 0x40000U);
  EXPECT_EQ(rig.cpu.segment[x86::kGs].base, 0x70000U);
  EXPECT_EQ(rig.cpu.gpr[x86::kRsp], 0xfff0U);
  EXPECT_EQ(rig.cpu.iopl(), 3U);
}

TEST(IretTest, InVm86) {
  ProtectionRig rig(Mode::kProtected32);
  rig.enter_vm86(3);
  rig.set_stack<std::uint16_t>({0x1234, 0x2000, 0x0202});
  rig.run({0xcf});
  EXPECT_EQ(rig.cpu.segment[x86::kCs].base, 0x20000U);
  EXPECT_TRUE(rig.cpu.flag(rflags::kIf));
  EXPECT_EQ(rig.cpu.iopl(), 3U);
  rig.start(tiny::kCode);
  rig.enter_vm86(0);
  rig.set_stack<std::uint16_t>({0x1234, 0x2000, 0x0202});
  EXPECT_EQ(rig.fault_of({0xcf}), fault_with(13, 0));
}

TEST(IretTest, InVm86WithTheVirtualInterruptFlag) {
  ProtectionRig rig(Mode::kProtected32);
  rig.enter_vm86(0);
  rig.cpu.cr4 |= x86::cr4::kVme;
  rig.set_stack<std::uint16_t>({0x1234, 0x2000, 0x3202});
  rig.run({0xcf});
  EXPECT_EQ(rig.cpu.rflags, rflags::kVm | rflags::kVif | 2);
  rig.start(tiny::kCode);
  rig.enter_vm86(0);
  rig.cpu.cr4 |= x86::cr4::kVme;
  rig.cpu.rflags |= rflags::kVip;
  rig.set_stack<std::uint16_t>({0x1234, 0x2000, 0x0202});
  EXPECT_EQ(rig.fault_of({0xcf}), fault_with(13, 0));
}

TEST(IretTest, In64BitModeAlwaysPopsTheStack) {
  ProtectionRig rig(Mode::kLong64);
  rig.set_stack<std::uint64_t>({kTarget, tiny::kCode64, 2, 0x7000, 0});
  rig.run({0x48, 0xcf});
  EXPECT_EQ(rig.cpu.rip, kTarget);
  EXPECT_EQ(rig.cpu.gpr[x86::kRsp], 0x7000U);
  EXPECT_TRUE(rig.cpu.segment[x86::kSs].unusable);
}

TEST(IretTest, ToUser64KeepsNullSegmentsBases) {
  ProtectionRig rig(Mode::kLong64);
  rig.cpu.segment[x86::kFs] = {.base = 0x1234'5678'9000, .selector = 3, .present = false, .unusable = true};
  rig.set_stack<std::uint64_t>({kTarget, tiny::kUserCode64, 0x202, 0x7000, tiny::kUserData});
  rig.run({0x48, 0xcf});
  EXPECT_EQ(rig.cpu.cpl, 3);
  EXPECT_EQ(rig.cpu.segment[x86::kFs].base, 0x1234'5678'9000U);
  EXPECT_EQ(rig.cpu.segment[x86::kFs].selector, 0);
}

TEST(IretTest, Refusals64) {
  struct Case {
    const char* name;
    std::array<std::uint64_t, 5> frame;
    std::uint64_t flags;
    std::optional<Fault> fault;
  };
  constexpr std::uint64_t kHole = 0x8000'0000'0000;
  for (const Case& test :
       {Case{"null SS for user mode", {kTarget, tiny::kUserCode64, 2, 0, 3}, 2, fault_with(13, 0)},
        Case{"null SS for 32-bit code", {kTarget, tiny::kCode32, 2, 0, 0}, 2, fault_with(13, 0)},
        Case{"null SS of another RPL", {kTarget, tiny::kCode64, 2, 0, 1}, 2, fault_with(13, 0)},
        Case{"not canonical", {kHole, tiny::kCode64, 2, 0, tiny::kData64}, 2, fault_with(13, 0)},
        Case{"nested task", {kTarget, tiny::kCode64, 2, 0x7000, 0}, rflags::kNt | 2, fault_with(13, 0)}}) {
    ProtectionRig rig(Mode::kLong64);
    rig.cpu.rflags = test.flags;
    rig.cpu.gpr[x86::kRsp] -= 64;
    for (unsigned n = 0; n < 5; ++n) rig.poke(rig.cpu.gpr[x86::kRsp] + n * 8, test.frame.at(n));
    EXPECT_EQ(rig.fault_of({0x48, 0xcf}), test.fault) << test.name;
  }
}

TEST(SyscallTest, ThereAndBack) {
  ProtectionRig rig(Mode::kUser64);
  rig.cpu.msrs.star = tiny::kSyscallStar;
  rig.cpu.msrs.lstar = kTarget;
  rig.cpu.msrs.sfmask = rflags::kIf | rflags::kTf;
  rig.cpu.rflags |= rflags::kIf | rflags::kCf;
  const std::uint64_t flags = rig.cpu.rflags;
  rig.run({0x0f, 0x05});
  EXPECT_EQ(rig.cpu.rip, kTarget);
  EXPECT_EQ(rig.cpu.cpl, 0);
  EXPECT_EQ(rig.cpu.segment[x86::kCs].selector, tiny::kCode64);
  EXPECT_EQ(rig.cpu.segment[x86::kSs].selector, tiny::kData64);
  EXPECT_EQ(rig.cpu.gpr[x86::kRcx], tiny::kCode + 2);
  EXPECT_EQ(rig.cpu.gpr[x86::kR11], flags);
  EXPECT_FALSE(rig.cpu.flag(rflags::kIf));
  rig.run({0x48, 0x0f, 0x07});
  EXPECT_EQ(rig.cpu.rip, tiny::kCode + 2);
  EXPECT_EQ(rig.cpu.rflags, flags);
  EXPECT_EQ(rig.cpu.cpl, 3);
  EXPECT_EQ(rig.cpu.segment[x86::kCs].selector, tiny::kUserCode64);
  EXPECT_EQ(rig.cpu.segment[x86::kSs].selector, tiny::kUserData);
}

TEST(SyscallTest, SysretTo32BitCode) {
  ProtectionRig rig(Mode::kLong64);
  rig.cpu.msrs.star = tiny::kSyscallStar;
  rig.cpu.gpr[x86::kRcx] = 0xffff'ffff'0000'0000 | kTarget;
  rig.run({0x0f, 0x07});
  EXPECT_EQ(rig.cpu.rip, kTarget);
  EXPECT_EQ(rig.cpu.code_mode, CodeMode::kProtected32);
  EXPECT_EQ(rig.cpu.cpl, 3);
}

TEST(SyscallTest, SysretOutOfCanonicalSpace) {
  ProtectionRig rig(Mode::kLong64);
  rig.cpu.gpr[x86::kRcx] = 0x8000'0000'0000;
  EXPECT_EQ(rig.fault_of({0x48, 0x0f, 0x07}), fault_with(13, 0));
  EXPECT_EQ(rig.stack<std::uint64_t>(2) & 3, 0U);  // the kernel's own: Intel's
}

TEST(SyscallTest, MustBeEnabled) {
  ProtectionRig rig(Mode::kUser64);
  EXPECT_EQ(rig.fault_of({0x48, 0x0f, 0x07}), fault_with(13, 0));
  rig.start(tiny::kCode);
  rig.cpu.efer &= ~x86::efer::kSce;
  EXPECT_EQ(rig.fault_of({0x0f, 0x05}), fault_with(6));
  ProtectionRig legacy(Mode::kProtected32);
  legacy.cpu.efer |= x86::efer::kSce;
  EXPECT_EQ(legacy.fault_of({0x0f, 0x05}), fault_with(6));
}

TEST(SysenterTest, Legacy) {
  ProtectionRig rig(Mode::kProtected32);
  rig.enter_user32();
  EXPECT_EQ(rig.fault_of({0x0f, 0x34}), fault_with(13, 0));  // no selector
  rig.start(tiny::kCode);
  rig.enter_user32();
  rig.cpu.msrs.sysenter_cs = 0x50;
  rig.cpu.msrs.sysenter_eip = kTarget;
  rig.cpu.msrs.sysenter_esp = 0x7000;
  rig.cpu.rflags |= rflags::kIf;
  rig.run({0x0f, 0x34});
  EXPECT_EQ(rig.cpu.cpl, 0);
  EXPECT_EQ(rig.cpu.rip, kTarget);
  EXPECT_EQ(rig.cpu.gpr[x86::kRsp], 0x7000U);
  EXPECT_EQ(rig.cpu.segment[x86::kSs].selector, 0x58);
  EXPECT_FALSE(rig.cpu.flag(rflags::kIf));
  rig.cpu.gpr[x86::kRcx] = 0x7100;
  rig.cpu.gpr[x86::kRdx] = tiny::kCode;
  rig.run({0x0f, 0x35});
  EXPECT_EQ(rig.cpu.cpl, 3);
  EXPECT_EQ(rig.cpu.rip, tiny::kCode);
  EXPECT_EQ(rig.cpu.gpr[x86::kRsp], 0x7100U);
  EXPECT_EQ(rig.cpu.segment[x86::kCs].selector, 0x63);
  EXPECT_EQ(rig.cpu.segment[x86::kSs].selector, 0x6b);
}

TEST(SysenterTest, In64BitMode) {
  ProtectionRig rig(Mode::kUser64);
  rig.cpu.msrs.sysenter_cs = 0x50;
  rig.cpu.msrs.sysenter_eip = 0xffff'8000'0000'0000;
  rig.run({0x0f, 0x34});
  EXPECT_EQ(rig.cpu.code_mode, CodeMode::kLong64);
  EXPECT_EQ(rig.cpu.rip, 0xffff'8000'0000'0000U);
  rig.start(tiny::kCode);
  rig.cpu.segment[x86::kSs].dpl = 0;
  rig.cpu.segment[x86::kCs].dpl = 0;
  rig.cpu.update_mode();
  rig.cpu.gpr[x86::kRdx] = kTarget;
  rig.run({0x48, 0x0f, 0x35});
  EXPECT_EQ(rig.cpu.segment[x86::kCs].selector, 0x73);
  EXPECT_EQ(rig.cpu.cpl, 3);
}

}  // namespace
}  // namespace doppel::accel::soft
