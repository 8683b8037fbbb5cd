#include "vm/guest_memory.h"

#include <algorithm>
#include <set>
#include <string>

#include "base/bits.h"
#include "base/text.h"

namespace doppel::vm {

namespace {

constexpr unsigned kMaxNumaNodes = 128;

Result<const MemoryBackendConfig*> find_backend(const VmConfig& config, std::string_view id) {
  NearestName nearest(id);
  for (const MemoryBackendConfig& backend : config.memory_backends) {
    if (backend.id == id) return &backend;
    nearest.offer(backend.id);
  }
  return fail(ErrorKind::kNotFound, "there is no memory backend '{}'{}; add -object memory-backend-ram,id={},size=...",
              id, nearest.suggestion(), id);
}

/// RAM of the machine's own, by -m, -mem-path and -mem-prealloc.
memory::RamOptions default_options(const VmConfig& config, std::string name, std::uint64_t size) {
  memory::RamOptions options;
  options.name = std::move(name);
  options.size = size;
  options.prealloc = config.memory.prealloc;
  if (!config.memory.path.empty()) {
    options.kind = memory::RamKind::kFile;
    options.path = config.memory.path;
  }
  return options;
}

Result<> add_block(GuestMemory& memory, memory::RamOptions options) {
  DOPPEL_ASSIGN(auto block, memory::RamBlock::create(std::move(options)));
  memory.size += block->size();
  memory.blocks.push_back(std::move(block));
  return {};
}

Result<> add_backend(GuestMemory& memory, const VmConfig& config, std::string_view id) {
  DOPPEL_ASSIGN(const MemoryBackendConfig* backend, find_backend(config, id));
  return add_block(memory, backend->options);
}

/// Which CPU sits in which node: each in one, none above CPUS. CPUs nobody names go to node 0.
Result<> assign_cpus(std::vector<NumaNode>& nodes, unsigned cpus) {
  std::set<unsigned> taken;
  for (const NumaNode& node : nodes) {
    for (const unsigned cpu : node.cpus) {
      if (cpu >= cpus)
        return fail(ErrorKind::kOutOfRange, "-numa: node {} names CPU {}, but there are only CPUs 0 to {}", node.id,
                    cpu, cpus - 1);
      if (!taken.insert(cpu).second)
        return fail(ErrorKind::kInvalidArgument, "-numa: CPU {} is in two nodes, one of them {}", cpu, node.id);
    }
  }
  for (unsigned cpu = 0; cpu < cpus; ++cpu)
    if (!taken.contains(cpu)) nodes.front().cpus.push_back(cpu);
  std::ranges::sort(nodes.front().cpus);
  return {};
}

Result<> set_distances(GuestMemory& memory, const std::vector<NumaDistanceConfig>& distances) {
  if (distances.empty()) return {};
  const std::size_t count = memory.nodes.size();
  memory.distances.assign(count * count, 20);
  for (std::size_t i = 0; i < count; ++i) memory.distances[i * count + i] = 10;
  for (const NumaDistanceConfig& row : distances) {
    if (row.source >= count || row.destination >= count)
      return fail(ErrorKind::kNotFound, "-numa dist: there is no node {}", std::max(row.source, row.destination));
    if (row.value < 10 || (row.source == row.destination && row.value != 10))
      return fail(ErrorKind::kInvalidArgument,
                  "-numa dist: val={} from node {} to node {}; a node is 10 from itself and others are 11 to 255",
                  row.value, row.source, row.destination);
    memory.distances[row.source * count + row.destination] = row.value;
    const bool mirrored = std::ranges::any_of(distances, [&](const NumaDistanceConfig& other) {
      return other.source == row.destination && other.destination == row.source;
    });
    if (!mirrored) memory.distances[row.destination * count + row.source] = row.value;
  }
  return {};
}

Result<> add_numa_nodes(GuestMemory& memory, const VmConfig& config, unsigned cpus) {
  std::vector<NumaNodeConfig> nodes = config.numa.nodes;
  std::ranges::sort(nodes, {}, &NumaNodeConfig::id);
  if (nodes.size() > kMaxNumaNodes)
    return fail(ErrorKind::kOutOfRange, "-numa: {} nodes are more than {}", nodes.size(), kMaxNumaNodes);
  const bool sizes_given =
      std::ranges::any_of(nodes, [](const auto& node) { return node.size != 0 || !node.memdev.empty(); });
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const NumaNodeConfig& node = nodes[i];
    if (node.id != i)
      return i > 0 && node.id == nodes[i - 1].id
                 ? fail(ErrorKind::kAlreadyExists, "-numa: node {} is given twice", node.id)
                 : fail(ErrorKind::kInvalidArgument,
                        "-numa: nodes are numbered from 0 without gaps; node {} is missing", i);
    const std::uint64_t start = memory.size;
    if (!node.memdev.empty()) {
      DOPPEL_TRY(add_backend(memory, config, node.memdev));
    } else {
      const std::uint64_t share = align_down(config.memory.size / nodes.size(), 8 * kMiB);
      const std::uint64_t even = i + 1 == nodes.size() ? config.memory.size - memory.size : share;
      const std::uint64_t size = sizes_given ? node.size : even;
      if (size != 0) DOPPEL_TRY(add_block(memory, default_options(config, fmt::format("ram-node{}", i), size)));
    }
    memory.nodes.push_back({.id = node.id, .ram_start = start, .ram_size = memory.size - start, .cpus = node.cpus});
  }
  if (memory.size != config.memory.size)
    return fail(ErrorKind::kInvalidArgument, "-numa: the nodes have {} of memory together, but -m says {}",
                format_size(memory.size), format_size(config.memory.size));
  DOPPEL_TRY(assign_cpus(memory.nodes, cpus));
  return set_distances(memory, config.numa.distances);
}

Result<> check_sizes(const MemoryConfig& memory) {
  if (memory.size == 0)
    return fail(ErrorKind::kInvalidArgument, "-m: a machine needs memory; write a size such as '-m 512M'");
  if (memory.size < kMiB)
    return fail(ErrorKind::kInvalidArgument, "-m: {} is less than the 1 MiB a PC needs", format_size(memory.size));
  if (!is_aligned(memory.size, memory::kPageSize))
    return fail(ErrorKind::kInvalidArgument, "-m: {} bytes are not a multiple of 4 KiB", memory.size);
  if (memory.maxmem != 0 && memory.maxmem < memory.size)
    return fail(ErrorKind::kInvalidArgument, "-m: maxmem={} is less than the memory of {}", format_size(memory.maxmem),
                format_size(memory.size));
  if (memory.maxmem > memory.size && memory.slots == 0)
    return fail(ErrorKind::kInvalidArgument, "-m: maxmem= needs slots= for the memory to be added");
  if (memory.slots != 0 && memory.maxmem == 0)
    return fail(ErrorKind::kInvalidArgument, "-m: slots= needs maxmem=, the most memory the machine may get");
  return {};
}

}  // namespace

