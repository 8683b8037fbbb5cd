// Commands of doppel-io: by name, with their words.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "tools/common/arguments.h"
#include "tools/io/image.h"

namespace doppel::io {

using tools::Arguments;
using tools::OptionRow;

/// What one command sees.
struct Shell {
  Image& image;
  bool finished = false;  // no more commands
};

struct Command {
  std::string_view name;
  std::string_view other_name;
  std::size_t least_words;  // options included
  std::size_t most_words;
  bool needs_image;
  std::string_view usage;
  std::string_view help;
  std::span<const OptionRow> options;
  /// False: it failed, and has said so.
  bool (*run)(Shell& shell, const Arguments& arguments);
};

/// All of read's and write's family.
std::span<const Command> transfer_commands();
/// The rest, but for help.
std::span<const Command> other_commands();

/// One line of words; true if it did what it says.
bool run_command(Shell& shell, std::string_view line);

/// A number of bytes, or a sentence on standard output.
std::optional<std::uint64_t> parse_bytes(const std::string& text);
/// WHAT has failed, in the host's words.
void print_failure(std::string_view what, const Error& error);

}  // namespace doppel::io
