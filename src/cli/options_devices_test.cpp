// -device, -global, -nodefaults.
#include "cli/cli_test_support.h"
#include "hw/machine/catalogue.h"

namespace doppel::cli {
namespace {

using vm::KeyValues;

TEST(DeviceOption, Accumulates) {
  const auto devices =
      parse_config({"-nodefaults", "-device", "isa-debug-exit,iobase=0xf4", "-device", "driver=pvpanic"}).devices;
  ASSERT_EQ(devices.size(), 2U);
  EXPECT_EQ(devices[0].driver, "isa-debug-exit");
  EXPECT_EQ(devices[0].properties, (KeyValues{{"iobase", "0xf4"}}));
  EXPECT_EQ(devices[1].driver, "pvpanic");
}

TEST(DeviceOption, Json) {
  const auto device = parse_config({"-nodefaults", "-device",
                                    R"({"driver":"pci-bridge","id":"b","addr":"0x1.0x2","chassis_nr":3,"msi":false})"})
                          .devices.at(0);
  EXPECT_EQ(device.properties, (KeyValues{{"id", "b"}, {"addr", "0x1.0x2"}, {"chassis_nr", "3"}, {"msi", "off"}}));
}

TEST(DeviceOption, Errors) {
  EXPECT_EQ(error_of({"-device", "pvpanik"}),
            "-device pvpanik: there is no device 'pvpanik' (did you mean 'pvpanic'?); '-device help' lists them");
  EXPECT_EQ(error_of({"-device", "isa-debug-exit,iobas=1"}),
            "-device isa-debug-exit,iobas=1: there is no property 'iobas' (did you mean 'iobase'?)");
  EXPECT_EQ(error_of({"-device", "pci-bridge,chassis_nr=300"}),
            "-device pci-bridge,chassis_nr=300: property 'chassis_nr' expects a number up to 255, not '300'");
  EXPECT_EQ(error_of({"-device", "id=a"}), "-device id=a: driver= is missing; '-device help' lists the devices");
  EXPECT_EQ(error_of({"-device", "pvpanic,id=1"}),
            "-device pvpanic,id=1: id= expects a letter and then letters, digits, '-', '.' or '_', not '1'");
  EXPECT_EQ(error_of({"-device", "pvpanic,id=a", "-device", "pci-bridge,id=a"}),
            "-device pci-bridge,id=a: the id 'a' is taken by another device, a pvpanic");
}

TEST(DeviceOption, HelpListsDevicesByCategory) {
  for (const char* word : {"help", "?"}) {
    const std::string text = printout_of({"-device", word}).text;
    EXPECT_TRUE(text.starts_with("Controller/Bridge/Hub devices:\nname \"pci-bridge\", bus PCI, desc \""));
    EXPECT_NE(text.find("\n\nMisc devices:\nname \"isa-debug-exit\", bus ISA, desc \""), std::string::npos);
  }
}

TEST(DeviceOption, HelpListsEveryDevicesProperties) {
  for (const hw::DeviceType& type : hw::device_catalogue()) {
    const std::string text = printout_of({"-device", fmt::format("{},help", type.name)}).text;
    EXPECT_TRUE(text.starts_with(fmt::format("{} options:\n", type.name)));
    EXPECT_NE(text.find("\n  id=<str>               - its name"), std::string::npos) << type.name;
  }
}

TEST(DeviceOption, HelpOfAnUnknownDeviceEndsWell) {
  const Printout printout = printout_of({"-device", "nosuch,help"});
  EXPECT_EQ(printout.status, 0);
  EXPECT_TRUE(printout.to_stderr);
  EXPECT_EQ(printout.text, "doppel: -device nosuch,help: there is no device 'nosuch'; '-device help' lists them\n");
}

TEST(GlobalOption, OfOurDevicesIsCheckedAndKept) {
  for (const char* text : {"pci-bridge.msi=off", "driver=pci-bridge,property=msi,value=off"}) {
    const auto global = parse_config({"-global", text}).globals.at(0);
    EXPECT_EQ(global.driver, "pci-bridge");
    EXPECT_EQ(global.property, "msi");
    EXPECT_EQ(global.value, "off");
  }
  EXPECT_EQ(parse_config({"-global", "pci-bridge.msi=off", "-global", "isa-serial.irq=3"}).globals.size(), 2U);
  EXPECT_EQ(error_of({"-global", "pci-bridge.mis=off"}),
            "-global pci-bridge.mis=off: there is no property 'mis' (did you mean 'msi'?)");
  EXPECT_NE(error_of({"-global", "pci-bridge.msi=maybe"}), "");
}

TEST(GlobalOption, OfBuiltInDevicesMeansSomethingHere) {
  const auto config = parse_config({"-global", "PIIX4_PM.disable_s3=1", "-global", "PIIX4_PM.disable_s4=on", "-global",
                                    "mc146818rtc.lost_tick_policy=slew"});
  EXPECT_FALSE(config.sleep.s3);
  EXPECT_FALSE(config.sleep.s4);
  EXPECT_TRUE(config.rtc.slew);
  EXPECT_TRUE(config.globals.empty());
  EXPECT_TRUE(parse_config({"-global", "PIIX4_PM.disable_s3=0"}).sleep.s3);
  EXPECT_EQ(error_of({"-global", "PIIX4_PM.disable_s3=2"}),
            "-global PIIX4_PM.disable_s3=2: expected 'on' or 'off', not '2'");
  EXPECT_EQ(error_of({"-global", "PIIX4_PM.disable_s5=1"}),
            "-global PIIX4_PM.disable_s5=1: 'PIIX4_PM' has no property 'disable_s5' (did you mean 'disable_s3'?)");
  EXPECT_EQ(error_of({"-global", "mc146818rtc.lost_tick_policy=delay"}),
            "-global mc146818rtc.lost_tick_policy=delay: expected slew or discard, not 'delay'");
}

TEST(GlobalOption, WhatLibvirtSetsIsTaken) {
  for (const char* text : {"kvm-pit.lost_tick_policy=delay", "ICH9-LPC.disable_s3=1", "isa-fdc.driveA=x", "hpet.msi=on",
                           "virtio-net-pci.romfile=", "driver=cfi.pflash01,property=secure,value=off"})
    EXPECT_EQ(error_of({"-global", text}), "") << text;
}

TEST(GlobalOption, Errors) {
  EXPECT_EQ(error_of({"-global", "pci-brige.msi=off"}),
            "-global pci-brige.msi=off: there is no driver 'pci-brige' (did you mean 'pci-bridge'?); '-device help' "
            "lists them");
  EXPECT_EQ(error_of({"-global", "foo.bar=1"}),
            "-global foo.bar=1: there is no driver 'foo'; '-device help' lists them");
  EXPECT_EQ(error_of({"-global", "qemu64-x86_64-cpu.avx=on"}),
            "-global qemu64-x86_64-cpu.avx=on: properties of processors go with -cpu; write '-cpu "
            "MODEL,PROPERTY=VALUE'");
  for (const char* text : {"foo", "foo=1", ".x=1", "x.=1", "driver=x", "driver=x,propety=y,value=z"})
    EXPECT_EQ(error_of({"-global", text}),
              fmt::format("-global {}: expected DRIVER.PROPERTY=VALUE, such as PIIX4_PM.disable_s3=1", text));
}

TEST(GlobalOption, HelpEndsWithOneAsQemuDoes) {
  EXPECT_EQ(printout_of({"-global", "help"}).status, 1);
}

TEST(Nodefaults, LeavesOutTheDefaults) {
  EXPECT_FALSE(parse_config({"-nodefaults"}).default_devices);
}

}  // namespace
}  // namespace doppel::cli
