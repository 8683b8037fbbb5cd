// -m, -mem-path, -object memory-backend-*, -numa: the guest's memory.
#include <algorithm>
#include <array>

#include "base/bits.h"
#include "base/text.h"
#include "cli/key_values.h"
#include "cli/options.h"
#include "cli/options_blockdev.h"
#include "cli/options_iothread.h"

namespace doppel::cli {

namespace {

/// Less does not hold a PC's firmware and its tables.
constexpr std::uint64_t kLeastMemory = 2 * kMiB;

Result<> apply_memory(CommandLine& line, std::string_view value) {
  DOPPEL_ASSIGN(auto pairs, parse_key_values(value, "size"));
  KeyValueReader reader(std::move(pairs));
  vm::MemoryConfig& memory = line.vm.memory;
  DOPPEL_TRY(reader.size("size", memory.size, kMiB));
  DOPPEL_TRY(reader.number("slots", memory.slots));
  DOPPEL_TRY(reader.size("maxmem", memory.maxmem, kMiB));
  if (memory.size < kLeastMemory)
    return fail(ErrorKind::kInvalidArgument,
                "{} is less than the 2 MiB a PC needs; a bare number counts MiB, write 512M "
                "or 1G",
                format_size(memory.size));
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
  DOPPEL_TRY(reader.number("prealloc-threads", ram.prealloc_threads, 1U));
  DOPPEL_TRY(reader.boolean("merge", ram.merge));
  DOPPEL_TRY(reader.boolean("dump", ram.dump));
  using memory::NumaPolicy;
  DOPPEL_TRY(reader.choice("policy", ram.policy,
                           {{"default", NumaPolicy::kDefault},
                            {"preferred", NumaPolicy::kPreferred},
                            {"bind", NumaPolicy::kBind},
                            {"interleave", NumaPolicy::kInterleave}}));
  DOPPEL_ASSIGN(ram.host_nodes, parse_ranges(reader.take_all("host-nodes")));
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

std::string object_list() {
  std::string text = fmt::format("List of user creatable objects:\n  {}\n", kIoThreadType);
  for (const MemoryBackendType& type : kMemoryBackends) text += fmt::format("  {}\n", type.name);
  for (const std::string_view type : block_object_types()) text += fmt::format("  {}\n", type);
  return text;
}

/// The rows of `-object TYPE,help`.
std::string object_properties(const MemoryBackendType& type) {
  std::vector<hw::PropertyInfo> rows = {
      {"dump", "bool", "include it in a core dump", "true"},
      {"host-nodes", "list", "nodes of the host, such as 0-1", ""},
      {"merge", "bool", "let the host merge equal pages", "true"},
      {"policy", "str", "default, preferred, bind or interleave", "default"},
      {"prealloc", "bool", "allocate all of it at start", "false"},
      {"prealloc-threads", "uint32", "threads that do so", "1"},
      {"share", "bool", "share it with other processes", type.kind == memory::RamKind::kMemfd ? "true" : "false"},
      {"size", "size", "such as 512M", ""},
  };
  if (type.kind == memory::RamKind::kFile) {
    rows.push_back({"discard-data", "bool", "throw the contents away at exit", "false"});
    rows.push_back({"mem-path", "str", "a file, or a directory to make one in", ""});
    rows.push_back({"offset", "size", "where in the file it begins", "0"});
    rows.push_back({"readonly", "bool", "the guest must not write", "false"});
  } else if (type.kind == memory::RamKind::kMemfd) {
    rows.push_back({"hugetlb", "bool", "use huge pages", "false"});
    rows.push_back({"hugetlbsize", "size", "of this size", "the host's"});
    rows.push_back({"seal", "bool", "no effect", "true"});
  }
  return property_list(type.name, rows);
}

Result<const MemoryBackendType*> find_object_type(std::string_view name) {
  NearestName nearest(name);
  for (const MemoryBackendType& type : kMemoryBackends) {
    if (type.name == name) return &type;
    nearest.offer(type.name);
  }
  for (const std::string_view type : block_object_types()) nearest.offer(type);
  nearest.offer(kIoThreadType);
  return fail(ErrorKind::kNotFound, "there is no object type '{}'{}; '-object help' lists them", name,
              nearest.suggestion());
}

Result<> apply_object(CommandLine& line, std::string_view value) {
  if (wants_help(value)) return print(line, object_list());
  DOPPEL_ASSIGN(auto pairs, parse_key_values_or_json(value, "qom-type"));
  KeyValueReader reader(std::move(pairs));
  if (is_block_object(reader)) return add_block_object(line, reader);
  if (is_iothread(reader)) return add_iothread(line, reader);
  DOPPEL_ASSIGN(const MemoryBackendType* type, find_object_type(reader.take("qom-type").value_or("")));
  if (reader.take_help()) return print(line, object_properties(*type));
  vm::MemoryBackendConfig backend;
  reader.text("id", backend.id);
  if (backend.id.empty()) return fail(ErrorKind::kInvalidArgument, "id= is missing, such as id=mem0");
  DOPPEL_TRY(check_object_id(line.vm, backend.id));
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
  DOPPEL_ASSIGN(node.cpus, parse_ranges(reader.take_all("cpus")));
  reader.text("memdev", node.memdev);
  DOPPEL_TRY(reader.size("mem", node.size, kMiB));
  if (!node.memdev.empty() && node.size != 0)
    return fail(ErrorKind::kInvalidArgument, "mem= and memdev= exclude each other");
  line.vm.numa.nodes.push_back(std::move(node));
  return {};
}

Result<> add_numa_distance(CommandLine& line, KeyValueReader& reader) {
  vm::NumaDistanceConfig distance;
  DOPPEL_TRY(reader.number("src", distance.source));
  DOPPEL_TRY(reader.number("dst", distance.destination));
  DOPPEL_TRY(reader.number("val", distance.value, std::uint8_t{10}));
  line.vm.numa.distances.push_back(distance);
  return {};
}

Result<> apply_numa(CommandLine& line, std::string_view value) {
  DOPPEL_ASSIGN(auto pairs, parse_key_values(value, "type"));
  KeyValueReader reader(std::move(pairs));
  const std::string type = reader.take("type").value_or("");
  if (type == "node") {
    DOPPEL_TRY(add_numa_node(line, reader));
  } else if (type == "dist") {
    DOPPEL_TRY(add_numa_distance(line, reader));
  } else {
    return fail(ErrorKind::kUnsupported, "'{}' is neither node nor dist; a node's CPUs are written 'node,cpus=0-3'",
                type);
  }
  return reader.finish();
}

}  // namespace

std::span<const Option> memory_options() {
  static constexpr std::array kOptions = {
      Option{"m", "[size=]SIZE[,slots=N,maxmem=SIZE]", "guest memory; a plain number is MiB (default 128)",
             apply_memory},
      Option{"mem-path", "PATH", "back guest memory by a file, or by one in a (hugetlbfs) directory", apply_mem_path},
      Option{"mem-prealloc", "", "allocate all guest memory at start", apply_mem_prealloc},
      Option{"object", "TYPE,id=ID[,prop=value]",
             "a memory backend, iothread, secret or throttle group; 'help' lists types, 'TYPE,help' properties",
             apply_object},
      Option{"numa", "node|dist,key=value", "a NUMA node, or the distance between two", apply_numa},
  };
  return kOptions;
}

}  // namespace doppel::cli
