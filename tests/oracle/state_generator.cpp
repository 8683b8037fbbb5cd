#include "state_generator.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <string_view>

#include "base/bits.h"
#include "x86/cpu_state.h"

namespace doppel::oracle {

namespace {

using accel::soft::FpuState;

/// Longest string of a REP instruction, in elements; and how far from the arena's ends everything else may begin.
constexpr std::uint64_t kLongestString = 40;
constexpr std::uint64_t kMargin = 4096;

bool is_vector(ZydisRegister reg) {
  switch (ZydisRegisterGetClass(reg)) {
    case ZYDIS_REGCLASS_XMM:
    case ZYDIS_REGCLASS_YMM:
    case ZYDIS_REGCLASS_ZMM: return true;
    default: return false;
  }
}

bool is_general(ZydisRegister reg) {
  switch (ZydisRegisterGetClass(reg)) {
    case ZYDIS_REGCLASS_GPR8:
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64: return true;
    default: return false;
  }
}

/// The register's number in the file; AH to BH count as AX to BX, which is good enough here.
unsigned number_of(ZydisRegister reg) {
  const auto id = static_cast<unsigned>(ZydisRegisterGetId(reg));
  if (ZydisRegisterGetClass(reg) != ZYDIS_REGCLASS_GPR8 || id < 4) return id;
  return id - 4;
}

bool is_string(const ZydisDecodedInstruction& zydis) {
  return zydis.meta.category == ZYDIS_CATEGORY_STRINGOP || zydis.meta.category == ZYDIS_CATEGORY_IOSTRINGOP;
}

bool is_repeated(const ZydisDecodedInstruction& zydis) {
  constexpr std::uint64_t kPrefixes = ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE;
  return is_string(zydis) && (zydis.attributes & kPrefixes) != 0;
}

bool is_vsib(const ZydisDecodedOperand& operand) {
  return is_vector(operand.mem.index);
}

/// VGATHERQPS, VPSCATTERQD, VGATHERPF0QPD ...: a Q where VGATHERDPS has its first D.
bool has_wide_indices(ZydisMnemonic mnemonic) {
  const std::string_view name = ZydisMnemonicGetString(mnemonic);
  std::size_t place = name.find("er");
  if (place == std::string_view::npos) return false;
  place += 2;
  if (name.substr(place).starts_with("pf")) place += 3;
  return place < name.size() && name[place] == 'q';
}

bool is_bit_string(const Sample& sample) {
  switch (sample.zydis.mnemonic) {
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTC: return sample.operands()[1].type == ZYDIS_OPERAND_TYPE_REGISTER;
    default: return false;
  }
}

bool is_compare_exchange(const Sample& sample) {
  return sample.zydis.mnemonic == ZYDIS_MNEMONIC_CMPXCHG || sample.zydis.mnemonic == ZYDIS_MNEMONIC_CMPXCHG8B ||
         sample.zydis.mnemonic == ZYDIS_MNEMONIC_CMPXCHG16B;
}

/// Whether #AC or #GP comes of misaligned ones is the processor's choice (SDM 2A, FXSAVE).
bool is_image(ZydisMnemonic mnemonic) {
  return mnemonic == ZYDIS_MNEMONIC_FXSAVE || mnemonic == ZYDIS_MNEMONIC_FXSAVE64 ||
         mnemonic == ZYDIS_MNEMONIC_FXRSTOR || mnemonic == ZYDIS_MNEMONIC_FXRSTOR64;
}

bool is_aligned_move(ZydisMnemonic mnemonic) {
  return mnemonic == ZYDIS_MNEMONIC_VMOVAPS || mnemonic == ZYDIS_MNEMONIC_VMOVAPD ||
         mnemonic == ZYDIS_MNEMONIC_VMOVDQA32 || mnemonic == ZYDIS_MNEMONIC_VMOVDQA64;
}

bool is_accessed(const ZydisDecodedOperand& operand) {
  return operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.mem.type != ZYDIS_MEMOP_TYPE_AGEN;
}

/// XMM comparisons and the like leave the x87 alone; MMX is the x87's registers.
bool mentions_x87(const Sample& sample) {
  if (sample.zydis.meta.isa_ext == ZYDIS_ISA_EXT_X87) return true;
  return std::ranges::any_of(sample.operands(), [](const ZydisDecodedOperand& operand) {
    if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) return false;
    const ZydisRegisterClass kind = ZydisRegisterGetClass(operand.reg.value);
    return kind == ZYDIS_REGCLASS_MMX || kind == ZYDIS_REGCLASS_X87 || operand.reg.value == ZYDIS_REGISTER_X87STATUS;
  });
}

}  // namespace

