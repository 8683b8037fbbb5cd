// -kernel, -bios, -L, -boot, -fw_cfg, -smbios, -acpitable.
#include "cli/cli_test_support.h"

namespace doppel::cli {
namespace {

TEST(BootOptions, Files) {
  const auto boot =
      parse_config({"-kernel", "k", "-initrd", "i,j", "-append", "a=b, c", "-bios", "b", "-L", "/x", "-L", "/y"}).boot;
  EXPECT_EQ(boot.kernel, "k");
  EXPECT_EQ(boot.initrd, "i,j");
  EXPECT_EQ(boot.append, "a=b, c");
  EXPECT_EQ(boot.bios, "b");
  EXPECT_EQ(boot.firmware_directories, (Words{"/x", "/y"}));
}

TEST(BootOptions, DirectoriesOfFirmware) {
  const std::string text = printout_of({"-L", "/mine", "-L", "help"}).text;
  EXPECT_TRUE(text.starts_with("/mine\n"));
  EXPECT_NE(text.find("\n/usr/share/seabios\n"), std::string::npos);
}

TEST(BootOption, Keys) {
  const auto boot =
      parse_config({"-boot", "order=dc,once=n,menu=on,strict=on,splash-time=5000,reboot-timeout=10"}).boot;
  EXPECT_EQ(boot.order, "dc");
  EXPECT_EQ(boot.once, "n");
  EXPECT_TRUE(boot.menu && boot.strict);
  EXPECT_EQ(boot.splash_time_ms, 5000U);
  EXPECT_EQ(boot.reboot_timeout_ms, 10);
}

TEST(BootOption, ImpliedOrderAndRepeatsMergedKeyByKey) {
  const auto boot = parse_config({"-boot", "n", "-boot", "menu=on", "-boot", "once=d"}).boot;
  EXPECT_EQ(boot.order, "n");
  EXPECT_EQ(boot.once, "d");
  EXPECT_TRUE(boot.menu);
  EXPECT_EQ(parse_config({"-boot", "reboot-timeout=5", "-boot", "reboot-timeout=-1"}).boot.reboot_timeout_ms, -1);
}

TEST(BootOption, Errors) {
  EXPECT_EQ(error_of({"-boot", "z"}),
            "-boot z: 'z' is not a boot device; the letters are a (floppy), c (disk), d (CD-ROM) and n (network)");
  EXPECT_EQ(error_of({"-boot", "cc"}), "-boot cc: boot device 'c' is given twice");
  EXPECT_EQ(error_of({"-boot", "once=C"}).find("-boot once=C: 'C' is not a boot device"), 0U);
  EXPECT_EQ(error_of({"-boot", "reboot-timeout=never"}),
            "-boot reboot-timeout=never: reboot-timeout= expects milliseconds up to 65535, or -1, not 'never'");
  EXPECT_EQ(error_of({"-boot", "reboot-timeout=65536"}).empty(), false);
  EXPECT_EQ(error_of({"-boot", "menue=on"}), "-boot menue=on: there is no key 'menue' (did you mean 'menu'?)");
}

TEST(FwCfgOption, Accumulates) {
  const auto files = parse_config({"-fw_cfg", "opt/a,string=x,,y", "-fw_cfg", "name=opt/b,file=/f"}).fw_cfg;
  ASSERT_EQ(files.size(), 2U);
  EXPECT_EQ(files[0].name, "opt/a");
  EXPECT_EQ(files[0].text, "x,y");
  EXPECT_EQ(files[1].file, "/f");
  EXPECT_EQ(parse_config({"-fw_cfg", "opt/empty,string="}).fw_cfg.at(0).text, "");
}

TEST(FwCfgOption, Errors) {
  EXPECT_EQ(error_of({"-fw_cfg", "opt/a"}), "-fw_cfg opt/a: write either file=PATH or string=TEXT");
  EXPECT_EQ(error_of({"-fw_cfg", "opt/a,file=x,string=y"}),
            "-fw_cfg opt/a,file=x,string=y: write either file=PATH or string=TEXT");
  EXPECT_EQ(error_of({"-fw_cfg", "string=y"}),
            "-fw_cfg string=y: name= is missing, such as name=opt/org.example/thing");
  EXPECT_EQ(error_of({"-fw_cfg", "opt/a,text=y"}).find("there is no key 'text'") != std::string::npos, false)
      << "what is missing comes first";
}

TEST(TableOptions, AreCheckedAndKept) {
  const auto tables = parse_config({"-smbios", "type=1,serial=42", "-smbios", "type=0,vendor=me"}).tables;
  EXPECT_EQ(tables.smbios, (Words{"type=1,serial=42", "type=0,vendor=me"}));
  EXPECT_NE(error_of({"-smbios", "type=1,serail=42"}).find("serial"), std::string::npos);
  EXPECT_NE(error_of({"-acpitable", "file=/does/not/exist"}), "");
}

TEST(TableOptions, ErrorsNameTheOptionOnce) {
  EXPECT_EQ(error_of({"-smbios", "type=1,serail=42"}),
            "-smbios type=1,serail=42: type=1 has no field 'serail' (did you mean 'serial'?)");
  EXPECT_EQ(error_of({"-smbios", "nonsense"}),
            "-smbios nonsense: type=N or file=PATH is missing, such as type=1,serial=42");
  EXPECT_EQ(error_of({"-smbios", "type=99,serial=1"}),
            "-smbios type=99,serial=1: type=99 cannot be set by fields; use file=PATH");
  EXPECT_EQ(error_of({"-smbios", "type=4,x"}), "-smbios type=4,x: 'x' is not name=value");
  EXPECT_EQ(error_of({"-smbios", "type=1,uuid=x"}), "-smbios type=1,uuid=x: type=1,uuid= expects a UUID, not 'x'");
  EXPECT_EQ(error_of({"-acpitable", "sgi=X"}), "-acpitable sgi=X: there is no key 'sgi' (did you mean 'sig'?)");
  EXPECT_EQ(error_of({"-acpitable", "rev=256"}), "-acpitable rev=256: rev= expects a number of 1 byte(s), not '256'");
  EXPECT_EQ(error_of({"-acpitable", "data=a,file=b"}),
            "-acpitable data=a,file=b: write one data= or file=, not several");
}

}  // namespace
}  // namespace doppel::cli