Result<GuestMemory> create_guest_memory(const VmConfig& config, std::string_view memory_backend, unsigned cpus,
                                        memory::Topology& topology) {
  DOPPEL_TRY(check_sizes(config.memory));
  GuestMemory memory;
  if (!config.numa.nodes.empty()) {
    if (!memory_backend.empty())
      return fail(ErrorKind::kInvalidArgument,
                  "-machine memory-backend= and -numa exclude each other; give the nodes memdev=");
    DOPPEL_TRY(add_numa_nodes(memory, config, cpus));
  } else if (!memory_backend.empty()) {
    DOPPEL_TRY(add_backend(memory, config, memory_backend));
    if (memory.size != config.memory.size)
      return fail(ErrorKind::kInvalidArgument, "memory backend '{}' has {}, but -m says {}", memory_backend,
                  format_size(memory.size), format_size(config.memory.size));
  } else {
    DOPPEL_TRY(add_block(memory, default_options(config, "pc.ram", config.memory.size)));
  }
  if (memory.blocks.front()->size() < kMiB)
    return fail(ErrorKind::kInvalidArgument,
                "the first memory node or backend has {}; a PC needs its first 1 MiB in one piece",
                format_size(memory.blocks.front()->size()));
  memory.ram = topology.container("ram", memory.size);
  std::uint64_t offset = 0;
  for (const auto& block : memory.blocks) {
    const memory::RegionPtr region = topology.ram(block->name(), block, 0, block->size());
    if (offset == 0) memory.low_ram = region;
    memory.ram->add(region, offset);
    offset += block->size();
  }
  return memory;
}

}  // namespace doppel::vm
