// The chapters of the option table, a file each, and what they share.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "cli/command_line.h"
#include "hw/core/property.h"

namespace doppel::cli {

std::span<const Option> machine_options();
std::span<const Option> memory_options();
std::span<const Option> boot_options();
std::span<const Option> disk_options();
std::span<const Option> chip_options();
std::span<const Option> device_options();
std::span<const Option> console_options();
std::span<const Option> process_options();
/// Options of QEMU that Doppel takes without effect, or refuses with a sentence, until their part is there.
std::span<const Option> absent_options();

/// Is VALUE a call for help: "help" or "?"?
bool wants_help(std::string_view value);
/// "-NAME help" was asked for: prints TEXT and ends.
Result<> print(CommandLine& line, std::string text, int status = 0);
/// A property table as QEMU prints it: "TITLE options:" and a line for each.
std::string property_list(std::string_view title, std::span<const hw::PropertyInfo> rows);

/// "kvm:soft": in order of preference, the first that works is taken.
Result<> add_accelerators(CommandLine& line, std::string_view names);
/// The next serial port, as -serial says.
Result<> add_serial(CommandLine& line, std::string_view text);
/// A file name without an option in front: the same as -hda.
Result<> add_first_disk(CommandLine& line, std::string_view file);
class KeyValueReader;
/// IMAGE in a flash chip, or in a floppy drive; without a UNIT in the first that is free.
Result<> add_flash(CommandLine& line, std::optional<unsigned> unit, vm::DriveConfig image);
Result<> add_floppy(CommandLine& line, std::optional<unsigned> unit, vm::DriveConfig image);
/// What index= or unit= says, for these two.
Result<std::optional<unsigned>> take_unit(KeyValueReader& reader);
/// The sentence about if=INTERFACE, one of QEMU's that no PC has.
std::string no_place_for(std::string_view interface);
/// Makes devices of the drives that the board brings, once all options are known.
void finish_disks(CommandLine& line);
/// `-global`; in globals.cpp.
Result<> apply_global(CommandLine& line, std::string_view value);

}  // namespace doppel::cli
