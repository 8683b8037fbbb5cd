// How the verifier tells of a difference: the first instruction behind which there is one, the block's code on both
// sides, and the states.
#include <Zydis/Zydis.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "accel/soft/translator/verifier.h"

namespace doppel::accel::soft {

namespace {

std::string hex(std::span<const std::byte> bytes) {
  return fmt::format("{:02x}",
                     fmt::join(std::span(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()), " "));
}

/// In Intel syntax, as if it lay at ADDRESS; instructions of one line each, behind INDENT.
std::string disassemble(std::span<const std::byte> code, std::uint64_t address, std::string_view indent) {
  std::string text;
  for (std::size_t at = 0; at < code.size();) {
    ZydisDisassembledInstruction line;
    const std::span<const std::byte> rest = code.subspan(at);
    const bool good =
        ZYAN_SUCCESS(ZydisDisassembleIntel(ZYDIS_MACHINE_MODE_LONG_64, address + at, rest.data(), rest.size(), &line));
    const std::size_t size = good ? line.info.length : 1;
    text += fmt::format("{}{:x}  {:<30}  {}\n", indent, address + at, hex(rest.first(size)), good ? line.text : "?");
    at += size;
  }
  return text;
}

std::string table(const std::vector<ComparedValue>& values) {
  std::string text;
  for (const ComparedValue& value : values)
    if (value.name.size() > 8 || value.before.size() > 16)
      text += fmt::format("{} {}\n    before      {}\n    interpreted {}\n    translated  {}\n",
                          value.differs ? '*' : ' ', value.name, value.before, value.interpreted, value.translated);
    else
      text += fmt::format("{} {:8} {:>18} {:>18} {:>18}\n", value.differs ? '*' : ' ', value.name, value.before,
                          value.interpreted, value.translated);
  return text;
}

std::string names_of_different(const std::vector<ComparedValue>& values) {
  std::string text;
  for (const ComparedValue& value : values)
    if (value.differs) text += (text.empty() ? "" : ", ") + value.name;
  return text;
}

}  // namespace

/// Of TASK, which repeats. The guest is put back.
void Verifier::describe(const Task& task) {
  const std::size_t size = task.translation.instruction_count;
  bool found = false;
  std::size_t limit = task.first;
  while (!found && limit < size) {
    Task part = task;
    part.limit = ++limit;
    found = !compare(part);
    if (!found) go_back();
  }
  // It may be what comes behind the last instruction, or have been DMA of long duration.
  if (!found) (void)compare(task);
  const std::size_t wrong = found ? limit - 1 : size;
  const bool overran = end_ > rehearsal_.end || (exit_.in != nullptr && exit_.in != &task.translation);
  auto values = compared_registers(before_, interpreted_, translated_, overran ? Ignored{} : ignored_);
  const auto memory = compared_memory(journal_, interpreted_memory_, translated_memory_);
  values.insert(values.end(), memory.begin(), memory.end());
  const std::uint64_t linear = task.translation.key.linear;
  const std::uint64_t at = wrong < size ? task.translation.rip(wrong) : linear;
  difference_ = fmt::format(
      "translated code differs from the interpreter at {:#x}, in the block at {:#x}: {}\n{}  {:8} {:>18} {:>18} "
      "{:>18}\n{}",
      at, linear, overran ? "it went on where the interpreter stops" : names_of_different(values),
      describe_code(task, wrong), "", "before", "interpreted", "translated", table(values));
  go_back();
}

/// The guest's instructions, the one of number WRONG marked, and the host's made of each.
std::string Verifier::describe_code(const Task& task, std::size_t wrong) const {
  const Translation& translation = task.translation;
  std::string text;
  for (std::size_t n = 0; n < translation.instruction_count; ++n) {
    const std::uint32_t begin = translation.begin_of(n);
    const char* const mark = n == wrong ? "* " : n < task.first ? "- " : "  ";
    text += disassemble(std::as_bytes(translation.guest_code(n)), translation.rip(n), mark);
    text += disassemble(std::span(code_.writable() + begin, translation.end_of(n) - begin),
                        reinterpret_cast<std::uint64_t>(code_.executable()) + begin, "      ");
  }
  return text;
}

}  // namespace doppel::accel::soft
