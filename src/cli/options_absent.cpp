// Options of QEMU whose part of Doppel is not there yet. Those that ask for nothing ("-monitor none") are taken; those
// that change little are taken with a note; those a guest would miss are refused, with what to write instead.
#include <array>

#include "cli/options.h"

namespace doppel::cli {

namespace {

Result<> take(CommandLine&, std::string_view) {
  return {};
}

Result<> take_none_or_note(CommandLine& line, std::string_view value, std::string_view what) {
  if (value != "none" && value != "null")
    line.notes.push_back(fmt::format("{} '{}': not there yet; going on without", what, value));
  return {};
}

Result<> note_monitor(CommandLine& line, std::string_view value) {
  return take_none_or_note(line, value, "monitor");
}
Result<> note_parallel(CommandLine& line, std::string_view value) {
  return take_none_or_note(line, value, "parallel port");
}
Result<> note_nic(CommandLine& line, std::string_view value) {
  return take_none_or_note(line, value, "network");
}

Result<> refuse_disk(CommandLine&, std::string_view) {
  return fail(ErrorKind::kUnsupported, "disks are not there yet; boot with '-kernel FILE'");
}

Result<> refuse_network(CommandLine&, std::string_view) {
  return fail(ErrorKind::kUnsupported, "network devices are not there yet; write '-nic none'");
}

Result<> refuse_remote_display(CommandLine&, std::string_view) {
  return fail(ErrorKind::kUnsupported, "there is no display yet; write '-display none'");
}

Result<> refuse_migration(CommandLine&, std::string_view) {
  return fail(ErrorKind::kUnsupported, "migration and snapshots are not there yet");
}

}  // namespace

std::span<const Option> absent_options() {
  static constexpr std::array kOptions = {
      Option{"monitor", "none", "the human monitor", note_monitor},
      Option{"qmp", "none", "the machine monitor", note_monitor},
      Option{"mon", "chardev=ID", "a monitor on a chardev", note_monitor},
      Option{"parallel", "none", "the parallel port", note_parallel},
      Option{"net", "none", "network", note_nic},
      Option{"nic", "none", "network", note_nic},
      Option{"netdev", "TYPE,id=ID", "a network backend", refuse_network},
      Option{"drive", "file=FILE", "a disk", refuse_disk},
      Option{"blockdev", "JSON", "a node of the block graph", refuse_disk},
      Option{"hda", "FILE", "the first disk", refuse_disk},
      Option{"hdb", "FILE", "the second disk", refuse_disk},
      Option{"hdc", "FILE", "the third disk", refuse_disk},
      Option{"hdd", "FILE", "the fourth disk", refuse_disk},
      Option{"cdrom", "FILE", "a CD-ROM", refuse_disk},
      Option{"fda", "FILE", "the first floppy", refuse_disk},
      Option{"fdb", "FILE", "the second floppy", refuse_disk},
      Option{"pflash", "FILE", "a flash chip", refuse_disk},
      Option{"snapshot", "", "keep disk images unchanged", take},
      Option{"vnc", "ADDRESS", "the display over VNC", refuse_remote_display},
      Option{"spice", "OPTIONS", "the display over SPICE", refuse_remote_display},
      Option{"incoming", "URI", "wait for a migration", refuse_migration},
      Option{"loadvm", "NAME", "start from a snapshot", refuse_migration},
      Option{"no-user-config", "", "there is none to be read", take},
      Option{"no-hpet", "", "see -machine hpet=off",
             [](CommandLine& line, std::string_view) -> Result<> {
               line.vm.machine.properties.emplace_back("hpet", "off");
               return {};
             }},
      Option{"no-acpi", "", "see -machine acpi=off",
             [](CommandLine& line, std::string_view) -> Result<> {
               line.vm.machine.properties.emplace_back("acpi", "off");
               return {};
             }},
      Option{"msg", "timestamp=on|off", "how messages look", take},
      Option{"overcommit", "mem-lock=|cpu-pm=on|off", "host resources", take},
      Option{"sandbox", "on|off[,...]", "restrict system calls", take},
      Option{"k", "LANGUAGE", "the keyboard's layout", take},
      Option{"usb", "", "USB", take},
      Option{"audiodev", "DRIVER,id=ID", "a sound backend", take},
  };
  return kOptions;
}

}  // namespace doppel::cli
