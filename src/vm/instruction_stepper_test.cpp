#include "vm/instruction_stepper.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <initializer_list>
#include <optional>

#include "accel/kvm/kvm.h"
#include "accel/soft/soft.h"
#include "accel/tiny_guest.h"
#include "x86/registers.h"

namespace doppel::vm {
namespace {

namespace tiny = accel::tiny;
using enum x86::StateParts;

class Register final : public memory::IoHandler {
 public:
  [[nodiscard]] std::uint64_t read(std::uint64_t, unsigned) override { return 0x1234; }
  void write(std::uint64_t, unsigned, std::uint64_t value) override { written = value; }
  std::optional<std::uint64_t> written;
};

/// A tiny guest on ACCELERATOR, whose instructions are carried out by a stepper.
class InstructionStepperTest : public testing::Test {
 protected:
  static constexpr std::uint64_t kDevice = 0x100000;

  InstructionStepperTest() {
    memory_.root().add(topology_.ram("ram", ram_, 0, ram_->size()), 0);
    memory_.root().add(topology_.io("register", 0x1000, register_), kDevice);
    ports_.root().add(topology_.io("port", 4, register_), 0x80);
    tiny::write_tables(ram_->bytes());
  }
  ~InstructionStepperTest() override {
    if (slots_) memory_.remove_listener(*slots_);
  }

  /// False: the accelerator is not there.
  bool open(Result<std::unique_ptr<accel::Accelerator>> accelerator, tiny::Mode mode) {
    if (!accelerator) return false;
    accelerator_ = std::move(*accelerator);
    vm_ = *accelerator_->create_vm();
    EXPECT_TRUE(vm_->create_irqchip(accel::IrqchipMode::kOff));
    slots_ = std::make_unique<accel::SlotTable>(
        *vm_, accel::SlotTable::Options{.capabilities = accelerator_->capabilities()}, nullptr);
    memory_.add_listener(*slots_);
    vcpu_ = *vm_->create_vcpu(0);
    EXPECT_TRUE(vcpu_->set_cpuid(*accelerator_->supported_cpuid()));
    EXPECT_TRUE(tiny::start(*vcpu_, mode));
    return true;
  }
  void code(std::initializer_list<std::uint8_t> bytes) {
    std::ranges::transform(bytes, ram_->host() + tiny::kCode, [](std::uint8_t byte) { return std::byte{byte}; });
    ram_->dirty().mark(tiny::kCode, bytes.size());
  }
  Result<x86::CpuState> step() {
    x86::CpuState state;
    EXPECT_TRUE(vcpu_->get_state(state, kRegisters | kSystem | kEvents));
    DOPPEL_TRY(stepper_.execute(*vcpu_, {}, state));
    return state;
  }

  memory::Topology topology_;
  std::shared_ptr<memory::RamBlock> ram_ = *memory::RamBlock::create({.size = kDevice});
  Register register_;
  memory::AddressSpace memory_{topology_, topology_.container("system", 0), "memory"};
  memory::AddressSpace ports_{topology_, topology_.container("io", 0x10000), "ports"};
  std::unique_ptr<accel::Accelerator> accelerator_;
  std::unique_ptr<accel::Vm> vm_;
  std::unique_ptr<accel::SlotTable> slots_;
  std::unique_ptr<accel::Vcpu> vcpu_;
  InstructionStepper stepper_{VcpuBuses{memory_, ports_}, Logger{}};
};

TEST_F(InstructionStepperTest, OneInstructionAtATime) {
  ASSERT_TRUE(open(accel::soft::open(), tiny::Mode::kLong64));
  code({0xff, 0xc0, 0xff, 0xc0});  // inc eax; inc eax
  const auto state = step();
  ASSERT_TRUE(state);
  EXPECT_EQ(state->gpr[x86::kRax], 1U);
  EXPECT_EQ(state->rip, tiny::kCode + 2);
}

TEST_F(InstructionStepperTest, DevicesAreReached) {
  ASSERT_TRUE(open(accel::soft::open(), tiny::Mode::kLong64));
  code({0x81, 0x04, 0x25, 0x00, 0x00, 0x10, 0x00, 0x01, 0x00, 0x00, 0x00});  // add dword [kDevice], 1
  ASSERT_TRUE(step());
  EXPECT_EQ(register_.written, 0x1235U);
  register_.written.reset();
  code({0xe6, 0x80});  // out 0x80, al
  ASSERT_TRUE(step());
  EXPECT_EQ(register_.written, 0U);
}

TEST_F(InstructionStepperTest, VectorRegistersTravelBothWays) {
  ASSERT_TRUE(open(accel::soft::open(), tiny::Mode::kLong64));
  code({0x66, 0x0f, 0x6e, 0xc0});  // movd xmm0, eax
  x86::CpuState state;
  ASSERT_TRUE(vcpu_->get_state(state, kRegisters | kSystem));
  state.gpr[x86::kRax] = 0x11223344;
  state.cr4 |= x86::cr4::kOsfxsr;
  ASSERT_TRUE(vcpu_->set_state(state, kRegisters | kSystem));
  ASSERT_TRUE(step());
  ASSERT_TRUE(vcpu_->get_state(state, kFpu));
  EXPECT_EQ(state.xsave.at(160), std::byte{0x44});
}

TEST_F(InstructionStepperTest, CarriesOutWhatKvmCannot) {
  if (!open(accel::kvm::open(), tiny::Mode::kLong64)) GTEST_SKIP() << "skipped: /dev/kvm cannot be opened";
  if (!accelerator_->traits().interprets_kernel_code)
    GTEST_SKIP() << "skipped: this KVM has hardware to execute everything";
  vm_->set_fallback(&stepper_);
  x86::CpuState state;
  ASSERT_TRUE(vcpu_->get_state(state, kRegisters | kSystem));
  state.gpr[x86::kRax] = 0x55;
  state.cr4 |= x86::cr4::kOsfxsr;
  ASSERT_TRUE(vcpu_->set_state(state, kRegisters | kSystem));
  code({0x66, 0x0f, 0x6e, 0xc0,        // movd xmm0, eax: not among the instructions that the kernel interprets
        0x66, 0x0f, 0x70, 0xc8, 0x00,  // pshufd xmm1, xmm0, 0
        0x66, 0x0f, 0x7e, 0xcb,        // movd ebx, xmm1
        0xf4});                        // hlt
  const auto exit = vcpu_->run();
  ASSERT_TRUE(exit);
  EXPECT_TRUE(std::holds_alternative<accel::HaltExit>(*exit)) << accel::describe(*exit);
  ASSERT_TRUE(vcpu_->get_state(state, kRegisters));
  EXPECT_EQ(state.gpr[x86::kRbx], 0x55U);
}

}  // namespace
}  // namespace doppel::vm
