// The NVMe controller: registers, queues and lists in memory, disks that answer late, fail or not at all.
#include "block/fake_disk.h"
#include "event/fake_clock.h"
#include "fuzz/fuzz_input.h"
#include "hw/nvme/nvme.h"
#include "hw/pci/pci_test_rig.h"

using namespace doppel;

namespace {

constexpr std::uint32_t kRamSize = 1U << 20U;
constexpr std::uint32_t kBar = 0x8000'0000;
constexpr std::uint32_t kEntries = 8;

struct Board {
  Board() {
    pci.memory->add(pci.topology.ram("ram", ram, 0, kRamSize), 0);
    fuzz::require(nvme->add_namespace({}, disk) && nvme->add_namespace({.logical_block_size = 4096}, read_only) &&
                      pci.bus.attach(*nvme),
                  "the board can be built");
    read_only.is_read_only = true;
    power_up();
  }
  void set(std::uint32_t offset, std::uint32_t value) { pci.memory_space.write({kBar + offset}, 4, value); }
  void power_up() {
    nvme->reset();
    nvme->config_write(0x10, 4, kBar);
    nvme->config_write(0x04, 2, 6);
    set(0x24, (kEntries - 1) << 16U | (kEntries - 1));
    set(0x28, 0x1000);
    set(0x30, 0x2000);
    set(0x14, 0x0046'0001);
    tails = {};
    for (const std::uint32_t opcode : {5U, 1U}) {  // queue pair 1
      entry(0, opcode, opcode == 5 ? 0x4000 : 0x3000, 0, (kEntries - 1) << 16U | 1, opcode == 5 ? 3 : 1U << 16U | 1);
      clock.advance(0);
    }
  }
  void entry(unsigned queue, std::uint32_t dword0, std::uint64_t data1, std::uint64_t data2, std::uint32_t dword10,
             std::uint32_t dword11, std::uint32_t dword12 = 0, std::uint32_t space = 1) {
    const std::uint64_t at = (queue == 0 ? 0x1000 : 0x3000) + 64ULL * tails[queue];
    const std::uint32_t words[16] = {dword0,
                                     space,
                                     0,
                                     0,
                                     0,
                                     0,
                                     static_cast<std::uint32_t>(data1),
                                     static_cast<std::uint32_t>(data1 >> 32U),
                                     static_cast<std::uint32_t>(data2),
                                     static_cast<std::uint32_t>(data2 >> 32U),
                                     dword10,
                                     dword11,
                                     dword12};
    for (unsigned i = 0; i < 16; ++i) pci.memory_space.write({at + 4 * i}, 4, words[i]);
    tails[queue] = (tails[queue] + 1) % kEntries;
    set(0x1000 + 8 * queue, tails[queue]);
  }
  void command(fuzz::FuzzInput& input) {
    const unsigned queue = input.below(2);
    const auto dword0 = input.take<std::uint32_t>() & 0xffff'c07fU;
    const std::uint64_t data1 = input.take<std::uint32_t>() % (2 * kRamSize);
    const std::uint64_t data2 = input.take_bool() ? input.take<std::uint64_t>() : input.take<std::uint16_t>() & 0xfff8U;
    const std::uint32_t dword10 = input.take_bool() ? input.take<std::uint32_t>() : input.take<std::uint8_t>();
    const std::uint32_t dword11 = input.take_bool() ? input.take<std::uint32_t>() : 0;
    entry(queue, dword0, data1, data2, dword10, dword11, input.take<std::uint32_t>() & 0xc000'01ffU, input.below(4));
  }
  void fill(fuzz::FuzzInput& input) {
    const std::uint64_t at = input.take<std::uint16_t>() & 0xfff8U;
    for (unsigned i = 0; i < 4; ++i) pci.memory_space.write({at + 8 * i}, 8, input.take<std::uint64_t>());
  }
  void answer(fuzz::FuzzInput& input) {
    block::FakeDisk& which = input.take_bool() ? disk : read_only;
    const bool fails = input.below(4) == 0;
    which.failure = fails ? std::optional(static_cast<ErrorKind>(input.below(10))) : std::nullopt;
    which.finish_one();
  }

  hw::test::PciRig pci;
  event::FakeClock clock;
  std::shared_ptr<memory::RamBlock> ram = memory::RamBlock::create({.size = kRamSize}).value();
  block::FakeDisk disk{1 << 18};
  block::FakeDisk read_only{1 << 16};
  std::array<std::uint32_t, 2> tails{};
  std::unique_ptr<hw::Nvme> nvme = hw::Nvme::create(pci.services(), clock, {.serial = "S1", .max_ioqpairs = 4}).value();
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::FuzzInput input(data, size);
  Board board;
  while (!input.empty()) {
    switch (const unsigned kind = input.below(fuzz::kCommonOperations + 9); kind) {
      case 0:
      case 1:
      case 2: fuzz::common_operation(input, *board.nvme, kind); break;
      case 3: board.power_up(); break;
      case 4: board.set(input.below(0x1030) & ~3U, input.take<std::uint32_t>()); break;
      case 5: board.set(0x1000 + 4 * input.below(10), input.below(kEntries)); break;
      case 6: (void)board.pci.read(kBar + input.below(0x1030), 4); break;
      case 7: board.answer(input); break;
      case 8: board.clock.advance(0); break;
      case 9: board.fill(input); break;
      default: board.command(input);
    }
  }
  return 0;
}
