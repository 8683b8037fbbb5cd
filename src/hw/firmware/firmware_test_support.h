// Guest memory and small kernels for this folder's tests.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/bits.h"
#include "hw/firmware/blob.h"
#include "memory/dma.h"

namespace doppel::hw::test {

/// RAM from address 0, nothing above.
struct GuestMemory {
  explicit GuestMemory(std::uint64_t size) : ram(make_ram(size)) {
    root = topology.container("memory", 0);
    root->add(topology.ram("ram", ram, 0, size), 0);
    space.emplace(topology, root, "memory");
  }
  static std::shared_ptr<memory::RamBlock> make_ram(std::uint64_t size) {
    memory::RamOptions options;
    options.size = size;
    return memory::RamBlock::create(std::move(options)).value();
  }
  [[nodiscard]] memory::DmaSpace dma() { return memory::DmaSpace(*space); }
  [[nodiscard]] std::byte* at(std::uint64_t address) const { return ram->host() + address; }
  template <std::unsigned_integral T>
  [[nodiscard]] T get(std::uint64_t address) const {
    return load_le<T>(at(address));
  }
  [[nodiscard]] std::string text(std::uint64_t address) const { return reinterpret_cast<const char*>(at(address)); }

  memory::Topology topology;
  std::shared_ptr<memory::RamBlock> ram;
  memory::RegionPtr root;
  std::optional<memory::AddressSpace> space;
};

/// A folder that goes away with the test.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "doppel-firmware-XXXXXX").string();
    if (::mkdtemp(pattern.data()) != nullptr) path_ = pattern;
  }
  ~ScratchFolder() { std::filesystem::remove_all(path_); }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  std::string file(const std::string& name, std::span<const std::byte> bytes) const {
    const auto path = path_ / name;
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    return path.string();
  }
  std::string file(const std::string& name, std::string_view text) const {
    return file(name, std::as_bytes(std::span(text)));
  }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline bool installed(const std::string& program) {
  return std::system(("command -v " + program + " >/dev/null 2>&1").c_str()) == 0;
}

inline std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

struct LinuxOptions {
  std::uint16_t protocol = 0x20f;
  bool loaded_high = true;
  std::uint16_t xloadflags = 1;
  std::uint32_t cmdline_size = 2047;
  std::uint32_t initrd_max = 0x7fffffff;
  std::uint32_t init_size = 0x200000;
  unsigned setup_sectors = 2;
  std::size_t kernel_size = 4096;
  std::string setup_code{};  // real-mode code at 0x200 + 0x68, where the header's jump leads
};

/// A bzImage with a recognisable kernel proper.
inline Bytes linux_image(const LinuxOptions& options = {}) {
  const std::size_t setup = (options.setup_sectors + 1) * 512;
  Bytes image(setup + options.kernel_size);
  std::byte* const at = image.data();
  at[0x1f1] = static_cast<std::byte>(options.setup_sectors);
  store_le(at + 0x1f4, static_cast<std::uint32_t>(options.kernel_size / 16));
  store_le(at + 0x1fe, std::uint16_t{0xaa55});
  at[0x200] = std::byte{0xeb};
  at[0x201] = std::byte{0x66};
  std::memcpy(at + 0x202, "HdrS", 4);
  store_le(at + 0x206, options.protocol);
  at[0x211] = static_cast<std::byte>(options.loaded_high ? 1 : 0);
  store_le(at + 0x214, std::uint32_t{0x100000});
  store_le(at + 0x22c, options.initrd_max);
  store_le(at + 0x236, options.xloadflags);
  store_le(at + 0x238, options.cmdline_size);
  store_le(at + 0x258, std::uint64_t{0x1000000});
  store_le(at + 0x260, options.init_size);
  std::memcpy(at + 0x268, options.setup_code.data(), options.setup_code.size());
  for (std::size_t i = setup; i < image.size(); ++i) at[i] = static_cast<std::byte>(i * 7);
  return image;
}

struct ElfOptions {
  bool is_64 = false;
  std::uint64_t address = 0x200000;
  std::string code = "\xf4\xeb\xfd";  // hlt; jmp back
  std::uint64_t memory_size = 0x3000;
  std::optional<std::uint64_t> pvh_entry{};
  bool multiboot = false;
};

/// One loaded segment (multiboot header first, if asked for, then the code) and, for PVH, a note.
inline Bytes elf_image(const ElfOptions& options = {}) {
  ByteWriter content;
  if (options.multiboot) content.u32(0x1badb002).u32(3).u32(0U - 0x1badb002U - 3U);
  content.text(options.code, options.code.size());
  const std::uint64_t entry = options.address + (options.multiboot ? 12 : 0);
  ByteWriter note;
  if (options.pvh_entry) note.u32(4).u32(options.is_64 ? 8 : 4).u32(18).text("Xen", 4);
  if (options.pvh_entry && options.is_64) note.u64(*options.pvh_entry);
  if (options.pvh_entry && !options.is_64) note.u32(*options.pvh_entry);

  const std::uint64_t header = options.is_64 ? 64 : 52;
  const std::uint64_t row = options.is_64 ? 56 : 32;
  const std::uint64_t content_at = header + 2 * row;
  const std::uint64_t note_at = align_up(content_at + content.size(), std::uint64_t{4});
  ByteWriter elf;
  const auto word = [&](std::uint64_t value) { options.is_64 ? elf.u64(value) : elf.u32(value); };
  elf.text(
         "\x7f"
         "ELF",
         4)
      .u8(options.is_64 ? 2 : 1)
      .u8(1)
      .u8(1)
      .zeros(9);
  elf.u16(2).u16(options.is_64 ? 62 : 3).u32(1);
  word(entry);
  word(header);
  word(0);
  elf.u32(0).u16(header).u16(row).u16(2).u16(0).u16(0).u16(0);
  const auto program_header = [&](std::uint32_t type, std::uint64_t offset, std::uint64_t address, std::uint64_t filesz,
                                  std::uint64_t memsz) {
    elf.u32(type);
    if (options.is_64) elf.u32(7);
    word(offset);
    word(address);
    word(address);
    word(filesz);
    word(memsz);
    if (!options.is_64) elf.u32(7);
    word(4);
  };
  program_header(1, content_at, options.address, content.size(), options.memory_size);
  program_header(options.pvh_entry ? 4 : 0, note_at, 0, note.size(), 0);
  elf.bytes(content.view()).zeros(note_at - content_at - content.size()).bytes(note.view());
  return elf.take();
}

}  // namespace doppel::hw::test
