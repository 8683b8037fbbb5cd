// The command line of doppel-system-x86_64: QEMU's options, each a row of a table, filling a VmConfig.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "vm/config.h"

namespace doppel::cli {

/// -d, -dfilter, -D: for the log, which exists before the machine.
struct LogOptions {
  std::string categories;  // empty: none
  std::string filter;      // empty: everything passes
  std::string file;
};

/// What the program was asked to print instead of running a machine.
struct Printout {
  std::string text;
  int status = 0;
  bool to_stderr = false;
};

/// A drive on the board's IDE controller: `-hda` and its like.
struct BoardDrive {
  unsigned place = 0;  // QEMU's index=: bus 0 master, bus 0 slave, bus 1 master, bus 1 slave
  bool is_cdrom = false;
  std::string image{};  // the id of one of the configuration's drives; empty: no medium
  std::string serial{};
};

struct CommandLine {
  vm::VmConfig vm;
  LogOptions log;
  std::vector<std::string> notes;  // one sentence each, about options that are taken but do nothing here
  std::optional<Printout> printout;

  // What only makes sense once all options are read.
  std::optional<std::string> machine_accel;  // -machine accel=
  std::vector<BoardDrive> board_drives;
  bool snapshot = false;       // -snapshot
  bool no_graphic = false;     // -nographic
  std::optional<bool> vga;     // -vga std, -vga none
  bool default_serial = true;  // the first serial port is nobody's yet
  bool dump_config = false;    // -dump-config
};

/// One option. APPLY gets the value ("" for a flag) and reports errors without naming the option; parse_command_line()
/// adds where it stands.
struct Option {
  std::string_view name;      // without the dash
  std::string_view argument;  // how help shows the value; empty for a flag
  std::string_view help;
  Result<> (*apply)(CommandLine& line, std::string_view value);
};

/// A chapter of the help text.
struct OptionGroup {
  std::string_view title;
  std::span<const Option> options;
};

std::span<const OptionGroup> option_groups();

/// ARGUMENTS without the program's name. Options are applied in their order; one that asks for a printout ends the
/// reading.
Result<CommandLine> parse_command_line(std::span<const std::string> arguments);

std::string help_text();
std::string version_text();

}  // namespace doppel::cli