StateGenerator::StateGenerator(Random& random, std::uint64_t fs_base, std::uint64_t gs_base)
    : random_(random), fs_base_(fs_base), gs_base_(gs_base) {}

void StateGenerator::begin(const Sample& sample, std::span<std::byte, layout::kDataSize> memory) {
  sample_ = &sample;
  vectors_.clear();
  for (const ZydisDecodedOperand& operand : sample.operands()) {
    if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER && is_vector(operand.reg.value)) {
      const unsigned first = number_of(operand.reg.value);
      vectors_.push_back(first);
      // Four-register forms read the block of four around the register.
      if (sample.zydis.meta.category == ZYDIS_CATEGORY_AVX512_4FMAPS)
        for (unsigned i = 0; i < 4; ++i) vectors_.push_back((first & ~3U) + i);
    }
    if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY && is_vsib(operand)) vectors_.push_back(number_of(operand.mem.index));
  }
  uses_x87_ = mentions_x87(sample);
  refill_ = true;
  if (!random_.one_in(8)) return;
  for (std::size_t i = 0; i < memory.size(); i += 8) {
    const std::uint64_t value = random_.element();
    std::memcpy(memory.data() + i, &value, sizeof value);
  }
}

bool StateGenerator::next(ProcessorState& state, std::span<std::byte, layout::kDataSize> memory) {
  fill_general(state);
  fill_control(state);
  if (refill_) {
    for (auto& vector : state.fpu.vector)
      for (std::size_t i = 0; i < vector.size(); i += 8) {
        const std::uint64_t value = random_.element();
        std::memcpy(vector.data() + i, &value, sizeof value);
      }
  } else {
    fill_vectors(state);
  }
  if (uses_x87_ || refill_) fill_x87(state);
  refill_ = false;
  place_special_registers(state);
  if (!place_memory_operands(state)) return false;
  fill_memory(state, memory);
  clear_popped_trap_flag(state, memory);
  return fill_branch_target(state, memory);
}

void StateGenerator::fill_general(ProcessorState& state) {
  for (std::uint64_t& value : state.gpr) value = random_.integer();
  state.gpr[x86::kRsp] =
      layout::kData + layout::kDataSize / 2 + 8 * random_.below(64) + (random_.one_in(8) ? random_.below(8) : 0);
  state.rip = sample_->address;
  constexpr std::uint64_t kFree = x86::rflags::kArithmetic | x86::rflags::kId;
  state.rflags = x86::rflags::kFixed | x86::rflags::kIf | (random_.next() & kFree);
  if (random_.one_in(4)) state.rflags |= x86::rflags::kDf;
  if (random_.one_in(16)) state.rflags |= x86::rflags::kNt;
  if (random_.one_in(16) && !is_image(sample_->zydis.mnemonic)) state.rflags |= x86::rflags::kAc;
}

void StateGenerator::fill_vectors(ProcessorState& state) {
  for (const unsigned reg : vectors_) {
    auto& vector = state.fpu.vector.at(reg);
    for (std::size_t i = 0; i < vector.size(); i += 8) {
      const std::uint64_t value = random_.element();
      std::memcpy(vector.data() + i, &value, sizeof value);
    }
  }
}

