// -chardev, -serial, -debugcon, -display, -vga.
#include "cli/cli_test_support.h"

namespace doppel::cli {
namespace {

using chardev::SocketBackend;

TEST(ChardevOption, KeysAndShortBooleans) {
  const auto config = parse_config({"-chardev", "socket,id=m,path=/s,server,nowait,logfile=/l"}).chardevs.at(0);
  const auto& socket = std::get<SocketBackend>(config.backend);
  EXPECT_EQ(config.id, "m");
  EXPECT_EQ(config.logfile, "/l");
  EXPECT_EQ(socket.path, "/s");
  EXPECT_TRUE(socket.server);
  EXPECT_EQ(socket.wait, std::optional(false));
}

TEST(ChardevOption, NodelayInBothSpellings) {
  const auto nodelay = [](const std::string& flag) {
    const auto config = parse_config({"-chardev", "socket,id=m,host=h,port=1," + flag});
    return std::get<SocketBackend>(config.chardevs.at(0).backend).nodelay;
  };
  EXPECT_TRUE(nodelay("nodelay"));
  EXPECT_TRUE(nodelay("delay=off"));
  EXPECT_FALSE(nodelay("delay"));
}

TEST(ChardevOption, Errors) {
  EXPECT_EQ(error_of({"-chardev", "stdio"}), "-chardev stdio: id= is missing, such as '-chardev stdio,id=char0'");
  EXPECT_EQ(error_of({"-chardev", "stdoi,id=a"}),
            "-chardev stdoi,id=a: there is no chardev backend 'stdoi' (did you mean 'stdio'?)");
  EXPECT_EQ(error_of({"-chardev", "socket,id=a"}),
            "-chardev socket,id=a: a socket chardev needs one of 'path', 'host' with 'port', and 'fd'");
  EXPECT_EQ(error_of({"-chardev", "file,id=a,pth=x"}),
            "-chardev file,id=a,pth=x: chardev backend 'file' has no option 'pth' (did you mean 'path'?)");
  EXPECT_EQ(error_of({"-chardev", "null,id=a", "-chardev", "null,id=a"}),
            "-chardev null,id=a: the id 'a' is taken by another chardev");
  EXPECT_EQ(error_of({"-chardev", "{\"id\":\"a\"}"}),
            "-chardev {\"id\":\"a\"}: this option takes key=value pairs, not JSON");
}

TEST(ChardevOption, Help) {
  const std::string list = printout_of({"-chardev", "help"}).text;
  EXPECT_TRUE(list.starts_with("Available chardev backend types: \n  file\n"));
  EXPECT_NE(list.find("\n  socket\n"), std::string::npos);
  const std::string keys = printout_of({"-chardev", "socket,help"}).text;
  EXPECT_TRUE(keys.starts_with("chardev socket options:\n  path=<str>             - a Unix socket\n"));
  EXPECT_NE(keys.find("\n  mux=<bool>"), std::string::npos);
}

TEST(SerialOption, PortsInOrder) {
  const auto config = parse_config({"-chardev", "null,id=mine", "-serial", "none", "-serial", "chardev:mine", "-serial",
                                    "file:/tmp/x", "-serial", "tcp::4444,server=on,wait=off"});
  EXPECT_EQ(config.serial, (Words{"", "mine", "serial2", "serial3"}));
  ASSERT_EQ(config.chardevs.size(), 3U);
  EXPECT_EQ(std::get<chardev::FileBackend>(config.chardevs[1].backend).path, "/tmp/x");
  EXPECT_EQ(std::get<SocketBackend>(config.chardevs[2].backend).port, "4444");
}

TEST(SerialOption, Errors) {
  EXPECT_EQ(error_of({"-serial", "stdoi"}), "-serial stdoi: 'stdoi' is not a character device (did you mean 'stdio'?)");
  EXPECT_EQ(error_of({"-serial", "null", "-serial", "null", "-serial", "null", "-serial", "null", "-serial", "vc"}),
            "-serial vc: a PC has 4 serial ports, and all are taken");
  EXPECT_EQ(error_of({"-serial", "tcp:nowhere"}), "-serial tcp:nowhere: 'tcp:' expects [HOST]:PORT, not 'nowhere'");
}

TEST(DebugconOption, IsADeviceWithAChardev) {
  const auto config = parse_config({"-nodefaults", "-debugcon", "file:/tmp/x"});
  ASSERT_EQ(config.devices.size(), 1U);
  EXPECT_EQ(config.devices[0].driver, "isa-debugcon");
  EXPECT_EQ(config.devices[0].properties, (vm::KeyValues{{"iobase", "0xe9"}, {"chardev", "debugcon"}}));
  EXPECT_EQ(config.chardevs.at(0).id, "debugcon");
}

TEST(DisplayOptions, WhatIsNotThereIsNoted) {
  EXPECT_TRUE(parse_line({"-display", "none", "-vga", "none"}).notes.empty());
  EXPECT_EQ(parse_line({"-display", "gtk,gl=on"}).notes,
            (Words{"-display gtk,gl=on: there is no display 'gtk' yet, going on as with '-display none'; '-display "
                   "curses' shows text in this terminal"}));
  EXPECT_EQ(printout_of({"-display", "help"}).text, "Available display backend types:\ncurses\nnone\n");
  EXPECT_EQ(printout_of({"-vga", "help"}).status, 0);
  EXPECT_EQ(error_of({"-vga", "cirrus"}),
            "-vga cirrus: there is no display adapter 'cirrus'; write '-vga std' or '-vga none'");
}

/// The devices that come of ARGUMENTS, but for the empty drives that every PC has.
Words drivers(const Words& arguments) {
  Words names;
  for (const vm::DeviceConfig& device : parse_config(arguments).devices)
    if (device.driver != "ide-cd" && device.driver != "floppy") names.push_back(device.driver);
  return names;
}

TEST(DisplayOptions, CursesBringsAVga) {
  EXPECT_EQ(parse_config({"-curses"}).display.kind, vm::DisplayKind::kCurses);
  EXPECT_EQ(parse_config({"-curses", "-display", "none"}).display.kind, vm::DisplayKind::kNone);
  EXPECT_EQ(drivers({}), Words{});
  EXPECT_EQ(drivers({"-nographic"}), Words{});
  EXPECT_EQ(drivers({"-vga", "std"}), Words{"VGA"});
  EXPECT_EQ(drivers({"-device", "pvpanic", "-curses"}), (Words{"VGA", "pvpanic"})) << "in front, for slot 2";
  EXPECT_EQ(drivers({"-device", "VGA,vgamem_mb=32", "-curses"}), Words{"VGA"});
  EXPECT_EQ(drivers({"-curses", "-vga", "none"}), Words{});
  EXPECT_EQ(drivers({"-curses", "-nodefaults"}), Words{});
  EXPECT_EQ(drivers({"-curses", "-nodefaults", "-vga", "std"}), Words{"VGA"});
  EXPECT_EQ(drivers({"-curses", "-machine", "microvm"}), Words{});
}

TEST(DisplayOptions, TheTerminalIsForOneAlone) {
  for (const char* other : {"-serial stdio", "-serial mon:stdio", "-gdb stdio", "-debugcon stdio", "-nographic",
                            "-daemonize", "-chardev stdio,id=c"}) {
    const std::string text = other;
    Words arguments{"-curses", text.substr(0, text.find(' '))};
    if (text.find(' ') != std::string::npos) arguments.push_back(text.substr(text.find(' ') + 1));
    EXPECT_NE(error_of(arguments).find("terminal"), std::string::npos) << other << ": " << error_of(arguments);
  }
  EXPECT_TRUE(parse_line({"-curses", "-serial", "file:/tmp/x"}).notes.empty());
}

}  // namespace
}  // namespace doppel::cli
