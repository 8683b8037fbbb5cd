#include "accel/soft/interpreter/disassembly.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <iterator>
#include <string_view>

namespace doppel::accel::soft {

namespace {

void append_line(std::string& text, std::uint64_t address, std::span<const std::uint8_t> bytes,
                 std::string_view instruction) {
  fmt::format_to(std::back_inserter(text), "0x{:08x}:  {:<32} {}\n", address,
                 fmt::format("{:02x}", fmt::join(bytes, " ")), instruction);
}

/// What nobody takes for an instruction.
void append_data(std::string& text, std::uint64_t address, std::span<const std::uint8_t> bytes) {
  append_line(text, address, bytes, fmt::format(".byte 0x{:02x}", fmt::join(bytes, ", 0x")));
}

}  // namespace

Disassembler::Disassembler() {
  ZydisFormatterInit(&formatter_, ZYDIS_FORMATTER_STYLE_INTEL);
  ZydisFormatterSetProperty(&formatter_, ZYDIS_FORMATTER_PROP_HEX_UPPERCASE, ZYAN_FALSE);
  constexpr std::array kModes = {ZYDIS_MACHINE_MODE_REAL_16, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_MACHINE_MODE_LEGACY_32,
                                 ZYDIS_MACHINE_MODE_LONG_64};
  constexpr std::array kStacks = {ZYDIS_STACK_WIDTH_16, ZYDIS_STACK_WIDTH_16, ZYDIS_STACK_WIDTH_32,
                                  ZYDIS_STACK_WIDTH_64};
  for (std::size_t i = 0; i < decoders_.size(); ++i) ZydisDecoderInit(&decoders_.at(i), kModes.at(i), kStacks.at(i));
}

std::size_t Disassembler::first(std::string& text, CodeMode mode, std::span<const std::uint8_t> bytes,
                                std::uint64_t address) const {
  constexpr std::size_t kLongestText = 256;
  ZydisDecodedInstruction zydis;
  std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;
  std::array<char, kLongestText> line;
  const bool decoded = ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoders_.at(static_cast<std::size_t>(mode)), bytes.data(),
                                                           bytes.size(), &zydis, operands.data()));
  if (!decoded ||
      !ZYAN_SUCCESS(ZydisFormatterFormatInstruction(&formatter_, &zydis, operands.data(), zydis.operand_count_visible,
                                                    line.data(), line.size(), address, nullptr))) {
    append_data(text, address, bytes.first(1));
    return 1;
  }
  append_line(text, address, bytes.first(zydis.length), line.data());
  return zydis.length;
}

void Disassembler::instruction(std::string& text, CodeMode mode, std::span<const std::uint8_t> bytes,
                               std::uint64_t address) const {
  const std::size_t before = text.size();
  if (first(text, mode, bytes, address) == bytes.size()) return;
  // The guest's CPU sees another one here, such as one that is not defined.
  text.resize(before);
  append_data(text, address, bytes);
}

void Disassembler::code(std::string& text, CodeMode mode, std::span<const std::uint8_t> bytes,
                        std::uint64_t address) const {
  while (!bytes.empty()) {
    const std::size_t length = first(text, mode, bytes, address);
    bytes = bytes.subspan(length);
    address += length;
  }
}

}  // namespace doppel::accel::soft
