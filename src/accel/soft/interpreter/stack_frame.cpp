#include "accel/soft/interpreter/stack_frame.h"

#include "accel/soft/interpreter/segments.h"
#include "accel/soft/interpreter/stack.h"
#include "x86/page_table.h"

namespace doppel::accel::soft {

namespace {

/// Makes accesses as code of another privilege level for as long as it lives.
class AsLevel {
 public:
  AsLevel(Cpu& cpu, std::uint8_t level) : cpu_(cpu), index_(cpu.mmu_index), alignment_(cpu.alignment_mask) {
    if (level == 3) return;  // who goes there is there already
    const bool smap = (cpu.cr4 & x86::cr4::kSmap) != 0 && !cpu.flag(x86::rflags::kAc);
    cpu.mmu_index = smap ? MmuIndex::kSupervisor : MmuIndex::kSupervisorAc;
    cpu.alignment_mask = 0;
  }
  ~AsLevel() {
    cpu_.mmu_index = index_;
    cpu_.alignment_mask = alignment_;
  }
  AsLevel(const AsLevel&) = delete;
  AsLevel& operator=(const AsLevel&) = delete;

 private:
  Cpu& cpu_;
  const MmuIndex index_;
  const std::uint64_t alignment_;
};

std::uint64_t mask_of(const x86::Segment& segment) {
  return segment.default_big ? 0xffff'ffffU : 0xffffU;
}

}  // namespace

StackFrame::StackFrame(const Cpu& cpu)
    : segment_(cpu.segment[x86::kSs]),
      pointer_(cpu.gpr[x86::kRsp]),
      mask_(stack_mask(cpu)),
      level_(cpu.cpl),
      is_flat_(cpu.code_mode == CodeMode::kLong64) {}

StackFrame::StackFrame(const x86::Segment& segment, std::uint64_t pointer, std::uint8_t level)
    : segment_(segment),
      pointer_(pointer),
      mask_(mask_of(segment)),
      error_code_(selector_error(segment.selector)),
      level_(level),
      is_flat_(false) {}

StackFrame::StackFrame(std::uint64_t pointer, std::uint8_t level)
    : pointer_(pointer), mask_(~std::uint64_t{0}), level_(level), is_flat_(true) {}

void StackFrame::push(unsigned size, std::uint64_t value) {
  const std::uint64_t offset = (pointer_ - size) & mask_;
  pointer_ = (pointer_ & ~mask_) | offset;
  items_.at(count_++) = {.offset = offset, .value = value, .size = size};
}

std::uint64_t StackFrame::linear(const Cpu& cpu, const Item& item) const {
  const std::uint64_t last = item.offset + item.size - 1;
  if (is_flat_) {
    const unsigned width = cpu.linear_bits();
    if (!x86::is_canonical(item.offset, width) || !x86::is_canonical(last, width)) raise(x86::kStackFault, error_code_);
    return item.offset;
  }
  const bool expands_down =
      (segment_.type & (x86::segment_type::kCode | x86::segment_type::kExpandDown)) == x86::segment_type::kExpandDown;
  const bool fits = expands_down ? item.offset > segment_.limit && last <= mask_of(segment_) : last <= segment_.limit;
  if (segment_.unusable || !fits) raise(x86::kStackFault, error_code_);
  return (segment_.base + item.offset) & 0xffff'ffffU;
}

void StackFrame::write(Cpu& cpu) const {
  if (count_ == 0) return;
  std::array<std::uint64_t, kMost> addresses;
  std::uint64_t total = 0;
  for (std::size_t n = 0; n < count_; ++n) {
    addresses.at(n) = linear(cpu, items_.at(n));
    total += items_.at(n).size;
  }
  const AsLevel as_level(cpu, level_);
  const std::uint64_t lowest = addresses.at(count_ - 1);
  if (addresses[0] + items_[0].size - lowest == total && cpu.alignment_mask == 0) {
    cpu.probe(lowest, total, AccessKind::kWrite);
  } else {
    for (std::size_t n = 0; n < count_; ++n) cpu.probe(addresses.at(n), items_.at(n).size, AccessKind::kWrite);
  }
  for (std::size_t n = 0; n < count_; ++n) {
    const Item& item = items_.at(n);
    switch (item.size) {
      case 2: cpu.store_linear<std::uint16_t>(addresses.at(n), static_cast<std::uint16_t>(item.value)); break;
      case 4: cpu.store_linear<std::uint32_t>(addresses.at(n), static_cast<std::uint32_t>(item.value)); break;
      default: cpu.store_linear<std::uint64_t>(addresses.at(n), item.value); break;
    }
  }
}

}  // namespace doppel::accel::soft
