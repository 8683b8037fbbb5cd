// -kernel, -bios, -boot, -fw_cfg, -smbios, -acpitable: what the machine starts with.
#include <algorithm>
#include <array>
#include <iterator>

#include <fmt/ranges.h>

#include "base/text.h"
#include "cli/key_values.h"
#include "cli/options.h"
#include "hw/firmware/acpi.h"
#include "hw/firmware/firmware_image.h"
#include "hw/firmware/smbios.h"

namespace doppel::cli {

namespace {

template <std::string vm::BootConfig::* Member>
Result<> set_text(CommandLine& line, std::string_view value) {
  line.vm.boot.*Member = value;
  return {};
}

Result<> add_firmware_directory(CommandLine& line, std::string_view value) {
  if (wants_help(value)) {
    std::vector<std::string> directories = line.vm.boot.firmware_directories;
    std::ranges::copy(hw::default_firmware_dirs(), std::back_inserter(directories));
    return print(line, fmt::format("{}\n", fmt::join(directories, "\n")));
  }
  line.vm.boot.firmware_directories.emplace_back(value);
  return {};
}

/// Letters of -boot order=: a floppies, c disk, d CD-ROM, n network.
Result<> check_order(std::string_view order) {
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (order[i] < 'a' || order[i] > 'p')
      return fail(ErrorKind::kInvalidArgument,
                  "'{}' is not a boot device; the letters are a (floppy), c (disk), d (CD-ROM) and n (network)",
                  order[i]);
    if (order.find(order[i], i + 1) != std::string_view::npos)
      return fail(ErrorKind::kInvalidArgument, "boot device '{}' is given twice", order[i]);
  }
  return {};
}

/// Milliseconds, or -1 for never.
Result<int> parse_reboot_timeout(std::string_view text) {
  if (text == "-1") return -1;
  const auto parsed = parse_number(text);
  if (!parsed || *parsed > 0xffff)
    return fail(ErrorKind::kInvalidArgument, "reboot-timeout= expects milliseconds up to 65535, or -1, not '{}'", text);
  return static_cast<int>(*parsed);
}

Result<> apply_boot(CommandLine& line, std::string_view value) {
  DOPPEL_ASSIGN(auto pairs, parse_key_values(value, "order"));
  KeyValueReader reader(std::move(pairs));
  vm::BootConfig& boot = line.vm.boot;
  reader.text("order", boot.order);
  reader.text("once", boot.once);
  DOPPEL_TRY(check_order(boot.order));
  DOPPEL_TRY(check_order(boot.once));
  DOPPEL_TRY(reader.boolean("menu", boot.menu));
  DOPPEL_TRY(reader.boolean("strict", boot.strict));
  DOPPEL_TRY(reader.number("splash-time", boot.splash_time_ms));
  if (reader.take("splash")) line.notes.emplace_back("there is no display yet to show a splash picture on");
  if (const auto timeout = reader.take("reboot-timeout")) {
    DOPPEL_ASSIGN(boot.reboot_timeout_ms, parse_reboot_timeout(*timeout));
  }
  return reader.finish();
}

Result<> apply_fw_cfg(CommandLine& line, std::string_view value) {
  DOPPEL_ASSIGN(auto pairs, parse_key_values(value, "name"));
  KeyValueReader reader(std::move(pairs));
  vm::FwCfgFileConfig file;
  reader.text("name", file.name);
  reader.text("file", file.file);
  const auto text = reader.take("string");
  file.text = text.value_or("");
  if (file.name.empty())
    return fail(ErrorKind::kInvalidArgument, "name= is missing, such as name=opt/org.example/thing");
  if (text.has_value() == !file.file.empty())
    return fail(ErrorKind::kInvalidArgument, "write either file=PATH or string=TEXT");
  DOPPEL_TRY(reader.finish());
  line.vm.fw_cfg.push_back(std::move(file));
  return {};
}

Result<> apply_smbios(CommandLine& line, std::string_view value) {
  hw::SmbiosOptions scratch;
  DOPPEL_TRY(scratch.parse(value));
  line.vm.tables.smbios.emplace_back(value);
  return {};
}

Result<> apply_acpitable(CommandLine& line, std::string_view value) {
  DOPPEL_TRY(hw::parse_acpi_table_option(value));
  line.vm.tables.acpi.emplace_back(value);
  return {};
}

}  // namespace

std::span<const Option> boot_options() {
  static constexpr std::array kOptions = {
      Option{"kernel", "FILE", "boot this bzImage, multiboot or PVH ELF kernel", set_text<&vm::BootConfig::kernel>},
      Option{"initrd", "FILE", "its initial RAM disk; with multiboot 'FILE args,FILE2'",
             set_text<&vm::BootConfig::initrd>},
      Option{"append", "TEXT", "its command line", set_text<&vm::BootConfig::append>},
      Option{"bios", "FILE", "the firmware image (default: SeaBIOS from its package)", set_text<&vm::BootConfig::bios>},
      Option{"L", "DIRECTORY", "look for firmware here first; 'help' lists where else", add_firmware_directory},
      Option{"boot", "[order=]cadn[,once=][,menu=on][,strict=on][,splash-time=][,reboot-timeout=]",
             "where to boot from", apply_boot},
      Option{"fw_cfg", "[name=]NAME,file=FILE|string=TEXT", "hand the firmware or guest a named file", apply_fw_cfg},
      Option{"smbios", "type=N,key=value|file=FILE", "set fields of an SMBIOS structure, or add one", apply_smbios},
      Option{"acpitable", "file=FILE|sig=,data=...", "add an ACPI table", apply_acpitable},
  };
  return kOptions;
}

}  // namespace doppel::cli
