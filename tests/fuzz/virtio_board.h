// The board of the virtio fuzz target: a disk, and a driver that knows where its rings are and little else.
#pragma once

#include <memory>
#include <optional>

#include "block/fake_disk.h"
#include "event/loop.h"
#include "fuzz/fuzz_input.h"
#include "hw/pci/pci_test_rig.h"
#include "hw/virtio/virtio_blk.h"

namespace doppel::fuzz {

struct VirtioBoard {
  static constexpr std::uint32_t kRamSize = 1U << 16U;
  static constexpr std::uint64_t kModern = 0x2000'0000;
  static constexpr std::uint16_t kLegacy = 0xc000;
  static constexpr std::uint16_t kSlots = 16;
  // The queue: descriptors, driver area, device area, and what chains and headers are made of behind them.
  static constexpr std::uint64_t kRing = 0x1000;
  static constexpr std::uint64_t kDriver = 0x1200;
  static constexpr std::uint64_t kDevice = 0x1300;
  static constexpr std::uint64_t kRest = 0x1400;

  explicit VirtioBoard(std::uint8_t options) {
    pci.memory->add(pci.topology.ram("ram", ram, 0, kRamSize), 0);
    hw::VirtioBlkConfig config;
    config.packed = (options & 1U) != 0;
    config.event_idx = (options & 2U) != 0;
    config.indirect_desc = (options & 4U) != 0;
    config.ioeventfd = (options & 8U) != 0;
    config.num_queues = 2;
    config.queue_size = kSlots;
    disk.is_read_only = (options & 16U) != 0;
    auto made = hw::create_virtio_blk(pci.services(), {.loop = loop, .ports = &pci.io_space}, disk, config, 1);
    require(made.has_value(), "the device can be made");
    function = std::move(*made);
    require(pci.bus.attach(*function, hw::PciAddress{4, 0}).has_value(), "it can be attached");
    power_up();
  }
  void power_up() {
    function->reset();
    function->config_write(0x10, 4, kLegacy);
    function->config_write(0x14, 4, 0x3000'0000);
    function->config_write(0x20, 4, kModern);
    function->config_write(0x24, 4, 0);
    function->config_write(0x04, 2, 7);
  }
  void common(FuzzInput& input, unsigned kind) {
    common_operation(input, *function, kind);
    if (kind == 0) power_up();
  }
  void set(hw::virtio::Common reg, unsigned size, std::uint64_t value) {
    pci.memory_space.write({kModern + static_cast<unsigned>(reg)}, size, value);
  }
  /// A driver's whole way to DRIVER_OK, with features and addresses as they come, mostly good ones.
  void start(FuzzInput& input) {
    using hw::virtio::Common;
    const auto choice = input.take<std::uint8_t>();
    set(Common::kDeviceStatus, 1, 0);
    set(Common::kDeviceStatus, 1, 3);
    for (std::uint32_t half : {0U, 1U}) {
      set(Common::kDeviceFeatureSelect, 4, half);
      set(Common::kDriverFeatureSelect, 4, half);
      const std::uint64_t offered = pci.read(kModern + static_cast<unsigned>(Common::kDeviceFeature), 4);
      set(Common::kDriverFeature, 4, (choice & 1U) != 0 ? input.take<std::uint32_t>() : offered);
    }
    set(Common::kDeviceStatus, 1, 0x0b);
    for (unsigned queue = 0; queue < 2; ++queue) {
      const bool wild = (choice & 2U) != 0;
      set(Common::kQueueSelect, 2, queue);
      set(Common::kQueueDescriptors, 8, wild ? input.take<std::uint64_t>() : kRing);
      set(Common::kQueueDriver, 8, wild ? input.take<std::uint32_t>() % kRamSize : kDriver);
      set(Common::kQueueDevice, 8, wild ? input.take<std::uint32_t>() % kRamSize : kDevice);
      set(Common::kQueueSize, 2, wild ? input.take<std::uint16_t>() : kSlots);
      set(Common::kQueueEnable, 2, 1);
    }
    set(Common::kDeviceStatus, 1, 0x0f);
  }
  void modern_access(FuzzInput& input) {
    const auto kind = input.take<std::uint8_t>();
    const unsigned size = 1U << (kind & 3U);
    const std::uint64_t at = kModern + 0x1000U * (kind >> 2U & 3U) + input.take<std::uint8_t>();
    if ((kind & 0x80U) != 0)
      (void)pci.read(at, size);
    else
      pci.memory_space.write({at}, size, input.take<std::uint64_t>());
  }
  void legacy_access(FuzzInput& input) {
    const auto kind = input.take<std::uint8_t>();
    const unsigned size = 1U << (kind & 3U) % 3U;
    const std::uint64_t at = kLegacy + input.take<std::uint8_t>() % 128U;
    if ((kind & 0x80U) != 0)
      (void)pci.in(at, size);
    else
      pci.out(at, size, input.take<std::uint16_t>() & (size == 4 ? 0xfU : 0xffffU));
  }
  void write_memory(FuzzInput& input) {
    const std::uint64_t at = kRing + input.below(0x800);
    const auto bytes = input.take_bytes(input.take<std::uint8_t>() % 64U);
    std::ranges::copy(bytes, ram->host() + at);
  }
  /// A chain of four descriptors, good but for what INPUT says, a kick, and the loop's turn.
  void offer(FuzzInput& input) {
    const unsigned slot = input.below(kSlots);
    store(kRest, input.take<std::uint8_t>() % 16U);  // the header: type, sector
    store(kRest + 8, input.take<std::uint16_t>() % 600U);
    for (unsigned i = 0; i < 4; ++i) {
      const std::uint64_t at = kRing + 16U * ((slot + i) % kSlots);
      const auto flags = input.take<std::uint16_t>();
      store(at, i == 0 ? kRest : kRest + 0x100 + input.take<std::uint16_t>() % 0x8000U);
      store(at + 4, (flags & 0x40U) != 0 ? input.take<std::uint32_t>() : 0U);
      store(at + 8, i == 0 ? 16U : (flags & 0x20U) != 0 ? input.take<std::uint32_t>() : i == 3 ? 1U : 512U);
      store(at + 12, (flags & 0x8087U) | ((slot + i + 1U) % kSlots) << 16U);
    }
    const std::uint16_t index = static_cast<std::uint16_t>(ram_at(kDriver + 2) + (input.below(8) == 0 ? 2U : 1U));
    store16(kDriver + 4 + 2U * ((index - 1U) % kSlots), static_cast<std::uint16_t>(slot));
    store16(kDriver + 2, index);
    pci.memory_space.write({kModern + hw::VirtioPci::kNotifyOffset + 4U * input.below(3)}, 2, 0);
    loop.run_ready();
  }
  void answer(FuzzInput& input) {
    const bool fails = input.below(4) == 0;
    disk.failure = fails ? std::optional(static_cast<ErrorKind>(input.below(10))) : std::nullopt;
    disk.finish_one();
    loop.run_ready();
  }
  void store(std::uint64_t at, std::uint64_t value) { store_le(ram->host() + at, static_cast<std::uint32_t>(value)); }
  void store16(std::uint64_t at, std::uint16_t value) { store_le(ram->host() + at, value); }
  [[nodiscard]] std::uint16_t ram_at(std::uint64_t at) const { return load_le<std::uint16_t>(ram->host() + at); }

  event::Loop loop;
  hw::test::PciRig pci;
  std::shared_ptr<memory::RamBlock> ram = memory::RamBlock::create({.size = kRamSize}).value();
  block::FakeDisk disk{1 << 18};
  std::unique_ptr<hw::VirtioPci> function;
};

}  // namespace doppel::fuzz
