#include "block_generator.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "accel/soft/interpreter/gather.h"
#include "accel/soft/translator/plan.h"
#include "base/bits.h"
#include "comparison.h"

namespace doppel::oracle {

namespace {

constexpr std::size_t kJumpBack = 7;  // bytes that the native side puts behind a block

bool is_branch(const ZydisDecodedInstruction& zydis) {
  switch (zydis.meta.category) {
    case ZYDIS_CATEGORY_COND_BR:
    case ZYDIS_CATEGORY_UNCOND_BR:
    case ZYDIS_CATEGORY_CALL:
    case ZYDIS_CATEGORY_RET: return true;
    default: return false;
  }
}

bool is_general(ZydisISASet set) {
  switch (set) {
    case ZYDIS_ISA_SET_I86:
    case ZYDIS_ISA_SET_I186:
    case ZYDIS_ISA_SET_I286REAL:
    case ZYDIS_ISA_SET_I386:
    case ZYDIS_ISA_SET_I486REAL:
    case ZYDIS_ISA_SET_PENTIUMREAL:
    case ZYDIS_ISA_SET_LONGMODE:
    case ZYDIS_ISA_SET_CMOV:
    case ZYDIS_ISA_SET_BMI1:
    case ZYDIS_ISA_SET_BMI2:
    case ZYDIS_ISA_SET_MOVBE:
    case ZYDIS_ISA_SET_SSE:
    case ZYDIS_ISA_SET_SSE2: return true;
    default: return false;
  }
}

/// Two of SSE2's have the same names.
bool is_string(const Form& form) {
  return accel::soft::string_use(form.mnemonic).has_value() && form.isa_set != ZYDIS_ISA_SET_SSE2;
}

/// The general register that REG is part of, by number; none otherwise.
std::optional<unsigned> general_number(ZydisRegister reg) {
  const ZydisRegister whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);
  if (ZydisRegisterGetClass(whole) != ZYDIS_REGCLASS_GPR64) return std::nullopt;
  return static_cast<unsigned>(ZydisRegisterGetId(whole));
}

bool has_vector_index(const ZydisDecodedOperand& operand) {
  return operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.mem.index != ZYDIS_REGISTER_NONE &&
         !general_number(operand.mem.index);
}

/// With EVEX.X set, which means nothing for a general register, some AMD processors miss that a POP moved RSP.
bool may_read_old_stack_pointer(const Sample& sample) {
  return sample.zydis.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX &&
         std::ranges::any_of(sample.operands(), [](const ZydisDecodedOperand& operand) {
           return operand.type == ZYDIS_OPERAND_TYPE_REGISTER && general_number(operand.reg.value) == x86::kRsp;
         });
}

/// What blocks have no use for: traps, addresses that operands do not tell of, images that are compared with holes or
/// whose faults differ between processors.
bool is_unsuited(const Sample& sample) {
  switch (sample.zydis.mnemonic) {
    case ZYDIS_MNEMONIC_POPF:
    case ZYDIS_MNEMONIC_POPFQ:
    case ZYDIS_MNEMONIC_ENTER:
    case ZYDIS_MNEMONIC_FXRSTOR:
    case ZYDIS_MNEMONIC_FXRSTOR64:
    case ZYDIS_MNEMONIC_CLZERO: return true;
    default: break;
  }
  const Tolerance tolerance = tolerance_of(sample);
  if (may_read_old_stack_pointer(sample)) return true;
  if (tolerance.image_holes != 0 || tolerance.may_fault || tolerance.rflags != 0) return true;
  return std::ranges::any_of(sample.operands(), has_vector_index) && !accel::soft::is_gather(sample.zydis.mnemonic);
}

/// Those that an instruction names, also as indices.
std::uint32_t vector_registers(const Sample& sample) {
  std::uint32_t set = 0;
  for (const ZydisDecodedOperand& operand : sample.operands()) {
    if (has_vector_index(operand)) set |= 1U << static_cast<unsigned>(ZydisRegisterGetId(operand.mem.index));
    if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
    switch (ZydisRegisterGetClass(operand.reg.value)) {
      case ZYDIS_REGCLASS_XMM:
      case ZYDIS_REGCLASS_YMM:
      case ZYDIS_REGCLASS_ZMM: set |= 1U << static_cast<unsigned>(ZydisRegisterGetId(operand.reg.value)); break;
      default: break;
    }
  }
  return set;
}

/// Those that an instruction names, also in addresses.
std::uint16_t general_registers(const Sample& sample) {
  std::uint16_t set = 0;
  const auto add = [&](ZydisRegister reg) {
    if (const auto number = general_number(reg)) set |= static_cast<std::uint16_t>(1U << *number);
  };
  for (const ZydisDecodedOperand& operand : sample.operands()) {
    if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER) add(operand.reg.value);
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
    add(operand.mem.base);
    add(operand.mem.index);
  }
  return set;
}

