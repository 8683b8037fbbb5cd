// Options of QEMU whose part of Doppel is not there yet, and spellings of its past. Those that ask for nothing
// ("-monitor none") are taken; those that change little are taken with a note; those a guest or its user would miss are
// refused, with what to write instead.
#include <algorithm>
#include <array>

#include "cli/options.h"

namespace doppel::cli {

namespace {

/// A string literal as a template's argument, so that a row can carry its sentence.
template <std::size_t N>
struct Text {
  std::array<char, N> characters{};
  constexpr Text(const char (&literal)[N]) { std::ranges::copy(literal, characters.begin()); }
  [[nodiscard]] constexpr std::string_view view() const { return {characters.data(), N - 1}; }
};

Result<> take(CommandLine&, std::string_view) {
  return {};
}

bool asks_for_nothing(std::string_view value) {
  constexpr auto kNothing = std::to_array<std::string_view>({"none", "null", "off"});
  return std::ranges::find(kNothing, value) != kNothing.end();
}

/// "SENTENCE" is told, unless the value asks for nothing anyway.
template <Text Sentence>
Result<> note(CommandLine& line, std::string_view value) {
  if (!asks_for_nothing(value)) line.notes.emplace_back(Sentence.view());
  return {};
}

template <Text Sentence>
Result<> refuse(CommandLine&, std::string_view) {
  return fail(ErrorKind::kUnsupported, "{}", Sentence.view());
}

/// Asked for a list, prints TITLE with nothing under it, as there is nothing.
template <Text Title, Result<> (*Otherwise)(CommandLine&, std::string_view)>
Result<> empty_list_or(CommandLine& line, std::string_view value) {
  if (wants_help(value) || value == "model=help" || value == "format=help")
    return print(line, fmt::format("{}\n", Title.view()));
  return Otherwise(line, value);
}

template <Text Property>
Result<> switch_off(CommandLine& line, std::string_view) {
  line.vm.machine.properties.emplace_back(Property.view(), "off");
  return {};
}

// Functions, and named like them.
// NOLINTBEGIN(readability-identifier-naming)
constexpr auto refuse_disk = refuse<"this is not there yet; write '-hda FILE' or '-drive file=FILE'">;
constexpr auto refuse_network = refuse<"network devices are not there yet; write '-nic none'">;
constexpr auto refuse_display = refuse<"only text is shown yet; write '-display curses', or '-display none'">;
constexpr auto refuse_saving = refuse<"migration and snapshots are not there yet">;
constexpr auto refuse_sharing = refuse<"shared folders are not there yet">;
constexpr auto refuse_soft = refuse<"this needs the software accelerator, which is not there yet">;
constexpr auto note_monitor = note<"monitors are not there yet; going on without">;
constexpr auto note_network = note<"network devices are not there yet; going on without">;
constexpr auto note_sound = note<"sound is not there yet; going on without">;
constexpr auto note_usb = note<"USB is not there yet; going on without">;
constexpr auto note_trace = note<"tracing is by '-d' alone; going on without">;

constexpr auto net_list = empty_list_or<"Supported NIC models:", note_network>;
constexpr auto netdev_list = empty_list_or<"Available netdev backend types:", refuse_network>;
constexpr auto audio_list = empty_list_or<"Available audio drivers:", note_sound>;
// NOLINTEND(readability-identifier-naming)

}  // namespace

std::span<const Option> absent_options() {
  static constexpr std::array kOptions = {
      // Monitors
      Option{"monitor", "none", "the human monitor", note_monitor},
      Option{"qmp", "none", "the machine monitor", note_monitor},
      Option{"qmp-pretty", "none", "the machine monitor, for people", note_monitor},
      Option{"mon", "chardev=ID", "a monitor on a chardev", note_monitor},
      Option{"preconfig", "", "configure over the machine monitor first", refuse<"monitors are not there yet">},
      // Network
      Option{"net", "none", "network", net_list},
      Option{"nic", "none", "network", net_list},
      Option{"netdev", "TYPE,id=ID", "a network backend", netdev_list},
      // Other disks
      Option{"iscsi", "key=value", "an iSCSI session's parameters", refuse_disk},
      Option{"fsdev", "DRIVER,id=ID", "a shared folder's backend", refuse_sharing},
      Option{"virtfs", "DRIVER,path=", "a shared folder", refuse_sharing},
      // Other devices
      Option{"parallel", "none", "the parallel port", note<"parallel ports are not there yet; going on without">},
      Option{"usb", "", "USB", note_usb},
      Option{"usbdevice", "NAME", "a USB device", note_usb},
      Option{"audio", "DRIVER", "sound", audio_list},
      Option{"audiodev", "DRIVER,id=ID", "a sound backend", audio_list},
      Option{"soundhw", "CARD", "sound, as QEMU 7.0 spelt it", note_sound},
      Option{"audio-help", "", "list sound drivers",
             [](CommandLine& line, std::string_view) { return audio_list(line, "help"); }},
      Option{"tpmdev", "TYPE,id=ID", "a TPM", refuse<"TPMs are not there yet">},
      Option{"watchdog", "DEVICE", "a watchdog, as QEMU 7.1 spelt it", note<"watchdogs are not there yet">},
      Option{"balloon", "none", "a balloon, as QEMU 3.1 spelt it", note<"balloons are not there yet">},
      Option{"option-rom", "FILE", "load an option ROM", refuse<"option ROMs are not there yet">},
      Option{"dtb", "FILE", "a device tree", refuse<"a PC has no device tree">},
      Option{"set", "GROUP.ID.KEY=VALUE", "change an option given before",
             refuse<"write the key with the option it belongs to">},
      // Display and keyboard
      Option{"vnc", "ADDRESS", "the display over VNC", refuse_display},
      Option{"spice", "OPTIONS", "the display over SPICE", refuse_display},
      Option{"full-screen", "", "the display on the whole screen", take},
      Option{"g", "WxH[xDEPTH]", "the display's first size", take},
      Option{"portrait", "", "the display turned", take},
      Option{"rotate", "DEGREES", "the display turned", take},
      Option{"k", "LANGUAGE", "the keyboard's layout", take},
      Option{"echr", "CODE", "the terminal's escape character", note<"the escape character is always Ctrl-A">},
      // Saving
      Option{"incoming", "URI", "wait for a migration", refuse_saving},
      Option{"loadvm", "NAME", "start from a snapshot", refuse_saving},
      Option{"dump-vmstate", "FILE", "describe the saved state", refuse_saving},
      Option{"only-migratable", "", "refuse what cannot migrate", take},
      // The machine, by older names
      Option{"no-acpi", "", "the same as -machine acpi=off", switch_off<"acpi">},
      Option{"no-hpet", "", "the same as -machine hpet=off", switch_off<"hpet">},
      Option{"no-fd-bootchk", "", "the same as -machine fd-bootchk=off", switch_off<"fd-bootchk">},
      Option{"win2k-hack", "", "for Windows 2000 on full disks", take},
      Option{"enable-fips", "", "nothing, since QEMU 6.1", take},
      // The process
      Option{"no-user-config", "", "there is none to be read", take},
      Option{"readconfig", "FILE", "read options from a file", refuse<"write the options on the command line">},
      Option{"msg", "timestamp=on|off", "how messages look", take},
      Option{"compat", "key=value", "what to do about deprecated interfaces", take},
      Option{"overcommit", "mem-lock=|cpu-pm=on|off", "host resources", take},
      Option{"sandbox", "on|off[,...]", "restrict system calls",
             note<"the sandbox is not there yet; going on without">},
      Option{"chroot", "DIRECTORY", "change the root directory", refuse<"start Doppel by chroot(8) instead">},
      Option{"runas", "USER", "change the user", refuse<"start Doppel as that user instead">},
      Option{"run-with", "key=value", "change root, user or clean-up", note<"not there yet; going on without">},
      Option{"add-fd", "fd=N,set=N", "hand over an open file", refuse<"descriptor sets are not there yet">},
      Option{"seed", "NUMBER", "for repeatable random numbers", take},
      Option{"trace", "[enable=]PATTERN", "trace events", note_trace},
      Option{"singlestep", "", "translate one instruction at a time", refuse<"write '-accel soft,one-insn-per-tb=on'">},
      Option{"icount", "shift=N", "count instructions as time", refuse_soft},
      Option{"plugin", "FILE", "a plugin of the translator", refuse_soft},
      Option{"semihosting", "", "system calls to the host", refuse<"a PC has no semihosting">},
      Option{"semihosting-config", "key=value", "system calls to the host", refuse<"a PC has no semihosting">},
      Option{"prom-env", "NAME=VALUE", "a variable of Open Firmware", refuse<"a PC has no Open Firmware">},
  };
  return kOptions;
}

}  // namespace doppel::cli
