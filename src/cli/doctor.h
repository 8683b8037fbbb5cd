// `doppel doctor`: what this host offers to virtual machines.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace doppel::cli {

/// One line of the table.
struct Finding {
  std::string_view what;
  bool good = true;
  std::string found;  // a few words, and what to do about it where it is not good
};

std::vector<Finding> examine_host();
std::string format_checkup(std::span<const Finding> findings);

}  // namespace doppel::cli
