// -machine, -accel, -cpu, -smp, -m, -object, -numa: what the machine is.
#include <algorithm>
#include <array>

#include "base/bits.h"
#include "base/text.h"
#include "cli/key_values.h"
#include "cli/options.h"
#include "hw/machine/pc_config.h"
#include "vm/machine_types.h"
#include "x86/cpu_model.h"

namespace doppel::cli {

namespace {

std::string machine_help() {
  std::string text = "Supported machines are:\n";
  for (const vm::MachineType& type : vm::machine_types()) {
    if (!type.alias.empty()) text += fmt::format("{:<20} {} (alias of {})\n", type.alias, type.description, type.name);
    text += fmt::format("{:<20} {}{}\n", type.name, type.description, type.is_default ? " (default)" : "");
  }
  return text;
}

std::string property_help(std::string_view title, const std::vector<hw::PropertyInfo>& rows) {
  std::string text = fmt::format("{} options:\n", title);
  for (const hw::PropertyInfo& row : rows)
    text += fmt::format("  {:<22} - {} (default: {})\n", fmt::format("{}=<{}>", row.name, row.type), row.help,
                        row.default_text);
  return text;
}

constexpr std::string_view kAccelHelp = "Accelerators supported in QEMU binary:\nkvm\n";

/// "kvm:soft" is a list in order of preference.
Result<> add_accelerators(CommandLine& line, std::string_view names, const vm::KeyValues& properties) {
  for (const std::string_view name : split(names, ':')) {
    if (name != "kvm" && name != "soft" && name != "tcg" && name != "hvf" && name != "xen")
      return fail(ErrorKind::kNotFound, "there is no accelerator '{}'; the accelerators are 'kvm' and 'soft'", name);
    line.vm.accelerators.push_back({.name = std::string(name == "tcg" ? "soft" : name), .properties = properties});
  }
  return {};
}

Result<> apply_machine(CommandLine& line, std::string_view value) {
  if (wants_help(value)) return print(line, machine_help());
  DOPPEL_ASSIGN(auto pairs, parse_key_values(value, "type"));
  for (auto& [key, text] : pairs) {
    if (key == "type") {
      DOPPEL_TRY(vm::find_machine_type(text));
      line.vm.machine.type = text;
    } else if (key == "help") {
      return print(line, property_help(line.vm.machine.type, hw::kPcProperties.describe()));
    } else if (key == "accel") {
      DOPPEL_TRY(add_accelerators(line, text, {}));
    } else {
      hw::PcConfig scratch;
      DOPPEL_TRY(hw::kPcProperties.set(scratch, key, text));
      line.vm.machine.properties.emplace_back(std::move(key), std::move(text));
    }
  }
  return {};
}

Result<> apply_accel(CommandLine& line, std::string_view value) {
  if (wants_help(value)) return print(line, std::string(kAccelHelp));
  DOPPEL_ASSIGN(auto pairs, parse_key_values(value, "accel"));
  KeyValueReader reader("-accel", std::move(pairs));
  const std::string* taken = reader.take("accel");
  if (taken == nullptr) return fail(ErrorKind::kInvalidArgument, "name an accelerator: kvm or soft");
  const std::string name = *taken;
  return add_accelerators(line, name, std::move(reader).rest());
}

Result<> apply_enable_kvm(CommandLine& line, std::string_view) {
  return add_accelerators(line, "kvm", {});
}

Result<> apply_cpu(CommandLine& line, std::string_view value) {
  if (wants_help(value)) return print(line, x86::cpu_help());
  DOPPEL_TRY(x86::parse_cpu_option(value));
  line.vm.cpu = value;
  return {};
}

Result<> apply_smp(CommandLine& line, std::string_view value) {
  DOPPEL_ASSIGN(auto pairs, parse_key_values(value, "cpus"));
  for (const auto& [key, text] : pairs)
    if (const auto number = parse_number(text); number && *number == 0)
      return fail(ErrorKind::kInvalidArgument, "{}=0: a machine has at least one; write '-smp 1' or leave {}= out", key,
                  key);
  KeyValueReader reader("-smp", std::move(pairs));
  vm::SmpConfig& smp = line.vm.smp;
  DOPPEL_TRY(reader.number("cpus", smp.cpus));
  DOPPEL_TRY(reader.number("maxcpus", smp.maxcpus));
  DOPPEL_TRY(reader.number("sockets", smp.sockets));
  DOPPEL_TRY(reader.number("dies", smp.dies));
  DOPPEL_TRY(reader.number("cores", smp.cores));
  DOPPEL_TRY(reader.number("threads", smp.threads));
  return reader.finish();
}

Result<> apply_memory(CommandLine& line, std::string_view value) {
  DOPPEL_ASSIGN(auto pairs, parse_key_values(value, "size"));
  KeyValueReader reader("-m", std::move(pairs));
  vm::MemoryConfig& memory = line.vm.memory;
  DOPPEL_TRY(reader.size("size", memory.size, kMiB));
  DOPPEL_TRY(reader.number("slots", memory.slots));
  DOPPEL_TRY(reader.size("maxmem", memory.maxmem, kMiB));
  if (memory.size == 0)
    return fail(ErrorKind::kInvalidArgument, "a machine needs memory; write a size such as '-m 512M'");
  return reader.finish();
}

Result<> apply_mem_path(CommandLine& line, std::string_view value) {
  line.vm.memory.path = value;
  return {};
}

Result<> apply_mem_prealloc(CommandLine& line, std::string_view) {
  line.vm.memory.prealloc = true;
  return {};
}

// ---- -object memory-backend-*

struct MemoryBackendType {
  std::string_view name;
  memory::RamKind kind;
};

constexpr std::array kMemoryBackends = {
    MemoryBackendType{"memory-backend-file", memory::RamKind::kFile},
    MemoryBackendType{"memory-backend-memfd", memory::RamKind::kMemfd},
    MemoryBackendType{"memory-backend-ram", memory::RamKind::kAnonymous},
};

Result<memory::NumaPolicy> parse_policy(const std::string& text) {
  if (text == "default") return memory::NumaPolicy::kDefault;
  if (text == "preferred") return memory::NumaPolicy::kPreferred;
  if (text == "bind") return memory::NumaPolicy::kBind;
  if (text == "interleave") return memory::NumaPolicy::kInterleave;
  return fail(ErrorKind::kInvalidArgument, "policy= expects default, preferred, bind or interleave, not '{}'", text);
}

/// "0-3" or "5".
Result<std::vector<unsigned>> parse_range(std::string_view text) {
  constexpr std::uint64_t kMost = 4096;
  const auto dash = text.find('-');
  const auto first = parse_number(text.substr(0, dash));
  const auto last = dash == std::string_view::npos ? first : parse_number(text.substr(dash + 1));
  if (!first || !last || *first > *last || *last >= kMost)
    return fail(ErrorKind::kInvalidArgument, "'{}' is not a number or a range such as 0-3", text);
  std::vector<unsigned> numbers;
  for (auto i = static_cast<unsigned>(*first); i <= *last; ++i) numbers.push_back(i);
  return numbers;
}

Result<std::vector<unsigned>> parse_ranges(const std::vector<std::string>& texts) {
  std::vector<unsigned> numbers;
  for (const std::string& text : texts) {
    DOPPEL_ASSIGN(const auto range, parse_range(text));
    numbers.insert(numbers.end(), range.begin(), range.end());
  }
  return numbers;
}

Result<> read_memory_backend(KeyValueReader& reader, memory::RamOptions& ram) {
  DOPPEL_TRY(reader.size("size", ram.size));
  if (ram.size == 0) return fail(ErrorKind::kInvalidArgument, "a memory backend needs size=, such as size=512M");
  DOPPEL_TRY(reader.boolean("share", ram.shared));
  DOPPEL_TRY(reader.boolean("prealloc", ram.prealloc));
  DOPPEL_TRY(reader.number("prealloc-threads", ram.prealloc_threads));
  DOPPEL_TRY(reader.boolean("merge", ram.merge));
  DOPPEL_TRY(reader.boolean("dump", ram.dump));
  if (const std::string* policy = reader.take("policy")) {
    DOPPEL_ASSIGN(ram.policy, parse_policy(*policy));
  }
  auto nodes = reader.take_all("host-nodes");
  for (unsigned i = 0; i < 64; ++i)
    for (std::string& text : reader.take_all(fmt::format("host-nodes.{}", i))) nodes.push_back(std::move(text));
  DOPPEL_ASSIGN(ram.host_nodes, parse_ranges(nodes));
  if (ram.kind == memory::RamKind::kFile) {
    reader.text("mem-path", ram.path);
    if (ram.path.empty()) return fail(ErrorKind::kInvalidArgument, "memory-backend-file needs mem-path=");
    DOPPEL_TRY(reader.boolean("discard-data", ram.discard_data));
    DOPPEL_TRY(reader.boolean("readonly", ram.read_only));
    DOPPEL_TRY(reader.size("offset", ram.file_offset));
  }
  if (ram.kind == memory::RamKind::kMemfd) {
    DOPPEL_TRY(reader.boolean("hugetlb", ram.hugetlb));
    DOPPEL_TRY(reader.size("hugetlbsize", ram.huge_page_size));
    bool seal = true;
    DOPPEL_TRY(reader.boolean("seal", seal));
  }
  return {};
}

std::string object_help() {
  std::string text = "List of user creatable objects:\n";
  for (const MemoryBackendType& type : kMemoryBackends) text += fmt::format("  {}\n", type.name);
  return text;
}

Result<> apply_object(CommandLine& line, std::string_view value) {
  if (wants_help(value)) return print(line, object_help());
  DOPPEL_ASSIGN(auto pairs, parse_key_values(value, "qom-type"));
  KeyValueReader reader("-object", std::move(pairs));
  std::string type_name;
  reader.text("qom-type", type_name);
  NearestName nearest(type_name);
  for (const MemoryBackendType& type : kMemoryBackends) nearest.offer(type.name);
  const auto* const type = std::ranges::find(kMemoryBackends, type_name, &MemoryBackendType::name);
  if (type == kMemoryBackends.end())
    return fail(ErrorKind::kNotFound, "there is no object type '{}'{}; '-object help' lists them", type_name,
                nearest.suggestion());
  vm::MemoryBackendConfig backend;
  reader.text("id", backend.id);
  if (backend.id.empty()) return fail(ErrorKind::kInvalidArgument, "an object needs id=");
  for (const vm::MemoryBackendConfig& other : line.vm.memory_backends)
    if (other.id == backend.id)
      return fail(ErrorKind::kAlreadyExists, "the id '{}' is taken by another object", backend.id);
  backend.options.kind = type->kind;
  backend.options.name = backend.id;
  backend.options.shared = type->kind == memory::RamKind::kMemfd;
  DOPPEL_TRY(read_memory_backend(reader, backend.options));
  DOPPEL_TRY(reader.finish());
  line.vm.memory_backends.push_back(std::move(backend));
  return {};
}

// ---- -numa

Result<> add_numa_node(CommandLine& line, KeyValueReader& reader) {
  vm::NumaNodeConfig node;
  node.id = static_cast<unsigned>(line.vm.numa.nodes.size());
  DOPPEL_TRY(reader.number("nodeid", node.id));
  auto cpus = reader.take_all("cpus");
  for (unsigned i = 0; i < 64; ++i)
    for (std::string& text : reader.take_all(fmt::format("cpus.{}", i))) cpus.push_back(std::move(text));
  DOPPEL_ASSIGN(node.cpus, parse_ranges(cpus));
  reader.text("memdev", node.memdev);
  DOPPEL_TRY(reader.size("mem", node.size, kMiB));
  if (!node.memdev.empty() && node.size != 0)
    return fail(ErrorKind::kInvalidArgument, "mem= and memdev= exclude each other");
  line.vm.numa.nodes.push_back(std::move(node));
  return {};
}

Result<> add_numa_distance(CommandLine& line, KeyValueReader& reader) {
  vm::NumaDistanceConfig distance;
  unsigned value = distance.value;
  DOPPEL_TRY(reader.number("src", distance.source));
  DOPPEL_TRY(reader.number("dst", distance.destination));
  DOPPEL_TRY(reader.number("val", value));
  if (value < 10 || value > 255) return fail(ErrorKind::kOutOfRange, "val={}: a distance is 10 (local) to 255", value);
  distance.value = static_cast<std::uint8_t>(value);
  line.vm.numa.distances.push_back(distance);
  return {};
}

Result<> apply_numa(CommandLine& line, std::string_view value) {
  DOPPEL_ASSIGN(auto pairs, parse_key_values(value, "type"));
  KeyValueReader reader("-numa", std::move(pairs));
  std::string type;
  reader.text("type", type);
  if (type == "node") {
    DOPPEL_TRY(add_numa_node(line, reader));
  } else if (type == "dist") {
    DOPPEL_TRY(add_numa_distance(line, reader));
  } else {
    return fail(ErrorKind::kUnsupported, "'{}' is not one of node and dist; give a node's CPUs as cpus=0-3", type);
  }
  return reader.finish();
}

}  // namespace

std::span<const Option> machine_options() {
  static constexpr std::array kOptions = {
      Option{"machine", "[type=]NAME[,prop=value]", "the board; 'help' lists them, 'NAME,help' its properties",
             apply_machine},
      Option{"M", "[type=]NAME[,prop=value]", "the same as -machine", apply_machine},
      Option{"accel", "NAME[:NAME...]", "what runs the guest's code: kvm, soft; the first that works", apply_accel},
      Option{"enable-kvm", "", "the same as -accel kvm", apply_enable_kvm},
      Option{"cpu", "MODEL[,+feature][,-feature]", "the processor; 'help' lists models and features", apply_cpu},
      Option{"smp", "[cpus=]N[,maxcpus=][,sockets=][,dies=][,cores=][,threads=]", "how many CPUs, and their topology",
             apply_smp},
      Option{"m", "[size=]SIZE[,slots=N,maxmem=SIZE]", "guest memory; a plain number is MiB (default 128)",
             apply_memory},
      Option{"mem-path", "PATH", "back guest memory by a file, or by one in a (hugetlbfs) directory", apply_mem_path},
      Option{"mem-prealloc", "", "allocate all guest memory at start", apply_mem_prealloc},
      Option{"object", "TYPE,id=ID[,prop=value]", "a memory backend; 'help' lists the types", apply_object},
      Option{"numa", "node|dist,key=value", "a NUMA node, or the distance between two", apply_numa},
  };
  return kOptions;
}

}  // namespace doppel::cli
