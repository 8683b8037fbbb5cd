// What to load where and how to enter it: the common result of all kernel loaders.
//
// A plan is carried out either by the host, straight into RAM and a CpuState (place()), or by our option ROM in a guest
// with firmware (encode_boot_plan(), see boot_rom.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "hw/firmware/blob.h"
#include "hw/firmware/memory_map.h"
#include "memory/dma.h"
#include "x86/cpu_state.h"

namespace doppel::hw {

/// The files a user names on the command line, already read.
struct BootModule {
  Blob data;
  std::string command_line;
};

struct KernelFiles {
  std::string kernel_name;  // as given, for errors and for multiboot's command line
  Blob kernel;
  std::vector<BootModule> modules;  // Linux and PVH: at most one, the initial RAM disk
  std::string command_line;
};

/// Reads `-kernel`, `-initrd` and `-append`. INITRD is "FILE" for Linux and PVH, "FILE ARGS,FILE ARGS…" for multiboot.
Result<KernelFiles> read_kernel_files(const std::string& kernel, const std::string& initrd, const std::string& append);

/// What loaders must know of the machine.
struct BootMemory {
  MemoryMap map;
  /// Bytes kept free at the top of low RAM, where firmware puts its tables.
  std::uint64_t reserved_at_top = 128 * 1024;
  std::uint64_t rsdp = 0;  // where the RSDP lies, if the host has put it there
};

/// Bytes at a guest address; what SIZE has beyond the data is zeroes.
struct BootPiece {
  std::uint64_t address = 0;
  Blob data;
  std::uint64_t size = 0;
  [[nodiscard]] std::uint64_t end() const { return address + size; }
};

enum class BootMode : std::uint8_t { kProtected32, kLong64 };

/// Where the firmware's own memory map and RSDP go, once the ROM knows them.
struct BootMapSlot {
  std::uint32_t entries = 0;  // 24 bytes each
  std::uint32_t lead = 0;     // of which this many come before the 20 of E820
  std::uint32_t count = 0;    // address of the 32-bit count
  std::uint32_t unit = 1;     // what the count counts: 1 entries, 24 bytes
  std::uint32_t rsdp = 0;     // address of the 64-bit RSDP pointer; 0: none wanted
};
inline constexpr std::size_t kMaxMapEntries = 128;
inline constexpr std::size_t kMapEntrySize = 24;

struct BootPlan {
  BootMode mode = BootMode::kProtected32;
  std::uint64_t entry = 0;
  std::uint32_t eax = 0;
  std::uint32_t ebx = 0;
  std::uint64_t rsi = 0;
  std::vector<BootPiece> pieces;
  BootMapSlot map_slot;

  void add(std::uint64_t address, Blob data) { add(address, std::move(data), 0); }
  /// SIZE is raised to the data's size.
  void add(std::uint64_t address, Blob data, std::uint64_t size);
};

/// Where loaders put what is theirs; below 640 KiB, above the boot ROM's workspace.
inline constexpr std::uint64_t kBootWorkspaceBase = 0x7000;
inline constexpr std::uint64_t kBootWorkspaceEnd = 0x9000;
inline constexpr std::uint64_t kBootInfoBase = 0x9000;     // multiboot information, PVH start information
inline constexpr std::uint64_t kBootMapBase = 0x9100;      // its memory map
inline constexpr std::uint64_t kBootStringsBase = 0xa000;  // module list, command lines
inline constexpr std::uint64_t kBootStringsEnd = 0x80000;

/// An error that names WHAT unless every piece is in RAM and no two overlap.
Result<> check_pieces(const BootPlan& plan, const MemoryMap& map, std::string_view what);

/// The highest page-aligned address for SIZE bytes that end at or below LIMIT, in the RAM that begins at 1 MiB.
Result<std::uint64_t> place_at_top(std::uint64_t size, const BootMemory& memory, std::uint64_t limit,
                                   std::string_view what);

/// Writes the pieces, a GDT (and for 64 bits page tables) to guest memory and sets CPU's registers for the entry; its
/// MSRs, FPU and APIC state are left alone. The memory must be zeroed RAM, as it is before the first start; after a
/// reset the zeroes are written again.
Result<> place(const BootPlan& plan, const memory::DmaSpace& memory, x86::CpuState& cpu);

}  // namespace doppel::hw