std::uint16_t address_registers(const Sample& sample) {
  std::uint16_t set = 0;
  for (const ZydisDecodedOperand& operand : sample.operands()) {
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
    for (const ZydisRegister reg : {operand.mem.base, operand.mem.index})
      if (const auto number = general_number(reg)) set |= static_cast<std::uint16_t>(1U << *number);
  }
  return set;
}

/// Undefined flags are others where what comes before is done another way. Shifts by nothing and strings of nothing
/// change none.
std::uint64_t undefined_behind(const ZydisDecodedInstruction& zydis, std::uint64_t undefined) {
  if (zydis.cpu_flags == nullptr) return undefined;
  const ZydisAccessedFlags& flags = *zydis.cpu_flags;
  const bool may_do_nothing = zydis.meta.category == ZYDIS_CATEGORY_SHIFT ||
                              zydis.meta.category == ZYDIS_CATEGORY_ROTATE ||
                              zydis.meta.category == ZYDIS_CATEGORY_STRINGOP;
  if (!may_do_nothing) undefined &= ~std::uint64_t{flags.modified | flags.set_0 | flags.set_1};
  return undefined | flags.undefined;
}

bool reads(const ZydisDecodedInstruction& zydis, std::uint64_t flags) {
  return zydis.cpu_flags != nullptr && (zydis.cpu_flags->tested & flags) != 0;
}

}  // namespace

/// One block in the making, and the state that it leads to so far.
class BlockGenerator::Builder {
 public:
  Builder(const BlockGenerator& owner, Random& random)
      : owner_(owner), random_(random), states_(random, owner.fs_base_, owner.gs_base_) {
    for (unsigned& reg : usual_bases_) reg = static_cast<unsigned>(random.below(16));
    const std::uint64_t offset = random.one_in(4) ? layout::kPage - random.below(150) : 0x180 + random.below(0xe00);
    block_.address = layout::kCode + offset;
  }

  /// False: bad luck.
  bool begin();
  void add_steps(unsigned count);
  CodeBlock take() { return std::move(block_); }

 private:
  [[nodiscard]] std::span<std::byte, layout::kDataSize> data() const { return owner_.guest_.data(); }
  [[nodiscard]] bool is_wanted(const Sample& sample, bool last);
  bool add(Sample sample);
  void append(const Sample& sample);
  bool place_accesses(Sample& sample);
  bool lead_to_safety(Sample& sample);
  void make_alike(const Sample& sample);
  void set_register(unsigned number, std::uint64_t value);
  [[nodiscard]] bool set_vectors(const ProcessorState& aimed);
  void add_bytes(std::span<const std::uint8_t> bytes);
  void add_patch();

  const BlockGenerator& owner_;
  Random& random_;
  StateGenerator states_;
  CodeBlock block_;
  ProcessorState live_;
  std::uint16_t touched_ = 0;  // registers whose value at the start matters already
  std::uint32_t touched_vectors_ = 0;
  std::array<unsigned, 3> usual_bases_{};
};

