#include "gdbstub/registers.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <utility>

#include "base/endian.h"
#include "gdbstub/x87_area.h"
#include "x86/descriptor.h"
#include "x86/registers.h"

namespace doppel::gdbstub {

namespace {

using x86::CpuState;
using x86::StateParts;

constexpr std::uint32_t kKernelGsBaseMsr = 0xc0000102;

struct NamedIndex {
  std::string_view name;
  std::uint8_t index;
};

/// gdb's order differs from the encoding's.
constexpr NamedIndex kGprs[] = {
    {"rax", x86::kRax}, {"rbx", x86::kRbx}, {"rcx", x86::kRcx}, {"rdx", x86::kRdx},
    {"rsi", x86::kRsi}, {"rdi", x86::kRdi}, {"rbp", x86::kRbp}, {"rsp", x86::kRsp},
    {"r8", x86::kR8},   {"r9", x86::kR9},   {"r10", x86::kR10}, {"r11", x86::kR11},
    {"r12", x86::kR12}, {"r13", x86::kR13}, {"r14", x86::kR14}, {"r15", x86::kR15},
};
constexpr NamedIndex kSegments[] = {
    {"cs", x86::kCs}, {"ss", x86::kSs}, {"ds", x86::kDs}, {"es", x86::kEs}, {"fs", x86::kFs}, {"gs", x86::kGs},
};
constexpr NamedIndex kX87Controls[] = {
    {"fctrl", kFctrl}, {"fstat", kFstat}, {"ftag", kFtag},   {"fiseg", kFiseg},
    {"fioff", kFioff}, {"foseg", kFoseg}, {"fooff", kFooff}, {"fop", kFop},
};

struct ControlRegister {
  std::string_view name;
  std::string_view type;
  RegisterKind kind;
  std::uint64_t CpuState::* field;
};
constexpr ControlRegister kControls[] = {
    {"cr0", "i386_cr0", RegisterKind::kCr0, &CpuState::cr0},
    {"cr2", "int64", RegisterKind::kCr2, &CpuState::cr2},
    {"cr3", "int64", RegisterKind::kCr3, &CpuState::cr3},
    {"cr4", "i386_cr4", RegisterKind::kCr4, &CpuState::cr4},
    {"cr8", "int64", RegisterKind::kCr8, &CpuState::cr8},
    {"efer", "i386_efer", RegisterKind::kEfer, &CpuState::efer},
};

std::uint64_t CpuState::* control_field(RegisterKind kind) {
  const auto* row = std::ranges::find(kControls, kind, &ControlRegister::kind);
  return row != std::end(kControls) ? row->field : nullptr;
}

x86::Msr* find_msr(std::vector<x86::Msr>& msrs, std::uint32_t index) {
  const auto found = std::ranges::find(msrs, index, &x86::Msr::index);
  return found != msrs.end() ? &*found : nullptr;
}

bool loads_segments_like_real_mode(const CpuState& state) {
  return (state.cr0 & x86::cr0::kPe) == 0 || (state.rflags & x86::rflags::kVm) != 0;
}

Result<> write_segment(CpuState& state, x86::Segment& segment, std::uint32_t selector) {
  if (selector == segment.selector) return {};
  if (selector > 0xffff) return fail(ErrorKind::kOutOfRange, "a selector has 16 bits");
  if (!loads_segments_like_real_mode(state))
    return fail(ErrorKind::kUnsupported, "a segment cannot be loaded in protected mode by writing its selector");
  segment.selector = static_cast<std::uint16_t>(selector);
  segment.base = std::uint64_t{selector} << 4U;
  return {};
}

std::uint64_t read_scalar(const CpuState& state, const Register& reg) {
  switch (reg.kind) {
    case RegisterKind::kGpr: return state.gpr[reg.index];
    case RegisterKind::kRip: return state.rip;
    case RegisterKind::kRflags: return state.rflags;
    case RegisterKind::kSegment: return state.segment[reg.index].selector;
    case RegisterKind::kSegmentBase: return state.segment[reg.index].base;
    case RegisterKind::kKernelGsBase: {
      const auto found = std::ranges::find(state.msrs, kKernelGsBaseMsr, &x86::Msr::index);
      return found != state.msrs.end() ? found->value : 0;
    }
    default: {
      const auto field = control_field(reg.kind);
      return field != nullptr ? state.*field : 0;
    }
  }
}

Result<> write_scalar(CpuState& state, const Register& reg, std::uint64_t value) {
  switch (reg.kind) {
    case RegisterKind::kGpr: state.gpr[reg.index] = value; break;
    case RegisterKind::kRip: state.rip = value; break;
    case RegisterKind::kRflags: state.rflags = value | x86::rflags::kFixed; break;
    case RegisterKind::kSegment:
      return write_segment(state, state.segment[reg.index], static_cast<std::uint32_t>(value));
    case RegisterKind::kSegmentBase: state.segment[reg.index].base = value; break;
    case RegisterKind::kKernelGsBase: {
      x86::Msr* msr = find_msr(state.msrs, kKernelGsBaseMsr);
      if (msr == nullptr && value != 0) return fail(ErrorKind::kUnsupported, "this CPU has no IA32_KERNEL_GS_BASE");
      if (msr != nullptr) msr->value = value;
      break;
    }
    default:
      if (const auto field = control_field(reg.kind); field != nullptr) state.*field = value;
      break;
  }
  return {};
}

bool is_in_xsave(RegisterKind kind) {
  return kind == RegisterKind::kX87 || kind == RegisterKind::kX87Control || kind == RegisterKind::kXmm ||
         kind == RegisterKind::kMxcsr || kind == RegisterKind::kYmmHigh;
}

}  // namespace

RegisterTable::RegisterTable(bool with_avx) {
  add_core();
  add_vectors(with_avx);
  add_system();
}

void RegisterTable::add(std::string name, std::string_view type, Feature feature, RegisterKind kind, unsigned index,
                        unsigned size) {
  registers_.push_back({.name = std::move(name),
                        .type = type,
                        .feature = feature,
                        .kind = kind,
                        .index = static_cast<std::uint8_t>(index),
                        .size = static_cast<std::uint8_t>(size)});
}

void RegisterTable::add_core() {
  for (const auto& [name, index] : kGprs) {
    const bool is_address = index == x86::kRbp || index == x86::kRsp;
    add(std::string(name), is_address ? "data_ptr" : "int64", Feature::kCore, RegisterKind::kGpr, index, 8);
  }
  add("rip", "code_ptr", Feature::kCore, RegisterKind::kRip, 0, 8);
  add("eflags", "i386_eflags", Feature::kCore, RegisterKind::kRflags, 0, 4);
  for (const auto& [name, index] : kSegments)
    add(std::string(name), "int32", Feature::kCore, RegisterKind::kSegment, index, 4);
  for (unsigned i = 0; i < 8; ++i) add(fmt::format("st{}", i), "i387_ext", Feature::kCore, RegisterKind::kX87, i, 10);
  for (const auto& [name, index] : kX87Controls)
    add(std::string(name), "int", Feature::kCore, RegisterKind::kX87Control, index, 4);
}

void RegisterTable::add_vectors(bool with_avx) {
  for (unsigned i = 0; i < 16; ++i) add(fmt::format("xmm{}", i), "vec128", Feature::kSse, RegisterKind::kXmm, i, 16);
  add("mxcsr", "i386_mxcsr", Feature::kSse, RegisterKind::kMxcsr, 0, 4);
  if (!with_avx) return;
  for (unsigned i = 0; i < 16; ++i)
    add(fmt::format("ymm{}h", i), "uint128", Feature::kAvx, RegisterKind::kYmmHigh, i, 16);
}

void RegisterTable::add_system() {
  add("fs_base", "int", Feature::kSegments, RegisterKind::kSegmentBase, x86::kFs, 8);
  add("gs_base", "int", Feature::kSegments, RegisterKind::kSegmentBase, x86::kGs, 8);
  add("k_gs_base", "int", Feature::kSystem, RegisterKind::kKernelGsBase, 0, 8);
  for (const ControlRegister& control : kControls)
    add(std::string(control.name), control.type, Feature::kSystem, control.kind, 0, 8);
}

std::size_t RegisterTable::total_size() const {
  return std::accumulate(registers_.begin(), registers_.end(), std::size_t{0},
                         [](std::size_t sum, const Register& reg) { return sum + reg.size; });
}

StateParts RegisterTable::parts() {
  return StateParts::kRegisters | StateParts::kSystem | StateParts::kFpu | StateParts::kMsrs;
}

StateParts parts_of(const Register& reg) {
  if (is_in_xsave(reg.kind)) return StateParts::kFpu;
  switch (reg.kind) {
    case RegisterKind::kGpr:
    case RegisterKind::kRip:
    case RegisterKind::kRflags: return StateParts::kRegisters;
    // Writing a selector depends on the mode, RFLAGS.VM included.
    case RegisterKind::kSegment: return StateParts::kSystem | StateParts::kRegisters;
    case RegisterKind::kKernelGsBase: return StateParts::kMsrs;
    default: return StateParts::kSystem;
  }
}

void read_register(const CpuState& state, const Register& reg, std::span<std::byte> out) {
  if (is_in_xsave(reg.kind)) {
    read_x87_area(state.xsave, reg, out);
    return;
  }
  store_le_sized(out.data(), std::min<std::size_t>(out.size(), 8), read_scalar(state, reg));
}

Result<> write_register(CpuState& state, const Register& reg, std::span<const std::byte> value) {
  if (value.size() != reg.size) return fail(ErrorKind::kInvalidArgument, "{} has {} bytes", reg.name, reg.size);
  if (is_in_xsave(reg.kind)) return write_x87_area(state.xsave, reg, value);
  std::uint64_t number = load_le_sized(value.data(), value.size());
  if (reg.kind == RegisterKind::kRflags) number |= state.rflags & ~std::uint64_t{0xffffffff};
  return write_scalar(state, reg, number);
}

std::uint64_t linear_pc(const CpuState& state) {
  return state.segment[x86::kCs].base + state.rip;
}

}  // namespace doppel::gdbstub
