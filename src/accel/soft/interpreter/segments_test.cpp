#include "accel/soft/interpreter/segments.h"

#include <gtest/gtest.h>

#include "accel/soft/interpreter/protection_rig.h"

namespace doppel::accel::soft {
namespace {

using tiny::Mode;
namespace rflags = x86::rflags;
constexpr std::uint16_t kFree = ProtectionRig::kFree;

x86::Segment data_segment(std::uint8_t dpl = 0) {
  x86::Segment segment = x86::flat_segment(0, false);
  segment.dpl = dpl;
  segment.type = x86::segment_type::kWritable;
  return segment;
}

TEST(LoadSegmentTest, RealModeChangesTheBaseAlone) {
  ProtectionRig rig(Mode::kReal16);
  rig.cpu.segment[x86::kDs].limit = 0xffffffff;  // "big real mode"
  rig.cpu.gpr[x86::kRax] = 0x1234;
  rig.run({0x8e, 0xd8});  // mov ds, ax
  EXPECT_EQ(rig.cpu.segment[x86::kDs].base, 0x12340U);
  EXPECT_EQ(rig.cpu.segment[x86::kDs].selector, 0x1234);
  EXPECT_EQ(rig.cpu.segment[x86::kDs].limit, 0xffffffff);
  EXPECT_EQ(rig.cpu.view[x86::kDs].base, 0x12340U);
}

TEST(LoadSegmentTest, Vm86SegmentsHave64KiB) {
  ProtectionRig rig(Mode::kProtected32);
  rig.enter_vm86(3);
  rig.cpu.gpr[x86::kRax] = 0xffff;
  rig.run({0x8e, 0xe8});  // mov gs, ax
  EXPECT_EQ(rig.cpu.segment[x86::kGs].base, 0xffff0U);
  EXPECT_EQ(rig.cpu.segment[x86::kGs].limit, 0xffffU);
  EXPECT_EQ(rig.cpu.cpl, 3);
}

TEST(LoadSegmentTest, SetsTheAccessedBitInMemory) {
  ProtectionRig rig(Mode::kPaged32);
  rig.set_descriptor(kFree, data_segment());
  rig.cpu.gpr[x86::kRax] = kFree;
  EXPECT_EQ(rig.fault_of({0x8e, 0xd8}), std::nullopt);
  EXPECT_EQ(rig.access_byte(kFree), 0x93);
  EXPECT_EQ(rig.cpu.segment[x86::kDs].type, 3);
}

struct LoadCase {
  const char* name;
  std::uint8_t modrm;  // of MOV Sreg, AX
  std::uint16_t selector;
  x86::Segment segment;  // at kFree
  std::optional<Fault> fault;
};

x86::Segment with(x86::Segment segment, bool present) {
  segment.present = present;
  return segment;
}
x86::Segment code_segment(std::uint8_t type, std::uint8_t dpl = 0) {
  x86::Segment segment = x86::flat_segment(0, true);
  segment.type = type;
  segment.dpl = dpl;
  return segment;
}

TEST(LoadSegmentTest, ChecksInProtectedMode) {
  constexpr std::uint8_t kDs = 0xd8, kSs = 0xd0;
  const std::vector<LoadCase> cases = {
      {"null DS", kDs, 3, {}, {}},
      {"null SS", kSs, 0, {}, fault_with(13, 0)},
      {"beyond the GDT", kDs, 0x400, {}, fault_with(13, 0x400)},
      {"no LDT", kDs, 0x0f, {}, fault_with(13, 0x0c)},
      {"DS not present", kDs, kFree, with(data_segment(), false), fault_with(11, kFree)},
      {"SS not present", kSs, kFree, with(data_segment(), false), fault_with(12, kFree)},
      {"SS with another RPL", kSs, kFree | 1, data_segment(), fault_with(13, kFree)},
      {"SS with another DPL", kSs, kFree, data_segment(1), fault_with(13, kFree)},
      {"SS with read-only data", kSs, kFree,
       [] {
         auto s = data_segment();
         s.type = 1;
         return s;
       }(),
       fault_with(13, kFree)},
      {"SS with code", kSs, kFree, code_segment(10), fault_with(13, kFree)},
      {"DS with RPL above DPL", kDs, kFree | 3, data_segment(), fault_with(13, kFree)},
      {"DS with execute-only code", kDs, kFree, code_segment(8), fault_with(13, kFree)},
      {"DS with readable code", kDs, kFree, code_segment(10), {}},
      {"DS with conforming code of any RPL", kDs, kFree | 3, code_segment(14), {}},
      {"DS with a system segment", kDs, kFree, ProtectionRig::tss(0), fault_with(13, kFree)},
  };
  for (const LoadCase& test : cases) {
    ProtectionRig rig(Mode::kProtected32);
    rig.set_descriptor(kFree, test.segment);
    rig.cpu.gpr[x86::kRax] = test.selector;
    EXPECT_EQ(rig.fault_of({0x8e, test.modrm}), test.fault) << test.name;
  }
}

TEST(LoadSegmentTest, UserMayNotHaveTheKernelsData) {
  ProtectionRig rig(Mode::kProtected32);
  rig.enter_user32();
  rig.cpu.gpr[x86::kRax] = tiny::kData32;
  EXPECT_EQ(rig.fault_of({0x8e, 0xd8}), fault_with(13, tiny::kData32));
}

TEST(LoadSegmentTest, AccessThroughNullFaults) {
  ProtectionRig rig(Mode::kProtected32);
  rig.run({0x8e, 0xd8});                                     // mov ds, ax (0)
  EXPECT_EQ(rig.fault_of({0x8a, 0x00}), fault_with(13, 0));  // mov al, [eax]
}

TEST(LoadSegmentTest, NullStackIsFor64BitKernels) {
  ProtectionRig kernel(Mode::kLong64);
  EXPECT_EQ(kernel.fault_of({0x8e, 0xd0}), std::nullopt);
  EXPECT_TRUE(kernel.cpu.segment[x86::kSs].unusable);
  EXPECT_EQ(kernel.cpu.cpl, 0);
  kernel.cpu.gpr[x86::kRax] = 1;
  EXPECT_EQ(kernel.fault_of({0x8e, 0xd0}), fault_with(13, 0));

  ProtectionRig user(Mode::kUser64);
  user.cpu.gpr[x86::kRax] = 3;
  EXPECT_EQ(user.fault_of({0x8e, 0xd0}), fault_with(13, 0));
}

TEST(LoadSegmentTest, LdtIsUsed) {
  ProtectionRig rig(Mode::kProtected32);
  rig.set_system_descriptor(kFree,
                            {.base = ProtectionRig::kLdt, .limit = 0xf, .type = x86::kLdt, .code_or_data = false});
  x86::Segment data = data_segment();
  data.base = 0x12345678;
  rig.poke(ProtectionRig::kLdt + 8, x86::encode_descriptor(data));
  rig.cpu.gpr[x86::kRax] = kFree;
  rig.cpu.gpr[x86::kRcx] = 0x0c;
  rig.run({0x0f, 0x00, 0xd0, 0x8e, 0xd9, 0x0f, 0x00, 0xc2}, 3);  // lldt ax; mov ds, cx; sldt edx
  EXPECT_EQ(rig.cpu.segment[x86::kDs].base, 0x12345678U);
  EXPECT_EQ(rig.cpu.gpr[x86::kRdx], kFree);
  rig.cpu.gpr[x86::kRcx] = 0x14;
  EXPECT_EQ(rig.fault_of({0x8e, 0xd9}), fault_with(13, 0x14));
}

TEST(SegmentOperationTest, MovFromSegmentExtendsToRegistersAlone) {
  ProtectionRig rig(Mode::kProtected32);
  rig.cpu.gpr[x86::kRax] = rig.cpu.gpr[x86::kRcx] = 0xffffffff;
  rig.poke<std::uint32_t>(tiny::kData, 0xffffffff);
  rig.run({0x8c, 0xd8, 0x66, 0x8c, 0xd9, 0x8c, 0x1d, 0x00, 0x80, 0x00, 0x00}, 3);  // eax, cx, [8000] from ds
  EXPECT_EQ(rig.cpu.gpr[x86::kRax], tiny::kData32);
  EXPECT_EQ(rig.cpu.gpr[x86::kRcx], 0xffff0000U | tiny::kData32);
  EXPECT_EQ(rig.peek<std::uint32_t>(tiny::kData), 0xffff0000U | tiny::kData32);
}

TEST(SegmentOperationTest, MovToCsIsUndefined) {
  ProtectionRig rig(Mode::kProtected32);
  EXPECT_EQ(rig.fault_of({0x8e, 0xc8}), fault_with(6));
}

TEST(SegmentOperationTest, LoadOfSsHoldsInterruptsForOneInstruction) {
  ProtectionRig rig(Mode::kProtected32);
  rig.cpu.gpr[x86::kRax] = tiny::kData32;
  rig.run({0x8e, 0xd0, 0x90});
  EXPECT_TRUE(rig.cpu.events.mov_ss_shadow);
  rig.resume(1);
  EXPECT_FALSE(rig.cpu.events.mov_ss_shadow);
}

TEST(SegmentOperationTest, PopSsMovesTheOldStack) {
  ProtectionRig rig(Mode::kProtected32);
  x86::Segment small = data_segment();
  small.default_big = false;
  rig.set_descriptor(kFree, small);
  rig.cpu.gpr[x86::kRsp] = 0x1fffc;
  rig.poke<std::uint32_t>(0x1fffc, kFree);
  rig.run({0x17});
  EXPECT_EQ(rig.cpu.gpr[x86::kRsp], 0x20000U);
  EXPECT_FALSE(rig.cpu.stack_is_32);
}

TEST(SegmentOperationTest, PopThatFaultsLeavesTheStack) {
  ProtectionRig rig(Mode::kProtected32);
  rig.set_stack<std::uint32_t>({0x400});
  EXPECT_EQ(rig.fault_of({0x1f}), fault_with(13, 0x400));
  EXPECT_EQ(rig.cpu.gpr[x86::kRsp], tiny::kStackTop - 16);
}

TEST(SegmentOperationTest, PushOf32BitsWrites16) {
  ProtectionRig rig(Mode::kProtected32);
  rig.poke<std::uint32_t>(tiny::kStackTop - 4, 0xffffffff);
  rig.run({0x1e});
  EXPECT_EQ(rig.cpu.gpr[x86::kRsp], tiny::kStackTop - 4);
  EXPECT_EQ(rig.stack<std::uint32_t>(0), 0xffff0000U | tiny::kData32);
  rig.cpu.cpuid = {{.leaf = 0, .subleaf = {}, .eax = 1, .ebx = 0x68747541, .ecx = 0, .edx = 0}};  // AMD
  rig.poke<std::uint32_t>(tiny::kStackTop - 8, 0xffffffff);
  rig.run({0x1e});
  EXPECT_EQ(rig.stack<std::uint32_t>(0), tiny::kData32);
}

TEST(SegmentOperationTest, FarPointers) {
  ProtectionRig rig(Mode::kProtected32);
  rig.poke<std::uint32_t>(tiny::kData, 0x11223344);
  rig.poke<std::uint16_t>(tiny::kData + 4, tiny::kData32);
  rig.cpu.gpr[x86::kRbx] = tiny::kData;
  rig.run({0x0f, 0xb2, 0x23});  // lss esp, [ebx]
  EXPECT_EQ(rig.cpu.gpr[x86::kRsp], 0x11223344U);
  EXPECT_FALSE(rig.cpu.events.mov_ss_shadow);
  rig.poke<std::uint16_t>(tiny::kData + 4, 0x400);
  rig.cpu.gpr[x86::kRsp] = tiny::kStackTop;
  EXPECT_EQ(rig.fault_of({0xc5, 0x03}), fault_with(13, 0x400));  // lds eax, [ebx]
  EXPECT_EQ(rig.cpu.gpr[x86::kRax], 0U);
}

TEST(SegmentOperationTest, BasesIn64BitMode) {
  ProtectionRig rig(Mode::kLong64);
  rig.cpu.gpr[x86::kRax] = 0x8000'0000'0000;
  EXPECT_EQ(rig.fault_of({0xf3, 0x48, 0x0f, 0xae, 0xd0}), fault_with(6));  // wrfsbase rax without CR4.FSGSBASE
  rig.start(tiny::kCode);
  rig.cpu.cr4 |= x86::cr4::kFsgsbase;
  rig.cpu.gpr[x86::kRax] = 0x8000'0000'0000;
  EXPECT_EQ(rig.fault_of({0xf3, 0x48, 0x0f, 0xae, 0xd0}), fault_with(13, 0));
  rig.start(tiny::kCode);
  rig.cpu.cr4 |= x86::cr4::kFsgsbase;
  rig.cpu.gpr[x86::kRax] = 0xffff'8000'0000'0000;
  rig.run({0xf3, 0x48, 0x0f, 0xae, 0xd8, 0xf3, 0x0f, 0xae, 0xc9}, 2);  // wrgsbase rax; rdgsbase ecx
  EXPECT_EQ(rig.cpu.view[x86::kGs].base, 0xffff'8000'0000'0000U);
  EXPECT_EQ(rig.cpu.gpr[x86::kRcx], 0U);
  rig.cpu.msrs.kernel_gs_base = 0x1234;
  rig.run({0x0f, 0x01, 0xf8});
  EXPECT_EQ(rig.cpu.view[x86::kGs].base, 0x1234U);
  EXPECT_EQ(rig.cpu.msrs.kernel_gs_base, 0xffff'8000'0000'0000U);
}

TEST(SegmentOperationTest, SwapgsIsTheKernels) {
  ProtectionRig rig(Mode::kUser64);
  EXPECT_EQ(rig.fault_of({0x0f, 0x01, 0xf8}), fault_with(13, 0));
}

TEST(TableRegisterTest, OperandSizeCutsTheBase) {
  ProtectionRig rig(Mode::kReal16);
  rig.poke<std::uint16_t>(tiny::kData, 0x1234);
  rig.poke<std::uint32_t>(tiny::kData + 2, 0x89abcdef);
  rig.run({0x0f, 0x01, 0x16, 0x00, 0x80});  // lgdt [8000]
  EXPECT_EQ(rig.cpu.gdt.base, 0xabcdefU);
  EXPECT_EQ(rig.cpu.gdt.limit, 0x1234);
  rig.run({0x66, 0x0f, 0x01, 0x1e, 0x00, 0x80});  // lidt, 32-bit
  EXPECT_EQ(rig.cpu.idt.base, 0x89abcdefU);
  rig.run({0x0f, 0x01, 0x0e, 0x10, 0x80});  // sidt [8010], 16-bit: all of the base
  EXPECT_EQ(rig.peek<std::uint16_t>(tiny::kData + 0x10), 0x1234);
  EXPECT_EQ(rig.peek<std::uint32_t>(tiny::kData + 0x12), 0x89abcdefU);
}

TEST(TableRegisterTest, In64BitMode) {
  ProtectionRig rig(Mode::kLong64);
  rig.cpu.gdt.base = 0xffff'8000'0000'1000;
  rig.cpu.gpr[x86::kRbx] = tiny::kData;
  rig.run({0x0f, 0x01, 0x03});  // sgdt [rbx]
  EXPECT_EQ(rig.peek<std::uint64_t>(tiny::kData + 2), 0xffff'8000'0000'1000U);
  rig.cpu.gdt.base = tiny::kGdt;
  rig.poke<std::uint64_t>(tiny::kData + 2, 0x8000'0000'0000);
  EXPECT_EQ(rig.fault_of({0x0f, 0x01, 0x13}), fault_with(13, 0));  // lgdt
}

TEST(TableRegisterTest, Privileges) {
  ProtectionRig rig(Mode::kUser64);
  rig.cpu.gpr[x86::kRbx] = tiny::kData;
  EXPECT_EQ(rig.fault_of({0x0f, 0x01, 0x13}), fault_with(13, 0));  // lgdt
  rig.start(tiny::kCode);
  rig.cpu.gpr[x86::kRbx] = tiny::kData;
  EXPECT_EQ(rig.fault_of({0x0f, 0x01, 0x03}), std::nullopt);  // sgdt
  rig.cpu.cr4 |= x86::cr4::kUmip;
  EXPECT_EQ(rig.fault_of({0x0f, 0x00, 0xc8}), fault_with(13, 0));  // str eax
}

TEST(TableRegisterTest, LtrMakesTheTaskBusy) {
  ProtectionRig rig(Mode::kLong64);
  rig.cpu.gdt.limit = ProtectionRig::kGdtLimit;
  rig.set_system_descriptor(kFree, ProtectionRig::tss(0xffff'8000'0000'2000));
  rig.cpu.gpr[x86::kRax] = kFree;
  rig.run({0x0f, 0x00, 0xd8, 0x48, 0x0f, 0x00, 0xc9}, 2);  // ltr ax; str rcx
  EXPECT_EQ(rig.cpu.gpr[x86::kRcx], kFree);
  EXPECT_EQ(rig.cpu.tr.base, 0xffff'8000'0000'2000U);
  EXPECT_EQ(rig.cpu.tr.type, x86::kTssBusy);
  EXPECT_EQ(rig.access_byte(kFree), 0x8b);
  EXPECT_EQ(rig.fault_of({0x0f, 0x00, 0xd8}), fault_with(13, kFree));  // busy now
}

TEST(TableRegisterTest, LldtAndLtrRefuse) {
  struct Case {
    std::uint8_t modrm;
    std::uint16_t selector;
    std::optional<Fault> fault;
  };
  for (const Case& test : {Case{0xd0, 0, std::nullopt}, Case{0xd0, 0x0c, fault_with(13, 0x0c)},
                           Case{0xd0, tiny::kData32, fault_with(13, tiny::kData32)}, Case{0xd8, 0, fault_with(13, 0)},
                           Case{0xd8, kFree, fault_with(11, kFree)}, Case{0xd8, 0x400, fault_with(13, 0x400)}}) {
    ProtectionRig rig(Mode::kProtected32);
    rig.set_descriptor(kFree, with(ProtectionRig::tss(0), false));
    rig.cpu.gpr[x86::kRax] = test.selector;
    EXPECT_EQ(rig.fault_of({0x0f, 0x00, test.modrm}), test.fault) << test.selector;
  }
}

TEST(AccessCheckTest, LarAndLsl) {
  ProtectionRig rig(Mode::kProtected32);
  rig.set_gate(kFree, {.offset = 0, .selector = 8, .type = x86::kCallGate});
  rig.cpu.gpr[x86::kRcx] = tiny::kData32;
  rig.run({0x0f, 0x02, 0xc1, 0x0f, 0x03, 0xd1}, 2);  // lar eax, ecx; lsl edx, ecx
  EXPECT_EQ(rig.cpu.gpr[x86::kRax], 0xcf9300U);
  EXPECT_EQ(rig.cpu.gpr[x86::kRdx], 0xffffffffU);
  EXPECT_TRUE(rig.cpu.flag(rflags::kZf));
  rig.cpu.gpr[x86::kRcx] = kFree;
  rig.run({0x66, 0x0f, 0x02, 0xc1});  // a gate has rights
  EXPECT_EQ(rig.cpu.gpr[x86::kRax], 0xcf8c00U);
  rig.run({0x0f, 0x03, 0xd1});  // but no limit
  EXPECT_FALSE(rig.cpu.flag(rflags::kZf));
  EXPECT_EQ(rig.cpu.gpr[x86::kRdx], 0xffffffffU);
  rig.enter_user32();
  rig.cpu.gpr[x86::kRcx] = tiny::kData32;
  rig.run({0x0f, 0x02, 0xc1});  // the kernel's is not to be seen
  EXPECT_FALSE(rig.cpu.flag(rflags::kZf));
}

TEST(AccessCheckTest, SixteenBitTasksAreUnknownInLongMode) {
  for (const Mode mode : {Mode::kProtected32, Mode::kLong64}) {
    ProtectionRig rig(mode);
    rig.set_descriptor(kFree, ProtectionRig::tss(0, x86::kTss16Available));
    rig.cpu.gpr[x86::kRcx] = kFree;
    rig.run({0x0f, 0x02, 0xc1});
    EXPECT_EQ(rig.cpu.flag(rflags::kZf), mode == Mode::kProtected32);
  }
}

TEST(AccessCheckTest, VerrAndVerw) {
  ProtectionRig rig(Mode::kProtected32);
  const auto answer = [&](std::uint16_t selector, std::uint8_t modrm) {
    rig.cpu.gpr[x86::kRcx] = selector;
    rig.run({0x0f, 0x00, modrm});
    return rig.cpu.flag(rflags::kZf);
  };
  constexpr std::uint8_t kVerr = 0xe1, kVerw = 0xe9;
  EXPECT_TRUE(answer(tiny::kCode32, kVerr));
  EXPECT_FALSE(answer(tiny::kCode32, kVerw));
  EXPECT_TRUE(answer(tiny::kData32, kVerw));
  EXPECT_FALSE(answer(tiny::kData32 | 3, kVerr));
  EXPECT_FALSE(answer(0, kVerr));
  EXPECT_FALSE(answer(tiny::kTssSelector, kVerr));
  EXPECT_FALSE(answer(0xfff8, kVerr));
}

TEST(AccessCheckTest, Arpl) {
  ProtectionRig rig(Mode::kProtected32);
  rig.cpu.gpr[x86::kRax] = 0x10;
  rig.cpu.gpr[x86::kRcx] = 3;
  rig.run({0x63, 0xc8, 0x63, 0xc8}, 1);  // arpl ax, cx
  EXPECT_EQ(rig.cpu.gpr[x86::kRax], 0x13U);
  EXPECT_TRUE(rig.cpu.flag(rflags::kZf));
  rig.resume();
  EXPECT_EQ(rig.cpu.gpr[x86::kRax], 0x13U);
  EXPECT_FALSE(rig.cpu.flag(rflags::kZf));
}

TEST(AccessCheckTest, RealModeKnowsNone) {
  ProtectionRig rig(Mode::kReal16);
  EXPECT_EQ(rig.fault_of({0x0f, 0x02, 0xc1}), (Fault{6, false, 0}));
}

}  // namespace
}  // namespace doppel::accel::soft
