#include "accel/soft/interpreter/tasks.h"

#include <gtest/gtest.h>

#include "accel/soft/interpreter/protection_rig.h"

namespace doppel::accel::soft {
namespace {

using tiny::Mode;
namespace rflags = x86::rflags;
constexpr std::uint16_t kTask = ProtectionRig::kFree;
constexpr std::uint16_t kGate = kTask + 8;
constexpr std::uint64_t kTss = 0xa000;
constexpr std::uint64_t kTarget = ProtectionRig::kTarget;
constexpr std::uint32_t kTaskStack = 0xd000;

// Offsets in a 32-bit TSS (SDM 3A figure 7-2).
constexpr std::uint64_t kEip = 32, kEflags = 36, kEax = 40, kEsp = 56, kEs = 72, kCs = 76, kSs = 80, kDs = 84,
                        kLdt = 96, kTrap = 100;

class TaskRig : public ProtectionRig {
 public:
  explicit TaskRig(Mode mode = Mode::kPaged32) : ProtectionRig(mode) {
    set_system_descriptor(kTask, tss(kTss));
    set_gate(kGate, {.selector = kTask, .type = x86::kTaskGate});
    put(x86::tss32::kCr3, tiny::kPageDirectory32);
    put(kEip, kTarget);
    put(kEflags, rflags::kFixed | rflags::kCf);
    put(kEsp, kTaskStack);
    for (std::uint64_t n = 0; n < 8; ++n)
      if (n != x86::kRsp) put(kEax + n * 4, 0x1000 + n);
    put(kEs, tiny::kData32);
    put(kCs, tiny::kCode32);
    put(kSs, tiny::kData32);
    put(kDs, tiny::kData32);
  }
  void put(std::uint64_t offset, std::uint64_t value) { poke(kTss + offset, static_cast<std::uint32_t>(value)); }
  [[nodiscard]] std::uint32_t saved(std::uint64_t offset) const { return peek<std::uint32_t>(tiny::kTss + offset); }
  std::optional<Fault> far(std::uint8_t opcode, std::uint16_t selector) {
    return fault_of({opcode, 0, 0, 0, 0, static_cast<std::uint8_t>(selector), 0});
  }
  std::optional<Fault> jump(std::uint16_t selector) { return far(0xea, selector); }
  std::optional<Fault> call(std::uint16_t selector) { return far(0x9a, selector); }
};

TEST(TaskSwitchTest, JumpSavesAndLoads) {
  for (const std::uint16_t selector : {kTask, kGate}) {
    TaskRig rig;
    rig.cpu.gpr[x86::kRbx] = 0x12345678;
    rig.cpu.dr7 = 0x4ff;
    const std::uint64_t flags = rig.cpu.rflags;
    EXPECT_EQ(rig.jump(selector), std::nullopt);
    EXPECT_EQ(rig.cpu.rip, kTarget);
    EXPECT_EQ(rig.cpu.gpr[x86::kRdi], 0x1007U);
    EXPECT_EQ(rig.cpu.gpr[x86::kRsp], kTaskStack);
    EXPECT_EQ(rig.cpu.rflags, rflags::kFixed | rflags::kCf);
    EXPECT_EQ(rig.cpu.tr.selector, kTask);
    EXPECT_EQ(rig.cpu.tr.base, kTss);
    EXPECT_TRUE(rig.cpu.segment[x86::kFs].unusable);
    EXPECT_NE(rig.cpu.cr0 & x86::cr0::kTs, 0U);
    EXPECT_EQ(rig.cpu.dr7, 0x4aaU);  // no local breakpoints
    EXPECT_EQ(rig.saved(kEip), tiny::kCode + 7);
    EXPECT_EQ(rig.saved(kEflags), flags);
    EXPECT_EQ(rig.saved(kEax + 12), 0x12345678U);
    EXPECT_EQ(rig.saved(kCs), tiny::kCode32);
    EXPECT_EQ(rig.access_byte(tiny::kTssSelector), 0x89);
    EXPECT_EQ(rig.access_byte(kTask), 0x8b);
  }
}

TEST(TaskSwitchTest, CallAndReturn) {
  TaskRig rig;
  EXPECT_EQ(rig.call(kGate), std::nullopt);
  EXPECT_TRUE(rig.cpu.flag(rflags::kNt));
  EXPECT_EQ(rig.peek<std::uint16_t>(kTss), tiny::kTssSelector);  // the link
  EXPECT_EQ(rig.access_byte(tiny::kTssSelector), 0x8b);
  EXPECT_EQ(rig.access_byte(kTask), 0x8b);
  EXPECT_EQ(rig.fault_of({0xcf}), std::nullopt);  // iret
  EXPECT_EQ(rig.cpu.rip, tiny::kCode + 7);
  EXPECT_EQ(rig.cpu.tr.selector, tiny::kTssSelector);
  EXPECT_EQ(rig.access_byte(kTask), 0x89);
  EXPECT_EQ(rig.peek<std::uint32_t>(kTss + kEip), kTarget + 1);
  EXPECT_EQ(rig.peek<std::uint32_t>(kTss + kEflags) & rflags::kNt, 0U);
  EXPECT_FALSE(rig.cpu.flag(rflags::kNt));
}

TEST(TaskSwitchTest, LoadsCr3) {
  TaskRig rig;
  constexpr std::uint32_t kDirectory = 0x20000;
  std::memcpy(rig.memory().data() + kDirectory, rig.memory().data() + tiny::kPageDirectory32, 4096);
  rig.put(x86::tss32::kCr3, kDirectory);
  rig.jump(kTask);
  EXPECT_EQ(rig.cpu.cr3, kDirectory);
  TaskRig unpaged(Mode::kProtected32);
  unpaged.put(x86::tss32::kCr3, kDirectory);
  unpaged.jump(kTask);
  EXPECT_EQ(unpaged.cpu.cr3, 0U);
}

TEST(TaskSwitchTest, ToUserMode) {
  TaskRig rig;
  rig.put(kCs, tiny::kUserCode32);
  rig.put(kSs, tiny::kUserData);
  rig.put(kDs, tiny::kUserData);
  rig.put(kEs, 0);
  EXPECT_EQ(rig.jump(kTask), std::nullopt);
  EXPECT_EQ(rig.cpu.cpl, 3);
}

TEST(TaskSwitchTest, ToVm86) {
  TaskRig rig;
  rig.put(kEflags, rflags::kVm | 2);
  rig.put(kCs, 0x500);
  rig.put(kEip, 0);
  EXPECT_EQ(rig.jump(kTask), std::nullopt);
  EXPECT_TRUE(rig.cpu.vm86);
  EXPECT_EQ(rig.cpu.segment[x86::kCs].base, 0x5000U);
}

TEST(TaskSwitchTest, TrapBit) {
  TaskRig rig;
  rig.put(kTrap, 1);
  EXPECT_EQ(rig.jump(kTask)->vector, x86::kDebug);
  EXPECT_NE(rig.cpu.dr6 & x86::dr6::kBt, 0U);
  EXPECT_EQ(rig.stack<std::uint32_t>(0), kTarget);
}

TEST(TaskSwitchTest, ChecksBeforeTheSwitch) {
  struct Case {
    const char* name;
    x86::Segment tss;
    std::uint16_t selector;
    std::optional<Fault> fault;
  };
  x86::Segment absent = ProtectionRig::tss(kTss);
  absent.present = false;
  x86::Segment small = ProtectionRig::tss(kTss);
  small.limit = 0x66;
  for (const Case& test :
       {Case{"busy", ProtectionRig::tss(kTss, x86::kTssBusy), kTask, fault_with(13, kTask)},
        Case{"busy through a gate", ProtectionRig::tss(kTss, x86::kTssBusy), kGate, fault_with(13, kTask)},
        Case{"absent", absent, kTask, fault_with(11, kTask)}, Case{"RPL", absent, kTask | 1, fault_with(13, kTask)},
        Case{"small", small, kTask, fault_with(10, kTask)},
        Case{"no memory", ProtectionRig::tss(0xf000'0000), kTask, Fault{x86::kPageFault, true, 0}}}) {
    TaskRig rig;
    rig.poke<std::uint32_t>(tiny::kPageDirectory32 + 0xf00, 0);  // f0000000
    rig.set_descriptor(kTask, test.tss);
    EXPECT_EQ(rig.jump(test.selector), test.fault) << test.name;
    EXPECT_EQ(rig.cpu.tr.selector, tiny::kTssSelector) << test.name;
    EXPECT_EQ(rig.access_byte(tiny::kTssSelector), 0x8b) << test.name;
  }
}

TEST(TaskSwitchTest, FaultsInTheNewTask) {
  struct Case {
    const char* name;
    std::uint64_t offset;
    std::uint32_t value;
    std::optional<Fault> fault;
  };
  for (const Case& test :
       {Case{"null CS", kCs, 0, fault_with(10, 0)}, Case{"data as CS", kCs, 0x10, fault_with(10, 0x10)},
        Case{"DS beyond the GDT", kDs, 0x400, fault_with(10, 0x400)},
        Case{"absent DS", kDs, kGate + 8, fault_with(11, kGate + 8)}, Case{"LDT", kLdt, 0x10, fault_with(10, 0x10)}}) {
    TaskRig rig;
    x86::Segment absent = x86::flat_segment(0, false);
    absent.present = false;
    rig.set_descriptor(kGate + 8, absent);
    rig.put(test.offset, test.value);
    // The handlers are a task of their own: the faulting one may have no stack.
    rig.set_system_descriptor(0xa0, ProtectionRig::tss(0xb000));
    std::memcpy(rig.memory().data() + 0xb000, rig.memory().data() + kTss, 104);
    rig.poke<std::uint32_t>(0xb000 + test.offset, test.offset == kCs ? tiny::kCode32 : 0U);
    rig.poke(0xb000 + kEip, static_cast<std::uint32_t>(ProtectionRig::handler(test.fault->vector)));
    rig.set_idt_gate(test.fault->vector, {.selector = 0xa0, .type = x86::kTaskGate});
    EXPECT_EQ(rig.jump(kTask), test.fault) << test.name;
    EXPECT_EQ(rig.peek<std::uint16_t>(0xb000), kTask) << test.name;         // it was the new task
    EXPECT_EQ(rig.peek<std::uint32_t>(kTss + kEip), kTarget) << test.name;  // at its first instruction
  }
}

TEST(TaskSwitchTest, InterruptThroughATaskGate) {
  TaskRig rig;
  rig.set_idt_gate(x86::kGeneralProtection, {.selector = kTask, .type = x86::kTaskGate});
  EXPECT_TRUE(deliver_fault(rig.cpu, {x86::kGeneralProtection, true, 0x1234}));
  EXPECT_EQ(rig.cpu.rip, kTarget);
  EXPECT_EQ(rig.cpu.gpr[x86::kRsp], kTaskStack - 4);
  EXPECT_EQ(rig.stack<std::uint32_t>(0), 0x1234U);
  EXPECT_EQ(rig.saved(kEip), tiny::kCode);
  EXPECT_NE(rig.saved(kEflags) & rflags::kRf, 0U);
  EXPECT_TRUE(rig.cpu.flag(rflags::kNt));
}

TEST(TaskSwitchTest, ReturnToAnIdleTask) {
  TaskRig rig;
  rig.cpu.rflags |= rflags::kNt;
  rig.poke<std::uint16_t>(tiny::kTss, kTask);
  EXPECT_EQ(rig.fault_of({0xcf}), fault_with(10, kTask));
}

TEST(TaskSwitchTest, SixteenBitTask) {
  TaskRig rig(Mode::kProtected32);
  x86::Segment tss = ProtectionRig::tss(kTss, x86::kTss16Available);
  tss.limit = 43;
  rig.set_system_descriptor(kTask, tss);
  const std::array<std::uint16_t, 22> image = {0,      0,      0,      0,      0,      0,      0,      kTarget,
                                               2,      0x1111, 0x2222, 0x3333, 0x4444, 0xd000, 0x5555, 0x6666,
                                               0x7777, 0x10,   0x08,   0x10,   0x10,   0};
  std::memcpy(rig.memory().data() + kTss, image.data(), sizeof image);
  EXPECT_EQ(rig.call(kTask), std::nullopt);
  EXPECT_EQ(rig.cpu.rip, kTarget);
  EXPECT_EQ(rig.cpu.gpr[x86::kRax] & 0xffff, 0x1111U);
  EXPECT_EQ(rig.cpu.gpr[x86::kRdi] & 0xffff, 0x7777U);
  EXPECT_EQ(rig.cpu.segment[x86::kDs].selector, 0x10);
  EXPECT_TRUE(rig.cpu.segment[x86::kGs].unusable);
  rig.fault_of({0xcf});
  EXPECT_EQ(rig.cpu.rip, tiny::kCode + 7);
  EXPECT_EQ(rig.peek<std::uint16_t>(kTss + 14), kTarget + 1);
}

TEST(InnerStackTest, SixteenBitTss) {
  TaskRig rig(Mode::kProtected32);
  rig.cpu.tr = ProtectionRig::tss(kTss, x86::kTss16Busy);
  rig.poke<std::uint16_t>(kTss + 2, 0xc000);
  rig.poke<std::uint16_t>(kTss + 4, tiny::kData32);
  const InnerStack stack = read_inner_stack(rig.cpu, 0);
  EXPECT_EQ(stack.pointer, 0xc000U);
  EXPECT_EQ(stack.segment.selector, tiny::kData32);
}

}  // namespace
}  // namespace doppel::accel::soft
