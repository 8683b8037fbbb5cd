#include "accel/soft/interpreter/gather.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "accel/soft/interpreter/alignment_check.h"
#include "accel/soft/interpreter/availability.h"

namespace doppel::accel::soft {

namespace {

struct Form {
  ZydisMnemonic mnemonic;
  std::uint8_t index_size;    // bytes of an index
  std::uint8_t element_size;  // and of an element
  bool scatter = false;
};

constexpr std::array kForms = {
    Form{ZYDIS_MNEMONIC_VGATHERDPS, 4, 4},        Form{ZYDIS_MNEMONIC_VGATHERDPD, 4, 8},
    Form{ZYDIS_MNEMONIC_VGATHERQPS, 8, 4},        Form{ZYDIS_MNEMONIC_VGATHERQPD, 8, 8},
    Form{ZYDIS_MNEMONIC_VPGATHERDD, 4, 4},        Form{ZYDIS_MNEMONIC_VPGATHERDQ, 4, 8},
    Form{ZYDIS_MNEMONIC_VPGATHERQD, 8, 4},        Form{ZYDIS_MNEMONIC_VPGATHERQQ, 8, 8},
    Form{ZYDIS_MNEMONIC_VSCATTERDPS, 4, 4, true}, Form{ZYDIS_MNEMONIC_VSCATTERDPD, 4, 8, true},
    Form{ZYDIS_MNEMONIC_VSCATTERQPS, 8, 4, true}, Form{ZYDIS_MNEMONIC_VSCATTERQPD, 8, 8, true},
    Form{ZYDIS_MNEMONIC_VPSCATTERDD, 4, 4, true}, Form{ZYDIS_MNEMONIC_VPSCATTERDQ, 4, 8, true},
    Form{ZYDIS_MNEMONIC_VPSCATTERQD, 8, 4, true}, Form{ZYDIS_MNEMONIC_VPSCATTERQQ, 8, 8, true},
};

template <class T>
void move_element(Cpu& cpu, const Instruction& i, std::uint64_t offset, std::byte* element, bool scatter) {
  T value;
  if (scatter) {
    std::memcpy(&value, element, sizeof value);
    cpu.store<T>(i.segment, offset, value);
  } else {
    value = cpu.load<T>(i.segment, offset);
    std::memcpy(element, &value, sizeof value);
  }
}

/// The instruction's progress. Elements that are done have their mask bits cleared even if a later one faults, so that
/// the instruction goes on from there; an answer that the bus owes starts it again as a whole, with answers so far.
class Progress {
 public:
  Progress(FpuState& fpu, const GatherOperands& operands)
      : fpu_(fpu), operands_(operands), data_(fpu.vector.at(operands.data)), active_(active_elements(fpu, operands)) {}
  [[nodiscard]] bool is_active(unsigned n) const { return (active_ >> n & 1U) != 0; }
  [[nodiscard]] std::byte* element(unsigned n) { return data_.data() + std::size_t{n} * operands_.element_size; }
  void done(unsigned n) { active_ &= ~(std::uint64_t{1} << n); }

  void commit(bool scatter) {
    if (!scatter) {
      std::fill(data_.begin() + std::ptrdiff_t{operands_.count} * operands_.element_size, data_.end(), std::byte{0});
      fpu_.vector.at(operands_.data) = data_;
    }
    if (!operands_.vex) {
      fpu_.mask.at(operands_.mask) = active_;
      return;
    }
    auto& mask = fpu_.vector.at(operands_.mask);
    mask.fill(std::byte{0});
    for (unsigned n = 0; n < operands_.count; ++n)
      if (is_active(n))
        std::memset(mask.data() + std::size_t{n} * operands_.element_size, 0xff, operands_.element_size);
  }

