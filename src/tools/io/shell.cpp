#include "tools/io/shell.h"

#include <cerrno>
#include <cstring>

#include "base/text.h"

namespace doppel::io {
namespace {

constexpr std::size_t kUnlimited = 1000;

int errno_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kNoSpace: return ENOSPC;
    case ErrorKind::kPermissionDenied: return EPERM;
    case ErrorKind::kUnsupported: return ENOTSUP;
    case ErrorKind::kInvalidArgument: return EINVAL;
    default: return EIO;
  }
}

void print_line(const Command& command) {
  fmt::print("{} {} -- {}\n", command.name, command.usage, command.help);
}

const Command* find(std::string_view name) {
  for (const auto commands : {transfer_commands(), other_commands()})
    for (const Command& command : commands)
      if (name == command.name || name == command.other_name) return &command;
  return nullptr;
}

bool help(std::span<const std::string> words) {
  if (words.empty()) {
    for (const auto commands : {transfer_commands(), other_commands()})
      for (const Command& command : commands) print_line(command);
    fmt::print("\nUse 'help commandname' for extended help.\n");
    return true;
  }
  const Command* command = find(words[0]);
  if (command == nullptr) {
    fmt::print("command {} not found\n", words[0]);
    return false;
  }
  print_line(*command);
  return true;
}

}  // namespace

std::optional<std::uint64_t> parse_bytes(const std::string& text) {
  const auto bytes = parse_size(text);
  if (bytes) return *bytes;
  fmt::print("Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- {}\n", text);
  return std::nullopt;
}

void print_failure(std::string_view what, const Error& error) {
  fmt::print("{} failed: {}\n", what, std::strerror(errno_of(error.kind())));
}

bool run_command(Shell& shell, std::string_view line) {
  std::vector<std::string> words;
  for (const std::string_view word : split(line, ' '))
    if (!word.empty()) words.emplace_back(word);
  if (words.empty()) return true;
  const std::span<const std::string> rest = std::span(words).subspan(1);
  if (words[0] == "help" || words[0] == "?") return help(rest);
  const Command* command = find(words[0]);
  if (command == nullptr) {
    fmt::print(stderr, "command \"{}\" not found\n", words[0]);
    return false;
  }
  if (command->needs_image && !shell.image.is_open()) {
    fmt::print(stderr, "no file open, try 'help open'\n");
    return false;
  }
  if (rest.size() < command->least_words || rest.size() > command->most_words) {
    fmt::print(stderr, "bad argument count {} to {}, expected ", rest.size(), words[0]);
    if (command->most_words >= kUnlimited)
      fmt::print(stderr, "at least {} arguments\n", command->least_words);
    else if (command->least_words == command->most_words)
      fmt::print(stderr, "{} arguments\n", command->least_words);
    else
      fmt::print(stderr, "between {} and {} arguments\n", command->least_words, command->most_words);
    return false;
  }
  const auto arguments = Arguments::parse(command->options, rest);
  if (!arguments) {
    fmt::print(stderr, "{}: {}\n", words[0], arguments.error().describe());
    print_line(*command);
    return false;
  }
  return command->run(shell, *arguments);
}

}  // namespace doppel::io