bool BlockGenerator::Builder::begin() {
  owner_.guest_.decode(block_.address, std::array<std::uint8_t, 1>{0x90});  // makes room for what comes
  for (std::size_t i = 0; i < layout::kDataSize; i += 8) {
    const std::uint64_t value = random_.element();
    std::memcpy(data().data() + i, &value, sizeof value);
  }
  for (unsigned attempt = 0; attempt < 64; ++attempt) {
    const auto sample = owner_.draw_sample(random_, block_.address);
    if (!sample || !is_wanted(*sample, false)) continue;
    states_.begin(*sample, data());
    if (!states_.next(live_, data())) continue;
    block_.start = live_;
    block_.memory.assign(data().begin(), data().end());
    return true;
  }
  return false;
}

void BlockGenerator::Builder::add_steps(unsigned count) {
  for (unsigned attempt = 0; attempt < 40 * count && block_.steps.size() < count; ++attempt) {
    if (random_.one_in(100)) add_patch();
    const auto sample = owner_.draw_sample(random_, block_.end());
    const bool last = block_.steps.size() + 1 >= count;
    if (!sample || !is_wanted(*sample, last) || !add(*sample)) continue;
    if (is_branch(sample->zydis)) return;
  }
}

bool BlockGenerator::Builder::is_wanted(const Sample& sample, bool last) {
  if (!owner_.guest_.has(sample.zydis.meta.isa_set) || is_unsuited(sample)) return false;
  if (reads(sample.zydis, block_.undefined_flags)) return false;
  if (is_branch(sample.zydis) && !last) return false;
  const bool usual = std::ranges::any_of(sample.operands(), [&](const ZydisDecodedOperand& operand) {
    return operand.type == ZYDIS_OPERAND_TYPE_MEMORY &&
           std::ranges::find(usual_bases_, general_number(operand.mem.base)) != usual_bases_.end();
  });
  return usual || address_registers(sample) == 0 || random_.one_in(4);
}

/// False: it does not fit.
bool BlockGenerator::Builder::add(Sample sample) {
  if (!place_accesses(sample)) return false;
  if (is_branch(sample.zydis) && !lead_to_safety(sample)) return false;
  if ((sample.zydis.attributes & ZYDIS_ATTRIB_HAS_REPE) != 0 && random_.one_in(2)) make_alike(sample);
  const ProcessorState before = live_;
  const Memory memory(data().begin(), data().end());
  owner_.guest_.select(owner_.guest_.decode_also(sample.address, sample.bytes()));
  const Ending ending = owner_.guest_.run(live_);
  if (ending.vector != Ending::kNoFault) {
    live_ = before;
    std::ranges::copy(memory, data().begin());
    // What comes behind is executed in other states.
    if (!random_.one_in(6)) return false;
  } else if (is_branch(sample.zydis) && live_.rip != sample.address + sample.zydis.length &&
             !is_safe_target(block_, live_.rip)) {
    live_ = before;
    std::ranges::copy(memory, data().begin());
    return false;
  }
  append(sample);
  return true;
}

void BlockGenerator::Builder::append(const Sample& sample) {
  block_.steps.push_back({.sample = sample, .decoded = owner_.guest_.decode_also(sample.address, sample.bytes())});
  block_.bytes.insert(block_.bytes.end(), sample.bytes().begin(), sample.bytes().end());
  block_.undefined_flags = undefined_behind(sample.zydis, block_.undefined_flags);
  block_.cr2_tolerance |= tolerance_of(sample).cr2;
  block_.address_registers |= address_registers(sample);
  touched_ |= general_registers(sample);
  touched_vectors_ |= vector_registers(sample);
}

/// May put instructions in front of SAMPLE, which moves on then.
bool BlockGenerator::Builder::place_accesses(Sample& sample) {
  states_.follow(sample);
  if (states_.stays(live_) && !(address_registers(sample) != 0 && random_.one_in(8))) return true;
  ProcessorState aimed = live_;
  if (!states_.aim(aimed) || !set_vectors(aimed)) return false;
  for (unsigned number = 0; number < aimed.gpr.size(); ++number)
    if (aimed.gpr.at(number) != live_.gpr.at(number)) set_register(number, aimed.gpr.at(number));
  if (sample.address != block_.end()) {
    const auto moved = owner_.forms_.sample_at(block_.end(), sample.bytes());
    if (!moved) return false;
    sample = *moved;
  }
  return states_.stays(live_);
}

