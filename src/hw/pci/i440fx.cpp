#include "hw/pci/i440fx.h"

#include <utility>

#include "base/bits.h"
#include "base/endian.h"
#include "hw/pci/i440fx_registers.h"
#include "hw/pci/pci_registers.h"

namespace doppel::hw {

namespace {

constexpr PciIdentity kIdentity = {.vendor_id = 0x8086, .device_id = 0x1237, .revision = 0x02, .class_code = 0x060000};

constexpr std::uint64_t kVgaBase = 0xa0000;
constexpr std::uint64_t kVgaSize = 0x20000;
constexpr std::uint64_t kPamBase = 0xc0000;
constexpr std::uint64_t kPamSize = 0x40000;
constexpr std::uint64_t kBiosBase = 0xf0000;
constexpr std::uint64_t kBiosSize = 0x10000;
constexpr std::uint64_t kSegmentSize = 0x4000;
constexpr int kUnderRam = -1;

struct StorageRegister {
  unsigned offset;
  std::uint8_t reset;
  std::uint8_t writable;
};

/// DRAM timing and the like: kept for whoever reads them back, without effect.
constexpr StorageRegister kStorage[] = {
    {i440fx::kPmcConfig, 0x00, 0x70}, {i440fx::kPmcConfig + 1, 0x00, 0xff}, {i440fx::kDeturbo, 0x00, 0xff},
    {i440fx::kDbc, 0x80, 0xf9},       {i440fx::kAxc, 0x00, 0xff},           {i440fx::kDrt, 0x00, 0xff},
    {i440fx::kDrt + 1, 0x00, 0xff},   {i440fx::kDramc, 0x01, 0x3f},         {i440fx::kDramt, 0x00, 0x7f},
    {i440fx::kFdhc, 0x00, 0xff},      {i440fx::kMtt, 0x20, 0xf8},
};

}  // namespace

Result<std::unique_ptr<I440fx>> I440fx::create(const PciServices& services, const I440fxMemory& memory) {
  if (memory.low_ram->kind() != memory::RegionKind::kRam || memory.low_ram->size() < kMiB)
    return fail(ErrorKind::kInvalidArgument, "region '{}' is not 1 MiB of RAM", memory.low_ram->name());
  if (memory.below_4g < kMiB || memory.below_4g > 4 * kGiB)
    return fail(ErrorKind::kInvalidArgument, "the i440FX takes 1 MiB to 4 GiB of RAM below 4 GiB, not {} bytes",
                memory.below_4g);
  const std::uint64_t size = memory.ram->size();
  if (memory.below_4g > size || memory.above_4g > size - memory.below_4g)
    return fail(ErrorKind::kOutOfRange, "RAM of {} bytes cannot give {} below and {} above 4 GiB", size,
                memory.below_4g, memory.above_4g);
  return std::unique_ptr<I440fx>(new I440fx(services, memory));
}

I440fx::I440fx(const PciServices& services, const I440fxMemory& memory)
    : PciFunction(kIdentity, services), memory_(memory) {
  define_registers();
  const memory::Transaction transaction(topology());
  build_memory();
  build_segments();
}

void I440fx::define_registers() {
  ConfigSpace& space = config();
  // The host is always master and memory target.
  space.define<std::uint16_t>(pci::kCommand, pci::kCommandMaster | pci::kCommandMemory, 0x0140);
  space.define<std::uint16_t>(pci::kStatus, pci::kStatusDevselMedium | 0x0080, 0, 0xf900);
  for (const StorageRegister& row : kStorage) space.define<std::uint8_t>(row.offset, row.reset, row.writable);
  for (unsigned i = 0; i < 8; ++i) space.define<std::uint8_t>(i440fx::kDrb0 + i, 0x01, 0xff);
  for (unsigned i = 0; i < i440fx::kPamRegisters; ++i)
    space.define<std::uint8_t>(i440fx::kPam0 + i, 0, i == 0 ? i440fx::kPam0Writable : i440fx::kPamWritable);
  space.define<std::uint8_t>(i440fx::kSmram, i440fx::kSmramReset, i440fx::kSmramWritable);
  on_config_write(i440fx::kPam0, i440fx::kPamRegisters, [this] { update_memory(); });
  on_config_write(i440fx::kSmram, 1, [this] { smram_written(); });
}

void I440fx::build_memory() {
  memory::Topology& regions = topology();
  const memory::RegionPtr& system = memory_.system;
  system->add(regions.alias("ram-conventional", memory_.ram, 0, kVgaBase), 0);
  if (memory_.below_4g > kMiB)
    system->add(regions.alias("ram-below-4g", memory_.ram, kMiB, memory_.below_4g - kMiB), kMiB);
  if (memory_.above_4g != 0)
    system->add(regions.alias("ram-above-4g", memory_.ram, memory_.below_4g, memory_.above_4g), 4 * kGiB);
  system->add(memory_.pci, 0, kUnderRam);

  open_smram_ = regions.alias("smram-open", memory_.ram, kVgaBase, kVgaSize);
  open_smram_->set_enabled(false);
  system->add(open_smram_, kVgaBase);
  smram_ = regions.container("smram", 4 * kGiB);
  smram_->set_enabled(false);
  smram_->add(regions.alias("smram-low", memory_.ram, kVgaBase, kVgaSize), kVgaBase);
}

void I440fx::build_segments() {
  memory::Topology& regions = topology();
  // One region behind all read-only segments, so that neighbours melt into one range.
  pam_ram_ = regions.rom("pam-rom", memory_.low_ram->ram(), memory_.low_ram->ram_offset() + kPamBase, kPamSize);
  for (unsigned i = 0; i < kSegments; ++i) {
    Segment& segment = segments_[i];
    segment.base = i == 0 ? kBiosBase : kPamBase + (i - 1) * kSegmentSize;
    segment.size = i == 0 ? kBiosSize : kSegmentSize;
    segment.port.attach(*this, segment.base);
    segment.read_ram = regions.alias("pam-read", pam_ram_, segment.base - kPamBase, segment.size);
    segment.ram = regions.alias("pam-ram", memory_.ram, segment.base, segment.size);
    for (const auto& region : {segment.read_ram, segment.ram}) {
      region->set_enabled(false);
      memory_.system->add(region, segment.base);
    }
  }
}

void I440fx::reset_chip() {
  smram_register_ = i440fx::kSmramReset;
  update_memory();
  update_smram();
}

/// PAM0 has F0000 in its high nibble; PAM1..6 have two segments each, the lower address in the low nibble.
I440fx::PamMode I440fx::pam_mode(unsigned segment) const {
  const unsigned nibble = segment == 0 ? 1 : segment + 1;
  const auto value = config().get<std::uint8_t>(i440fx::kPam0 + nibble / 2);
  return static_cast<PamMode>(bits(value, nibble % 2 == 0 ? 1 : 5, nibble % 2 == 0 ? 0 : 4));
}

void I440fx::update_memory() {
  const memory::Transaction transaction(topology());
  for (unsigned i = 0; i < kSegments; ++i) set_mode(segments_[i], pam_mode(i));
}

void I440fx::set_mode(Segment& segment, PamMode mode) {
  if (mode == segment.mode) return;
  if (segment.shadow) memory_.system->remove(std::exchange(segment.shadow, nullptr));
  if (mode == PamMode::kWriteRam) {
    segment.shadow = make_shadow(segment);
    memory_.system->add(segment.shadow, segment.base);
  }
  segment.read_ram->set_enabled(mode == PamMode::kReadRam);
  segment.ram->set_enabled(mode == PamMode::kRam);
  segment.mode = mode;
}

/// If ROM answers the whole segment, reads (and execution) come straight from it: firmware copies itself to the RAM
/// beneath while running. Otherwise each read is passed to PCI.
memory::RegionPtr I440fx::make_shadow(Segment& segment) {
  const auto view = pci_space().view();
  const memory::FlatRange* range = view->find({segment.base});
  const std::uint64_t skip = range == nullptr ? 0 : segment.base - range->start.value;
  if (range == nullptr || !range->readable_ram || range->size - skip < segment.size) {
    segment.port.set_origin(0);
    return topology().io("pam-shadow", segment.size, segment.port);
  }
  const std::uint64_t origin = range->ram_offset() + skip;
  segment.port.set_origin(origin);
  const auto device = topology().rom_device("pam-shadow-rom", range->region->ram(), segment.port);
  return topology().alias("pam-shadow", device, origin, segment.size);
}

memory::AddressSpace& I440fx::pci_space() {
  if (!pci_space_) pci_space_ = std::make_unique<memory::AddressSpace>(topology(), memory_.pci, "i440FX-pci", log());
  return *pci_space_;
}

std::uint64_t I440fx::ShadowPort::read(std::uint64_t offset, unsigned size) {
  return bridge_->pci_space_->read({base_ + (offset - origin_.load(std::memory_order_relaxed)) % kBiosSize}, size);
}

void I440fx::ShadowPort::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
  bridge_->write_ram(base_ + (offset - origin_.load(std::memory_order_relaxed)) % kBiosSize, size, value);
}

