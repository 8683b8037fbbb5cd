// -machine, -accel, -cpu, -smp: what the machine is.
#include <algorithm>
#include <array>

#include "base/text.h"
#include "cli/key_values.h"
#include "cli/options.h"
#include "hw/machine/pc_config.h"
#include "vm/machine_types.h"
#include "x86/cpu_model.h"

namespace doppel::cli {

namespace {

// ---- -machine

std::string machine_help() {
  std::string text = "Supported machines are:\n";
  for (const vm::MachineType& type : vm::machine_types()) {
    if (!type.alias.empty()) text += fmt::format("{:<20} {} (alias of {})\n", type.alias, type.description, type.name);
    text += fmt::format("{:<20} {}{}\n", type.name, type.description, type.is_default ? " (default)" : "");
  }
  return text;
}

Result<> apply_machine(CommandLine& line, std::string_view value) {
  if (wants_help(value)) return print(line, machine_help());
  DOPPEL_ASSIGN(auto pairs, parse_key_values(value, "type"));
  KeyValueReader reader(std::move(pairs));
  reader.text("type", line.vm.machine.type);
  DOPPEL_ASSIGN(const vm::MachineType* type, vm::find_machine_type(line.vm.machine.type));
  if (reader.take_help())
    return print(line, property_list(fmt::format("{}-machine", type->name), hw::kPcProperties.describe()));
  if (auto accel = reader.take("accel")) line.machine_accel = std::move(accel);
  for (auto& [key, text] : std::move(reader).rest()) {
    hw::PcConfig scratch;
    DOPPEL_TRY(hw::kPcProperties.set(scratch, key, text));
    line.vm.machine.properties.emplace_back(std::move(key), std::move(text));
  }
  return {};
}

// ---- -accel

/// Accelerators of QEMU. Ours have a NAME in VmConfig; the others are for other hosts.
struct AccelType {
  std::string_view spelling;
  std::string_view name;  // empty: never here
  std::span<const hw::PropertyInfo> properties;
};

std::span<const hw::PropertyInfo> kvm_properties() {
  static const std::array kRows = {
      hw::PropertyInfo{"kernel-irqchip", "on|off|split", "interrupt controllers in the kernel", "on"},
      hw::PropertyInfo{"kvm-shadow-mem", "size", "no effect: KVM sizes its page tables itself", ""},
      hw::PropertyInfo{"dirty-ring-size", "uint32", "no effect: dirty pages are read from the bitmap", ""},
      hw::PropertyInfo{"notify-vmexit", "str", "no effect", ""},
      hw::PropertyInfo{"notify-window", "uint32", "no effect", ""},
  };
  return kRows;
}

std::span<const hw::PropertyInfo> soft_properties() {
  static const std::array kRows = {
      hw::PropertyInfo{"thread", "single|multi", "a thread for all CPUs, or for each", "multi"},
      hw::PropertyInfo{"tb-size", "uint32", "most MiB of translated code", ""},
      hw::PropertyInfo{"split-wx", "bool", "never map code writable and executable at once", ""},
      hw::PropertyInfo{"translate", "on|off", "run guest code as host code, or interpret all of it", "on"},
      hw::PropertyInfo{"verify", "str", "hold each translated block against the interpreter: on, off, or how often",
                       "off"},
      hw::PropertyInfo{"one-insn-per-tb", "bool", "translate each instruction on its own", "false"},
  };
  return kRows;
}

Result<AccelType> find_accelerator(std::string_view name) {
  const std::array types = {
      AccelType{"kvm", "kvm", kvm_properties()},
      AccelType{"soft", "soft", soft_properties()},
      AccelType{"tcg", "soft", soft_properties()},
      AccelType{"hvf", "", {}},
      AccelType{"nvmm", "", {}},
      AccelType{"qtest", "", {}},
      AccelType{"whpx", "", {}},
      AccelType{"xen", "", {}},
  };
  NearestName nearest(name);
  for (const AccelType& type : types) {
    if (type.spelling == name) return type;
    nearest.offer(type.spelling);
  }
  return fail(ErrorKind::kNotFound, "there is no accelerator '{}'{}; '-accel help' lists them", name,
              nearest.suggestion());
}

Result<> set_accel_property(vm::AccelConfig& accel, const AccelType& type, std::string key, std::string text) {
  std::ranges::replace(key, '_', '-');  // kernel_irqchip
  NearestName nearest(key);
  for (const hw::PropertyInfo& row : type.properties) {
    nearest.offer(row.name);
    if (row.name != key) continue;
    if (key == "kernel-irqchip" && text != "on" && text != "off" && text != "split")
      return fail(ErrorKind::kInvalidArgument, "kernel-irqchip= expects on, off or split, not '{}'", text);
    accel.properties.emplace_back(std::move(key), std::move(text));
    return {};
  }
  return fail(ErrorKind::kNotFound, "accelerator '{}' has no property '{}'{}", type.spelling, key,
              nearest.suggestion());
}

Result<> apply_accel(CommandLine& line, std::string_view value) {
  if (wants_help(value)) return print(line, "Accelerators supported in QEMU binary:\nkvm\n");
  DOPPEL_ASSIGN(auto pairs, parse_key_values(value, "accel"));
  KeyValueReader reader(std::move(pairs));
  const std::string name = reader.take("accel").value_or("");
  if (name.find(':') != std::string::npos)
    return fail(ErrorKind::kInvalidArgument, "-accel takes one name; write '-machine accel={}' or -accel several times",
                name);
  DOPPEL_ASSIGN(const AccelType type, find_accelerator(name));
  if (reader.take_help()) return print(line, property_list(fmt::format("{}-accel", name), type.properties));
  if (type.name.empty()) return fail(ErrorKind::kUnsupported, "'{}' is not for this host; write '-accel kvm'", name);
  vm::AccelConfig accel{.name = std::string(type.name), .properties = {}};
  for (auto& [key, text] : std::move(reader).rest())
    DOPPEL_TRY(set_accel_property(accel, type, std::move(key), std::move(text)));
  line.vm.accelerators.push_back(std::move(accel));
  return {};
}

Result<> apply_enable_kvm(CommandLine& line, std::string_view) {
  line.vm.accelerators.push_back({.name = "kvm", .properties = {}});
  return {};
}

Result<> apply_no_kvm(CommandLine& line, std::string_view) {
  line.vm.accelerators.push_back({.name = "soft", .properties = {}});
  return {};
}

// ---- -cpu, -smp

Result<> apply_cpu(CommandLine& line, std::string_view value) {
  if (wants_help(value)) return print(line, x86::cpu_help());
  DOPPEL_TRY(x86::parse_cpu_option(value));
  line.vm.cpu = value;
  return {};
}

/// A level of QEMU's topology that no PC has: it may be said to be one.
Result<> check_absent_level(KeyValueReader& reader, std::string_view level) {
  unsigned count = 1;
  DOPPEL_TRY(reader.number(level, count));
  if (count == 1) return {};
  return fail(ErrorKind::kUnsupported, "a PC's topology has no {0}; leave {0}= out", level);
}

Result<> apply_smp(CommandLine& line, std::string_view value) {
  DOPPEL_ASSIGN(auto pairs, parse_key_values(value, "cpus"));
  KeyValueReader reader(std::move(pairs));
  vm::SmpConfig& smp = line.vm.smp;
  DOPPEL_TRY(reader.number("cpus", smp.cpus, 1U));
  DOPPEL_TRY(reader.number("maxcpus", smp.maxcpus, 1U));
  DOPPEL_TRY(reader.number("sockets", smp.sockets, 1U));
  DOPPEL_TRY(reader.number("dies", smp.dies, 1U));
  DOPPEL_TRY(reader.number("cores", smp.cores, 1U));
  DOPPEL_TRY(reader.number("threads", smp.threads, 1U));
  for (const std::string_view level : {"clusters", "modules", "books", "drawers"})
    DOPPEL_TRY(check_absent_level(reader, level));
  return reader.finish();
}

}  // namespace

Result<> add_accelerators(CommandLine& line, std::string_view names) {
  for (const std::string_view name : split(names, ':')) {
    DOPPEL_ASSIGN(const AccelType type, find_accelerator(name));
    if (!type.name.empty()) line.vm.accelerators.push_back({.name = std::string(type.name), .properties = {}});
  }
  if (!line.vm.accelerators.empty()) return {};
  return fail(ErrorKind::kUnsupported, "-machine accel={}: none of these is for this host; write accel=kvm", names);
}

std::span<const Option> machine_options() {
  static constexpr std::array kOptions = {
      Option{"machine", "[type=]NAME[,accel=NAME[:NAME...]][,prop=value]",
             "the board; 'help' lists them, 'NAME,help' its properties", apply_machine},
      Option{"M", "[type=]NAME[,prop=value]", "the same as -machine", apply_machine},
      Option{"accel", "NAME[,prop=value]", "what runs the guest's code: kvm, soft; if repeated the first that works",
             apply_accel},
      Option{"enable-kvm", "", "the same as -accel kvm", apply_enable_kvm},
      Option{"no-kvm", "", "the same as -accel soft", apply_no_kvm},
      Option{"cpu", "MODEL[,+feature][,-feature]", "the processor; 'help' lists models and features", apply_cpu},
      Option{"smp", "[cpus=]N[,maxcpus=][,sockets=][,dies=][,cores=][,threads=]", "how many CPUs, and their topology",
             apply_smp},
  };
  return kOptions;
}

}  // namespace doppel::cli
