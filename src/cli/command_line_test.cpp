#include "cli/command_line.h"

#include <set>

#include "cli/cli_test_support.h"
#include "vm/config_json.h"

namespace doppel::cli {
namespace {

TEST(CommandLine, EmptyIsADefaultPc) {
  const vm::VmConfig config = parse_config({});
  EXPECT_EQ(config.machine.type, "pc");
  EXPECT_TRUE(config.accelerators.empty());
  EXPECT_EQ(config.memory.size, 128ULL << 20U);
  EXPECT_EQ(config.serial, (Words{"serial0"}));
}

TEST(CommandLine, OneDashOrTwo) {
  EXPECT_EQ(parse_config({"--m", "64"}).memory.size, 64ULL << 20U);
  EXPECT_TRUE(parse_config({"--S"}).process.start_paused);
}

TEST(CommandLine, OptionAndValueAreTwoWords) {
  EXPECT_EQ(error_of({"-smp=4"}), "'-smp=4': an option and its value are two words; write '-smp 4'");
  EXPECT_EQ(error_of({"--m=1G"}), "'--m=1G': an option and its value are two words; write '-m 1G'");
}

TEST(CommandLine, NoAbbreviations) {
  EXPECT_EQ(error_of({"-kern", "x"}), "there is no option '-kern' (did you mean '-kernel'?); '-help' lists them");
  EXPECT_EQ(error_of({"-quite-different"}), "there is no option '-quite-different'; '-help' lists them");
}

TEST(CommandLine, MissingValue) {
  EXPECT_EQ(error_of({"-append"}), "-append needs a value: -append TEXT");
}

TEST(CommandLine, ValueMayLookLikeAnOption) {
  EXPECT_EQ(parse_config({"-append", "-x"}).boot.append, "-x");
}

TEST(CommandLine, BareWordIsADisk) {
  EXPECT_EQ(parse_config({"disk.img"}).drives.at(0).file, "disk.img");
  EXPECT_EQ(error_of({"a.img", "b.img"}).find("'b.img': there is a drive at bus=0,unit=0 (index=0) already"), 0U);
  EXPECT_NE(error_of({"-"}), "");
}

TEST(CommandLine, ErrorsNameTheOptionAndItsValue) {
  EXPECT_EQ(error_of({"-m", "abc"}), "-m abc: 'abc' is not a size; write a number with K, M, G or T, such as 512M");
  EXPECT_EQ(error_of({"-m", std::string(500, 'x')}).find("-m " + std::string(100, 'x') + "...: "), 0U);
}

TEST(CommandLine, NotesNameTheOptionAndItsValue) {
  EXPECT_EQ(parse_line({"-usbdevice", "tablet"}).notes,
            (Words{"-usbdevice tablet: USB is not there yet; going on without"}));
}

TEST(CommandLine, APrintoutEndsTheReading) {
  EXPECT_EQ(printout_of({"-version", "-nonsense"}).text, version_text());
  EXPECT_NE(error_of({"-nonsense", "-version"}), "");
}

TEST(CommandLine, NamesAreUniqueAndEveryOptionHasHelp) {
  std::set<std::string_view> names;
  for (const OptionGroup& group : option_groups()) {
    EXPECT_FALSE(group.title.empty());
    for (const Option& option : group.options) {
      EXPECT_TRUE(names.insert(option.name).second) << option.name << " is there twice";
      EXPECT_FALSE(option.name.empty() || option.name.starts_with('-')) << option.name;
      EXPECT_FALSE(option.help.empty()) << option.name;
      EXPECT_FALSE(option.help.ends_with('.')) << option.name;
      EXPECT_NE(option.apply, nullptr) << option.name;
    }
  }
}

TEST(CommandLine, EveryOptionOfQemuIsKnown) {
  std::set<std::string_view> names;
  for (const OptionGroup& group : option_groups())
    for (const Option& option : group.options) names.insert(option.name);
  for (const char* name : {"accel",
                           "acpitable",
                           "action",
                           "add-fd",
                           "append",
                           "audiodev",
                           "bios",
                           "blockdev",
                           "boot",
                           "cdrom",
                           "chardev",
                           "chroot",
                           "compat",
                           "cpu",
                           "curses",
                           "d",
                           "D",
                           "daemonize",
                           "debugcon",
                           "device",
                           "display",
                           "drive",
                           "echr",
                           "enable-kvm",
                           "fda",
                           "fsdev",
                           "fw_cfg",
                           "g",
                           "gdb",
                           "global",
                           "h",
                           "hda",
                           "help",
                           "icount",
                           "incoming",
                           "initrd",
                           "k",
                           "kernel",
                           "L",
                           "loadvm",
                           "m",
                           "M",
                           "machine",
                           "mem-path",
                           "mem-prealloc",
                           "mon",
                           "monitor",
                           "msg",
                           "name",
                           "net",
                           "netdev",
                           "nic",
                           "no-acpi",
                           "no-hpet",
                           "no-reboot",
                           "no-shutdown",
                           "no-user-config",
                           "nodefaults",
                           "nographic",
                           "numa",
                           "object",
                           "option-rom",
                           "overcommit",
                           "parallel",
                           "pflash",
                           "pidfile",
                           "plugin",
                           "preconfig",
                           "qmp",
                           "readconfig",
                           "rtc",
                           "runas",
                           "s",
                           "S",
                           "sandbox",
                           "seed",
                           "serial",
                           "set",
                           "smbios",
                           "smp",
                           "snapshot",
                           "spice",
                           "tpmdev",
                           "trace",
                           "usb",
                           "usbdevice",
                           "uuid",
                           "version",
                           "vga",
                           "virtfs",
                           "vnc",
                           "watchdog-action"})
    EXPECT_TRUE(names.contains(name)) << name;
}

TEST(CommandLine, HelpBeginsWithTheVersionAndListsEveryOption) {
  const std::string help = help_text();
  EXPECT_TRUE(help.starts_with(version_text()));
  for (const OptionGroup& group : option_groups())
    for (const Option& option : group.options)
      EXPECT_NE(help.find(fmt::format("\n-{}", option.name)), std::string::npos) << option.name;
  EXPECT_EQ(printout_of({"-h"}).text, help);
  EXPECT_EQ(printout_of({"--help"}).text, help);
}

TEST(CommandLine, VersionHasTheShapeThatProgramsParse) {
  EXPECT_TRUE(version_text().starts_with("QEMU emulator version 7.2.22 (Doppel "));
  EXPECT_EQ(printout_of({"-version"}).status, 0);
}

TEST(CommandLine, DumpConfigShowsAllOfTheCommandLine) {
  const Printout printout = printout_of({"-dump-config", "-m", "1G", "-smp", "2", "-nodefaults"});
  EXPECT_EQ(printout.status, 0);
  const auto config = vm::config_from_json(printout.text);
  ASSERT_TRUE(config) << config.error().describe();
  EXPECT_EQ(config->memory.size, 1ULL << 30U);
  EXPECT_EQ(config->smp.cpus, 2U);
  EXPECT_FALSE(config->default_devices);
}

// ---- What follows from all options together

TEST(CommandLine, DefaultSerialPort) {
  using chardev::StdioBackend;
  using chardev::VcBackend;
  const auto window = parse_config({});
  EXPECT_TRUE(std::holds_alternative<VcBackend>(window.chardevs.at(0).backend));
  for (const Words& words : {Words{"-nographic"}, Words{"-nographic", "-monitor", "none"}}) {
    const auto config = parse_config(words);
    ASSERT_EQ(config.serial, (Words{"serial0"}));
    EXPECT_TRUE(std::holds_alternative<StdioBackend>(config.chardevs.at(0).backend));
    EXPECT_TRUE(config.chardevs.at(0).mux) << "Ctrl-A x must end the program";
  }
}

TEST(CommandLine, NoDefaultSerialPortWhereOneIsGivenOrNoneWanted) {
  EXPECT_TRUE(parse_config({"-nodefaults"}).serial.empty());
  EXPECT_TRUE(parse_config({"-nographic", "-nodefaults"}).chardevs.empty());
  EXPECT_TRUE(parse_config({"-device", "isa-serial"}).serial.empty());
  EXPECT_EQ(parse_config({"-nographic", "-serial", "none"}).serial, (Words{""}));
  EXPECT_EQ(parse_config({"-nodefaults", "-serial", "null"}).serial, (Words{"serial0"}));
}

TEST(CommandLine, TheBackgroundHasNoTerminal) {
  constexpr std::string_view kSentence = "-daemonize leaves the terminal, which chardev 'serial0' is on";
  EXPECT_TRUE(error_of({"-daemonize", "-nographic"}).starts_with(kSentence));
  EXPECT_TRUE(error_of({"-serial", "mon:stdio", "-daemonize"}).starts_with(kSentence));
  EXPECT_NE(error_of({"-chardev", "stdio,id=c", "-daemonize"}), "");
  // How libvirt asks what a QEMU can do.
  EXPECT_EQ(
      error_of({"-S", "-no-user-config", "-nodefaults", "-nographic", "-machine", "none,accel=kvm:tcg", "-daemonize"}),
      "");
}

TEST(CommandLine, SerialPortsMayComeBeforeTheirChardevs) {
  EXPECT_EQ(error_of({"-serial", "chardev:mine", "-chardev", "null,id=mine"}), "");
  EXPECT_EQ(error_of({"-serial", "chardev:mien", "-chardev", "null,id=mine"}),
            "-serial chardev:mien: there is no such chardev (did you mean 'mine'?); add '-chardev BACKEND,id=mien'");
}

TEST(CommandLine, AcceleratorsInOnePlaceOnly) {
  EXPECT_EQ(error_of({"-accel", "kvm", "-machine", "pc,accel=tcg"}),
            "-accel and '-machine accel=' exclude each other; write one of them");
}

}  // namespace
}  // namespace doppel::cli
