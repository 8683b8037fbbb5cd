#include "accel/soft/interpreter/stub_execution.h"

#include <array>
#include <bit>
#include <cstring>
#include <span>

#include "accel/soft/interpreter/alignment_check.h"
#include "accel/soft/interpreter/alu.h"

namespace doppel::accel::soft {

namespace {

/// Where an operand is put that cannot be accessed in place. The low address bits are kept, for alignment faults.
class BounceBuffer {
 public:
  explicit BounceBuffer(std::uint64_t address) : operand_(storage_.data() + (address & 63U)) {}
  [[nodiscard]] std::byte* operand() { return operand_; }
  [[nodiscard]] std::span<std::byte> part(std::size_t offset, std::size_t size) { return {operand_ + offset, size}; }

 private:
  alignas(64) std::array<std::byte, 192> storage_{};
  std::byte* operand_;
};

[[noreturn]] void raise_host_trap(const Cpu& cpu, int trap) {
  switch (trap) {
    case x86::kSimdFloatingPoint:
      raise((cpu.cr4 & x86::cr4::kOsxmmexcpt) != 0 ? x86::kSimdFloatingPoint : x86::kInvalidOpcode);
    case x86::kFloatingPoint:
    case x86::kDivideError:
    case x86::kInvalidOpcode: raise(static_cast<std::uint8_t>(trap));
    case x86::kAlignmentCheck: raise(x86::kAlignmentCheck, 0);
    default: raise_gp();
  }
}

// A sanitizer that checks functions' types would look for a stub's in front of it.
#if defined(__clang__)
[[clang::no_sanitize("function")]]
#endif
int call(Cpu& cpu, const NativeStub& stub, void* memory) {
  host_fault_slot.guarded = &stub.guarded;
  host_fault_slot.trap = kNoTrap;
  const auto flags = stub.flags ? static_cast<std::uint32_t>((cpu.rflags & 0xff) << 8U | (cpu.rflags >> 11U & 1U)) : 0;
  const std::uint64_t result = stub.function(&cpu.fpu, memory, cpu.gpr.data(), flags);
  host_fault_slot.guarded = nullptr;
  const int trap = host_fault_slot.trap;
  if (stub.flags && trap == kNoTrap) alu::set_flags(cpu, static_cast<std::uint16_t>(result));
  return trap;
}

/// The x87 instruction and operand pointers are the guest's, not the stub's (SDM 1 8.1.8).
int call_x87(Cpu& cpu, const Instruction& i, const NativeStub& stub, void* memory) {
  FpuState& fpu = cpu.fpu;
  const auto fop = fpu.legacy_field<std::uint16_t>(FpuState::kFop);
  const auto fip = fpu.legacy_field<std::uint64_t>(FpuState::kFip);
  const auto fdp = fpu.legacy_field<std::uint64_t>(FpuState::kFdp);
  const int trap = call(cpu, stub, memory);
  const bool is_last = stub.sets_pointers && trap == kNoTrap;
  fpu.set_legacy_field<std::uint16_t>(FpuState::kFop, is_last ? stub.fop : fop);
  fpu.set_legacy_field<std::uint64_t>(FpuState::kFip, is_last ? cpu.instruction_start : fip);
  if (is_last) fpu.fcs = cpu.segment[x86::kCs].selector;
  const bool has_operand = is_last && stub.memory_size != 0;
  fpu.set_legacy_field<std::uint64_t>(FpuState::kFdp, has_operand ? cpu.effective_address(i) : fdp);
  if (has_operand) fpu.fds = cpu.segment[i.segment].selector;
  return trap;
}

/// What an x87 or MMX instruction waits for comes before its operand.
void require_all(const Cpu& cpu, const NativeStub& stub) {
  require(cpu, stub.needed);
  if (stub.x87 && cpu.fpu.x87_exception_pending()) [[unlikely]]
    raise(x86::kFloatingPoint);
}

/// #AC if the host, asked with EFLAGS.AC on, finds fault with an operand at ADDRESS: which instructions check what is
/// its affair. Nothing of the guest is changed.
[[gnu::noinline]] void check_alignment_natively(const Cpu& cpu, const NativeStub& stub, std::uint64_t address) {
  BounceBuffer buffer(address);
  FpuState fpu = cpu.fpu;
  auto gpr = cpu.gpr;
  host_fault_slot.guarded = &stub.guarded;
  host_fault_slot.trap = kNoTrap;
  void* function = reinterpret_cast<void*>(stub.function);
  void* a = &fpu;
  void* b = buffer.operand();
  void* c = gpr.data();
  asm volatile(
      "subq $128, %%rsp\n\t"  // the red zone
      "pushfq\n\t"
      "orl $0x40000, (%%rsp)\n\t"
      "popfq\n\t"
      "call *%[function]\n\t"
      "pushfq\n\t"
      "andl $~0x40000, (%%rsp)\n\t"
      "popfq\n\t"
      "addq $128, %%rsp"
      : [function] "+a"(function), "+D"(a), "+S"(b), "+d"(c)
      :
      : "rcx", "r8", "r9", "r10", "r11", "cc", "memory");
  host_fault_slot.guarded = nullptr;
  if (host_fault_slot.trap == x86::kAlignmentCheck) raise(x86::kAlignmentCheck, 0);
}

void execute(Cpu& cpu, const Instruction& i, const NativeStub& stub, void* memory) {
  const int trap = stub.x87 ? call_x87(cpu, i, stub, memory) : call(cpu, stub, memory);
  if (trap != kNoTrap) [[unlikely]]
    raise_host_trap(cpu, trap);
}

void run_register(Cpu& cpu, const Instruction& i) {
  const NativeStub& stub = *i.stub;
  require(cpu, stub.needed);
  execute(cpu, i, stub, nullptr);
}

/// After a store by an x87 instruction: an unmasked exception other than inexact result keeps it from storing (SDM 1
/// 8.5).
bool stores_nothing(const FpuState& fpu) {
  constexpr unsigned kBeforeStore = 0x1f;
  return (fpu.legacy_field<std::uint16_t>(FpuState::kFsw) & ~unsigned{fpu.legacy_field<std::uint16_t>(FpuState::kFcw)} &
          kBeforeStore) != 0;
}

/// Executes STUB, then WRITE() stores its result. If that must wait, what the stub did to x87 state and MXCSR is
/// undone: the instruction will run again.
template <class Write>
void execute_then(Cpu& cpu, const Instruction& i, const NativeStub& stub, void* memory, Write write) {
  const auto before = cpu.fpu.legacy;
  execute(cpu, i, stub, memory);
  if (stub.x87 && stores_nothing(cpu.fpu)) return;
  try {
    write();
  } catch (...) {
    cpu.fpu.legacy = before;
    throw;
  }
}

/// The operand crosses pages or is no RAM.
[[gnu::noinline]] void run_bounced(Cpu& cpu, const Instruction& i, std::uint64_t address) {
  const NativeStub& stub = *i.stub;
  BounceBuffer buffer(address);
  const auto operand = buffer.part(0, stub.memory_size);
  if (stub.writes_memory) cpu.probe(address, stub.memory_size, AccessKind::kWrite);
  if (stub.reads_memory) cpu.read_linear(address, operand);
  if (!stub.writes_memory) return execute(cpu, i, stub, buffer.operand());
  execute_then(cpu, i, stub, buffer.operand(), [&] { cpu.write_linear(address, operand); });
}

/// Host memory for an operand by the TLB alone, as Cpu::load() and store() find it; else null.
template <AccessKind kind>
std::byte* place_of(Cpu& cpu, std::uint64_t address, std::uint64_t size) {
  const TlbEntry& entry = cpu.tlb.entry(cpu.mmu_index, address);
  const std::uint64_t tag = (address + (size - 1)) & ~std::uint64_t{0xfff};
  if ((kind == AccessKind::kWrite ? entry.write_tag : entry.read_tag) != tag) return nullptr;
  return reinterpret_cast<std::byte*>(entry.host + address % x86::kPageSize);
}

/// The same, having tried harder.
[[gnu::noinline]] void run_memory_slow(Cpu& cpu, const Instruction& i, std::uint64_t address) {
  const NativeStub& stub = *i.stub;
  const AccessKind kind = stub.writes_memory ? AccessKind::kWrite : AccessKind::kRead;
  std::byte* const place = cpu.direct(address, stub.memory_size, kind);
  if (place == nullptr) return run_bounced(cpu, i, address);
  execute(cpu, i, stub, place);
  if (stub.writes_memory) cpu.wrote(address, stub.memory_size);
}

[[gnu::noinline]] void run_memory_alignment_checked(Cpu& cpu, const Instruction& i, std::uint64_t address) {
  check_alignment_natively(cpu, *i.stub, address);
  const AlignmentCheckOff off(cpu);
  run_memory_slow(cpu, i, address);
}

template <AccessKind kind>
void run_memory(Cpu& cpu, const Instruction& i) {
  const NativeStub& stub = *i.stub;
  require_all(cpu, stub);
  const std::uint64_t offset = cpu.effective_address(i);
  if (((cpu.view[i.segment].base + offset) & stub.alignment_mask) != 0) [[unlikely]]
    raise_gp();
  const std::uint64_t address = cpu.linear<kind>(i.segment, offset, stub.memory_size);
  if (cpu.alignment_mask != 0) [[unlikely]]
    return run_memory_alignment_checked(cpu, i, address);
  std::byte* const place = place_of<kind>(cpu, address, stub.memory_size);
  if (place == nullptr) [[unlikely]]
    return run_memory_slow(cpu, i, address);
  execute(cpu, i, stub, place);
}

// --- Operands of which only some elements count ---

/// Bit n: the sign of the element of SIZE bytes that begins at REGISTER + n * SIZE.
std::uint64_t sign_bits(const std::byte* vector_register, unsigned size, unsigned count) {
  std::uint64_t signs = 0;
  for (unsigned n = 0; n < count; ++n)
    signs |= static_cast<std::uint64_t>(vector_register[n * size + size - 1] >> 7) << n;
  return signs;
}

/// MM0 to MM7 are the x87 registers by their real number; the image has them from the top of the stack on.
const std::byte* mmx_register(const FpuState& fpu, unsigned number) {
  const unsigned top = fpu.legacy_field<std::uint16_t>(FpuState::kFsw) >> 11U & 7U;
  return fpu.legacy.data() + FpuState::kSt0 + std::size_t{16} * ((number - top) & 7U);
}

/// Bit n: element n of the memory operand is accessed.
std::uint64_t active_elements(const Cpu& cpu, const NativeStub& stub) {
  const FpuState& fpu = cpu.fpu;
  switch (stub.active) {
    case ActiveElements::kAll: break;
    case ActiveElements::kOpmask: {
      const std::uint64_t mask = fpu.mask.at(stub.mask_register) & low_mask(stub.lanes);
      std::uint64_t active = 0;
      for (unsigned lane = 0; lane < stub.lanes; lane += stub.elements) active |= mask >> lane;
      return active & low_mask(stub.elements);
    }
    case ActiveElements::kOpmaskCount: {
      const std::uint64_t mask = fpu.mask.at(stub.mask_register) & low_mask(stub.elements);
      return low_mask(static_cast<unsigned>(std::popcount(mask)));
    }
    case ActiveElements::kSignBits:
      return sign_bits(fpu.vector.at(stub.mask_register).data(), stub.element_size, stub.elements);
    case ActiveElements::kByteSignBits:
      return sign_bits(stub.x87 ? mmx_register(fpu, stub.mask_register) : fpu.vector.at(stub.mask_register).data(), 1,
                       stub.elements);
  }
  return low_mask(stub.elements);
}

/// FUNCTION(offset in the operand) for each element in ACTIVE.
template <class Function>
void for_each_element(std::uint64_t active, unsigned size, Function function) {
  for (; active != 0; active &= active - 1) function(static_cast<unsigned>(std::countr_zero(active)) * size);
}

/// The elements cross pages or are no RAM: one by one. ORIGIN is where element 0 would be.
void run_elements(Cpu& cpu, const Instruction& i, std::uint64_t origin, std::uint64_t active) {
  const NativeStub& stub = *i.stub;
  const unsigned size = stub.element_size;
  BounceBuffer buffer(origin);
  if (stub.writes_memory)
    for_each_element(active, size, [&](unsigned at) { cpu.probe(origin + at, size, AccessKind::kWrite); });
  if (stub.reads_memory)
    for_each_element(active, size, [&](unsigned at) { cpu.read_linear(origin + at, buffer.part(at, size)); });
  if (!stub.writes_memory) return execute(cpu, i, stub, buffer.operand());
  execute_then(cpu, i, stub, buffer.operand(), [&] {
    for_each_element(active, size, [&](unsigned at) { cpu.write_linear(origin + at, buffer.part(at, size)); });
  });
}

template <AccessKind kind>
void run_masked(Cpu& cpu, const Instruction& i) {
  const NativeStub& stub = *i.stub;
  require_all(cpu, stub);
  const std::uint64_t offset = cpu.effective_address(i);
  const std::uint64_t origin = cpu.view[i.segment].base + offset;
  const std::uint64_t active = active_elements(cpu, stub);
  if (active != 0 && (origin & stub.alignment_mask) != 0) raise_gp();
  if ((active != 0 || stub.faults_as_a_whole) && cpu.alignment_mask != 0) check_alignment_natively(cpu, stub, origin);
  const AlignmentCheckOff off(cpu);
  if (stub.faults_as_a_whole) cpu.probe(cpu.linear<kind>(i.segment, offset, stub.memory_size), stub.memory_size, kind);
  if (active == 0) return run_elements(cpu, i, origin, active);

  const auto first = static_cast<unsigned>(std::countr_zero(active)) * stub.element_size;
  const auto last = (63U - static_cast<unsigned>(std::countl_zero(active))) * stub.element_size;
  const unsigned length = last - first + stub.element_size;
  const std::uint64_t address = cpu.linear<kind>(i.segment, offset + first, length);
  const bool crosses = (address & 0xfff) + length > 0x1000;
  // MASKMOVDQU may fault for bytes that it does not store (SDM 2A), so that the host gets all of them.
  const bool in_place = stub.active != ActiveElements::kByteSignBits && !crosses;
  std::byte* const place = in_place ? cpu.direct(address, length, kind) : nullptr;
  if (place == nullptr) return run_elements(cpu, i, address - first, active);
  execute(cpu, i, stub, place - first);
  if constexpr (kind == AccessKind::kWrite) cpu.wrote(address, length);
}

}  // namespace

Handler stub_handler(const NativeStub& stub) {
  if (stub.memory_size == 0) return run_register;
  if (stub.active == ActiveElements::kAll)
    return stub.writes_memory ? run_memory<AccessKind::kWrite> : run_memory<AccessKind::kRead>;
  return stub.writes_memory ? run_masked<AccessKind::kWrite> : run_masked<AccessKind::kRead>;
}

}  // namespace doppel::accel::soft