void StateGenerator::fill_x87(ProcessorState& state) {
  FpuState& fpu = state.fpu;
  // Precision and rounding control; bit 6 reads as one. Exceptions are mostly masked.
  const auto masks = static_cast<std::uint16_t>(random_.one_in(3) ? random_.below(64) : 0x3f);
  const auto fcw = static_cast<std::uint16_t>(masks | 0x40U | (random_.next() & 0xf00U));
  auto fsw = static_cast<std::uint16_t>(random_.next() & 0x7f00U);
  if (random_.one_in(2)) fsw = static_cast<std::uint16_t>(fsw | random_.below(128));
  if (!random_.one_in(8)) fsw = static_cast<std::uint16_t>(fsw & ~static_cast<unsigned>(~masks & 0x3f));
  if ((fsw & ~fcw & 0x3f) != 0)
    fsw = static_cast<std::uint16_t>(fsw | 0x8080U);  // ES and B
  else
    fsw = static_cast<std::uint16_t>(fsw & ~0x8080U);
  fpu.set_legacy_field<std::uint16_t>(FpuState::kFcw, fcw);
  fpu.set_legacy_field<std::uint16_t>(FpuState::kFsw, fsw);
  fpu.set_legacy_field<std::uint8_t>(FpuState::kFtw,
                                     static_cast<std::uint8_t>(random_.one_in(2) ? 0xff : random_.next()));
  // Without ES AMD's processors lose the pointers whenever the host's kernel switches tasks.
  const std::uint64_t pointers = (fsw & 0x80U) != 0 ? ~std::uint64_t{0} : 0;
  fpu.set_legacy_field<std::uint16_t>(FpuState::kFop, static_cast<std::uint16_t>(random_.next() & 0x7ffU & pointers));
  fpu.set_legacy_field<std::uint64_t>(FpuState::kFip, random_.next() & 0x7fff'ffff'ffff & pointers);
  fpu.set_legacy_field<std::uint64_t>(FpuState::kFdp, random_.next() & 0x7fff'ffff'ffff & pointers);
  for (std::size_t i = 0; i < 8; ++i) {
    const Random::Extended value = random_.extended();
    fpu.set_legacy_field(FpuState::kSt0 + 16 * i, random_.one_in(4) ? random_.element() : value.significand);
    fpu.set_legacy_field(FpuState::kSt0 + 16 * i + 8, std::uint64_t{value.sign_exponent});
  }
}

void StateGenerator::fill_control(ProcessorState& state) {
  constexpr std::uint32_t kMasks = 0x1f80, kRounding = 0x6000, kFlushes = 0x8040, kFlags = 0x3f;
  const auto random = static_cast<std::uint32_t>(random_.next());
  std::uint32_t mxcsr = (random & kRounding) | (random_.one_in(8) ? random & kMasks : kMasks);
  if (random_.one_in(3)) mxcsr |= random >> 16U & kFlushes;
  if (random_.one_in(3)) mxcsr |= random >> 16U & kFlags;
  state.fpu.set_mxcsr(mxcsr);
  // At least one element: with none, AMD checks no alignment (vmovaps and the like), which the SDM leaves open.
  for (std::uint64_t& mask : state.fpu.mask)
    mask = random_.integer() | (is_aligned_move(sample_->zydis.mnemonic) ? 1 : 0);
}

void StateGenerator::place_special_registers(ProcessorState& state) {
  const auto& zydis = sample_->zydis;
  if (is_repeated(zydis)) {
    std::uint64_t& count = state.gpr[x86::kRcx];
    count = random_.below(kLongestString) | (zydis.address_width == 32 ? count & ~low_mask(32) : 0);
  }
  if (is(ZYDIS_MNEMONIC_ENTER) || is(ZYDIS_MNEMONIC_LEAVE)) state.gpr[x86::kRbp] = target(8);
  if (is(ZYDIS_MNEMONIC_CLZERO)) state.gpr[x86::kRax] = target(64);  // which Zydis does not tell of
  if (is_bit_string(*sample_)) {
    const auto bit = random_.between(-2000, 2000);
    state.gpr[number_of(sample_->operands()[1].reg.value)] = static_cast<std::uint64_t>(bit);
  }
}

bool StateGenerator::aim(ProcessorState& state) {
  place_special_registers(state);
  return place_memory_operands(state);
}

bool StateGenerator::stays(const ProcessorState& state) const {
  const auto& zydis = sample_->zydis;
  const std::uint64_t count = state.gpr[x86::kRcx] & low_mask(zydis.address_width);
  if (is_repeated(zydis) && count > kLongestString) return false;
  return std::ranges::all_of(sample_->operands(), [&](const ZydisDecodedOperand& operand) {
    return !is_accessed(operand) || stays_in_arena(state, operand);
  });
}

