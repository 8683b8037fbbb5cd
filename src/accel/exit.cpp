#include "accel/exit.h"

#include <fmt/format.h>

#include <algorithm>

namespace doppel::accel {

namespace {

/// "0d 00 ff", or the first few bytes and an ellipsis.
std::string hex(std::span<const std::byte> bytes) {
  constexpr std::size_t kShown = 16;
  std::string text;
  for (const std::byte value : bytes.first(std::min(bytes.size(), kShown)))
    text += fmt::format("{}{:02x}", text.empty() ? "" : " ", std::to_integer<unsigned>(value));
  return bytes.size() > kShown ? text + " …" : text;
}

std::string_view word(IoDirection direction) {
  return direction == IoDirection::kIn ? "in" : "out";
}

std::string_view word(SystemEventKind kind) {
  switch (kind) {
    case SystemEventKind::kShutdown: return "shutdown";
    case SystemEventKind::kReset: return "reset";
    case SystemEventKind::kCrash: return "crash";
    case SystemEventKind::kOther: return "other";
  }
  return "other";
}

struct Describer {
  std::string operator()(const IoExit& exit) const {
    std::string text = fmt::format("io {} port {:#x} size {}", word(exit.direction), exit.port, exit.size);
    if (exit.count != 1) text += fmt::format(" count {}", exit.count);
    if (exit.direction == IoDirection::kOut) text += fmt::format(" data {}", hex(exit.data));
    return text;
  }
  std::string operator()(const MmioExit& exit) const {
    std::string text = fmt::format("mmio {} {} size {}", exit.direction == IoDirection::kIn ? "read" : "write",
                                   exit.address, exit.data.size());
    if (exit.direction == IoDirection::kOut) text += fmt::format(" data {}", hex(exit.data));
    return text;
  }
  std::string operator()(const HaltExit&) const { return "halt"; }
  std::string operator()(const IrqWindowExit&) const { return "interrupt window open"; }
  std::string operator()(const ShutdownExit&) const { return "shutdown (triple fault)"; }
  std::string operator()(const InterruptedExit&) const { return "interrupted"; }
  std::string operator()(const SetTprExit&) const { return "task priority lowered"; }
  std::string operator()(const DebugExit& exit) const {
    return fmt::format("debug exception {} at {:#x} dr6 {:#x} dr7 {:#x}", exit.vector, exit.pc, exit.dr6, exit.dr7);
  }
  std::string operator()(const SystemEventExit& exit) const {
    return fmt::format("system event {} (code {})", word(exit.kind), exit.code);
  }
  std::string operator()(const MsrExit& exit) const {
    if (exit.direction == IoDirection::kIn) return fmt::format("rdmsr {:#x}", exit.index);
    return fmt::format("wrmsr {:#x} value {:#x}", exit.index, exit.value != nullptr ? *exit.value : 0);
  }
  std::string operator()(const IoapicEoiExit& exit) const {
    return fmt::format("end of interrupt, vector {:#x}", exit.vector);
  }
  std::string operator()(const InternalErrorExit& exit) const {
    if (exit.instruction_length == 0) return fmt::format("internal error: {}", exit.why);
    return fmt::format("internal error: {} (instruction bytes {})", exit.why,
                       hex(std::as_bytes(std::span(exit.instruction)).first(exit.instruction_length)));
  }
  std::string operator()(const FailEntryExit& exit) const {
    return fmt::format("entry failed on processor {}, hardware reason {:#x}", exit.cpu, exit.hardware_reason);
  }
  std::string operator()(const UnknownExit& exit) const { return fmt::format("unknown exit {}", exit.code); }
};

}  // namespace

std::string describe(const VcpuExit& exit) {
  return std::visit(Describer{}, exit);
}

}  // namespace doppel::accel