/// What CMPS compares: its two strings, but for an element perhaps, as far as nobody has written to the second. What
/// SCAS reads becomes the accumulator's likewise.
void BlockGenerator::Builder::make_alike(const Sample& sample) {
  const std::size_t size = sample.zydis.operand_width / 8U;
  const bool down = (live_.rflags & x86::rflags::kDf) != 0;
  const bool scans = sample.operands()[0].type != ZYDIS_OPERAND_TYPE_MEMORY;
  const std::uint64_t mask = low_mask(sample.zydis.address_width);
  const std::uint64_t count = live_.gpr[x86::kRcx] & mask;
  for (std::uint64_t n = 0; n < count; ++n) {
    const std::uint64_t distance = down ? 0 - n * size : n * size;
    const std::uint64_t from = (live_.gpr[x86::kRsi] & mask) + distance - layout::kData;
    const std::uint64_t to = (live_.gpr[x86::kRdi] & mask) + distance - layout::kData;
    if (to > layout::kDataSize - size || (!scans && from > layout::kDataSize - size)) return;
    if (std::memcmp(data().data() + to, block_.memory.data() + to, size) != 0) return;
    std::uint64_t element = live_.gpr[x86::kRax];
    if (!scans) std::memcpy(&element, data().data() + from, size);
    std::memcpy(data().data() + to, &element, size);
    std::memcpy(block_.memory.data() + to, &element, size);
    if (random_.one_in(64)) return;
  }
}

/// Of an indirect branch, whose target may be anything.
bool BlockGenerator::Builder::lead_to_safety(Sample& sample) {
  if (sample.zydis.raw.imm[0].is_relative != 0) return true;
  const std::uint64_t target =
      random_.one_in(2) ? layout::kCode + 8 + random_.below(64) : layout::kArena + random_.below(0x1000);
  for (const ZydisDecodedOperand& operand : sample.operands()) {
    if ((operand.actions & ZYDIS_OPERAND_ACTION_MASK_READ) == 0) continue;
    if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER && operand.visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT) {
      const auto number = general_number(operand.reg.value);
      if (!number || *number == x86::kRsp) return false;
      set_register(*number, target);
      const auto moved = owner_.forms_.sample_at(block_.end(), sample.bytes());
      if (!moved) return false;
      sample = *moved;
      return true;
    }
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
    states_.follow(sample);
    const std::uint64_t offset = states_.address_of_memory(live_) - layout::kData;
    if (offset > layout::kDataSize - sizeof target) return false;
    // Only what nobody wrote is still what it is at the start.
    if (std::memcmp(data().data() + offset, block_.memory.data() + offset, sizeof target) != 0) return false;
    std::memcpy(data().data() + offset, &target, sizeof target);
    std::memcpy(block_.memory.data() + offset, &target, sizeof target);
    return true;
  }
  return false;
}

/// Indices can be had at the start only.
bool BlockGenerator::Builder::set_vectors(const ProcessorState& aimed) {
  for (unsigned number = 0; number < aimed.fpu.vector.size(); ++number) {
    if (aimed.fpu.vector.at(number) == live_.fpu.vector.at(number)) continue;
    if ((touched_vectors_ >> number & 1U) != 0) return false;
    block_.start.fpu.vector.at(number) = live_.fpu.vector.at(number) = aimed.fpu.vector.at(number);
  }
  return true;
}

void BlockGenerator::Builder::set_register(unsigned number, std::uint64_t value) {
  if ((touched_ >> number & 1U) == 0) {
    block_.start.gpr.at(number) = live_.gpr.at(number) = value;
    return;
  }
  std::array<std::uint8_t, 10> bytes{static_cast<std::uint8_t>(0x48U | number >> 3U),
                                     static_cast<std::uint8_t>(0xb8U | (number & 7U))};
  std::memcpy(bytes.data() + 2, &value, sizeof value);
  add_bytes(bytes);
  live_.gpr.at(number) = value;
}

