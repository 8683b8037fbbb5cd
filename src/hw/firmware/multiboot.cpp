#include "hw/firmware/multiboot.h"

#include <algorithm>

#include "base/bits.h"
#include "base/text.h"
#include "hw/firmware/elf_image.h"

namespace doppel::hw {

namespace {

constexpr std::uint32_t kHeaderMagic = 0x1badb002;
constexpr std::uint32_t kEntryMagic = 0x2badb002;
constexpr std::uint64_t kSearchLength = 8192;

/// Header flags (3.1.2): the low half must be understood, 16 says that addresses follow.
constexpr std::uint32_t kKnownDemands = 0x7;  // page alignment, memory map, video mode (which is only a wish)
constexpr std::uint32_t kDemandMask = 0xffff;
constexpr std::uint32_t kHasAddresses = 1U << 16;

/// Information flags (3.3).
enum InfoFlag : std::uint32_t {
  kMemory = 1U << 0,
  kBootDevice = 1U << 1,
  kCommandLine = 1U << 2,
  kModules = 1U << 3,
  kMemoryMap = 1U << 6,
  kLoaderName = 1U << 9,
};

constexpr std::uint32_t kFirstHardDisk = 0x8000ffff;
constexpr std::size_t kInfoSize = 128;
constexpr std::uint32_t kMapLengthOffset = 44;

/// Strings and the module list, growing from kBootStringsBase.
class Strings {
 public:
  std::uint32_t add(std::string_view text) {
    const std::uint32_t address = here();
    writer_.text(text, text.size()).u8(0);
    return address;
  }
  void align() { writer_.zeros(align_up(writer_.size(), std::size_t{4}) - writer_.size()); }
  [[nodiscard]] std::uint32_t here() const { return static_cast<std::uint32_t>(kBootStringsBase + writer_.size()); }
  ByteWriter& writer() { return writer_; }

