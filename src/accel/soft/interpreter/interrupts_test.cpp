#include "accel/soft/interpreter/interrupts.h"

#include <gtest/gtest.h>

#include "accel/soft/interpreter/protection_rig.h"

namespace doppel::accel::soft {
namespace {

using tiny::Mode;
namespace rflags = x86::rflags;
constexpr std::uint16_t kFree = ProtectionRig::kFree;
constexpr std::uint64_t kTarget = ProtectionRig::kTarget;
constexpr std::uint8_t kVector = 0x40;

void interrupt(ProtectionRig& rig, std::uint8_t vector, EventKind kind = EventKind::kExternalInterrupt) {
  deliver(rig.cpu, {.kind = kind, .vector = vector, .has_error_code = false, .error_code = 0});
}
/// What delivery throws.
std::optional<Fault> delivery_fault(ProtectionRig& rig, std::uint8_t vector,
                                    EventKind kind = EventKind::kExternalInterrupt) {
  try {
    interrupt(rig, vector, kind);
  } catch (const Fault& fault) {
    return fault;
  }
  return {};
}
x86::Gate interrupt_gate(const ProtectionRig& rig) {
  return {.offset = kTarget, .selector = rig.is_long() ? tiny::kCode64 : tiny::kCode32};
}

TEST(RealModeInterruptTest, EntersTheVector) {
  ProtectionRig rig(Mode::kReal16);
  rig.cpu.idt.limit = 0x3ff;
  rig.poke<std::uint32_t>(kVector * 4, 0x12345678);
  rig.cpu.rflags |= rflags::kIf | rflags::kTf | rflags::kCf;
  rig.cpu.gpr[x86::kRsp] = 0xaaaa'0004;  // SP alone counts
  rig.cpu.segment[x86::kCs].selector = 0x77;
  interrupt(rig, kVector);
  EXPECT_EQ(rig.cpu.segment[x86::kCs].base, 0x12340U);
  EXPECT_EQ(rig.cpu.rip, 0x5678U);
  EXPECT_EQ(rig.cpu.gpr[x86::kRsp], 0xaaaa'fffeU);  // wrapped
  EXPECT_EQ(rig.peek<std::uint16_t>(0xfffe), tiny::kCode);
  EXPECT_EQ(rig.peek<std::uint16_t>(0), 0x77);
  EXPECT_EQ(rig.peek<std::uint16_t>(2), rflags::kIf | rflags::kTf | rflags::kCf | 2);
  EXPECT_EQ(rig.cpu.rflags, rflags::kCf | 2);
}

TEST(RealModeInterruptTest, ShortTableShutsDown) {
  ProtectionRig rig(Mode::kReal16);
  rig.cpu.idt.limit = 0x7f;
  EXPECT_EQ(delivery_fault(rig, 0x20), fault_with(13, 0x102));
  EXPECT_EQ(rig.fault_of({0xcd, 0x20}), (Fault{13, false, 0}));
  rig.cpu.idt.limit = 0;
  EXPECT_FALSE(deliver_fault(rig.cpu, {6, false, 0}));
}

TEST(RealModeInterruptTest, StackEndFaults) {
  ProtectionRig rig(Mode::kReal16);
  rig.cpu.gpr[x86::kRsp] = 3;  // the second push is at FFFF
  EXPECT_EQ(delivery_fault(rig, 0x10), fault_with(12, 0));
  EXPECT_EQ(rig.cpu.gpr[x86::kRsp], 3U);
}

TEST(ProtectedInterruptTest, SamePrivilege) {
  ProtectionRig rig(Mode::kPaged32);
  rig.set_idt_gate(kVector, interrupt_gate(rig));
  rig.cpu.rflags |= rflags::kIf | rflags::kTf | rflags::kNt | rflags::kAc;
  interrupt(rig, kVector);
  EXPECT_EQ(rig.cpu.rip, kTarget);
  EXPECT_EQ(rig.cpu.gpr[x86::kRsp], tiny::kStackTop - 12);
  EXPECT_EQ(rig.stack<std::uint32_t>(0), tiny::kCode);
  EXPECT_EQ(rig.stack<std::uint32_t>(1), tiny::kCode32);
  EXPECT_EQ(rig.stack<std::uint32_t>(2), rflags::kIf | rflags::kTf | rflags::kNt | rflags::kAc | 2);
  EXPECT_EQ(rig.cpu.rflags, rflags::kAc | 2);
}

TEST(ProtectedInterruptTest, TrapGateKeepsInterruptsOn) {
  ProtectionRig rig(Mode::kProtected32);
  x86::Gate gate = interrupt_gate(rig);
  gate.type = x86::kTrapGate;
  rig.set_idt_gate(kVector, gate);
  rig.cpu.rflags |= rflags::kIf;
  interrupt(rig, kVector);
  EXPECT_TRUE(rig.cpu.flag(rflags::kIf));
}

TEST(ProtectedInterruptTest, SixteenBitGate) {
  ProtectionRig rig(Mode::kProtected32);
  rig.set_idt_gate(kVector, {.offset = 0x77770000 | kTarget, .selector = tiny::kCode32, .type = x86::kInterruptGate16});
  interrupt(rig, kVector);
  EXPECT_EQ(rig.cpu.rip, kTarget);
  EXPECT_EQ(rig.cpu.gpr[x86::kRsp], tiny::kStackTop - 6);
  EXPECT_EQ(rig.stack<std::uint16_t>(1), tiny::kCode32);
}

TEST(ProtectedInterruptTest, ToTheKernelsStack) {
  ProtectionRig rig(Mode::kPaged32);
  rig.enter_user32();
  rig.set_idt_gate(kVector, interrupt_gate(rig));
  interrupt(rig, kVector);
  EXPECT_EQ(rig.cpu.cpl, 0);
  EXPECT_EQ(rig.cpu.segment[x86::kSs].selector, tiny::kData32);
  EXPECT_EQ(rig.cpu.segment[x86::kCs].selector, tiny::kCode32);
  EXPECT_EQ(rig.cpu.segment[x86::kDs].selector, tiny::kUserData);  // stays
  EXPECT_EQ(rig.cpu.gpr[x86::kRsp], tiny::kKernelStackTop - 20);
  EXPECT_EQ(rig.stack<std::uint32_t>(0), tiny::kCode);
  EXPECT_EQ(rig.stack<std::uint32_t>(1), tiny::kUserCode32);
  EXPECT_EQ(rig.stack<std::uint32_t>(3), tiny::kStackTop);
  EXPECT_EQ(rig.stack<std::uint32_t>(4), tiny::kUserData);
}

TEST(ProtectedInterruptTest, ConformingHandlerKeepsThePrivilege) {
  ProtectionRig rig(Mode::kProtected32);
  rig.enter_user32();
  x86::Segment code = x86::flat_segment(0, true);
  code.type = 0xe;
  rig.set_descriptor(kFree, code);
  rig.set_idt_gate(kVector, {.offset = kTarget, .selector = kFree});
  interrupt(rig, kVector);
  EXPECT_EQ(rig.cpu.cpl, 3);
  EXPECT_EQ(rig.cpu.segment[x86::kCs].selector, kFree | 3);
  EXPECT_EQ(rig.cpu.gpr[x86::kRsp], tiny::kStackTop - 12);
}

TEST(ProtectedInterruptTest, FaultsNameWhatIsWrong) {
  constexpr std::uint32_t kIdt = kVector * 8 + 2;
  struct Case {
    const char* name;
    x86::Gate gate;
    EventKind kind;
    std::optional<Fault> fault;
  };
  constexpr auto kHardware = EventKind::kExternalInterrupt;
  constexpr auto kSoftware = EventKind::kSoftwareInterrupt;
  const std::vector<Case> cases = {
      {"gate's privilege", {.selector = 8, .dpl = 2}, kSoftware, fault_with(13, kIdt)},
      {"gate's privilege, hardware", {.selector = 8, .dpl = 0}, kHardware, std::nullopt},
      {"gate's privilege, INT1", {.selector = 8, .dpl = 0}, EventKind::kPrivilegedSoftware, std::nullopt},
      {"absent gate", {.selector = 8, .dpl = 3, .present = false}, kSoftware, fault_with(11, kIdt)},
      {"absent gate, hardware", {.selector = 8, .present = false}, kHardware, fault_with(11, kIdt | 1)},
      {"no gate", {.selector = 8, .type = x86::kCallGate}, kHardware, fault_with(13, kIdt | 1)},
      {"null code", {.selector = 0, .dpl = 3}, kSoftware, fault_with(13, 0)},
      {"null code, hardware", {.selector = 0}, kHardware, fault_with(13, 1)},
      {"data", {.selector = tiny::kData32}, kHardware, fault_with(13, tiny::kData32 | 1)},
      {"absent code", {.selector = kFree}, kHardware, fault_with(11, kFree | 1)},
      {"beyond the GDT", {.selector = 0x400}, kHardware, fault_with(13, 0x401)},
      {"beyond the code", {.offset = 0x10000, .selector = kFree + 8}, kHardware, fault_with(13, 1)},
  };
  for (const Case& test : cases) {
    ProtectionRig rig(Mode::kProtected32);
    x86::Segment code = x86::flat_segment(0, true);
    code.present = false;
    rig.set_descriptor(kFree, code);
    code.present = true;
    code.granularity = false;
    code.limit = 0xffff;
    rig.set_descriptor(kFree + 8, code);
    rig.enter_user32();
    rig.set_idt_gate(kVector, test.gate);
    EXPECT_EQ(delivery_fault(rig, kVector, test.kind), test.fault) << test.name;
  }
}

TEST(ProtectedInterruptTest, BeyondTheTable) {
  ProtectionRig rig(Mode::kProtected32);
  rig.cpu.idt.limit = kVector * 8 + 6;
  EXPECT_EQ(delivery_fault(rig, kVector), fault_with(13, kVector * 8 + 3));
}

TEST(ProtectedInterruptTest, BadInnerStacks) {
  struct Case {
    const char* name;
    std::uint16_t ss;
    std::uint32_t esp;
    std::uint32_t tss_limit;
    std::optional<Fault> fault;
  };
  for (const Case& test : {Case{"short TSS", tiny::kData32, 0xe000, 8, fault_with(10, tiny::kTssSelector | 1)},
                           Case{"null", 0, 0xe000, 0x67, fault_with(10, 1)},
                           Case{"another privilege", tiny::kUserData, 0xe000, 0x67, fault_with(10, 0x31)},
                           Case{"absent", kFree, 0xe000, 0x67, fault_with(12, kFree | 1)},
                           Case{"no room", kFree + 8, 12, 0x67, fault_with(12, (kFree + 8) | 1)}}) {
    ProtectionRig rig(Mode::kProtected32);
    x86::Segment data = x86::flat_segment(0, false);
    data.present = false;
    rig.set_descriptor(kFree, data);
    data.present = true;
    data.limit = 0xfff;
    rig.set_descriptor(kFree + 8, data);
    rig.enter_user32();
    rig.cpu.tr.limit = test.tss_limit;
    rig.poke<std::uint32_t>(tiny::kTss + 4, test.esp);
    rig.poke<std::uint16_t>(tiny::kTss + 8, test.ss);
    rig.set_idt_gate(kVector, interrupt_gate(rig));
    EXPECT_EQ(delivery_fault(rig, kVector), test.fault) << test.name;
    EXPECT_EQ(rig.cpu.cpl, 3) << test.name;
    EXPECT_EQ(rig.cpu.gpr[x86::kRsp], tiny::kStackTop) << test.name;
  }
}

TEST(LongInterruptTest, AlignsTheStack) {
  ProtectionRig rig(Mode::kLong64);
  rig.set_idt_gate(kVector, interrupt_gate(rig));
  rig.cpu.gpr[x86::kRsp] = tiny::kStackTop - 3;
  interrupt(rig, kVector);
  EXPECT_EQ(rig.cpu.gpr[x86::kRsp], tiny::kStackTop - 16 - 40);
  EXPECT_EQ(rig.stack<std::uint64_t>(0), tiny::kCode);
  EXPECT_EQ(rig.stack<std::uint64_t>(3), tiny::kStackTop - 3);
  EXPECT_EQ(rig.stack<std::uint64_t>(4), tiny::kData64);
  EXPECT_EQ(rig.cpu.segment[x86::kSs].selector, tiny::kData64);
}

TEST(LongInterruptTest, FromUserModeSsBecomesNull) {
  ProtectionRig rig(Mode::kUser64);
  rig.set_idt_gate(kVector, interrupt_gate(rig));
  interrupt(rig, kVector);
  EXPECT_EQ(rig.cpu.cpl, 0);
  EXPECT_EQ(rig.cpu.segment[x86::kSs].selector, 0);
  EXPECT_TRUE(rig.cpu.segment[x86::kSs].unusable);
  EXPECT_EQ(rig.cpu.gpr[x86::kRsp], tiny::kKernelStackTop - 40);
  EXPECT_EQ(rig.stack<std::uint64_t>(4), tiny::kUserData);
}

TEST(LongInterruptTest, InterruptStackTable) {
  ProtectionRig rig(Mode::kLong64);
  x86::Gate gate = interrupt_gate(rig);
  gate.ist = 7;
  rig.set_idt_gate(kVector, gate);
  rig.poke<std::uint64_t>(tiny::kTss + x86::tss64::kIst1 + 48, 0xc008);
  interrupt(rig, kVector);
  EXPECT_EQ(rig.cpu.gpr[x86::kRsp], 0xc000U - 40);
  rig.start(tiny::kCode);
  rig.poke<std::uint64_t>(tiny::kTss + x86::tss64::kIst1 + 48, 0x8000'0000'0000'0000);
  EXPECT_EQ(delivery_fault(rig, kVector), fault_with(12, 1));
  rig.cpu.tr.limit = 0x5a;
  EXPECT_EQ(delivery_fault(rig, kVector), fault_with(10, tiny::kTssSelector | 1));
}

TEST(LongInterruptTest, HandlerMustBe64BitCode) {
  ProtectionRig rig(Mode::kLong64);
  rig.set_idt_gate(kVector, {.offset = kTarget, .selector = tiny::kCode32});
  EXPECT_EQ(delivery_fault(rig, kVector), fault_with(13, tiny::kCode32 | 1));
  rig.set_idt_gate(kVector, {.offset = 0x8000'0000'0000, .selector = tiny::kCode64});
  EXPECT_EQ(delivery_fault(rig, kVector), fault_with(13, 1));
  rig.set_idt_gate(kVector, {.offset = kTarget, .selector = tiny::kCode64, .type = x86::kTaskGate});
  EXPECT_EQ(delivery_fault(rig, kVector), fault_with(13, kVector * 8 + 3));
}

TEST(ResumeFlagTest, OnlyFaultsSetIt) {
  struct Case {
    std::uint8_t vector;
    EventKind kind;
    bool set;
  };
  for (const Case& test :
       {Case{x86::kInvalidOpcode, EventKind::kException, true}, Case{x86::kDebug, EventKind::kException, false},
        Case{x86::kInvalidOpcode, EventKind::kSoftwareInterrupt, false},
        Case{kVector, EventKind::kExternalInterrupt, false}}) {
    ProtectionRig rig(Mode::kLong64);
    rig.set_idt_gate(kVector, interrupt_gate(rig));
    interrupt(rig, test.vector, test.kind);
    EXPECT_EQ((rig.stack<std::uint64_t>(2) & rflags::kRf) != 0, test.set);
    EXPECT_FALSE(rig.cpu.flag(rflags::kRf));
  }
}

TEST(DoubleFaultTest, ContributoryPairs) {
  struct Case {
    std::uint8_t first;
    std::uint16_t second_gate;  // the first one's code selector
    bool present;
    std::uint8_t delivered;
  };
  // The first one's gate makes #NP or #GP; which of them arrives?
  for (const Case& test :
       {Case{x86::kDivideError, 8, false, x86::kDoubleFault},
        Case{x86::kGeneralProtection, 8, false, x86::kDoubleFault}, Case{x86::kPageFault, 0, true, x86::kDoubleFault},
        Case{x86::kInvalidOpcode, 8, false, x86::kSegmentNotPresent},
        Case{x86::kAlignmentCheck, 0, true, x86::kGeneralProtection},
        Case{x86::kDebug, 0, true, x86::kGeneralProtection}}) {
    ProtectionRig rig(Mode::kProtected32);
    rig.set_idt_gate(test.first, {.offset = kTarget, .selector = test.second_gate, .present = test.present});
    EXPECT_TRUE(deliver_fault(rig.cpu, {test.first, x86::pushes_error_code(test.first), 0}));
    EXPECT_EQ(rig.fault()->vector, test.delivered) << unsigned{test.first};
  }
}

TEST(DoubleFaultTest, PageFaultsPair) {
  ProtectionRig rig(Mode::kPaged32);
  rig.poke<std::uint32_t>(tiny::kPageDirectory32 + 4, 0);  // nothing at 4 MiB
  rig.cpu.gpr[x86::kRsp] = 0x50'0000;
  // #UD, whose frame makes #PF, whose frame makes #PF: double fault, whose frame makes #PF.
  EXPECT_FALSE(deliver_fault(rig.cpu, {x86::kInvalidOpcode, false, 0}));
}

TEST(DoubleFaultTest, ErrorCodeIsZero) {
  ProtectionRig rig(Mode::kProtected32);
  rig.set_idt_gate(x86::kGeneralProtection, {.present = false});
  EXPECT_TRUE(deliver_fault(rig.cpu, {x86::kGeneralProtection, true, 0x1234}));
  EXPECT_EQ(rig.fault(), fault_with(x86::kDoubleFault, 0));
  EXPECT_EQ(rig.stack<std::uint32_t>(3) & rflags::kRf, 0U);
}

TEST(Vm86InterruptTest, LeavesVm86) {
  ProtectionRig rig(Mode::kPaged32);
  rig.enter_vm86(0);
  rig.cpu.segment[x86::kFs].selector = 0x1111;
  rig.cpu.segment[x86::kEs].selector = 0x2222;
  rig.set_idt_gate(kVector, interrupt_gate(rig));
  interrupt(rig, kVector);
  EXPECT_FALSE(rig.cpu.vm86);
  EXPECT_EQ(rig.cpu.cpl, 0);
  EXPECT_EQ(rig.cpu.gpr[x86::kRsp], tiny::kKernelStackTop - 36);
  EXPECT_EQ(rig.stack<std::uint32_t>(2), rflags::kVm | 2);
  EXPECT_EQ(rig.stack<std::uint32_t>(3), tiny::kStackTop);
  EXPECT_EQ(rig.stack<std::uint32_t>(5), 0x2222U);  // ES, DS, FS, GS
  EXPECT_EQ(rig.stack<std::uint32_t>(7), 0x1111U);
  EXPECT_TRUE(rig.cpu.segment[x86::kFs].unusable);
  EXPECT_EQ(rig.cpu.segment[x86::kFs].selector, 0);
}

TEST(Vm86InterruptTest, IntNeedsTheIoPrivilege) {
  ProtectionRig rig(Mode::kProtected32);
  rig.enter_vm86(2);
  EXPECT_EQ(rig.fault_of({0xcd, kVector}), fault_with(13, 0));
  rig.start(tiny::kCode);
  rig.enter_vm86(2);
  EXPECT_EQ(rig.fault_of({0xcc}), fault_with(3));  // INT3 does not
}

TEST(Vm86InterruptTest, VirtualModeExtensionsRedirect) {
  for (const unsigned iopl : {0U, 3U}) {
    ProtectionRig rig(Mode::kProtected32);
    rig.enter_vm86(iopl);
    rig.cpu.cr4 |= x86::cr4::kVme;
    rig.cpu.rflags |= rflags::kVif | (iopl == 3 ? rflags::kIf : 0);
    rig.cpu.tr.limit = 0x68 + 32;
    rig.poke<std::uint16_t>(tiny::kTss + x86::tss32::kIoMapBase, 0x68 + 32);
    rig.poke<std::uint32_t>(kVector * 4, 0x04567890);
    rig.run({0xcd, kVector});
    EXPECT_TRUE(rig.cpu.vm86);
    EXPECT_EQ(rig.cpu.rip, 0x7890U);
    EXPECT_EQ(rig.cpu.segment[x86::kCs].base, 0x4560U);
    EXPECT_EQ(rig.stack<std::uint16_t>(0), tiny::kCode + 2);
    EXPECT_EQ(rig.stack<std::uint16_t>(2), rflags::kIopl | rflags::kIf | 2);
    EXPECT_EQ(rig.cpu.flag(rflags::kVif), iopl == 3);
    EXPECT_FALSE(rig.cpu.flag(rflags::kIf));
    // Its bit set, the interrupt is the kernel's.
    rig.poke<std::uint8_t>(tiny::kTss + 0x68 + kVector / 8, 1U << (kVector % 8));
    rig.set_idt_gate(kVector, {.offset = kTarget, .selector = tiny::kCode32, .dpl = 3});
    rig.start(tiny::kCode);
    rig.enter_vm86(iopl);
    rig.cpu.cr4 |= x86::cr4::kVme;
    rig.cpu.tr.limit = 0x68 + 32;
    const auto fault = rig.fault_of({0xcd, kVector});
    EXPECT_EQ(fault, iopl == 3 ? std::nullopt : fault_with(13, 0));
    EXPECT_FALSE(rig.cpu.vm86);
  }
}

TEST(SoftwareInterruptTest, ReturnsBehindTheInstruction) {
  ProtectionRig rig(Mode::kLong64);
  rig.set_idt_gate(0x80, {.offset = kTarget, .selector = tiny::kCode64, .dpl = 3});
  rig.run({0xcd, 0x80});
  EXPECT_EQ(rig.cpu.rip, kTarget);
  EXPECT_EQ(rig.stack<std::uint64_t>(0), tiny::kCode + 2);
}

TEST(SoftwareInterruptTest, FaultOfIntNIsAtTheInstruction) {
  ProtectionRig rig(Mode::kUser64);
  rig.set_idt_gate(0x80, {.offset = kTarget, .selector = tiny::kCode64, .dpl = 0});
  EXPECT_EQ(rig.fault_of({0xcd, 0x80}), fault_with(13, 0x402));
  EXPECT_EQ(rig.stack<std::uint64_t>(1), tiny::kCode);
}

TEST(SoftwareInterruptTest, Into) {
  ProtectionRig rig(Mode::kProtected32);
  EXPECT_EQ(rig.fault_of({0xce}), std::nullopt);
  rig.cpu.rflags |= rflags::kOf;
  EXPECT_EQ(rig.fault_of({0xce}), fault_with(4));
  EXPECT_EQ(rig.stack<std::uint32_t>(0), tiny::kCode + 2);
}

TEST(SoftwareInterruptTest, Bound) {
  ProtectionRig rig(Mode::kProtected32);
  rig.poke<std::uint32_t>(tiny::kData, 0xffffffff);  // -1
  rig.poke<std::uint32_t>(tiny::kData + 4, 5);
  rig.cpu.gpr[x86::kRbx] = tiny::kData;
  rig.cpu.gpr[x86::kRax] = 0xffffffff;
  EXPECT_EQ(rig.fault_of({0x62, 0x03}), std::nullopt);
  rig.cpu.gpr[x86::kRax] = 6;
  EXPECT_EQ(rig.fault_of({0x62, 0x03}), fault_with(5));
}

}  // namespace
}  // namespace doppel::accel::soft
