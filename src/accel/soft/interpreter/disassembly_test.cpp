#include "accel/soft/interpreter/disassembly.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace doppel::accel::soft {
namespace {

using testing::MatchesRegex;
using Code = std::vector<std::uint8_t>;

std::string line_of(CodeMode mode, const Code& code, std::uint64_t address = 0x1000) {
  std::string text;
  Disassembler().instruction(text, mode, code, address);
  return text;
}

TEST(Disassembler, ReadsBytesAsTheModeDoes) {
  EXPECT_THAT(line_of(CodeMode::kReal16, {0xb8, 0x34, 0x12}), MatchesRegex("0x00001000:  b8 34 12 +mov ax, 0x1234\n"));
  EXPECT_THAT(line_of(CodeMode::kProtected32, {0x40}), MatchesRegex("0x00001000:  40 +inc eax\n"));
  EXPECT_THAT(line_of(CodeMode::kLong64, {0x48, 0x89, 0xe5}, 0xffffffff81000000),
              MatchesRegex("0xffffffff81000000:  48 89 e5 +mov rbp, rsp\n"));
}

TEST(Disassembler, BranchesNameTheirTargets) {
  EXPECT_THAT(line_of(CodeMode::kLong64, {0xeb, 0xfe}), MatchesRegex("0x00001000:  eb fe +jmp 0x0*1000\n"));
}

TEST(Disassembler, WhatIsNoInstructionIsData) {
  EXPECT_THAT(line_of(CodeMode::kLong64, {0x06}), MatchesRegex("0x00001000:  06 +\\.byte 0x06\n"));
  // Of a guest whose CPU ends the instruction elsewhere.
  EXPECT_THAT(line_of(CodeMode::kLong64, {0x90, 0x90}), MatchesRegex("0x00001000:  90 90 +\\.byte 0x90, 0x90\n"));
}

TEST(Disassembler, CodeIsALineForEachInstruction) {
  std::string text;
  Disassembler().code(text, CodeMode::kLong64, Code{0x90, 0x06, 0xc3}, 0x10);
  EXPECT_THAT(text, MatchesRegex("0x00000010:  90 +nop\n0x00000011:  06 +\\.byte 0x06\n0x00000012:  c3 +ret\n"));
}

}  // namespace
}  // namespace doppel::accel::soft
