#include "accel/kvm/traits.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <ctime>
#include <functional>
#include <initializer_list>
#include <optional>

#include "accel/kvm/kick_signal.h"
#include "accel/kvm/mapped_pages.h"
#include "accel/tiny_guest.h"
#include "base/endian.h"

namespace doppel::accel::kvm {

namespace {

using tiny::Mode;
using enum x86::StateParts;

constexpr std::uint64_t kStarMsr = 0xc0000081;
constexpr std::uint64_t kLstarMsr = 0xc0000082;
constexpr std::uint32_t kTscMsr = 0x10;

/// Interrupts the calling thread's guest again and again, in case that a probe's guest does not stop by itself.
class Watchdog {
 public:
  Watchdog() {
    sigevent event{};
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = kick_signal();
    event._sigev_un._tid = current_thread();
    armed_ = ::timer_create(CLOCK_MONOTONIC, &event, &timer_) == 0;
    const itimerspec period{.it_interval = {.tv_sec = 0, .tv_nsec = 100'000'000},
                            .it_value = {.tv_sec = 0, .tv_nsec = 100'000'000}};
    if (armed_) ::timer_settime(timer_, 0, &period, nullptr);
  }
  ~Watchdog() {
    if (armed_) ::timer_delete(timer_);
  }
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  timer_t timer_{};
  bool armed_ = false;
};

class GuestMemory {
 public:
  GuestMemory()
      : bytes_(static_cast<std::byte*>(
            ::mmap(nullptr, tiny::kMemorySize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))) {}
  ~GuestMemory() { ::munmap(bytes_, tiny::kMemorySize); }
  GuestMemory(const GuestMemory&) = delete;
  GuestMemory& operator=(const GuestMemory&) = delete;
  [[nodiscard]] std::span<std::byte> bytes() const { return {bytes_, tiny::kMemorySize}; }

 private:
  std::byte* bytes_;
};

using Code = std::initializer_list<std::uint8_t>;

/// A machine of one processor, used by several probes in turn.
class ProbeMachine {
 public:
  static Result<std::unique_ptr<ProbeMachine>> create(Accelerator& accelerator, IrqchipMode irqchip) {
    auto machine = std::make_unique<ProbeMachine>();
    tiny::write_tables(machine->memory());
    DOPPEL_ASSIGN(machine->vm_, accelerator.create_vm());
    if (irqchip != IrqchipMode::kOff) DOPPEL_TRY(machine->vm_->create_irqchip(irqchip));
    DOPPEL_TRY(machine->vm_->set_memory_slot({.slot = 0,
                                              .address = {0},
                                              .size = tiny::kMemorySize,
                                              .host = machine->memory().data(),
                                              .flags = SlotFlags::kNone}));
    DOPPEL_ASSIGN(machine->vcpu_, machine->vm_->create_vcpu(0));
    DOPPEL_ASSIGN(const x86::CpuidTable cpuid, accelerator.supported_cpuid());
    DOPPEL_TRY(machine->vcpu_->set_cpuid(cpuid));
    return machine;
  }

  [[nodiscard]] std::span<std::byte> memory() const { return memory_.bytes(); }
  [[nodiscard]] Vm& vm() { return *vm_; }
  [[nodiscard]] Vcpu& vcpu() { return *vcpu_; }

  void put(std::uint64_t at, Code code) {
    std::ranges::transform(code, memory_.bytes().begin() + static_cast<std::ptrdiff_t>(at),
                           [](std::uint8_t byte) { return std::byte{byte}; });
  }

  /// Runs CODE in MODE until its first exit.
  Result<VcpuExit> run(Mode mode, Code code) {
    put(tiny::kCode, code);
    DOPPEL_TRY(tiny::start(*vcpu_, mode));
    return vcpu_->run();
  }

