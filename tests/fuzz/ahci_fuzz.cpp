// The AHCI adapter: registers, command lists and tables in memory, disks that answer late, fail or not at all.
#include "block/fake_disk.h"
#include "fuzz/fuzz_input.h"
#include "hw/ahci/ahci.h"
#include "hw/pci/pci_test_rig.h"

using namespace doppel;

namespace {

constexpr std::uint32_t kRamSize = 1U << 20U;
constexpr std::uint32_t kBar = 0x8000'0000;

struct Board {
  Board() {
    pci.memory->add(pci.topology.ram("ram", ram, 0, kRamSize), 0);
    fuzz::require(ahci->port(0).add_disk(disk, {}) && ahci->port(1).add_disk(read_only, {}) &&
                      ahci->port(2).add_cdrom(&medium, {}) && ahci->port(3).add_cdrom(nullptr, {}) &&
                      pci.bus.attach(*ahci),
                  "the board can be built");
    read_only.is_read_only = true;
    power_up();
  }
  void set(std::uint32_t offset, std::uint32_t value) { pci.memory_space.write({kBar + offset}, 4, value); }
  void power_up() {
    ahci->reset();
    ahci->config_write(0x24, 4, kBar);
    ahci->config_write(0x04, 2, 6);
    set(0x04, 2);
    for (std::uint32_t port = 0x100; port < 0x300; port += 0x80) {
      set(port, 0x1000);
      set(port + 0x08, 0x2000);
      set(port + 0x18, 0x11);
    }
  }
  /// A command in some slot of some port: a frame, a packet and a few descriptors.
  void command(fuzz::FuzzInput& input) {
    const std::uint32_t slot = input.below(32);
    const std::uint64_t table = 0x4000 + 0x400ULL * slot;
    const auto kind = input.take<std::uint8_t>();
    const std::uint32_t opcode = (kind & 2U) != 0 ? 0x60U + (kind >> 2U & 1U) : input.take<std::uint8_t>();
    pci.memory_space.write({0x1000 + 32 * slot}, 4, 5U | (kind & 7U) << 16U);
    pci.memory_space.write({0x1008 + 32 * slot}, 8, table);
    pci.memory_space.write({table}, 4, 0x27U | (kind & 0x80U ? 0U : 0x8000U) | opcode << 16U | (kind & 8U) << 24U);
    pci.memory_space.write({table + 4}, 4, (input.take<std::uint16_t>() & 0x1ffU) | 0x4000'0000U);
    pci.memory_space.write({table + 8}, 4, 0);
    pci.memory_space.write({table + 12}, 4, input.take<std::uint32_t>() & 0x0400'00ffU);
    for (unsigned i = 0; i < 2; ++i) pci.memory_space.write({table + 0x40 + 8 * i}, 8, input.take<std::uint64_t>());
    for (unsigned i = 0; i < 7; ++i) {
      pci.memory_space.write({table + 0x80 + 16 * i}, 8, input.take<std::uint32_t>() % (2 * kRamSize));
      pci.memory_space.write({table + 0x8c + 16 * i}, 4, input.take<std::uint32_t>());
    }
    const std::uint32_t port = 0x100 + 0x80 * input.below(4);
    if ((kind & 2U) != 0) set(port + 0x34, 1U << slot);
    set(port + 0x38, 1U << slot);
  }
  void answer(fuzz::FuzzInput& input) {
    block::FakeDisk& which = *disks[input.below(disks.size())];
    const bool fails = input.below(4) == 0;
    which.failure = fails ? std::optional(static_cast<ErrorKind>(input.below(10))) : std::nullopt;
    which.finish_one();
  }

  hw::test::PciRig pci;
  std::shared_ptr<memory::RamBlock> ram = memory::RamBlock::create({.size = kRamSize}).value();
  block::FakeDisk disk{1 << 18};
  block::FakeDisk read_only{1 << 16};
  block::FakeDisk medium{1 << 18};
  std::array<block::FakeDisk*, 3> disks{&disk, &read_only, &medium};
  std::unique_ptr<hw::Ahci> ahci = hw::Ahci::create(pci.services()).value();
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::FuzzInput input(data, size);
  Board board;
  while (!input.empty()) {
    switch (const unsigned kind = input.below(fuzz::kCommonOperations + 6); kind) {
      case 0:
      case 1:
      case 2: fuzz::common_operation(input, *board.ahci, kind); break;
      case 3: board.power_up(); break;
      case 4: board.set(input.below(0x400) & ~3U, input.take<std::uint32_t>()); break;
      case 5: (void)board.pci.read(kBar + input.below(0x400), 4); break;
      case 6: board.answer(input); break;
      default: board.command(input);
    }
  }
  return 0;
}