/// Where a repeated string of elements of SIZE bytes begins, one time in three: near enough to a page's end, or the
/// data's, to get there.
std::optional<std::uint64_t> StateGenerator::string_target(const ProcessorState& state, std::uint64_t size) {
  if (!is_repeated(sample_->zydis) || !random_.one_in(3)) return std::nullopt;
  const std::uint64_t reach = size * (2 + (state.gpr[x86::kRcx] & low_mask(sample_->zydis.address_width)));
  const bool down = (state.rflags & x86::rflags::kDf) != 0;
  const std::uint64_t page = layout::kData + layout::kPage * ((down ? 0 : 1) + random_.below(2));
  return down ? page + random_.below(reach) : page - random_.below(reach);
}

/// Where an operand of SIZE bytes goes: within the data, across one of its ends, or beyond; seldom nowhere.
std::uint64_t StateGenerator::target(std::uint64_t size) {
  const std::uint64_t reach = std::max<std::uint64_t>(size, 8);
  const std::uint64_t kind = random_.below(64);
  if (kind == 0) return layout::kData + layout::kDataSize - random_.below(2 * reach);
  if (kind == 1) return layout::kData + layout::kDataSize + random_.below(kMargin);
  if (kind == 2) return layout::kData - 1 - random_.below(2 * reach);
  // Aligned: whether misalignment or a bad address is found first differs between processors.
  if (kind == 3) return (0x8000'0000'0000'0000 | random_.next() >> 8U) & ~std::uint64_t{63};
  if (kind < 8) return layout::kData + layout::kPage - random_.below(reach);  // across the pages' border
  const std::uint64_t offset = 512 + random_.below(layout::kDataSize - 2048);
  return layout::kData + (random_.one_in(4) ? offset : offset & ~std::uint64_t{63});
}

std::uint64_t StateGenerator::address_of_memory(const ProcessorState& state) const {
  for (const ZydisDecodedOperand& operand : sample_->operands())
    if (is_accessed(operand))
      return address_of(state, operand, is_general(operand.mem.index) ? state.gpr[number_of(operand.mem.index)] : 0);
  return 0;
}

std::uint64_t StateGenerator::segment_base(ZydisRegister segment) const {
  return segment == ZYDIS_REGISTER_FS ? fs_base_ : segment == ZYDIS_REGISTER_GS ? gs_base_ : 0;
}

/// Linear address with INDEX for the index register.
std::uint64_t StateGenerator::address_of(const ProcessorState& state, const ZydisDecodedOperand& operand,
                                         std::uint64_t index) const {
  const auto& memory = operand.mem;
  std::uint64_t sum = memory.disp.has_displacement ? static_cast<std::uint64_t>(memory.disp.value) : 0;
  if (memory.base == ZYDIS_REGISTER_RIP || memory.base == ZYDIS_REGISTER_EIP)
    sum += sample_->address + sample_->zydis.length;
  else if (is_general(memory.base))
    sum += state.gpr[number_of(memory.base)];
  sum += index * memory.scale;
  // The stack's own accesses are as wide as the stack pointer, whatever the prefix.
  const bool is_stack = operand.visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN && memory.base == ZYDIS_REGISTER_RSP;
  return segment_base(memory.segment) + (sum & low_mask(is_stack ? 64 : sample_->zydis.address_width));
}

bool StateGenerator::place_memory_operands(ProcessorState& state) {
  for (const ZydisDecodedOperand& operand : sample_->operands())
    if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY) place_operand(state, operand);
  return stays(state);
}

