#include "accel/soft/translator/translation_log.h"

#include <fmt/format.h>

#include <array>
#include <iterator>

#include "x86/registers.h"

namespace doppel::accel::soft {

namespace rflags = x86::rflags;

namespace {

std::string_view name_of(Action action) {
  switch (action) {
    case Action::kInterpret: return "interpret";
    case Action::kVerbatim: return "verbatim";
    case Action::kMemory: return "memory";
    case Action::kAddress: return "address";
    case Action::kNothing: return "nothing";
    case Action::kPush: return "push";
    case Action::kPushMemory: return "push_memory";
    case Action::kPushFlags: return "push_flags";
    case Action::kPop: return "pop";
    case Action::kLeave: return "leave";
    case Action::kString: return "string";
    case Action::kGather: return "gather";
    case Action::kBitString: return "bit_string";
    case Action::kReadTsc: return "read tsc";
    case Action::kJump: return "jump";
    case Action::kJumpIf: return "jump_if";
    case Action::kJumpCounter: return "jump_counter";
    case Action::kCall: return "call";
    case Action::kReturn: return "return";
    case Action::kJumpIndirect: return "jump_indirect";
    case Action::kCallIndirect: return "call_indirect";
    case Action::kDisableInterrupts: return "disable_interrupts";
    case Action::kEnableInterrupts: return "enable_interrupts";
    case Action::kClearDirection: return "clear_direction";
    case Action::kSetDirection: return "set_direction";
    case Action::kReadSelector: return "read_selector";
    case Action::kSwapGs: return "swap_gs";
  }
  return "";
}

std::string_view name_of(VectorLevel level) {
  switch (level) {
    case VectorLevel::kNone: return "none";
    case VectorLevel::kSse: return "SSE";
    case VectorLevel::kAvx: return "AVX";
    case VectorLevel::kAvx512: return "AVX-512";
  }
  return "";
}

/// The arithmetic flags among FLAGS, as -d cpu shows all of them.
std::string letters(std::uint64_t flags) {
  struct Letter {
    std::uint64_t flag;
    char letter;
  };
  constexpr auto kLetters = std::to_array<Letter>({{rflags::kOf, 'O'},
                                                   {rflags::kSf, 'S'},
                                                   {rflags::kZf, 'Z'},
                                                   {rflags::kAf, 'A'},
                                                   {rflags::kPf, 'P'},
                                                   {rflags::kCf, 'C'}});
  std::string text;
  for (const auto& [flag, letter] : kLetters) text += (flags & flag) != 0 ? letter : '-';
  return text;
}

std::string describe(const GroupMember& member) {
  if (member.group < 0) return "";
  if (!member.leads) return fmt::format(" group {}", member.group);
  return fmt::format(" group {}, whose {} bytes from {:+} it looks up to {}", member.group, member.span, member.low,
                     member.group_writes ? "write" : "read");
}

}  // namespace

void TranslationLog::translated(const FreshTranslation& fresh) {
  if (!log_.covers(fresh.translation.key.linear)) return;
  if (log_.enabled(LogCategory::kOp)) show_plan(fresh.plan);
  if (log_.enabled(LogCategory::kOutAsm)) show_code(fresh);
}

void TranslationLog::show_plan(const BlockPlan& plan) const {
  std::string text = "OP:\n";
  for (const PlannedInstruction& planned : plan.instructions) {
    text += " ---- ";
    disassembler_.instruction(text, plan.kind.mode(), planned.bytes, planned.rip);
    fmt::format_to(std::back_inserter(text), " {} flags={} vectors={}{}", name_of(planned.action),
                   letters(planned.flags_before), name_of(planned.registers.vectors),
                   planned.registers.x87 ? " x87" : "");
    if (planned.memory_size != 0)
      fmt::format_to(std::back_inserter(text), " {}={}", planned.writes_memory ? "writes" : "reads",
                     planned.memory_size);
    text += describe(planned.member) + "\n";
  }
  log_.dump(LogCategory::kOp, text + "\n");
}

void TranslationLog::show_code(const FreshTranslation& fresh) const {
  const Translation& translation = fresh.translation;
  const std::uint32_t begin = translation.guarded_entry;
  std::string text = fmt::format("OUT: [size={}]\n", fresh.hot.bytes.size() + fresh.cold.bytes.size());
  append(text, "guard", fresh.hot.part(0, translation.entry() - begin));
  std::uint32_t end = translation.entry();
  for (std::size_t n = 0; n < translation.instruction_count; ++n) {
    append(text, fmt::format("guest addr 0x{:016x}", translation.rip(n)),
           fresh.hot.part(translation.begin_of(n) - begin, translation.end_of(n) - begin));
    end = translation.end_of(n);
  }
  append(text, "what follows", fresh.hot.part(end - begin, fresh.hot.bytes.size()));
  append(text, "ways out", fresh.cold);
  log_.dump(LogCategory::kOutAsm, text + "\n");
}

void TranslationLog::append(std::string& text, std::string_view title, const HostCode& code) const {
  if (code.bytes.empty()) return;
  fmt::format_to(std::back_inserter(text), "  -- {}\n", title);
  disassembler_.code(text, CodeMode::kLong64, code.bytes, code.address);
}

}  // namespace doppel::accel::soft
