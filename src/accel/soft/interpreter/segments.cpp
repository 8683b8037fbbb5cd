#include "accel/soft/interpreter/segments.h"

#include "x86/page_table.h"

namespace doppel::accel::soft {

using x86::SegmentName;

namespace {

constexpr std::uint16_t kTableIndicator = 4;
constexpr std::uint64_t kTypeByte = 5;  // of a descriptor: type, S, DPL, P
/// A null selector clears the base as well, as it always does on Intel's (AMD APM 3 E.4.19).
constexpr x86::FeatureBit kNullSelectorClearsBase{x86::FeatureWord::k80000021Eax, 1U << 6};

bool is_16_bytes(const x86::Segment& segment) {
  return !segment.code_or_data && (segment.type == x86::kLdt || segment.type == x86::kTssAvailable ||
                                   segment.type == x86::kTssBusy || segment.type == x86::kCallGate);
}

template <bool on>
void change_type_bits(Cpu& cpu, std::uint64_t descriptor_address, std::uint8_t bits) {
  cpu.modify_system<std::uint8_t>(descriptor_address + kTypeByte, [bits](Place<std::uint8_t>& place) {
    if constexpr (on)
      __atomic_fetch_or(&place.value, bits, __ATOMIC_SEQ_CST);
    else
      __atomic_fetch_and(&place.value, static_cast<std::uint8_t>(~bits), __ATOMIC_SEQ_CST);
  });
}

}  // namespace

bool is_amd(const Cpu& cpu) {
  constexpr std::uint32_t kAuth = 0x68747541, kHygo = 0x6f677948;  // how the vendors' names begin
  const x86::CpuidEntry* entry = x86::find_cpuid(cpu.cpuid, 0);
  return entry != nullptr && (entry->ebx == kAuth || entry->ebx == kHygo);
}

std::uint64_t gdt_address(const Cpu& cpu, std::uint16_t selector) {
  return cpu.gdt.base + (selector & 0xfff8U);
}

std::optional<Descriptor> find_descriptor(Cpu& cpu, std::uint16_t selector) {
  const bool local = (selector & kTableIndicator) != 0;
  if (local && cpu.ldt.unusable) return {};
  const std::uint64_t base = local ? cpu.ldt.base : cpu.gdt.base;
  const std::uint32_t limit = local ? cpu.ldt.limit : cpu.gdt.limit;
  const std::uint32_t offset = selector & 0xfff8U;
  if (offset + 7 > limit) return {};
  Descriptor found;
  found.selector = selector;
  found.address = base + offset;
  found.low = cpu.load_system<std::uint64_t>(found.address);
  found.segment = x86::decode_descriptor(found.low, selector);
  if (cpu.long_mode && is_16_bytes(found.segment)) {
    if (offset + 15 > limit) return {};
    found.high = cpu.load_system<std::uint64_t>(found.address + 8);
    found.segment.base |= found.high << 32;
  }
  return found;
}

Descriptor fetch_descriptor(Cpu& cpu, std::uint16_t selector, std::uint8_t vector) {
  const std::optional<Descriptor> found = find_descriptor(cpu, selector);
  if (!found) raise(vector, selector_error(selector));
  return *found;
}

void mark_accessed(Cpu& cpu, Descriptor& descriptor) {
  if ((descriptor.segment.type & x86::segment_type::kAccessed) != 0) return;
  change_type_bits<true>(cpu, descriptor.address, x86::segment_type::kAccessed);
  descriptor.segment.type |= x86::segment_type::kAccessed;
}

void set_busy(Cpu& cpu, std::uint64_t descriptor_address, bool busy) {
  if (busy)
    change_type_bits<true>(cpu, descriptor_address, kTssBusyBit);
  else
    change_type_bits<false>(cpu, descriptor_address, kTssBusyBit);
}

void load_null_segment(Cpu& cpu, SegmentName name, std::uint16_t selector, std::uint8_t dpl) {
  x86::Segment& segment = cpu.segment[name];
  const std::uint64_t base = is_amd(cpu) && !cpu.has(kNullSelectorClearsBase) ? segment.base : 0;
  segment = {.base = base, .limit = 0, .selector = selector, .dpl = dpl, .present = false, .unusable = true};
}

x86::Segment vm86_segment(std::uint16_t selector) {
  x86::Segment segment = x86::real_mode_segment(selector);
  segment.dpl = 3;
  return segment;
}

void load_real_segment(Cpu& cpu, SegmentName name, std::uint16_t selector) {
  x86::Segment& segment = cpu.segment[name];
  if (cpu.vm86)
    segment = vm86_segment(selector);
  else if (segment.unusable || !segment.present)
    segment = x86::real_mode_segment(selector);
  segment.selector = selector;
  segment.base = std::uint64_t{selector} << 4;
  if (name == x86::kCs)
    cpu.update_mode();
  else
    cpu.update_view(name);
}

void check_data_segment(const Descriptor& descriptor, std::uint8_t cpl, std::uint8_t vector) {
  const std::uint32_t error = selector_error(descriptor.selector);
  if (!descriptor.is_readable()) raise(vector, error);
  const std::uint8_t dpl = descriptor.segment.dpl;
  if (!descriptor.is_conforming_code() && (cpl > dpl || rpl_of(descriptor.selector) > dpl)) raise(vector, error);
  if (!descriptor.segment.present) raise(x86::kSegmentNotPresent, error);
}

void check_stack_segment(const Descriptor& descriptor, std::uint8_t cpl, std::uint8_t vector) {
  const std::uint32_t error = selector_error(descriptor.selector);
  if (rpl_of(descriptor.selector) != cpl || !descriptor.is_writable_data() || descriptor.segment.dpl != cpl)
    raise(vector, error);
  if (!descriptor.segment.present) raise(x86::kStackFault, error);
}

void load_segment(Cpu& cpu, SegmentName name, std::uint16_t selector) {
  if (!cpu.protected_mode || cpu.vm86) return load_real_segment(cpu, name, selector);
  if (is_null_selector(selector)) {
    const bool may_be_null =
        name != x86::kSs || (cpu.code_mode == CodeMode::kLong64 && cpu.cpl < 3 && rpl_of(selector) == cpu.cpl);
    if (!may_be_null) raise_gp();
    load_null_segment(cpu, name, selector, name == x86::kSs ? cpu.cpl : std::uint8_t{0});
  } else {
    Descriptor descriptor = fetch_descriptor(cpu, selector);
    if (name == x86::kSs)
      check_stack_segment(descriptor, cpu.cpl, x86::kGeneralProtection);
    else
      check_data_segment(descriptor, cpu.cpl, x86::kGeneralProtection);
    mark_accessed(cpu, descriptor);
    cpu.segment[name] = descriptor.segment;
  }
  if (name == x86::kSs)
    cpu.update_mode();
  else
    cpu.update_view(name);
}

void load_ldt(Cpu& cpu, std::uint16_t selector, std::uint8_t vector) {
  if (is_null_selector(selector)) {
    cpu.ldt = {
        .limit = 0, .selector = selector, .type = x86::kLdt, .present = false, .code_or_data = false, .unusable = true};
    return;
  }
  const std::uint32_t error = selector_error(selector);
  if ((selector & kTableIndicator) != 0) raise(vector, error);
  const Descriptor descriptor = fetch_descriptor(cpu, selector, vector);
  if (!descriptor.is_system() || descriptor.segment.type != x86::kLdt || descriptor.has_reserved_bits())
    raise(vector, error);
  if (!descriptor.segment.present)
    raise(vector == x86::kGeneralProtection ? std::uint8_t{x86::kSegmentNotPresent} : vector, error);
  if (!x86::is_canonical(descriptor.segment.base, cpu.linear_bits())) raise(vector, error);
  cpu.ldt = descriptor.segment;
}

}  // namespace doppel::accel::soft
