#include "hw/display/vga.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/bits.h"
#include "hw/display/text_screen.h"
#include "hw/display/vga_ports.h"
#include "hw/pci/pci_bus.h"
#include "hw/pci/pci_registers.h"

namespace doppel::hw {

namespace {

constexpr PciIdentity kIdentity = {.vendor_id = 0x1234, .device_id = 0x1111, .revision = 0x02, .class_code = 0x030000};

constexpr std::uint64_t kWindowBase = 0xa0000;
constexpr std::uint64_t kWindowSize = 0x20000;

// BAR 2 (QEMU's docs/specs/standard-vga).
constexpr std::uint64_t kRegisterWindowSize = 0x1000;
constexpr std::uint64_t kPortsOffset = 0x400;  // 3C0 to 3DF
constexpr std::uint64_t kDispiOffset = 0x500;
constexpr std::uint64_t kExtensionOffset = 0x600;  // the extension's size, and the frame buffer's byte order
constexpr std::uint32_t kExtensionSize = 8;
constexpr std::uint32_t kLittleEndian = 0x1e1e1e1e;

constexpr std::uint32_t kMostMebibytes = 512;
constexpr std::uint64_t kSmallestRom = 2 * kKiB;
constexpr std::uint64_t kLargestRom = 16 * kMiB;

}  // namespace

Result<> check_config(const VgaConfig& config) {
  if (config.vgamem_mb != 0 && config.vgamem_mb <= kMostMebibytes) return {};
  return fail(ErrorKind::kInvalidArgument, "vgamem_mb={}: display memory is 1 to {} MiB", config.vgamem_mb,
              kMostMebibytes);
}

Result<std::unique_ptr<Vga>> Vga::create(const PciServices& services, const VgaConfig& config,
                                         std::span<const std::byte> rom) {
  DOPPEL_TRY(check_config(config));
  DOPPEL_ASSIGN(auto memory,
                memory::RamBlock::create({.name = "vga.vram", .size = std::bit_ceil(config.vgamem_mb) * kMiB}));
  std::unique_ptr<Vga> vga(new Vga(services, std::move(memory)));
  DOPPEL_TRY(vga->build(rom));
  return vga;
}

Vga::Vga(const PciServices& services, std::shared_ptr<memory::RamBlock> memory)
    : PciFunction(kIdentity, services),
      memory_(std::move(memory)),
      dispi_(memory_->size()),
      window_([this](std::uint64_t offset, unsigned size) { return read_window(offset, size); },
              [this](std::uint64_t offset, unsigned size, std::uint64_t value) { write_window(offset, size, value); }),
      dispi_ports_(
          [this](std::uint64_t offset, unsigned size) { return read_dispi_port(offset, size); },
          [this](std::uint64_t offset, unsigned size, std::uint64_t value) { write_dispi_port(offset, size, value); }),
      register_window_(
          [this](std::uint64_t offset, unsigned size) { return read_registers(offset, size); },
          [this](std::uint64_t offset, unsigned size, std::uint64_t value) { write_registers(offset, size, value); }) {}

Result<> Vga::build(std::span<const std::byte> rom) {
  DOPPEL_TRY(add_bar(0, BarKind::kMemory32, topology().ram("vga.vram", memory_, 0, memory_->size()), Prefetch::kYes));
  DOPPEL_TRY(add_bar(2, BarKind::kMemory32,
                     topology().io("vga.mmio", kRegisterWindowSize, register_window_, {.min = 1, .max = 4})));
  window_region_ = topology().io("vga-window", kWindowSize, window_, {.min = 1, .max = 8, .unaligned = true});
  build_ports();
  return rom.empty() ? Result<>() : add_video_bios(rom);
}

Result<> Vga::add_video_bios(std::span<const std::byte> rom) {
  if (rom.size() > kLargestRom)
    return fail(ErrorKind::kInvalidArgument, "a video BIOS is at most {} bytes, not {}", kLargestRom, rom.size());
  const std::uint64_t size = std::max(std::bit_ceil(std::uint64_t{rom.size()}), kSmallestRom);
  DOPPEL_ASSIGN(auto block, memory::RamBlock::create({.name = "vga.rom", .size = std::max(size, 4 * kKiB)}));
  std::ranges::copy(rom, block->bytes().begin());
  return add_rom(topology().rom("vga.rom", block, 0, size));
}

void Vga::build_ports() {
  for (const PortRange& ports : std::span(kPorts).first(kPorts.size() - 1)) {
    port_handlers_.push_back(std::make_unique<IoFunction>(
        [this, first = ports.first](std::uint64_t offset, unsigned) {
          return read_port(static_cast<std::uint16_t>(first + offset));
        },
        [this, first = ports.first](std::uint64_t offset, unsigned, std::uint64_t value) {
          write_port(static_cast<std::uint16_t>(first + offset), static_cast<std::uint8_t>(value));
        }));
    port_regions_.push_back(topology().io("vga", ports.count, *port_handlers_.back(), {.min = 1, .max = 1}));
  }
  port_regions_.push_back(
      topology().io("vbe", kPorts.back().count, dispi_ports_, {.min = 1, .max = 2, .unaligned = true}));
}

void Vga::attached(PciBus& bus) {
  bus.memory()->add(window_region_, kWindowBase, 1);
  for (std::size_t i = 0; i < kPorts.size(); ++i) bus.io()->add(port_regions_[i], kPorts.at(i).first, 1);
}

void Vga::detached(PciBus& bus) {
  bus.memory()->remove(window_region_);
  for (const auto& region : port_regions_) bus.io()->remove(region);
}

void Vga::decoding_changed() {
  const std::uint16_t command = effective_command();
  window_region_->set_enabled((command & pci::kCommandMemory) != 0);
  for (const auto& region : port_regions_) region->set_enabled((command & pci::kCommandIo) != 0);
}

void Vga::reset_chip() {
  registers_ = {};
  dispi_.reset();
}

// ---- Display memory

std::uint64_t Vga::read_window(std::uint64_t offset, unsigned size) {
  const DeviceGuard guard(*this);
  std::uint64_t value = 0;
  for (unsigned i = 0; i < size; ++i)
    value |= std::uint64_t{read_vga_memory(registers_, window_memory(), static_cast<std::uint32_t>(offset + i))}
             << (8 * i);
  return value;
}

void Vga::write_window(std::uint64_t offset, unsigned size, std::uint64_t value) {
  const DeviceGuard guard(*this);
  for (unsigned i = 0; i < size; ++i) {
    const auto written = write_vga_memory(registers_, window_memory(), static_cast<std::uint32_t>(offset + i),
                                          static_cast<std::uint8_t>(value >> (8 * i)));
    if (written && memory_->dirty().any()) memory_->dirty().mark(*written, 4);
  }
}

// ---- Registers

std::uint64_t Vga::read_port(std::uint16_t port) {
  const DeviceGuard guard(*this);
  return read_vga_port(registers_, port);
}

void Vga::write_port(std::uint16_t port, std::uint8_t value) {
  const DeviceGuard guard(*this);
  write_vga_port(registers_, port, value, dispi_.has_eight_bit_dac() ? DacWidth::kEightBits : DacWidth::kSixBits);
}

/// The index, then the data, and once more the data for those who want it aligned. Words alone count.
std::uint64_t Vga::read_dispi_port(std::uint64_t offset, unsigned size) {
  const DeviceGuard guard(*this);
  if (size != 2) return ~std::uint64_t{0};
  return offset == 0 ? dispi_.index() : dispi_.read(dispi_.index());
}

void Vga::write_dispi_port(std::uint64_t offset, unsigned size, std::uint64_t value) {
  const DeviceGuard guard(*this);
  if (size != 2) return;
  if (offset == 0)
    dispi_.set_index(static_cast<std::uint16_t>(value));
  else
    write_dispi(dispi_.index(), static_cast<std::uint16_t>(value));
}

/// Registers of two and four bytes are read and written as such, those of a byte as ports are.
std::uint64_t Vga::read_registers(std::uint64_t offset, unsigned size) {
  if (offset >= kPortsOffset && offset < kPortsOffset + 0x20) {
    std::uint64_t value = 0;
    for (unsigned i = 0; i < size; ++i)
      value |= read_port(static_cast<std::uint16_t>(vga::kAttributeIndex + offset - kPortsOffset + i)) << (8 * i);
    return value;
  }
  if (offset == kExtensionOffset) return kExtensionSize;
  if (offset == kExtensionOffset + 4) return kLittleEndian;
  const DeviceGuard guard(*this);
  if (offset >= kDispiOffset && offset < kDispiOffset + std::uint64_t{2} * dispi::kRegisters && size == 2)
    return dispi_.read(static_cast<unsigned>(offset - kDispiOffset) / 2);
  return ~std::uint64_t{0};
}

void Vga::write_registers(std::uint64_t offset, unsigned size, std::uint64_t value) {
  if (offset >= kPortsOffset && offset < kPortsOffset + 0x20) {
    for (unsigned i = 0; i < size; ++i)
      write_port(static_cast<std::uint16_t>(vga::kAttributeIndex + offset - kPortsOffset + i),
                 static_cast<std::uint8_t>(value >> (8 * i)));
    return;
  }
  const DeviceGuard guard(*this);
  if (offset >= kDispiOffset && offset < kDispiOffset + std::uint64_t{2} * dispi::kRegisters && size == 2)
    write_dispi(static_cast<unsigned>(offset - kDispiOffset) / 2, static_cast<std::uint16_t>(value));
}

// ---- SVGA modes

void Vga::write_dispi(unsigned index, std::uint16_t value) {
  if (dispi_.write(index, value)) enter_svga_mode();
}

/// The window shows graphics at A0000, as plain memory: linear, or with 4 bits for each pixel in four planes.
void Vga::enter_svga_mode() {
  auto& graphics = registers_.graphics;
  auto& sequencer = registers_.sequencer;
  graphics.set(vga::kMiscellaneous, 0x04 | vga::kGraphicsMode);
  sequencer.set(vga::kMapMask, 0x0f);
  const bool is_linear = dispi_.bits_per_pixel() > 4;
  sequencer.set(vga::kMemoryMode, is_linear ? vga::kChain4 | 0x06 : 0x06);
  graphics.set(vga::kMode, is_linear ? vga::kShift256 : 0);
  graphics.set(vga::kEnableSetReset, 0);
  graphics.set(vga::kDataRotate, 0);
  graphics.set(vga::kBitMask, 0xff);
  if (dispi_.keeps_memory()) return;
  const std::uint64_t bytes =
      std::uint64_t{dispi_.width()} * dispi_.height() * align_up(dispi_.bits_per_pixel(), 8U) / 8;
  std::ranges::fill(memory_->bytes().first(std::min(bytes, memory_->size())), std::byte{0});
  if (memory_->dirty().any()) memory_->dirty().mark(0, memory_->size());
}

void Vga::read_screen(ui::Screen& screen) {
  const DeviceGuard guard(*this);
  read_vga_screen(registers_, memory_->bytes(), screen);
  if (!dispi_.enabled() || screen.kind == ui::ScreenKind::kBlank) return;
  screen = {};
  screen.kind = ui::ScreenKind::kGraphics;
  screen.width = dispi_.width();
  screen.height = dispi_.height();
}

// ---- State

void Vga::save(state::Writer& writer) {
  PciFunction::save(writer);
  VgaState now;
  {
    const DeviceGuard guard(*this);
    now = {.registers = registers_, .dispi = dispi_.state()};
  }
  state::save(writer, now);
}

Result<> Vga::load(state::Reader& reader) {
  DOPPEL_TRY(PciFunction::load(reader));
  DOPPEL_ASSIGN(VgaState saved, state::load<VgaState>(reader));
  if (saved.registers.dac.component > 2)
    return fail(ErrorKind::kCorrupt, "the saved DAC is at component {} of 3", saved.registers.dac.component);
  const DeviceGuard guard(*this);
  registers_ = saved.registers;
  dispi_.restore(saved.dispi);
  return {};
}

}  // namespace doppel::hw
