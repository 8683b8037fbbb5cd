// -machine, -accel, -cpu, -smp.
#include "cli/cli_test_support.h"

namespace doppel::cli {
namespace {

using vm::KeyValues;

Words accel_names(const vm::VmConfig& config) {
  Words names;
  for (const vm::AccelConfig& accel : config.accelerators) names.push_back(accel.name);
  return names;
}

TEST(MachineOption, TypeAndProperties) {
  const auto machine = parse_config({"-machine", "microvm,acpi=off,hpet=on"}).machine;
  EXPECT_EQ(machine.type, "microvm");
  EXPECT_EQ(machine.properties, (KeyValues{{"acpi", "off"}, {"hpet", "on"}}));
  EXPECT_EQ(parse_config({"-M", "type=none"}).machine.type, "none");
  EXPECT_EQ(parse_config({"-M", "pc-i440fx-2.9"}).machine.type, "pc-i440fx-2.9");
}

TEST(MachineOption, RepeatsAreMergedKeyByKey) {
  const auto config = parse_config({"-machine", "microvm", "-machine", "acpi=off,accel=kvm", "-M", "accel=tcg"});
  EXPECT_EQ(config.machine.type, "microvm");
  EXPECT_EQ(config.machine.properties, (KeyValues{{"acpi", "off"}}));
  EXPECT_EQ(accel_names(config), (Words{"soft"}));
}

TEST(MachineOption, ShortBooleans) {
  EXPECT_EQ(parse_config({"-M", "pc,nohpet,usb"}).machine.properties, (KeyValues{{"hpet", "off"}, {"usb", "on"}}));
}

TEST(MachineOption, Errors) {
  EXPECT_EQ(error_of({"-M", "pcc"}),
            "-M pcc: there is no machine type 'pcc' (did you mean 'pc'?); '-machine help' lists them");
  EXPECT_EQ(error_of({"-M", "q35"}), "-M q35: machine type 'q35' is not there yet; write '-machine pc'");
  EXPECT_EQ(error_of({"-M", "pc,hpte=on"}), "-M pc,hpte=on: there is no property 'hpte' (did you mean 'hpet'?)");
  EXPECT_EQ(error_of({"-M", "pc,hpet=maybe"}), "-M pc,hpet=maybe: property 'hpet' expects 'on' or 'off', not 'maybe'");
  EXPECT_EQ(error_of({"-M", "{\"type\":\"pc\"}"}), "-M {\"type\":\"pc\"}: this option takes key=value pairs, not JSON");
}

TEST(MachineOption, HelpListsTheTypes) {
  for (const char* word : {"help", "?"}) {
    const Printout printout = printout_of({"-machine", word});
    EXPECT_EQ(printout.status, 0);
    EXPECT_TRUE(printout.text.starts_with("Supported machines are:\n"));
    EXPECT_NE(printout.text.find("\npc                   Standard PC (i440FX + PIIX, 1996) (alias of pc-i440fx-7.2)\n"),
              std::string::npos);
    EXPECT_NE(printout.text.find("\npc-i440fx-7.2        Standard PC (i440FX + PIIX, 1996) (default)\n"),
              std::string::npos);
    EXPECT_NE(printout.text.find("\nnone                 empty machine\n"), std::string::npos);
  }
}

TEST(MachineOption, HelpListsAMachinesProperties) {
  const std::string text = printout_of({"-M", "pc,help"}).text;
  EXPECT_TRUE(text.starts_with("pc-i440fx-7.2-machine options:\n"));
  EXPECT_NE(text.find("\n  hpet=<bool>            - high precision event timer (default: true)\n"), std::string::npos);
  EXPECT_NE(error_of({"-M", "pcc,help"}), "");
}

TEST(AccelOption, RepeatsAccumulateInOrder) {
  EXPECT_EQ(accel_names(parse_config({"-accel", "kvm", "-accel", "tcg"})), (Words{"kvm", "soft"}));
  EXPECT_EQ(accel_names(parse_config({"-enable-kvm"})), (Words{"kvm"}));
  EXPECT_EQ(accel_names(parse_config({"-no-kvm"})), (Words{"soft"}));
  EXPECT_EQ(accel_names(parse_config({"-machine", "accel=kvm:tcg"})), (Words{"kvm", "soft"}));
}

TEST(AccelOption, OtherHostsAcceleratorsAreSkippedInAList) {
  EXPECT_EQ(accel_names(parse_config({"-machine", "accel=hvf:whpx:kvm"})), (Words{"kvm"}));
  EXPECT_EQ(error_of({"-machine", "accel=hvf"}), "-machine accel=hvf: none of these is for this host; write accel=kvm");
  EXPECT_EQ(error_of({"-accel", "hvf"}), "-accel hvf: 'hvf' is not for this host; write '-accel kvm'");
}

TEST(AccelOption, Properties) {
  const auto accel = parse_config({"-accel", "kvm,kernel_irqchip=split,dirty-ring-size=4096"}).accelerators.at(0);
  EXPECT_EQ(accel.properties, (KeyValues{{"kernel-irqchip", "split"}, {"dirty-ring-size", "4096"}}));
  EXPECT_EQ(error_of({"-accel", "kvm,kernel-irqchip=maybe"}),
            "-accel kvm,kernel-irqchip=maybe: kernel-irqchip= expects on, off or split, not 'maybe'");
  EXPECT_EQ(error_of({"-accel", "kvm,kernel-irqchp=on"}),
            "-accel kvm,kernel-irqchp=on: accelerator 'kvm' has no property 'kernel-irqchp' (did you mean "
            "'kernel-irqchip'?)");
  EXPECT_EQ(error_of({"-accel", "tcg,thread=multi,tb-size=512"}), "");
}

TEST(AccelOption, Errors) {
  EXPECT_EQ(error_of({"-accel", "kvn"}),
            "-accel kvn: there is no accelerator 'kvn' (did you mean 'kvm'?); '-accel help' lists them");
  EXPECT_EQ(error_of({"-accel", "kvm:tcg"}),
            "-accel kvm:tcg: -accel takes one name; write '-machine accel=kvm:tcg' or -accel several times");
  EXPECT_NE(error_of({"-machine", "accel=kvn"}), "");
  EXPECT_NE(error_of({"-machine", "accel="}), "");
}

TEST(AccelOption, Help) {
  EXPECT_EQ(printout_of({"-accel", "help"}).text, "Accelerators supported in QEMU binary:\nkvm\n");
  EXPECT_TRUE(
      printout_of({"-accel", "kvm,help"}).text.starts_with("kvm-accel options:\n  kernel-irqchip=<on|off|split>"));
}

TEST(CpuOption, TextIsKeptAndChecked) {
  EXPECT_EQ(parse_config({"-cpu", "host,-avx,migratable=off"}).cpu, "host,-avx,migratable=off");
  EXPECT_EQ(parse_config({"-cpu", "host", "-cpu", "max"}).cpu, "max");
  EXPECT_NE(error_of({"-cpu", "Hasswell"}).find("(did you mean 'Haswell'?)"), std::string::npos);
  EXPECT_EQ(error_of({"-cpu", "host,+aavx"}),
            "-cpu host,+aavx: there is no feature or option 'aavx' (did you mean 'avx'?)");
  EXPECT_EQ(error_of({"-cpu", "host,phys-bits=99"}),
            "-cpu host,phys-bits=99: option 'phys-bits' is 99; it must be from 0 to 52");
  EXPECT_EQ(error_of({"-cpu", "host,,+avx"}), "-cpu host,,+avx: there is an empty option between two commas");
  EXPECT_EQ(error_of({"-cpu", ",+avx"}), "-cpu ,+avx: the name of a CPU model comes first; '-cpu help' lists them");
}

TEST(CpuOption, Help) {
  for (const char* word : {"help", "?"}) EXPECT_TRUE(printout_of({"-cpu", word}).text.starts_with("Available CPUs:\n"));
}

TEST(SmpOption, RepeatsAreMergedKeyByKey) {
  const auto smp = parse_config({"-smp", "4,sockets=2", "-smp", "cores=2,maxcpus=8"}).smp;
  EXPECT_EQ(smp.cpus, 4U);
  EXPECT_EQ(smp.sockets, 2U);
  EXPECT_EQ(smp.cores, 2U);
  EXPECT_EQ(smp.maxcpus, 8U);
  EXPECT_EQ(smp.threads, 0U);
  EXPECT_EQ(parse_config({"-smp", "cpus=1,dies=1,threads=1,clusters=1"}).smp.threads, 1U);
}

TEST(SmpOption, Errors) {
  EXPECT_EQ(error_of({"-smp", "0"}), "-smp 0: cpus= expects a number of at least 1, not '0'");
  EXPECT_EQ(error_of({"-smp", "4,cores=0"}), "-smp 4,cores=0: cores= expects a number of at least 1, not '0'");
  EXPECT_EQ(error_of({"-smp", "four"}), "-smp four: cpus= expects a number of at least 1, not 'four'");
  EXPECT_EQ(error_of({"-smp", "4,core=2"}), "-smp 4,core=2: there is no key 'core' (did you mean 'cores'?)");
  EXPECT_EQ(error_of({"-smp", "4,clusters=2"}),
            "-smp 4,clusters=2: a PC's topology has no clusters; leave clusters= out");
}

}  // namespace
}  // namespace doppel::cli
