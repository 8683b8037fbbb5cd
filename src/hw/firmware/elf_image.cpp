#include "hw/firmware/elf_image.h"

#include <algorithm>

#include "base/bits.h"

namespace doppel::hw {

namespace {

constexpr std::string_view kMagic{
    "\x7f"
    "ELF",
    4};
constexpr std::uint8_t kLittleEndian = 1;
constexpr std::uint16_t kExecutable = 2;
constexpr std::uint16_t kSharedObject = 3;
constexpr std::uint16_t kMachine386 = 3;
constexpr std::uint16_t kMachineX86_64 = 62;
constexpr std::uint32_t kLoadSegment = 1;
constexpr std::uint32_t kNoteSegment = 4;

/// Where the fields are in each class (System V ABI, "Object Files").
struct Layout {
  std::uint64_t header_size, entry, phoff, phentsize, phnum, row_size;
  std::uint64_t offset, paddr, filesz, memsz;
};
constexpr Layout kLayout32{52, 24, 28, 42, 44, 32, 4, 12, 16, 20};
constexpr Layout kLayout64{64, 24, 32, 54, 56, 56, 8, 24, 32, 40};

class Fields {
 public:
  Fields(const Blob& file, bool is_64) : file_(file), is_64_(is_64) {}
  [[nodiscard]] std::uint64_t word(std::uint64_t offset) const {
    return is_64_ ? file_.get_or_zero<std::uint64_t>(offset) : file_.get_or_zero<std::uint32_t>(offset);
  }
  [[nodiscard]] std::uint16_t half(std::uint64_t offset) const { return file_.get_or_zero<std::uint16_t>(offset); }

 private:
  const Blob& file_;
  bool is_64_;
};

Result<> check_identity(const Blob& file, std::string_view name, bool is_64, const Layout& layout) {
  if (file.size() < layout.header_size)
    return fail(ErrorKind::kCorrupt, "the ELF file '{}' is truncated: its header has {} bytes, the file {}", name,
                layout.header_size, file.size());
  const auto type = file.get_or_zero<std::uint16_t>(16);
  const auto machine = file.get_or_zero<std::uint16_t>(18);
  const bool ours = machine == kMachine386 || (machine == kMachineX86_64 && is_64);
  if (file.get_or_zero<std::uint8_t>(5) != kLittleEndian || !ours)
    return fail(ErrorKind::kUnsupported, "the ELF file '{}' is not for x86 (machine {})", name, machine);
  if (type != kExecutable && type != kSharedObject)
    return fail(ErrorKind::kUnsupported, "the ELF file '{}' is not executable (type {})", name, type);
  return {};
}

std::uint64_t note_align(std::uint64_t size) {
  return align_up(size, std::uint64_t{4});
}

}  // namespace

bool is_elf_image(const Blob& file) {
  return file.has_text(0, kMagic);
}

Result<ElfImage> parse_elf(const Blob& file, std::string_view name) {
  if (!is_elf_image(file)) return fail(ErrorKind::kInvalidArgument, "'{}' is no ELF file", name);
  const auto elf_class = file.get_or_zero<std::uint8_t>(4);
  if (elf_class != 1 && elf_class != 2)
    return fail(ErrorKind::kCorrupt, "the ELF file '{}' is neither of 32 nor of 64 bits", name);
  ElfImage image;
  image.is_64 = elf_class == 2;
  const Layout& layout = image.is_64 ? kLayout64 : kLayout32;
  DOPPEL_TRY(check_identity(file, name, image.is_64, layout));
  const Fields fields(file, image.is_64);
  image.entry = fields.word(layout.entry);
  const std::uint64_t table = fields.word(layout.phoff);
  const std::uint64_t count = fields.half(layout.phnum);
  const std::uint64_t row_size = fields.half(layout.phentsize);
  if (count != 0 && row_size < layout.row_size)
    return fail(ErrorKind::kCorrupt, "the ELF file '{}' has program headers of {} bytes", name, row_size);
  if (table > file.size() || count * row_size > file.size() - table)
    return fail(ErrorKind::kCorrupt, "the ELF file '{}' is truncated: its program headers lie past its end", name);

  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t row = table + i * row_size;
    const auto type = file.get_or_zero<std::uint32_t>(row);
    if (type != kLoadSegment && type != kNoteSegment) continue;
    const std::uint64_t offset = fields.word(row + layout.offset);
    const std::uint64_t in_file = fields.word(row + layout.filesz);
    const std::uint64_t in_memory = fields.word(row + layout.memsz);
    if (offset > file.size() || in_file > file.size() - offset)
      return fail(ErrorKind::kCorrupt,
                  "the ELF file '{}' is truncated: segment {} ends at byte {:#x}, the file at {:#x}", name, i,
                  offset + in_file, file.size());
    if (type == kNoteSegment) {
      image.notes.push_back(file.slice(offset, in_file));
      continue;
    }
    if (in_memory < in_file)
      return fail(ErrorKind::kCorrupt, "segment {} of the ELF file '{}' is larger in the file than in memory", i, name);
    if (in_memory != 0) image.load.push_back({fields.word(row + layout.paddr), in_memory, file.slice(offset, in_file)});
  }
  if (image.load.empty()) return fail(ErrorKind::kCorrupt, "the ELF file '{}' has nothing to load", name);
  return image;
}

std::optional<std::uint64_t> ElfImage::find_note(std::string_view name, std::uint32_t type) const {
  constexpr std::uint64_t kNoteHeader = 12;
  for (const Blob& note : notes) {
    for (std::uint64_t at = 0; at + kNoteHeader <= note.size();) {
      const std::uint64_t name_size = note.get_or_zero<std::uint32_t>(at);
      const std::uint64_t size = note.get_or_zero<std::uint32_t>(at + 4);
      const std::uint64_t description = at + kNoteHeader + note_align(name_size);
      const bool matches = note.get_or_zero<std::uint32_t>(at + 8) == type && name_size == name.size() + 1 &&
                           note.has_text(at + kNoteHeader, name);
      if (matches && size >= 8) return note.get<std::uint64_t>(description);
      if (matches && size >= 4) return note.get<std::uint32_t>(description);
      at = description + note_align(size);
    }
  }
  return std::nullopt;
}

std::uint64_t add_segments(BootPlan& plan, const ElfImage& image) {
  std::uint64_t end = 0;
  for (const ElfSegment& segment : image.load) {
    plan.add(segment.physical_address, segment.data, segment.memory_size);
    end = std::max(end, segment.physical_address + segment.memory_size);
  }
  return end;
}

}  // namespace doppel::hw
