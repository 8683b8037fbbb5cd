// What the tests of the option table share.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "cli/command_line.h"

namespace doppel::cli {

using Words = std::vector<std::string>;

/// The command line of WORDS, which must be good.
inline CommandLine parse_line(const Words& words) {
  auto line = parse_command_line(words);
  EXPECT_TRUE(line) << line.error().describe();
  return line ? std::move(*line) : CommandLine{};
}

inline vm::VmConfig parse_config(const Words& words) {
  return parse_line(words).vm;
}

/// What is wrong with WORDS; "" if nothing.
inline std::string error_of(const Words& words) {
  const auto line = parse_command_line(words);
  return line ? "" : line.error().describe();
}

/// What WORDS print.
inline Printout printout_of(const Words& words) {
  return parse_line(words).printout.value_or(Printout{.text = "nothing", .status = -1});
}

}  // namespace doppel::cli
