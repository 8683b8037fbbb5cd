// The DMA controllers: programming them, and a device that moves data through them.
#include "fuzz/fuzz_input.h"
#include "hw/isa/i8237.h"

using namespace doppel;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::FuzzInput input(data, size);
  memory::Topology topology;
  const auto root = topology.container("memory", 0);
  const auto ram = memory::RamBlock::create({.size = 1U << 20U}).value();
  root->add(topology.ram("ram", ram, 0, ram->size()), 0);
  memory::AddressSpace space(topology, root, "memory");
  hw::I8237 chip{memory::DmaSpace(space)};
  std::vector<std::byte> buffer(70'000);
  for (unsigned channel = 0; channel < hw::I8237::kChannels; ++channel)
    if (channel != hw::I8237::kCascade)
      chip.register_channel(channel, [&, channel] {
        if (chip.ready(channel)) (void)chip.to_memory(channel, std::span(buffer).first(5));
      });
  chip.reset();
  while (!input.empty()) {
    switch (const unsigned kind = input.below(fuzz::kCommonOperations + 8); kind) {
      case 3: chip.set_request(input.below(hw::I8237::kChannels), input.take_bool()); break;
      case 4:
        (void)chip.to_memory(input.below(hw::I8237::kChannels), std::span(buffer).first(input.below(70'000)));
        break;
      case 5:
        (void)chip.from_memory(input.below(hw::I8237::kChannels), std::span(buffer).first(input.below(70'000)));
        break;
      default: {
        const hw::I8237::Ports ports = chip.ports()[input.below(4)];
        fuzz::access(input, *ports.handler, ports.size, hw::I8237::kIoSizes);
        break;
      }
      case 0:
      case 1:
      case 2: fuzz::common_operation(input, chip, kind);
    }
  }
  return 0;
}