 private:
  ByteWriter writer_;
};

/// The a.out kludge: addresses in the header instead of a file format.
Result<std::uint64_t> add_raw_image(BootPlan& plan, const KernelFiles& files, std::uint64_t header) {
  const Blob& kernel = files.kernel;
  const auto field = [&](std::uint64_t offset) { return kernel.get_or_zero<std::uint32_t>(header + offset); };
  const std::uint64_t header_address = field(12);
  const std::uint64_t load = field(16);
  const std::uint64_t load_end = field(20);
  const std::uint64_t bss_end = field(24);
  if (header_address < load || header_address - load > header || (load_end != 0 && load_end < load))
    return fail(ErrorKind::kCorrupt, "the multiboot header of '{}' has addresses that contradict each other",
                files.kernel_name);
  const std::uint64_t offset = header - (header_address - load);
  const std::uint64_t length = load_end != 0 ? load_end - load : kernel.size() - offset;
  if (length > kernel.size() - offset)
    return fail(ErrorKind::kCorrupt, "the kernel '{}' is truncated: its header says {} bytes, the file has {}",
                files.kernel_name, offset + length, kernel.size());
  const std::uint64_t size = bss_end > load + length ? bss_end - load : length;
  plan.add(load, kernel.slice(offset, length), size);
  plan.entry = field(28);
  return load + size;
}

Result<std::uint64_t> add_elf_image(BootPlan& plan, const KernelFiles& files) {
  DOPPEL_ASSIGN(const ElfImage image, parse_elf(files.kernel, files.kernel_name));
  if (image.is_64)
    return fail(ErrorKind::kUnsupported, "'{}' is a 64-bit multiboot kernel; the specification knows only 32-bit ones",
                files.kernel_name);
  plan.entry = image.entry;
  return add_segments(plan, image);
}

Result<> add_modules(BootPlan& plan, const KernelFiles& files, std::uint64_t after, Strings& strings,
                     ByteWriter& list) {
  std::uint64_t address = align_up(std::max<std::uint64_t>(after, kMiB), memory::kPageSize);
  for (const BootModule& module : files.modules) {
    const std::uint64_t end = address + module.data.size();
    if (end > 4 * kGiB) return fail(ErrorKind::kNoSpace, "the multiboot modules do not fit below 4 GiB");
    list.u32(address).u32(end).u32(strings.add(module.command_line)).u32(0);
    plan.add(address, module.data);
    address = align_up(end, memory::kPageSize);
  }
  return {};
}

Bytes memory_map(const MemoryMap& map) {
  ByteWriter writer;
  for (const MemoryRange& range : map.ranges())
    writer.u32(20).u64(range.address).u64(range.size).u32(static_cast<std::uint32_t>(range.type));
  return writer.take();
}

}  // namespace

std::optional<std::uint64_t> find_multiboot_header(const Blob& kernel) {
  for (std::uint64_t at = 0; at + 12 <= std::min<std::uint64_t>(kernel.size(), kSearchLength); at += 4) {
    if (kernel.get_or_zero<std::uint32_t>(at) != kHeaderMagic) continue;
    const std::uint32_t sum =
        kHeaderMagic + kernel.get_or_zero<std::uint32_t>(at + 4) + kernel.get_or_zero<std::uint32_t>(at + 8);
    if (sum == 0) return at;
  }
  return std::nullopt;
}

Result<BootPlan> plan_multiboot(const KernelFiles& files, const BootMemory& memory) {
  const auto header = find_multiboot_header(files.kernel);
  if (!header) return fail(ErrorKind::kInvalidArgument, "'{}' has no multiboot header", files.kernel_name);
  const auto flags = files.kernel.get_or_zero<std::uint32_t>(*header + 4);
  if ((flags & kDemandMask & ~kKnownDemands) != 0)
    return fail(ErrorKind::kUnsupported, "the multiboot kernel '{}' demands features {:#x}, of which {:#x} are unknown",
                files.kernel_name, flags & kDemandMask, flags & kDemandMask & ~kKnownDemands);
  BootPlan plan;
  DOPPEL_ASSIGN(const std::uint64_t end,
                (flags & kHasAddresses) != 0 ? add_raw_image(plan, files, *header) : add_elf_image(plan, files));
  Strings strings;
  ByteWriter modules;
  DOPPEL_TRY(add_modules(plan, files, end, strings, modules));
  const std::string command_line =
      files.command_line.empty() ? files.kernel_name : files.kernel_name + " " + files.command_line;
  const std::uint32_t command_line_at = strings.add(command_line);
  const std::uint32_t loader_at = strings.add("doppel");
  strings.align();
  const std::uint32_t modules_at = strings.here();
  strings.writer().bytes(modules.view());
  if (strings.here() > kBootStringsEnd)
    return fail(ErrorKind::kNoSpace, "the command lines of '{}' and its modules are too long", files.kernel_name);

  const Bytes map = memory_map(memory.map);
  ByteWriter info;
  info.u32(kMemory | kBootDevice | kCommandLine | kModules | kMemoryMap | kLoaderName);
  info.u32(640).u32((memory.map.low_ram_end() - kMiB) / kKiB).u32(kFirstHardDisk).u32(command_line_at);
  info.u32(files.modules.size()).u32(modules_at).zeros(16).u32(map.size()).u32(kBootMapBase);
  info.zeros(12).u32(loader_at).zeros(kInfoSize - 68);
  plan.add(kBootInfoBase, info.take());
  plan.add(kBootMapBase, map, kMaxMapEntries * kMapEntrySize);  // the firmware's may be longer
  plan.add(kBootStringsBase, strings.writer().take());
  plan.eax = kEntryMagic;
  plan.ebx = static_cast<std::uint32_t>(kBootInfoBase);
  plan.map_slot = {.entries = static_cast<std::uint32_t>(kBootMapBase),
                   .lead = 4,
                   .count = static_cast<std::uint32_t>(kBootInfoBase) + kMapLengthOffset,
                   .unit = static_cast<std::uint32_t>(kMapEntrySize),
                   .rsdp = 0};
  DOPPEL_TRY(check_pieces(plan, memory.map, files.kernel_name));
  return plan;
}

}  // namespace doppel::hw
