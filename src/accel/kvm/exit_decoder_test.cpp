#include "accel/kvm/exit_decoder.h"

#include <gtest/gtest.h>

#include <vector>

namespace doppel::accel::kvm {
namespace {

/// The pages of a vCPU, as the kernel would have left them.
class RunPages {
 public:
  RunPages() : words_(3 * 4096 / sizeof(std::uint64_t)) {}
  kvm_run& operator*() { return *reinterpret_cast<kvm_run*>(words_.data()); }
  kvm_run* operator->() { return &**this; }
  std::byte* bytes() { return reinterpret_cast<std::byte*>(words_.data()); }

 private:
  std::vector<std::uint64_t> words_;
};

TEST(ExitDecoderTest, PortAccess) {
  RunPages run;
  run->exit_reason = KVM_EXIT_IO;
  run->io.direction = KVM_EXIT_IO_OUT;
  run->io.size = 2;
  run->io.port = 0x1f0;
  run->io.count = 5;
  run->io.data_offset = 4096;
  const auto exit = std::get<IoExit>(decode_exit(*run));
  EXPECT_EQ(exit.port, 0x1f0);
  EXPECT_EQ(exit.size, 2);
  EXPECT_EQ(exit.count, 5U);
  EXPECT_EQ(exit.direction, IoDirection::kOut);
  EXPECT_EQ(exit.data.data(), run.bytes() + 4096);
  EXPECT_EQ(exit.data.size(), 10U);
}

TEST(ExitDecoderTest, MemoryAccess) {
  RunPages run;
  run->exit_reason = KVM_EXIT_MMIO;
  run->mmio.phys_addr = 0xfee00000;
  run->mmio.len = 4;
  run->mmio.is_write = 0;
  const auto exit = std::get<MmioExit>(decode_exit(*run));
  EXPECT_EQ(exit.address.value, 0xfee00000U);
  EXPECT_EQ(exit.direction, IoDirection::kIn);
  EXPECT_EQ(exit.data.size(), 4U);
  exit.data[0] = std::byte{0x5a};
  EXPECT_EQ(run->mmio.data[0], 0x5a);
}

TEST(ExitDecoderTest, MsrAccessPointsIntoThePage) {
  RunPages run;
  run->exit_reason = KVM_EXIT_X86_RDMSR;
  run->msr.index = 0x1b;
  run->msr.error = 1;  // stale
  const auto exit = std::get<MsrExit>(decode_exit(*run));
  EXPECT_EQ(exit.index, 0x1bU);
  *exit.value = 0x1234;
  EXPECT_EQ(run->msr.data, 0x1234U);
  EXPECT_EQ(run->msr.error, 0);
  *exit.fault = 1;
  EXPECT_EQ(run->msr.error, 1);
  run->exit_reason = KVM_EXIT_X86_WRMSR;
  EXPECT_EQ(std::get<MsrExit>(decode_exit(*run)).direction, IoDirection::kOut);
}

TEST(ExitDecoderTest, ReasonsWithoutData) {
  RunPages run;
  const auto decode = [&](std::uint32_t reason) {
    run->exit_reason = reason;
    return decode_exit(*run);
  };
  EXPECT_TRUE(std::holds_alternative<HaltExit>(decode(KVM_EXIT_HLT)));
  EXPECT_TRUE(std::holds_alternative<IrqWindowExit>(decode(KVM_EXIT_IRQ_WINDOW_OPEN)));
  EXPECT_TRUE(std::holds_alternative<ShutdownExit>(decode(KVM_EXIT_SHUTDOWN)));
  EXPECT_TRUE(std::holds_alternative<InterruptedExit>(decode(KVM_EXIT_INTR)));
  EXPECT_TRUE(std::holds_alternative<SetTprExit>(decode(KVM_EXIT_SET_TPR)));
  EXPECT_EQ(std::get<UnknownExit>(decode(0)).code, 0U);
  EXPECT_EQ(std::get<UnknownExit>(decode(1234)).code, 1234U);
}

TEST(ExitDecoderTest, ReasonsWithNumbers) {
  RunPages run;
  run->exit_reason = KVM_EXIT_IOAPIC_EOI;
  run->eoi.vector = 0x41;
  EXPECT_EQ(std::get<IoapicEoiExit>(decode_exit(*run)).vector, 0x41);
  run->exit_reason = KVM_EXIT_FAIL_ENTRY;
  run->fail_entry.hardware_entry_failure_reason = 0x80000021;
  run->fail_entry.cpu = 2;
  EXPECT_EQ(std::get<FailEntryExit>(decode_exit(*run)).hardware_reason, 0x80000021U);
  EXPECT_EQ(std::get<FailEntryExit>(decode_exit(*run)).cpu, 2U);
  run->exit_reason = KVM_EXIT_DEBUG;
  run->debug.arch = {.exception = 1, .pad = 0, .pc = 0x1000, .dr6 = 0x4000, .dr7 = 0x400};
  EXPECT_EQ(std::get<DebugExit>(decode_exit(*run)).pc, 0x1000U);
  run->exit_reason = KVM_EXIT_SYSTEM_EVENT;
  const std::pair<std::uint32_t, SystemEventKind> kinds[] = {{KVM_SYSTEM_EVENT_SHUTDOWN, SystemEventKind::kShutdown},
                                                             {KVM_SYSTEM_EVENT_RESET, SystemEventKind::kReset},
                                                             {KVM_SYSTEM_EVENT_CRASH, SystemEventKind::kCrash},
                                                             {77, SystemEventKind::kOther}};
  for (const auto& [type, kind] : kinds) {
    run->system_event.type = type;
    EXPECT_EQ(std::get<SystemEventExit>(decode_exit(*run)).kind, kind);
    EXPECT_EQ(std::get<SystemEventExit>(decode_exit(*run)).code, type);
  }
}

TEST(ExitDecoderTest, InstructionBytesOnlyWhereTheFlagSaysSo) {
  RunPages run;
  run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
  run->emulation_failure.suberror = KVM_INTERNAL_ERROR_EMULATION;
  run->emulation_failure.ndata = 3;
  run->emulation_failure.flags = KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES;
  run->emulation_failure.insn_size = 2;
  run->emulation_failure.insn_bytes[0] = 0x0f;
  run->emulation_failure.insn_bytes[1] = 0x77;
  auto exit = std::get<InternalErrorExit>(decode_exit(*run));
  EXPECT_TRUE(exit.is_emulation_failure);
  EXPECT_EQ(exit.instruction_length, 2);
  EXPECT_EQ(exit.instruction[1], 0x77);

  run->emulation_failure.flags = 0;
  EXPECT_EQ(decode_internal_error(*run).instruction_length, 0);
  EXPECT_TRUE(decode_internal_error(*run).is_emulation_failure);
  run->emulation_failure.flags = 1;
  run->emulation_failure.ndata = 0;
  EXPECT_EQ(decode_internal_error(*run).instruction_length, 0);
  run->emulation_failure.ndata = 3;
  run->emulation_failure.insn_size = 200;  // the kernel would not, but it is not to be trusted with our stack
  EXPECT_EQ(decode_internal_error(*run).instruction_length, 15);
}

TEST(ExitDecoderTest, OtherInternalErrorsHaveASentence) {
  RunPages run;
  run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
  for (const std::uint32_t suberror : {2U, 3U, 4U, 99U}) {
    run->internal.suberror = suberror;
    run->internal.ndata = 3;
    run->internal.data[0] = 1;
    const InternalErrorExit exit = decode_internal_error(*run);
    EXPECT_FALSE(exit.is_emulation_failure);
    EXPECT_EQ(exit.instruction_length, 0);
    EXPECT_FALSE(exit.why.empty());
  }
}

}  // namespace
}  // namespace doppel::accel::kvm