void BlockGenerator::Builder::add_bytes(std::span<const std::uint8_t> bytes) {
  if (const auto sample = owner_.forms_.sample_at(block_.end(), bytes)) append(*sample);
}

/// MOV to the immediate of the instruction that comes next but for a few NOPs: MOV or an addition to a register.
void BlockGenerator::Builder::add_patch() {
  const bool whole = random_.one_in(2);
  const auto gap = static_cast<unsigned>(random_.below(3));
  const auto value = static_cast<std::uint32_t>(random_.integer());
  const std::size_t patch_length = whole ? 10 : 7;
  const std::int32_t distance = static_cast<std::int32_t>(gap + 2 + (whole ? 0 : random_.below(4)));
  std::array<std::uint8_t, 10> patch{static_cast<std::uint8_t>(whole ? 0xc7 : 0xc6), 0x05};
  std::memcpy(patch.data() + 2, &distance, sizeof distance);
  std::memcpy(patch.data() + 6, &value, whole ? sizeof value : 1);
  add_bytes(std::span(patch).first(patch_length));
  BlockStep& step = block_.steps.back();
  step.patch_size = whole ? 4 : 1;
  step.patch_offset = block_.bytes.size() + static_cast<std::size_t>(distance);
  for (unsigned i = 0; i < gap; ++i) add_bytes(std::array<std::uint8_t, 1>{0x90});

  constexpr std::array<std::uint8_t, 3> kRegisters = {x86::kRax, x86::kRdx, x86::kRsi};
  std::array<std::uint8_t, 6> victim{0x81, static_cast<std::uint8_t>(0xc0U | random_.choose(kRegisters))};
  const auto number = static_cast<std::uint32_t>(random_.integer());
  std::memcpy(victim.data() + 2, &number, sizeof number);
  block_.patched.push_back(block_.bytes.size() + 2);
  add_bytes(victim);
  std::memcpy(victim.data() + 2 + (distance - static_cast<std::int32_t>(gap) - 2), &value, whole ? sizeof value : 1);
  owner_.guest_.select(owner_.guest_.decode_also(block_.end() - victim.size(), victim));
  (void)owner_.guest_.run(live_);
}

BlockGenerator::BlockGenerator(const InstructionForms& forms, GuestRunner& guest, std::uint64_t fs_base,
                               std::uint64_t gs_base)
    : forms_(forms), guest_(guest), fs_base_(fs_base), gs_base_(gs_base) {
  for (const Form& form : forms.forms()) {
    if (!guest.has(form.isa_set)) continue;
    all_.push_back(&form);
    if (is_general(form.isa_set)) general_.push_back(&form);
    if (is_string(form)) strings_.push_back(&form);
    if (accel::soft::is_gather(form.mnemonic)) gathers_.push_back(&form);
  }
}

std::optional<Sample> BlockGenerator::draw_sample(Random& random, std::uint64_t address) const {
  const auto& forms = random.one_in(16) ? strings_ : random.one_in(48) ? gathers_ : random.one_in(3) ? all_ : general_;
  return forms_.draw_at(address, *forms[random.below(forms.size())], random, gs_base_);
}

CodeBlock BlockGenerator::draw(Random& random, unsigned steps) {
  while (true) {
    Builder builder(*this, random);
    if (!builder.begin()) continue;
    builder.add_steps(steps);
    CodeBlock block = builder.take();
    if (block.steps.empty()) continue;
    block.start.rip = block.address;
    return block;
  }
}

