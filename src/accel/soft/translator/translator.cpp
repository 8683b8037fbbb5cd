#include "accel/soft/translator/translator.h"

#include <cpuid.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "accel/soft/interpreter/alu.h"
#include "accel/soft/interpreter/availability.h"
#include "accel/soft/interpreter/paging.h"
#include "accel/soft/interpreter/stub_execution.h"
#include "accel/soft/translator/owned_translations.h"
#include "base/bits.h"
#include "x86/page_table.h"

namespace doppel::accel::soft {

/// What x87 remembers of its last instruction (SDM 1 8.1.8).
struct Translator::X87Pointers {
  std::uint16_t fop = 0;
  std::uint64_t fip = 0;
  std::uint64_t fdp = 0;

  static X87Pointers of(const FpuState& fpu) {
    return {.fop = fpu.legacy_field<std::uint16_t>(FpuState::kFop),
            .fip = fpu.legacy_field<std::uint64_t>(FpuState::kFip),
            .fdp = fpu.legacy_field<std::uint64_t>(FpuState::kFdp)};
  }
  void put(FpuState& fpu) const {
    fpu.set_legacy_field(FpuState::kFop, fop);
    fpu.set_legacy_field(FpuState::kFip, fip);
    fpu.set_legacy_field(FpuState::kFdp, fdp);
  }
};

namespace {

bool host_has_bmi2() {
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  constexpr unsigned kBmi2 = 8;
  return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (ebx & bit(kBmi2)) != 0;
}

constexpr std::uint64_t kFourGiB = std::uint64_t{1} << 32U;

/// By VectorLevel.
constexpr std::array kRequirements = {requirement::kNone, requirement::kSse, requirement::kAvx, requirement::kAvx512};
static_assert(kRequirements.size() == kVectorLevels);

bool is_available(const Cpu& cpu, const ExtendedRegisters& registers) {
  if (registers.x87 && !is_available(cpu, requirement::kX87)) return false;
  return is_available(cpu, kRequirements.at(static_cast<std::size_t>(registers.vectors)));
}

/// Are all offsets of an address' 32 bits there, for reading and writing?
bool is_whole(const SegmentView& view) {
  return view.read_end == kFourGiB && view.write_end == kFourGiB;
}

bool is_flat(const Cpu& cpu) {
  const x86::Segment& code = cpu.segment[x86::kCs];
  const auto flat = [&](x86::SegmentName name) { return cpu.view[name].base == 0 && is_whole(cpu.view[name]); };
  return code.base == 0 && code.limit == ~std::uint32_t{0} && cpu.stack_is_32 && flat(x86::kDs) && flat(x86::kEs) &&
         flat(x86::kSs);
}

/// Null: code of a kind that is not translated.
std::optional<CodeKind> kind_of_code(const Cpu& cpu) {
  if (cpu.alignment_mask != 0) return std::nullopt;
  if (cpu.code_mode == CodeMode::kLong64) return CodeKind{.privileged = cpu.cpl == 0};
  if (cpu.code_mode != CodeMode::kProtected32 || !is_flat(cpu)) return std::nullopt;
  return CodeKind{.is_long = false,
                  .whole_fs = is_whole(cpu.view[x86::kFs]),
                  .whole_gs = is_whole(cpu.view[x86::kGs]),
                  .privileged = cpu.cpl == 0};
}

}  // namespace

Result<std::unique_ptr<Translator>> Translator::create(Cpu& cpu, CodeCache& cache, const TranslationOptions& options) {
  if (!host_has_bmi2()) return fail(ErrorKind::kUnsupported, "the host's processor has no BMI2");
  if (!is_low(cpu)) return fail(ErrorKind::kUnsupported, "there is no room below 2 GiB");
  DOPPEL_ASSIGN(CodeMemory memory, CodeMemory::create(options.code_size));
  std::unique_ptr<Translator> translator(new Translator(cpu, cache, options, std::move(memory)));
  if (!is_low(*translator->state_)) return fail(ErrorKind::kUnsupported, "there is no room below 2 GiB");
  return translator;
}

Translator::Translator(Cpu& cpu, CodeCache& cache, const TranslationOptions& options, CodeMemory memory)
    : cpu_(cpu),
      cache_(cache),
      options_(options),
      memory_(std::move(memory)),
      state_(make_low<GateState>()),
      regions_(kGateSize, memory_.capacity()) {
  install_host_fault_handlers();
  state_->tlb_index_mask = std::uint64_t{Tlb::kEntries - 1} << 12U;
  gate_size_ = align_up(generate_gate(memory_.writable(), cpu_, *state_, gate_), std::size_t{64});
  emitter_ =
      std::make_unique<Emitter>(memory_.writable(), memory_.capacity(), cpu_, *state_, gate_, options_.count_lookups);
  generated_.begin = reinterpret_cast<std::uintptr_t>(memory_.executable());
  generated_.end = generated_.begin + memory_.capacity();
  nowhere_ =
      address_of(static_cast<std::uint32_t>(reinterpret_cast<const std::byte*>(gate_.nowhere) - memory_.writable()));
  generated_.resume = address_of(static_cast<std::uint32_t>(
      reinterpret_cast<const std::byte*>(gate_.exit(ExitKind::kFault, FlagsHome::kRegister)) - memory_.writable()));
  if (options_.verify != 0)
    verifier_ =
        std::make_unique<Verifier>(cpu_, cache_, memory_, gate_, options_.verify, [this](std::uint32_t position) {
          pass(position);
          return where_left();
        });
}

Translator::~Translator() = default;

Translator::Statistics Translator::statistics() const {
  Statistics statistics = statistics_;
  statistics.counts_lookups = options_.count_lookups;
  statistics.counts = state_->counts;
  return statistics;
}

std::uint64_t Translator::address_of(std::uint32_t position) const {
  return reinterpret_cast<std::uint64_t>(memory_.executable()) + position;
}

// --- Running ---

void Translator::begin() {
  refuse_other_signals();
  link_from_ = nullptr;
  // The kernel uses vector registers now and then, a process most of the time or never.
  registers_[static_cast<unsigned>(MmuIndex::kSupervisor)] = {};
  registers_[static_cast<unsigned>(MmuIndex::kSupervisorAc)] = {};
  if (std::exchange(last_cr3_, cpu_.cr3) != cpu_.cr3) registers_[static_cast<unsigned>(MmuIndex::kUser)] = {};
  const ExtendedRegisters& registers = registers_[static_cast<unsigned>(cpu_.mmu_index)];
  state_->registers = is_available(cpu_, registers) ? registers : ExtendedRegisters{};
  kind_ = kind_of_code(cpu_);
  if (!kind_ || jump_cache_kind_[static_cast<unsigned>(cpu_.mmu_index)] == *kind_) return;
  clear_jump_caches(cpu_.mmu_index);
  jump_cache_kind_[static_cast<unsigned>(cpu_.mmu_index)] = *kind_;
}

/// Has REGISTERS, too, in the host's from now on. False: the operating system does not let them be used.
bool Translator::provide(const ExtendedRegisters& registers) {
  ExtendedRegisters& loaded = state_->registers;
  if (loaded.include(registers)) return true;
  if (!is_available(cpu_, registers)) return false;
  loaded.add(registers);
  registers_[static_cast<unsigned>(cpu_.mmu_index)] = loaded;
  return true;
}

bool Translator::run(const Block& block) {
  if (!kind_ || (!kind_->is_long && cpu_.rip + block.bytes > kFourGiB)) return false;
  if (seen_code_changes_ != cpu_.machine.code_changes.count()) drop_changed_code();
  Translation* const translation = find_or_make(block);
  Translation* const from = std::exchange(link_from_, nullptr);
  if (translation == nullptr) return false;
  const std::uint64_t linear = translation->key.linear;
  const bool is_new = !translation->reachable;
  if (is_new) make_reachable(*translation);
  note_page(linear, translation->page_number);
  if (translation->crosses()) note_page(linear + x86::kPageSize, translation->second_page_number);
  if (may_chain_to(linear)) {
    enter_in_jump_cache(*translation);
    if (from != nullptr && from->links()[link_number_].target == linear)
      link(*from, from->links()[link_number_], *translation);
  }
  if (is_new) link_to_known(*translation);
  ++statistics_.entries;
  enter(translation->entry());
  return true;
}

/// NUMBER's page is the one that LINEAR leads to now.
void Translator::note_page(std::uint64_t linear, std::uint32_t number) {
  if (verifier_ != nullptr) return;
  const TlbInfo& info = cpu_.tlb.info(cpu_.mmu_index, linear);
  const bool known = info.linear == (linear & ~(x86::kPageSize - 1));
  cpu_.tlb.code().insert(cpu_.mmu_index, linear, number, known && info.global);
}

/// From POSITION until there is something that only the run loop can do.
void Translator::enter(std::uint32_t position) {
  const GateState& state = *state_;
  while (true) {
    if (verifier_ == nullptr)
      pass(position);
    else if (!pass_verified(position))
      return;
    switch (state.exit_kind) {
      case ExitKind::kLink: {
        ++statistics_.link_exits;
        const auto piece = static_cast<PieceId>(state.exit_id);
        link_from_ = &regions_.of(Translation::whole(piece));
        link_number_ = Translation::number(piece);
        cpu_.rip = link_from_->links()[link_number_].target;
        const Translation* const to = follow_link();
        if (to == nullptr) return;
        position = to->entry();
        continue;
      }
      case ExitKind::kGuard:
        ++statistics_.guard_exits;
        cpu_.rip = state.exit_id == 0 ? 0 : regions_.of(static_cast<TranslationId>(state.exit_id)).key.linear;
        return;
      case ExitKind::kFault: return follow_fault();
      case ExitKind::kInterpret: break;
    }
    const auto id = static_cast<std::uint32_t>(state.exit_id);
    Translation& translation = regions_.of(id >> Translation::kInstructionBits);
    const std::size_t number = id & low_mask(Translation::kInstructionBits);
    const std::uint64_t rip = translation.rip(number);
    if (cpu_.attention.requested()) {
      cpu_.rip = rip;
      ++statistics_.poll_exits;
      return sample(translation);
    }
    const Translation::Instruction place = translation.instructions()[number];
    count_interpreted(translation, number);
    const Instruction instruction = translation.instruction(cache_, number);
    const bool has_next = number + 1U < translation.instruction_count;
    const bool goes_on = has_next || translation.falls_through;
    const std::uint64_t next = has_next ? translation.rip(number + 1) : rip + instruction.length;
    const std::uint32_t changes = cpu_.tlb.changes();
    if (place.site != ExitSite::kInterpret) judge_sites(translation);
    // In lockstep the TLB knows the page already, if it is to be known.
    if (place.leads && verifier_ == nullptr) {
      if (look_up_group(instruction, place, translation.group_led_by(number), rip)) {
        if (cpu_.attention.requested() || cpu_.tlb.changes() != changes) return;
        position = translation.begin_of(number);
        continue;
      }
      note_failed_lookup(translation);
    }
    if (!access_device(instruction, place, rip)) interpret(instruction, rip);
    // Handlers look nothing up in the code cache, so the translation is still there. But what it had looked up in the
    // TLB may not be.
    if (cpu_.leave_block || !goes_on || cpu_.rip != next || cpu_.attention.requested() || !place.may_resume_behind ||
        cpu_.tlb.changes() != changes)
      return;
    position = translation.end_of(number);
  }
}

void Translator::count_interpreted(const Translation& translation, std::size_t number) {
  const ExitSite site = translation.instructions()[number].site;
  const bool is_lookup = site != ExitSite::kInterpret;
  statistics_.count_interpreted(site, is_lookup ? std::uint16_t{} : translation.mnemonic_of(number));
}

/// Where a jump leads that was taken for the first time, unless that is the run loop's to find out.
Translation* Translator::follow_link() {
  Translation::Link& link = link_from_->links()[link_number_];
  if (verifier_ != nullptr || !may_chain_to(link.target)) return nullptr;
  Translation* const to = find_reachable(link_from_->key, link.target);
  if (to == nullptr || !is_mapped(*to)) return nullptr;
  this->link(*std::exchange(link_from_, nullptr), link, *to);
  return to;
}

/// Accesses that lie on two pages for long are better off with lookups of their own.
void Translator::note_failed_lookup(Translation& translation) {
  constexpr unsigned kMost = 32;
  if (++translation.failed_lookups < kMost) return;
  Owned& owned = translations_of(translation.block());
  owned.shares_lookups = false;
  ++owned.revision;
  detach(translation);
}

/// Has the TLB know the page that a group's first access fails for. False: the access faults, it is not the kind of
/// memory that can be accessed inline, or the group crosses pages.
bool Translator::look_up_group(const Instruction& instruction, const Translation::Instruction& place,
                               const GroupMember& member, std::uint64_t rip) {
  cpu_.instruction_start = cpu_.rip = rip;
  const std::optional<StackAccess> stack = stack_access(place.action, *kind_);
  const bool writes = stack ? stack->writes : place.writes_memory;
  const std::uint64_t address = stack ? cpu_.gpr[stack->reg] + static_cast<std::uint64_t>(std::int64_t{stack->offset})
                                      : cpu_.view[instruction.segment].base + cpu_.effective_address(instruction);
  const std::uint64_t linear = address & kind_->address_mask();
  if (kind_->is_long && !x86::is_canonical(linear, cpu_.linear_bits())) return false;
  const std::uint64_t cr2 = cpu_.cr2;
  try {
    (void)translate(cpu_, linear, writes ? AccessKind::kWrite : AccessKind::kRead);
  } catch (const Fault&) {
    // The instruction's own checks, such as alignment's, may come first.
    cpu_.cr2 = cr2;
    return false;
  }
  const std::uint64_t low = linear + static_cast<std::uint64_t>(std::int64_t{member.low});
  const TlbEntry& entry = cpu_.tlb.entry(cpu_.mmu_index, low);
  const std::uint64_t tag = member.group_writes ? entry.write_tag : entry.read_tag;
  return low - tag <= x86::kPageSize - member.span;
}

/// Into translated code and out of it.
void Translator::pass(std::uint32_t position) {
  GateState& state = *state_;
  regions_.note_use(position);
  state.entry = address_of(position);
  state.flags = alu::ax_of(cpu_);
  pass_gate();
  const bool saved = state.exit_kind == ExitKind::kFault && place_of(host_fault_slot.fault_at).has_saved_flags();
  alu::set_flags(cpu_, saved ? state.flags_before_fault : state.flags);
}

/// The same in lockstep. False: there is a difference, and the guest stops.
bool Translator::pass_verified(std::uint32_t position) {
  Translation& translation = regions_.at(position);
  const bool is_through = verifier_->is_through(translation);
  if (verifier_->pass(translation, position)) {
    if (is_through != verifier_->is_through(translation)) {
      // To be linked anew.
      detach(translation);
      make_reachable(translation);
    }
    return true;
  }
  cpu_.stop = StopReason::kDifference;
  cpu_.leave_block = true;
  return false;
}

/// Behind pass().
CodeExit Translator::where_left() const {
  const GateState& state = *state_;
  switch (state.exit_kind) {
    case ExitKind::kInterpret: {
      const Place place = place_of_id(static_cast<std::uint32_t>(state.exit_id));
      return {.in = place.translation, .number = place.number, .rip = place.rip()};
    }
    case ExitKind::kLink: {
      const auto piece = static_cast<PieceId>(state.exit_id);
      const Translation& in = regions_.of(Translation::whole(piece));
      const Translation::Link& link = in.links()[Translation::number(piece)];
      if (link.is_return) return {.in = nullptr, .rip = link.target, .branched = true};
      return {.in = &in, .number = link.number + std::size_t{1}, .rip = link.target, .branched = true};
    }
    case ExitKind::kGuard: {
      if (state.exit_id == 0) return {.in = nullptr, .rip = 0, .branched = true};
      const Translation& to = regions_.of(static_cast<TranslationId>(state.exit_id));
      return {.in = nullptr, .to = &to, .rip = to.key.linear, .branched = true};
    }
    case ExitKind::kFault: return where_faulted();
  }
  return {};
}

CodeExit Translator::where_faulted() const {
  const Place place = place_of(host_fault_slot.fault_at);
  return {.in = place.translation, .number = place.number, .rip = place.rip(), .faulted = true};
}

void Translator::pass_gate() {
  const bool x87 = state_->registers.x87;
  const X87Pointers pointers = x87 ? X87Pointers::of(cpu_.fpu) : X87Pointers{};
  state_->x87 = {};
  host_fault_slot.generated = &generated_;
  call_gate();
  host_fault_slot.generated = nullptr;
  if (x87) find_x87_pointers(pointers);
}

// A sanitizer that checks functions' types would look for the gate's in front of it.
#if defined(__clang__)
[[clang::no_sanitize("function")]]
#endif
void Translator::call_gate() const {
  reinterpret_cast<void (*)()>(generated_.begin)();
}

/// The guest's pointers were BEFORE when translated code was entered; the host's, which FXSAVE has stored since, are of
/// no use.
void Translator::find_x87_pointers(const X87Pointers& before) {
  const X87Notes& notes = state_->x87;
  FpuState& fpu = cpu_.fpu;
  X87Pointers now = before;
  if (notes.last == X87Notes::kCleared) {
    now.fop = 0;
    now.fip = 0;
    fpu.fcs = 0;
  } else if (notes.last != X87Notes::kNone) {
    const Place last = place_of_id(notes.last);
    now.fop = last.translation->instruction(cache_, last.number).stub->fop;
    now.fip = last.rip();
    fpu.fcs = cpu_.segment[x86::kCs].selector;
  }
  if (notes.last_with_operand == X87Notes::kCleared) {
    now.fdp = 0;
    fpu.fds = 0;
  } else if (notes.last_with_operand != X87Notes::kNone) {
    const Place last = place_of_id(notes.last_with_operand);
    now.fdp = notes.operand;
    fpu.fds = cpu_.segment[last.translation->instruction(cache_, last.number).segment].selector;
  }
  now.put(fpu);
}

void Translator::interpret(const Instruction& instruction, std::uint64_t rip) {
  cpu_.instruction_start = rip;
  cpu_.rip = rip + instruction.length;
  instruction.handler(cpu_, instruction);
}

/// A poll found something, or an instruction raised an exception, which it will when interpreted.
void Translator::follow_fault() {
  const CodeExit exit = where_faulted();
  cpu_.rip = exit.rip;
  const bool is_poll = cpu_.attention.requested();
  ++(is_poll ? statistics_.poll_exits : statistics_.fault_exits);
  if (is_poll) return sample(regions_.of(exit.in->id));
  interpret(Instruction(exit.in->instruction(cache_, exit.number)), exit.rip);
}

/// What ID is at the exits that name an instruction.
Translator::Place Translator::place_of_id(std::uint32_t id) const {
  return {.translation = &regions_.of(id >> Translation::kInstructionBits),
          .number = id & low_mask(Translation::kInstructionBits)};
}

/// Whose code is at the host address AT.
Translator::Place Translator::place_of(std::uint64_t at) const {
  const auto position = static_cast<std::uint32_t>(at - generated_.begin);
  const Translation& translation = regions_.at(position);
  return {.translation = &translation, .number = translation.first_from(position + 1) - 1};
}

}  // namespace doppel::accel::soft
