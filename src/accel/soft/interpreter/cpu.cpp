#include "accel/soft/interpreter/cpu.h"

#include <algorithm>

#include "x86/descriptor.h"

namespace doppel::accel::soft {

using x86::SegmentName;

namespace {

constexpr std::uint64_t kFourGiB = std::uint64_t{1} << 32U;

bool is_code(const x86::Segment& segment) {
  return (segment.type & x86::segment_type::kCode) != 0;
}
bool readable(const x86::Segment& segment) {
  return !is_code(segment) || (segment.type & x86::segment_type::kReadable) != 0;
}
bool writable(const x86::Segment& segment) {
  return !is_code(segment) && (segment.type & x86::segment_type::kWritable) != 0;
}
bool expands_down(const x86::Segment& segment) {
  return !is_code(segment) && (segment.type & x86::segment_type::kExpandDown) != 0;
}

}  // namespace

void Machine::add(Cpu& cpu) {
  rendezvous.add(cpu.attention);
  rendezvous.exclusive(false, [&] { cpus.push_back(&cpu); });
}

void Machine::code_changed(const Cpu& by, std::uint64_t gpa) {
  code_changes.note(gpa);
  for (Cpu* cpu : cpus)
    if (cpu != &by) cpu->attention.request();
}

void Machine::remove(Cpu& cpu) {
  rendezvous.exclusive(false, [&] { std::erase(cpus, &cpu); });
  rendezvous.remove(cpu.attention);
}

Cpu::Cpu(Machine& shared) : machine(shared) {
  machine.add(*this);
}

Cpu::~Cpu() {
  machine.remove(*this);
}

void Cpu::update_mode() {
  leave_block = true;
  protected_mode = (cr0 & x86::cr0::kPe) != 0;
  long_mode = (efer & x86::efer::kLma) != 0;
  vm86 = protected_mode && !long_mode && flag(x86::rflags::kVm);
  cpl = vm86 ? 3 : !protected_mode ? 0 : segment[x86::kSs].dpl;
  stack_is_32 = segment[x86::kSs].default_big;
  const x86::Segment& code = segment[x86::kCs];
  if (long_mode && code.long_mode)
    code_mode = CodeMode::kLong64;
  else if (!protected_mode || vm86)
    code_mode = code.default_big && !vm86 ? CodeMode::kProtected32 : CodeMode::kReal16;
  else
    code_mode = code.default_big ? CodeMode::kProtected32 : CodeMode::kProtected16;
  rip_mask = code_mode == CodeMode::kLong64 ? ~std::uint64_t{0} : 0xffff'ffffU;
  canonical_shift = static_cast<std::uint8_t>(64 - linear_bits());
  const bool smap = (cr4 & x86::cr4::kSmap) != 0;
  if (cpl == 3)
    mmu_index = MmuIndex::kUser;
  else
    mmu_index = smap && !flag(x86::rflags::kAc) ? MmuIndex::kSupervisor : MmuIndex::kSupervisorAc;
  alignment_mask = cpl == 3 && (cr0 & x86::cr0::kAm) != 0 && flag(x86::rflags::kAc) ? 0x3f : 0;
  for (unsigned i = 0; i < x86::kSegmentCount; ++i) update_view(static_cast<SegmentName>(i));
}

void Cpu::update_view(SegmentName name) {
  SegmentView& result = view[name];
  const x86::Segment& from = segment[name];
  if (code_mode == CodeMode::kLong64) {
    result = {
        .base = name == x86::kFs || name == x86::kGs ? from.base : 0, .read_end = kFourGiB, .write_end = kFourGiB};
    return;
  }
  const bool usable = from.present && !from.unusable;
  const std::uint64_t end = usable && !expands_down(from) ? std::uint64_t{from.limit} + 1 : 0;
  // Rights are for protected mode: in real mode whatever is in the hidden part can be read and written.
  const bool checks_rights = protected_mode && !vm86;
  const SegmentView before = result;
  result = {.base = from.base,
            .read_end = checks_rights && !readable(from) ? 0 : end,
            .write_end = checks_rights && !writable(from) ? 0 : end};
  // Translated code takes segments for what they were when it was entered.
  if (result != before) leave_block = true;
}

void Cpu::check_segment(SegmentName name, std::uint64_t offset, std::uint64_t size, AccessKind kind) const {
  const x86::Segment& from = segment[name];
  const std::uint8_t vector = name == x86::kSs ? x86::kStackFault : x86::kGeneralProtection;
  const bool checks_rights = protected_mode && !vm86;
  if (checks_rights && (from.unusable || !from.present)) raise(vector, 0);
  if (checks_rights && kind == AccessKind::kWrite && !writable(from)) raise(vector, 0);
  if (checks_rights && kind == AccessKind::kRead && !readable(from)) raise(vector, 0);
  const std::uint64_t last = offset + size - 1;
  if (expands_down(from)) {
    const std::uint64_t top = from.default_big ? 0xffff'ffffU : 0xffffU;
    if (offset <= from.limit || last > top) raise(vector, 0);
  } else if (last > from.limit) {
    raise(vector, 0);
  }
}

}  // namespace doppel::accel::soft