void BlockGenerator::vary(const CodeBlock& block, Random& random, ProcessorState& state,
                          std::span<std::byte> memory) const {
  state = block.start;
  std::ranges::copy(block.memory, memory.begin());
  for (unsigned number = 0; number < state.gpr.size(); ++number) {
    std::uint64_t& value = state.gpr.at(number);
    const bool addresses = (block.address_registers >> number & 1U) != 0;
    if (!addresses && random.one_in(2)) value = random.integer();
    if (addresses && random.one_in(6)) value += static_cast<std::uint64_t>(random.between(-64, 64));
    // Where the data ends, or one of its pages.
    const std::uint64_t page = layout::kData + layout::kPage * (1 + random.below(2));
    if (addresses && value - layout::kData < layout::kDataSize && random.one_in(12)) value = page - random.below(40);
  }
  state.rflags ^= random.next() & x86::rflags::kArithmetic;
  for (unsigned i = 0; i < 4; ++i) {
    const std::uint64_t value = random.element();
    std::memcpy(state.fpu.vector.at(random.below(32)).data() + 8 * random.below(8), &value, sizeof value);
  }
  for (unsigned i = 0; i < 16; ++i) {
    const std::uint64_t value = random.element();
    std::memcpy(memory.data() + 8 * random.below(layout::kDataSize / 8), &value, sizeof value);
  }
}

bool BlockGenerator::is_safe_target(const CodeBlock& block, std::uint64_t target) {
  const auto within = [target](std::uint64_t first, std::uint64_t end) { return target >= first && target < end; };
  // Elsewhere in the code area are INT3s.
  if (within(layout::kCode, layout::kCode + layout::kCodeSize)) return !within(block.address, block.end() + kJumpBack);
  return within(layout::kCode + layout::kCodeSize, layout::kContext) ||
         within(layout::kContext + layout::kContextSize, layout::kArenaEnd);
}

namespace {

/// Do processors differ in the fault that SAMPLE ended with, or in what there is behind it?
bool may_fault_otherwise(const Sample& sample, const Ending& ending) {
  if (ending.vector == Ending::kNoFault) return false;
  const bool is_gp = ending.vector == x86::kGeneralProtection;
  switch (sample.zydis.mnemonic) {
    case ZYDIS_MNEMONIC_LDMXCSR:
    case ZYDIS_MNEMONIC_VLDMXCSR: return is_gp;  // AMD's have bit 17, MM
    default: break;
  }
  if (tolerance_of(sample).any_fault) return true;
  // Whether the target or the stack is found bad first.
  if (sample.zydis.meta.category == ZYDIS_CATEGORY_CALL) return is_gp;
  // How far a gather has come by then, and what is in the registers above it.
  return accel::soft::is_gather(sample.zydis.mnemonic);
}

}  // namespace

BlockGenerator::Rehearsal BlockGenerator::rehearse(CodeBlock& block, const ProcessorState& state,
                                                   std::span<std::uint8_t> code) const {
  Random unused(1);
  StateGenerator states(unused, fs_base_, gs_base_);
  Rehearsal result{.safe = false, .state = state, .ending = {}};
  std::size_t offset = 0;
  for (BlockStep& step : block.steps) {
    const auto bytes = code.subspan(offset, step.sample.zydis.length);
    offset += bytes.size();
    if (!std::ranges::equal(bytes, step.sample.bytes())) {
      const auto changed = forms_.sample_at(step.sample.address, bytes);
      if (!changed || changed->zydis.length != bytes.size()) return result;
      step.sample = *changed;
      step.decoded = guest_.decode_also(changed->address, changed->bytes());
    }
    if (step.patch_size != 0) {
      std::ranges::copy(bytes.last(step.patch_size), code.begin() + static_cast<std::ptrdiff_t>(step.patch_offset));
      result.state.rip = step.sample.address + bytes.size();
      continue;
    }
    states.follow(step.sample);
    if (!states.stays(result.state)) return result;
    guest_.select(step.decoded);
    result.ending = guest_.run(result.state);
    if (may_fault_otherwise(step.sample, result.ending)) return result;
    if (result.ending.vector != Ending::kNoFault) break;
    if (result.state.rip != step.sample.address + bytes.size()) {
      result.safe = is_safe_target(block, result.state.rip);
      return result;
    }
  }
  result.safe = true;
  return result;
}

}  // namespace doppel::oracle
