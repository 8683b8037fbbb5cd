#include "hw/firmware/linux_image.h"

#include <algorithm>
#include <optional>

#include "base/bits.h"
#include "base/text.h"

namespace doppel::hw {

namespace {

// Offsets in the boot sector, which are those in boot_params too.
constexpr std::uint64_t kSetupSectors = 0x1f1;
constexpr std::uint64_t kSystemSize = 0x1f4;  // of the kernel proper, in 16 bytes
constexpr std::uint64_t kVideoMode = 0x1fa;
constexpr std::uint64_t kBootFlag = 0x1fe;
constexpr std::uint64_t kJump = 0x200;  // its second byte tells the header's length
constexpr std::uint64_t kMagic = 0x202;
constexpr std::uint64_t kVersion = 0x206;
constexpr std::uint64_t kLoaderType = 0x210;
constexpr std::uint64_t kLoadFlags = 0x211;
constexpr std::uint64_t kRamdiskImage = 0x218;
constexpr std::uint64_t kRamdiskSize = 0x21c;
constexpr std::uint64_t kHeapEnd = 0x224;
constexpr std::uint64_t kCmdlinePointer = 0x228;
constexpr std::uint64_t kInitrdMax = 0x22c;
constexpr std::uint64_t kXLoadFlags = 0x236;
constexpr std::uint64_t kCmdlineSize = 0x238;
constexpr std::uint64_t kPreferredAddress = 0x258;
constexpr std::uint64_t kInitSize = 0x260;

constexpr std::uint8_t kLoadedHigh = 1U << 0;
constexpr std::uint8_t kCanUseHeap = 1U << 7;
constexpr std::uint8_t kUnknownLoader = 0xff;
constexpr std::uint16_t kKernel64 = 1U << 0;
constexpr std::uint16_t kAbove4G = 1U << 1;

// boot_params alone (Documentation/arch/x86/zero-page.rst).
constexpr std::size_t kBootParamsSize = 4096;
constexpr std::size_t kAcpiRsdp = 0x070;
constexpr std::size_t kAltMemK = 0x1e0;
constexpr std::size_t kE820Count = 0x1e8;
constexpr std::size_t kE820Table = 0x2d0;
constexpr std::size_t kE820Max = 128;

constexpr std::uint32_t kHighLoad = 0x100000;
constexpr std::uint32_t kLowLoad = 0x10000;
constexpr std::uint64_t kEntry64 = 0x200;  // from where the kernel is loaded
constexpr std::uint64_t kBootParamsBase = 0x10000;
constexpr std::uint64_t kDirectCmdline = 0x20000;

/// `vga=` is for the loader (Documentation/admin-guide/svga.rst).
std::optional<std::uint16_t> video_mode(std::string_view command_line) {
  const std::size_t at = command_line.find("vga=");
  if (at == std::string_view::npos || (at != 0 && command_line[at - 1] != ' ')) return std::nullopt;
  const std::string_view rest = command_line.substr(at + 4);
  const std::string_view value = rest.substr(0, rest.find(' '));
  if (value == "normal") return std::uint16_t{0xffff};
  if (value == "ext") return std::uint16_t{0xfffe};
  if (value == "ask") return std::uint16_t{0xfffd};
  const auto number = parse_number(value);
  if (!number || *number > 0xffff) return std::nullopt;
  return static_cast<std::uint16_t>(*number);
}

/// Where the real-mode parts go: high enough for the stack, below what old kernels occupy.
struct RealModeLayout {
  std::uint32_t setup = 0;
  std::uint32_t cmdline = 0;
  std::uint32_t kernel = 0;
};

RealModeLayout real_mode_layout(const LinuxHeader& header, std::uint32_t cmdline_bytes) {
  if (!header.loaded_high) return {0x90000, 0x9a000 - align_up(cmdline_bytes, 16U), kLowLoad};
  if (header.protocol < 0x202) return {0x90000, 0x9a000 - align_up(cmdline_bytes, 16U), kHighLoad};
  return {0x10000, 0x20000, kHighLoad};
}

struct Initrd {
  std::uint64_t address = 0;
  std::uint64_t size = 0;
};

Result<Initrd> place_initrd(const KernelFiles& files, const LinuxHeader& header, const BootMemory& memory,
                            std::uint64_t kernel_end) {
  if (files.modules.empty()) return Initrd{};
  if (files.modules.size() > 1) return fail(ErrorKind::kInvalidArgument, "Linux takes one initial RAM disk");
  const std::uint64_t size = files.modules[0].data.size();
  if (size == 0) return Initrd{};
  std::uint64_t limit = std::uint64_t{header.initrd_max} + 1;
  if ((header.xloadflags & kAbove4G) != 0) limit = 4 * kGiB;
  DOPPEL_ASSIGN(const std::uint64_t address, place_at_top(size, memory, limit, "the initial RAM disk"));
  if (address < kernel_end)
    return fail(ErrorKind::kNoSpace, "kernel and initial RAM disk do not fit in {} of RAM: raise -m",
                format_size(memory.map.low_ram_end()));
  return Initrd{address, size};
}

Result<> check_command_line(const KernelFiles& files, const LinuxHeader& header) {
  if (files.command_line.size() > header.cmdline_size)
    return fail(ErrorKind::kInvalidArgument, "the kernel command line has {} characters; '{}' takes at most {}",
                files.command_line.size(), files.kernel_name, header.cmdline_size);
  return {};
}

/// The fields a boot loader owns.
void patch_header(Bytes& setup, const Initrd& initrd, std::uint64_t cmdline, const KernelFiles& files,
                  const LinuxHeader& header) {
  std::byte* const at = setup.data();
  at[kLoaderType] = std::byte{kUnknownLoader};
  if (const auto mode = video_mode(files.command_line)) store_le(at + kVideoMode, *mode);
  if (initrd.size != 0) {
    store_le(at + kRamdiskImage, static_cast<std::uint32_t>(initrd.address));
    store_le(at + kRamdiskSize, static_cast<std::uint32_t>(initrd.size));
  }
  if (header.protocol >= 0x202) {
    store_le(at + kCmdlinePointer, static_cast<std::uint32_t>(cmdline));
  } else {  // the magic and an offset from the setup code
    store_le(at + 0x20, std::uint16_t{0xa33f});
    store_le(at + 0x22, static_cast<std::uint16_t>(cmdline - 0x90000));
  }
}

Bytes boot_params(const KernelFiles& files, const LinuxHeader& header, const BootMemory& memory, const Initrd& initrd) {
  Bytes params(kBootParamsSize);
  const auto kernel = files.kernel.bytes();
  const std::uint64_t header_end = std::min<std::uint64_t>(kMagic + std::to_integer<std::uint64_t>(kernel[kJump + 1]),
                                                           std::min<std::uint64_t>(kernel.size(), 0x290));
  std::copy(kernel.begin() + kSetupSectors, kernel.begin() + static_cast<std::ptrdiff_t>(header_end),
            params.begin() + kSetupSectors);
  patch_header(params, initrd, kDirectCmdline, files, header);
  store_le(params.data() + kAcpiRsdp, memory.rsdp);
  store_le(params.data() + kAltMemK, static_cast<std::uint32_t>((memory.map.low_ram_end() - kMiB) / kKiB));
  const Bytes e820 = memory.map.encode_e820();
  const std::size_t count = std::min(memory.map.ranges().size(), kE820Max);
  params[kE820Count] = static_cast<std::byte>(count);
  std::copy_n(e820.begin(), count * 20, params.begin() + kE820Table);
  return params;
}

/// The header's statement of the file's length; protocols before 2.04 cannot make one.
Result<> check_length(const Blob& kernel, const LinuxHeader& header, std::string_view name) {
  const std::uint64_t stated = header.setup_size + std::uint64_t{16} * kernel.get_or_zero<std::uint32_t>(kSystemSize);
  constexpr std::uint64_t kRounding = 15;
  if (kernel.size() < header.setup_size || (header.protocol >= 0x204 && kernel.size() + kRounding < stated))
    return fail(ErrorKind::kCorrupt, "the kernel '{}' is truncated: its header says {} bytes, the file has {}", name,
                std::max<std::uint64_t>(stated, header.setup_size), kernel.size());
  if (kernel.size() == header.setup_size)
    return fail(ErrorKind::kCorrupt, "the kernel '{}' has nothing behind its setup code", name);
  return {};
}

}  // namespace

bool is_linux_image(const Blob& kernel) {
  return kernel.get_or_zero<std::uint16_t>(kBootFlag) == 0xaa55 && kernel.has_text(kMagic, "HdrS");
}

Result<LinuxHeader> parse_linux_header(const Blob& kernel, std::string_view name) {
  if (!is_linux_image(kernel))
    return fail(ErrorKind::kInvalidArgument, "'{}' is no Linux kernel image: it has no setup header", name);
  LinuxHeader header;
  header.protocol = kernel.get_or_zero<std::uint16_t>(kVersion);
  if (header.protocol < 0x200)
    return fail(ErrorKind::kUnsupported, "the kernel '{}' speaks boot protocol {:#x}; 2.00 is the oldest that is known",
                name, header.protocol);
  const unsigned sectors = kernel.get_or_zero<std::uint8_t>(kSetupSectors);
  header.setup_size = ((sectors == 0 ? 4 : sectors) + 1) * 512;
  DOPPEL_TRY(check_length(kernel, header, name));
  header.loaded_high = (kernel.get_or_zero<std::uint8_t>(kLoadFlags) & kLoadedHigh) != 0;
  if (header.protocol >= 0x203) header.initrd_max = kernel.get_or_zero<std::uint32_t>(kInitrdMax);
  if (header.protocol >= 0x206) header.cmdline_size = kernel.get_or_zero<std::uint32_t>(kCmdlineSize);
  if (header.protocol >= 0x20a) {
    header.preferred_address = kernel.get_or_zero<std::uint64_t>(kPreferredAddress);
    header.init_size = kernel.get_or_zero<std::uint32_t>(kInitSize);
  }
  if (header.protocol >= 0x20c) header.xloadflags = kernel.get_or_zero<std::uint16_t>(kXLoadFlags);
  constexpr std::uint32_t kLongestCmdline = 0xffff;
  header.cmdline_size = std::min(header.cmdline_size, kLongestCmdline);
  return header;
}

Result<> add_linux(FwCfg& fw_cfg, const KernelFiles& files, const BootMemory& memory) {
  DOPPEL_ASSIGN(const LinuxHeader header, parse_linux_header(files.kernel, files.kernel_name));
  DOPPEL_TRY(check_command_line(files, header));
  const auto cmdline_size = static_cast<std::uint32_t>(files.command_line.size() + 1);
  const RealModeLayout layout = real_mode_layout(header, cmdline_size);
  if (layout.setup + header.setup_size > layout.cmdline)
    return fail(ErrorKind::kCorrupt, "the kernel '{}' has {} of setup code, which runs into its command line",
                files.kernel_name, format_size(header.setup_size));
  const Blob kernel = files.kernel.slice(header.setup_size);
  const std::uint64_t kernel_end = layout.kernel + kernel.size();
  if (layout.kernel == kLowLoad && kernel_end > layout.setup)
    return fail(ErrorKind::kCorrupt, "the kernel '{}' wants to be loaded low, but has {}", files.kernel_name,
                format_size(kernel.size()));
  if (layout.kernel == kHighLoad && !memory.map.is_ram(kHighLoad, kernel.size()))
    return fail(ErrorKind::kNoSpace, "the kernel '{}' of {} does not fit in the RAM above 1 MiB: raise -m",
                files.kernel_name, format_size(kernel.size()));
  DOPPEL_ASSIGN(const Initrd initrd,
                place_initrd(files, header, memory, std::max<std::uint64_t>(kernel_end, kHighLoad)));

  const auto original = files.kernel.slice(0, header.setup_size).bytes();
  Bytes setup(original.begin(), original.end());
  patch_header(setup, initrd, layout.cmdline, files, header);
  if (header.protocol >= 0x201) {
    setup[kLoadFlags] |= std::byte{kCanUseHeap};
    store_le(setup.data() + kHeapEnd, static_cast<std::uint16_t>(layout.cmdline - layout.setup - 0x200));
  }

  fw_cfg.add_number(FwCfgKey::kCmdlineAddress, layout.cmdline);
  fw_cfg.add_number(FwCfgKey::kCmdlineSize, cmdline_size);
  fw_cfg.add(FwCfgKey::kCmdlineData, text_bytes(files.command_line, Terminator::kZero));
  fw_cfg.add(FwCfgKey::kKernelCmdline, text_bytes(files.command_line, Terminator::kZero));
  fw_cfg.add_number(FwCfgKey::kKernelAddress, layout.kernel);
  fw_cfg.add_number(FwCfgKey::kKernelSize, static_cast<std::uint32_t>(kernel.size()));
  fw_cfg.add(FwCfgKey::kKernelData, kernel);
  fw_cfg.add_number(FwCfgKey::kSetupAddress, layout.setup);
  fw_cfg.add_number(FwCfgKey::kSetupSize, static_cast<std::uint32_t>(setup.size()));
  fw_cfg.add(FwCfgKey::kSetupData, std::move(setup));
  fw_cfg.add_number(FwCfgKey::kInitrdAddress, static_cast<std::uint32_t>(initrd.address));
  fw_cfg.add_number(FwCfgKey::kInitrdSize, static_cast<std::uint32_t>(initrd.size));
  if (initrd.size != 0) fw_cfg.add(FwCfgKey::kInitrdData, files.modules[0].data);
  return {};
}

Result<BootPlan> plan_linux(const KernelFiles& files, const BootMemory& memory) {
  DOPPEL_ASSIGN(const LinuxHeader header, parse_linux_header(files.kernel, files.kernel_name));
  DOPPEL_TRY(check_command_line(files, header));
  if (!header.loaded_high || header.protocol < 0x202)
    return fail(ErrorKind::kUnsupported,
                "the kernel '{}' can only be started by firmware: it speaks boot protocol {}.{:02}", files.kernel_name,
                header.protocol >> 8, header.protocol & 0xff);
  const Blob kernel = files.kernel.slice(header.setup_size);
  // The decompressor moves itself to the preferred address, then needs init_size bytes from there.
  const std::uint64_t needed = std::max<std::uint64_t>(header.preferred_address, kHighLoad) + header.init_size;
  if (needed > memory.map.low_ram_end())
    return fail(ErrorKind::kNoSpace, "the kernel '{}' needs {} of RAM; the machine has {}", files.kernel_name,
                format_size(needed), format_size(memory.map.low_ram_end()));
  DOPPEL_ASSIGN(const Initrd initrd, place_initrd(files, header, memory, kHighLoad + kernel.size()));

  BootPlan plan;
  const bool long_mode = (header.xloadflags & kKernel64) != 0;
  plan.mode = long_mode ? BootMode::kLong64 : BootMode::kProtected32;
  plan.entry = kHighLoad + (long_mode ? kEntry64 : 0);
  plan.rsi = kBootParamsBase;
  plan.add(kBootParamsBase, boot_params(files, header, memory, initrd));
  plan.add(kDirectCmdline, text_bytes(files.command_line, Terminator::kZero));
  plan.add(kHighLoad, kernel);
  if (initrd.size != 0) plan.add(initrd.address, files.modules[0].data);
  DOPPEL_TRY(check_pieces(plan, memory.map, files.kernel_name));
  return plan;
}

}  // namespace doppel::hw