void I440fx::write_ram(std::uint64_t address, unsigned size, std::uint64_t value) {
  memory::RamBlock& block = *memory_.low_ram->ram();
  const std::uint64_t offset = memory_.low_ram->ram_offset() + address;
  if (address + size > kMiB) return;
  store_le_sized(block.host() + offset, size, value);
  if (block.dirty().any()) block.dirty().mark(offset, size);
}

/// D_LCK freezes the register, closed, until reset.
void I440fx::smram_written() {
  auto value = config().get<std::uint8_t>(i440fx::kSmram);
  if ((smram_register_ & i440fx::kSmramLock) != 0)
    value = smram_register_;
  else if ((value & i440fx::kSmramLock) != 0)
    value = static_cast<std::uint8_t>(value & ~i440fx::kSmramOpen);
  config().set(i440fx::kSmram, value);
  smram_register_ = value;
  update_smram();
}

void I440fx::update_smram() {
  const bool enabled = (smram_register_ & i440fx::kSmramEnable) != 0;
  // Open and closed at once is forbidden; closed is the safe reading.
  const bool open =
      enabled && (smram_register_ & i440fx::kSmramOpen) != 0 && (smram_register_ & i440fx::kSmramClosed) == 0;
  const memory::Transaction transaction(topology());
  open_smram_->set_enabled(open);
  smram_->set_enabled(enabled);
}

Result<> I440fx::load(state::Reader& reader) {
  DOPPEL_TRY(PciFunction::load(reader));
  const DeviceGuard guard(*this);
  smram_register_ = config().get<std::uint8_t>(i440fx::kSmram);
  update_memory();
  update_smram();
  return {};
}

}  // namespace doppel::hw
