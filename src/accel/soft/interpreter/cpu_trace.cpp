#include "accel/soft/interpreter/cpu_trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "accel/soft/interpreter/core_state.h"
#include "x86/cpu_format.h"

namespace doppel::accel::soft {

namespace {

std::string_view name_of(EventKind kind) {
  switch (kind) {
    case EventKind::kException: return "exception";
    case EventKind::kExternalInterrupt: return "interrupt";
    case EventKind::kNmi: return "NMI";
    case EventKind::kSoftwareInterrupt: return "INT n";
    case EventKind::kSoftwareException: return "INT3 or INTO";
    case EventKind::kPrivilegedSoftware: return "INT1";
  }
  return "";
}

std::string_view name_of(MmuIndex index) {
  switch (index) {
    case MmuIndex::kSupervisor: return "supervisor";
    case MmuIndex::kUser: return "user";
    case MmuIndex::kSupervisorAc: return "supervisor, AC";
  }
  return "";
}

}  // namespace

bool CpuTrace::wants_blocks(const Logger& log) {
  return log.enabled(LogCategory::kInAsm) || log.enabled(LogCategory::kExec) || log.enabled(LogCategory::kCpu);
}
bool CpuTrace::wants_every_entry(const Logger& log) {
  return log.enabled(LogCategory::kExec) || log.enabled(LogCategory::kCpu);
}
bool CpuTrace::wants_events(const Logger& log) {
  return log.enabled(LogCategory::kInterrupts) || log.enabled(LogCategory::kMmu);
}

CpuTrace::CpuTrace(Cpu& cpu, CodeCache& cache, const Logger& log) : cpu_(cpu), cache_(cache), log_(log) {
  cpu.trace = this;
  if (log.enabled(LogCategory::kMmu)) cpu.tlb.watch(this);
}

CpuTrace::~CpuTrace() {
  cpu_.trace = nullptr;
  cpu_.tlb.watch(nullptr);
}

// --- Blocks ---

std::uint64_t CpuTrace::code_base() const {
  return cpu_.code_mode == CodeMode::kLong64 ? 0 : cpu_.segment[x86::kCs].base;
}

void CpuTrace::enter(const Block& block) const {
  const std::uint64_t linear = (code_base() + cpu_.rip) & cpu_.rip_mask;
  if (!log_.covers(linear)) return;
  if (log_.enabled(LogCategory::kInAsm)) show_code(block, linear);
  if (log_.enabled(LogCategory::kExec)) show_entry(block, linear);
  if (log_.enabled(LogCategory::kCpu)) show_registers();
}

/// Once for each place that the block is mapped at.
void CpuTrace::show_code(const Block& block, std::uint64_t linear) const {
  std::vector<std::uint64_t>& shown_at = block.with_rare().shown_at;
  if (std::ranges::find(shown_at, linear) != shown_at.end()) return;
  shown_at.push_back(linear);
  std::string text = "----------------\nIN: \n";
  std::size_t at = 0;
  for (const Instruction& instruction : cache_.instructions_of(block)) {
    disassembler_.instruction(text, cpu_.code_mode, block.code().subspan(at, instruction.length), linear + at);
    at += instruction.length;
  }
  log_.dump(LogCategory::kInAsm, text + "\n");
}

/// As QEMU does: what was made of the code, CS base, linear address, what the code depends on, and its length.
void CpuTrace::show_entry(const Block& block, std::uint64_t linear) const {
  const unsigned flags = static_cast<unsigned>(cpu_.code_mode) << 4U | static_cast<unsigned>(cpu_.mmu_index);
  log_.dump(LogCategory::kExec, fmt::format("Trace {}: {} [{:08x}/{:016x}/{:08x}/{:08x}] \n", cpu_.id, fmt::ptr(&block),
                                            cpu_.segment[x86::kCs].base, linear, flags, block.size));
}

void CpuTrace::show_registers() const {
  x86::CpuState state;
  save_core_state(cpu_, state, x86::StateParts::kAll);
  log_.dump(LogCategory::kCpu, x86::format_registers(state));
}

// --- Events ---

void CpuTrace::deliver(const Event& event, void (*go)(Cpu& cpu, const Event& event)) {
  if (!log_.enabled(LogCategory::kInterrupts)) return go(cpu_, event);
  const std::string before = fmt::format("{:6}: {}", delivered_++, describe(event));
  try {
    go(cpu_, event);
  } catch (const Fault& fault) {
    log_.dump(LogCategory::kInterrupts, fmt::format("{} fails with v={:02x} e={:04x}\n", before, fault.vector,
                                                    fault.has_error_code ? fault.error_code : 0));
    throw;
  }
  log_.dump(LogCategory::kInterrupts, fmt::format("{} -> {}\n", before, describe_handler()));
}

/// In QEMU's words, and who it happens to.
std::string CpuTrace::describe(const Event& event) const {
  const bool is_software = event.kind == EventKind::kSoftwareInterrupt || event.kind == EventKind::kSoftwareException;
  const bool is_page_fault = event.kind == EventKind::kException && event.vector == x86::kPageFault;
  return fmt::format(
      "v={:02x} e={:04x} i={:d} cpl={} IP={:04x}:{:016x} pc={:016x} SP={:04x}:{:016x} {}={:016x} {} CPU={}",
      event.vector, event.has_error_code ? event.error_code : 0, is_software, cpu_.cpl, cpu_.segment[x86::kCs].selector,
      cpu_.rip, code_base() + cpu_.rip, cpu_.segment[x86::kSs].selector, cpu_.gpr[x86::kRsp],
      is_page_fault ? "CR2" : "RAX", is_page_fault ? cpu_.cr2 : cpu_.gpr[x86::kRax], name_of(event.kind), cpu_.id);
}

std::string CpuTrace::describe_handler() const {
  return fmt::format("cpl={} IP={:04x}:{:016x} SP={:04x}:{:016x}", cpu_.cpl, cpu_.segment[x86::kCs].selector, cpu_.rip,
                     cpu_.segment[x86::kSs].selector, cpu_.gpr[x86::kRsp]);
}

// --- The TLB ---

void CpuTrace::tlb_filled(MmuIndex index, const TlbInfo& info) {
  log_.dump(LogCategory::kMmu,
            fmt::format("CPU {}: TLB fill: {:016x} -> {:012x} {}{}{} page size 0x{:x} ({}{}{})\n", cpu_.id, info.linear,
                        info.gpa, info.rights.read ? 'r' : '-', info.rights.write ? 'w' : '-',
                        info.rights.fetch ? 'x' : '-', std::uint64_t{1} << info.size_shift, name_of(index),
                        info.global ? ", global" : "", info.slot == nullptr ? ", no RAM" : ""));
}

void CpuTrace::tlb_flushed(TlbFlush what, std::uint64_t linear) {
  switch (what) {
    case TlbFlush::kAll: return log_.dump(LogCategory::kMmu, fmt::format("CPU {}: TLB flush: all\n", cpu_.id));
    case TlbFlush::kNonGlobal:
      return log_.dump(LogCategory::kMmu, fmt::format("CPU {}: TLB flush: all but global\n", cpu_.id));
    case TlbFlush::kPage:
      return log_.dump(LogCategory::kMmu, fmt::format("CPU {}: TLB flush: page {:016x}\n", cpu_.id, linear));
  }
}

}  // namespace doppel::accel::soft