void StateGenerator::place_operand(ProcessorState& state, const ZydisDecodedOperand& operand) {
  const auto& memory = operand.mem;
  std::uint64_t wanted = target(operand.size / 8U);
  if (const auto begin = string_target(state, operand.size / 8U)) wanted = *begin;
  if (is_vsib(operand)) {
    place_indices(state, operand);
    wanted = layout::kData + layout::kDataSize / 2;
  }
  const std::uint64_t mask = low_mask(sample_->zydis.address_width);
  const bool index_is_general = is_general(memory.index) && memory.index != memory.base;
  const std::uint64_t index = index_is_general ? state.gpr[number_of(memory.index)] : 0;
  if (memory.base == ZYDIS_REGISTER_RSP && memory.disp.value == 0 && memory.index == ZYDIS_REGISTER_NONE &&
      !random_.one_in(16))
    return;  // the stack is well where it is
  if (is_general(memory.base)) {
    std::uint64_t& base = state.gpr[number_of(memory.base)];
    base = (base & ~mask) | ((base + wanted - address_of(state, operand, index)) & mask);
  } else if (index_is_general) {
    std::uint64_t& reg = state.gpr[number_of(memory.index)];
    const std::uint64_t missing = (wanted - address_of(state, operand, 0)) & mask;
    reg = (reg & ~mask) | (missing / memory.scale & mask);
  }
}

/// Signed elements that reach up to about 1500 bytes to both sides, whichever size the instruction takes them in.
void StateGenerator::place_indices(ProcessorState& state, const ZydisDecodedOperand& operand) {
  auto& vector = state.fpu.vector.at(number_of(operand.mem.index));
  const bool are_wide = has_wide_indices(sample_->zydis.mnemonic);
  const std::int64_t reach = 1500 / std::max<int>(operand.mem.scale, 1);
  for (std::size_t i = 0; i < vector.size(); i += 4) {
    const auto value = static_cast<std::int32_t>(random_.between(-reach, reach));
    if (are_wide) {
      const std::int64_t wide = value;
      if (i % 8 == 0) std::memcpy(vector.data() + i, &wide, sizeof wide);
    } else {
      std::memcpy(vector.data() + i, &value, sizeof value);
    }
  }
}

/// Of all elements that the index register has room for, whether they are masked or not.
bool StateGenerator::elements_stay(const ProcessorState& state, const ZydisDecodedOperand& operand) const {
  const auto& vector = state.fpu.vector.at(number_of(operand.mem.index));
  const std::size_t size = has_wide_indices(sample_->zydis.mnemonic) ? 8 : 4;
  const std::size_t used = ZydisRegisterGetWidth(ZYDIS_MACHINE_MODE_LONG_64, operand.mem.index) / 8U;
  for (std::size_t at = 0; at < used; at += size) {
    std::int32_t narrow = 0;
    std::int64_t index = 0;
    std::memcpy(&narrow, vector.data() + at, sizeof narrow);
    std::memcpy(&index, vector.data() + at, size);
    if (size == sizeof narrow) index = narrow;
    const std::uint64_t address = address_of(state, operand, static_cast<std::uint64_t>(index));
    if (address < layout::kArena + kMargin || address > layout::kArenaEnd - kMargin) return false;
  }
  return true;
}

bool StateGenerator::stays_in_arena(const ProcessorState& state, const ZydisDecodedOperand& operand) const {
  if (is_vsib(operand)) return elements_stay(state, operand);
  const ZydisRegister index_register = operand.mem.index;
  std::uint64_t index = is_general(index_register) ? state.gpr[number_of(index_register)] : 0;
  if (index_register == ZYDIS_REGISTER_AL) index &= 0xff;
  const std::uint64_t address = address_of(state, operand, index);
  if (is_bit_string(*sample_)) {
    const auto bit = static_cast<std::int64_t>(state.gpr[number_of(sample_->operands()[1].reg.value)]);
    if (bit < -16384 || bit > 16384) return false;
  }
  // Nothing is mapped where addresses are not canonical.
  const bool is_canonical = address + kMargin < 0x8000'0000'0000 || address >= 0xffff'8000'0000'0000;
  // Misaligned addresses with EFLAGS.AC on are another fault, which may come first.
  if (!is_canonical && (address & 63U) != 0) return false;
  if (!is_canonical) return address > 0x8000'0000'1000 && address < 0xffff'7fff'ffff'0000;
  return address >= layout::kArena + kMargin && address <= layout::kArenaEnd - kMargin - operand.size / 8U;
}