 private:
  GuestMemory memory_;
  std::unique_ptr<Vm> vm_;
  std::unique_ptr<Vcpu> vcpu_;
};

template <class Exit>
bool is(const Result<VcpuExit>& exit) {
  return exit && std::holds_alternative<Exit>(*exit);
}

bool interprets_kernel_code(ProbeMachine& machine) {
  // popcnt eax, ebx; hlt
  return is<InternalErrorExit>(machine.run(Mode::kLong64, {0xf3, 0x0f, 0xb8, 0xc3, 0xf4}));
}

bool legacy_paging(ProbeMachine& machine) {
  return is<HaltExit>(machine.run(Mode::kPaged32, {0xf4}));  // hlt
}

bool protected_mode_iret(ProbeMachine& machine) {
  tiny::write_gate(machine.memory(), Mode::kProtected32, 0x40, tiny::kHandler);
  machine.put(tiny::kHandler, {0xcf});                                       // iret
  return is<HaltExit>(machine.run(Mode::kProtected32, {0xcd, 0x40, 0xf4}));  // int 0x40; hlt
}

bool software_breakpoints(ProbeMachine& machine) {
  DebugRequest request;
  request.software_breakpoints = true;
  if (!machine.vcpu().set_debug(request)) return false;
  const bool works = is<DebugExit>(machine.run(Mode::kLong64, {0xcc, 0xf4}));  // int3; hlt
  return machine.vcpu().set_debug({}).has_value() && works;
}

bool data_watchpoints(ProbeMachine& machine) {
  DebugRequest request;
  request.address[0] = tiny::kData;
  request.dr7 = 0xd0402;  // G0: 4 bytes, on writes
  if (!machine.vcpu().set_debug(request)) return false;
  // mov [0x8000], eax; hlt
  const bool works = is<DebugExit>(machine.run(Mode::kLong64, {0x89, 0x04, 0x25, 0x00, 0x80, 0x00, 0x00, 0xf4}));
  return machine.vcpu().set_debug({}).has_value() && works;
}

bool user_mode_debug(ProbeMachine& machine) {
  DebugRequest request;
  request.single_step = true;
  if (!machine.vcpu().set_debug(request)) return false;
  const bool works = is<DebugExit>(machine.run(Mode::kUser64, {0x90, 0x90, 0xf4}));  // nop; nop; hlt
  return machine.vcpu().set_debug({}).has_value() && works;
}

bool user_mode_syscall(ProbeMachine& machine) {
  x86::CpuState state;
  state.msrs = {{kStarMsr, tiny::kSyscallStar}, {kLstarMsr, tiny::kHandler}};
  if (!machine.vcpu().set_state(state, kMsrs)) return false;
  machine.put(tiny::kHandler, {0xf4});                            // hlt, which CPL 3 may not do
  return is<HaltExit>(machine.run(Mode::kUser64, {0x0f, 0x05}));  // syscall
}

bool user_mode_port_io(ProbeMachine& machine) {
  return is<IoExit>(machine.run(Mode::kUser64, {0xe6, 0x80}));  // out 0x80, al
}

bool real_mode_idt_limit(ProbeMachine& machine) {
  tiny::write_gate(machine.memory(), Mode::kReal16, 6, tiny::kHandler);
  machine.put(tiny::kHandler, {0xf4});     // hlt
  machine.put(tiny::kCode, {0x0f, 0x0b});  // ud2
  x86::CpuState state;
  if (!machine.vcpu().get_state(state, kSystem)) return false;
  tiny::set_start_state(state, Mode::kReal16, tiny::kCode);
  state.idt.limit = 0;
  if (!machine.vcpu().set_state(state, kRegisters | kSystem | kEvents)) return false;
  return is<ShutdownExit>(machine.vcpu().run());
}

bool exact_cpuid(ProbeMachine& machine) {
  constexpr std::uint32_t kSse3 = 1;  // leaf 1 ECX bit 0
  const auto vcpu = machine.vm().create_vcpu(1);
  if (!vcpu) return false;
  auto table = machine.vcpu().get_cpuid();
  if (!table) return false;
  for (x86::CpuidEntry& entry : *table)
    if (entry.leaf == 1) entry.ecx &= ~kSse3;
  if (!(*vcpu)->set_cpuid(*table)) return false;
  machine.put(tiny::kCode, {0x0f, 0xa2, 0xf4});  // cpuid; hlt
  x86::CpuState state;
  if (!(*vcpu)->get_state(state, kSystem)) return false;
  tiny::set_start_state(state, Mode::kLong64, tiny::kCode);
  state.gpr[x86::kRax] = 1;
  if (!(*vcpu)->set_state(state, kRegisters | kSystem | kEvents) || !is<HaltExit>((*vcpu)->run())) return false;
  return (*vcpu)->get_state(state, kRegisters) && (state.gpr[x86::kRcx] & kSse3) == 0;
}

bool tsc_offset(ProbeMachine& machine) {
  constexpr std::uint64_t kFarAhead = std::uint64_t{1} << 60;
  x86::CpuState state;
  state.msrs = {{kTscMsr, kFarAhead}};
  if (!machine.vcpu().set_state(state, kMsrs)) return false;
  if (!is<HaltExit>(machine.run(Mode::kLong64, {0x0f, 0x31, 0xf4}))) return false;  // rdtsc; hlt
  if (!machine.vcpu().get_state(state, kRegisters)) return false;
  return (state.gpr[x86::kRdx] << 32 | state.gpr[x86::kRax]) >= kFarAhead;
}

bool lapic_holds_isr_until_eoi(ProbeMachine& machine) {
  constexpr std::size_t kIsrOfVector0x40 = 0x120;
  tiny::write_gate(machine.memory(), Mode::kLong64, 0x40, tiny::kHandler);
  machine.put(tiny::kHandler, {0xe6, 0x80});  // out 0x80, al
  const Code program = {
      0xbb, 0x00, 0x00, 0xe0, 0xfe,  // mov ebx, 0xfee00000
      0xc7, 0x83, 0xf0, 0x00, 0x00,
      0x00, 0xff, 0x01, 0x00, 0x00,  // mov dword [rbx+0xf0], 0x1ff: enable
      0xc7, 0x83, 0x00, 0x03, 0x00,
      0x00, 0x40, 0x40, 0x04, 0x00,  // mov dword [rbx+0x300], 0x44040: to self, vector 0x40
      0xfb, 0xeb, 0xfe,              // sti; jmp $
  };
  if (!is<IoExit>(machine.run(Mode::kLong64, program))) return false;
  x86::CpuState state;
  if (!machine.vcpu().get_state(state, kLapic) || state.lapic.size() != x86::kLapicPageSize) return false;
  return (load_le<std::uint32_t>(&state.lapic[kIsrOfVector0x40]) & 1) != 0;
}

struct Probe {
  bool Traits::* trait;
  std::string_view name;
  bool (*run)(ProbeMachine& machine);
};

// Those that leave something behind in the processor come last.
constexpr Probe kProbes[] = {
    {&Traits::interprets_kernel_code, "interprets kernel code", interprets_kernel_code},
    {&Traits::legacy_paging, "32-bit paging", legacy_paging},
    {&Traits::protected_mode_iret, "32-bit INT and IRET", protected_mode_iret},
    {&Traits::software_breakpoints, "software breakpoints", software_breakpoints},
    {&Traits::data_watchpoints, "data watchpoints", data_watchpoints},
    {&Traits::user_mode_debug, "debugging user mode", user_mode_debug},
    {&Traits::user_mode_syscall, "SYSCALL", user_mode_syscall},
    {&Traits::user_mode_port_io, "port I/O in user mode", user_mode_port_io},
    {&Traits::real_mode_idt_limit, "IDT limit in real mode", real_mode_idt_limit},
    {&Traits::exact_cpuid, "exact CPUID", exact_cpuid},
    {&Traits::tsc_offset, "TSC offset", tsc_offset},
};

constexpr Probe kIrqchipProbes[] = {
    {&Traits::lapic_holds_isr_until_eoi, "interrupts stay in service until EOI", lapic_holds_isr_until_eoi},
};

void run_probes(Accelerator& accelerator, IrqchipMode irqchip, std::span<const Probe> probes, Traits& traits,
                const Logger& log) {
  auto machine = ProbeMachine::create(accelerator, irqchip);
  if (!machine) {
    log.warn("cannot probe what this host's KVM can do: {}", machine.error().describe());
    return;
  }
  for (const Probe& probe : probes) {
    traits.*probe.trait = probe.run(**machine);
    log.trace(LogCategory::kAccel, "probe: {}: {}", probe.name, traits.*probe.trait ? "yes" : "no");
  }
}

}  // namespace

Traits probe_traits(Accelerator& accelerator, const Logger& log) {
  Traits traits;
  unblock_kick_signal();
  const Watchdog watchdog;
  run_probes(accelerator, IrqchipMode::kOff, kProbes, traits, log);
  if (accelerator.capabilities().irqchip) run_probes(accelerator, IrqchipMode::kKernel, kIrqchipProbes, traits, log);
  return traits;
}

}  // namespace doppel::accel::kvm
