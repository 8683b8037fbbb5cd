#include "native_runner.h"

#include <asm/prctl.h>
#include <cpuid.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace doppel::oracle {

namespace {

constexpr std::size_t kXsaveSize = 4096;

/// What the code below works on, at layout::kContext. It addresses the fields by number.
struct Context {
  std::array<std::uint64_t, 16> in_gpr;                     // 0x000
  std::uint64_t in_rflags;                                  // 0x080
  std::uint64_t entry;                                      // 0x088
  std::uint64_t leave;                                      // 0x090: where the instruction is followed by a jump to
  std::uint64_t host_rsp;                                   // 0x098
  std::uint64_t mxcsr;                                      // 0x0a0
  std::uint64_t running;                                    // 0x0a8
  std::uint64_t has_avx;                                    // 0x0b0
  std::array<std::uint64_t, 9> reserved;                    // 0x0b8
  std::array<std::uint64_t, 16> out_gpr;                    // 0x100
  std::uint64_t out_rflags;                                 // 0x180
  std::uint64_t out_rip;                                    // 0x188
  std::uint64_t signalled;                                  // 0x190
  std::uint64_t vector;                                     // 0x198
  std::uint64_t error_code;                                 // 0x1a0
  std::uint64_t cr2;                                        // 0x1a8
  std::array<std::uint64_t, 10> reserved2;                  // 0x1b0
  alignas(64) std::array<std::byte, kXsaveSize> in_xsave;   // 0x200
  alignas(64) std::array<std::byte, kXsaveSize> out_xsave;  // 0x1200
};
static_assert(offsetof(Context, out_gpr) == 0x100 && offsetof(Context, in_xsave) == 0x200);
static_assert(offsetof(Context, out_xsave) == 0x1200 && sizeof(Context) <= layout::kContextSize);
static_assert(layout::kContext == 0x1001'0000);

// The layout's addresses fit into absolute 32-bit displacements, so that no register is needed to reach the context.
// 0xe7: x87, SSE, AVX and AVX-512's three components (SDM 1 13.1).
asm(R"(
  .text
  .balign 64
oracle_enter:
  push %rbx
  push %rbp
  push %r12
  push %r13
  push %r14
  push %r15
  pushfq
  mov %rsp, 0x10010098
  mov $0xe7, %eax
  xor %edx, %edx
  xrstor64 0x10010200
  mov $0x10010080, %rsp
  popfq
  mov 0x10010000, %rax
  mov 0x10010008, %rcx
  mov 0x10010010, %rdx
  mov 0x10010018, %rbx
  mov 0x10010028, %rbp
  mov 0x10010030, %rsi
  mov 0x10010038, %rdi
  mov 0x10010040, %r8
  mov 0x10010048, %r9
  mov 0x10010050, %r10
  mov 0x10010058, %r11
  mov 0x10010060, %r12
  mov 0x10010068, %r13
  mov 0x10010070, %r14
  mov 0x10010078, %r15
  mov 0x10010020, %rsp
  jmp *0x10010088
oracle_leave:
  mov %rax, 0x10010100
  mov %rcx, 0x10010108
  mov %rdx, 0x10010110
  mov %rbx, 0x10010118
  mov %rsp, 0x10010120
  mov %rbp, 0x10010128
  mov %rsi, 0x10010130
  mov %rdi, 0x10010138
  mov %r8, 0x10010140
  mov %r9, 0x10010148
  mov %r10, 0x10010150
  mov %r11, 0x10010158
  mov %r12, 0x10010160
  mov %r13, 0x10010168
  mov %r14, 0x10010170
  mov %r15, 0x10010178
  mov $0x10010188, %rsp
  pushfq
  mov $0xe7, %eax
  xor %edx, %edx
  xsave64 0x10011200
oracle_resume:
  fninit
  ldmxcsr 0x100100a0
  cmpq $0, 0x100100b0
  je 1f
  vzeroupper
1:
  mov 0x10010098, %rsp
  popfq
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbp
  pop %rbx
  ret
)");
extern "C" void oracle_enter();
extern "C" const char oracle_leave[];
extern "C" const char oracle_resume[];

Context& context() {
  return *reinterpret_cast<Context*>(layout::kContext);
}

/// Offsets of the components in the XSAVE area's standard format; 0: the host lacks it.
struct XsaveFormat {
  std::uint32_t ymm_high = 0;
  std::uint32_t opmask = 0;
  std::uint32_t zmm_high = 0;
  std::uint32_t zmm16 = 0;
};

XsaveFormat xsave_format() {
  const auto offset = [](unsigned component) {
    std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
    __get_cpuid_count(0xd, 0, &eax, &ebx, &ecx, &edx);
    if ((eax >> component & 1U) == 0) return 0U;
    __get_cpuid_count(0xd, component, &eax, &ebx, &ecx, &edx);
    return ebx;
  };
  return {.ymm_high = offset(2), .opmask = offset(5), .zmm_high = offset(6), .zmm16 = offset(7)};
}

const XsaveFormat& format() {
  static const XsaveFormat host = xsave_format();
  return host;
}

void pack(const accel::soft::FpuState& fpu, std::byte* image) {
  std::memcpy(image, fpu.legacy.data(), 160);
  std::byte* const header = image + 512;
  std::memset(header, 0, 64);
  std::uint64_t components = 3;
  for (std::size_t i = 0; i < 16; ++i) std::memcpy(image + 160 + 16 * i, fpu.vector[i].data(), 16);
  if (format().ymm_high != 0) {
    components |= x86::xcr::kAvx;
    for (std::size_t i = 0; i < 16; ++i) std::memcpy(image + format().ymm_high + 16 * i, fpu.vector[i].data() + 16, 16);
  }
  if (format().zmm16 != 0) {
    components |= x86::xcr::kAvx512;
    std::memcpy(image + format().opmask, fpu.mask.data(), sizeof fpu.mask);
    for (std::size_t i = 0; i < 16; ++i) std::memcpy(image + format().zmm_high + 32 * i, fpu.vector[i].data() + 32, 32);
    std::memcpy(image + format().zmm16, fpu.vector[16].data(), 1024);
  }
  std::memcpy(header, &components, sizeof components);
}

void unpack(const std::byte* image, accel::soft::FpuState& fpu) {
  std::memcpy(fpu.legacy.data(), image, 160);
  for (std::size_t i = 0; i < 16; ++i) std::memcpy(fpu.vector[i].data(), image + 160 + 16 * i, 16);
  if (format().ymm_high != 0)
    for (std::size_t i = 0; i < 16; ++i) std::memcpy(fpu.vector[i].data() + 16, image + format().ymm_high + 16 * i, 16);
  if (format().zmm16 != 0) {
    std::memcpy(fpu.mask.data(), image + format().opmask, sizeof fpu.mask);
    for (std::size_t i = 0; i < 16; ++i) std::memcpy(fpu.vector[i].data() + 32, image + format().zmm_high + 32 * i, 32);
    std::memcpy(fpu.vector[16].data(), image + format().zmm16, 1024);
  }
}

constexpr std::array kSignals = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
std::array<struct sigaction, kSignals.size()> previous_actions;

void pass_on(int signal, siginfo_t* info, void* ucontext) {
  const auto index = static_cast<std::size_t>(std::ranges::find(kSignals, signal) - kSignals.begin());
  const struct sigaction& previous = previous_actions.at(index);
  if ((previous.sa_flags & SA_SIGINFO) != 0) return previous.sa_sigaction(signal, info, ucontext);
  ::signal(signal, SIG_DFL);
}

/// Order of mcontext_t's registers for x86::Gpr.
constexpr std::array kGregs = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                               REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

/// How much the kernel saved of it, which ends where the signal's stack may end too.
std::size_t xsave_size(const mcontext_t& machine) {
  constexpr std::size_t kSoftwareBytes = 464;  // behind what FXSAVE uses
  constexpr std::size_t kFxsaveSize = 512;
  _fpx_sw_bytes kernel{};
  std::memcpy(&kernel, reinterpret_cast<const std::byte*>(machine.fpregs) + kSoftwareBytes, sizeof kernel);
  constexpr std::uint32_t kMagic = 0x46505853;  // FP_XSTATE_MAGIC1: there is more than FXSAVE's
  return kernel.magic1 == kMagic ? std::min<std::size_t>(kernel.xstate_size, kXsaveSize) : kFxsaveSize;
}

void on_signal(int signal, siginfo_t* info, void* opaque) {
  Context& at = context();
  if (at.running == 0) return pass_on(signal, info, opaque);
  mcontext_t& machine = static_cast<ucontext_t*>(opaque)->uc_mcontext;
  auto& gregs = machine.gregs;
  for (std::size_t i = 0; i < kGregs.size(); ++i) at.out_gpr[i] = static_cast<std::uint64_t>(gregs[kGregs[i]]);
  at.out_rip = static_cast<std::uint64_t>(gregs[REG_RIP]);
  at.out_rflags = static_cast<std::uint64_t>(gregs[REG_EFL]);
  at.vector = static_cast<std::uint64_t>(gregs[REG_TRAPNO]);
  at.error_code = static_cast<std::uint64_t>(gregs[REG_ERR]);
  at.cr2 = static_cast<std::uint64_t>(gregs[REG_CR2]);
  at.signalled = 1;
  std::memcpy(at.out_xsave.data(), machine.fpregs, xsave_size(machine));
  at.running = 0;
  gregs[REG_RIP] = static_cast<greg_t>(reinterpret_cast<std::uintptr_t>(oracle_resume));
  gregs[REG_EFL] &= ~static_cast<greg_t>(x86::rflags::kTf | x86::rflags::kAc | x86::rflags::kDf | x86::rflags::kNt);
}

/// The kernel leaves the instruction's EFLAGS.AC on, and what a compiler puts first may be misaligned.
[[gnu::naked]] void enter_handler(int, siginfo_t*, void*) {
  asm("pushfq\n\t"
      "andl $~0x40000, (%%rsp)\n\t"
      "popfq\n\t"
      "jmp %P0" ::"i"(on_signal));
}

void* map(std::uint64_t address, std::size_t size, int protection, int flags, int file) {
  void* const at = mmap(reinterpret_cast<void*>(address), size, protection, flags, file, 0);
  if (at == MAP_FAILED || (address != 0 && at != reinterpret_cast<void*>(address))) {
    std::perror("mmap for the native side");
    std::exit(2);
  }
  return at;
}

constexpr int kFixed = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
constexpr int kReadWrite = PROT_READ | PROT_WRITE;

}  // namespace

std::uint64_t host_fs_base() {
  std::uint64_t base = 0;
  syscall(SYS_arch_prctl, ARCH_GET_FS, &base);
  return base;
}

NativeRunner::NativeRunner(CodePages code_pages) {
  const int file = memfd_create("oracle-code", 0);
  if (file < 0 || ftruncate(file, layout::kCodeSize) != 0) std::exit(2);
  const int code_protection = PROT_READ | PROT_EXEC | (code_pages == CodePages::kWritable ? PROT_WRITE : 0);
  map(layout::kCode, layout::kCodeSize, code_protection, MAP_SHARED | MAP_FIXED_NOREPLACE, file);
  code_ = static_cast<std::byte*>(map(0, layout::kCodeSize, kReadWrite, MAP_SHARED, file));
  close(file);
  std::memset(code_, 0xcc, layout::kCodeSize);
  map(layout::kContext, layout::kContextSize, kReadWrite, kFixed, -1);
  map(layout::kArena, layout::kArenaEnd - layout::kArena, PROT_NONE, kFixed, -1);
  mprotect(reinterpret_cast<void*>(layout::kData), layout::kDataSize, kReadWrite);
  syscall(SYS_arch_prctl, ARCH_SET_GS, kGsBase);

  Context& at = context();
  at.mxcsr = 0x1f80;
  at.has_avx = format().ymm_high != 0 ? 1 : 0;
  at.leave = reinterpret_cast<std::uintptr_t>(oracle_leave);

  const std::size_t stack_size = 256 * 1024;
  const stack_t stack = {
      .ss_sp = map(0, stack_size, kReadWrite, MAP_PRIVATE | MAP_ANONYMOUS, -1), .ss_flags = 0, .ss_size = stack_size};
  sigaltstack(&stack, nullptr);
  struct sigaction action{};
  action.sa_sigaction = enter_handler;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  for (std::size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &action, &previous_actions[i]);
}

NativeRunner::~NativeRunner() {
  for (std::size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &previous_actions[i], nullptr);
}

std::span<std::byte, layout::kDataSize> NativeRunner::data() const {
  return std::span<std::byte, layout::kDataSize>(reinterpret_cast<std::byte*>(layout::kData), layout::kDataSize);
}

void NativeRunner::place(std::uint64_t address, std::span<const std::uint8_t> bytes) {
  // JMP [leave], by an absolute displacement (FF /4, ModRM 24, SIB 25).
  static constexpr std::array<std::uint8_t, 7> kJump = {0xff, 0x24, 0x25, 0x90, 0x00, 0x01, 0x10};
  if (length_ != 0) std::memset(code_ + (address_ - layout::kCode), 0xcc, length_ + kJump.size());
  address_ = address;
  length_ = bytes.size();
  std::byte* const at = code_ + (address - layout::kCode);
  std::memcpy(at, bytes.data(), bytes.size());
  std::memcpy(at + bytes.size(), kJump.data(), kJump.size());
}

/// Fills STATE but for RIP.
void NativeRunner::enter(ProcessorState& state) {
  Context& at = context();
  at.in_gpr = state.gpr;
  at.in_rflags = state.rflags;
  at.entry = address_;
  at.signalled = 0;
  pack(state.fpu, at.in_xsave.data());
  std::memset(at.out_xsave.data() + 512, 0, 64);
  at.running = 1;
  oracle_enter();
  at.running = 0;

  state.gpr = at.out_gpr;
  state.rflags = at.out_rflags & ~x86::rflags::kRf;
  unpack(at.out_xsave.data(), state.fpu);
}

Ending NativeRunner::run(ProcessorState& state) {
  enter(state);
  const Context& at = context();
  if (at.signalled == 0) {
    state.rip = address_ + length_;
    return {};
  }
  // INT3 and page faults of fetches are where the instruction jumped to: it is done.
  const bool is_trap = at.vector == x86::kBreakpoint;
  state.rip = is_trap ? at.out_rip - 1 : at.out_rip;
  if (state.rip != address_) return {};
  const bool is_page_fault = at.vector == x86::kPageFault;
  return {.vector = static_cast<int>(at.vector),
          .error_code = static_cast<std::uint32_t>(at.error_code),
          .cr2 = is_page_fault ? at.cr2 : 0};
}

Ending NativeRunner::run_block(ProcessorState& state) {
  enter(state);
  const Context& at = context();
  state.rip = address_ + length_;
  if (at.signalled == 0) return {};
  const bool is_trap = at.vector == x86::kBreakpoint;
  state.rip = is_trap ? at.out_rip - 1 : at.out_rip;
  if (is_trap) return {};
  return {.vector = static_cast<int>(at.vector),
          .error_code = static_cast<std::uint32_t>(at.error_code),
          .cr2 = at.vector == x86::kPageFault ? at.cr2 : 0};
}

}  // namespace doppel::oracle