void StateGenerator::fill_memory(const ProcessorState& state, std::span<std::byte, layout::kDataSize> memory) {
  for (const ZydisDecodedOperand& operand : sample_->operands()) {
    if (!is_accessed(operand) || is_vsib(operand)) continue;
    const ZydisRegister reg = operand.mem.index;
    const std::uint64_t index = is_general(reg) ? state.gpr[number_of(reg)] : 0;
    const std::uint64_t offset = address_of(state, operand, index) - layout::kData;
    const std::uint64_t size = std::min<std::uint64_t>((operand.size / 8U + 7) & ~7U, 64);
    if (offset >= memory.size() - size) continue;
    for (std::uint64_t i = 0; i < size; i += 8) {
      const std::uint64_t value = uses_x87_ && size == 16 ? random_.extended().significand : random_.element();
      std::memcpy(memory.data() + offset + i, &value, sizeof value);
    }
    if (is_compare_exchange(*sample_) && random_.one_in(2)) {
      std::memcpy(memory.data() + offset, &state.gpr[x86::kRax], 8);
      const bool is_pair8 = is(ZYDIS_MNEMONIC_CMPXCHG8B);
      if (!is(ZYDIS_MNEMONIC_CMPXCHG))
        std::memcpy(memory.data() + offset + (is_pair8 ? 4 : 8), &state.gpr[x86::kRdx], 4);
      if (is(ZYDIS_MNEMONIC_CMPXCHG16B)) std::memcpy(memory.data() + offset + 8, &state.gpr[x86::kRdx], 8);
    }
    const bool is_fxrstor = is(ZYDIS_MNEMONIC_FXRSTOR) || is(ZYDIS_MNEMONIC_FXRSTOR64);
    if (is(ZYDIS_MNEMONIC_LDMXCSR) || is(ZYDIS_MNEMONIC_VLDMXCSR) || is_fxrstor) {
      // Bit 17, AMD's MM, is left out.
      const std::uint32_t flip = random_.one_in(4) ? 1U << random_.below(32) & 0xfffdffffU : 0;
      const std::uint32_t value = state.fpu.mxcsr() ^ flip;
      std::memcpy(memory.data() + offset + (is_fxrstor ? std::size_t{FpuState::kMxcsr} : 0), &value, sizeof value);
    }
  }
}

/// POPF may not set TF: the trap would hit what comes behind.
void StateGenerator::clear_popped_trap_flag(const ProcessorState& state,
                                            std::span<std::byte, layout::kDataSize> memory) const {
  if (!is(ZYDIS_MNEMONIC_POPF) && !is(ZYDIS_MNEMONIC_POPFQ)) return;
  const std::uint64_t offset = address_of_memory(state) + 1 - layout::kData;
  if (offset < memory.size()) memory[offset] &= std::byte{0xfe};
}

/// Branches go to where nothing can be executed: into the INT3s of the code area, or to data. False: impossible.
bool StateGenerator::fill_branch_target(ProcessorState& state, std::span<std::byte, layout::kDataSize> memory) {
  const auto& zydis = sample_->zydis;
  const bool is_indirect = zydis.meta.category == ZYDIS_CATEGORY_UNCOND_BR ||
                           zydis.meta.category == ZYDIS_CATEGORY_CALL || zydis.meta.category == ZYDIS_CATEGORY_RET;
  if (!is_indirect) return true;
  const std::uint64_t to = random_.one_in(2) ? layout::kCode + 8 : layout::kArena + random_.below(0x1000);
  for (const ZydisDecodedOperand& operand : sample_->operands()) {
    if ((operand.actions & ZYDIS_OPERAND_ACTION_MASK_READ) == 0) continue;
    if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER && operand.visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT) {
      if (operand.reg.value == ZYDIS_REGISTER_RSP) return false;  // the stack would be there too
      state.gpr[number_of(operand.reg.value)] = to;
    }
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
    const ZydisRegister reg = operand.mem.index;
    const std::uint64_t offset =
        address_of(state, operand, is_general(reg) ? state.gpr[number_of(reg)] : 0) - layout::kData;
    if (offset <= memory.size() - 8) std::memcpy(memory.data() + offset, &to, sizeof to);
  }
  return true;
}

}  // namespace doppel::oracle
