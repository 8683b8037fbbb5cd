// FXSAVE, FXRSTOR, MXCSR, XCR0, PKRU (SDM 2A to 2C), and processor images.
#include "accel/soft/interpreter/extended_state.h"

#include <algorithm>
#include <array>

#include "accel/soft/interpreter/availability.h"
#include "accel/soft/interpreter/paging.h"
#include "accel/soft/interpreter/xsave_area.h"
#include "base/endian.h"
#include "x86/cpu_reset.h"

namespace doppel::accel::soft {

namespace {

// --- FXSAVE, FXRSTOR ---

constexpr std::size_t kFxsaveAlignment = 16;

template <AccessKind kind>
std::uint64_t fxsave_area(Cpu& cpu, const Instruction& i) {
  require(cpu, requirement::kX87);
  const std::uint64_t address = cpu.linear<kind>(i.segment, cpu.effective_address(i), xsave::kLegacySize);
  if ((address & (kFxsaveAlignment - 1)) != 0) raise_gp();
  return address;
}

/// AMD's fast FXSAVE leaves XMM registers alone (APM 2 11.4.4).
bool is_fast(const Cpu& cpu) {
  return (cpu.efer & x86::efer::kFfxsr) != 0 && cpu.cpl == 0 && cpu.code_mode == CodeMode::kLong64;
}

template <bool wide>
void fxsave(Cpu& cpu, const Instruction& i) {
  const xsave::View view{.long_code = cpu.code_mode == CodeMode::kLong64, .wide_pointers = wide};
  const std::uint64_t address = fxsave_area<AccessKind::kWrite>(cpu, i);
  std::array<std::byte, xsave::kLegacySize> image{};
  const std::span<std::byte> all(image);
  xsave::save(cpu.fpu, xsave::kX87, view, all);
  store_le(image.data() + FpuState::kMxcsr, cpu.fpu.mxcsr());
  store_le(image.data() + xsave::kMxcsrMask, xsave::kValidMxcsr);
  const std::size_t xmm_size = is_fast(cpu) ? 0 : xsave::accessed_size(xsave::kSse, view);
  if (xmm_size != 0) xsave::save(cpu.fpu, xsave::kSse, view, all.subspan(xsave::kXmm));
  cpu.probe(address, image.size(), AccessKind::kWrite);  // what is reserved in it too
  cpu.write_linear(address, all.first(xsave::kXmm + xmm_size));
}

template <bool wide>
void fxrstor(Cpu& cpu, const Instruction& i) {
  const xsave::View view{.long_code = cpu.code_mode == CodeMode::kLong64, .wide_pointers = wide};
  const std::uint64_t address = fxsave_area<AccessKind::kRead>(cpu, i);
  std::array<std::byte, xsave::kLegacySize> image{};
  const std::span<std::byte> all(image);
  cpu.read_linear(address, all);
  const auto mxcsr = load_le<std::uint32_t>(image.data() + FpuState::kMxcsr);
  if ((mxcsr & ~xsave::kValidMxcsr) != 0) raise_gp();
  xsave::load(cpu.fpu, xsave::kX87, view, all);
  cpu.fpu.set_mxcsr(mxcsr);
  if (!is_fast(cpu)) xsave::load(cpu.fpu, xsave::kSse, view, all.subspan(xsave::kXmm));
}

// --- MXCSR ---

template <const Requirement& needed>
void load_mxcsr(Cpu& cpu, const Instruction& i) {
  require(cpu, needed);
  const auto value = cpu.load<std::uint32_t>(i.segment, cpu.effective_address(i));
  if ((value & ~xsave::kValidMxcsr) != 0) raise_gp();
  cpu.fpu.set_mxcsr(value);
}

template <const Requirement& needed>
void store_mxcsr(Cpu& cpu, const Instruction& i) {
  require(cpu, needed);
  cpu.store<std::uint32_t>(i.segment, cpu.effective_address(i), cpu.fpu.mxcsr());
}

// --- PKRU ---

void require_protection_keys(const Cpu& cpu) {
  if ((cpu.cr4 & x86::cr4::kPke) == 0) raise_ud();
  if (static_cast<std::uint32_t>(cpu.gpr[x86::kRcx]) != 0) raise_gp();
}

void rdpkru(Cpu& cpu, const Instruction&) {
  require_protection_keys(cpu);
  cpu.gpr[x86::kRax] = cpu.fpu.pkru;
  cpu.gpr[x86::kRdx] = 0;
}

void wrpkru(Cpu& cpu, const Instruction&) {
  require_protection_keys(cpu);
  if (static_cast<std::uint32_t>(cpu.gpr[x86::kRdx]) != 0) raise_gp();
  set_pkru(cpu, static_cast<std::uint32_t>(cpu.gpr[x86::kRax]));
}

template <Handler handler>
Handler always(const Decoded&, Instruction&) {
  return handler;
}
/// VEX exists outside of real mode alone.
template <Handler handler>
Handler vex(const Decoded& decoded, Instruction&) {
  return decoded.mode == CodeMode::kReal16 ? nullptr : handler;
}

constexpr std::array kRows = {
    OperationRow{ZYDIS_MNEMONIC_FXSAVE, always<fxsave<false>>},
    OperationRow{ZYDIS_MNEMONIC_FXSAVE64, always<fxsave<true>>},
    OperationRow{ZYDIS_MNEMONIC_FXRSTOR, always<fxrstor<false>>},
    OperationRow{ZYDIS_MNEMONIC_FXRSTOR64, always<fxrstor<true>>},
    OperationRow{ZYDIS_MNEMONIC_LDMXCSR, always<load_mxcsr<requirement::kSse>>},
    OperationRow{ZYDIS_MNEMONIC_STMXCSR, always<store_mxcsr<requirement::kSse>>},
    OperationRow{ZYDIS_MNEMONIC_VLDMXCSR, vex<load_mxcsr<requirement::kAvx>>},
    OperationRow{ZYDIS_MNEMONIC_VSTMXCSR, vex<store_mxcsr<requirement::kAvx>>},
    OperationRow{ZYDIS_MNEMONIC_RDPKRU, always<rdpkru>},
    OperationRow{ZYDIS_MNEMONIC_WRPKRU, always<wrpkru>},
};

std::vector<OperationRow> all_rows() {
  std::vector<OperationRow> rows(kRows.begin(), kRows.end());
  for (const auto more : {x87_control_operations(), xsave_operations()})
    rows.insert(rows.end(), more.begin(), more.end());
  return rows;
}

constexpr xsave::View kWholeState{.long_code = true, .wide_pointers = true};

/// Where the standard format has COMPONENT: processors differ, and CPUID leaf D tells. Intel's place without one.
std::size_t offset_of(const Cpu& cpu, const x86::XsaveComponent& component) {
  const x86::CpuidEntry* const entry = x86::find_cpuid(cpu.cpuid, 0xd, component.index);
  return entry != nullptr && entry->eax != 0 ? entry->ebx : component.offset;
}

/// FUNCTION(component's index and offset in the standard format) for those that FpuState has.
template <class Function>
void for_each_component(const Cpu& cpu, Function function) {
  function(xsave::kX87, std::size_t{0});
  function(xsave::kSse, xsave::kXmm);
  for (const x86::XsaveComponent& component : x86::xsave_components())
    if (!component.supervisor && xsave::accessed_size(component.index, kWholeState) != 0)
      function(component.index, offset_of(cpu, component));
}

}  // namespace

std::span<const OperationRow> extended_state_operations() {
  static const std::vector<OperationRow> kAll = all_rows();
  return kAll;
}

std::vector<std::byte> save_xsave_image(const Cpu& cpu) {
  const std::uint64_t components = x86::xcr0_of(cpu.features) | x86::xcr::kX87 | x86::xcr::kSse;
  std::size_t size = x86::kXsaveMinimumSize;
  for (const x86::XsaveComponent& component : x86::xsave_components())
    if (!component.supervisor && test_bit(components, component.index))
      size = std::max(size, offset_of(cpu, component) + component.size);
  std::vector<std::byte> image = x86::initial_xsave_area(size);
  std::uint64_t present = 0;
  for_each_component(cpu, [&](unsigned index, std::size_t offset) {
    if (!test_bit(components, index)) return;
    xsave::save(cpu.fpu, index, kWholeState, std::span(image).subspan(offset));
    present |= bit(index);
  });
  store_le(image.data() + FpuState::kMxcsr, cpu.fpu.mxcsr());
  store_le(image.data() + xsave::kMxcsrMask, xsave::kValidMxcsr);
  store_le(image.data() + xsave::kHeader, present);
  return image;
}

Result<> load_xsave_image(Cpu& cpu, std::span<const std::byte> image) {
  if (image.size() < x86::kXsaveMinimumSize)
    return fail(ErrorKind::kInvalidArgument, "an XSAVE image of {} bytes", image.size());
  const auto present = load_le<std::uint64_t>(image.data() + xsave::kHeader);
  for_each_component(cpu, [&](unsigned index, std::size_t offset) {
    const std::size_t size = xsave::accessed_size(index, kWholeState);
    if (test_bit(present, index) && offset + size <= image.size())
      xsave::load(cpu.fpu, index, kWholeState, image.subspan(offset, size));
    else
      xsave::initialize(cpu.fpu, index, kWholeState);
  });
  cpu.fpu.set_mxcsr(load_le<std::uint32_t>(image.data() + FpuState::kMxcsr) & xsave::kValidMxcsr);
  cpu.tlb.flush_all();  // entries have PKRU's rights in them
  return {};
}

}  // namespace doppel::accel::soft
