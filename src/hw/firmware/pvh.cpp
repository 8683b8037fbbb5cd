#include "hw/firmware/pvh.h"

#include "base/bits.h"
#include "base/text.h"
#include "hw/firmware/elf_image.h"

namespace doppel::hw {

namespace {

constexpr std::string_view kXen = "Xen";
constexpr std::uint32_t kPhys32Entry = 18;
constexpr std::uint32_t kStartMagic = 0x336ec578;
constexpr std::uint32_t kStartVersion = 1;
constexpr std::uint32_t kRsdpOffset = 32;
constexpr std::uint32_t kMapCountOffset = 48;

Bytes memory_map(const MemoryMap& map) {
  ByteWriter writer;
  for (const MemoryRange& range : map.ranges())
    writer.u64(range.address).u64(range.size).u32(static_cast<std::uint32_t>(range.type)).u32(0);
  return writer.take();
}

}  // namespace

bool is_pvh_image(const Blob& kernel) {
  const auto image = parse_elf(kernel, "");
  return image && image->find_note(kXen, kPhys32Entry).has_value();
}

Result<BootPlan> plan_pvh(const KernelFiles& files, const BootMemory& memory) {
  DOPPEL_ASSIGN(const ElfImage image, parse_elf(files.kernel, files.kernel_name));
  const auto entry = image.find_note(kXen, kPhys32Entry);
  if (!entry)
    return fail(ErrorKind::kUnsupported, "the ELF file '{}' has no PVH entry point (no Xen note of type 18)",
                files.kernel_name);
  if (*entry > 0xffffffff)
    return fail(ErrorKind::kCorrupt, "the PVH entry point {:#x} of '{}' is not below 4 GiB", *entry, files.kernel_name);
  if (files.modules.size() > 1) return fail(ErrorKind::kInvalidArgument, "a PVH kernel takes one initial RAM disk");

  BootPlan plan;
  plan.entry = *entry;
  (void)add_segments(plan, image);
  const bool has_module = !files.modules.empty() && !files.modules[0].data.empty();
  ByteWriter strings;
  std::uint64_t module_list = 0;
  if (has_module) {
    const Blob& initrd = files.modules[0].data;
    DOPPEL_ASSIGN(const std::uint64_t address, place_at_top(initrd.size(), memory, 4 * kGiB, "the initial RAM disk"));
    plan.add(address, initrd);
    module_list = kBootStringsBase;
    strings.u64(address).u64(initrd.size()).u64(0).u64(0);
  }
  const std::uint64_t command_line = kBootStringsBase + strings.size();
  strings.text(files.command_line, files.command_line.size()).u8(0);
  if (command_line + files.command_line.size() >= kBootStringsEnd)
    return fail(ErrorKind::kInvalidArgument, "the kernel command line of {} characters is too long",
                files.command_line.size());

  const Bytes map = memory_map(memory.map);
  ByteWriter start;
  start.u32(kStartMagic).u32(kStartVersion).u32(0).u32(has_module ? 1 : 0).u64(module_list).u64(command_line);
  start.u64(memory.rsdp).u64(kBootMapBase).u32(map.size() / kMapEntrySize).u32(0);
  plan.add(kBootInfoBase, start.take());
  plan.add(kBootMapBase, map, kMaxMapEntries * kMapEntrySize);  // the firmware's may be longer
  plan.add(kBootStringsBase, strings.take());
  plan.ebx = static_cast<std::uint32_t>(kBootInfoBase);
  plan.map_slot = {.entries = static_cast<std::uint32_t>(kBootMapBase),
                   .lead = 0,
                   .count = static_cast<std::uint32_t>(kBootInfoBase) + kMapCountOffset,
                   .unit = 1,
                   .rsdp = static_cast<std::uint32_t>(kBootInfoBase) + kRsdpOffset};
  DOPPEL_TRY(check_pieces(plan, memory.map, files.kernel_name));
  return plan;
}

}  // namespace doppel::hw
