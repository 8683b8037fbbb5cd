// The board of the virtio fuzz targets: a device, and a driver that knows where its rings are and little else.
#pragma once

#include <memory>
#include <optional>
#include <span>

#include "block/fake_disk.h"
#include "event/loop.h"
#include "fuzz/fuzz_input.h"
#include "hw/pci/pci_test_rig.h"
#include "hw/virtio/virtio_pci.h"

namespace doppel::fuzz {

struct VirtioBoard {
  static constexpr std::uint32_t kRamSize = 1U << 16U;
  static constexpr std::uint64_t kModern = 0x2000'0000;
  static constexpr std::uint16_t kLegacy = 0xc000;
  static constexpr std::uint16_t kSlots = 16;
  // Each queue: descriptors, driver area, device area. What chains and headers are made of is behind them.
  static constexpr std::uint64_t kRing = 0x1000;
  static constexpr std::uint64_t kDriver = 0x1200;
  static constexpr std::uint64_t kDevice = 0x1300;
  static constexpr std::uint64_t kStride = 0x400;
  static constexpr std::uint64_t kRest = 0x2000;

  /// A device with QUEUES queues; attach() gives it.
  VirtioBoard(std::uint8_t options, unsigned queues) : queues(queues) {
    pci.memory->add(pci.topology.ram("ram", ram, 0, kRamSize), 0);
    disk.is_read_only = (options & 16U) != 0;
  }
  template <class Config>
  static Config config_of(std::uint8_t options) {
    Config config;
    config.packed = (options & 1U) != 0;
    config.event_idx = (options & 2U) != 0;
    config.indirect_desc = (options & 4U) != 0;
    config.ioeventfd = (options & 8U) != 0;
    config.queue_size = kSlots;
    return config;
  }
  [[nodiscard]] hw::VirtioPciParts parts() { return {.loop = loop, .ports = &pci.io_space}; }
  void attach(Result<std::unique_ptr<hw::VirtioPci>> made) {
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
    for (unsigned queue = 0; queue < queues; ++queue) {
      const bool wild = (choice & 2U) != 0;
      const std::uint64_t place = queue * kStride;
      set(Common::kQueueSelect, 2, queue);
      set(Common::kQueueDescriptors, 8, wild ? input.take<std::uint64_t>() : kRing + place);
      set(Common::kQueueDriver, 8, wild ? input.take<std::uint32_t>() % kRamSize : kDriver + place);
      set(Common::kQueueDevice, 8, wild ? input.take<std::uint32_t>() % kRamSize : kDevice + place);
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
    const std::uint64_t at = kRing + input.below(0x1200);
    const auto bytes = input.take_bytes(input.take<std::uint8_t>() % 64U);
    std::ranges::copy(bytes, ram->host() + at);
  }
  struct Piece {
    std::uint64_t at = 0;
    std::uint32_t size = 0;
    bool writable = false;
  };
  /// A chain of PIECES in QUEUE, good but for what INPUT says, a kick, and the loop's turn.
  void offer(FuzzInput& input, unsigned queue, std::span<const Piece> pieces) {
    const std::uint64_t place = queue * kStride;
    const unsigned slot = input.below(kSlots);
    for (unsigned i = 0; i < pieces.size(); ++i) {
      const std::uint64_t at = kRing + place + 16U * ((slot + i) % kSlots);
      const auto wild = input.take<std::uint16_t>();
      const bool keeps_flags = (wild & 0x700U) != 0;
      const unsigned good = (i + 1 < pieces.size() ? 1U : 0U) | (pieces[i].writable ? 2U : 0U);
      store(at, pieces[i].at);
      store(at + 4, (wild & 0x40U) != 0 && !keeps_flags ? input.take<std::uint32_t>() : 0U);
      store(at + 8, (wild & 0x3020U) == 0x20U ? input.take<std::uint32_t>() : pieces[i].size);
      store(at + 12, (keeps_flags ? good : wild & 0x8087U) | ((slot + i + 1U) % kSlots) << 16U);
    }
    const std::uint64_t driver = kDriver + place;
    const std::uint16_t index = static_cast<std::uint16_t>(ram_at(driver + 2) + (input.below(8) == 0 ? 2U : 1U));
    store16(driver + 4 + 2U * ((index - 1U) % kSlots), static_cast<std::uint16_t>(slot));
    store16(driver + 2, index);
    pci.memory_space.write({kModern + hw::VirtioPci::kNotifyOffset + 4U * queue}, 2, queue);
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

  const unsigned queues;
  event::Loop loop;
  hw::test::PciRig pci;
  std::shared_ptr<memory::RamBlock> ram = memory::RamBlock::create({.size = kRamSize}).value();
  block::FakeDisk disk{1 << 18};
  std::unique_ptr<hw::VirtioPci> function;
};

/// What both targets do with their input. OFFER makes a request of it.
template <class Board>
void drive(FuzzInput& input, Board& board, void (Board::*offer)(FuzzInput&)) {
  while (!input.empty()) {
    switch (const unsigned kind = input.below(kCommonOperations + 11); kind) {
      case 0:
      case 1:
      case 2: board.common(input, kind); break;
      case 3: board.start(input); break;
      case 4: board.modern_access(input); break;
      case 5: board.legacy_access(input); break;
      case 6: board.write_memory(input); break;
      case 7: board.answer(input); break;
      case 8: board.loop.run_ready(); break;
      default: (board.*offer)(input);
    }
  }
}

}  // namespace doppel::fuzz