 private:
  FpuState& fpu_;
  const GatherOperands& operands_;
  std::array<std::byte, 64> data_;
  std::uint64_t active_;
};

template <bool scatter>
void run(Cpu& cpu, const Instruction& i) {
  const GatherOperands operands = gather_operands(i);
  require(cpu, operands.vex ? requirement::kAvx : requirement::kAvx512);
  Progress progress(cpu.fpu, operands);
  const AlignmentCheckOff off(cpu);
  try {
    for (unsigned n = 0; n < operands.count; ++n) {
      if (!progress.is_active(n)) continue;
      const std::uint64_t offset = element_offset(cpu, i, operands, n);
      if (operands.element_size == 4)
        move_element<std::uint32_t>(cpu, i, offset, progress.element(n), scatter);
      else
        move_element<std::uint64_t>(cpu, i, offset, progress.element(n), scatter);
      progress.done(n);
    }
  } catch (const Fault&) {
    progress.commit(scatter);
    throw;
  }
  progress.commit(scatter);
}

std::uint8_t register_number(const ZydisDecodedOperand& operand) {
  return static_cast<std::uint8_t>(ZydisRegisterGetId(operand.reg.value));
}

}  // namespace

bool is_gather(ZydisMnemonic mnemonic) {
  return std::ranges::find(kForms, mnemonic, &Form::mnemonic) != kForms.end();
}

/// They are packed into Instruction.imm.
GatherOperands gather_operands(const Instruction& instruction) {
  GatherOperands operands;
  std::memcpy(&operands, &instruction.imm, sizeof operands);
  return operands;
}

std::uint64_t active_elements(const FpuState& fpu, const GatherOperands& operands) {
  const unsigned size = operands.element_size;
  if (!operands.vex) return fpu.mask.at(operands.mask) & low_mask(operands.count);
  std::uint64_t active = 0;
  const std::byte* const mask = fpu.vector.at(operands.mask).data();
  for (unsigned n = 0; n < operands.count; ++n)
    active |= static_cast<std::uint64_t>(mask[n * size + size - 1] >> 7) << n;
  return active;
}

std::uint64_t element_offset(const Cpu& cpu, const Instruction& i, const GatherOperands& operands, unsigned n) {
  const std::byte* const place = cpu.fpu.vector.at(operands.index).data() + std::size_t{n} * operands.index_size;
  std::int64_t index = 0;
  if (operands.index_size == 4) {
    std::int32_t narrow = 0;
    std::memcpy(&narrow, place, sizeof narrow);
    index = narrow;
  } else {
    std::memcpy(&index, place, sizeof index);
  }
  return (cpu.effective_address(i) + (static_cast<std::uint64_t>(index) << i.scale)) & low_mask(i.address_size * 8U);
}

Handler select_gather(const Decoded& decoded, Instruction& instruction) {
  const auto form = std::ranges::find(kForms, decoded.zydis.mnemonic, &Form::mnemonic);
  if (form == kForms.end()) return nullptr;
  const bool vex = decoded.zydis.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
  // VEX gather: data, memory, mask. EVEX gather: data, mask, memory. Scatter: memory, mask, data.
  const unsigned memory = form->scatter ? 0 : vex ? 1 : 2;
  const auto largest = std::max(form->index_size, form->element_size);
  const GatherOperands operands{
      .data = register_number(decoded.operand(form->scatter ? 2 : 0)),
      .index = static_cast<std::uint8_t>(ZydisRegisterGetId(decoded.operand(memory).mem.index)),
      .mask = register_number(decoded.operand(vex ? 2 : 1)),
      .index_size = form->index_size,
      .element_size = form->element_size,
      .count = static_cast<std::uint8_t>(decoded.zydis.avx.vector_length / 8U / largest),
      .vex = vex,
      .scatter = form->scatter,
  };
  static_assert(sizeof operands <= sizeof instruction.imm);
  instruction.imm = 0;
  std::memcpy(&instruction.imm, &operands, sizeof operands);
  instruction.index = kZeroRegister;
  return form->scatter ? run<true> : run<false>;
}

}  // namespace doppel::accel::soft
