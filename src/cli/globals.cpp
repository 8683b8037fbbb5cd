// -global: defaults for properties of whole kinds of devices.
//
// Three kinds of driver exist: those of our catalogue, whose properties are checked and kept; those of QEMU that Doppel
// builds into its boards, where a row says what the property means here; and those of QEMU that are not in this
// machine, which QEMU takes without effect, too.
#include <algorithm>
#include <array>

#include "base/text.h"
#include "cli/key_values.h"
#include "cli/options.h"
#include "hw/machine/catalogue.h"

namespace doppel::cli {

namespace {

Result<bool> switch_value(std::string_view value) {
  if (value == "1") return true;
  if (value == "0") return false;
  const auto parsed = parse_bool(value);
  if (!parsed) return fail(ErrorKind::kInvalidArgument, "expected 'on' or 'off', not '{}'", value);
  return *parsed;
}

Result<> set_disable_s3(CommandLine& line, std::string_view value) {
  DOPPEL_ASSIGN(const bool disabled, switch_value(value));
  line.vm.sleep.s3 = !disabled;
  return {};
}

Result<> set_disable_s4(CommandLine& line, std::string_view value) {
  DOPPEL_ASSIGN(const bool disabled, switch_value(value));
  line.vm.sleep.s4 = !disabled;
  return {};
}

Result<> set_rtc_policy(CommandLine& line, std::string_view value) {
  if (value != "slew" && value != "discard")
    return fail(ErrorKind::kInvalidArgument, "expected slew or discard, not '{}'", value);
  line.vm.rtc.slew = value == "slew";
  return {};
}

Result<> set_secure_flash(CommandLine&, std::string_view value) {
  DOPPEL_ASSIGN(const bool secure, switch_value(value));
  if (!secure) return {};
  return fail(
      ErrorKind::kUnsupported,
      "flash that system management mode alone may write needs that mode, which this machine has not; leave this "
      "out, and take firmware built without it, such as OVMF_CODE_4M.fd");
}

Result<> ignore(CommandLine&, std::string_view) {
  return {};
}

/// A property of a device that the boards have built in.
struct BuiltInProperty {
  std::string_view driver;
  std::string_view property;
  Result<> (*apply)(CommandLine& line, std::string_view value);
};

constexpr std::array kBuiltIn = {
    BuiltInProperty{"PIIX4_PM", "disable_s3", set_disable_s3},
    BuiltInProperty{"PIIX4_PM", "disable_s4", set_disable_s4},
    BuiltInProperty{"PIIX4_PM", "s4_val", ignore},
    BuiltInProperty{"PIIX4_PM", "acpi-pci-hotplug-with-bridge-support", ignore},
    BuiltInProperty{"PIIX4_PM", "acpi-root-pci-hotplug", ignore},
    BuiltInProperty{"PIIX4_PM", "memory-hotplug-support", ignore},
    BuiltInProperty{"PIIX4_PM", "smm-compat", ignore},
    BuiltInProperty{"PIIX4_PM", "smm-enabled", ignore},
    BuiltInProperty{"cfi.pflash01", "secure", set_secure_flash},
    BuiltInProperty{"hpet", "hpet-intcap", ignore},
    BuiltInProperty{"hpet", "hpet-offset-saved", ignore},
    BuiltInProperty{"hpet", "msi", ignore},
    BuiltInProperty{"hpet", "timers", ignore},
    BuiltInProperty{"isa-pit", "iobase", ignore},
    // KVM catches up with lost ticks of its PIT by itself.
    BuiltInProperty{"kvm-pit", "lost_tick_policy", ignore},
    BuiltInProperty{"mc146818rtc", "base_year", ignore},
    BuiltInProperty{"mc146818rtc", "lost_tick_policy", set_rtc_policy},
};

/// Drivers of QEMU that no machine of ours has; a name with '*' stands for all that begin so.
constexpr auto kAbsentDrivers = std::to_array<std::string_view>({
    "AC97",           "ES1370",
    "ICH9-LPC",       "sga",
    "adlib",          "ahci",
    "am53c974",       "apic*",
    "ati-vga",        "bochs-display",
    "cfi.pflash01",   "cirrus-vga",
    "cs4231a",        "dc390",
    "e1000*",         "edu",
    "floppy",         "fw_cfg*",
    "fusbh200*",      "gus",
    "hda-*",          "i440FX*",
    "i6300esb",       "i82*",
    "ib700",          "ich9-*",
    "ide-*",          "igb",
    "intel-hda",      "intel-iommu",
    "ioapic",         "ioh3420",
    "isa-applesmc",   "isa-cirrus-vga",
    "isa-fdc",        "isa-ide",
    "isa-parallel",   "isa-vga",
    "ivshmem*",       "kvm-apic",
    "kvm-i8259",      "kvm-ioapic",
    "kvmclock",       "kvmvapic",
    "lsi53c*",        "mch",
    "megasas*",       "migration",
    "mptsas1068",     "ne2k_*",
    "nec-usb-xhci",   "nvdimm",
    "nvme*",          "pc-dimm",
    "pcie-*",         "pci-ohci",
    "pci-serial*",    "pcnet",
    "piix3-ide",      "piix3-usb-uhci",
    "piix4-*",        "port92",
    "pvscsi",         "pxb*",
    "q35-pcihost",    "qemu-xhci",
    "qxl*",           "ramfb",
    "rocker",         "rtl8139",
    "sb16",           "scsi-*",
    "sdhci-pci",      "secondary-vga",
    "smbus-*",        "tpm-*",
    "tulip",          "usb-*",
    "vfio-*",         "vhost-*",
    "virtio-*",       "virtserialport",
    "virtconsole",    "vmcoreinfo",
    "vmgenid",        "vmmouse",
    "vmport",         "vmware-svga",
    "vmxnet3",        "vt82c686b-usb-uhci",
    "x3130-upstream", "xio3130-*",
});

bool matches(std::string_view pattern, std::string_view name) {
  if (pattern.ends_with('*')) return name.starts_with(pattern.substr(0, pattern.size() - 1));
  return pattern == name;
}

Result<vm::GlobalConfig> parse_global(std::string_view value) {
  const auto equals = value.find('=');
  const auto dot = value.substr(0, equals).rfind('.');  // a driver may be called "cfi.pflash01"
  vm::GlobalConfig global;
  if (dot != std::string_view::npos && equals != std::string_view::npos) {
    global = {.driver = std::string(value.substr(0, dot)),
              .property = std::string(value.substr(dot + 1, equals - dot - 1)),
              .value = std::string(value.substr(equals + 1))};
  } else {
    DOPPEL_ASSIGN(auto pairs, parse_key_values(value, ""));
    KeyValueReader reader(std::move(pairs));
    reader.text("driver", global.driver);
    reader.text("property", global.property);
    reader.text("value", global.value);
    if (!reader.finish()) global = {};
  }
  if (global.driver.empty() || global.property.empty())
    return fail(ErrorKind::kInvalidArgument, "expected DRIVER.PROPERTY=VALUE, such as PIIX4_PM.disable_s3=1");
  return global;
}

Result<> apply_built_in(CommandLine& line, const vm::GlobalConfig& global) {
  NearestName nearest(global.property);
  for (const BuiltInProperty& row : kBuiltIn) {
    if (row.driver != global.driver) continue;
    if (row.property == global.property) return row.apply(line, global.value);
    nearest.offer(row.property);
  }
  return fail(ErrorKind::kNotFound, "'{}' has no property '{}'{}", global.driver, global.property,
              nearest.suggestion());
}

/// The sentence for a driver that neither we nor QEMU have.
Result<> unknown_driver(const std::string& driver) {
  if (driver.ends_with("-x86_64-cpu"))
    return fail(ErrorKind::kUnsupported, "properties of processors go with -cpu; write '-cpu MODEL,PROPERTY=VALUE'");
  NearestName nearest(driver);
  for (const hw::DeviceType& type : hw::device_catalogue()) nearest.offer(type.name);
  for (const BuiltInProperty& row : kBuiltIn) nearest.offer(row.driver);
  for (const std::string_view absent : kAbsentDrivers)
    if (!absent.ends_with('*')) nearest.offer(absent);
  return fail(ErrorKind::kNotFound, "there is no driver '{}'{}; '-device help' lists them", driver,
              nearest.suggestion());
}

}  // namespace

Result<> apply_global(CommandLine& line, std::string_view value) {
  if (wants_help(value)) return print(line, "global options:\n  driver=<str>\n  property=<str>\n  value=<str>\n", 1);
  DOPPEL_ASSIGN(auto global, parse_global(value));
  if (std::ranges::find(kBuiltIn, global.driver, &BuiltInProperty::driver) != kBuiltIn.end())
    return apply_built_in(line, global);
  const auto known = hw::device_catalogue();
  const auto type = std::ranges::find(known, global.driver, &hw::DeviceType::name);
  if (type == known.end()) {
    const bool absent = std::ranges::any_of(kAbsentDrivers, [&](auto name) { return matches(name, global.driver); });
    return absent ? Result<>() : unknown_driver(global.driver);
  }
  DOPPEL_TRY(type->check({{global.property, global.value}}));
  line.vm.globals.push_back(std::move(global));
  return {};
}

}  // namespace doppel::cli
